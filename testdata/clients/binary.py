# The binary protocol as python-binary-memcached speaks it. Arguments: host:port.
import sys

import bmemcached


def same(got, want):
    if got != want:
        raise SystemExit("got %r, want %r" % (got, want))


c = bmemcached.Client(sys.argv[1], socket_timeout=10)
same(c.set("a", "one"), True)
same(c.get("a"), "one")
same(c.add("a", "x"), False)
same(c.replace("none", "x"), False)
value, cas = c.gets("a")
same(value, "one")
same(c.cas("a", "two", cas), True)
same(c.cas("a", "three", cas), False)
same(c.set_multi({"m%d" % i: str(i) for i in range(50)}) in (True, []), True)
same(len(c.get_multi(["m%d" % i for i in range(60)])), 50)
same(c.incr("n", 1, default=10), 10)
same(c.incr("n", 5), 15)
same(c.decr("n", 20), 0)
same(c.delete("a"), True)
same(c.get("a"), None)
big = "0123456789abcdef" * 60000
same(c.set("big", big, compress_level=0), True)
same(c.get("big"), big)
stats = list(c.stats().values())[0]
same(stats["version"], b"1.6.45")
same(c.flush_all(), True)
same(c.get("big"), None)

c = bmemcached.DistributedClient(sys.argv[1:], socket_timeout=10)
for i in range(300):
    same(c.set("h%d" % i, str(i)), True)
same(len(c.get_multi(["h%d" % i for i in range(300)])), 300)
print("ok")
