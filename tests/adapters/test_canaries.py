"""Canaries and the broker's copies on a real Mosquitto with real keys: what breaks is seen, and heals."""

from __future__ import annotations

import queue
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from devices.protocols import speaker_link
from devices.protocols.canary import ALL_CANARIES, Canary, canary_topic, sign_canary
from devices.protocols.documents import KeyUse, Manifest
from services.dispatcher.adapters import broker, canaries, mqtt
from services.dispatcher.adapters.broker_copies import BrokerCopies
from services.dispatcher.adapters.canaries import Canaries
from services.dispatcher.adapters.keystore import DAY_US, DOCUMENT, KeyFolder, KeySigner, Scope
from services.dispatcher.adapters.manifests import SpeakerSide, Spreads
from services.dispatcher.adapters.metrics import KeyMetrics
from services.dispatcher.adapters.mqtt import Delivery, MqttLink
from services.dispatcher.domain.broadcasts import Stopped
from services.dispatcher.domain.effects import Carry
from services.dispatcher.domain.signing_keys import KeyState
from services.dispatcher.engine.air import signing_keys
from services.dispatcher.engine.leases import hold
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import EffectRow, Stream
from services.dispatcher.processes.children import Mosquitto
from tests import builders
from tests.builders import CITY, DUTY, NOON_US, SECOND_US, StoppedClock, Town

NAMES = ("gw-0", "gw-1")
SECRETS = {name: broker.new_secret() for name in NAMES}
LOGINS = [broker.gateway_login(name, broker.hash_secret(secret)) for name, secret in SECRETS.items()]
TOPIC = "tocsin/v1/area/210202000000/manifest/actual/city"
ANSWER_S = 30
ROUND_S = 3_600.0


@dataclass(frozen=True)
class MonotonicBeside:
    """A clock whose wall clock is the town's, which stands, and whose monotonic clock runs."""

    town: StoppedClock

    def now_us(self) -> int:
        return self.town.now_us()

    def mono_us(self) -> int:
        return time.monotonic_ns() // 1_000


@dataclass
class Gateway:
    """A gateway's parts that this is about, and beside it somebody with a gateway's account."""

    town: Town
    folder: KeyFolder
    port: int
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    heard: queue.Queue[Delivery] = field(default_factory=queue.Queue)
    told: queue.Queue[Delivery] = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        metrics = KeyMetrics(self.registry)
        self.link = self._link("gw-0", self._deliver)
        self.somebody = self._link("gw-1", self.told.put)
        self.signer = KeySigner(self.folder, self.town.clock.now_us)
        store, clock = self.town.store, self.town.clock
        self.side = SpeakerSide(store, self.signer, self.link, self.town.engine.read_city, clock, Spreads())
        self.canaries = self.make_canaries(metrics)
        self.copies = BrokerCopies(store, self.side, self.signer, self.link, "gw-0", clock, metrics.copies, ROUND_S)
        hold(store, "gw-0", "host/1", 400 * DAY_US)
        self.connect()

    def make_canaries(self, metrics: KeyMetrics) -> Canaries:
        clock = MonotonicBeside(self.town.clock)
        return Canaries(self.town.store, self.signer, self.side, self.link, "gw-0", clock, metrics, ROUND_S)

    def _link(self, name: str, deliver: Callable[[Delivery], None]) -> MqttLink:
        topics = [(speaker_link.ALL_AREA_MANIFESTS, 1), (speaker_link.KEYS_TOPIC, 1), (ALL_CANARIES, 0)]
        return MqttLink(name, SECRETS[name], topics, deliver)

    def _deliver(self, delivery: Delivery) -> None:
        if "/canary/" in delivery.topic:
            self.canaries.heard(delivery.topic, delivery.payload)
        else:
            self.side.seen(delivery.topic, delivery.payload)
        self.heard.put(delivery)
        delivery.ack()

    def connect(self) -> None:
        for link in (self.link, self.somebody):
            link.start("127.0.0.1", self.port)
        wait(lambda: self.link.connected and self.somebody.connected)
        self.side.reconcile()

    def stop(self) -> None:
        self.link.stop()
        self.somebody.stop()

    def round(self) -> dict[str, list[tuple[str, str]]]:
        """One round of canaries; what health says of each use then."""
        self.canaries._round_at_us = self.canaries._try_at_us = 0
        return self.look()

    def look(self) -> dict[str, list[tuple[str, str]]]:
        """Steps between two rounds, until what they began is over: they do something only where a file has changed."""
        self.canaries.step()
        while self.canaries.under_way:
            time.sleep(0.005)
            self.canaries.step()
        return self.problems()

    def problems(self) -> dict[str, list[tuple[str, str]]]:
        with self.town.store.read() as read:
            uses = signing_keys.health(read).uses
        return {use.use: [(str(p.trouble), p.detail) for p in use.problems] for use in uses}

    def row(self, kid: str) -> KeyState:
        return self.town.get(KeyState, kid)

    def pem(self, kid: str) -> Path:
        return self.folder.folder / f"{kid}.pem"

    def failures(self, reason: str) -> float:
        return self.registry.get_sample_value("tocsin_canary_failures_total", {"reason": reason}) or 0.0

    def carry(self) -> None:
        effect = EffectRow(f"publish_stream:{TOPIC}", Carry.PUBLISH_STREAM, TOPIC, 1, 0, 0, None)
        finish = self.side.publish_stream(effect)
        if finish is not None:
            finish()

    def on_air(self) -> bytes:
        """Put an alert on air; what the broker should hold from now on."""
        self.town.on_air()
        self.carry()
        return self.town.get(Stream, TOPIC).signed

    def effects_done(self) -> None:
        with self.town.store.write() as tx:
            tx.done(*tx.claim([Carry.PUBLISH_STREAM], "test", SECOND_US, 100))

    def said(self) -> Manifest:
        """What is signed for the stream, as a speaker reads it."""
        raw = self.town.get(Stream, TOPIC).signed
        return speaker_link.read_manifest(raw, TOPIC, self.signer.document, None, NOON_US)

    def retained(self) -> dict[str, bytes]:
        """What the broker holds now, as somebody who asks afresh is told."""
        while not self.told.empty():
            self.told.get_nowait().ack()
        self.somebody.ask_retained([TOPIC, speaker_link.KEYS_TOPIC])
        found: dict[str, bytes] = {}
        until_s = time.monotonic() + 0.4
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                told = self.told.get(timeout=left_s)
            except queue.Empty:
                break
            told.ack()
            if told.retain:
                found[told.topic] = told.payload
        self.somebody.leave([TOPIC])
        return found


def wait(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + ANSWER_S
    while not holds():
        assert time.monotonic() < until_s, "it does not come true"
        time.sleep(0.005)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as started:
        started.start(LOGINS)
        yield started


@pytest.fixture
def gateway(mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setattr(canaries, "HOME_WITHIN_US", SECOND_US)
    monkeypatch.setattr(mqtt, "ANSWER_S", 0.4)
    assert mosquitto.port is not None
    folder = KeyFolder(tmp_path / "keys")
    folder.init("city", CITY, NOON_US)
    folder.make(Scope(KeyUse.ACTUAL, "city", CITY, 365), NOON_US)
    folder.make(Scope(KeyUse.EXERCISE, "city", CITY, 365), NOON_US)
    running = Gateway(builders.town(clock=StoppedClock()), folder, mosquitto.port)
    yield running
    running.stop()


WELL: dict[str, list[tuple[str, str]]] = {"actual": [], "clock": [], "config": [], "exercise": []}


def test_every_keys_canary_comes_home_and_is_timed_by_the_senders_monotonic_clock(gateway: Gateway) -> None:
    assert gateway.round() == WELL
    for kid in ("actual-city-1", "exercise-city-1", "config-city-1", "clock-city-1"):
        at = gateway.row(kid).gateways["gw-0"]
        assert (at.fault, at.failed) == ("", "")
        assert NOON_US - SECOND_US < at.home_us <= NOON_US
        assert 0 < at.took_us < SECOND_US
        age_s = gateway.registry.get_sample_value("tocsin_canary_age_seconds", {"kid": kid})
        assert age_s is not None and 0 <= age_s < ANSWER_S
    with gateway.town.store.read() as read:
        assert not [row for row in read.log_of(None) if "canary" in row.kind or row.subject.startswith("actual-city")]


def test_a_canary_is_not_retained(gateway: Gateway) -> None:
    gateway.round()
    wait(lambda: any("/canary/" in told.topic for told in list(gateway.told.queue)))
    gateway.somebody.ask_retained([ALL_CANARIES])
    assert not [told for told in list(gateway.told.queue) if told.retain and "/canary/" in told.topic]


def _folder(pem: Path) -> None:
    pem.replace(pem.with_suffix(".aside"))
    pem.mkdir()


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "emptied": (lambda pem: pem.write_bytes(b""), "empty"),
    "damaged": (
        lambda pem: pem.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        "damaged",
    ),
    "another key's": (lambda pem: shutil.copy(pem.with_name("exercise-city-1.pem"), pem), "foreign"),
    "gone": (lambda pem: pem.unlink(), "missing"),
    "a folder": (_folder, "unreadable"),
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_key_file_that_breaks_is_seen_at_the_next_step_other_uses_go_on_and_it_heals(
    gateway: Gateway, how: str
) -> None:
    gateway.round()
    pem = gateway.pem("actual-city-1")
    whole = pem.read_bytes()
    breaks, trouble = BREAKS[how]
    breaks(pem)
    assert gateway.look() == WELL | {"actual": [(trouble, "")]}
    assert gateway.round() == WELL | {"actual": [(trouble, "")]}
    if pem.is_dir():
        pem.rmdir()
    pem.write_bytes(whole)
    assert gateway.look() == WELL


def test_while_its_file_is_broken_a_key_in_memory_still_ends_what_is_on_air(gateway: Gateway) -> None:
    gateway.on_air()
    gateway.pem("actual-city-1").write_bytes(b"")
    assert gateway.look()["actual"] == [("empty", "")]
    gateway.town.act(gateway.said().orders[0].id, Stopped("li", DUTY, "wait"))
    gateway.carry()
    assert [str(order.state) for order in gateway.said().orders] == ["withdrawn"]


def test_an_expired_key_sends_no_canary_and_is_red(gateway: Gateway) -> None:
    gateway.folder.make(Scope(KeyUse.CLOCK, "city", CITY, 800), NOON_US)
    gateway.round()
    gateway.town.clock.advance(366 * 86_400)
    gateway.heard.queue.clear()
    found = gateway.round()
    assert (found["actual"], found["clock"]) == ([("expired", "")], [])
    assert {d.topic for d in list(gateway.heard.queue) if "/canary/" in d.topic} == {canary_topic("clock-city-2")}


def test_a_new_key_is_published_first_and_its_canary_comes_home_at_once(gateway: Gateway) -> None:
    gateway.round()
    gateway.folder.make(Scope(KeyUse.ACTUAL, "city", CITY, 700), NOON_US)
    assert gateway.look() == WELL
    assert gateway.row("actual-city-2").gateways["gw-0"].home_us > 0
    assert gateway.retained()[speaker_link.KEYS_TOPIC] == gateway.folder.signed_document()


def test_a_revoked_key_is_forgotten_without_a_restart(gateway: Gateway) -> None:
    gateway.round()
    gateway.folder.revoke("exercise-city-1", NOON_US)
    gateway.look()
    with gateway.town.store.read() as read:
        assert "exercise-city-1" not in {row.id for row in read.find(KeyState, Page())}
    assert not gateway.signer.signs("exercise", (CITY,))


def test_without_a_readable_key_document_every_use_is_red_and_it_heals(gateway: Gateway) -> None:
    gateway.round()
    document = gateway.folder.folder / DOCUMENT
    whole = document.read_bytes()
    document.write_bytes(b"")
    assert gateway.look() == {use: [("no_document", "")] for use in WELL}
    document.write_bytes(whole)
    assert gateway.look() == WELL


def test_a_key_document_on_the_broker_that_lacks_the_key_is_what_a_speaker_would_stumble_over(
    gateway: Gateway,
) -> None:
    gateway.round()
    older = KeyFolder(gateway.folder.folder.with_name("older"))
    shutil.copytree(gateway.folder.folder, older.folder)
    older.revoke("actual-city-1", NOON_US)
    gateway.side.publish_keys = lambda: None  # type: ignore[method-assign]
    gateway.somebody.publish(speaker_link.KEYS_TOPIC, older.signed_document(), retain=True)
    wait(lambda: gateway.side.broker_copy(speaker_link.KEYS_TOPIC) == older.signed_document())
    assert gateway.round() == WELL | {"actual": [("refused", "unknown_key")]}
    assert gateway.failures("unknown_key") == 1


def test_a_canary_more_than_five_seconds_in_the_future_is_an_error(gateway: Gateway) -> None:
    gateway.round()
    key = gateway.folder.private(gateway.folder.document().keys[2])
    assert key is not None
    for ahead_s, found in ((5, []), (6, [("ahead", "ahead")])):
        canary = Canary("actual-city-1", KeyUse.ACTUAL, "gw-1", f"{ahead_s}" * 22, NOON_US + ahead_s * SECOND_US)
        gateway.heard.queue.clear()
        gateway.somebody.publish(canary_topic("actual-city-1"), sign_canary(canary, key))
        wait(lambda: any("/canary/" in d.topic for d in list(gateway.heard.queue)))
        assert gateway.look()["actual"] == found
    assert gateway.failures("ahead") == 1


def test_what_anybody_could_send_accuses_no_key_and_is_counted(gateway: Gateway) -> None:
    gateway.round()
    mine = next(d.payload for d in list(gateway.heard.queue) if d.topic == canary_topic("actual-city-1"))
    forged = mine[:-4] + (b"AAAA" if mine[-4:] != b"AAAA" else b"BBBB")
    gateway.round()
    gateway.heard.queue.clear()
    for raw in (b"", b"junk", forged, mine):
        gateway.somebody.publish(canary_topic("actual-city-1"), raw)
    wait(lambda: len([d for d in list(gateway.heard.queue) if "/canary/" in d.topic]) == 4)
    assert gateway.look() == WELL
    reasons = ("empty_payload", "malformed", "bad_signature", "wrong_nonce")
    assert [gateway.failures(reason) for reason in reasons] == [1, 1, 1, 1]


def test_without_the_broker_the_canary_grows_old_and_comes_home_again(gateway: Gateway, mosquitto: Mosquitto) -> None:
    gateway.round()
    mosquitto.stop()
    wait(lambda: not gateway.link.connected)
    gateway.town.clock.advance(91)
    gateway.canaries._try_at_us = 0
    # Its age is told by this process's monotonic clock: the row is as young as the canary is.
    gateway.canaries._known["actual-city-1"].home_us = MonotonicBeside(gateway.town.clock).mono_us() - 91 * SECOND_US
    assert gateway.look()["actual"] == [("late", "")]
    mosquitto.start(LOGINS)
    wait(lambda: gateway.link.connected and gateway.somebody.connected)
    gateway.side.reconcile()
    assert gateway.round() == WELL


def test_a_restart_with_a_broken_file_is_red_from_its_first_step(gateway: Gateway) -> None:
    gateway.round()
    gateway.pem("actual-city-1").write_bytes(b"")
    gateway.signer = KeySigner(gateway.folder, gateway.town.clock.now_us)
    gateway.canaries = gateway.make_canaries(KeyMetrics(CollectorRegistry()))
    assert gateway.look()["actual"] == [("empty", "")]
    assert not gateway.signer.signs("actual", (CITY,))


# The broker's copies of occupied streams


def test_an_occupied_streams_copy_is_confirmed_afresh(gateway: Gateway) -> None:
    assert gateway.copies.compare() == {}
    signed = gateway.on_air()
    assert gateway.copies.compare() == {TOPIC: ""}
    assert gateway.retained()[TOPIC] == signed
    assert gateway.registry.get_sample_value("tocsin_streams_confirmed") == 1


def test_a_copy_that_was_deleted_behind_our_back_is_published_again(gateway: Gateway) -> None:
    signed = gateway.on_air()
    gateway.somebody.publish(TOPIC, b"", retain=True)
    assert TOPIC not in gateway.retained()
    assert gateway.copies.compare() == {TOPIC: "missing"}
    assert gateway.retained()[TOPIC] == signed
    assert gateway.copies.compare() == {TOPIC: ""}


def test_a_copy_that_was_replaced_is_published_again(gateway: Gateway) -> None:
    signed = gateway.on_air()
    gateway.somebody.publish(TOPIC, b"not a manifest", retain=True)
    wait(lambda: gateway.retained().get(TOPIC) == b"not a manifest")
    assert gateway.copies.compare() == {TOPIC: "another"}
    assert gateway.retained()[TOPIC] == signed
    assert gateway.copies.compare() == {TOPIC: ""}


def test_an_older_manifest_of_ours_that_is_put_back_is_replaced_by_the_newest(gateway: Gateway) -> None:
    old = gateway.on_air()
    alert = gateway.said().orders[0].id
    gateway.town.act(alert, Stopped("li", DUTY, "wait"))
    gateway.carry()
    new = gateway.town.get(Stream, TOPIC).signed
    gateway.somebody.publish(TOPIC, old, retain=True)
    wait(lambda: gateway.retained().get(TOPIC) == old)
    assert gateway.copies.compare() == {TOPIC: "another"}
    gateway.carry()
    assert gateway.retained()[TOPIC] == new


def test_what_was_only_seen_to_be_taken_is_not_taken_for_what_the_broker_holds(gateway: Gateway) -> None:
    signed = gateway.on_air()
    gateway.somebody.publish(TOPIC, b"", retain=True)
    wait(lambda: gateway.side.broker_copy(TOPIC) == b"")
    # As if the deletion had never been told.
    gateway.side.seen(TOPIC, signed)
    gateway.side.reconcile()
    assert TOPIC not in gateway.retained()
    assert gateway.copies.compare() == {TOPIC: "missing"}
    assert gateway.retained()[TOPIC] == signed


def test_a_key_document_that_was_deleted_is_published_again(gateway: Gateway) -> None:
    gateway.somebody.publish(speaker_link.KEYS_TOPIC, b"", retain=True)
    assert speaker_link.KEYS_TOPIC not in gateway.retained()
    gateway.copies.compare()
    assert gateway.retained()[speaker_link.KEYS_TOPIC] == gateway.signer.signed_document


def test_a_stream_signed_by_a_key_that_was_revoked_is_signed_anew(gateway: Gateway) -> None:
    gateway.on_air()
    gateway.folder.make(Scope(KeyUse.ACTUAL, "city", CITY, 700), NOON_US)
    gateway.folder.revoke("actual-city-1", NOON_US)
    gateway.look()
    assert gateway.copies.compare() == {TOPIC: "unknown_key"}
    gateway.carry()
    assert gateway.copies.compare() == {TOPIC: ""}


def test_without_the_broker_an_occupied_stream_is_unconfirmed(gateway: Gateway, mosquitto: Mosquitto) -> None:
    gateway.on_air()
    mosquitto.stop()
    wait(lambda: not gateway.link.connected)
    assert gateway.copies.compare() == {TOPIC: "not_connected"}
    assert gateway.registry.get_sample_value("tocsin_streams_unconfirmed") == 1


def test_a_stream_that_waits_for_a_person_is_left_alone(gateway: Gateway) -> None:
    gateway.on_air()
    known = gateway.said()
    newer = replace(known, version=known.version + 60_000, orders=(replace(known.orders[0], id="f" * 32),))
    raw = gateway.signer.sign_manifest(newer, (CITY,))
    gateway.somebody.publish(TOPIC, raw, retain=True)
    wait(lambda: gateway.retained().get(TOPIC) == raw)
    assert gateway.copies.compare() == {}
    assert gateway.retained()[TOPIC] == raw


def test_an_alert_that_no_key_has_signed_is_unconfirmed(gateway: Gateway) -> None:
    gateway.town.on_air()
    assert gateway.copies.compare() == {TOPIC: "not_signed"}
    assert gateway.registry.get_sample_value("tocsin_streams_confirmed") == 0
    assert gateway.registry.get_sample_value("tocsin_streams_unconfirmed") == 1


def test_a_stop_that_waits_to_be_signed_is_unconfirmed_though_the_broker_holds_what_is_stored(gateway: Gateway) -> None:
    signed = gateway.on_air()
    gateway.effects_done()
    assert gateway.copies.compare() == {TOPIC: ""}
    gateway.town.act(gateway.said().orders[0].id, Stopped("li", DUTY, "wait"))
    assert gateway.copies.compare() == {TOPIC: ""}
    gateway.town.clock.advance(6)
    assert gateway.copies.compare() == {TOPIC: "not_published"}
    assert gateway.retained()[TOPIC] == signed
    gateway.carry()
    gateway.effects_done()
    assert gateway.copies.compare() == {TOPIC: ""}
