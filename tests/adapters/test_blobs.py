"""Audio by hash: whole or not there, no way out of the folder, and a full disk says so."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from services.dispatcher.adapters.blobs import (
    BLOB_BYTES_MAX,
    BlobMissing,
    Blobs,
    BlobTooLarge,
    Collected,
    StoreBroken,
)

DATA = b"OggS" + bytes(1_000)
NAME = hashlib.sha256(DATA).hexdigest()

PUT_WITH_LITTLE_ROOM = """
import resource, sys
from pathlib import Path
from services.dispatcher.adapters.blobs import Blobs, StoreFull
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
try:
    Blobs(Path(sys.argv[1])).put(bytes(5_000))
except StoreFull as refusal:
    print(refusal.code)
"""


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def aged(folder: Path, name: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(folder / name[:2] / name, (then, then))


def test_what_is_put_is_found_under_its_hash(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "audio")
    assert blobs.put(DATA) == NAME
    assert (blobs.exists(NAME), blobs.size(NAME)) == (True, len(DATA))
    with blobs.open(NAME) as file:
        assert file.read() == DATA


def test_putting_twice_keeps_one_file_and_mends_a_damaged_one(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    blobs.put(DATA)
    (tmp_path / NAME[:2] / NAME).write_bytes(bytes(len(DATA)))
    assert blobs.put(DATA) == NAME
    assert files(tmp_path) == [NAME]
    with blobs.open(NAME) as file:
        assert file.read() == DATA


def test_many_writers_of_the_same_bytes_do_not_disturb_each_other(tmp_path: Path) -> None:
    names: list[str] = []
    writers = [threading.Thread(target=lambda: names.append(Blobs(tmp_path).put(DATA))) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert (names, files(tmp_path)) == ([NAME] * 8, [NAME])


@pytest.mark.parametrize(
    "name", ["", "..", "../../etc/passwd", NAME.upper(), NAME + "\n", NAME[:63], NAME + "0", "/" + NAME[1:], "0" * 64]
)
def test_what_is_no_known_hash_is_missing(tmp_path: Path, name: str) -> None:
    blobs = Blobs(tmp_path)
    blobs.put(DATA)
    assert not blobs.exists(name)
    with pytest.raises(BlobMissing):
        blobs.open(name)
    with pytest.raises(BlobMissing):
        blobs.size(name)


def test_a_file_over_the_cap_is_refused_before_it_touches_the_disk(tmp_path: Path) -> None:
    with pytest.raises(BlobTooLarge):
        Blobs(tmp_path).put(bytes(BLOB_BYTES_MAX + 1))
    assert files(tmp_path) == []


def test_no_room_left_is_named_and_leaves_nothing_behind(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", PUT_WITH_LITTLE_ROOM, str(tmp_path)]
    said = subprocess.run(argv, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True).stdout
    assert said == "audio_store_full\n"
    assert files(tmp_path) == []


def test_a_folder_that_is_a_file_is_a_broken_store(tmp_path: Path) -> None:
    (tmp_path / "audio").write_text("in the way")
    with pytest.raises(StoreBroken) as refused:
        Blobs(tmp_path / "audio").put(DATA)
    assert refused.value.code == "audio_store_broken"


def test_collection_takes_what_is_old_and_not_kept(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    old, kept, fresh = blobs.put(b"old"), blobs.put(b"kept"), blobs.put(b"fresh")
    aged(tmp_path, old, 10_000)
    aged(tmp_path, kept, 10_000)
    assert blobs.collect(time.time() - 5_000, keep={kept}) == Collected(1, 3)
    assert files(tmp_path) == sorted([kept, fresh])


def test_reading_and_putting_again_count_as_use(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    read, put = blobs.put(b"read"), blobs.put(b"put")
    aged(tmp_path, read, 10_000)
    aged(tmp_path, put, 10_000)
    blobs.open(read).close()
    blobs.put(b"put")
    assert blobs.collect(time.time() - 5_000) == Collected(0, 0)


def test_collection_clears_abandoned_writes_but_not_present_ones_or_foreign_files(tmp_path: Path) -> None:
    folder = tmp_path / "ab"
    folder.mkdir()
    for name in ("left.new", "now.new", "README"):
        (folder / name).write_bytes(b"12345")
    then = time.time() - 10_000
    os.utime(folder / "left.new", (then, then))
    os.utime(folder / "README", (then, then))
    assert Blobs(tmp_path).collect(time.time()) == Collected(1, 5)
    assert files(tmp_path) == ["README", "now.new"]


def test_collecting_a_store_that_was_never_written_finds_nothing(tmp_path: Path) -> None:
    assert Blobs(tmp_path / "absent").collect(time.time()) == Collected(0, 0)
