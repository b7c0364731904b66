"""What goes wrong, and when: each kind of fault has its own stream of chance, so leaving one out moves no other."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from enum import StrEnum
from random import Random
from typing import Protocol

from services.dispatcher.domain.places import Speaker, Venue
from services.dispatcher.domain.refusals import Refused
from services.dispatcher.engine.cities import import_city
from services.dispatcher.engine.ports import Page, StoreUnavailable
from simulators import city
from simulators.clock import VirtualClock
from simulators.database import Killed, Process
from simulators.endpoint import SimulatedSpeaker, Trouble
from simulators.network import Broker, Weather

MINUTE_US = 60_000_000
JUMPED_US_MAX = 480_000_000
FAR_US = 120 * MINUTE_US
YEAR_US = 365 * 24 * 60 * MINUTE_US


class Fault(StrEnum):
    """The kinds of fault."""

    GATEWAY_KILLED = "gateway_killed"
    SECOND_GATEWAY = "second_gateway"
    REQUEST_KILLED = "request_killed"
    DATABASE_AWAY = "database_away"
    RESTORE = "restore"
    BROKER_DOWN = "broker_down"
    LINKS_BREAK = "links_break"
    NETWORK_SLOW = "network_slow"
    SPEAKER_CRASH = "speaker_crash"
    SPEAKER_SLEEP = "speaker_sleep"
    SPEAKER_WIPED = "speaker_wiped"
    WRONG_CLOCKS = "wrong_clocks"
    SPEAKER_MOVES = "speaker_moves"
    SOUND_FAILS = "sound_fails"
    CLOCK_JUMPS = "clock_jumps"
    ATTACK = "attack"
    KEY_LOST = "key_lost"
    KEY_EXPIRED = "key_expired"
    KEY_STOLEN = "key_stolen"
    COPY_LOST = "copy_lost"
    SPEAKER_LIES = "speaker_lies"
    UNKNOWN_ORDER = "unknown_order"
    PANEL_LOSES = "panel_loses"
    TEST_BITS = "test_bits"
    ROUGH_PEOPLE = "rough_people"
    WORKERS_BEHIND = "workers_behind"
    QUEUE_AWAY = "queue_away"
    CROWDED = "crowded"


EVERY_FAULT = tuple(Fault)


class Victims(Protocol):
    """What faults can reach."""

    clock: VirtualClock
    broker: Broker
    speakers: tuple[SimulatedSpeaker, ...]

    def say(self, subject: str, words: str) -> None: ...
    def count(self, what: str) -> None: ...
    def disturb(self) -> None: ...
    def kill_gateway(self, after: int | None) -> None: ...
    def start_second(self) -> None: ...
    def kill_request(self) -> None: ...
    def database_away(self, away: bool) -> None: ...
    def restore(self) -> None: ...
    def jump(self, by_us: int) -> None: ...
    def clock_returns(self) -> None: ...
    def confirm_time(self) -> None: ...
    def strike(self) -> None: ...
    def break_key(self, use: str, why: str) -> None: ...
    def mend_key(self, use: str) -> None: ...
    def steal_key(self, rng: Random) -> str: ...
    def revoke_key(self, order: str) -> None: ...
    def lose_copy(self, rng: Random) -> None: ...
    def lie(self, rng: Random) -> None: ...
    def play_unknown(self, rng: Random) -> None: ...
    def crowd(self) -> None: ...
    def panels_lose(self, percent: int, clock_error_us: int) -> None: ...
    def workers_behind(self, behind: bool) -> None: ...
    def queue_away(self, away: bool) -> None: ...
    def own_process(self, name: str) -> Process: ...


class Faults:
    """Plans the faults of a run."""

    def __init__(self, victims: Victims, kinds: Collection[Fault], seed: int) -> None:
        self._v, self._clock = victims, victims.clock
        self._kinds = [kind for kind in Fault if kind in kinds]
        self._rngs = {kind: Random(f"{seed}/fault/{kind}") for kind in Fault}
        self._until_us = 0

    def plan(self, until_us: int) -> None:
        """Let them happen from now on up to `until_us`."""
        self._until_us = until_us
        every_min: dict[Fault, tuple[float, Callable[[Random], None]]] = {
            Fault.GATEWAY_KILLED: (6, self._gateway_killed),
            Fault.SECOND_GATEWAY: (40, lambda rng: self._v.start_second()),
            Fault.REQUEST_KILLED: (3, lambda rng: self._v.kill_request()),
            Fault.DATABASE_AWAY: (25, self._database_away),
            Fault.RESTORE: (60, lambda rng: self._v.restore()),
            Fault.BROKER_DOWN: (25, self._broker_down),
            Fault.LINKS_BREAK: (3, self._link_breaks),
            Fault.NETWORK_SLOW: (20, self._network_slow),
            Fault.SPEAKER_CRASH: (2, self._speaker_crash),
            Fault.SPEAKER_SLEEP: (15, self._speaker_sleep),
            Fault.SPEAKER_WIPED: (25, self._speaker_wiped),
            Fault.WRONG_CLOCKS: (10, self._wrong_clock),
            Fault.SPEAKER_MOVES: (45, self._speaker_moves),
            Fault.SOUND_FAILS: (12, self._sound_fails),
            Fault.CLOCK_JUMPS: (25, self._clock_jumps),
            Fault.ATTACK: (6, lambda rng: self._v.strike()),
            Fault.KEY_LOST: (25, lambda rng: self._key_fails(rng, city.KEY_LOST)),
            Fault.KEY_EXPIRED: (40, lambda rng: self._key_fails(rng, city.KEY_EXPIRED)),
            Fault.KEY_STOLEN: (40, self._key_stolen),
            Fault.COPY_LOST: (10, self._v.lose_copy),
            Fault.SPEAKER_LIES: (4, self._v.lie),
            Fault.UNKNOWN_ORDER: (25, self._v.play_unknown),
            Fault.CROWDED: (30, lambda rng: self._v.crowd()),
            Fault.PANEL_LOSES: (12, self._panel_loses),
            Fault.WORKERS_BEHIND: (25, self._workers_behind),
            Fault.QUEUE_AWAY: (6, self._queue_away),
        }
        for kind in self._kinds:
            if kind in every_min:
                minutes, action = every_min[kind]
                self._again(kind, minutes, action)
            else:
                # People and test bits are rough for the whole run.
                self._v.count(f"fault.{kind}")

    def _again(self, kind: Fault, minutes: float, action: Callable[[Random], None]) -> None:
        rng = self._rngs[kind]
        at_us = self._clock.us + round(rng.expovariate(1 / minutes) * MINUTE_US)
        if at_us >= self._until_us:
            return

        def happen() -> None:
            self._v.count(f"fault.{kind}")
            action(rng)
            self._again(kind, minutes, action)

        self._clock.at(at_us, happen)

    def _end(self, rng: Random, least_s: int, most_s: int, action: Callable[[], None]) -> None:
        """Undo a fault after a while, and not after all faults are over."""
        self._clock.at(min(self._clock.us + rng.randint(least_s, most_s) * 1_000_000, self._until_us), action)

    def _one(self, rng: Random) -> SimulatedSpeaker:
        return rng.choice(self._v.speakers)

    def _gateway_killed(self, rng: Random) -> None:
        self._v.kill_gateway(rng.randrange(25) if rng.randrange(100) < 80 else None)

    def _database_away(self, rng: Random) -> None:
        self._v.database_away(True)
        self._end(rng, 1, 90, lambda: self._v.database_away(False))

    def _broker_down(self, rng: Random) -> None:
        if not self._v.broker.up:
            return
        keeps = rng.choice(("all", "saved", "nothing"))
        self._v.count(f"broker.keeps_{keeps}")
        self._v.say("broker", f"falls and keeps {keeps}")
        self._v.disturb()
        self._v.broker.fall(keeps)

        def rise() -> None:
            self._v.broker.rise()
            self._v.say("broker", "is back")
            self._v.disturb()

        self._end(rng, 1, 240, rise)

    def _link_breaks(self, rng: Random) -> None:
        clients = self._v.broker.clients()
        if clients:
            name = rng.choice(sorted(clients))
            connection = self._v.broker.connection_of(name)
            assert connection is not None
            self._v.say(name, "has a broken link")
            if not name.startswith("sp-"):
                self._v.disturb()
            connection.break_off()

    def _network_slow(self, rng: Random) -> None:
        self._v.disturb()
        self._v.say("network", "is slow, doubles messages and loses acknowledgements")
        self._v.broker.weather = Weather(
            slow_percent=rng.choice((5, 30, 80)), slow_us=rng.choice((500_000, 3_000_000, 9_000_000)),
            twice_percent=rng.choice((0, 20, 60)), lost_ack_percent=rng.choice((0, 20, 50)),
        )  # fmt: skip

        def clear() -> None:
            self._v.broker.weather = Weather()
            self._v.disturb()
            self._v.say("network", "is well again")

        self._end(rng, 10, 400, clear)

    def _speaker_crash(self, rng: Random) -> None:
        speaker = self._one(rng)
        speaker.die_after(rng.randrange(30))
        self._end(rng, 5, 60, speaker.boot)

    def _speaker_sleep(self, rng: Random) -> None:
        speaker = self._one(rng)
        speaker.power_off()
        self._end(rng, 60, 2_400, speaker.boot)

    def _speaker_wiped(self, rng: Random) -> None:
        speaker = self._one(rng)
        speaker.power_off()

        def back() -> None:
            if not speaker.alive:
                speaker.wipe()
                speaker.boot()

        self._end(rng, 5, 300, back)

    def _wrong_clock(self, rng: Random) -> None:
        speaker = self._one(rng)
        scale_us = rng.choice((MINUTE_US, 60 * MINUTE_US, YEAR_US))
        speaker.trouble.wall_error_us = rng.randint(-5 * scale_us, 5 * scale_us)
        self._v.say(speaker.id, f"has a clock that is {speaker.trouble.wall_error_us // 1_000_000} s wrong")

    def _sound_fails(self, rng: Random) -> None:
        speaker = self._one(rng)
        speaker.trouble = Trouble(rng.choice((0, 30, 100)), rng.choice((0, 80)), speaker.trouble.wall_error_us)

        def repaired() -> None:
            speaker.trouble = Trouble(wall_error_us=speaker.trouble.wall_error_us)

        self._end(rng, 20, 900, repaired)

    def _clock_jumps(self, rng: Random) -> None:
        """A little or two hours; then it comes back, or somebody confirms it, or neither for as long as faults last."""
        far = rng.randrange(2) == 0
        self._v.jump(rng.choice((-FAR_US, FAR_US)) if far else rng.randint(-JUMPED_US_MAX // 2, JUMPED_US_MAX // 2))
        after = rng.choice((self._v.clock_returns, self._v.confirm_time, lambda: None))
        self._end(rng, 2, 600, after)

    def _key_fails(self, rng: Random, why: str) -> None:
        use = rng.choice(("actual", "exercise"))
        self._v.break_key(use, why)
        self._end(rng, 30, 600, lambda: self._v.mend_key(use))

    def _key_stolen(self, rng: Random) -> None:
        """Somebody has a key and signs with it; people revoke it within minutes."""
        order = self._v.steal_key(rng)
        self._end(rng, 30, 240, lambda: self._v.revoke_key(order))

    def _panel_loses(self, rng: Random) -> None:
        error_us = rng.choice((0, 0, -90 * MINUTE_US))
        self._v.panels_lose(rng.choice((20, 60)), error_us)
        self._end(rng, 30, 400, lambda: self._v.panels_lose(0, 0))

    def _workers_behind(self, rng: Random) -> None:
        self._v.workers_behind(True)
        self._end(rng, 60, 1_500, lambda: self._v.workers_behind(False))

    def _queue_away(self, rng: Random) -> None:
        self._v.queue_away(True)
        self._end(rng, 1, 60, lambda: self._v.queue_away(False))

    def _speaker_moves(self, rng: Random) -> None:
        """A speaker is put up elsewhere: the whole city pack comes in again with that one row changed."""
        speaker = self._one(rng)
        venue = rng.choice(city.venues())
        try:
            move(self._v.own_process("city"), speaker.id, venue)
        except (Killed, StoreUnavailable, Refused):
            return
        speaker.moved_us = self._clock.us
        self._v.count("speaker.moved")
        self._v.say(speaker.id, f"moves to {venue.id}")


def move(process: Process, speaker: str, venue: Venue) -> None:
    """Import the city again with a speaker at another venue."""
    with process.write() as tx:
        rows = tx.find(Speaker, Page(limit=1_000))
        moved = [
            replace(s, venue=venue.id, area=venue.area, lat_e7=venue.lat_e7, lon_e7=venue.lon_e7)
            if s.id == speaker
            else s
            for s in rows
        ]
        import_city(tx, city.settings(), [*city.areas(), *city.venues(), *city.offices(), *moved], "sun")
