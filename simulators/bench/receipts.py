"""`tocsin bench receipts`: how fast receipts that wait at the broker become durable rows, beside paho alone.

Both drains take the same waiting messages with the same settings of the same client. Raw counts and acknowledges; ours
is the product's link, intake and store. The product's side is right only when every receipt is one row and the coverage
of every order is what the receipts say, so that is asked each time.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from devices.protocols import speaker_link
from devices.protocols.speaker_link import Receipt, Step, StepKind
from services.dispatcher.adapters.broker import BrokerLogin, gateway_login, hash_secret, new_secret
from services.dispatcher.adapters.intake import SpeakerIntake
from services.dispatcher.adapters.mqtt import KEEPALIVE_S, RECEIVE_MAXIMUM, SESSION_EXPIRY_S, MqttLink
from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.planning import City, Coverage
from services.dispatcher.engine.cities import CityInMemory, import_city
from services.dispatcher.engine.ports import Live
from services.dispatcher.engine.receipts import Counted
from services.dispatcher.processes.children import Mosquitto
from services.dispatcher.processes.cli_migrate import upgrade
from simulators.bench import town
from simulators.bench.plain import Plain
from simulators.bench.result import BenchFailed, median, spread, sync_ms

GATEWAY, FILLER = "gw-0", "bench-filler"
SUBSCRIPTIONS = [(speaker_link.ALL_RECEIPTS, 1)]
JOURNAL = "0192f0c0a1b27c3d8e4f5a6b7c8d9e0f"
WAVES = 3
"""Receipts of one speaker for one order: accepted; ready and playing; finished."""
DRAIN_WITHIN_S = 60.0
QUEUED_BYTES_EACH = 1_024
SEED = 1


@dataclass(frozen=True, slots=True)
class Script:
    """What the speakers will say, as (topic, payload), and what each order's coverage then has to be."""

    speakers: tuple[str, ...]
    said: tuple[tuple[str, bytes], ...]
    coverage: dict[str, Coverage]


def script(speakers: int, receipts: int) -> Script:
    """Orders one after the other, each in three waves over all speakers in an order of its own, cut at `receipts`."""
    names = town.speaker_names(speakers)
    shuffled = random.Random(SEED)
    seqs = dict.fromkeys(names, 0)
    microphones = {name for at, name in enumerate(names) if at % 10 == 0}
    said: list[tuple[str, bytes]] = []
    coverage: dict[str, Coverage] = {}
    while len(said) < receipts:
        order = f"order-{len(coverage) + 1}"
        playing = proved = finished = 0
        for wave in range(WAVES):
            turn = shuffled.sample(names, len(names))[: receipts - len(said)]
            for name in turn:
                seqs[name] += 1
                receipt = Receipt(JOURNAL, seqs[name], order, 1, _steps(wave, name in microphones))
                said.append((speaker_link.receipt_topic(name), speaker_link.encode_receipt(receipt)))
            if wave == 1:
                playing, proved = len(turn), len(microphones.intersection(turn))
            elif wave == 2:
                finished = len(turn)
        coverage[order] = Coverage(
            targeted=speakers, online=speakers, playing=playing, proved=proved, finished=finished, refused=0,
            failed=0, out_of_service=0,
        )  # fmt: skip
    return Script(tuple(names), tuple(said), coverage)


def _steps(wave: int, microphone: bool) -> tuple[Step, ...]:
    at_us = time.time_ns() // 1_000
    evidence: dict[str, int | str] = {"repeat": 1, "of": 3, "source": "audio", "volume": 90}
    if microphone:
        evidence["mic_db"] = 74
    match wave:
        case 0:
            return (Step(StepKind.ACCEPTED, at_us),)
        case 1:
            ready = Step(StepKind.READY, at_us, evidence={"repeat": 1})
            return (ready, Step(StepKind.PLAYING, at_us, evidence=evidence))
        case _:
            return (Step(StepKind.FINISHED, at_us, evidence={**evidence, "repeat": 3, "ms": 14_200}),)


def bench_receipts(folder: Path, speakers: int, receipts: int, rounds: int) -> dict[str, object]:
    """Measure; the figures for the JSON line. `folder` must lie on the disk that is meant. Raises BenchFailed."""
    spoken = script(speakers, receipts)
    gateway_secret, filler_secret = new_secret(), new_secret()
    logins = [
        gateway_login(GATEWAY, hash_secret(gateway_secret)),
        # One connection speaks for every speaker: who filled the queue is not what is measured.
        BrokerLogin.with_secret(FILLER, filler_secret, write=(speaker_link.ALL_RECEIPTS,)),
    ]
    raw_per_s: list[float] = []
    ours_per_s: list[float] = []
    with Mosquitto(folder / "broker", queued_bytes_max=receipts * QUEUED_BYTES_EACH) as mosquitto:
        port = mosquitto.start(logins)
        _open_session(port, gateway_secret)
        for number in range(rounds):
            _fill(port, filler_secret, spoken)
            raw_per_s.append(len(spoken.said) / drain_raw(port, gateway_secret, len(spoken.said)))
            _fill(port, filler_secret, spoken)
            file = folder / f"round-{number}.db"
            ours_per_s.append(len(spoken.said) / drain_ours(port, gateway_secret, spoken, file))
    return {
        "bench": "receipts",
        "speakers": speakers,
        "receipts": len(spoken.said),
        "rounds": rounds,
        "raw_per_s": median(raw_per_s, 0),
        "ours_per_s": median(ours_per_s, 0),
        "ratio": round(median(ours_per_s) / median(raw_per_s), 3),
        "raw_spread": spread(raw_per_s, 0),
        "ours_spread": spread(ours_per_s, 0),
        "sync_ms": sync_ms(folder),
        "coverage": {order: asdict(counts) for order, counts in spoken.coverage.items()},
    }


def _open_session(port: int, secret: str) -> None:
    """Make the session that the broker keeps receipts for while its gateway is away."""
    with Plain(port, GATEWAY, secret, keep_session=True) as plain:
        plain.subscribe([topic for topic, _ in SUBSCRIPTIONS])


def _fill(port: int, secret: str, spoken: Script) -> None:
    """Let the broker queue every receipt for the gateway that is away."""
    with Plain(port, FILLER, secret) as plain:
        plain.publish_all(spoken.said)


def drain_raw(port: int, secret: str, receipts: int) -> float:
    """Seconds until a bare paho client with the product's settings has been given this many messages."""
    drained = threading.Event()
    count = 0

    def on_connect(
        client: Client, userdata: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        client.subscribe([(topic, SubscribeOptions(qos=qos)) for topic, qos in SUBSCRIPTIONS])

    def on_message(client: Client, userdata: object, message: MQTTMessage) -> None:
        nonlocal count
        client.ack(message.mid, message.qos)
        count += 1
        if count == receipts:
            drained.set()

    client = Client(CallbackAPIVersion.VERSION2, GATEWAY, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True)
    client.username_pw_set(GATEWAY, secret)
    client.max_inflight_messages_set(RECEIVE_MAXIMUM)
    client.on_connect, client.on_message = on_connect, on_message
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_EXPIRY_S
    properties.ReceiveMaximum = RECEIVE_MAXIMUM
    started = time.perf_counter()
    client.connect("127.0.0.1", port, KEEPALIVE_S, clean_start=False, properties=properties)
    client.loop_start()
    try:
        if not drained.wait(DRAIN_WITHIN_S):
            raise BenchFailed(f"paho took {count} of {receipts} receipts within {DRAIN_WITHIN_S:g} s.")
        return time.perf_counter() - started
    finally:
        client.disconnect()
        client.loop_stop()


class _Intake:
    """The product's road for receipts, put together as the gateway does it."""

    def __init__(self, port: int, secret: str, store: SqlStore, receipts: int) -> None:
        self._port, self._receipts = port, receipts
        self._stored = self._unknown = 0
        self._done, self._ended = threading.Event(), threading.Event()
        city = CityInMemory()

        def read_city() -> City:
            with store.read() as read:
                return city.get(read)

        self._intake = SpeakerIntake(
            store, lambda speaker: False, lambda speaker, nonce: None, self._counted, read_city
        )
        self._link = MqttLink(GATEWAY, secret, SUBSCRIPTIONS, self._intake.put)
        self._thread = threading.Thread(target=self._run, name="receipts", daemon=True)

    def drain(self) -> float:
        """Seconds until every receipt is a durable row."""
        started = time.perf_counter()
        self._thread.start()
        self._link.start("127.0.0.1", self._port)
        try:
            if not self._done.wait(DRAIN_WITHIN_S):
                raise BenchFailed(f"{self._stored} of {self._receipts} receipts were stored in {DRAIN_WITHIN_S:g} s.")
            return time.perf_counter() - started
        finally:
            self._ended.set()
            self._thread.join()
            # The last batch's acknowledgements leave before the link does.
            self._link.stop()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._intake.run(0.1)

    def _counted(self, counted: Counted) -> None:
        """Called after each commit."""
        self._stored += counted.stored
        self._unknown += counted.unknown
        if self._stored + self._unknown >= self._receipts:
            self._done.set()


def drain_ours(port: int, secret: str, spoken: Script, file: Path) -> float:
    """Seconds until the product holds every receipt as a durable row, in a new database. Raises BenchFailed when a row
    or a count is not what was sent."""
    url = f"sqlite:///{file}"
    upgrade(url)
    store = SqlStore(url)
    try:
        _expect(store, spoken)
        took_s = _Intake(port, secret, store, len(spoken.said)).drain()
        with store.read() as read:
            found = {order: read.coverage(order) for order in spoken.coverage}
            unread = len(read.unread())
    finally:
        store.close()
    if found != spoken.coverage or unread:
        raise BenchFailed(f"The coverage is {found}, {unread} are unread, and what was sent is {spoken.coverage}.")
    rows = _rows(file)
    if rows != len(spoken.said):
        raise BenchFailed(f"{rows} rows were stored for {len(spoken.said)} receipts.")
    return took_s


def _expect(store: SqlStore, spoken: Script) -> None:
    """The city, every order's expected set, and every speaker online."""
    with store.write() as tx:
        import_city(tx, town.settings(), town.rows(len(spoken.speakers)), "bench")
        for order in spoken.coverage:
            tx.plan_expected(order, spoken.speakers)
        now_us = tx.now_us()
        tx.heard([Live(name, True, 1, JOURNAL, 0, 1, 1, "", 90, "mains", now_us) for name in spoken.speakers])


def _rows(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT count(*) FROM receipt").fetchone()[0])
