"""PHP sessions over HTTP: php's own web server, and browsers with cookies, some of
them impatient. Argument: 0 or 1, memcached.sess_binary_protocol."""
import http.cookiejar
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

binary = sys.argv[1]
PORT = 8080
settings = {
    "session.save_handler": "memcached", "session.save_path": "127.0.0.1:11211",
    "session.use_strict_mode": "0", "session.gc_maxlifetime": "1440",
    "memcached.sess_binary_protocol": binary, "memcached.sess_locking": "1",
    "memcached.sess_lock_wait_min": "1", "memcached.sess_lock_wait_max": "5", "memcached.sess_lock_retries": "5000",
}
args = ["php"]
for name, value in settings.items():
    args += ["-d", f"{name}={value}"]
web = subprocess.Popen(args + ["-S", f"127.0.0.1:{PORT}", "-t", os.path.dirname(__file__)],
                       env={**os.environ, "PHP_CLI_SERVER_WORKERS": "4"},
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
log = []
reader = threading.Thread(target=lambda: log.extend(web.stderr))
reader.start()
for _ in range(500):
    try:
        socket.create_connection(("127.0.0.1", PORT)).close()
        break
    except OSError:
        time.sleep(0.02)


class Browser:
    def __init__(self, session=None):
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        if session:
            self.opener.addheaders.append(("Cookie", "PHPSESSID=" + session))

    def get(self, do):
        try:
            with self.opener.open(f"http://127.0.0.1:{PORT}/session.php?do={do}", timeout=60) as r:
                return r.read().decode().strip()
        except urllib.error.HTTPError as e:
            return f"HTTP {e.code} {e.read().decode().strip()}"

    @property
    def session(self):
        return {c.name: c.value for c in self.jar}["PHPSESSID"]


def memcached(line):
    with socket.create_connection(("127.0.0.1", 11211)) as s:
        s.sendall((line + "\r\n").encode())
        return s.makefile("rb").readline().decode().strip()


try:
    a, b = Browser(), Browser()
    for _ in range(3):
        print("a counts", a.get("count"))
    print("b counts", b.get("count"), "another session", a.session != b.session)
    print("a fills a cart", a.get("cart"))
    print("a has it", a.get("read"))
    print("b has not", b.get("read"))
    print("a stores much", a.get("big"))
    print("a has it", a.get("read"))

    key = "memc.sess.key." + a.session
    kind, ttl = memcached(f"mg {key} t").split()
    print("the item", kind, "lives as long as a session", 1380 <= int(ttl[1:]) <= 1440)
    print("its lock is gone", memcached(f"mg memc.sess.key.lock.{a.session} t"))

    before = a.session
    print("a logs in", a.get("login"), "under another id", a.session != before)
    print("the old session", memcached(f"mg memc.sess.key.{before} t"))
    print("a thief with the old id", Browser(before).get("read"))
    print("a", a.get("read"))

    # Each request holds the session's lock: none is lost.
    tabs = [threading.Thread(target=lambda: [Browser(b.session).get("count") for _ in range(20)]) for _ in range(8)]
    for t in tabs:
        t.start()
    for t in tabs:
        t.join()
    print("b after 160 counts in 8 tabs", b.get("read"))

    print("a logs out", a.get("logout"))
    print("a's item", memcached(f"mg memc.sess.key.{a.session} t"))
    print("a again", a.get("read"))
    memcached(f"delete memc.sess.key.{b.session}")
    print("b, whose item is deleted", b.get("read"))
    print("b begins anew", b.get("count"))
finally:
    os.killpg(web.pid, signal.SIGKILL)  # its workers too
    web.wait()
    reader.join()
for line in log:
    if "PHP Warning" in line or "PHP Fatal" in line or "PHP Notice" in line:
        print(line.split("PHP ", 1)[1].strip())
