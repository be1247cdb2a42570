"""TLS from Python: a socket of the ssl module, and pymemcache with a tls_context.
Arguments: host, port, authority, certificate, key, expected context, directory of
certificates with what each gives."""
import socket
import ssl
import sys

from pymemcache.client.base import Client

host, port, ca, cert, key, context, cases = sys.argv[1:]
address = (host, int(port))

ctx = ssl.create_default_context(cafile=ca)
ctx.load_cert_chain(cert, key)


def ask(sock, text, want):
    sock.sendall(text.encode())
    got = b""
    while len(got) < len(want):
        part = sock.recv(65536)
        assert part, got
        got += part
    assert got == want.encode(), got


for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
    ctx.minimum_version = ctx.maximum_version = version
    with socket.create_connection(address, 20) as raw, ctx.wrap_socket(raw, server_hostname="localhost") as s:
        ask(s, "mac whoami\r\n", "MAC %s\r\n" % context)
        ask(s, "set k 0 0 5\r\nhello\r\nget k\r\n", "STORED\r\nVALUE k 0 5\r\nhello\r\nEND\r\n")
        big = "v" * 700_000
        ask(s, "set big 0 0 %d\r\n%s\r\n" % (len(big), big), "STORED\r\n")
        ask(s, "get big\r\n", "VALUE big 0 %d\r\n%s\r\nEND\r\n" % (len(big), big))
        first = s.session
        s.sendall(b"quit\r\n")
        assert s.recv(1) == b""  # close_notify: without it this would be an SSLEOFError
    # A session is taken up again.
    with socket.create_connection(address, 20) as raw, ctx.wrap_socket(raw, server_hostname="localhost", session=first) as s:
        ask(s, "mac whoami\r\n", "MAC %s\r\n" % context)
        assert s.session_reused, version
ctx.minimum_version = ssl.TLSVersion.TLSv1_2
ctx.maximum_version = ssl.TLSVersion.TLSv1_3

# A client that trusts nobody who has signed the server's certificate.
try:
    with socket.create_connection(address, 20) as raw, ssl.create_default_context().wrap_socket(raw, server_hostname="localhost"):
        sys.exit("the server's certificate is trusted by somebody who does not know its authority")
except ssl.SSLCertVerificationError:
    pass

# Certificates that are refused, or taken for somebody.
with open(cases + "/cases") as f:
    for name, want in map(str.split, f):
        for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
            who = ssl.create_default_context(cafile=ca)
            who.minimum_version = who.maximum_version = version
            who.load_cert_chain(f"{cases}/{name}.pem", f"{cases}/{name}.key")
            try:
                with socket.create_connection(address, 20) as raw, who.wrap_socket(raw, server_hostname="localhost") as s:
                    s.sendall(b"mac whoami\r\n")
                    got = s.makefile("rb").readline().decode().strip().removeprefix("MAC ") or "refused"
            except (ssl.SSLError, ConnectionError):
                got = "refused"
            assert got == want, (name, version, got, want)

# A client without a certificate, where one is required. In TLS 1.3 it learns that
# with the first answer.
bare = ssl.create_default_context(cafile=ca)
try:
    with socket.create_connection(address, 20) as raw, bare.wrap_socket(raw, server_hostname="localhost") as s:
        s.sendall(b"version\r\n")
        got = s.recv(100)
        sys.exit("served without a certificate: %r" % got)
except (ssl.SSLError, ConnectionError):
    pass

c = Client(("localhost", int(port)), tls_context=ctx, timeout=20, connect_timeout=20)
assert c.set("a", "one")
assert c.get("a") == b"one"
assert c.set_many({"m%d" % i: "x" * 1000 for i in range(100)}) == []
assert len(c.get_many(["m%d" % i for i in range(200)])) == 100
assert c.set("n", "41", noreply=False) and c.incr("n", 1) == 42
assert c.delete("a", noreply=False)
assert c.get("a") is None
assert c.set("large", "z" * 900_000) and len(c.get("large")) == 900_000
c.quit()
print("ok")
