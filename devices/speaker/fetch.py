"""Audio over HTTP into the store, by hash. Runs in a worker thread; trying again is the machine's business."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from devices.speaker.store import AudioStore, StoreRefused

TIMEOUT_S = 10
_PIECE_BYTES = 65_536


class FetchFailed(Exception):
    """The audio could not be had. `code` says why, `again` whether trying later makes sense."""

    def __init__(self, code: str, again: bool = True) -> None:
        super().__init__(f"The audio could not be had ({code}).")
        self.code = code
        self.again = again


def fetch(store: AudioStore, sha256: str, urls: tuple[str, ...], size: int, ca: str | None = None) -> tuple[str, ...]:
    """Get the recording from the first place that has it; returns the hashes that made room. Raises FetchFailed."""
    failure = FetchFailed("no_url", again=False)
    for url in urls:
        try:
            return store.add(sha256, _pieces(url, ca), size)
        except FetchFailed as error:
            failure = error
        except StoreRefused as error:
            failure = FetchFailed(error.code, again=error.code != "over_cap")
        except (OSError, http.client.HTTPException, ValueError):
            failure = FetchFailed("unreachable")
    raise failure


def _pieces(url: str, ca: str | None) -> Iterator[bytes]:
    """The body of a plain 200 answer; redirects are not followed."""
    place = urlsplit(url)
    connection: http.client.HTTPConnection
    if place.scheme == "https":
        context = ssl.create_default_context(cafile=ca)
        connection = http.client.HTTPSConnection(place.hostname or "", place.port, timeout=TIMEOUT_S, context=context)
    else:
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", place.path + (f"?{place.query}" if place.query else ""))
        response = connection.getresponse()
        if response.status != 200:
            raise FetchFailed(f"http_{response.status}")
        while piece := response.read(_PIECE_BYTES):
            yield piece
    finally:
        connection.close()
