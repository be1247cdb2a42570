"""Sessions and the cache of Django, kept by pylibmc."""
import django
from django.conf import settings

settings.configure(
    CACHES={"default": {
        "BACKEND": "django.core.cache.backends.memcached.PyLibMCCache", "LOCATION": "127.0.0.1:11211",
        "OPTIONS": {"binary": True, "behaviors": {"ketama": True, "tcp_nodelay": True}},
    }},
    SESSION_ENGINE="django.contrib.sessions.backends.cache", INSTALLED_APPS=[], SECRET_KEY="a key of this check",
    USE_TZ=True,
)
django.setup()

from django.contrib.sessions.backends.base import CreateError, UpdateError  # noqa: E402
from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402
from django.core.cache import cache  # noqa: E402

s = SessionStore()
s["user"], s["cart"] = "alice", {"items": list(range(200)), "when": None}
s.save()
print("saved", s.session_key is not None, s.exists(s.session_key))
again = SessionStore(s.session_key)
print("loaded", again["user"], len(again["cart"]["items"]))
old = s.session_key
again.cycle_key()
print("cycled", again.session_key != old, SessionStore(old).get("user"), SessionStore(again.session_key)["user"])
try:
    other = SessionStore(again.session_key)
    other.save(must_create=True)
    print("created twice")
except CreateError:
    print("refused to create what is there")
again.flush()
print("flushed", again.session_key, SessionStore(old).get("user"))
lost = SessionStore()
lost.create()
lost["n"] = 1
cache.delete(lost.cache_key)
try:
    lost.save()
    print("saved what is gone")
except UpdateError:
    print("refused to save what is gone")

print("add", cache.add("k", 1), cache.add("k", 2), cache.get("k"))
print("get_or_set", cache.get_or_set("g", lambda: 5, 100), cache.get_or_set("g", lambda: 6))
print("incr", cache.incr("k", 5), cache.decr("k", 2))
try:
    cache.incr("none")
except ValueError as e:
    print("incr of none", type(e).__name__)
print("many", cache.set_many({f"m{i}": i for i in range(300)}), len(cache.get_many([f"m{i}" for i in range(310)])))
print("touch", cache.touch("k", 100), cache.touch("none"))
cache.set("v", 1, version=1)
print("versions", cache.incr_version("v"), cache.get("v", version=1), cache.get("v", version=2))
print("delete", cache.delete("k"), cache.delete("k"))
print("none", cache.set("nothing", None), cache.get("nothing", "default"))
print("clear", cache.clear(), cache.get("g"))
