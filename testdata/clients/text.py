# The text protocol as pymemcache speaks it. Argument: host:port.
import sys

from pymemcache.client.base import Client
from pymemcache.client.hash import HashClient

servers = [(h, int(p)) for h, p in (a.rsplit(":", 1) for a in sys.argv[1:])]


def same(got, want):
    if got != want:
        raise SystemExit("got %r, want %r" % (got, want))


c = Client(servers[0], default_noreply=False, timeout=10)
same(c.set("a", "one", flags=7), True)
same(c.get("a"), b"one")
same(c.add("a", "x"), False)
same(c.replace("none", "x"), False)
same(c.append("a", "!"), True)
same(c.prepend("a", "?"), True)
value, cas = c.gets("a")
same(value, b"?one!")
same(c.cas("a", "two", cas), True)
same(c.cas("a", "three", cas), False)
same(c.cas("none", "x", cas), None)
same(c.set_many({"m%d" % i: str(i) for i in range(50)}), [])
same(len(c.get_many(["m%d" % i for i in range(60)])), 50)
same(c.incr("m41", 1), 42)
same(c.decr("m41", 50), 0)
same(c.touch("a", 100), True)
same(c.delete("a"), True)
same(c.delete("a"), False)
big = b"0123456789abcdef" * 60000
same(c.set("big", big), True)
same(c.get("big"), big)
same(c.version(), b"1.6.45")
assert c.stats()[b"curr_items"] > 50
same(c.flush_all(), True)
same(c.get("big"), None)

h = HashClient(servers, default_noreply=False, timeout=10)
for i in range(300):
    same(h.set("h%d" % i, str(i)), True)
same(len(h.get_many(["h%d" % i for i in range(300)])), 300)
print("ok")
