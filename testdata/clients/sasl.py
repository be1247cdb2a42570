# python3-binary-memcached with SASL: right and wrong passwords. Arguments: host:port,
# and the authority of the server's certificate, if it speaks TLS.
import ssl
import sys
import bmemcached

server = sys.argv[1]
tls = ssl.create_default_context(cafile=sys.argv[2]) if len(sys.argv) > 2 else None
c = bmemcached.Client((server,), "alice", "secret", tls_context=tls)
assert c.set("py", "thon")
assert c.get("py") == "thon"
c.disconnect_all()

try:
    w = bmemcached.Client((server,), "alice", "wrong", tls_context=tls)
    assert not w.set("py", "other")
except bmemcached.exceptions.AuthenticationNotSupported:
    raise
except bmemcached.exceptions.MemcachedException:
    pass
c = bmemcached.Client((server,), "bob", "builder", tls_context=tls)
assert c.get("py") == "thon"
print("ok")
