<?php
// A page with a session, which memcached.so keeps (session.save_handler).
$do = $_GET["do"] ?? "count";
if ($do === "read") {
    session_start(["read_and_close" => true]);
} elseif (!session_start()) {
    http_response_code(500);
    exit("session_start failed\n");
}
switch ($do) {
    case "count":
        $n = ($_SESSION["n"] ?? 0) + 1;
        usleep(2000); // another request of the same session has to wait
        $_SESSION["n"] = $n;
        break;
    case "cart":
        $_SESSION["cart"] = ["items" => range(1, 500), "user" => ["name" => "Žofia", "admin" => false], "when" => null];
        break;
    case "big":
        $_SESSION["big"] = str_repeat("session ", 60000);
        break;
    case "login":
        session_regenerate_id(true);
        $_SESSION["user"] = "alice";
        break;
    case "logout":
        session_destroy();
        $_SESSION = [];
        break;
}
header("Content-Type: text/plain");
echo json_encode(["n" => $_SESSION["n"] ?? null, "user" => $_SESSION["user"] ?? null,
    "cart" => isset($_SESSION["cart"]) ? md5(json_encode($_SESSION["cart"])) : null,
    "big" => strlen($_SESSION["big"] ?? "")]), "\n";
