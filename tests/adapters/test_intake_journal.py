from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from devices.protocols.selector import Circle, Polygon
from services.dispatcher.adapters.intake_journal import REPLAY_BATCH, IntakeJournal, JournalFull
from services.dispatcher.domain.signals import Place, Problem, Signal, Unread
from services.dispatcher.engine.ports import StoreUnavailable
from tests.builders import NOON_US, fire_signal, storm_signal

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


def test_a_database_that_goes_away_between_two_batches_gets_the_first_again(journal: IntakeJournal) -> None:
    many = [fire_signal(f"key/{n}") for n in range(REPLAY_BATCH + 1)]
    journal.keep(many)
    first = Database()

    def once(signals: Sequence[Signal], unread: Sequence[Unread]) -> None:
        if first.calls:
            raise StoreUnavailable("away")
        first(signals, unread)

    with pytest.raises(StoreUnavailable):
        journal.replay(once, NOON_US)
    second = Database()
    assert journal.replay(second, NOON_US) == REPLAY_BATCH + 1
    assert (second.signals, second.calls) == (many, [(REPLAY_BATCH, 0), (1, 0)])


@pytest.mark.parametrize("torn", [1, 40, 200])
def test_a_line_torn_by_a_crash_is_left_to_its_panel(tmp_path: Path, journal: IntakeJournal, torn: int) -> None:
    journal.keep([fire_signal(), fire_signal("2")])
    raw = path_of(tmp_path).read_bytes()
    path_of(tmp_path).write_bytes(raw[:-torn])
    database = Database()
    assert journal.replay(database, NOON_US) == 1
    assert (database.signals, database.unread) == ([fire_signal()], [])


def test_what_follows_a_torn_line_is_not_torn_with_it(tmp_path: Path, journal: IntakeJournal) -> None:
    journal.keep([fire_signal(), fire_signal("2")])
    path_of(tmp_path).write_bytes(path_of(tmp_path).read_bytes()[:-5])
    journal.keep([fire_signal("3")])
    database = Database()
    assert journal.replay(database, NOON_US) == 2
    assert (database.signals, database.unread) == ([fire_signal(), fire_signal("3")], [])


def test_a_file_that_is_one_torn_line_takes_new_ones(tmp_path: Path, journal: IntakeJournal) -> None:
    path_of(tmp_path).write_bytes(b's{"key": "to')
    journal.keep([fire_signal()])
    database = Database()
    journal.replay(database, NOON_US)
    assert database.signals == [fire_signal()]


@pytest.mark.parametrize("line", [b"s{}", b"s[]", b"snull", b"s\xff\xfe", b"u{}", b"nonsense", b'u"text"'])
def test_a_line_that_nobody_can_read_blocks_nothing_and_is_shown(
    tmp_path: Path, journal: IntakeJournal, line: bytes
) -> None:
    journal.keep([fire_signal()])
    with path_of(tmp_path).open("ab") as file:
        file.write(line + b"\n")
    journal.keep([fire_signal("2")])
    database = Database()
    assert journal.replay(database, NOON_US) == 2
    assert database.signals == [fire_signal(), fire_signal("2")]
    assert database.unread == [Unread("journal", "intake.journal", "line_unreadable", line, NOON_US)]


def test_a_full_journal_confirms_nothing_more_and_keeps_what_it_has(tmp_path: Path) -> None:
    journal = IntakeJournal(path_of(tmp_path), bytes_max=1_000)
    journal.keep([fire_signal()])
    before = path_of(tmp_path).read_bytes()
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
