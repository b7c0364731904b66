"""The audio store on a real disk, and fetching over real HTTP on loopback."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from devices.speaker.events import Fetch
from devices.speaker.fetch import FetchFailed, fetch
from devices.speaker.store import AudioStore, StoreRefused


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_recording_is_kept_under_its_hash(tmp_path: Path) -> None:
    store = AudioStore(tmp_path)
    assert store.add(sha(b"abc"), [b"a", b"bc"], 3) == ()
    path = store.recording(sha(b"abc"))
    assert path is not None
    assert path.read_bytes() == b"abc"
    assert AudioStore(tmp_path).cached() == (sha(b"abc"),)


@pytest.mark.parametrize(
    ("chunks", "size", "code"),
    [([b"abd"], 3, "hash_mismatch"), ([b"abcd"], 3, "over_cap"), ([b"ab"], 3, "hash_mismatch"), ([], 9**9, "over_cap")],
)
def test_what_is_not_what_its_hash_says_is_refused_and_leaves_nothing(
    tmp_path: Path, chunks: list[bytes], size: int, code: str
) -> None:
    store = AudioStore(tmp_path)
    with pytest.raises(StoreRefused) as refused:
        store.add(sha(b"abc"), chunks, size)
    assert refused.value.code == code
    assert list(store.audio.iterdir()) == []


def test_the_least_recently_used_makes_room_and_staged_phrases_never_do(tmp_path: Path) -> None:
    store = AudioStore(tmp_path, bytes_max=8)
    store.stage("11B03", b"phrase that is much larger than the whole cache")
    store.stage("preface", b"preface")
    names = [sha(data) for data in (b"aaaa", b"bbbb", b"cccc")]
    store.add(names[0], [b"aaaa"], 4)
    store.add(names[1], [b"bbbb"], 4)
    os.utime(store.audio / names[0], ns=(1, 1))
    os.utime(store.audio / names[1], ns=(2, 2))
    assert store.recording(names[0]) is not None
    assert store.add(names[2], [b"cccc"], 4) == (names[1],)
    assert store.cached() == tuple(sorted([names[0], names[2]]))
    assert store.preface() is not None
    assert store.phrase("11B03") is not None


def test_a_staged_recording_never_makes_room(tmp_path: Path) -> None:
    store = AudioStore(tmp_path, bytes_max=8)
    staged, old, new = (sha(data) for data in (b"aaaa", b"bbbb", b"cccc"))
    store.add(staged, [b"aaaa"], 4)
    os.utime(store.audio / staged, ns=(1, 1))
    store.add(old, [b"bbbb"], 4)
    assert store.add(new, [b"cccc"], 4, keep={staged}) == (old,)
    assert store.cached() == tuple(sorted([staged, new]))


def test_the_phrase_for_the_longest_part_of_the_event_code_is_found(tmp_path: Path) -> None:
    store = AudioStore(tmp_path)
    assert store.phrase("11B03") is None
    store.stage("general", b"g")
    store.stage("11B", b"rain")
    assert [path and path.name for path in map(store.phrase, ("11B03", "12A", "../../x"))] == [
        "11B.wav",
        "general.wav",
        "general.wav",
    ]


def test_left_over_parts_of_a_crash_are_removed(tmp_path: Path) -> None:
    AudioStore(tmp_path)
    (tmp_path / "audio" / "x.part").write_bytes(b"half")
    assert AudioStore(tmp_path).cached() == ()
    assert list((tmp_path / "audio").iterdir()) == []


class Shelf(BaseHTTPRequestHandler):
    """Serves what the path says: /good, /short, /gone, /away."""

    def do_GET(self) -> None:
        status = {"/gone": 404, "/away": 302}.get(self.path, 200)
        body = {"/good": b"recording", "/short": b"record"}.get(self.path, b"")
        self.send_response(status)
        self.send_header("Content-Length", str(9 if self.path == "/short" else len(body)))
        if status == 302:
            self.send_header("Location", "/good")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Tests print nothing."""


@pytest.fixture
def shelf() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Shelf)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_audio_is_fetched_and_kept_under_its_hash(tmp_path: Path, shelf: str) -> None:
    store = AudioStore(tmp_path)
    name = sha(b"recording")
    fetch(store, Fetch(name, f"{shelf}/good", 9, 0))
    assert store.cached() == (name,)


@pytest.mark.parametrize(("path", "size", "code"), [
    ("gone", 9, "http_404"), ("away", 9, "http_302"), ("short", 9, "hash_mismatch"), ("good", 8, "over_cap"),
])  # fmt: skip
def test_failures_of_fetching_have_a_code(tmp_path: Path, shelf: str, path: str, size: int, code: str) -> None:
    with pytest.raises(FetchFailed) as failed:
        fetch(AudioStore(tmp_path), Fetch(sha(b"recording"), f"{shelf}/{path}", size, 0))
    assert failed.value.code == code
    assert AudioStore(tmp_path).cached() == ()


def test_a_dead_server_is_unreachable_and_worth_another_try(tmp_path: Path) -> None:
    with pytest.raises(FetchFailed) as failed:
        fetch(AudioStore(tmp_path), Fetch(sha(b"x"), "http://127.0.0.1:1/x", 1, 0))
    assert (failed.value.code, failed.value.again) == ("unreachable", True)
