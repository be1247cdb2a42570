<?php
// php-memcached: every operation that it has, in the text and in the binary protocol,
// with each of its serializers. What each gave is a line.
function show($what, $value) { echo $what, ": ", json_encode($value, JSON_PARTIAL_OUTPUT_ON_ERROR), "\n"; }

foreach ([false, true] as $binary) {
    foreach (["php" => Memcached::SERIALIZER_PHP, "igbinary" => Memcached::SERIALIZER_IGBINARY,
              "json" => Memcached::SERIALIZER_JSON_ARRAY, "msgpack" => Memcached::SERIALIZER_MSGPACK] as $name => $serializer) {
        echo "-- ", $binary ? "binary" : "text", ", ", $name, "\n";
        $m = new Memcached();
        $m->setOptions([
            Memcached::OPT_BINARY_PROTOCOL => $binary, Memcached::OPT_SERIALIZER => $serializer,
            Memcached::OPT_LIBKETAMA_COMPATIBLE => true, Memcached::OPT_TCP_NODELAY => true,
            Memcached::OPT_PREFIX_KEY => "$name.$binary.",
        ]);
        $m->addServer("127.0.0.1", 11211);
        $try = function ($op, ...$args) use ($m) {
            $r = $m->$op(...$args);
            $what = "$op(" . implode(", ", array_map(fn($a) => is_scalar($a) ? substr(var_export($a, true), 0, 40) : gettype($a), $args)) . ")";
            show($what, is_string($r) && strlen($r) > 100 ? [strlen($r), md5($r)] : $r);
            show("  ", $m->getResultMessage());
            return $r;
        };
        $try("get", "none");
        $try("set", "a", "one", 100);
        $try("add", "a", "two");
        $try("replace", "none", "x");
        $try("replace", "a", "two");
        $try("get", "a");
        $try("setOption", Memcached::OPT_COMPRESSION, false); // else nothing is appended
        $try("set", "s", "b");
        $try("append", "s", "c");
        $try("prepend", "s", "a");
        $try("append", "none", "c");
        $try("get", "s");
        $try("setOption", Memcached::OPT_COMPRESSION, true);
        $try("set", "types", ["i" => 1, "f" => 1.5, "n" => null, "t" => true, "l" => [1, [2, [3]]], "u" => "żółw"]);
        $try("get", "types");
        foreach ([true, false, 7, -7, 2.25, "", "\0\xff\r\n"] as $i => $v) {
            $try("set", "v$i", $v);
            var_dump($m->get("v$i") === $v);
        }
        foreach ([3000, 1000000] as $n) {
            $big = str_repeat(md5("$n", true), intdiv($n, 16));
            if ($serializer === Memcached::SERIALIZER_JSON_ARRAY) $big = bin2hex(substr($big, 0, intdiv($n, 2)));
            $try("set", "big$n", $big);
            var_dump($m->get("big$n") === $big);
        }
        $try("setOption", Memcached::OPT_COMPRESSION, false);
        $try("set", "toobig", str_repeat("0123456789abcdef", 70000));
        $try("get", "toobig");
        $try("set", "n", 10);
        $try("increment", "n", 5);
        $try("decrement", "n", 100);
        $try("increment", "missing", 5);
        if ($binary) $try("increment", "initial", 5, 40, 100);
        $try("get", "n");
        $try("touch", "a", 200);
        $try("touch", "none", 200);
        $try("set", "gone", "x", -1);
        $try("get", "gone");
        $many = [];
        for ($i = 0; $i < 300; $i++) $many["m$i"] = $i % 2 ? $i : "value $i";
        $try("setMulti", $many, 100);
        $got = $m->getMulti(array_merge(array_keys($many), ["none"]));
        ksort($got); ksort($many);
        var_dump($got == $many);
        $try("getDelayed", ["m1", "m2", "none"], true);
        $all = $m->fetchAll();
        foreach ($all as &$x) unset($x["cas"]);
        sort($all);
        show("fetchAll", $all);
        $x = $m->get("a", null, Memcached::GET_EXTENDED);
        $cas = $x["cas"];
        var_dump($cas > 0);
        $m->cas($cas, "a", "three"); show("cas", $m->getResultMessage());
        $m->cas($cas, "a", "four"); show("cas again", $m->getResultMessage());
        $m->cas($cas, "none", "four"); show("cas of none", $m->getResultMessage());
        $try("get", "a");
        $got = $m->get("loaded", function ($m, $key, &$value) { $value = "by callback"; return true; });
        show("read-through", [$got, $m->get("loaded")]);
        $try("deleteMulti", ["m1", "m2", "none"]);
        $try("delete", "a");
        $try("delete", "a");
        $try("get", str_repeat("k", 251));
        $stats = array_values($m->getStats())[0];
        var_dump($stats["curr_items"] > 300, isset($stats["cmd_get"]), isset($stats["limit_maxbytes"]));
        $try("flush");
        $try("get", "n");
        $m->quit();
    }
}
