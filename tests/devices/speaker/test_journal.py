"""The journal on a real disk: cut at every byte, damaged, full, compacted, locked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from devices.speaker import journal as journal_module
from devices.speaker.events import JournalEntry
from devices.speaker.journal import Journal, JournalInUse


def facts(journal: Journal) -> dict[tuple[str, str], str | None]:
    return {(entry.kind, entry.key): entry.value for entry in journal.image().entries if entry.kind != "self"}


def reopened(folder: Path) -> dict[tuple[str, str], str | None]:
    journal = Journal(folder)
    found = facts(journal)
    journal.close()
    return found


def test_what_was_appended_is_there_after_reopening_and_the_latest_word_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([JournalEntry("mark", "a", "1"), JournalEntry("mark", "b", "2")])
    journal.append(
        [JournalEntry("mark", "a", "3"), JournalEntry("mark", "b", None), JournalEntry("order", "a", "行\n")]
    )
    journal.close()
    assert reopened(tmp_path) == {("mark", "a"): "3", ("order", "a"): "行\n"}


def test_a_new_store_has_a_new_random_id_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    first, second = Journal(tmp_path / "a"), Journal(tmp_path / "b")
    assert first.id != second.id
    assert len(first.id) == 32
    first.close()
    again = Journal(tmp_path / "a")
    assert again.id == first.id
    again.close()
    second.close()


def test_a_crash_at_every_byte_leaves_each_group_whole_or_absent(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    groups = [[JournalEntry("mark", "a", str(n)), JournalEntry("mark", "b", str(n))] for n in range(4)]
    start = (tmp_path / "journal").stat().st_size
    for group in groups:
        journal.append(group)
    journal.close()
    whole = (tmp_path / "journal").read_bytes()
    ends = [n for n in range(start, len(whole) + 1) if whole[:n].endswith(b"\n")]
    for cut in range(start, len(whole) + 1):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        (folder / "journal").write_bytes(whole[:cut])
        done = sum(end <= cut for end in ends[1:])
        value = str(done - 1)
        assert reopened(folder) == ({("mark", "a"): value, ("mark", "b"): value} if done else {})


def test_writing_goes_on_after_a_cut_tail(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([JournalEntry("mark", "a", "1")])
    journal.append([JournalEntry("mark", "a", "2")])
    journal.close()
    path = tmp_path / "journal"
    path.write_bytes(path.read_bytes()[:-3])
    journal = Journal(tmp_path)
    assert journal.damaged_lines == 1
    journal.append([JournalEntry("mark", "b", "3")])
    journal.close()
    assert reopened(tmp_path) == {("mark", "a"): "1", ("mark", "b"): "3"}


def test_a_damaged_line_in_the_middle_costs_only_itself(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for name in "abc":
        journal.append([JournalEntry("mark", name, "1")])
    journal.close()
    path = tmp_path / "journal"
    path.write_bytes(path.read_bytes().replace(b'"b"', b'"x"'))
    assert reopened(tmp_path) == {("mark", "a"): "1", ("mark", "c"): "1"}


def test_a_file_of_noise_is_a_new_journal_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(bytes(range(256)) * 50)
    journal = Journal(tmp_path)
    assert facts(journal) == {}
    assert journal.damaged_lines > 0
    journal.close()


def test_a_long_life_is_compacted_and_keeps_every_fact(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(6_000):
        journal.append([JournalEntry("mark", f"k{number % 10}", f"{number:0100}")])
    journal.close()
    assert (tmp_path / "journal").stat().st_size < 2 * journal_module.COMPACT_BYTES_MIN
    assert reopened(tmp_path) == {("mark", f"k{n % 10}"): f"{n:0100}" for n in range(5_990, 6_000)}


def test_two_processes_cannot_share_a_store(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(JournalInUse):
        Journal(tmp_path)
    journal.close()


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from devices.speaker.events import JournalEntry
from devices.speaker.journal import Journal, JournalFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path(sys.argv[1]))
journal.append([JournalEntry("mark", "before", "1")])
resource.setrlimit(resource.RLIMIT_FSIZE, (5, resource.RLIM_INFINITY))
try:
    journal.append([JournalEntry("mark", "during", "2")])
except JournalFailed as failed:
    print(failed.code)
try:
    journal.append([JournalEntry("mark", "during", "3")])
except JournalFailed as failed:
    print(failed.code)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append([JournalEntry("mark", "after", "4")])
print("written")
"""


def test_what_a_full_disk_refused_is_written_when_there_is_room_again(tmp_path: Path) -> None:
    """The kernel itself refuses to let the file grow, as a full disk would."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert done.stdout.split() == ["disk_failed", "disk_failed", "written"]
    assert reopened(tmp_path) == {("mark", "before"): "1", ("mark", "during"): "3", ("mark", "after"): "4"}
