# python3-binary-memcached with SASL: right and wrong passwords.
import sys
import bmemcached

server = sys.argv[1]
c = bmemcached.Client((server,), "alice", "secret")
assert c.set("py", "thon")
assert c.get("py") == "thon"
c.disconnect_all()

try:
    w = bmemcached.Client((server,), "alice", "wrong")
    assert not w.set("py", "other")
except bmemcached.exceptions.AuthenticationNotSupported:
    raise
except bmemcached.exceptions.MemcachedException:
    pass
c = bmemcached.Client((server,), "bob", "builder")
assert c.get("py") == "thon"
print("ok")
