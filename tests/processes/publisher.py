"""A weather service on the loopback that publishes an Atom list of CAP alerts, with ETag, as such services do."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

LIST = "/list.atom"


class Publisher:
    """Serves `pages` by path; the list is made of the alerts that are published. `asked` are (path, If-None-Match)."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.failing: dict[str, int] = {}
        self.asked: list[tuple[str, str]] = []
        self.held = threading.Event()
        self.held.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, cause: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.held.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def publish(self, *names: str, **alerts: bytes) -> None:
        """List these alerts, each under a link of its own; those in `names` are listed and not there."""
        self.pages |= {f"/{name}.xml": raw for name, raw in alerts.items()}
        entries = "".join(
            f"<entry><id>urn:{name}</id><title>{name}</title><updated>2026-07-01T00:00:00Z</updated>"
            f'<link type="application/cap+xml" href="/{name}.xml"/></entry>'
            for name in (*names, *alerts)
        )
        self.pages[LIST] = (
            '<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom"><id>urn:list</id>'
            f"<title>list</title><updated>2026-07-01T00:00:00Z</updated>{entries}</feed>"
        ).encode()

    def answers(self, path: str) -> int:
        """How often this was asked for."""
        return sum(1 for asked, _ in self.asked if asked == path)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = self.headers.get("If-None-Match", "")
                publisher.asked.append((self.path, known))
                if self.path != LIST:
                    publisher.held.wait(30)
                body = publisher.pages.get(self.path, b"")
                etag = f'"{hashlib.sha256(body).hexdigest()[:12]}"'
                status = publisher.failing.get(self.path, 200 if body else 404)
                self.send_response(304 if status == 200 and known == etag else status)
                self.send_header("ETag", etag)
                if status == 200 and known != etag:
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                else:
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing is printed."""

        return Handler
