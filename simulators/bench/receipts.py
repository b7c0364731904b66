"""`tocsin bench receipts`: how fast receipts that wait at the broker become durable rows, beside paho alone.

Both drains take the same waiting messages under the same client id with the same settings. Raw is paho, which counts
and acknowledges; ours is the product's inlet, intake and store. The product's side is right only when every receipt is
one row and the coverage of every order is what the receipts say, so that is asked each time.
"""

from __future__ import annotations

import gc
import random
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
from devices.protocols.documents import OrderClass, Phase
from devices.protocols.selector import Selector
from devices.protocols.speaker_link import Receipt, Step, StepKind
from services.dispatcher.adapters.broker import BrokerLogin, hash_secret, new_secret
from services.dispatcher.adapters.intake import SpeakerIntake
from services.dispatcher.adapters.mqtt import KEEPALIVE_S, RECEIVE_MAXIMUM, SESSION_EXPIRY_S
from services.dispatcher.adapters.mqtt_inlet import MqttInlet
from services.dispatcher.adapters.store import SqlStore, open_engine
from services.dispatcher.domain.broadcasts import Broadcast, BroadcastState
from services.dispatcher.domain.planning import City, Coverage
from services.dispatcher.domain.signals import Use
from services.dispatcher.engine.air.receipts import Counted
from services.dispatcher.engine.cities import CityInMemory, import_city
from services.dispatcher.engine.rows import Live
from services.dispatcher.processes.children import Mosquitto
from services.dispatcher.processes.enrolment import intake_account, intake_login
from simulators.bench import town
from simulators.bench.database import fresh_database
from simulators.bench.plain import Plain
from simulators.bench.result import BenchFailed, median, spread, sync_ms

GATEWAY, FILLER = intake_account("gw-0"), "bench-filler"
TOPICS = (speaker_link.ALL_RECEIPTS,)
JOURNAL = "0192f0c0a1b27c3d8e4f5a6b7c8d9e0f"
WAVES = 3
"""Receipts of one speaker for one order: accepted; ready and playing; finished."""
DRAIN_WITHIN_S = 60.0
ROUNDS_WITHIN_S = 150.0
QUEUED_BYTES_EACH = 1_024
SEED = 1


@dataclass(frozen=True, slots=True)
class Script:
    """What the speakers will say, as (topic, payload), and what each order's coverage then has to be."""

    speakers: tuple[str, ...]
    said: tuple[tuple[str, bytes], ...]
    coverage: dict[str, Coverage]


@dataclass(frozen=True, slots=True)
class Drained:
    """How long a drain took, and how much processor time this program spent on it."""

    took_s: float
    cpu_s: float


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


def bench_receipts(folder: Path, speakers: int, receipts: int, rounds: int, database: str = "") -> dict[str, object]:
    """Measure; the figures for the JSON line. `folder` must lie on the disk that is meant. Raises BenchFailed."""
    spoken = script(speakers, receipts)
    gateway_secret, filler_secret = new_secret(), new_secret()
    logins = [
        intake_login(GATEWAY, hash_secret(gateway_secret)),
        # One connection speaks for every speaker: who filled the queue is not what is measured.
        BrokerLogin.with_secret(FILLER, filler_secret, write=(speaker_link.ALL_RECEIPTS,)),
    ]
    raw: list[Drained] = []
    ours: list[Drained] = []
    # What this program holds is not what is measured: Python need not look through it again and again.
    gc.collect()
    gc.freeze()
    with Mosquitto(folder / "broker", queued_bytes_max=receipts * QUEUED_BYTES_EACH) as mosquitto:
        port = mosquitto.start(logins)
        _open_session(port, gateway_secret)
        give_up = time.monotonic() + ROUNDS_WITHIN_S
        while len(raw) < rounds and (not raw or time.monotonic() < give_up):
            _fill(port, filler_secret, spoken)
            raw.append(drain_raw(port, gateway_secret, len(spoken.said)))
            _fill(port, filler_secret, spoken)
            ours.append(drain_ours(port, gateway_secret, spoken, folder / f"round-{len(raw)}.db", database))
    gc.unfreeze()
    return {
        "bench": "receipts",
        "speakers": speakers,
        "receipts": len(spoken.said),
        "rounds": len(raw),
        **_figures("raw", raw, len(spoken.said)),
        **_figures("ours", ours, len(spoken.said)),
        "ratio": round(median([d.took_s for d in raw]) / median([d.took_s for d in ours]), 3),
        "sync_ms": sync_ms(folder),
        "coverage": {order: asdict(counts) for order, counts in spoken.coverage.items()},
    }


def _figures(road: str, drained: list[Drained], receipts: int) -> dict[str, object]:
    per_s = [receipts / d.took_s for d in drained]
    return {
        f"{road}_per_s": median(per_s, 0),
        f"{road}_spread": spread(per_s, 0),
        f"{road}_cpu_us_each": median([d.cpu_s * 1e6 / receipts for d in drained], 1),
    }


def _open_session(port: int, secret: str) -> None:
    """Make the session that the broker keeps receipts for while its gateway is away."""
    with Plain(port, GATEWAY, secret, keep_session=True) as plain:
        plain.subscribe(TOPICS)


def _fill(port: int, secret: str, spoken: Script) -> None:
    """Let the broker queue every receipt for the gateway that is away."""
    with Plain(port, FILLER, secret) as plain:
        plain.publish_all(spoken.said)


def drain_raw(port: int, secret: str, receipts: int) -> Drained:
    """Until a bare paho client with the product's settings has been given this many messages."""
    drained = threading.Event()
    count = 0

    def on_connect(
        client: Client, userdata: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in TOPICS])

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
    started = _Started()
    client.connect("127.0.0.1", port, KEEPALIVE_S, clean_start=False, properties=properties)
    client.loop_start()
    try:
        if not drained.wait(DRAIN_WITHIN_S):
            raise BenchFailed(f"paho took {count} of {receipts} receipts within {DRAIN_WITHIN_S:g} s.")
        return started.drained()
    finally:
        client.disconnect()
        client.loop_stop()


class _Started:
    """The clocks at the start of a drain."""

    def __init__(self) -> None:
        self._at_s, self._cpu_s = time.perf_counter(), time.process_time()

    def drained(self) -> Drained:
        return Drained(time.perf_counter() - self._at_s, time.process_time() - self._cpu_s)


class _Intake:
    """The product's road for receipts, put together as the gateway does it."""

    def __init__(self, port: int, secret: str, store: SqlStore, receipts: int) -> None:
        self._receipts = receipts
        self._stored = self._unknown = 0
        self._done, self._ended = threading.Event(), threading.Event()
        city = CityInMemory()

        def read_city() -> City:
            with store.read() as read:
                return city.get(read)

        self._inlet = MqttInlet(GATEWAY, secret, TOPICS, "127.0.0.1", port)
        self._intake = SpeakerIntake(
            store, self._inlet, read_city, lambda speaker, nonce: None, store.clock.now_us, self._counted
        )
        self._thread = threading.Thread(target=self._run, name="receipts", daemon=True)

    def drain(self) -> Drained:
        """Until every receipt is a durable row."""
        started = _Started()
        self._thread.start()
        try:
            if not self._done.wait(DRAIN_WITHIN_S):
                raise BenchFailed(f"{self._stored} of {self._receipts} receipts were stored in {DRAIN_WITHIN_S:g} s.")
            return started.drained()
        finally:
            self._ended.set()
            self._thread.join()
            # The last batch has been acknowledged by now.
            self._inlet.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._intake.run(0.1)

    def _counted(self, counted: Counted) -> None:
        """Called after each commit."""
        self._stored += counted.stored
        self._unknown += counted.unknown
        if self._stored + self._unknown >= self._receipts:
            self._done.set()


def drain_ours(port: int, secret: str, spoken: Script, file: Path, database: str = "") -> Drained:
    """Until the product holds every receipt as a durable row, in a new database. Raises BenchFailed when a row
    or a count is not what was sent."""
    with fresh_database(file, database) as url, closing(SqlStore(url)) as store:
        _expect(store, spoken)
        drained = _Intake(port, secret, store, len(spoken.said)).drain()
        with store.read() as read:
            found = {order: read.coverage(order) for order in spoken.coverage}
            unread = len(read.unread())
        rows = _rows(url)
    if found != spoken.coverage or unread:
        raise BenchFailed(f"The coverage is {found}, {unread} are unread, and what was sent is {spoken.coverage}.")
    if rows != len(spoken.said):
        raise BenchFailed(f"{rows} rows were stored for {len(spoken.said)} receipts.")
    return drained


def _expect(store: SqlStore, spoken: Script) -> None:
    """The city, every order's expected set, and every speaker online."""
    with store.write() as tx:
        import_city(tx, town.settings(), town.rows(len(spoken.speakers)), "bench")
        now_us = tx.now_us()
        for order in spoken.coverage:
            tx.put(_on_air(order, len(spoken.speakers), now_us))
            tx.plan_expected(order, spoken.speakers)
        tx.heard([Live(name, True, 1, JOURNAL, 0, 1, 1, "", 90, "mains", now_us) for name in spoken.speakers])


def _on_air(order: str, speakers: int, now_us: int) -> Broadcast:
    """An order that was on air all the while that the speakers spoke of it."""
    hour_us = 3_600_000_000
    return Broadcast(
        id=order, incident="", use=Use.ACTUAL, phase=Phase.ALERT, original="", playbook="", state=BroadcastState.ON_AIR,
        hazard="rainstorm", hazard_names={}, event_code="11B03", level=1, order_class=OrderClass.EMERGENCY,
        place_names={}, texts={"zh": "请到高处避险。"}, selector=Selector(), stream="", speakers=speakers, plan="",
        verdict="confirmed", volume=90, repeat=WAVES, gap_s=10, valid_s=7_200, prove_within_s=120, people_needed=2,
        rev=1, start_at_us=now_us - hour_us, expires_us=now_us + hour_us,
    )  # fmt: skip


def _rows(url: str) -> int:
    database = open_engine(url)
    try:
        with database.connect() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM receipt").scalar_one())
    finally:
        database.dispose()
