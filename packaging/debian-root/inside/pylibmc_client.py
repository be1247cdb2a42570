"""pylibmc in the text and the binary protocol, over several behaviors."""
import hashlib
import itertools
import threading

import pylibmc


def show(what, value):
    if isinstance(value, (str, bytes)) and len(value) > 100:
        value = (len(value), hashlib.md5(value if isinstance(value, bytes) else value.encode()).hexdigest())
    print(f"{what}: {value!r}")


def attempt(what, fn, *args, **kw):
    try:
        show(what, fn(*args, **kw))
    except (pylibmc.Error, ValueError) as e:
        show(what, type(e).__name__)


plain = {}
fast = {"tcp_nodelay": True, "ketama": True, "no_block": True}
for binary, behaviors in itertools.product((False, True), (plain, fast)):
    print("--", "binary" if binary else "text", sorted(behaviors))
    c = pylibmc.Client(["127.0.0.1:11211"], binary=binary, behaviors={**behaviors, "cas": True})
    c.flush_all()
    attempt("get of none", c.get, "none")
    attempt("set", c.set, "a", "one", time=100)
    attempt("add", c.add, "a", "two")
    attempt("replace of none", c.replace, "none", "x")
    attempt("replace", c.replace, "a", b"two")
    attempt("get", c.get, "a")
    attempt("append", c.append, "a", b"!")
    attempt("prepend", c.prepend, "a", b"<")
    attempt("append to none", c.append, "none", b"!")
    attempt("get", c.get, "a")
    for i, v in enumerate([None, True, False, 1, -5, 10**30, 1.5, "żółw", b"\0\xff\r\n", "", [1, {"k": (2, 3)}], {"x": {1, 2}}]):
        c.set(f"v{i}", v)
        show(f"value {i}", c.get(f"v{i}") == v)
    for n in (3000, 1_000_000, 1_100_000):
        big = hashlib.sha256(str(n).encode()).digest() * (n // 32)
        attempt(f"set {n}", c.set, f"big{n}", big)
        attempt(f"get {n}", c.get, f"big{n}")
        attempt(f"set compressed {n}", c.set, f"z{n}", big, min_compress_len=1000)
        attempt(f"get compressed {n}", c.get, f"z{n}")
    attempt("incr of none", c.incr, "none")
    c.set("n", 41)
    attempt("incr", c.incr, "n")
    attempt("decr", c.decr, "n", 100)
    attempt("incr of text", c.incr, "a")
    attempt("get", c.get, "n")
    attempt("touch", c.touch, "a", 200)
    attempt("touch of none", c.touch, "none", 200)
    attempt("set that is over", c.set, "gone", 1, time=1)
    many = {f"m{i}": i for i in range(500)}
    attempt("set_multi", c.set_multi, many, time=100)
    show("get_multi", c.get_multi(list(many) + ["none"]) == many)
    attempt("add_multi", lambda: sorted(c.add_multi({"m1": 1, "new": 2})))
    attempt("incr_multi", c.incr_multi, ["m1", "m2"], delta=10)
    attempt("get_multi", c.get_multi, ["m1", "m2", "none"])
    attempt("with a prefix", c.get_multi, ["1", "2"], key_prefix="m")
    attempt("delete_multi", c.delete_multi, ["m1", "m2"])
    attempt("delete_multi of none", c.delete_multi, ["m1", "m3"])
    if not binary:
        value, cas = c.gets("a")
        show("gets", value)
        attempt("cas", c.cas, "a", "three", cas)
        attempt("cas again", c.cas, "a", "four", cas)
        attempt("get", c.get, "a")
    attempt("delete", c.delete, "a")
    attempt("delete again", c.delete, "a")
    attempt("a long key", c.set, "k" * 251, 1)
    attempt("a long key", c.get, "k" * 251)
    (_, stats), = c.get_stats()
    show("stats", int(stats["curr_items"]) > 400)
    for what in ("items", "slabs", "settings"):
        (_, stats), = c.get_stats(what)
        show("stats " + what, len(stats) > 20)

    pool = pylibmc.ThreadMappedPool(c)
    good = []

    def work(i):
        with pool.reserve() as mc:
            for k in range(100):
                mc.set(f"t{i}.{k}", k)
            good.append(all(mc.get(f"t{i}.{k}") == k for k in range(100)))
            mc.incr("shared")
        pool.relinquish()

    c.set("shared", 0)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    show("8 threads", (good, c.get("shared")))
    attempt("flush_all", c.flush_all)
    attempt("get after it", c.get, "n")
    c.disconnect_all()
