"""Who may ask for the page, and what everybody else gets."""

import http.client
import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest
from driving import Served
from tiny_runs import a_run

pytestmark = pytest.mark.browser
SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec_WebSocket_Version": "13",
}


def answer(served, method="GET", path="/", **headers):
    """(status, headers, body) of a request."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    for name, value in ({"Host": f"127.0.0.1:{served.port}"} | headers).items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    response = connection.getresponse()
    body = b"" if response.status == 101 else response.read()
    connection.close()
    return response.status, dict(response.getheaders()), body


def upgrade(served, **headers):
    """The status of a request for a websocket."""
    return answer(served, path=SOCKET, **UPGRADE, **headers)[0]


linux = sys.platform.startswith("linux")


@pytest.mark.skipif(not linux, reason="reads the system's list of sockets in /proc")
def test_every_socket_it_listens_on_has_the_loopback_address(digits):
    process = Path("/proc") / str(digits.process.pid)
    links = [os.readlink(fd) for fd in (process / "fd").iterdir()]
    own = {link[8:-1] for link in links if link.startswith("socket:")}
    tables = [process / "net" / name for name in ("tcp", "tcp6")]
    lines = [line for t in tables if t.exists() for line in t.read_text().splitlines()[1:]]
    rows = [line.split() for line in lines]
    listening = [row[1] for row in rows if row[3] == "0A" and row[9] in own]
    assert listening == [f"0100007F:{digits.port:04X}"]  # 127.0.0.1


def test_the_machines_other_addresses_do_not_answer(digits):
    found = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
    others = {info[4][0] for info in found} | {"127.0.0.2"}
    for address in others - {"127.0.0.1"}:
        with pytest.raises(OSError):
            socket.create_connection((address, digits.port), timeout=5).close()


def test_the_page_is_served_with_what_it_may_load(digits):
    for host in (f"127.0.0.1:{digits.port}", f"localhost:{digits.port}"):
        status, headers, body = answer(digits, Host=host)
        assert status == 200 and b"tinyddpm" in body
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
        assert not re.findall(rb"(?:src|href)=.?https?://", body)


OTHER_HOSTS = [
    "evil.example",
    "127.0.0.1",
    "127.0.0.1:1",
    "localhost.evil.example:{port}",
    "127.0.0.1:{port}.evil.example",
    "",
]


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_another_host_is_refused(digits, host):
    host = host.format(port=digits.port)
    assert answer(digits, Host=host)[0] == 400
    assert upgrade(digits, Host=host) == 403


OTHER_ORIGINS = [
    "http://evil.example",
    "null",
    "https://127.0.0.1:{port}",
    "http://127.0.0.1:1",
    "http://localhost:{port}.evil.example",
    "file://",
]


@pytest.mark.parametrize("origin", OTHER_ORIGINS)
def test_a_websocket_of_another_origin_is_refused(digits, origin):
    origin = origin.format(port=digits.port)
    assert upgrade(digits, Origin=origin) == 403
    assert answer(digits, path=SOCKET.replace("websocket", "polling"), Origin=origin)[0] == 403


def test_its_own_websocket_is_accepted(digits):
    status = upgrade(digits, Origin=f"http://127.0.0.1:{digits.port}")
    assert status == 101 or status == 200


BAD_PATHS = [
    "/nothing",
    "/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/_nicegui/../../../etc/passwd",
    "/_nicegui/%2e%2e/%2e%2e/etc/passwd",
    "//etc/passwd",
    "/_nicegui/3/static/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/_nicegui/auto/static/x",
    "/docs",
    "/openapi.json",
    "/<script>alert(1)</script>",
    "/best.safetensors",
    "/config.toml",
    "/checkpoint.safetensors",
    "/favicon.ico/x",
    "/" + "a" * 5000,
]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_bad_path_gets_an_error_and_nothing_else(digits, path):
    status, _, body = answer(digits, path=path)
    assert 400 <= status < 500 and len(body) < 300
    betraying = b"Traceback", b"root:", b'File "', b"<script", b"site-packages"
    assert not any(word in body for word in betraying)


BAD_METHODS = ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "NONSENSE"]


@pytest.mark.parametrize("method", BAD_METHODS)
def test_a_bad_method_gets_an_error_and_nothing_else(digits, method):
    status, _, body = answer(digits, method)
    assert status in (400, 405) and len(body) < 300  # 400: no method that HTTP knows


POLLING = b"/_nicegui_ws/socket.io/?EIO=4&transport=polling&sid=x"
NO_REQUESTS = [
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"GET /\r\n\r\n",
    b"\0" * 100,
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST " + POLLING + b" HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 3\r\n\r\nabc",
]


@pytest.mark.parametrize("raw", NO_REQUESTS)
def test_what_is_not_a_request_gets_an_error_or_nothing(digits, raw):
    with socket.create_connection(("127.0.0.1", digits.port), timeout=20) as connection:
        connection.sendall(raw.replace(b"{port}", str(digits.port).encode()))
        connection.shutdown(socket.SHUT_WR)
        said = b""
        while part := connection.recv(65536):
            said += part
    assert not said or b" 400 " in said.split(b"\r\n")[0]
    assert b"Traceback" not in said and b"site-packages" not in said
    assert answer(digits)[0] == 200


NONSENSE = """() => {
    let sent = 0;
    for (const [id, element] of Object.entries(mounted_app.elements))
        for (const event of element.events || [])
            for (const value of [null, "x", -5, 1e300, [1, 2], {a: 1}, true, ""]) {
                sent += 1;
                window.socket.emit("event", {
                    id: Number(id),
                    client_id: window.clientId,
                    listener_id: event.listener_id,
                    args: [JSON.stringify(value)],
                });
            }
    return sent;
}"""


def test_events_that_no_page_sends_change_nothing(tmp_path, window):
    """Through the page's own socket: values of the wrong kind for every control."""
    with Served(a_run(tmp_path / "run", data="digits"), "--port", "0") as served:
        sent = window(served).page.evaluate(NONSENSE)
        assert sent > 200
        page = window(served)
        xt = page.picture("look-xt")
        page.slide("look-t", 0.8)
        page.until(lambda: page.picture("look-xt") != xt)


def test_a_port_that_is_taken_is_named(digits, tmp_path):
    said = f"^tinyddpm: --port: expected one that is free, got {digits.port}: "
    said += "choose another, or 0 for any"
    lines = said.replace(" ", r"\s+")  # a narrow terminal breaks it
    with pytest.raises(RuntimeError, match=lines + r"\n$"):
        Served(a_run(tmp_path / "run", data="digits"), "--port", str(digits.port))


def test_it_ends_when_it_is_interrupted(tmp_path):
    with Served(a_run(tmp_path / "run", data="digits"), "--port", "0") as served:
        served.end(signal.SIGINT)
    assert served.process.returncode == 0 and served.errors == ""
