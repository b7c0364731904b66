"""What the gateway says to speakers, on a real broker, with real keys, over the store in memory."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import pytest

from devices.protocols import speaker_link
from devices.protocols.documents import KeyUse, LinkKey, Manifest, Phase, SpeakerConfig
from services.dispatcher.adapters import broker, manifests, mqtt
from services.dispatcher.adapters.keystore import KeyFolder, KeySigner, Scope
from services.dispatcher.adapters.manifests import SpeakerSide, Spreads
from services.dispatcher.adapters.mqtt import Delivery, MqttLink
from services.dispatcher.domain.broadcasts import Stopped
from services.dispatcher.domain.effects import Carry, Save
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.planning import City
from services.dispatcher.domain.retries import RETRIES
from services.dispatcher.domain.sightings import UNKNOWN_SOUNDS, Sighting
from services.dispatcher.domain.signals import Use as SignalUse
from services.dispatcher.domain.signing_keys import KeyState
from services.dispatcher.engine import desk
from services.dispatcher.engine.air import signing_keys
from services.dispatcher.engine.air.signing_keys import KeyReport
from services.dispatcher.engine.leases import GATEWAY_LEASE_US, hold
from services.dispatcher.engine.ports import Conflict
from services.dispatcher.engine.relay import Carrier, CarryFailed, Finish, Relay
from services.dispatcher.engine.rows import EffectRow, Stream
from services.dispatcher.processes.children import Mosquitto
from tests import builders
from tests.builders import CITY, DISTRICT, DUTY, NOON_US, SECOND_US, STREET, StoppedClock, Town

NONCE = "n" * 22
SECRETS = {name: broker.new_secret() for name in ("gw-0", "gw-1")}
LOGINS = [broker.gateway_login(name, broker.hash_secret(secret)) for name, secret in SECRETS.items()]
ANSWER_S = 30


@dataclass
class Gateway:
    """A gateway's half of the road to speakers, and beside it a client that hears what the broker passes on."""

    town: Town
    folder: KeyFolder
    port: int
    told: queue.Queue[Delivery] = field(default_factory=queue.Queue)
    heard: queue.Queue[Delivery] = field(default_factory=queue.Queue)
    unknown: list[int] = field(default_factory=list)
    ready: list[queue.Queue[bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.link = self._link("gw-0", self.told)
        self.ears = self._link("gw-1", self.heard)
        self.signer = KeySigner(self.folder, lambda: NOON_US)
        self.side = SpeakerSide(
            self.town.store, self.signer, self.link, self.town.engine.read_city, self.town.clock, Spreads(), "http://127.0.0.1/audio",
            self.unknown.append, compare_wait_s=0.0,
        )  # fmt: skip

    def _link(self, name: str, into: queue.Queue[Delivery]) -> MqttLink:
        ready: queue.Queue[bool] = queue.Queue()
        topics = [(speaker_link.ALL_AREA_MANIFESTS, 1), (speaker_link.KEYS_TOPIC, 1), ("tocsin/v1/speaker/+/config", 1)]
        link = MqttLink(name, SECRETS[name], topics, into.put, lambda: ready.put(True))
        link.start("127.0.0.1", self.port)
        ready.get(timeout=ANSWER_S)
        self.ready.append(ready)
        return link

    def stop(self) -> None:
        self.link.stop()
        self.ears.stop()

    def next(self, part: str) -> Delivery:
        """The next message on a topic with this part."""
        while True:
            heard = self.heard.get(timeout=ANSWER_S)
            if part in heard.topic:
                return heard

    def carry(self, topic: str) -> bool:
        """Have a stream published; whether anything was."""
        finish = self.side.publish_stream(
            EffectRow(f"publish_stream:{topic}", Carry.PUBLISH_STREAM, topic, 1, 0, 0, None)
        )
        if finish is not None:
            finish()
        return finish is not None

    def seen(self, topic: str, raw: bytes) -> None:
        self.side.forget_seen()
        self.side.seen(topic, raw)

    def read(self, delivery: Delivery) -> Manifest:
        return speaker_link.read_manifest(delivery.payload, delivery.topic, self.signer.document, None, NOON_US)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker for each test: sessions and retained messages outlive their clients."""
    with Mosquitto(tmp_path / "broker") as started:
        started.start(LOGINS)
        yield started


@pytest.fixture
def port(mosquitto: Mosquitto) -> int:
    assert mosquitto.port is not None
    return mosquitto.port


@pytest.fixture
def gateway(port: int, tmp_path: Path) -> Iterator[Gateway]:
    folder = KeyFolder(tmp_path / "keys")
    folder.init("city", CITY, NOON_US)
    folder.make(Scope(KeyUse.ACTUAL, "city", CITY, 365), NOON_US)
    running = Gateway(builders.town(clock=StoppedClock()), folder, port)
    yield running
    running.stop()


TOPIC = "tocsin/v1/area/210202000000/manifest/actual/city"


def test_nothing_is_said_before_the_brokers_copies_were_compared(gateway: Gateway) -> None:
    alert = gateway.town.on_air()
    with pytest.raises(CarryFailed):
        gateway.carry(alert.stream)


def test_what_is_on_air_is_signed_and_retained(gateway: Gateway) -> None:
    alert = gateway.town.on_air()
    gateway.side.reconcile()
    assert gateway.carry(alert.stream)
    heard = gateway.next("/manifest/")
    assert (heard.topic, alert.stream) == (TOPIC, TOPIC)
    assert [order.id for order in gateway.read(heard).orders] == [alert.id]


def test_a_stop_is_said_with_a_higher_version(gateway: Gateway) -> None:
    alert = gateway.town.on_air()
    gateway.side.reconcile()
    gateway.carry(TOPIC)
    first = gateway.read(gateway.next("/manifest/"))
    gateway.town.act(alert.id, Stopped("wang", DUTY, "wait"))
    gateway.carry(TOPIC)
    second = gateway.read(gateway.next("/manifest/"))
    assert second.version > first.version
    assert [(order.rev, str(order.state)) for order in second.orders] == [(2, "withdrawn")]


def test_a_manifest_that_the_broker_lost_is_said_again(gateway: Gateway) -> None:
    gateway.town.on_air()
    gateway.side.reconcile()
    gateway.carry(TOPIC)
    said = gateway.next("/manifest/").payload
    gateway.side.forget_seen()
    gateway.side.reconcile()
    assert gateway.next("/manifest/").payload == said


def test_what_is_on_air_goes_out_before_lost_configs_are_asked_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.town.on_air()
    gateway.side.reconcile()
    gateway.carry(TOPIC)
    said = gateway.next("/manifest/").payload
    at = gateway.town
    again = SpeakerSide(at.store, gateway.signer, gateway.link, at.engine.read_city, at.clock, Spreads())
    with monkeypatch.context() as away:
        away.setattr(gateway.town.store, "write", _conflicts)
        with pytest.raises(Conflict):
            again.reconcile()
    assert (gateway.next("/manifest/").payload, again.reconciled) == (said, True)


def test_a_hello_is_answered_with_the_streams_of_the_speakers_own_areas(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.town.on_air()
    gateway.side.reconcile()
    gateway.carry(TOPIC)
    with gateway.town.store.write() as tx:
        ours = tx.get(Stream, TOPIC)
        assert ours is not None
        elsewhere = TOPIC.replace(DISTRICT, STREET)
        tx.put(replace(ours, id=elsewhere, area=STREET, version=0))
    sent: list[bytes] = []
    monkeypatch.setattr(gateway.link, "publish_soon", lambda topic, raw: sent.append(raw))
    for speaker, streams in (("mall-1", {TOPIC}), ("square-1", {TOPIC, elsewhere})):
        gateway.side.answer_hello(speaker, NONCE)
        answer = speaker_link.read_hello_answer(sent.pop(), NONCE, gateway.signer.document)
        assert answer.streams.keys() == streams


@pytest.mark.parametrize("forged", [b"not a manifest", b"a.b.c"])
def test_bytes_on_the_broker_that_nobody_signed_are_replaced(gateway: Gateway, forged: bytes) -> None:
    gateway.town.on_air()
    gateway.side.reconcile()
    gateway.carry(TOPIC)
    said = gateway.next("/manifest/").payload
    gateway.seen(TOPIC, forged)
    gateway.side.reconcile()
    assert gateway.next("/manifest/").payload == said


def test_a_newer_manifest_that_is_unknown_here_is_never_said_over(gateway: Gateway) -> None:
    # What people do now goes out above it, and keeps what is unknown.
    alert = gateway.town.on_air()
    gateway.side.reconcile()
    gateway.carry(TOPIC)
    known = gateway.read(gateway.next("/manifest/"))
    orders = (*known.orders, replace(known.orders[0], id="f" * 32))
    newer = replace(known, version=known.version + 60_000, orders=orders)
    raw = gateway.signer.sign_manifest(newer, (CITY,))
    assert gateway.unknown == [0]
    gateway.seen(TOPIC, raw)
    gateway.side.reconcile()
    assert gateway.unknown[-1] == 1
    assert not gateway.carry(TOPIC)
    assert gateway.town.get(Stream, TOPIC).foreign
    clear = gateway.town.release(gateway.town.follower(alert.id, Phase.ALL_CLEAR).id, "wang")
    gateway.carry(TOPIC)
    merged = gateway.read(gateway.next("/manifest/"))
    assert merged.version > newer.version
    assert {order.id for order in merged.orders} == {alert.id, clear.id, "f" * 32}
    # What our signature carries on waits for a person all the same.
    gateway.side.reconcile()
    assert gateway.unknown[-1] == 1
    desk.adopt_stream(gateway.town.store, TOPIC, "li")
    gateway.side.reconcile()
    assert gateway.unknown[-1] == 0


def test_a_manifest_that_somebody_else_publishes_is_noticed_at_once_and_ours_that_come_back_are_not(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "ARRIVED_SETTLE_US", 0)
    gateway.town.on_air()
    gateway.side.reconcile()
    gateway.carry(TOPIC)
    ours = gateway.next("/manifest/")
    _arrives(gateway, ours.payload)
    with gateway.town.store.read() as read:
        assert (read.find(Sighting), read.find(Incident, hazard=UNKNOWN_SOUNDS)) == ([], [])
    known = gateway.read(ours)
    forged = replace(known, version=known.version + 1, orders=(replace(known.orders[0], id="rogue"),))
    gateway.ears.publish(TOPIC, gateway.signer.sign_manifest(forged, (CITY,)), retain=True)
    _arrives(gateway, gateway.next("/manifest/").payload)
    gateway.town.pass_timers()
    with gateway.town.store.read() as read:
        (alarm,) = read.find(Incident, hazard=UNKNOWN_SOUNDS)
        assert {row.incident for row in read.find(Sighting)} == {alarm.id}
    assert ("rogue" in alarm.headline, alarm.level) == (True, 1)


def test_what_could_not_be_compared_is_compared_again_and_keeps_nothing_else_waiting(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "ARRIVED_SETTLE_US", 0)
    gateway.town.on_air()
    gateway.side.reconcile()
    gateway.carry(TOPIC)
    known = gateway.read(gateway.next("/manifest/"))
    mall = TOPIC.replace("210202000000", "210202001000")
    rogue = (replace(known.orders[0], id="rogue"),)
    for stream in (TOPIC, mall):
        forged = replace(known, stream=stream, version=known.version + 1, orders=rogue)
        gateway.side.seen(stream, gateway.signer.sign_manifest(forged, (CITY,)))
    with monkeypatch.context() as lost:
        lost.setattr(gateway.town.store, "write", _conflicts)
        with pytest.raises(Conflict):
            gateway.side.compare_arrived()
    # A stream that can't be said again does not keep the others from being compared.
    gateway.side.seen(TOPIC, b"nobody signed this")
    with monkeypatch.context() as away:
        away.setattr(gateway.link, "publish", _away)
        with pytest.raises(CarryFailed):
            gateway.side.compare_arrived()
    with gateway.town.store.read() as read:
        assert {row.stream for row in read.find(Sighting)} == {mall}
    gateway.side.compare_arrived()
    assert gateway.next("/manifest/").topic == TOPIC


def _conflicts() -> NoReturn:
    raise Conflict("another transaction came first")


def _away(topic: str, raw: bytes, retain: bool = False) -> NoReturn:
    raise CarryFailed("the broker is away")


def _arrives(gateway: Gateway, payload: bytes) -> None:
    """The broker passes these bytes on to the gateway, too, which compares them."""
    while True:
        told = gateway.told.get(timeout=ANSWER_S)
        told.ack()
        if told.payload == payload:
            break
    gateway.side.seen(told.topic, told.payload)
    gateway.side.compare_arrived()


def test_a_gateway_that_starts_takes_what_is_unknown_on_air_for_a_restored_backup(gateway: Gateway) -> None:
    gateway.town.on_air()
    gateway.side.reconcile()
    gateway.carry(TOPIC)
    known = gateway.read(gateway.next("/manifest/"))
    newer = replace(known, version=known.version + 1, orders=(replace(known.orders[0], id="f" * 32),))
    at = gateway.town
    fresh = SpeakerSide(at.store, gateway.signer, gateway.link, at.engine.read_city, at.clock, Spreads())
    fresh.seen(TOPIC, gateway.signer.sign_manifest(newer, (CITY,)))
    assert not fresh.reconciled
    fresh.reconcile()
    gateway.town.pass_timers()
    with gateway.town.store.read() as read:
        assert read.find(Incident, hazard=UNKNOWN_SOUNDS) == []
        assert {bool(row.excuse) for row in read.find(Sighting)} == {True}
    assert fresh.reconciled


def test_a_stream_whose_unknown_orders_are_settled_is_said_again_when_the_broker_lost_it(gateway: Gateway) -> None:
    test_a_newer_manifest_that_is_unknown_here_is_never_said_over(gateway)
    gateway.side.forget_seen()
    gateway.side.reconcile()
    assert gateway.next("/manifest/").topic == TOPIC


def test_without_a_key_the_effect_fails_with_the_sentence(gateway: Gateway) -> None:
    gateway.side.reconcile()
    drill = gateway.town.on_air(builders.storm_signal(use=SignalUse.EXERCISE))
    with pytest.raises(CarryFailed) as failed:
        gateway.carry(drill.stream)
    assert failed.value.reason.startswith("The signer holds no key")


def test_a_key_that_may_not_speak_for_the_level_signs_nothing(port: int, tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "keys")
    folder.init("city", CITY, NOON_US)
    folder.make(Scope(KeyUse.ACTUAL, "city", CITY, 365, (3, 4)), NOON_US)
    running = Gateway(builders.town(), folder, port)
    try:
        running.side.reconcile()
        running.town.on_air()
        with pytest.raises(CarryFailed):
            running.carry(TOPIC)
    finally:
        running.stop()


def reported(listed: LinkKey) -> KeyReport:
    """What a gateway reports of a key that signs there."""
    use, levels = str(listed.use), tuple(listed.levels)
    return KeyReport(KeyState(listed.kid, use, listed.issuer, listed.area, levels, listed.not_after, x=listed.x), "", 0)


def test_a_gateway_with_an_older_key_document_leaves_speaking_to_one_that_runs_with_a_newer(gateway: Gateway) -> None:
    store, older = gateway.town.store, gateway.signer.signed_document
    alert = gateway.town.on_air()
    gateway.side.reconcile()
    gateway.folder.make(Scope(KeyUse.ACTUAL, "city", CITY, 365), NOON_US)
    newer = KeySigner(gateway.folder, lambda: NOON_US)
    listed = [reported(key.listed) for key in newer.tried]
    signing_keys.report(store, "gw-9", listed, newer.document.version)
    with pytest.raises(Conflict):
        gateway.carry(alert.stream)
    with pytest.raises(CarryFailed, match="newer key document"):
        gateway.side.publish_config(EffectRow("publish_config:mall-1", Carry.PUBLISH_CONFIG, "mall-1", 1, 0, 0, None))
    assert gateway.side.behind()
    by_newer = speaker_link.sign(Manifest(TOPIC, NOON_US // 1_000, NOON_US, NOON_US + 1, "", ()), newer._keys[-1][1])
    gateway.side.compare(TOPIC, by_newer)
    gateway.link.publish(speaker_link.KEYS_TOPIC, newer.signed_document, retain=True)
    gateway.seen(speaker_link.KEYS_TOPIC, newer.signed_document)
    gateway.side.publish_keys()
    gateway.link.publish(TOPIC, b"the end", retain=False)
    said: list[Delivery] = []
    while not said or said[-1].payload != b"the end":
        said.append(gateway.heard.get(timeout=ANSWER_S))
    assert [(d.topic, d.payload) for d in said if not d.topic.endswith("/config")] == [
        (speaker_link.KEYS_TOPIC, older),
        (speaker_link.KEYS_TOPIC, newer.signed_document),
        (TOPIC, b"the end"),
    ]
    # The other one dies: this one holds the only lease.
    assert hold(store, "gw-0", "host/1", GATEWAY_LEASE_US)
    assert not gateway.side.behind()
    gateway.carry(alert.stream)
    assert [order.id for order in gateway.read(gateway.next("/manifest/")).orders] == [alert.id]


def test_a_speaker_gets_its_signed_config(gateway: Gateway) -> None:
    gateway.side.publish_config(EffectRow("publish_config:mall-1", Carry.PUBLISH_CONFIG, "mall-1", 1, 0, 0, None))
    heard = gateway.next("/mall-1/config")
    config = speaker_link.read_config(heard.payload, "mall-1", gateway.signer.document, NOON_US)
    assert (config.venue, config.area_chain[0], config.version) == ("mall", CITY, NOON_US // 1_000)


def configured(gateway: Gateway, side: SpeakerSide | None = None) -> SpeakerConfig:
    """What the mall's speaker is told once every config that is asked for is published."""
    carriers: dict[str, Carrier] = {Carry.PUBLISH_CONFIG: (side or gateway.side).publish_config}
    relay = Relay(gateway.town.store, gateway.town.engine, carriers, "one", gateway.town.clock)
    with gateway.town.store.write() as tx:
        tx.save(Save(Carry.PUBLISH_CONFIG, "mall-1"))
    while relay.run():
        pass
    gateway.ears.publish("tocsin/v1/keys", b"end of what was said", retain=False)
    heard, newest = gateway.heard.get(timeout=ANSWER_S), b""
    while heard.payload != b"end of what was said":
        newest = heard.payload if "/mall-1/config" in heard.topic else newest
        heard = gateway.heard.get(timeout=ANSWER_S)
    return speaker_link.read_config(newest, "mall-1", gateway.signer.document, NOON_US)


def test_a_config_with_other_content_or_another_key_has_another_version(gateway: Gateway) -> None:
    first = configured(gateway)
    assert configured(gateway) == first
    spread = SpeakerSide(
        gateway.town.store, gateway.signer, gateway.link, gateway.town.engine.read_city, gateway.town.clock,
        Spreads(reconnect_s=40),
    )  # fmt: skip
    second = configured(gateway, spread)
    assert (second.reconnect_spread_s, second.version) == (40, first.version + 1)
    gateway.folder.make(Scope(KeyUse.CONFIG, "city", CITY, 30), NOON_US)
    gateway.signer.look_again()
    third = configured(gateway, spread)
    assert third == replace(second, version=second.version + 1)
    assert configured(gateway, spread) == third


def test_configs_are_said_anew_when_the_key_that_signs_them_changes(gateway: Gateway) -> None:
    configured(gateway)
    gateway.side.reconcile()
    with gateway.town.store.write() as tx:
        tx.done(*tx.claim([Carry.PUBLISH_CONFIG], "x", 1, 10))
    gateway.side.seen("tocsin/v1/speaker/mall-1/config", b"x")
    gateway.side.seen("tocsin/v1/speaker/square-1/config", b"x")
    gateway.side.seen("tocsin/v1/speaker/square-2/config", b"x")
    gateway.side.reconcile()
    said = {lane for lane in gateway.town.lanes() if lane.startswith("publish_config")}
    assert said == set()
    gateway.folder.make(Scope(KeyUse.CONFIG, "city", CITY, 365), NOON_US)
    gateway.signer.look_again()
    gateway.side.reconcile()
    said = {lane for lane in gateway.town.lanes() if lane.startswith("publish_config")}
    assert said == {"publish_config:mall-1", "publish_config:square-1", "publish_config:square-2"}


def many_configs(gateway: Gateway) -> tuple[Relay, set[str]]:
    """A relay that publishes configs, and the topics of those that a city's import has made to be published."""
    mall = builders.venue("mall", builders.OTHER_STREET)
    gateway.town.rebuild(*(builders.speaker(f"more-{number}", mall) for number in range(250)))
    carriers: dict[str, Carrier] = {Carry.PUBLISH_CONFIG: gateway.side.publish_config}
    relay = Relay(gateway.town.store, gateway.town.engine, carriers, "one", gateway.town.clock)
    wanted = {lane.partition(":")[2] for lane in gateway.town.lanes() if lane.startswith(Carry.PUBLISH_CONFIG)}
    assert len(wanted) > 250
    return relay, {speaker_link.config_topic(name) for name in wanted}


def test_many_configs_are_on_the_broker_when_the_relay_says_so(gateway: Gateway) -> None:
    relay, topics = many_configs(gateway)
    while relay.run():
        pass
    assert not relay.waiting()
    assert {gateway.next("/config").topic for _ in topics} == topics


def test_configs_that_a_broker_that_goes_does_not_acknowledge_are_said_when_it_is_back(
    gateway: Gateway, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "PUBACK_TIMEOUT_S", 0.2)
    relay, topics = many_configs(gateway)
    mosquitto.stop()
    assert relay.run() == len(topics)
    assert {speaker_link.config_topic(lane.partition(":")[2]) for lane in gateway.town.lanes()} >= topics
    mosquitto.start(LOGINS)
    for ready in gateway.ready:
        ready.get(timeout=ANSWER_S)
    monkeypatch.undo()
    gateway.town.clock.advance(RETRIES[Carry.PUBLISH_CONFIG].backoff_to_us / SECOND_US)
    while relay.run():
        pass
    assert not relay.waiting()
    heard: set[str] = set()
    while heard != topics:
        heard.add(gateway.next("/config").topic)


def slowly(gateway: Gateway, carrier: Carrier, then: Callable[[], None] = lambda: None) -> Relay:
    """A relay of configs on whose clock a millisecond passes before each; `then` is done after each."""

    def publish_config(effect: EffectRow) -> Finish | None:
        gateway.town.clock.advance(0.001)
        finish = carrier(effect)
        then()
        return finish

    carriers: dict[str, Carrier] = {Carry.PUBLISH_CONFIG: publish_config}
    return Relay(gateway.town.store, gateway.town.engine, carriers, "one", gateway.town.clock)


def test_one_look_at_the_city_serves_all_configs_that_were_claimed_together(gateway: Gateway) -> None:
    looks: list[City] = []

    def city() -> City:
        looks.append(gateway.town.engine.read_city())
        return looks[-1]

    side = SpeakerSide(gateway.town.store, gateway.signer, gateway.link, city, gateway.town.clock, Spreads())
    _, topics = many_configs(gateway)
    assert slowly(gateway, side.publish_config).run() == len(topics)
    assert len(looks) == 1


def test_a_config_that_changes_after_it_was_claimed_is_said_again_as_it_is_then(gateway: Gateway) -> None:
    moved = builders.speaker("mall-1", builders.venue("mall", builders.OTHER_STREET), volume_max=11)
    imports = [lambda: gateway.town.rebuild(moved, without=("mall-1",))]

    def moves() -> None:
        if imports:
            imports.pop()()

    relay = slowly(gateway, gateway.side.publish_config, moves)
    while relay.run():
        pass
    said = [gateway.next("/mall-1/config") for _ in range(2)]
    configs = [speaker_link.read_config(d.payload, "mall-1", gateway.signer.document, NOON_US) for d in said]
    assert [config.volume_max for config in configs] == [100, 11]


def test_nobody_else_gets_a_config(gateway: Gateway) -> None:
    with pytest.raises(CarryFailed) as failed:
        gateway.side.publish_config(EffectRow("publish_config:eve", Carry.PUBLISH_CONFIG, "eve", 1, 0, 0, None))
    assert not failed.value.again


def test_a_broker_that_is_away_fails_the_effect_and_what_was_signed_stays(gateway: Gateway) -> None:
    gateway.town.on_air()
    gateway.side.reconcile()
    gateway.link.stop()
    with pytest.raises(CarryFailed):
        gateway.carry(TOPIC)
    assert gateway.town.get(Stream, TOPIC).signed
    gateway.link = gateway._link("gw-0", gateway.told)
