"""Audio over HTTP: whole, in ranges, from caches; and a clear answer when there is none."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

with warnings.catch_warnings():
    # Starlette names a newer transport for its test client; the one at hand is the one locked here.
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

from fastapi import FastAPI

from devices.protocols import wav
from services.dispatcher.adapters.blobs import Blobs, StoreBroken
from services.dispatcher.web.audio import CHUNK_BYTES, audio_router

OPUS = b"OggS" + bytes(24) + b"OpusHead" + bytes(range(256)) * 1_000
NAME = hashlib.sha256(OPUS).hexdigest()
SIZE = len(OPUS)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    blobs = Blobs(tmp_path)
    blobs.put(OPUS)
    return blobs


@pytest.fixture
def client(blobs: Blobs) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(audio_router(blobs))
    with TestClient(app) as client:
        yield client


def test_the_whole_is_sent_with_its_type_its_hash_as_etag_and_leave_to_cache_it_forever(client: TestClient) -> None:
    answer = client.get(f"/audio/{NAME}")
    assert (answer.status_code, answer.content) == (200, OPUS)
    assert dict(answer.headers) == {
        "etag": f'"{NAME}"',
        "cache-control": "public, max-age=31536000, immutable",
        "accept-ranges": "bytes",
        "x-content-type-options": "nosniff",
        "content-length": str(SIZE),
        "content-type": "audio/ogg; codecs=opus",
    }


def test_head_says_what_get_would_without_the_bytes(client: TestClient) -> None:
    head, get = client.head(f"/audio/{NAME}"), client.get(f"/audio/{NAME}")
    assert (head.status_code, head.content, head.headers) == (200, b"", get.headers)
    assert client.head(f"/audio/{NAME}", headers={"Range": "bytes=0-3"}).status_code == 200


@pytest.mark.parametrize(
    ("data", "media_type"),
    [(wav.write(wav.silence(10, 16_000)), "audio/wav"), (b"something else", "application/octet-stream"), (b"", None)],
)
def test_the_type_is_what_the_bytes_say(client: TestClient, blobs: Blobs, data: bytes, media_type: str | None) -> None:
    answer = client.get(f"/audio/{blobs.put(data)}")
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["content-type"] == (media_type or "application/octet-stream")


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=4-99", 4, 99),
        ("bytes=100-", 100, SIZE - 1),
        ("bytes=-7", SIZE - 7, SIZE - 1),
        (f"bytes=-{SIZE * 2}", 0, SIZE - 1),
        (f"bytes=5-{SIZE * 2}", 5, SIZE - 1),
        (f"bytes={CHUNK_BYTES - 1}-{2 * CHUNK_BYTES}", CHUNK_BYTES - 1, 2 * CHUNK_BYTES),
    ],
)
def test_one_range_is_sent_exactly(client: TestClient, header: str, first: int, last: int) -> None:
    answer = client.get(f"/audio/{NAME}", headers={"Range": header})
    assert (answer.status_code, answer.content) == (206, OPUS[first : last + 1])
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.headers["content-length"] == str(last - first + 1)


@pytest.mark.parametrize("header", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused_with_the_true_size(client: TestClient, header: str) -> None:
    answer = client.get(f"/audio/{NAME}", headers={"Range": header})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{SIZE}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "range_not_satisfiable"


@pytest.mark.parametrize(
    "header", ["bytes=9-5", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes", "bytes=0-" + "9" * 400]
)
def test_a_range_that_makes_no_sense_or_asks_for_several_gets_the_whole(client: TestClient, header: str) -> None:
    answer = client.get(f"/audio/{NAME}", headers={"Range": header})
    assert (answer.status_code, answer.content) == (200, OPUS)


def test_if_range_of_another_version_gets_the_whole(client: TestClient) -> None:
    wanted = {"Range": "bytes=0-3"}
    assert client.get(f"/audio/{NAME}", headers={**wanted, "If-Range": f'"{NAME}"'}).status_code == 206
    assert client.get(f"/audio/{NAME}", headers={**wanted, "If-Range": '"other"'}).status_code == 200
    assert client.get(f"/audio/{NAME}", headers={**wanted, "If-Range": f'W/"{NAME}"'}).status_code == 200


@pytest.mark.parametrize("header", [f'"{NAME}"', f'W/"{NAME}"', f'"x", "{NAME}"', "*"])
def test_a_cache_that_has_it_is_told_so(client: TestClient, header: str) -> None:
    answer = client.get(f"/audio/{NAME}", headers={"If-None-Match": header})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", f'"{NAME}"')


@pytest.mark.parametrize("name", ["0" * 64, NAME.upper(), "x", "..%2f..%2fetc%2fpasswd", "%00"])
def test_an_unknown_hash_is_a_problem_with_a_code(client: TestClient, name: str) -> None:
    answer = client.get(f"/audio/{name}")
    if "%2f" in name:
        assert answer.status_code == 404
        return
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert (answer.headers["cache-control"], answer.json()["code"]) == ("no-store", "audio_not_found")


def test_a_sick_disk_is_said_to_be_one() -> None:
    class Sick:
        def size(self, sha256: str) -> int:
            raise StoreBroken("Input/output error")

        def open(self, sha256: str) -> BinaryIO:
            raise StoreBroken("Input/output error")

    app = FastAPI()
    app.include_router(audio_router(Sick()))
    answer = TestClient(app).get(f"/audio/{NAME}")
    assert (answer.status_code, answer.json()["code"]) == (503, "audio_store_broken")


def test_both_methods_are_described_once_each(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {path: sorted(methods) for path, methods in paths.items()} == {"/audio/{sha256}": ["get", "head"]}
