// The binary protocol as memjs speaks it. Arguments: host:port.
const assert = require("assert");
const memjs = require("memjs");

(async () => {
  const c = memjs.Client.create(process.argv.slice(2).join(","), { timeout: 10, conntimeout: 10 });
  assert.ok(await c.set("a", "one", { expires: 100 }));
  assert.strictEqual((await c.get("a")).value.toString(), "one");
  assert.strictEqual(await c.add("a", "x", {}), false);
  assert.strictEqual(await c.replace("none", "x", {}), false);
  assert.ok(await c.append("a", "!"));
  assert.strictEqual((await c.get("a")).value.toString(), "one!");
  assert.strictEqual((await c.increment("n", 1, { initial: 10 })).value, 10);
  assert.strictEqual((await c.increment("n", 5, {})).value, 15);
  assert.strictEqual((await c.decrement("n", 20, {})).value, 0);
  assert.ok(await c.touch("a", 200));
  const big = "0123456789abcdef".repeat(60000);
  assert.ok(await c.set("big", big, {}));
  assert.strictEqual((await c.get("big")).value.toString(), big);
  for (let i = 0; i < 300; i++) assert.ok(await c.set("m" + i, String(i), {}));
  for (let i = 0; i < 300; i++) assert.strictEqual((await c.get("m" + i)).value.toString(), String(i));
  assert.ok(await c.delete("a"));
  assert.strictEqual((await c.get("a")).value, null);
  await new Promise((done) => c.flush(done));
  assert.strictEqual((await c.get("big")).value, null);
  c.close();
  console.log("ok");
})().catch((e) => { console.error(e); process.exit(1); });
