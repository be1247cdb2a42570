// memjs with SASL. Arguments: host:port.
const assert = require("assert");
const memjs = require("memjs");

(async () => {
  const c = memjs.Client.create(process.argv[2], { timeout: 10, conntimeout: 10, username: "bob", password: "builder" });
  assert.ok(await c.set("js", "by memjs", {}));
  assert.strictEqual((await c.get("js")).value.toString(), "by memjs");
  c.close();
  console.log("ok");
})().catch((e) => { console.error(e); process.exit(1); });
