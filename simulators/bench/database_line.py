"""The line to PostgreSQL with a length: what goes over it waits a while each way, and the trips over it are counted.

A trip is what a client waits for: it ends what it sends with Sync, Flush or Query before it reads (PostgreSQL's
protocol 3.0, message formats).
"""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.engine import URL, make_url

CHUNK_BYTES = 1 << 16
PORT = 5432
_WAITS = b"SHQ"
_HEAD_BYTES = 5


@dataclass(slots=True)
class Line:
    """`url` is the database at this end of the line."""

    url: str
    one_way_s: float
    trips: int = 0
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def waited(self) -> None:
        """A client waits for an answer."""
        with self._counting:
            self.trips += 1


@contextmanager
def line_to(url: str, one_way_s: float = 0.0) -> Iterator[Line]:
    """A line to the PostgreSQL database of this URL, as long as the block lasts."""
    there = make_url(url)
    with tempfile.TemporaryDirectory(prefix="tocsin-line-") as folder, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(Path(folder) / f".s.PGSQL.{PORT}"))
        listening.listen()
        # No TLS: what is counted has to be read.
        here = there.set(host=None, port=PORT, query={"host": folder, "sslmode": "disable", "gssencmode": "disable"})
        line = Line(here.render_as_string(hide_password=False), one_way_s)
        threading.Thread(target=_listen, args=(listening, there, line), daemon=True).start()
        yield line


def _listen(listening: socket.socket, there: URL, line: Line) -> None:
    with suppress(OSError):
        while True:
            client, _ = listening.accept()
            server = _connect(there)
            forth = _Messages(line.waited)
            threading.Thread(target=_carry, args=(client, server, line.one_way_s, forth.read), daemon=True).start()
            threading.Thread(target=_carry, args=(server, client, line.one_way_s, _unread), daemon=True).start()


def _connect(there: URL) -> socket.socket:
    host, port = str(there.query.get("host") or there.host or "localhost"), there.port or PORT
    if not host.startswith("/"):
        return socket.create_connection((host, port))
    server = socket.socket(socket.AF_UNIX)
    server.connect(f"{host}/.s.PGSQL.{port}")
    return server


def _carry(source: socket.socket, target: socket.socket, wait_s: float, read: Callable[[bytes], None]) -> None:
    with closing(target), suppress(OSError):
        while chunk := source.recv(CHUNK_BYTES):
            read(chunk)
            time.sleep(wait_s)
            target.sendall(chunk)
        target.shutdown(socket.SHUT_RDWR)


def _unread(_: bytes) -> None:
    """What the server says ends no trip of its own."""


class _Messages:
    """Cuts what a client sends into messages. The first one has no type."""

    def __init__(self, waits: Callable[[], None]) -> None:
        self._waits = waits
        self._rest = b""
        self._begun = False

    def read(self, chunk: bytes) -> None:
        self._rest += chunk
        while (whole := self._first()) is not None:
            kind, length = whole
            self._rest = self._rest[length:]
            if kind and kind in _WAITS:
                self._waits()

    def _first(self) -> tuple[bytes, int] | None:
        """Type and bytes of the first message, if it is whole."""
        kind = self._rest[:1] if self._begun else b""
        if len(self._rest) < _HEAD_BYTES:
            return None
        length = len(kind) + int.from_bytes(self._rest[len(kind) : len(kind) + 4])
        if len(self._rest) < length:
            return None
        self._begun = True
        return kind, length
