"""Audio by its hash over HTTP, for speakers and for the console's player. Reads only; what a hash names never changes.

Nobody can guess a hash, and what it names will be heard in public: these pages ask for no login.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from ..domain.refusals import NotFound, Refused
from .problems import problem

CHUNK_BYTES = 65_536
HEAD_BYTES = 64

_HASH = re.compile(r"[0-9a-f]{64}")
_RANGE = re.compile(r"bytes=\s*(\d{0,15})-(\d{0,15})\s*", re.IGNORECASE)
_NOT_KEPT = {"Cache-Control": "no-store"}
_FOREVER = "public, max-age=31536000, immutable"


class AudioFiles(Protocol):
    """Where audio lies. Both raise domain.refusals.NotFound for an unknown hash, another Refused for a sick disk."""

    def size(self, sha256: str) -> int: ...

    def open(self, sha256: str) -> BinaryIO: ...


def audio_router(blobs: AudioFiles) -> APIRouter:
    """GET and HEAD /audio/{sha256}: whole, one byte range (RFC 9110 section 14), or 304 by strong ETag."""
    router = APIRouter()

    @router.get("/audio/{sha256}", response_class=Response)
    def audio(sha256: str, request: Request) -> Response:
        """The bytes with this SHA-256."""
        return _answer(blobs, sha256, request)

    @router.head("/audio/{sha256}", response_class=Response)
    def audio_head(sha256: str, request: Request) -> Response:
        """What GET would say, without the bytes."""
        return _answer(blobs, sha256, request)

    return router


def _answer(blobs: AudioFiles, sha256: str, request: Request) -> Response:
    if not _HASH.fullmatch(sha256):
        return _not_found("audio_not_found", "There is no audio under this hash.")
    try:
        size = blobs.size(sha256)
        with blobs.open(sha256) as file:
            media_type = _media_type(file.read(HEAD_BYTES))
    except NotFound as refusal:
        return _not_found(refusal.code, refusal.sentence)
    except Refused as refusal:
        return problem(503, refusal.code, refusal.sentence, "音频暂时无法读取，请重试。", headers=_NOT_KEPT)
    etag = f'"{sha256}"'
    headers = {"ETag": etag, "Cache-Control": _FOREVER, "Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff"}
    if _names(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    first, last = 0, size - 1
    status = 200
    # Ranges are for GET alone, and an If-Range that names another version asks for the whole (RFC 9110 13.1.5, 14.2).
    if request.method == "GET" and request.headers.get("if-range", etag) == etag:
        wanted = _range(request.headers.get("range", ""), size)
        if wanted is not None:
            first, last = wanted
            status = 206
            if first > last:
                sentence = f"This range has none of the audio's {size} bytes."
                unmet = {**_NOT_KEPT, "Content-Range": f"bytes */{size}"}
                return problem(416, "range_not_satisfiable", sentence, "所求范围不在音频之内。", headers=unmet)
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    headers |= {"Content-Length": str(last - first + 1), "Content-Type": media_type}
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(_chunks(blobs, sha256, first, last), status_code=status, headers=headers)


def _chunks(blobs: AudioFiles, sha256: str, first: int, last: int) -> Iterator[bytes]:
    """Opened when the first chunk is asked for: a client that leaves before that leaves no file open."""
    left = last - first + 1
    with blobs.open(sha256) as file:
        file.seek(first)
        while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk


def _range(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte wanted; None for the whole, also when the header makes no sense or asks for several ranges.

    (1, 0) is a range that has no byte of this audio."""
    found = _RANGE.fullmatch(header)
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        tail = int(last)
        return (max(0, size - tail), size - 1) if tail and size else (1, 0)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        return 1, 0
    return int(first), min(int(last), size - 1) if last else size - 1


def _names(header: str, etag: str) -> bool:
    """Weak comparison, as If-None-Match has it (RFC 9110 section 13.1.2)."""
    return header.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in header.split(",")]


def _media_type(head: bytes) -> str:
    """By what the bytes say of themselves."""
    if head[:4] == b"OggS" and b"OpusHead" in head:
        return "audio/ogg; codecs=opus"
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "audio/wav"
    return "application/octet-stream"


def _not_found(code: str, sentence: str) -> Response:
    return problem(404, code, sentence, "没有这个哈希对应的音频。", headers=_NOT_KEPT)
