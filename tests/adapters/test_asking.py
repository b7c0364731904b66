"""Receipts that the broker lost are asked for and come: a real gateway side, a real Mosquitto, a real speaker agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from devices.protocols import asking, speaker_link
from devices.protocols.asking import Ask, AskKind, SpeakerAnswer
from devices.protocols.documents import SpeakerState
from devices.speaker.agent import Agent
from devices.speaker.loop import Loop
from devices.speaker.player import NullPlayer
from devices.speaker.settings import PlayerKind, SpeakerSettings
from devices.speaker.store import AudioStore
from services.dispatcher.adapters import broker
from services.dispatcher.adapters.intake import TOPICS, SpeakerIntake
from services.dispatcher.adapters.keystore import KeyFolder, KeySigner, Scope
from services.dispatcher.adapters.manifests import SpeakerSide, Spreads
from services.dispatcher.adapters.mqtt import MqttLink
from services.dispatcher.adapters.mqtt_inlet import MqttInlet
from services.dispatcher.domain.effects import Carry
from services.dispatcher.engine.air import receipts
from services.dispatcher.engine.relay import Carrier, Relay
from services.dispatcher.engine.rows import EffectRow, Live
from services.dispatcher.engine.writing import WritableStore
from services.dispatcher.processes.children import Mosquitto
from tests import builders
from tests.builders import CITY, NOON_US, StoppedClock, Town

SPEAKER = "mall-1"
SECRETS = {name: broker.new_secret() for name in ("gw-0", "gw-0-intake", SPEAKER)}
ROUNDS_MAX = 3_000


@dataclass
class Road:
    """A gateway's two connections and one speaker, turned by hand in one thread."""

    town: Town
    port: int
    side: SpeakerSide
    relay: Relay
    loop: Loop
    store: Path
    root: tuple[str, str]

    def __post_init__(self) -> None:
        self.hear(speaker_link.ALL_HELLOS)
        settings = SpeakerSettings(
            id=SPEAKER, secret=SECRETS[SPEAKER], root_kid=self.root[0], root_key=self.root[1],
            broker_host="127.0.0.1", broker_port=self.port, store=self.store, player=PlayerKind.NULL,
            reconnect_spread_s=0,
        )  # fmt: skip
        self.agent = Agent(settings, self.loop, NullPlayer(self.loop, speed=100), AudioStore(self.store))
        self.agent.start()

    def hear(self, *topics: str) -> None:
        """Take in these topics from now on; what nobody is subscribed to is lost at the broker."""
        self.inlet = MqttInlet("gw-0-intake", SECRETS["gw-0-intake"], topics, "127.0.0.1", self.port)
        self.intake = SpeakerIntake(
            self.town.store, self.inlet, self.town.engine.read_city, self.side.answer_hello, self.town.clock.now_us
        )  # fmt: skip
        self.intake.run(1.0)

    def until(self, holds: Callable[[], object]) -> None:
        for _ in range(ROUNDS_MAX):
            if holds():
                return
            self.loop.run_once(wait_us_max=5_000)
            self.intake.run(0.005)
            self.relay.run()
        raise AssertionError("it did not come to that")

    def reconnect(self) -> None:
        """The speaker's line breaks; its state after that says how many receipts there are."""
        self.agent._link._down("the line broke")

    def missing(self) -> tuple[int, ...]:
        return receipts.missing(self.town.store, SPEAKER)

    def close(self) -> None:
        self.agent.close()
        self.inlet.close()
        self.loop.close()


@pytest.fixture
def road(tmp_path: Path) -> Iterator[Road]:
    folder = KeyFolder(tmp_path / "keys")
    folder.init("city", CITY, NOON_US)
    folder.make(Scope(speaker_link.KeyUse.ACTUAL, "city", CITY, 365), NOON_US)
    logins = [broker.gateway_login(name, broker.hash_secret(SECRETS[name])) for name in ("gw-0", "gw-0-intake")]
    town = builders.town(clock=StoppedClock())
    chain = town.engine.read_city().tree.chain(town.engine.read_city().speakers[SPEAKER].area).all
    logins.append(broker.speaker_login(SPEAKER, broker.hash_secret(SECRETS[SPEAKER]), chain))
    with Mosquitto(tmp_path / "broker") as mosquitto:
        mosquitto.start(logins)
        assert mosquitto.port is not None
        link = MqttLink("gw-0", SECRETS["gw-0"], [], lambda delivery: delivery.ack())
        link.start("127.0.0.1", mosquitto.port)
        signer = KeySigner(folder, lambda: NOON_US)
        spreads = Spreads(reconnect_s=0, accepted_ms=0)
        side = SpeakerSide(town.store, signer, link, town.engine.read_city, town.clock, spreads)
        carriers: dict[str, Carrier] = {
            Carry.PUBLISH_STREAM: side.publish_stream,
            Carry.PUBLISH_CONFIG: side.publish_config,
            Carry.ASK_MISSING: side.ask_missing,
        }
        relay = Relay(town.store, town.engine, carriers, "gw-0", town.clock)
        root = folder.root()
        made = Road(town, mosquitto.port, side, relay, Loop(), tmp_path / SPEAKER, (root.kid, root.x))
        while not link.connected:
            made.loop.run_once(wait_us_max=5_000)
        side.reconcile()
        yield made
        made.close()
        link.stop()


def played(road: Road) -> bool:
    marks = road.agent.state.marks.values()
    return any(mark.heard for mark in marks) and not road.agent.state.mail.unacked


def lose_every_receipt(road: Road) -> str:
    """An order plays while nobody takes in receipts; its id."""
    road.until(lambda: road.agent.state.clock.verified and road.agent.state.papers.config)
    alert = road.town.on_air()
    road.until(lambda: played(road))
    return alert.id


def playing(road: Road, order: str) -> int:
    with road.town.store.read() as read:
        return read.coverage(order).playing


def test_receipts_that_the_broker_lost_are_asked_for_in_the_form_of_the_page_and_come(road: Road) -> None:
    order = lose_every_receipt(road)
    assert playing(road, order) == 0
    road.inlet.close()
    road.hear(*TOPICS)
    road.reconnect()
    road.until(lambda: playing(road, order) == 1 and not road.missing())
    assert road.town.get(Live, SPEAKER).seq >= 1
    assert f"{Carry.ASK_MISSING}:{SPEAKER}" not in road.town.lanes()


def test_receipts_that_a_speaker_has_lost_are_asked_for_once_and_shown_as_lost(road: Road) -> None:
    order = lose_every_receipt(road)
    mail = road.agent.state.mail
    lost = min(mail.letters)
    kept = {seq: letter for seq, letter in mail.letters.items() if seq != lost}
    road.agent.state = replace(road.agent.state, mail=replace(mail, letters=kept))
    road.inlet.close()
    road.hear(*TOPICS)
    road.reconnect()
    road.until(lambda: road.town.whys(SPEAKER, "speaker.receipts_gone"))
    road.until(lambda: not road.missing())
    assert road.town.whys(SPEAKER, "speaker.receipts_gone") == [
        f"1 receipts are lost for good, from number {lost} to {lost}"
    ]
    with road.town.store.read() as read:
        assert read.unread() == []
    road.reconnect()
    road.until(lambda: road.town.get(Live, SPEAKER).connection >= 3)
    assert f"{Carry.ASK_MISSING}:{SPEAKER}" not in road.town.lanes()
    assert order


def test_an_answer_that_no_speaker_could_give_is_kept_unread(road: Road) -> None:
    road.inlet.close()
    road.hear(*TOPICS)
    road.until(lambda: road.agent.state.clock.verified)
    road.agent._link._client.publish(  # type: ignore[union-attr]
        speaker_link.answer_topic(SPEAKER), b'{"journal":"j","gone":[0]}', 1
    )
    with road.town.store.read() as read:
        road.until(lambda: read.unread())
        assert [(row.source, row.reason) for row in read.unread()] == [
            (speaker_link.answer_topic(SPEAKER), "malformed")
        ]


def test_what_is_asked_and_answered_is_what_the_other_end_reads() -> None:
    ask = Ask(AskKind.RECEIPTS, tuple(range(2**53 - asking.ASKED_RECEIPTS_MAX, 2**53)), "c" * 64)
    assert asking.decode_ask(asking.encode_ask(ask)) == ask
    assert len(asking.encode_ask(ask)) <= asking.ASK_BYTES_MAX
    answer = SpeakerAnswer("journal", (), ask.missing, correlation="c" * 64)
    assert asking.decode_answer(asking.encode_answer(answer)) == answer


def test_an_effect_for_a_speaker_that_misses_nothing_asks_nothing(road: Road) -> None:
    assert road.side.ask_missing(EffectRow("x", Carry.ASK_MISSING, SPEAKER, 1, 0, 0, None)) is None


def test_what_is_gone_is_settled_on_every_store(store: WritableStore) -> None:
    state = SpeakerState(True, 1, {}, 1, 1, "journal", 1_200, 80, "mains", (), "")
    receipts.hear_speakers(store, [(SPEAKER, state)])
    assert receipts.missing(store, SPEAKER) == tuple(range(201, 701))
    for first, last in ((201, 700), (701, 1_199)):
        gone = SpeakerAnswer("journal", gone=tuple(range(first, last + 1)))
        assert receipts.settle_gone(store, [(SPEAKER, gone), (SPEAKER, gone)]) == last - first + 1
    assert receipts.missing(store, SPEAKER) == (1_200,)
