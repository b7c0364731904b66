"""Audio over HTTP into the store, by hash. Runs in a worker thread; trying again is the machine's business."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Generator
from contextlib import closing
from urllib.parse import SplitResult, urlsplit

from devices.speaker.events import Fetch
from devices.speaker.store import AudioStore, StoreRefused

TIMEOUT_S = 10
WHOLE_S_MAX = 120
_PIECE_BYTES = 65_536


class FetchFailed(Exception):
    """The audio could not be had. `code` says why, `again` whether trying later makes sense."""

    def __init__(self, code: str, again: bool = True) -> None:
        super().__init__(f"The audio could not be had ({code}).")
        self.code = code
        self.again = again


def fetch(store: AudioStore, wanted: Fetch, ca: str | None = None) -> tuple[str, ...]:
    """Get the recording into the store; returns the hashes that made room. Raises FetchFailed."""
    with closing(_pieces(wanted.url, ca)) as pieces:
        try:
            return store.add(wanted.sha256, pieces, wanted.bytes, wanted.keep)
        except StoreRefused as error:
            raise FetchFailed(error.code, again=error.code != "over_cap") from error


def _pieces(url: str, ca: str | None) -> Generator[bytes, None, None]:
    """The body of a plain 200 answer; redirects are not followed. Raises FetchFailed."""
    try:
        place = urlsplit(url)
        path = place.path + (f"?{place.query}" if place.query else "")
        with closing(_connection(place, ca)) as connection:
            connection.request("GET", path)
            with connection.getresponse() as response:
                if response.status != 200:
                    raise FetchFailed(f"http_{response.status}")
                # A server that lets single bytes drip must not hold a worker for ever.
                last_s = time.monotonic() + WHOLE_S_MAX
                while piece := response.read1(_PIECE_BYTES):
                    if time.monotonic() > last_s:
                        raise FetchFailed("too_slow")
                    yield piece
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchFailed("unreachable") from error


def _connection(place: SplitResult, ca: str | None) -> http.client.HTTPConnection:
    host = place.hostname or ""
    if place.scheme == "https":
        context = ssl.create_default_context(cafile=ca)
        return http.client.HTTPSConnection(host, place.port, timeout=TIMEOUT_S, context=context)
    return http.client.HTTPConnection(host, place.port, timeout=TIMEOUT_S)
