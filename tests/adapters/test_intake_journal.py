from __future__ import annotations

import errno
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from devices.protocols.selector import Circle, Polygon
from services.dispatcher.adapters.intake_journal import REPLAY_BATCH, RESERVE_BYTES, IntakeJournal, JournalFull
from services.dispatcher.domain.signals import Place, Problem, Signal, Unread
from services.dispatcher.engine.ports import StoreUnavailable
from tests.builders import NOON_US, fire_signal, storm_signal

ROOT = Path(__file__).parents[2]
SHAPES = Place(
    areas=("210202000000",),
    shapes=(Polygon(((1, 2), (3, 4), (5, 6))), Circle(389_000_000, 1_216_000_000, 500)),
)
UNREAD = Unread("tcp", "10.0.0.1", "bad_sum", b"\x40\x40\x00\xff", NOON_US)


class Database:
    """Takes what is handed to it, in order."""

    def __init__(self, away: int = 0) -> None:
        self.signals: list[Signal] = []
        self.unread: list[Unread] = []
        self.calls: list[tuple[int, int]] = []
        self._away = away

    def __call__(self, signals: Sequence[Signal], unread: Sequence[Unread]) -> None:
        if self._away:
            self._away -= 1
            raise StoreUnavailable("away")
        self.calls.append((len(signals), len(unread)))
        self.signals += signals
        self.unread += unread


@pytest.fixture
def journal(tmp_path: Path) -> IntakeJournal:
    return IntakeJournal(tmp_path / "intake.journal")


def path_of(tmp_path: Path) -> Path:
    return tmp_path / "intake.journal"


def lines(tmp_path: Path) -> bytes:
    """What stands in the file before the room that is kept free."""
    return path_of(tmp_path).read_bytes().partition(b"\0")[0]


def write(tmp_path: Path, raw: bytes) -> None:
    """What a crash or a stranger left in the file, with its room behind it."""
    path_of(tmp_path).write_bytes(raw.ljust(RESERVE_BYTES, b"\0"))


def test_signals_come_back_whole_and_in_order(journal: IntakeJournal) -> None:
    kept = [
        fire_signal(),
        storm_signal(place=SHAPES, problems=(Problem("warning", "code", "where", "句子\n"),), references=("a", "b")),
        fire_signal("2", test_bit=True, expires_us=NOON_US),
    ]
    journal.keep(kept[:1])
    journal.keep(kept[1:])
    database = Database()
    assert (journal.waiting(), journal.replay(database, NOON_US), journal.waiting()) == (True, 3, False)
    assert database.signals == kept


def test_what_could_not_be_understood_is_kept_too(journal: IntakeJournal) -> None:
    journal.keep([fire_signal()], [UNREAD])
    journal.keep([], [UNREAD])
    database = Database()
    assert journal.replay(database, NOON_US) == 1
    assert (database.signals, database.unread) == ([fire_signal()], [UNREAD, UNREAD])


def test_an_empty_journal_hands_nothing_over(journal: IntakeJournal) -> None:
    database = Database()
    assert (journal.waiting(), journal.replay(database, NOON_US), database.calls) == (False, 0, [])


def test_a_database_that_goes_away_again_loses_nothing(journal: IntakeJournal) -> None:
    journal.keep([fire_signal()])
    with pytest.raises(StoreUnavailable):
        journal.replay(Database(away=1), NOON_US)
    assert journal.waiting()
    database = Database()
    assert journal.replay(database, NOON_US) == 1
    assert database.signals == [fire_signal()]


@pytest.mark.parametrize("torn", [1, 40, 200])
def test_a_line_torn_by_a_crash_is_left_to_its_panel(tmp_path: Path, journal: IntakeJournal, torn: int) -> None:
    journal.keep([fire_signal(), fire_signal("2")])
    write(tmp_path, lines(tmp_path)[:-torn])
    database = Database()
    assert journal.replay(database, NOON_US) == 1
    assert (database.signals, database.unread) == ([fire_signal()], [])


@pytest.mark.parametrize("cut", [1, 5, 300])
def test_what_follows_a_torn_line_is_not_torn_with_it(tmp_path: Path, journal: IntakeJournal, cut: int) -> None:
    journal.keep([fire_signal(), fire_signal("2")])
    write(tmp_path, lines(tmp_path)[:-cut])
    journal.keep([fire_signal("3")])
    database = Database()
    assert journal.replay(database, NOON_US) == 2
    assert (database.signals, database.unread) == ([fire_signal(), fire_signal("3")], [])


def test_a_file_that_is_one_torn_line_takes_new_ones(tmp_path: Path, journal: IntakeJournal) -> None:
    write(tmp_path, b's{"key": "to')
    journal.keep([fire_signal()])
    database = Database()
    journal.replay(database, NOON_US)
    assert database.signals == [fire_signal()]


@pytest.mark.parametrize("line", [b"s{}", b"s[]", b"snull", b"s\xff\xfe", b"u{}", b"nonsense", b'u"text"'])
def test_a_line_that_nobody_can_read_blocks_nothing_and_is_shown(
    tmp_path: Path, journal: IntakeJournal, line: bytes
) -> None:
    journal.keep([fire_signal()])
    write(tmp_path, lines(tmp_path) + line + b"\n")
    journal.keep([fire_signal("2")])
    database = Database()
    assert journal.replay(database, NOON_US) == 2
    assert database.signals == [fire_signal(), fire_signal("2")]
    assert database.unread == [Unread("journal", "intake.journal", "line_unreadable", line, NOON_US)]


def test_a_full_journal_confirms_nothing_more_and_keeps_what_it_has(tmp_path: Path) -> None:
    journal = IntakeJournal(path_of(tmp_path), bytes_max=1_000)
    journal.keep([fire_signal()])
    before = path_of(tmp_path).read_bytes()
    assert len(before) == 1_000
    with pytest.raises(JournalFull):
        journal.keep([fire_signal("2"), fire_signal("3"), fire_signal("4")])
    assert path_of(tmp_path).read_bytes() == before
    journal.keep([fire_signal("2")])


def test_the_journal_is_its_owners_alone(tmp_path: Path, journal: IntakeJournal) -> None:
    journal.keep([fire_signal()])
    assert stat.S_IMODE(path_of(tmp_path).stat().st_mode) == 0o600


def test_another_process_finds_what_was_kept(tmp_path: Path, journal: IntakeJournal) -> None:
    journal.keep([fire_signal()])
    database = Database()
    assert IntakeJournal(path_of(tmp_path)).replay(database, NOON_US) == 1
    assert database.signals == [fire_signal()]


def test_two_gateways_share_one_journal_and_nothing_kept_by_either_is_lost(tmp_path: Path) -> None:
    """One replays while the other keeps: what is kept in between is handed over too, or stays."""
    first, second = IntakeJournal(path_of(tmp_path)), IntakeJournal(path_of(tmp_path))
    first.keep([fire_signal("1")])
    second.keep([fire_signal("2")])
    database = Database()

    def meanwhile(signals: Sequence[Signal], unread: Sequence[Unread]) -> None:
        if not database.calls:
            second.keep([fire_signal("3")])
            assert second.replay(database, NOON_US) == 0
        database(signals, unread)

    assert first.replay(meanwhile, NOON_US) == 3
    assert [signal.key for signal in database.signals] == ["1", "2", "3"]
    assert not first.waiting() and not second.waiting()
    second.keep([fire_signal("4")])
    first.keep([fire_signal("5")])
    assert second.replay(database, NOON_US) == 2
    assert [signal.key for signal in database.signals] == ["1", "2", "3", "4", "5"]


def test_a_replay_that_failed_goes_on_where_it_stopped(tmp_path: Path, journal: IntakeJournal) -> None:
    many = [fire_signal(f"key/{n}") for n in range(3 * REPLAY_BATCH)]
    journal.keep(many)
    database = Database()

    def second_fails(signals: Sequence[Signal], unread: Sequence[Unread]) -> None:
        if len(database.calls) == 1:
            raise StoreUnavailable("away")
        database(signals, unread)

    with pytest.raises(StoreUnavailable):
        journal.replay(second_fails, NOON_US)
    journal.keep([fire_signal("last")])
    assert IntakeJournal(path_of(tmp_path)).replay(database, NOON_US) == 2 * REPLAY_BATCH + 1
    assert database.signals == [*many, fire_signal("last")]


def test_a_journal_written_to_its_end_grows_and_gives_the_room_back(tmp_path: Path) -> None:
    journal = IntakeJournal(path_of(tmp_path), reserve_bytes=4_096)
    assert path_of(tmp_path).stat().st_size == 4_096
    many = [fire_signal(f"key/{n}") for n in range(40)]
    for signal in many:
        journal.keep([signal])
    assert path_of(tmp_path).stat().st_size > 4_096
    database = Database()
    assert (journal.replay(database, NOON_US), database.signals) == (40, many)
    assert path_of(tmp_path).read_bytes() == bytes(4_096)


LIMITED = """
import resource, signal, sys
from pathlib import Path
from services.dispatcher.adapters.intake_journal import IntakeJournal
from tests.builders import fire_signal
journal = IntakeJournal(Path(sys.argv[1]), reserve_bytes=4_096)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, 4_096))
for number in range(100):
    try:
        journal.keep([fire_signal(str(number))])
    except OSError as cause:
        print(number, cause.errno)
        break
journal.keep([], [])
"""


def test_when_the_disk_takes_no_more_the_room_is_used_and_what_did_not_fit_is_not_kept(tmp_path: Path) -> None:
    ran = run_python(LIMITED, str(path_of(tmp_path)))
    kept, number = ran.split()
    assert int(number) == errno.EFBIG
    assert int(kept) > 3
    database = Database()
    IntakeJournal(path_of(tmp_path)).replay(database, NOON_US)
    assert database.signals == [fire_signal(str(number)) for number in range(int(kept))]
    assert database.unread == []


KEEPING = """
import sys
from pathlib import Path
from services.dispatcher.adapters.intake_journal import IntakeJournal
from tests.builders import fire_signal
journal = IntakeJournal(Path(sys.argv[1]))
for number in range(100_000):
    key = f"{sys.argv[2]}/{number}"
    journal.keep([fire_signal(key)])
    print(key, flush=True)
"""


def test_what_two_gateways_kept_before_they_were_killed_is_replayed(tmp_path: Path) -> None:
    """Both write at once while a third replays now and then; each is killed in the middle of it."""
    journal = IntakeJournal(path_of(tmp_path))
    command = [sys.executable, "-c", KEEPING, str(path_of(tmp_path))]
    writers = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True, cwd=ROOT) for name in ("a", "b")]
    database = Database()
    confirmed: list[str] = []
    for rounds in range(60):
        for writer in writers:
            assert writer.stdout is not None
            confirmed.append(writer.stdout.readline().strip())
        if rounds % 10 == 5:
            journal.replay(database, NOON_US)
    for writer in writers:
        writer.kill()
        assert writer.stdout is not None
        confirmed += [line.strip() for line in writer.stdout if line.endswith("\n")]
        writer.wait()
        writer.stdout.close()
    journal.replay(database, NOON_US)
    keys = [signal.key for signal in database.signals]
    for name in ("a", "b"):
        mine = [key for key in keys if key.startswith(name)]
        said = [key for key in confirmed if key.startswith(name)]
        assert mine[: len(said)] == said
        assert len(mine) <= len(said) + 1
    assert database.unread == []


def run_python(program: str, *arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return ran.stdout
