// TLS from Node.js: its tls module. Arguments: host, port, authority, certificate,
// key, expected context, directory of certificates with what each gives.
const fs = require("fs");
const tls = require("tls");
const assert = require("assert");

const [host, port, ca, cert, key, context, cases] = process.argv.slice(2);
const options = {
  host, port: Number(port), servername: "localhost",
  ca: fs.readFileSync(ca), cert: fs.readFileSync(cert), key: fs.readFileSync(key),
};

// connect is a connection whose ask sends text and resolves when the answer is as
// long as expected.
function connect(extra) {
  return new Promise((resolve, reject) => {
    const s = tls.connect({ ...options, ...extra }, () => resolve(s));
    s.once("error", reject);
    s.ask = (text, want) => new Promise((ok, fail) => {
      let got = "";
      const take = (part) => {
        got += part;
        if (got.length < want.length) return;
        s.off("data", take);
        try { assert.strictEqual(got, want); ok(); } catch (e) { fail(e); }
      };
      s.setEncoding("latin1").on("data", take);
      s.once("end", () => fail(new Error("the end after " + JSON.stringify(got.slice(0, 100)))));
      s.write(text);
    });
  });
}

async function main() {
  for (const version of ["TLSv1.2", "TLSv1.3"]) {
    const only = { minVersion: version, maxVersion: version };
    let session;
    const s = await connect(only);
    s.on("session", (x) => { session = x; }); // of TLS 1.3, which gives them later
    assert.strictEqual(s.getProtocol(), version);
    await s.ask("mac whoami\r\n", `MAC ${context}\r\n`);
    await s.ask("set k 0 0 5\r\nhello\r\nget k\r\n", "STORED\r\nVALUE k 0 5\r\nhello\r\nEND\r\n");
    const big = "v".repeat(700000);
    await s.ask(`set big 0 0 ${big.length}\r\n${big}\r\n`, "STORED\r\n");
    await s.ask("get big\r\n", `VALUE big 0 ${big.length}\r\n${big}\r\nEND\r\n`);
    session = session || s.getSession();
    const ended = new Promise((ok) => s.once("end", ok));
    s.removeAllListeners("data");
    s.resume();
    s.write("quit\r\n");
    await ended;
    const again = await connect({ ...only, session });
    assert(again.isSessionReused(), version);
    await again.ask("mac whoami\r\n", `MAC ${context}\r\n`);
    again.end();
  }
  await assert.rejects(connect({ ca: [] }), /certificate/);
  await assert.rejects(async () => {
    const s = await connect({ cert: undefined, key: undefined });
    const failed = new Promise((_, fail) => s.once("error", fail));
    await Promise.race([failed, s.ask("version\r\n", "VERSION 1.6.45\r\n")]);
  });
  for (const line of fs.readFileSync(`${cases}/cases`, "utf8").trim().split("\n")) {
    const [name, want] = line.split(" ");
    for (const version of ["TLSv1.2", "TLSv1.3"]) {
      assert.strictEqual(await whoami(name, version), want, `${name} ${version}`);
    }
  }
  console.log("ok");
}

// whoami is the context that a certificate gives, or "refused".
function whoami(name, version) {
  return new Promise((resolve) => {
    let got = "";
    const s = tls.connect({
      ...options, minVersion: version, maxVersion: version,
      cert: fs.readFileSync(`${cases}/${name}.pem`), key: fs.readFileSync(`${cases}/${name}.key`),
    }, () => s.write("mac whoami\r\nquit\r\n"));
    s.setEncoding("latin1").on("data", (part) => { got += part; });
    s.on("error", () => resolve("refused"));
    s.on("end", () => resolve(got.trim().replace("MAC ", "") || "refused"));
  });
}

main().catch((e) => { console.error(e); process.exit(1); });
