"""Polling over HTTP against a real server on the loopback, one that also means harm."""

from __future__ import annotations

import contextlib
import gzip
import ipaddress
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeAlias

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.dispatcher.adapters.http_poll import Answer, HttpPoll, PollFailed

BYTES_MAX = 100_000
BODY = b"<feed/>"
PACKED = gzip.compress(BODY, mtime=0)


class Server:
    """Answers each connection with what `play` makes of the request, byte by byte as it was told to."""

    def __init__(self, play: Play, tls: ssl.SSLContext | None = None) -> None:
        self._play = play
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(5)
        self.port = self._listening.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.requests: list[str] = []
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listening.accept()
            except (TimeoutError, OSError):
                continue
            # A client that has had enough closes; that is the end of this connection, not of the server.
            with contextlib.suppress(OSError), connection:
                connection.settimeout(5)
                if self._tls is None:
                    self._answer(connection)
                else:
                    with self._tls.wrap_socket(connection, server_side=True) as secured:
                        self._answer(secured)

    def _answer(self, connection: socket.socket) -> None:
        request = _head(connection)
        if request:
            self.requests.append(request)
            self._play(self, request, connection)

    def close(self) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        self._thread.join()
        self._listening.close()


def _head(connection: socket.socket) -> str:
    raw = b""
    while b"\r\n\r\n" not in raw:
        piece = connection.recv(4_096)
        if not piece:
            return ""
        raw += piece
    return raw.decode("latin-1")


Play: TypeAlias = "Callable[[Server, str, socket.socket], object]"


class Serve(Protocol):
    def __call__(self, play: Play, tls: ssl.SSLContext | None = None) -> Server: ...


@pytest.fixture
def serve() -> Iterator[Serve]:
    with contextlib.ExitStack() as stack:

        def start(play: Play, tls: ssl.SSLContext | None = None) -> Server:
            server = Server(play, tls)
            stack.callback(server.close)
            return server

        yield start


def a_certificate(folder: Path) -> Path:
    """Key and certificate of the loopback in one file, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "loopback.pem"
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(plain + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def saying(status: str, body: bytes = b"", *headers: str) -> Play:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    raw = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    return lambda server, request, connection: connection.sendall(raw)


def dripping(start: bytes, drop: bytes) -> Play:
    """A server that never stops and never hurries."""

    def play(server: Server, request: str, connection: socket.socket) -> None:
        connection.sendall(start)
        while not server.over.wait(0.02):
            connection.sendall(drop)

    return play


def get(url: str, headers: dict[str, str] | None = None, whole_s_max: float = 10.0) -> Answer:
    return HttpPoll(body_bytes_max=BYTES_MAX, whole_s_max=whole_s_max, loopback=True).get(url, headers)


def failure(url: str, whole_s_max: float = 10.0) -> tuple[str, bool]:
    with pytest.raises(PollFailed) as failed:
        get(url, whole_s_max=whole_s_max)
    return failed.value.code, failed.value.again


def test_an_answer_comes_with_the_headers_that_matter_and_the_question_with_its_conditions(serve: Serve) -> None:
    server = serve(saying("200 OK", BODY, 'ETag: "v1"', "Content-Type: text/xml", "Set-Cookie: a=b"))
    answer = get(f"{server.url}/list", {"If-None-Match": '"v0"'})
    assert answer == Answer(200, {"etag": '"v1"', "content-type": "text/xml"}, BODY, f"{server.url}/list")
    (request,) = server.requests
    assert request.startswith("GET /list HTTP/1.1\r\n")
    assert '\r\nIf-None-Match: "v0"\r\n' in request
    assert "cookie" not in request.lower() and "authorization" not in request.lower()


@pytest.mark.parametrize("status", ["304 Not Modified", "403 Forbidden", "503 Service Unavailable"])
def test_any_status_is_an_answer_and_only_a_good_one_has_a_body(serve: Serve, status: str) -> None:
    server = serve(saying(status, b"", "Retry-After: 7"))
    assert get(server.url) == Answer(int(status[:3]), {"retry-after": "7"}, b"", server.url)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_packed_answers_are_unpacked(serve: Serve, coding: str) -> None:
    packed = gzip.compress(BODY) if coding == "gzip" else zlib.compress(BODY)
    assert get(serve(saying("200 OK", packed, f"Content-Encoding: {coding}")).url).body == BODY


def test_the_largest_body_is_taken_and_one_byte_more_is_not(serve: Serve) -> None:
    assert len(get(serve(saying("200 OK", b"x" * BYTES_MAX)).url).body) == BYTES_MAX
    assert failure(serve(saying("200 OK", b"x" * (BYTES_MAX + 1))).url) == ("too_big", True)


def test_a_small_answer_that_unpacks_to_a_large_one_is_refused(serve: Serve) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < BYTES_MAX
    assert failure(serve(saying("200 OK", bomb, "Content-Encoding: gzip")).url) == ("too_big", True)


@pytest.mark.parametrize("packed", [b"no gzip", PACKED[:-9], PACKED + b"more"])
def test_a_packed_answer_that_is_broken_is_refused(serve: Serve, packed: bytes) -> None:
    assert failure(serve(saying("200 OK", packed, "Content-Encoding: gzip")).url) == ("bad_encoding", True)


def test_a_coding_that_is_not_bounded_here_is_refused(serve: Serve) -> None:
    assert failure(serve(saying("200 OK", BODY, "Content-Encoding: br")).url) == ("unknown_encoding", True)


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Header: 1\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
)
def test_a_server_that_drips_is_left_in_time(serve: Serve, start: bytes, drop: bytes) -> None:
    assert failure(serve(dripping(start, drop)).url, whole_s_max=0.3) == ("too_slow", True)


def test_a_server_that_says_nothing_is_left_in_time(serve: Serve) -> None:
    server = serve(lambda server, request, connection: server.over.wait(5))
    assert failure(server.url, whole_s_max=0.3) == ("too_slow", True)


@pytest.mark.parametrize(
    "raw", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nx", b"HTTP/1.1 2000 OK\r\n\r\n", b""]
)
def test_what_is_no_http_or_breaks_off_is_unreachable(serve: Serve, raw: bytes) -> None:
    assert failure(serve(lambda server, request, connection: connection.sendall(raw)).url) == ("unreachable", True)


def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert failure(f"http://127.0.0.1:{port}/") == ("unreachable", True)


def test_a_redirect_to_the_same_host_is_followed(serve: Serve) -> None:
    def play(server: Server, request: str, connection: socket.socket) -> None:
        moved = saying("301 Moved Permanently", b"", "Location: /new?q=1")
        (saying("200 OK", BODY) if " /new" in request else moved)(server, request, connection)

    server = serve(play)
    assert get(f"{server.url}/old") == Answer(200, {}, BODY, f"{server.url}/new?q=1")


@pytest.mark.parametrize(
    "location",
    ["http://localhost/x", "http://[::1]/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://u:p@127.0.0.1/", ""],
)
def test_a_redirect_to_another_host_in_the_clear_or_to_anything_but_http_is_refused(
    serve: Serve, location: str
) -> None:
    server = serve(saying("302 Found", b"", f"Location: {location}"))
    assert failure(server.url) == ("redirect_refused", True)
    assert len(server.requests) == 1


def test_a_redirect_to_https_is_followed_where_its_certificate_is_trusted(serve: Serve, tmp_path: Path) -> None:
    file = a_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    secure = serve(saying("200 OK", BODY), context)
    server = serve(saying("302 Found", b"", f"Location: {secure.url}/"))
    assert HttpPoll(ca=str(file), loopback=True).get(server.url) == Answer(200, {}, BODY, f"{secure.url}/")
    assert failure(server.url) == ("unreachable", True)


def test_a_redirect_from_https_back_into_the_clear_is_refused(serve: Serve, tmp_path: Path) -> None:
    file = a_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    plain = serve(saying("200 OK", BODY))
    secure = serve(saying("302 Found", b"", f"Location: {plain.url}/"), context)
    with pytest.raises(PollFailed) as failed:
        HttpPoll(ca=str(file), loopback=True).get(secure.url)
    assert (failed.value.code, plain.requests) == ("redirect_refused", [])


def test_redirects_without_end_are_given_up(serve: Serve) -> None:
    server = serve(saying("302 Found", b"", "Location: /again"))
    assert failure(server.url) == ("too_many_redirects", True)
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "url",
    [
        "",
        "list.atom",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "http://",
        "http://u:p@127.0.0.1/",
        "http://[",
        "x" * 9_000,
    ],
)
def test_an_address_that_may_not_be_asked_is_refused_for_good(url: str) -> None:
    assert failure(url) == ("url_refused", False)


def test_a_header_that_would_break_the_request_is_not_sent(serve: Serve) -> None:
    server = serve(saying("200 OK", BODY))
    with pytest.raises(PollFailed):
        get(server.url, {"If-None-Match": "a\r\nHost: other"})
    assert server.requests == []


def test_the_surroundings_have_no_say_in_what_is_asked(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(saying("200 OK", b"from the proxy"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    assert get(serve(saying("200 OK", BODY)).url).body == BODY
    assert proxy.requests == []


HOME = "https://alerts.example.cn/list.atom"


def refusal(url: str, home: str | None = None) -> str:
    with pytest.raises(PollFailed) as failed:
        HttpPoll(whole_s_max=5).get(url, home=home)
    return failed.value.code


def test_this_machine_is_not_asked_unless_it_is_told_to(serve: Serve) -> None:
    server = serve(saying("200 OK", BODY))
    for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.1"):
        assert refusal(f"http://{host}:{server.port}/") == "address_refused"
    assert server.requests == []


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "[fd00:ec2::254]", "[fe80::1]", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "2852039166",
    ],
)  # fmt: skip
def test_what_only_serves_the_house_itself_is_asked_by_nobody(host: str) -> None:
    assert refusal(f"http://{host}/latest/meta-data/") == "address_refused"


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "[fd00::1]"])
def test_a_list_does_not_lead_into_a_private_network_that_nobody_enrolled(host: str) -> None:
    assert refusal(f"http://{host}/", home=HOME) == "address_refused"
    assert refusal(f"https://{host}/", home=HOME) == "address_refused"


def test_the_host_that_was_enrolled_may_be_a_private_one() -> None:
    poll = HttpPoll()
    assert poll._may_be_asked(ipaddress.ip_address("10.0.0.1"), at_home=True)


def test_the_server_is_told_the_name_that_was_asked_for(serve: Serve) -> None:
    server = serve(saying("200 OK", BODY))
    assert get(f"http://localhost:{server.port}/list").url == f"http://localhost:{server.port}/list"
    assert f"host: localhost:{server.port}" in server.requests[0].lower()


def test_a_certificate_must_be_the_names_and_not_the_addresses(serve: Serve, tmp_path: Path) -> None:
    file = a_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    secure = serve(saying("200 OK", BODY), context)
    with pytest.raises(PollFailed) as failed:
        HttpPoll(ca=str(file), loopback=True).get(f"https://localhost:{secure.port}/")
    assert (failed.value.code, secure.requests) == ("unreachable", [])
