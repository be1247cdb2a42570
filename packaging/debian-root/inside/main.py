"""What is checked in the booted system (run.sh). The report is standard output: a line
for each thing that was seen, and at the end how many; on the first that is not as
expected the reason, and exit code 1."""
import difflib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(__file__)
CONF = "/etc/memcached.conf"
WRAPPER = "/usr/share/memcached/scripts/systemd-memcached-wrapper"
THEIRS, OURS = "/usr/bin/memcached", "/usr/bin/sememcached"
ADDRESS = ("127.0.0.1", 11211)
checked = 0


def ok(what):
    global checked
    checked += 1
    print("ok", what)


def fail(what, detail=""):
    print("FAILED", what)
    if detail:
        print(detail)
    for unit in ("memcached", "sememcached"):
        print(run("journalctl", "--no-pager", "-n", "30", "-u", unit).stdout)
    sys.exit(1)


def expect(what, good, detail=""):
    if not good:
        fail(what, detail)
    ok(what)


def run(*args, timeout=240):
    return subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="backslashreplace", timeout=timeout)


def systemctl(*args):
    if args[0] in ("start", "restart"):  # a check starts a unit more often than its limit lets people do
        run("systemctl", "reset-failed", args[1])
    r = run("systemctl", *args)
    if r.returncode:
        fail("systemctl " + " ".join(args), r.stdout)


def prop(unit, name):
    return run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()


def until(what, ready, seconds=60):
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            fail("waited for " + what)
        time.sleep(0.02)


def ask(text, address=ADDRESS):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as s:
        s.settimeout(20)
        s.connect(address)
        s.sendall((text + "quit\r\n").encode())
        return b"".join(iter(lambda: s.recv(65536), b"")).decode()


def answers(address=ADDRESS):
    try:
        return ask("version\r\n", address).startswith("VERSION")
    except OSError:
        return False


def status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def listening():
    """The local ends of the listening TCP sockets and of all UDP sockets."""
    ends = set()
    for name, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", None), ("udp6", None)):
        with open("/proc/net/" + name) as f:
            for line in list(f)[1:]:
                fields = line.split()
                if state in (None, fields[3]):
                    ends.add(name + " " + fields[1])
    return sorted(ends)


def facts(before):
    """How the unit's process runs, but for which program it is."""
    pid = prop("memcached", "MainPID")
    st = status(pid)
    with open("/run/memcached/memcached.pid") as f:
        pidfile = f.read().strip() == pid
    with open(f"/proc/{pid}/cmdline") as f:
        args = f.read().split("\0")[1:-1]
    return {
        "the arguments": args, "the user": pwd.getpwuid(int(st["Uid"].split()[0])).pw_name, "all user ids": st["Uid"], "all group ids": st["Gid"],
        "NoNewPrivs": st["NoNewPrivs"], "CapBnd": st["CapBnd"], "CapEff": st["CapEff"], "Seccomp": st["Seccomp"],
        "the pid file": pidfile, "new sockets": [s for s in listening() if s not in before],
        "the state": prop("memcached", "ActiveState"),
    }


APPLICATIONS = {
    "PHP sessions, text protocol": ["python3", HERE + "/sessions.py", "0"],
    "PHP sessions, binary protocol": ["python3", HERE + "/sessions.py", "1"],
    "php-memcached": ["php", HERE + "/memcached.php"],
    "pylibmc": ["python3", HERE + "/pylibmc_client.py"],
    "Django's sessions and cache over pylibmc": ["python3", HERE + "/django_sessions.py"],
    "memcached-tool of the package": ["sh", "-c", "/usr/share/memcached/scripts/memcached-tool 127.0.0.1:11211 settings | awk '{ print $1 }'"],
}
# Lines that each transcript has, whichever the server is: the applications did work.
LANDMARKS = {
    "PHP sessions, text protocol": ['a counts {"n":3,"user":null,"cart":null,"big":0}', 'b after 160 counts in 8 tabs {"n":161,"user":null,"cart":null,"big":0}',
                                    "the old session EN", "the item HD lives as long as a session True"],
    "php-memcached": ["-- binary, msgpack", 'get(\'a\'): "three"', "increment('n', 5): 15"],
    "pylibmc": ["-- binary ['ketama', 'no_block', 'tcp_nodelay']", "get_multi: True", "8 threads: ([True, True, True, True, True, True, True, True], 8)"],
    "Django's sessions and cache over pylibmc": ["loaded alice 200", "refused to save what is gone", "clear None None"],
    "memcached-tool of the package": ["maxbytes", "num_threads", "binding_protocol"],
}
LANDMARKS["PHP sessions, binary protocol"] = LANDMARKS["PHP sessions, text protocol"]

# What memcached 1.6.45, and so this server, does otherwise than Debian's 1.6.18: names of settings.
NEWER = {"memcached-tool of the package": {"drop_privileges", "client_flags_size", "memory_file", "num_napi_ids", "ssl_kernel_tls", "ssl_min_version", "slab_chunk_max"}}


def transcripts():
    """What each application saw."""
    seen = {}
    for name, args in APPLICATIONS.items():
        r = run(*args)
        if r.returncode:
            fail(name, r.stdout)
        ask("flush_all\r\n")
        seen[name] = r.stdout.splitlines()
    return seen


def life():
    """What the unit does when it is restarted, killed and stopped."""
    seen = []
    seen.append(ask("set k 0 0 1\r\nx\r\nget k\r\n"))
    pid = prop("memcached", "MainPID")
    systemctl("restart", "memcached")
    until("memcached after restart", answers)
    seen.append(ask("get k\r\n"))
    seen.append(prop("memcached", "MainPID") != pid)
    systemctl("kill", "-s", "KILL", "memcached")
    until("systemd to start it again", lambda: prop("memcached", "NRestarts") == "1" and answers())
    systemctl("stop", "memcached")
    for name in ("Result", "ExecMainStatus", "ActiveState"):
        seen.append(name + "=" + prop("memcached", name))
    seen.append(os.path.exists("/run/memcached/memcached.pid"))
    return seen


def variants():
    """The same with each line of the configuration that is there as a comment."""
    with open(CONF) as f:
        text = f.read()
    seen = []
    for line in re.findall(r"^# (-[a-zA-Z]+(?: \d+)?)$", text, re.M):
        with open(CONF, "w") as f:
            f.write(text.replace("\n# " + line + "\n", "\n" + line + "\n"))
        systemctl("start", "memcached")
        until("memcached with " + line, answers)
        seen.append((line, ask("set k 0 0 1\r\nx\r\nget k\r\n"), sorted(set(re.findall(r"STAT (?:maxconns|evictions|verbosity) .*", ask("stats settings\r\n"))))))
        systemctl("stop", "memcached")
    with open(CONF, "w") as f:
        f.write(text)
    return seen


def serve():
    """Everything that is done with either server."""
    before = listening()
    systemctl("start", "memcached")
    until("memcached", answers)
    f = facts(before)
    exe = os.readlink("/proc/" + prop("memcached", "MainPID") + "/exe")
    t = transcripts()
    return exe, f, t, life(), variants()


def package():
    exe, facts1, seen1, life1, variants1 = serve()
    expect("the package's memcached runs as it comes: " + run(THEIRS, "-V").stdout.split("\n")[0], exe == THEIRS, exe)
    for name, marks in LANDMARKS.items():
        missing = [m for m in marks if m not in seen1[name]]
        if missing:
            fail(name + ": the application did not work with memcached", "\n".join(missing + ["in"] + seen1[name]))

    # Only the binary's name is changed.
    with open(WRAPPER) as f:
        text = f.read()
    changed = text.replace(f'"{THEIRS}"', f'"{OURS}"')
    diff = [d for d in difflib.ndiff(text.splitlines(), changed.splitlines()) if d[0] in "+-"]
    expect("one line of the wrapper is changed: " + "; ".join(diff), len(diff) == 2)
    with open(WRAPPER, "w") as f:
        f.write(changed)
    os.rename(THEIRS, THEIRS + ".away")

    exe, facts2, seen2, life2, variants2 = serve()
    expect("the unit of the package runs " + run(OURS, "-V").stdout.split("\n")[0], exe == OURS, exe)
    for name, value in facts1.items():
        expect(f"{name}: {value}", facts2[name] == value, f"expected {value!r}, found {facts2[name]!r}")
    for name, lines in seen1.items():
        newer = NEWER.get(name, ())
        delta = [d for d in difflib.unified_diff(lines, seen2[name], "memcached", "sememcached", n=2, lineterm="")]
        changes = [d for d in delta if d[0] in "+-" and d[:3] not in ("+++", "---") and d[1:] not in newer]
        expect(f"{name}: {len(lines)} lines, the same as with memcached", not changes, "\n".join(delta))
    expect("restarted, killed and stopped: " + repr(life1[2:]), life1 == life2, f"memcached   {life1!r}\nsememcached {life2!r}")
    for a, b in zip(variants1, variants2):
        expect(f"memcached.conf with {a[0]}: {', '.join(a[2])}", a == b, f"memcached   {a!r}\nsememcached {b!r}")
    if len(variants1) < 5 or len(variants1) != len(variants2):
        fail("the lines of memcached.conf that are comments", repr(variants1))
    log = run("journalctl", "--no-pager", "-q", "-u", "memcached").stdout
    expect("the journal has the server's lines, and none of an error", "access control by" in log and "level=ERROR" not in log, log)


def options(text):
    with open("/etc/default/sememcached", "w") as f:
        f.write(f'OPTIONS="{text}"\n')


def own():
    """The units of this project."""
    unit = "sememcached.service"
    systemctl("daemon-reload")
    systemctl("start", unit)
    expect("sememcached.service: active when it serves, " + prop(unit, "StatusText"), answers() and prop(unit, "StatusText") != "")
    pid = prop(unit, "MainPID")
    st = status(pid)
    expect("it runs as memcache, under a system call filter, without new privileges", pwd.getpwuid(int(st["Uid"].split()[1])).pw_name == "memcache"
           and st["Seccomp"] == "2" and st["NoNewPrivs"] == "1", repr(st))
    systemctl("reload", unit)
    until("the reload", lambda: "reloaded" in run("journalctl", "--no-pager", "-u", unit).stdout)
    expect("reload keeps the process", prop(unit, "MainPID") == pid and answers())
    systemctl("stop", unit)
    expect("stop: " + prop(unit, "Result"), prop(unit, "Result") == "success")

    files = "/run/sememcached/sock", "/run/sememcached/pid", "/var/lib/sememcached/data"
    options("-s {} -a 777 -P {} --data {}".format(*files))
    systemctl("start", unit)
    expect("with a socket, a pid file and data in the unit's directories", answers(files[0]) and all(map(os.path.exists, files)), run("ls", "-ld", *files).stdout)
    ask("set k 0 0 4\r\nkept\r\n", files[0])
    systemctl("restart", unit)
    expect("and after a restart the data are there", ask("get k\r\n", files[0]) == "VALUE k 0 4\r\nkept\r\nEND\r\n")
    systemctl("stop", unit)
    os.remove("/etc/default/sememcached")

    # The watchdog: a server that lives is left alone, one that hangs is replaced.
    drop = "/etc/systemd/system/sememcached.service.d"
    with open(drop + "/watchdog.conf", "w") as f:
        f.write("[Service]\nWatchdogSec=1\nTimeoutAbortSec=5\n")
    systemctl("daemon-reload")
    systemctl("start", unit)
    pid = prop(unit, "MainPID")
    time.sleep(3)
    expect("three times the watchdog's second, and the same process", prop(unit, "MainPID") == pid and prop(unit, "NRestarts") == "0")
    os.kill(int(pid), signal.SIGSTOP)
    until("the watchdog", lambda: prop(unit, "NRestarts") == "1" and answers())
    expect("a server that hangs is replaced", prop(unit, "MainPID") != pid)
    systemctl("stop", unit)
    os.remove(drop + "/watchdog.conf")

    # Debian's configuration under our unit.
    shutil.copy(HERE + "/memcached-conf.conf", drop)
    with open(CONF) as f:
        text = f.read()
    with open(CONF, "w") as f:
        f.write(text.replace("-m 64", "-m 100 # a comment").replace("# -c 1024", "  -c 700"))
    systemctl("daemon-reload")
    systemctl("start", unit)
    settings = ask("stats settings\r\n")
    pid = prop(unit, "MainPID")
    with open("/run/memcached/memcached.pid") as f:
        expect("memcached.conf under sememcached.service", f.read().strip() == pid and "STAT maxbytes 104857600\r\n" in settings and "STAT maxconns 700\r\n" in settings
               and pwd.getpwuid(int(status(pid)["Uid"].split()[1])).pw_name == "memcache", settings)
    systemctl("reload", unit)
    systemctl("stop", unit)
    shutil.rmtree(drop)
    systemctl("daemon-reload")

    # Socket activation: the first client starts the server.
    systemctl("start", "sememcached.socket")
    expect("the socket unit listens and nothing runs", prop(unit, "ActiveState") == "inactive")
    expect("the first client, over TCP, is served", ask("set k 0 0 1\r\nx\r\nget k\r\n") == "STORED\r\nVALUE k 0 1\r\nx\r\nEND\r\n")
    expect("another over the UNIX socket sees the same", ask("get k\r\n", "/run/sememcached.sock") == "VALUE k 0 1\r\nx\r\nEND\r\n")
    pid = prop(unit, "MainPID")
    systemctl("restart", unit)
    expect("the sockets outlive the server", answers() and answers("/run/sememcached.sock") and prop(unit, "MainPID") != pid)


package()
own()
print(f"debian-root: {checked} things checked in a clean {open('/etc/debian_version').read().strip()}")
