"""What the engine may rely on, whatever the store: in memory, SQLite and PostgreSQL pass the same tests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devices.protocols.selector import Circle, Polygon, Selector
from devices.protocols.speaker_link import Audio, OrderClass, Phase
from services.dispatcher.domain.broadcasts import Act, Broadcast, BroadcastState, Release
from services.dispatcher.domain.effects import Carry, Record, Save, Sleep, Timer, WakeAt
from services.dispatcher.domain.incidents import Incident, IncidentState, Verdict
from services.dispatcher.domain.panels import PanelRequest, RequestKind, RequestState
from services.dispatcher.domain.places import Area, Office, OfficeKind, OutOfService, Speaker, Venue, VenueKind
from services.dispatcher.domain.planning import Coverage, Plan
from services.dispatcher.domain.playbook import Rung
from services.dispatcher.domain.polling import Poll, Round
from services.dispatcher.domain.refused_documents import RefusedDocument
from services.dispatcher.domain.rhythm import Heard
from services.dispatcher.domain.risk import Witness
from services.dispatcher.domain.sightings import Sighting
from services.dispatcher.domain.signals import (
    Evidence,
    Feed,
    Panel,
    Place,
    Problem,
    Sensor,
    Signal,
    SignalKind,
    Unread,
    Use,
)
from services.dispatcher.domain.verification import Task, TaskKind, TaskState
from services.dispatcher.engine.ports import Added, Page
from services.dispatcher.engine.rows import (
    RECEIPT_GONE,
    Asset,
    BrokerAccount,
    CityChange,
    CitySettings,
    Expected,
    Lease,
    Live,
    Login,
    PanelLive,
    Person,
    ReceiptRow,
    Stranger,
    Stream,
    TimerRow,
    Wording,
)
from services.dispatcher.engine.writing import WritableStore
from tests import builders
from tests.adapters.neighbours import INCIDENT

BIG_US = 1_900_000_000_000_000
RING = Polygon(((389_000_000, 1_216_000_000), (389_100_000, 1_216_000_000), (389_100_000, 1_216_100_000)))
CIRCLE = Circle(389_140_000, 1_216_140_000, 1_500)
PLACE = Place("v-1", ("210202000000",), (RING, CIRCLE), ("青泥洼街道",))
SIGNAL = Signal(
    key="cap:1",
    reporter="weather",
    use=Use.EXERCISE,
    kind=SignalKind.UPDATE,
    evidence=Evidence.AUTHORITY,
    hazard="rainstorm",
    event_code="11B03",
    place=PLACE,
    observed_us=BIG_US,
    received_us=BIG_US + 1,
    claimed_level=1,
    device="",
    headline="暴雨红色预警",
    expires_us=None,
    references=("cap:0",),
    problems=(Problem("warning", "sender_unknown", "sender", "the sender is not on the list"),),
)
BROADCAST = Broadcast(
    id="b-1",
    incident="i-1",
    use=Use.ACTUAL,
    phase=Phase.ALERT,
    original="",
    playbook="fire",
    state=BroadcastState.DRAFT,
    hazard="fire",
    hazard_names={"zh": "火灾", "en": "fire"},
    event_code="11A01",
    level=1,
    order_class=OrderClass.EMERGENCY,
    place_names={"zh": "青泥洼桥站"},
    texts={"zh": "请立即疏散。", "en": "Leave now."},
    selector=Selector(venues=("v-1",), shapes=(CIRCLE, RING), areas=()),
    stream="tocsin/v1/manifest/210202000000/actual/dalian",
    speakers=2,
    plan="fire/v-1",
    verdict="confirmed",
    volume="loud",
    repeat=3,
    gap_s=5,
    valid_s=600,
    prove_within_s=60,
    people_needed=2,
    released_by=("p-1",),
    wordings={"zh": "w-1"},
    audio=(Audio("zh", "0" * 64, "opus", 4_000, 32_000),),
)
TASK = Task(
    id="t-1",
    kind=TaskKind.VERIFY,
    use=Use.ACTUAL,
    incident="i-1",
    broadcast="",
    venue=None,
    area="210202000000",
    question={"zh": "是否属实？"},
    rungs=(Rung(0, 120), Rung(-1, 300)),
    offices=("o-1", "o-2"),
    rung=1,
    state=TaskState.ANSWERED,
    asked_us=BIG_US,
    due_us=BIG_US,
    verdict=Verdict.UNSURE,
)
POLL = Poll(
    "f-1", "https://example.cn/list.atom", 60, '"v1"', "Wed, 01 Jul 2026 00:00:00 GMT", "digest", BIG_US, 2, "http_503",
    ("a", "b"), (("b", 3), ("c", 1)), Round('"v2"', "", "digest-2", ("c",), more=True, again=True), asked=True,
    plain_http=True,
)  # fmt: skip
ROWS: tuple[object, ...] = (
    Area("210202000000", "中山区", "district", "210200000000", "2020-01-01", members=("a", "b"), centre_lat_e7=-1),
    Venue("v-1", "青泥洼桥站", VenueKind.UNDERGROUND, "210202000000", 389_140_000, 1_216_140_000, 9_000, "survey", 10),
    Office("o-1", "青泥洼街道值守", OfficeKind.TOWN, "210202000000", ("verify",), sample=True),
    Speaker("s-1", "v-1", "210202000000", "1号口", 1, 2, out_of_service=OutOfService("p-1", "flooded", BIG_US)),
    Speaker("s-2", "v-1", "210202000000", "2号口", 1, 2, enrolled=False),
    Feed("f-1", "气象局", "weather", "cap", Use.ACTUAL, "$argon2id$x", "210200000000", hazards=()),
    Panel("p-1", "panel", "010203040506", Use.EXERCISE, "v-1", True, "somebody", BIG_US, False, 7_500),
    Sensor(
        "sn-1",
        "box-1",
        "smoke-1",
        "smoke",
        "v-1",
        Use.ACTUAL,
        "烟感",
        "fire",
        300,
        True,
        "somebody",
        BIG_US,
        False,
        "x",
    ),  # fmt: skip
    POLL,
    Heard("panel/p-1", BIG_US, BIG_US + 1, 7_500, "i-1", True, "alarm"),
    replace(INCIDENT, place=PLACE, witnesses=(Witness("p", "d", Evidence.DETECTOR, True, None),), reasons=("甲", "乙")),
    TASK,
    BROADCAST,
    Release("r-1", "b-1", Act.STANDING, "", "hash", "fire@1", 'said "so"\n\\', BIG_US),
    Plan("fire/v-1", "fire", "digest", Selector(shapes=(RING,)), "210202000000", ("s-1", "s-2"), {"zh": "站"}),
    CitySettings("city", "210200000000", "大连", "dalian", 7),
    CityChange("0000000000000007", ("v-1",), ("s-1", "s-2")),
    Person("p-1", "王\0一", "$argon2id$x", ("duty_officer", "approver"), enabled=False),
    Login("l-1", "p-1", BIG_US),
    BrokerAccount("gw-0", "$7$101$x"),
    Stream(
        "s/1",
        "210202000000",
        "actual",
        "dalian",
        5,
        "digest",
        bytes(range(256)),
        "k-1",
        BIG_US,
        silent_since={"o-1": 4},
    ),
    Asset("a-1", "zh", "opus", "0" * 64, 4_000, 32_000, False),
    Wording("w-1", "zh", "请立即疏散。", "actual", "alert", 1, "11A01"),
    Lease("gw-0", "host/1", BIG_US),
    PanelRequest("r-1", RequestKind.DUTY_CHECK, "p-1", "li", "why", BIG_US, RequestState.ANSWERED, 5, operator=9),
    PanelLive("p-1", "gw-0", "10.0.0.1:9", BIG_US, -90),
    Stranger("010203040506", "10.0.0.1:9", BIG_US, BIG_US, 7),
    Live("s-1", True, 4, "j", 12, 1, 2, "f" * 64, 60, "mains", BIG_US, 1, 2, "cloned", BIG_US, {"tocsin/v1/x": BIG_US}),
    Sighting("tocsin/v1/x@7", "tocsin/v1/x", 7, orders=("o-1",), said_by=("s-1", "s-2"), said=9, incident="i-1"),
)


def _key(row: object) -> str:
    return row.code if isinstance(row, Area) else str(getattr(row, "id", ""))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row).__name__)
def test_what_was_put_comes_back_as_it_was(store: WritableStore, row: object) -> None:
    with store.write() as tx:
        tx.put(row)
    with store.read() as read:
        assert read.get(type(row), _key(row)) == row
        assert read.get(type(row), "somebody else") is None
    with store.write() as tx:
        assert tx.get_locked(type(row), _key(row)) == row
        tx.delete(type(row), _key(row))
        assert tx.get(type(row), _key(row)) is None
        tx.delete(type(row), _key(row))
    with store.read() as read:
        assert read.find(type(row)) == []


def test_putting_a_row_again_replaces_it(store: WritableStore) -> None:
    with store.write() as tx:
        tx.put(TASK, *ROWS[3:5])
    later = replace(TASK, rung=0, state=TaskState.ASKED)
    with store.write() as tx:
        assert tx.get_locked(Task, "t-1") == TASK
        tx.put(later, replace(ROWS[4], enrolled=True))  # type: ignore[type-var]
    with store.read() as read:
        assert read.get(Task, "t-1") == later
        assert read.find(Task, office="o-2") == []
        assert read.find(Task, office="o-1", state=TaskState.ASKED) == [later]
        assert [s.id for s in read.find(Speaker, enrolled=True)] == ["s-1", "s-2"]


def test_a_row_read_once_may_be_put_several_times_in_one_transaction(store: WritableStore) -> None:
    with store.write() as tx:
        tx.put(INCIDENT)
        tx.put(replace(INCIDENT, level=2))
    with store.write() as tx:
        incident = tx.get_locked(Incident, INCIDENT.id)
        assert incident is not None
        tx.put(replace(incident, task="t-1"))
        tx.put(replace(incident, task="t-2"))
        assert tx.get(Incident, INCIDENT.id) == replace(INCIDENT, level=2, task="t-2")
        tx.delete(Incident, INCIDENT.id)
        tx.put(replace(incident, task="t-3"))
    with store.read() as read:
        assert read.get(Incident, INCIDENT.id) == replace(INCIDENT, level=2, task="t-3")


def test_a_transaction_that_raises_leaves_nothing_behind(store: WritableStore) -> None:
    with store.write() as tx:
        tx.put(INCIDENT, *ROWS[3:5])
        tx.plan_expected("b-1", ["s-1"])
        tx.wake_at(WakeAt(Timer.RUNG, "t-1", 5, 10))
    with pytest.raises(ZeroDivisionError), store.write() as tx:
        incident = tx.get_locked(Incident, INCIDENT.id)
        assert incident is not None
        tx.put(replace(incident, level=1), TASK)
        tx.delete(Speaker, "s-1")
        tx.add_signal(SIGNAL, incident.id)
        tx.add_unread([Unread("mqtt", "s-1", "broken", b"x", 1)])
        tx.add_receipts([_receipt("s-1", 1, playing_us=5)])
        tx.plan_expected("b-2", ["s-1"])
        tx.record(Record("incident.opened", incident.id, "it burns"))
        tx.save(Save(Carry.RENDER_AUDIO, "w-1"))
        tx.sleep(Sleep(Timer.RUNG, "t-1"))
        tx.heard([Live("s-1", True, 1, "j", 1, 1, 1, "", 50, "mains", 1)])
        1 / 0  # noqa: B018
    with store.read() as read:
        assert read.get(Incident, INCIDENT.id) == INCIDENT
        assert read.get(Task, "t-1") is None
        assert read.get(Live, "s-1") is None
        assert [s.id for s in read.find(Speaker)] == ["s-1", "s-2"]
        assert read.signal_incident(SIGNAL.key) is None
        assert read.unread() == []
        assert read.expected("b-1") == [Expected("b-1", "s-1")]
        assert read.expected("b-2") == []
        assert read.missing_receipts("s-1", "j", 1, 5) == [1]
        assert read.log_of(None) == []
        assert read.open_effects() == []
        assert read.due_timers(5, 10) == [TimerRow(Timer.RUNG, "t-1", 5, 10)]


def test_sensors_are_found_by_their_place_and_last_words_by_name_and_case(store: WritableStore) -> None:
    sensors = [Sensor(f"sn-{n}", "box-1", f"s{n}", "smoke", "v-1", Use.ACTUAL) for n in range(3)]
    heard = [Heard(f"panel/p-{n}", BIG_US, incident="i-1" if n else "") for n in range(3)]
    with store.write() as tx:
        tx.put(*sensors, *heard)
    with store.read() as read:
        assert read.find(Sensor, gateway="box-1", device="s1") == sensors[1:2]
        assert read.find(Sensor, gateway="box-2", device="s1") == []
        assert read.find(Heard, id=("panel/p-0", "panel/p-2", "panel/p-9")) == [heard[0], heard[2]]
        assert read.find(Heard, Page(limit=1), incident="i-1") == [heard[1]]


def test_rows_are_found_by_their_fields(store: WritableStore) -> None:
    incidents = [
        replace(INCIDENT, id=f"i-{n}", opened_us=10 - n, hazard=hazard, state=state, venue=venue)
        for n, (hazard, state, venue) in enumerate(
            [
                ("fire", IncidentState.SUSPECTED, None),
                ("fire", IncidentState.CLOSED, "v-1"),
                ("flood", IncidentState.SUSPECTED, "v-1"),
                ("fire", IncidentState.VERIFYING, "v-2"),
            ]
        )
    ]
    with store.write() as tx:
        tx.put(*incidents)

        def found(page: Page = Page(), **fields: object) -> list[str]:  # noqa: B008
            return [incident.id for incident in tx.find(Incident, page, **fields)]

        assert found() == ["i-0", "i-1", "i-2", "i-3"]
        assert found(hazard="fire") == ["i-0", "i-1", "i-3"]
        assert found(hazard="fire", state=(IncidentState.SUSPECTED, IncidentState.VERIFYING)) == ["i-0", "i-3"]
        assert found(venue=None) == ["i-0"]
        assert found(id=("i-1", "i-3", "i-9")) == ["i-1", "i-3"]
        assert found(state=()) == []
        assert found(Page(order="-id")) == ["i-3", "i-2", "i-1", "i-0"]
        assert found(Page(limit=2, order="opened_us")) == ["i-3", "i-2"]
        assert found(Page(limit=1, order="-opened_us"), hazard="fire") == ["i-0"]
        assert tx.find(Incident, hazard="flood") == [incidents[2]]
        tx.put(*(replace(row, code=code) for row in ROWS[:1] for code in ("2", "1")))  # type: ignore[type-var]
        assert [area.code for area in tx.find(Area, Page(order="code"))] == ["1", "2"]
        assert [area.code for area in tx.find(Area)] == ["1", "2"]


def test_a_search_by_what_is_no_field_is_a_mistake_of_ours(store: WritableStore) -> None:
    with store.write() as tx:
        tx.put(INCIDENT)
        with pytest.raises((AssertionError, AttributeError)):
            tx.find(Incident, colour="red")


def test_keys_of_any_length_stay_different(store: WritableStore) -> None:
    long = "k" * 5_000
    with store.write() as tx:
        for end in ("a", "b"):
            tx.add_signal(replace(SIGNAL, key=long + end), f"i-{end}")
            tx.put(replace(INCIDENT, id=long + end))
    with store.read() as read:
        assert [read.signal_incident(long + end) for end in "abc"] == ["i-a", "i-b", None]
        assert read.get(Incident, long + "b") == replace(INCIDENT, id=long + "b")


def test_a_signal_is_known_by_its_key_and_listed_with_its_incident(store: WritableStore) -> None:
    signals = [replace(SIGNAL, key=f"cap:{n}", received_us=10 - n) for n in range(3)]
    with store.write() as tx:
        for signal in signals:
            tx.add_signal(signal, "i-1")
        tx.add_signal(replace(SIGNAL, key="lost"), "")
    with store.read() as read:
        assert read.signal_incident("cap:1") == "i-1"
        assert read.signal_incident("lost") == ""
        assert read.signal_incident("never") is None
        assert (read.signal("cap:1"), read.signal("never")) == (signals[1], None)
        assert read.signals_of("i-1") == signals[::-1]
        assert read.signals_of("i-1", 2) == [signals[2], signals[1]]


def test_unread_input_is_kept_whole_and_shown_newest_first(store: WritableStore) -> None:
    rows = [Unread("gb26875", f"p-{n}", "checksum", bytes([0, 255, n]), n) for n in range(3)]
    with store.write() as tx:
        tx.add_unread(rows[:2])
        tx.add_unread([])
        tx.add_unread(rows[2:])
    with store.read() as read:
        assert read.unread() == rows[::-1]
        assert (read.unread(1), read.unread(1, 1)) == ([rows[2]], [rows[1]])
        assert read.unread_count() == 3


def _receipt(speaker: str, seq: int, broadcast: str = "b-1", **shown: object) -> ReceiptRow:
    return ReceiptRow(speaker, "j", seq, broadcast, 1, b"raw \x00", 77, **shown)  # type: ignore[arg-type]


def test_planning_replaces_the_expected_set(store: WritableStore) -> None:
    with store.write() as tx:
        tx.plan_expected("b-1", ["s-2", "s-1", "s-2"])
        tx.plan_expected("b-2", ["s-9"])
        tx.add_receipts([_receipt("s-1", 1, playing_us=5)])
    with store.write() as tx:
        tx.plan_expected("b-1", ["s-3", "s-1"])
        assert tx.expected("b-1") == [Expected("b-1", "s-1", playing_us=5), Expected("b-1", "s-3")]
        assert tx.expected("b-2") == [Expected("b-2", "s-9")]
        tx.plan_expected("b-1", [])
        assert tx.expected("b-1") == []


def test_what_a_speaker_has_shown_outlives_a_plan_without_it(store: WritableStore) -> None:
    with store.write() as tx:
        tx.plan_expected("b-1", ["s-1", "s-2"])
        tx.add_receipts([_receipt("s-1", 1, playing_us=5, proved=True), _receipt("s-2", 1, refused="clock")])
    with store.write() as tx:
        tx.plan_expected("b-1", ["s-2"])
        assert tx.expected("b-1") == [Expected("b-1", "s-2", refused="clock")]
        assert tx.add_receipts([_receipt("s-1", 2, finished_us=9)]).strangers == [_receipt("s-1", 2, finished_us=9)]
    with store.write() as tx:
        tx.plan_expected("b-1", ["s-1", "s-2", "s-3"])
        shown = Expected("b-1", "s-1", playing_us=5, finished_us=9, proved=True)
        assert tx.expected("b-1") == [shown, Expected("b-1", "s-2", refused="clock"), Expected("b-1", "s-3")]
        tx.add_receipts([_receipt("s-1", 3, ready_us=7)])
        assert tx.expected("b-1")[0] == replace(shown, ready_us=7)


def test_a_follower_expects_the_originals_speakers_anew(store: WritableStore) -> None:
    with store.write() as tx:
        tx.plan_expected("b-1", ["s-1", "s-2"])
        tx.plan_expected("b-2", ["s-3"])
        tx.add_receipts([_receipt("s-1", 1, finished_us=5, proved=True)])
        tx.copy_expected("b-1", "b-2")
    with store.read() as read:
        assert read.expected("b-2") == [Expected("b-2", "s-1"), Expected("b-2", "s-2")]
        assert read.expected("b-1")[0].finished_us == 5


def test_a_follower_shows_what_was_said_of_it_before_it_was_expected(store: WritableStore) -> None:
    with store.write() as tx:
        tx.plan_expected("b-1", ["s-1", "s-2"])
        tx.add_receipts([_receipt("s-1", 1, finished_us=5), _receipt("s-2", 1, "b-2", accepted_us=7)])
        tx.copy_expected("b-1", "b-2")
        assert tx.expected("b-2") == [Expected("b-2", "s-1"), Expected("b-2", "s-2", accepted_us=7)]


def test_the_first_time_of_a_step_wins_and_proof_stays(store: WritableStore) -> None:
    with store.write() as tx:
        tx.plan_expected("b-1", ["s-1", "s-2"])
        assert tx.add_receipts([]).strangers == []
        begun = [_receipt("s-1", 1, accepted_us=1, ready_us=2), _receipt("s-2", 1, refused="clock")]
        assert tx.add_receipts(begun).strangers == []
    with store.write() as tx:
        first = _receipt("s-1", 2, ready_us=9, playing_us=3, proved=True)
        again = _receipt("s-1", 3, playing_us=8, finished_us=4, failed="player")
        later = _receipt("s-2", 2, refused="area", failed="storage")
        assert tx.add_receipts([first, again, later]).strangers == []
        assert tx.add_receipts([again, first]).strangers == []
    with store.read() as read:
        assert read.expected("b-1") == [
            Expected("b-1", "s-1", 1, 2, 3, 4, proved=True),
            Expected("b-1", "s-2", refused="clock", failed="storage"),
        ]
        assert read.expected("b-1", silent_only=True) == read.expected("b-1")[1:]
        assert read.missing_receipts("s-1", "j", 4, 5) == [4]


@pytest.mark.parametrize("hindered", [{"refused": "rate_limited"}, {"failed": "player"}])
@pytest.mark.parametrize("order", ["before", "after", "together"])
def test_a_hindrance_that_has_passed_is_no_outcome(store: WritableStore, hindered: dict[str, str], order: str) -> None:
    """Of an expected row, and of one that is expected only afterwards."""
    said: list[dict[str, object]] = [{**hindered}, {"finished_us": 9}]
    if order == "after":
        said.reverse()
    elif order == "together":
        said = [{**hindered, "finished_us": 9}]
    with store.write() as tx:
        tx.plan_expected("b-1", ["s-1"])
        for broadcast in ("b-1", "b-2"):
            for seq, steps in enumerate(said, 1 if broadcast == "b-1" else 11):
                tx.add_receipts([_receipt("s-1", seq, broadcast, **steps)])
        tx.plan_expected("b-2", ["s-1"])
        for broadcast in ("b-1", "b-2"):
            assert tx.expected(broadcast) == [Expected(broadcast, "s-1", finished_us=9)]
            counted = tx.coverage(broadcast)
            assert (counted.finished, counted.refused, counted.failed) == (1, 0, 0)


def test_receipts_about_nothing_expected_are_stored_and_given_back_once(store: WritableStore) -> None:
    known = [_receipt("s-1", 1, playing_us=1), _receipt("s-2", 1, playing_us=1)]
    of_no_order = _receipt("s-2", 2, "", refused="version_back")
    strangers = [_receipt("s-3", 1, playing_us=1), _receipt("s-1", 2, "b-9", playing_us=1), of_no_order]
    with store.write() as tx:
        tx.plan_expected("b-1", ["s-1", "s-2"])
        assert tx.add_receipts([known[0], *strangers, known[1], strangers[0]]).strangers == strangers
        assert tx.add_receipts([*strangers, *known]).strangers == []
    with store.write() as tx:
        fresh = _receipt("s-3", 2, playing_us=1)
        assert tx.add_receipts([*strangers, fresh, *known]).strangers == [fresh]
    with store.read() as read:
        assert read.expected("b-1") == [Expected("b-1", "s-1", playing_us=1), Expected("b-1", "s-2", playing_us=1)]
        assert [read.missing_receipts(s, "j", 2, 5) for s in ("s-1", "s-2", "s-3")] == [[], [], []]


def test_a_number_that_comes_again_with_other_bytes_is_told_and_keeps_its_first(store: WritableStore) -> None:
    first, stranger = _receipt("s-1", 1, accepted_us=1), _receipt("s-2", 1, "b-9", accepted_us=1)
    other = replace(_receipt("s-1", 1, playing_us=5), raw=b"other")
    ghost = replace(_receipt("s-1", 1, "b-8", playing_us=5), raw=b"ghost", given=False)
    strange = replace(_receipt("s-2", 1, "b-9", playing_us=5), raw=b"strange")
    with store.write() as tx:
        tx.plan_expected("b-1", ["s-1"])
        assert tx.add_receipts([first, stranger, first]) == Added([stranger], [])
        assert tx.add_receipts([first, stranger]) == Added([], [])
        assert tx.add_receipts([first, other]) == Added([], [other])
        assert tx.add_receipts([stranger, strange]) == Added([strange], [strange])
        assert tx.add_receipts([ghost]) == Added([ghost], [ghost])
        assert tx.add_receipts([first, stranger]) == Added([], [])
        assert tx.expected("b-1") == [Expected("b-1", "s-1", accepted_us=1, playing_us=5)]
        assert tx.count_saying("b-8") == 1


def test_a_receipt_that_was_held_for_lost_is_new_when_it_comes(store: WritableStore) -> None:
    gone = ReceiptRow("s-1", "j", 1, "", 0, RECEIPT_GONE, 77)
    late = replace(_receipt("s-1", 1, "b-8", playing_us=5), given=False)
    with store.write() as tx:
        tx.add_receipts([gone])
        assert tx.add_receipts([late]) == Added([late], [])
        assert tx.add_receipts([gone]) == Added([], [])


def test_many_numbers_at_once_are_compared_each_for_itself(store: WritableStore) -> None:
    rows = [_receipt(f"s-{n}", n, accepted_us=1) for n in range(1, 351)]
    with store.write() as tx:
        tx.plan_expected("b-1", [row.speaker for row in rows])
        assert tx.add_receipts(rows) == Added([], [])
        changed = [replace(row, raw=b"other") if row.seq % 7 == 0 else row for row in rows]
        assert {r.seq for r in tx.add_receipts(changed).reused} == set(range(7, 351, 7))


def test_receipts_that_came_before_their_order_count_once_it_is_planned(store: WritableStore) -> None:
    early = [
        _receipt("s-1", 1, accepted_us=1, ready_us=2),
        _receipt("s-1", 2, accepted_us=9, playing_us=3, proved=True),
        _receipt("s-2", 1, refused="clock", failed="player"),
        _receipt("s-2", 2, refused="area", finished_us=4),
        _receipt("s-3", 1, playing_us=5),
        _receipt("s-1", 3, "b-2", playing_us=6),
    ]
    with store.write() as tx:
        for receipt in early:
            assert tx.add_receipts([receipt]).strangers == [receipt]
    with store.write() as tx:
        tx.plan_expected("b-1", ["s-1", "s-2", "s-4"])
        assert tx.expected("b-1") == [
            Expected("b-1", "s-1", accepted_us=1, ready_us=2, playing_us=3, proved=True),
            Expected("b-1", "s-2", finished_us=4),
            Expected("b-1", "s-4"),
        ]
        assert tx.add_receipts(early[:4]).strangers == []
        tx.plan_expected("b-2", ["s-1"])
        assert tx.expected("b-2") == [Expected("b-2", "s-1", playing_us=6)]


def test_what_is_said_of_what_nobody_gave_out_counts_only_once_it_is_asked_for(store: WritableStore) -> None:
    said = _receipt("s-1", 1, playing_us=5, proved=True, given=False)
    with store.write() as tx:
        tx.plan_expected("b-1", ["s-1", "s-2"], early=False)
        assert tx.add_receipts([said, _receipt("s-2", 1, accepted_us=3)]).strangers == [said]
        assert tx.add_receipts([said]).strangers == []
        shown = [Expected("b-1", "s-1"), Expected("b-1", "s-2", accepted_us=3)]
        assert (tx.expected("b-1"), tx.count_saying("b-1"), tx.count_saying("b-2")) == (shown, 1, 0)
    with store.write() as tx:
        tx.plan_expected("b-1", ["s-1"], early=False)
        tx.copy_expected("b-1", "b-2", early=False)
        assert (tx.expected("b-1"), tx.expected("b-2")) == ([Expected("b-1", "s-1")], [Expected("b-2", "s-1")])
        tx.plan_expected("b-1", ["s-1", "s-2"])
        assert tx.expected("b-1") == [
            Expected("b-1", "s-1", playing_us=5, proved=True),
            Expected("b-1", "s-2", accepted_us=3),
        ]
        assert tx.count_saying("b-1") == 0


def test_the_first_doubt_stays_and_keeps_nothing_from_counting_later(store: WritableStore) -> None:
    with store.write() as tx:
        tx.plan_expected("b-1", ["s-1", "s-2"])
        tx.add_receipts([_receipt("s-1", 1, doubted="in_future"), _receipt("s-9", 1, doubted="after_end")])
        tx.add_receipts([_receipt("s-1", 2, doubted="after_end", playing_us=5), _receipt("s-9", 2, doubted="x")])
        shown = Expected("b-1", "s-1", playing_us=5, doubted="in_future")
        assert tx.expected("b-1") == [shown, Expected("b-1", "s-2")]
        tx.plan_expected("b-1", ["s-1", "s-9"])
        assert tx.expected("b-1") == [shown, Expected("b-1", "s-9", doubted="after_end")]


def test_a_sound_after_the_stop_outranks_other_doubts_and_is_counted(store: WritableStore) -> None:
    with store.write() as tx:
        tx.plan_expected("b-1", ["s-1", "s-2"])
        for seq, doubted in enumerate(("in_future", "after_stop", "in_future"), 1):
            tx.add_receipts([_receipt(name, seq, doubted=doubted) for name in ("s-1", "s-9")])
        assert tx.expected("b-1") == [Expected("b-1", "s-1", doubted="after_stop"), Expected("b-1", "s-2")]
        assert tx.coverage("b-1").after_stop == 1
        tx.plan_expected("b-1", ["s-1", "s-9"])
        assert tx.coverage("b-1").after_stop == 2


def test_the_speakers_that_refuse_something_are_found_among_all(store: WritableStore) -> None:
    refused = {"t": RefusedDocument("stale", 0, 7, 5)}
    plain = [builders.live(f"s-{number}") for number in range(3)]
    with store.write() as tx:
        tx.heard([*plain, replace(builders.live("s-9"), refused=refused, journals={"a": 3}, told={"x/": 1})])
    with store.read() as read:
        assert read.find(Live, refuses=True) == [
            replace(builders.live("s-9"), refused=refused, journals={"a": 3}, told={"x/": 1})
        ]
    with store.write() as tx:
        tx.heard([builders.live("s-9")])
    with store.read() as read:
        assert read.find(Live, refuses=True) == []


def test_speakers_are_told_apart_by_the_version_of_a_stream_that_they_hold(store: WritableStore) -> None:
    stream, live = "tocsin/v1/area/210202000000/manifest/exercise/city", Live("", True, 1, "j", 1, 1, 1, "", 5, "", 1)
    held = {"s-1": {stream: BIG_US}, "s-2": {stream: 7, "tocsin/v1/other": BIG_US}, "s-3": {}, "s-4": {stream: 8}}
    with store.write() as tx:
        tx.heard([replace(live, id=name, streams=streams) for name, streams in held.items()])
    with store.read() as read:
        assert [read.count_holding(stream, version) for version in (7, 8, BIG_US, BIG_US + 1)] == [3, 2, 1, 0]
        everybody = (*held, "s-9")
        assert read.behind(stream, 8, everybody) == [("s-2", 7), ("s-3", 0)]
        assert read.behind(stream, 8, ("s-3", "s-1")) == [("s-3", 0)]
        assert read.behind(stream, 8, everybody, "s-2") == [("s-3", 0)]
        assert read.behind(stream, 9, everybody, "", 1) == [("s-2", 7)]
        assert read.behind(stream, 9, ()) == []


def test_sightings_of_one_incident_are_found(store: WritableStore) -> None:
    rows = [Sighting(f"order/{n}", order=str(n), incident="i-1" if n else "") for n in range(3)]
    with store.write() as tx:
        tx.put(*rows)
        assert tx.find(Sighting, incident="i-1") == rows[1:]


def test_a_plan_that_is_given_up_counts_nothing_early(store: WritableStore) -> None:
    with store.write() as tx:
        tx.add_receipts([_receipt("s-1", 1, playing_us=5)])
    with pytest.raises(ZeroDivisionError), store.write() as tx:
        tx.plan_expected("b-1", ["s-1"])
        1 / 0  # noqa: B018
    with store.write() as tx:
        assert tx.expected("b-1") == []
        tx.plan_expected("b-1", ["s-1"])
        assert tx.expected("b-1") == [Expected("b-1", "s-1", playing_us=5)]


def test_missing_receipts_are_counted_as_far_back_as_a_speaker_keeps_them(store: WritableStore) -> None:
    with store.write() as tx:
        tx.plan_expected("b-1", ["s-1"])
        tx.add_receipts([_receipt("s-1", seq) for seq in (1, 2, 4, 1_005)])
        assert tx.missing_receipts("s-1", "j", 5, 10) == [3, 5]
        assert tx.missing_receipts("s-1", "j", 5, 1) == [3]
        assert tx.missing_receipts("s-1", "j", 0, 10) == []
        assert tx.missing_receipts("s-1", "j", 1_005, 3) == [6, 7, 8]
        assert tx.missing_receipts("s-1", "other", 2, 3) == [1, 2]


def test_coverage_is_always_all_of_its_counts(store: WritableStore) -> None:
    with store.write() as tx:
        now_us = tx.now_us()
        speaker = Speaker("s-1", "v-1", "210202000000", "", 1, 2)
        flooded = OutOfService("p-1", "flooded", now_us + 3_600_000_000)
        mended = OutOfService("p-1", "mended", now_us - 1)
        tx.put(
            replace(speaker, id="s-1", out_of_service=flooded),
            replace(speaker, id="s-2", out_of_service=mended),
            replace(speaker, id="s-3"),
        )
        live = Live("s-1", True, 1, "j", 1, 1, 1, "", 50, "mains", now_us)
        tx.heard([live, replace(live, id="s-2", online=False), replace(live, id="s-3"), replace(live, id="s-9")])
        tx.plan_expected("b-1", ["s-1", "s-2", "s-3", "s-4", "s-5"])
        tx.add_receipts(
            [
                _receipt("s-1", 1, playing_us=1),
                _receipt("s-2", 1, finished_us=1, proved=True),
                _receipt("s-3", 1, refused="clock"),
                _receipt("s-4", 1, playing_us=1, failed="player"),
            ]
        )
    expected = Coverage(targeted=5, online=2, playing=3, proved=1, finished=1, refused=1, failed=1, out_of_service=1)
    with store.read() as read:
        assert read.coverage("b-1") == expected
        assert read.coverage("b-9") == Coverage(0, 0, 0, 0, 0, 0, 0, 0)


def test_a_speaker_that_has_not_been_heard_for_fifteen_minutes_is_not_online(store: WritableStore) -> None:
    with store.write() as tx:
        now_us = tx.now_us()
        ages_s = {"s-1": 0, "s-2": 900, "s-3": 901, "s-4": 3 * 86_400, "s-5": -4, "s-6": -6}
        live = Live("s-1", True, 1, "j", 1, 1, 1, "", 50, "mains", now_us)
        tx.heard([replace(live, id=id, heard_us=now_us - age_s * 1_000_000) for id, age_s in ages_s.items()])
        tx.heard([replace(live, id="s-7", heard_us=0)])
        tx.plan_expected("b-1", [*ages_s, "s-7"])
        assert (tx.coverage("b-1").targeted, tx.coverage("b-1").online) == (7, 3)


def test_a_speaker_heard_again_is_known_as_it_is_now(store: WritableStore) -> None:
    live = Live("s-1", True, 1, "j", 1, 1, 1, "", 50, "mains", 5)
    with store.write() as tx:
        tx.heard([live])
        tx.heard([replace(live, online=False, heard_us=6)])
        tx.heard([])
    with store.read() as read:
        assert read.get(Live, "s-1") == replace(live, online=False, heard_us=6)
