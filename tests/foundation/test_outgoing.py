"""Addresses from users never reach the inside of the network, however they are written."""

import ast
import ipaddress
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.foundation import outgoing
from app.foundation.outgoing import Failed, Refused, check, post

ROOT = Path(__file__).resolve().parents[2]

HOSTILE = [
    "http://example.com/", "ftp://example.com/", "HTTPS://example.com/", "//example.com/", "example.com", "", "https://",
    "https:///x", "https://user@example.com/", "https://user:pass@example.com/", "https://example.com@127.0.0.1/",
    "https://example.com\\@127.0.0.1/", "https://example.com/ x", "https://example.com/\nx", "https://exa\tmple.com/",
    "https://example.com/#fragment", "https://ëxample.com/", "https://１２７.0.0.1/", "https://127。0。0。1/",
    "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/",
    "https://0x7f.0.0.1/", "https://127.0.0.0x1/", "https://0/", "https://0.0.0.0/", "https://10.0.0.1/",
    "https://172.16.0.1/", "https://192.168.1.1/", "https://100.64.0.1/", "https://168.63.129.16/", "https://169.254.169.254/latest/meta-data/",
    "https://224.0.0.1/", "https://240.0.0.1/", "https://255.255.255.255/", "https://192.0.2.1/", "https://198.18.0.1/",
    "https://[::1]/", "https://[::]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:8.8.8.8]/", "https://[::127.0.0.1]/",
    "https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://[fec0::1]/", "https://[fc00::1]/", "https://[fd00:ec2::254]/",
    "https://[64:ff9b::7f00:1]/", "https://[64:ff9b::808:808]/", "https://[64:ff9b:1::7f00:1]/", "https://[2002:7f00:1::]/",
    "https://[2001:0:7f00:1::]/", "https://[ff02::1]/", "https://[2001:db8::1]/", "https://[::1", "https://example.com:25/",
    "https://example.com:80/", "https://example.com:0/", "https://example.com:65536/", "https://example.com:99999/",
    "https://example.com:-1/", "https://example.com:4 43/", "https://exa_mple.com/", "https://-example.com/",
    "https://example..com/", "https://" + "a" * 64 + ".com/", "https://example.com/" + "x" * 2000, "https://example.com/\x00",
]  # fmt: skip


@pytest.mark.parametrize("url", HOSTILE)
def test_a_hostile_address_is_refused_without_a_look_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("it was looked up"))
    with pytest.raises(Refused):
        check(url, allow_loopback=False)


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("https://example.com", "example.com", 443, "/"),
        ("https://Example.COM:8443/a/b?c=d&e=%20", "example.com", 8443, "/a/b?c=d&e=%20"),
        ("https://xn--mnchen-3ya.example/x", "xn--mnchen-3ya.example", 443, "/x"),
        ("https://8.8.8.8?x", "8.8.8.8", 443, "/?x"),
        ("https://[2606:4700:4700::1111]:1024/", "2606:4700:4700::1111", 1024, "/"),
    ],
)
def test_a_public_address_is_taken(url: str, host: str, port: int, path: str) -> None:
    assert check(url, allow_loopback=False) == (True, host, port, path)


def test_in_development_this_machine_may_be_called_and_nothing_else_over_plain_http() -> None:
    for url in ("http://127.0.0.1:8000/", "http://localhost:8000/", "http://[::1]:8000/", "https://127.0.0.1:8443/"):
        assert check(url, allow_loopback=True)
    for url in (
        "http://example.com/",
        "http://8.8.8.8/",
        "http://169.254.169.254/",
        "https://10.0.0.1/",
        "http://0.0.0.0/",
    ):
        with pytest.raises(Refused):
            check(url, allow_loopback=True)


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["10.1.2.3"], ["8.8.8.8", "169.254.169.254"], ["::1"], ["::ffff:10.0.0.1"], ["fe80::1%eth0"]],
)
def test_a_name_is_refused_if_any_of_its_addresses_is_private(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (address, 443)) for address in addresses]
    )
    monkeypatch.setattr(outgoing, "_connect", lambda *_: pytest.fail("it was called"))
    with pytest.raises(Refused):
        post("https://inside.example/", b"", {}, allow_loopback=False)


def test_a_name_is_resolved_once_and_the_call_goes_to_that_address(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([["203.0.113.9"], ["127.0.0.1"]])
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (address, 443)) for address in next(answers)]
    )
    monkeypatch.setattr(
        ipaddress.IPv4Address, "is_global", True
    )  # an address for documentation stands for a public one
    called = []

    def connect(target: Any, addresses: Any, deadline: float) -> Any:
        called.append(list(map(str, addresses)))
        raise OSError("enough")

    monkeypatch.setattr(outgoing, "_connect", connect)
    with pytest.raises(Failed):
        post("https://rebinding.example/", b"", {}, allow_loopback=False)
    assert called == [["203.0.113.9"]]


def test_a_resolver_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(outgoing, "DEADLINE_S", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [] * released.wait(60))
    try:
        with pytest.raises(Failed, match="resolved in time"):
            post("https://slow.example/", b"", {}, allow_loopback=False)
    finally:
        released.set()


@contextmanager
def _server(answer: Any, tls: Any = None) -> Iterator[int]:
    """A socket that reads one request and hands the connection to ``answer``."""
    listening = socket.create_server(("127.0.0.1", 0))
    stopping = threading.Event()

    def serve() -> None:
        while not stopping.is_set():
            try:
                connection, _ = listening.accept()
                if tls is not None:
                    connection = tls.wrap_socket(connection, server_side=True)
                with connection:
                    connection.recv(65_536)
                    answer(connection, stopping)
            except OSError:
                continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        stopping.set()
        listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts; closing alone does not
        listening.close()
        thread.join(20)


def _post(port: int, scheme: str = "http", host: str = "127.0.0.1") -> outgoing.Answer:
    return post(f"{scheme}://{host}:{port}/hook", b"{}", {"Content-Type": "application/json"}, allow_loopback=True)


def test_an_answer_is_read_up_to_its_limit_and_no_further() -> None:
    head = b"HTTP/1.1 500 Oops\r\nContent-Length: 100000\r\n\r\n"
    with _server(lambda connection, _: connection.sendall(head + b"x" * 100_000)) as port:
        answer = _post(port)
    assert answer == (500, "x" * outgoing.MAX_READ_BYTES)


def test_a_redirect_is_not_followed() -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with _server(lambda connection, _: connection.sendall(head)) as port:
        assert _post(port).status == 302


def _drip(connection: socket.socket, stopping: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not stopping.wait(0.05):
        connection.sendall(b"x")


def test_a_server_that_answers_byte_by_byte_does_not_stretch_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "DEADLINE_S", 0.5)
    began = time.monotonic()
    with _server(_drip) as port, pytest.raises(Failed, match="no answer"):
        _post(port)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("said", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000, b"H" * 200_000])
def test_an_answer_that_is_not_http_is_a_failure(said: bytes) -> None:
    with _server(lambda connection, _: connection.sendall(said)) as port, pytest.raises(Failed):
        _post(port)


def test_a_refused_connection_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Failed):
        _post(port)


def test_a_body_that_is_too_large_is_refused() -> None:
    with pytest.raises(Refused):
        post("https://example.com/", b"x" * (outgoing.MAX_SENT_BYTES + 1), {}, allow_loopback=False)


def test_certificates_are_checked_against_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl

    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", tmp_path / "key", "-out", tmp_path / "crt"],
        check=False, capture_output=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    with _server(lambda connection, _: connection.sendall(b"HTTP/1.1 204 No\r\n\r\n"), tls) as port:
        outgoing._tls.cache_clear()
        with pytest.raises(Failed, match="TLS failed"):
            _post(port, "https", "localhost")
        trusting = ssl.create_default_context(cafile=str(tmp_path / "crt"))
        monkeypatch.setattr(outgoing, "_tls", lambda: trusting)
        assert _post(port, "https", "localhost").status == 204
        with pytest.raises(Failed, match="TLS failed"):
            _post(port, "https", "127.0.0.1")


ALLOWED = {
    "foundation/outgoing.py",
    "foundation/outgoing_mail.py",  # to the one server that the operator named
    "commands/demo.py",
    "commands/shared.py",
    "demo/client.py",
}  # the others talk to this machine's own server
CLIENTS = {"http.client", "urllib.request", "requests", "httpx", "aiohttp", "urllib3", "smtplib"}


def _imports(path: Path) -> set[str]:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return imported & CLIENTS


def test_only_one_module_makes_outgoing_calls() -> None:
    sources = {str(path.relative_to(ROOT / "app")): path for path in (ROOT / "app").rglob("*.py")}
    sources |= {f"worker/{path.name}": path for path in (ROOT / "worker").glob("*.py")}
    callers = {name for name, path in sources.items() if _imports(path)}
    assert callers == ALLOWED
