"""libmemcached itself, by its own functions: text or binary, ketama over servers."""

import ctypes
import sys

protocol, servers = sys.argv[1], sys.argv[2:]
lib = ctypes.CDLL("libmemcached.so.11")
lib.memcached.restype = ctypes.c_void_p
lib.memcached_strerror.restype = ctypes.c_char_p
lib.memcached_get.restype = ctypes.c_void_p
lib.memcached_generate_hash.restype = ctypes.c_uint32
libc = ctypes.CDLL(None)

options = " ".join("--SERVER=" + s for s in servers) + " --DISTRIBUTION=consistent --HASH=MD5"
if protocol == "binary":
    options += " --BINARY-PROTOCOL"
m = ctypes.c_void_p(lib.memcached(options.encode(), ctypes.c_size_t(len(options))))
assert m.value, options
size = ctypes.c_size_t


def ok(rc, *also):
    assert rc == 0 or rc in also, lib.memcached_strerror(m, rc)
    return rc


def put(fn, key, value, expires=0, flags=0):
    return fn(m, key, size(len(key)), value, size(len(value)), ctypes.c_long(expires), ctypes.c_uint32(flags))


def get(key):
    n, flags, rc = size(), ctypes.c_uint32(), ctypes.c_int()
    p = lib.memcached_get(m, key, size(len(key)), ctypes.byref(n), ctypes.byref(flags), ctypes.byref(rc))
    if rc.value == 16:  # MEMCACHED_NOTFOUND
        return None, 0
    ok(rc.value)
    if p is None:
        return b"", flags.value
    value = ctypes.string_at(p, n.value)
    libc.free(ctypes.c_void_p(p))
    return value, flags.value


used = set()
for i in range(300):
    key, value = b"ketama:%d" % i, b"value %d" % i
    used.add(lib.memcached_generate_hash(m, key, size(len(key))))
    ok(put(lib.memcached_set, key, value, 100, i))
    assert get(key) == (value, i), key
assert used == {0, 1, 2}, used
big = bytes(range(256)) * 3000
ok(put(lib.memcached_set, b"big", big))
assert get(b"big") == (big, 0)
assert put(lib.memcached_add, b"big", b"x") != 0
ok(put(lib.memcached_replace, b"big", b"41"))
new = ctypes.c_uint64()
ok(lib.memcached_increment(m, b"big", size(3), ctypes.c_uint32(1), ctypes.byref(new)))
assert new.value == 42
ok(put(lib.memcached_append, b"big", b"!"))
ok(put(lib.memcached_prepend, b"big", b"?"))
assert get(b"big")[0] == b"?42!"
ok(lib.memcached_touch(m, b"big", size(3), ctypes.c_long(100)))
ok(lib.memcached_delete(m, b"big", size(3), ctypes.c_long(0)))
assert get(b"big") == (None, 0)
ok(lib.memcached_flush(m, ctypes.c_long(0)))
assert get(b"ketama:7") == (None, 0)
print("ok")
