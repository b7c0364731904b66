"""Two devices under one id, each with a store of its own: shown as cloned, and a few lines of the log in all."""

from __future__ import annotations

from collections import Counter

import pytest

from devices.protocols.documents import SpeakerState
from services.dispatcher.engine import queries
from services.dispatcher.engine.air import receipts
from services.dispatcher.engine.air.speaker_oddities import CLONED, JOURNALS_MAX
from services.dispatcher.engine.rows import Live
from services.dispatcher.web.schemas import SpeakerView
from tests import builders
from tests.builders import NOON_US, Town

ID = "mall-1"


@pytest.fixture
def town() -> Town:
    return builders.town()


def say(town: Town, journal: str, connection: int, *, online: bool = True, retained: bool = False) -> Live:
    said = SpeakerState(online, connection, {}, 1, NOON_US // 1_000, journal, 0, 80, "mains", (), "")
    receipts.hear_speakers(town.store, [(ID, said)], retained=retained)
    return town.get(Live, ID)


def test_journals_that_come_back_twice_are_a_clone(town: Town) -> None:
    say(town, "a", 5)
    assert say(town, "b", 1).oddity == ""
    assert say(town, "a", 6).oddity == ""
    live = say(town, "b", 2)
    assert (live.oddity, live.cloned, live.online) == (CLONED, 2, True)
    assert town.kinds(ID) == ["speaker.online", "speaker.journal_lost", "speaker.cloned"]


def test_a_card_put_back_once_is_no_clone(town: Town) -> None:
    """Its old card counts on: one device, and it is seen to come back once."""
    for connection, journal in ((50, "old"), (1, "new"), (51, "old"), (52, "old")):
        say(town, journal, connection)
        town.clock.advance(60)
        assert say(town, journal, connection, online=False).oddity == ""
    town.clock.advance(3_600)
    # A new card, and back again another day.
    say(town, "new", 2)
    assert town.get(Live, ID).oddity == ""


def test_they_throw_each_other_out_for_hours_and_the_log_has_a_few_lines_an_hour(town: Town) -> None:
    hours, numbers = 3, Counter[str]()
    for turn in range(hours * 360):
        one, other = ("a", "b") if turn % 2 else ("b", "a")
        # The broker takes the connection from the other, and publishes its last will.
        if numbers[other]:
            say(town, other, numbers[other], online=False)
        numbers[one] += 1
        say(town, one, numbers[one])
        town.clock.advance(10)
    live = town.get(Live, ID)
    assert (live.oddity, live.online) == (CLONED, True)
    assert live.cloned > 1_000
    lines = Counter(town.kinds(ID))
    assert lines["speaker.cloned"] == 1
    assert lines["speaker.journal_lost"] == 1
    assert sum(lines.values()) < 8 + 4 * hours


def test_a_wiped_store_is_no_clone_however_often(town: Town) -> None:
    for number in range(20):
        say(town, f"journal-{number}", 1)
        town.clock.advance(4_000)
    live = town.get(Live, ID)
    assert (live.cloned, live.oddity, len(live.journals)) == (0, "", JOURNALS_MAX)
    assert town.kinds(ID).count("speaker.journal_lost") == 19


def test_an_older_state_that_comes_late_makes_no_clone(town: Town) -> None:
    say(town, "a", 5)
    say(town, "b", 1)
    # Another gateway is behind.
    say(town, "a", 5)
    live = say(town, "b", 1)
    assert (live.cloned, live.oddity) == (0, "")


def test_a_card_put_back_to_an_older_state_is_no_clone(town: Town) -> None:
    say(town, "a", 50)
    say(town, "b", 1)
    say(town, "a", 40)
    for number in range(41, 80):
        say(town, "a", number)
    assert town.get(Live, ID).cloned == 0


def test_enrolling_anew_heals_it_and_an_hour_of_quiet_hides_it(town: Town) -> None:
    for journal, number in (("a", 1), ("b", 1), ("a", 2), ("b", 2)):
        say(town, journal, number)
    with town.store.write() as tx:
        receipts.enrolled_anew(tx, ID)
    live = say(town, "b", 3)
    assert (live.oddity, live.cloned, live.journals) == ("", 0, {})
    say(town, "a", 9)
    say(town, "b", 4)
    assert say(town, "a", 10).oddity == CLONED
    town.clock.advance(3_601)
    live = say(town, "a", 10)
    assert (live.oddity, live.cloned) == ("", 2)


def test_the_speaker_s_page_says_so(town: Town) -> None:
    for journal, number in (("a", 1), ("b", 1), ("a", 2), ("b", 2)):
        say(town, journal, number)
    with town.store.read() as read:
        shown = SpeakerView.of(queries.speaker_now(read, ID))
    assert (shown.oddity, shown.cloned) == (CLONED, 2)
