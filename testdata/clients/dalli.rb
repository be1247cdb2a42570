# The binary and the meta protocol as dalli speaks them. Arguments: host:port.
require "dalli"

def same(got, want)
  raise "got #{got.inspect}, want #{want.inspect}" unless got == want
end

[:binary, :meta].each do |protocol|
  c = Dalli::Client.new(ARGV, protocol: protocol, socket_timeout: 10, value_max_bytes: 1 << 20, compress: false)
  c.flush_all
  same(!!c.set("a", "one", 100), true)
  same(c.get("a"), "one")
  same(!!c.add("a", "x"), false)
  c.replace("none", "x")
  same(c.get("none"), nil)
  same(!!c.replace("a", "two"), true)
  same(!!c.cas("a") { |v| v + "!" }, true)
  same(c.get("a"), "two!")
  same(!!c.set("r", "one", 0, raw: true), true)
  same(!!c.append("r", "2"), true)
  same(!!c.prepend("r", "0"), true)
  same(c.get("r", raw: true), "0one2")
  same(c.incr("n", 1, 100, 10), 10)
  same(c.incr("n", 5), 15)
  same(c.decr("n", 20), 0)
  same(!!c.touch("a", 200), true)
  same(c.gat("a", 200), "two!")
  300.times { |i| c.set("m#{i}", i.to_s) }
  c.quiet { 50.times { |i| c.set("q#{i}", i.to_s) } } if c.respond_to?(:quiet)
  same(c.get_multi((0...310).map { |i| "m#{i}" }).size, 300)
  big = "0123456789abcdef" * 60_000
  same(!!c.set("big", big, 0, raw: true), true)
  same(c.get("big", raw: true), big)
  same(!!c.delete("a"), true)
  same(c.get("a"), nil)
  c.stats.each_value { |s| same(s["version"], "1.6.45") }
  c.close
end
puts "ok"
