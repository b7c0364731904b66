"""A small city, its playbooks, people and signals, for tests: build it, then change only what the test is about."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from devices.protocols.documents import Phase
from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.adapters.passwords import Argon2Passwords
from services.dispatcher.domain.broadcasts import Broadcast, BroadcastEvent, ReleaseGiven, sentences
from services.dispatcher.domain.incidents import Incident, Verdict
from services.dispatcher.domain.places import Area, Office, OfficeKind, Speaker, Venue, VenueKind
from services.dispatcher.domain.playbook import (
    Corroboration,
    OnUnanswered,
    Playbook,
    Rung,
    Spoken,
    StandingOrder,
    Target,
)
from services.dispatcher.domain.signals import Evidence, Feed, Panel, Place, Sensor, Signal, SignalKind, Use
from services.dispatcher.domain.verification import Task
from services.dispatcher.engine import people
from services.dispatcher.engine.cities import import_city
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import BroadcastAct, SignalArrived, TaskAnswered, TimerDue
from services.dispatcher.engine.people import Role
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import CitySettings, Live, LogRow, Person, TimerRow
from services.dispatcher.engine.writing import WritableStore

T = TypeVar("T")
NOON_US = 1_750_000_000_000_000
SECOND_US = 1_000_000
CITY, DISTRICT, STREET, OTHER_STREET = "210200000000", "210202000000", "210202001000", "210202002000"
SQUARE, MALL = "square", "mall"
STREET_OFFICE, DISTRICT_OFFICE, CITY_OFFICE, OTHER_OFFICE = (
    "street-office",
    "district-centre",
    "city-duty",
    "other-office",
)
PASSWORD = "correct horse battery"


class StoppedClock:
    """A clock that stands until a test moves it."""

    def __init__(self, now_us: int = NOON_US) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        return self._now_us

    def mono_us(self) -> int:
        return self._now_us - NOON_US

    def advance(self, seconds: float) -> None:
        self._now_us += round(seconds * SECOND_US)


class CountingIds:
    """Ids of the right form that count up."""

    def __init__(self) -> None:
        self._last = 0

    def new(self) -> str:
        self._last += 1
        return f"{self._last:032x}"


def city_settings(**changes: Any) -> CitySettings:
    return replace(CitySettings("city", CITY, "示例市", "city"), **changes)


def area(code: str, parent: str | None, **changes: Any) -> Area:
    return replace(Area(code, f"区划{code[4:9]}", "district", parent, "2020-01-01"), **changes)


def venue(id: str, code: str, **changes: Any) -> Venue:
    return replace(
        Venue(id, f"场所{id}", VenueKind.SQUARE, code, 389_000_000, 1_216_000_000, 500, "sample", 10), **changes
    )


def office(id: str, code: str, kind: OfficeKind, **changes: Any) -> Office:
    return replace(Office(id, f"值守{id}", kind, code), **changes)


def speaker(id: str, at: Venue, **changes: Any) -> Speaker:
    return replace(Speaker(id, at.id, at.area, f"终端{id}", at.lat_e7, at.lon_e7), **changes)


def city_rows() -> list[Area | Venue | Office | Speaker]:
    """Two streets of one district. The square has two speakers and stands in the first street, the mall has one and
    lies under the second, about 2 km away."""
    square = venue(SQUARE, STREET)
    mall = venue(MALL, OTHER_STREET, kind=VenueKind.UNDERGROUND, lat_e7=389_200_000, people=900)
    return [
        area(CITY, None, kind="city"),
        area(DISTRICT, CITY),
        area(STREET, DISTRICT, kind="street"),
        area(OTHER_STREET, DISTRICT, kind="street"),
        square,
        mall,
        office(STREET_OFFICE, STREET, OfficeKind.TOWN),
        office(OTHER_OFFICE, OTHER_STREET, OfficeKind.TOWN),
        office(DISTRICT_OFFICE, DISTRICT, OfficeKind.GOVERNANCE_CENTRE),
        office(CITY_OFFICE, CITY, OfficeKind.DUTY),
        speaker("square-1", square),
        speaker("square-2", square),
        speaker("mall-1", mall),
    ]


def storm_playbook(**changes: Any) -> Playbook:
    """Red, for the places that the weather bureau names; two people release it."""
    storm = Playbook(
        id="storm-red",
        version="v1",
        title={"zh": "暴雨红色", "en": "Red rainstorm"},
        hazard="rainstorm",
        hazard_names={"zh": "暴雨", "en": "rainstorm"},
        event_code="11B03",
        venue_kinds=None,
        claimed_levels=None,
        join_within_s=3_600,
        level_suspected=1,
        level_corroborated=1,
        corroborated_by=(Corroboration.AUTHORITY,),
        verify=(Rung(0, 60), Rung(1, 120), Rung(-1, 180)),
        question={"zh": "{place}是否有险情？", "en": "Is there danger at {place}?"},
        target=Target.PLACES,
        order_class="emergency",
        spoken=Spoken(
            alert={"zh": "{place}暴雨，请到高处避险。", "en": "Rainstorm in {place}: go to higher ground."},
            correction={"zh": "更正：{place}暴雨警报系误发。", "en": "Correction: no rainstorm in {place}."},
            all_clear={"zh": "{place}暴雨警报解除。", "en": "The rainstorm in {place} is over."},
        ),
        volume=90,
        repeat=3,
        gap_s=10,
        valid_s=3_600,
        prove_within_s=120,
    )
    return replace(storm, **changes)


def fire_playbook(**changes: Any) -> Playbook:
    """Yellow while one detector speaks, for the venue of the panel; one person releases it."""
    fire = storm_playbook(
        id="fire-underground",
        title={"zh": "地下火灾", "en": "Fire underground"},
        hazard="fire",
        hazard_names={"zh": "火灾", "en": "fire"},
        event_code="12B00",
        venue_kinds=("underground",),
        level_suspected=3,
        level_corroborated=2,
        corroborated_by=(Corroboration.TWO_DETECTORS, Corroboration.DETECTOR_AND_CALL_POINT),
        target=Target.VENUE,
        spoken=Spoken(
            alert={"zh": "{place}发生火情，请立即撤离。", "en": "Fire at {place}: leave at once."},
            correction={"zh": "更正：{place}没有火情。", "en": "Correction: no fire at {place}."},
            all_clear={"zh": "{place}火情解除。", "en": "The fire at {place} is out."},
        ),
    )
    return replace(fire, **changes)


def standing_order(*covers: Corroboration, on_unanswered: OnUnanswered = OnUnanswered.HOLD) -> StandingOrder:
    return StandingOrder(covers or (Corroboration.TWO_DETECTORS,), on_unanswered)


def storm_signal(key: str = "cap/weather/1", **changes: Any) -> Signal:
    """The weather bureau names both streets."""
    storm = Signal(
        key=key,
        reporter="weather",
        use=Use.ACTUAL,
        kind=SignalKind.ALERT,
        evidence=Evidence.AUTHORITY,
        hazard="rainstorm",
        event_code="11B03",
        place=Place(areas=(STREET, OTHER_STREET)),
        observed_us=NOON_US,
        received_us=NOON_US,
        claimed_level=1,
        device="bureau",
        headline="暴雨红色预警",
    )
    return replace(storm, **changes)


def fire_signal(key: str = "panel/mall/1", **changes: Any) -> Signal:
    """One smoke detector in the mall."""
    fire = storm_signal(
        key,
        reporter="mall-panel",
        evidence=Evidence.DETECTOR,
        hazard="fire",
        event_code="12B00",
        place=Place(venue=MALL),
        claimed_level=None,
        device="smoke-1",
        headline="感烟探测器报警",
    )
    return replace(fire, **changes)


def panel(**changes: Any) -> Panel:
    return replace(Panel("mall-panel", "商场主机", "0102030405ff", Use.ACTUAL, MALL), **changes)


def sensor(**changes: Any) -> Sensor:
    return replace(Sensor("smoke-1", "box-1", "s1", "smoke", MALL, Use.ACTUAL), **changes)


def feed(key_hash: str, **changes: Any) -> Feed:
    return replace(Feed("weather", "气象台", "气象局", "cap", Use.ACTUAL, key_hash, CITY), **changes)


def live(speaker_id: str, **changes: Any) -> Live:
    """A speaker that was heard at noon and holds the config made then."""
    return replace(Live(speaker_id, True, 1, "journal", 0, NOON_US // 1_000, 1, "", 80, "mains", NOON_US), **changes)


def quick_passwords() -> Argon2Passwords:
    """Real argon2 at its smallest, so that tests don't wait for what is slow on purpose."""
    return Argon2Passwords(passes=1, memory_kib=8)


@dataclass(frozen=True, slots=True)
class Town:
    """The small city in a store with its engine, on a clock that stands."""

    store: WritableStore
    engine: Engine
    clock: StoppedClock
    passwords: Argon2Passwords

    def signal(self, signal: Signal) -> str:
        """Let a signal arrive; the incident it opened or joined."""
        return self.engine.handle([SignalArrived(signal)]).incidents[0]

    def incident(self, id: str) -> Incident:
        return self.get(Incident, id)

    def alert(self, incident: str) -> Broadcast:
        """The newest alert drafted for an incident."""
        return self.get(Broadcast, self.incident(incident).alert)

    def follower(self, alert: str, phase: Phase) -> Broadcast:
        """The prepared correction or all-clear of an alert."""
        with self.store.read() as read:
            return read.find(Broadcast, Page(limit=1, order="-id"), original=alert, phase=phase)[0]

    def get(self, kind: type[T], id: str) -> T:
        with self.store.read() as read:
            row = read.get(kind, id)
        assert row is not None
        return row

    def act(self, broadcast: str, act: BroadcastEvent) -> Broadcast:
        """Somebody acts upon a broadcast; what it is then."""
        self.engine.handle([BroadcastAct(broadcast, act)])
        return self.get(Broadcast, broadcast)

    def release(self, broadcast: str, *people: str) -> Broadcast:
        """Each of these people reads and releases it, as an approver and duty officer."""
        for name in people:
            self.act(broadcast, released_by(name, self.get(Broadcast, broadcast)))
        return self.get(Broadcast, broadcast)

    def on_air(self, signal: Signal | None = None) -> Broadcast:
        """An alert that as many people as it needs have released; the storm's when nothing else is given."""
        draft = self.alert(self.signal(signal or storm_signal()))
        return self.release(draft.id, *("li", "zhao")[: draft.people_needed])

    def answer(self, incident: str, verdict: Verdict, office: str = "", person: str = "chen") -> Incident:
        """An office answers the incident's task, the one asked now when none is named."""
        task = self.get(Task, self.incident(incident).task)
        self.engine.handle([TaskAnswered(task.id, person, office or task.office, verdict)])
        return self.incident(incident)

    def rebuild(self, *rows: Area | Venue | Office | Speaker, without: tuple[str, ...] = ()) -> None:
        """Import the city again, with further rows and without those of these ids."""
        kept = [row for row in city_rows() if getattr(row, "id", "") not in without]
        with self.store.write() as tx:
            import_city(tx, city_settings(), [*kept, *rows], "test")

    def pass_timers(self) -> None:
        """What the timer pass does with every row that is due on time."""
        while due := self.due():
            for timer in due:
                self.engine.handle([TimerDue(timer)])

    def due(self) -> list[TimerRow]:
        """The timers that are due."""
        with self.store.read() as read:
            return read.due_timers(read.now_us(), 100)

    def kinds(self, subject: str) -> list[str]:
        """The kinds of the log lines about a subject, oldest first."""
        with self.store.read() as read:
            return [row.kind for row in read.log_of(subject)]

    def log(self, subject: str) -> list[LogRow]:
        """The log lines about a subject, oldest first."""
        with self.store.read() as read:
            return read.log_of(subject)

    def whys(self, subject: str, kind: str) -> list[str]:
        """The reasons of the log lines of one kind about a subject, oldest first."""
        with self.store.read() as read:
            return [json.loads(row.body)["why"] for row in read.log_of(subject) if row.kind == kind]

    def lanes(self) -> set[str]:
        """The lanes of the effects that are open."""
        with self.store.read() as read:
            return {effect.lane for effect in read.open_effects()}

    def person(self, name: str, *roles: Role, office: str = "") -> Person:
        """Enrol somebody with the password `PASSWORD`."""
        return people.create_person(
            self.store, self.passwords, name=name, password=PASSWORD, roles=roles, office=office, by="test"
        )


DUTY = frozenset({"duty_officer"})
BOTH = frozenset({"duty_officer", "approver"})


def released_by(person: str, b: Broadcast, roles: frozenset[str] = BOTH, lang: str = "zh") -> ReleaseGiven:
    """A person confirms the sentence of this content."""
    return ReleaseGiven(person, roles, b.content, sentences(b)[lang])


def engine(store: WritableStore, *playbooks: Playbook) -> Engine:
    """An engine with these playbooks; with the storm's and the fire's when none is given."""
    return Engine(store, CountingIds(), playbooks or (storm_playbook(), fire_playbook()))


def town(
    store: WritableStore | None = None, clock: StoppedClock | None = None, playbooks: tuple[Playbook, ...] = ()
) -> Town:
    """The city imported and ready; on the memory store when none is given."""
    clock = clock or StoppedClock()
    store = store or MemoryStore(clock)
    with store.write() as tx:
        import_city(tx, city_settings(), city_rows(), "test")
    return Town(store, engine(store, *playbooks), clock, quick_passwords())


def cap_alert(
    identifier: str = "storm-1",
    *,
    status: str = "Actual",
    event: str = "暴雨",
    headline: str = "暴雨红色预警",
    severity: str = "Extreme",
    code: str = STREET,
) -> bytes:
    """A CAP 1.2 alert of the weather bureau for one area, sent at noon of the stopped clock."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2">
  <identifier>{identifier}</identifier>
  <sender>bureau@weather.example</sender>
  <sent>2025-06-15T23:06:40+08:00</sent>
  <status>{status}</status>
  <msgType>Alert</msgType>
  <scope>Public</scope>
  <info>
    <language>zh-CN</language>
    <category>Met</category>
    <event>{event}</event>
    <urgency>Immediate</urgency>
    <severity>{severity}</severity>
    <certainty>Observed</certainty>
    <expires>2099-12-31T23:59:59+08:00</expires>
    <headline>{headline}</headline>
    <area>
      <areaDesc>示例街道</areaDesc>
      <geocode><valueName>CPEAS Geographic Code</valueName><value>{code}</value></geocode>
    </area>
  </info>
</alert>
""".encode()
