"""Everything that is sent validates against our own AsyncAPI document: made-up documents, and a simulated city's."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from devices.protocols import asking
from devices.protocols import speaker_link as link
from devices.protocols.asking import Ask, AskKind, SelfTest, SpeakerAnswer
from devices.protocols.documents import INTEGER_MAX, Audio, OrderState
from devices.protocols.jws import SigningKey
from devices.protocols.selector import Circle, Polygon, Selector
from devices.protocols.speaker_link import (
    HelloAnswer,
    KeyDocument,
    KeyUse,
    LinkRefused,
    Manifest,
    Order,
    OrderClass,
    Phase,
    Receipt,
    SpeakerConfig,
    SpeakerState,
    Step,
    StepKind,
)
from simulators.faults import Fault
from simulators.world import Run, World
from tests.conformance.published import channel_of, fault

some = settings(max_examples=settings().max_examples // 3)
"""Documents of this size take their time to be made up."""
KEY = SigningKey.from_seed("key-1", b"k" * 32)
names = st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)
ids = st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True)
hashes = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
languages = st.from_regex(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}", fullmatch=True)
numbers = st.integers(0, INTEGER_MAX)
counted = st.integers(1, INTEGER_MAX)
words = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n"), min_size=1, max_size=40)
uses = st.sampled_from((KeyUse.ACTUAL, KeyUse.EXERCISE))
bases = st.one_of(st.just(""), st.from_regex(r"https?://[a-z.]{1,20}(:[0-9]{1,5})?(/[!-.0-~]{1,9})?", fullmatch=True))
positions = st.tuples(st.integers(-900_000_000, 900_000_000), st.integers(-1_800_000_000, 1_800_000_000))
recordings = st.builds(
    Audio, languages, hashes, st.sampled_from(("opus", "wav")), st.integers(1, 3_600_000), st.integers(1, 33_554_432)
)
shapes = st.one_of(
    st.builds(Polygon, st.lists(positions, min_size=3, max_size=9).map(tuple)),
    st.builds(lambda at, radius: Circle(at[0], at[1], radius), positions, st.integers(1, 500_000)),
)


def several(form: st.SearchStrategy[object], most: int = 3, least: int = 0) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(form, min_size=least, max_size=most, unique=True).map(tuple)


maybe = st.one_of(st.none(), several(names))
selectors = st.builds(
    Selector, maybe, maybe, maybe, maybe, st.one_of(st.none(), st.lists(shapes, max_size=3).map(tuple))
)


@st.composite
def orders(draw: st.DrawFn, status: str) -> Order:
    phase = draw(st.sampled_from(Phase))
    start_at = draw(st.integers(0, INTEGER_MAX - 1))
    return Order(
        id=draw(ids), rev=draw(counted), status=status, order_class=draw(st.sampled_from(OrderClass)),
        level=draw(st.integers(1, 4)), event_code=draw(st.from_regex(r"[A-Za-z0-9._:-]{1,32}", fullmatch=True)),
        phase=phase, texts=draw(st.dictionaries(languages, words, min_size=1, max_size=3)),
        audio=draw(several(recordings, 2)), selector=draw(selectors),  # type: ignore[arg-type]
        volume=draw(st.one_of(st.integers(1, 100), st.sampled_from(("mute", "unchanged")))),
        repeat=draw(st.integers(1, 10_000)), gap_s=draw(st.integers(0, 3_600)), start_at=start_at,
        expires=draw(st.integers(start_at + 1, INTEGER_MAX)), state=draw(st.sampled_from(OrderState)),
        corrects=None if phase is Phase.ALERT else draw(ids), supersedes=draw(several(ids)),  # type: ignore[arg-type]
        also_unstarted=draw(st.booleans()),
        origin=draw(st.one_of(st.none(), st.dictionaries(names, words, min_size=1, max_size=2))),
    )  # fmt: skip


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    use = draw(uses)
    topic = draw(st.sampled_from((link.manifest_topic, link.speaker_manifest_topic)))(draw(names), use, draw(names))
    listed = draw(st.lists(orders(str(use)), max_size=3, unique_by=lambda order: order.id))
    issued = draw(numbers)
    return Manifest(
        topic, draw(counted), issued, draw(st.integers(issued, INTEGER_MAX)),
        draw(st.from_regex(r"[A-Za-z0-9_:.-]{0,128}", fullmatch=True)), tuple(listed),
        not listed and draw(st.booleans()), draw(numbers), draw(bases),
    )  # fmt: skip


def published(topic: str, document: KeyDocument | Manifest | SpeakerConfig | HelloAnswer) -> str:
    """The fault of a document as our encoder signs it; what it refuses to sign is never sent."""
    try:
        raw = link.sign(document, KEY)
    except LinkRefused:
        return ""
    return fault(topic, raw)


@some
@given(manifests())
def test_any_manifest_that_we_can_sign_is_as_published(manifest: Manifest) -> None:
    assert published(manifest.stream, manifest) == ""


@some
@given(st.data())
def test_any_config_that_we_can_sign_is_as_published(data: st.DataObject) -> None:
    chain = data.draw(several(names, 6, 2))
    at = data.draw(positions)
    small = st.integers(0, 3_600)
    config = SpeakerConfig(
        data.draw(names), data.draw(numbers), chain[1:], chain[:1], data.draw(ids),  # type: ignore[arg-type]
        data.draw(st.from_regex(r"[a-z0-9_-]{1,32}", fullmatch=True)), *at, data.draw(st.integers(1, 100)),
        data.draw(small), data.draw(small), data.draw(st.integers(0, 2_000)), data.draw(st.integers(1, 3_600)),
        data.draw(several(recordings, 2)), data.draw(bases),  # type: ignore[arg-type]
    )  # fmt: skip
    assert published(link.config_topic(config.speaker), config) == ""


@some
@given(st.data())
def test_any_key_document_and_hello_answer_that_we_can_sign_is_as_published(data: st.DataObject) -> None:
    keys = [
        SigningKey.from_seed(kid, b"s" * 32).public_link_key(
            data.draw(st.sampled_from([use for use in KeyUse if use is not KeyUse.ROOT])), data.draw(names),
            data.draw(names), data.draw(st.sets(st.integers(1, 4))), data.draw(numbers),
        )
        for kid in data.draw(st.lists(names, max_size=4, unique=True))
    ]  # fmt: skip
    root = KEY.public_link_key(KeyUse.ROOT, "city", "a", (), 1) if data.draw(st.booleans()) else None
    document = KeyDocument(data.draw(numbers), data.draw(numbers), tuple(keys), root)
    assert published(link.KEYS_TOPIC, document) == ""
    streams = {manifest.stream: manifest.version for manifest in data.draw(st.lists(manifests(), max_size=2))}
    nonce = data.draw(st.from_regex(r"[A-Za-z0-9_-]{16,64}", fullmatch=True))
    assert published(link.hello_answer_topic("s"), HelloAnswer(nonce, data.draw(numbers), streams)) == ""
    assert fault(link.hello_topic("s"), link.encode_hello(nonce)) == ""


plain_words = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=64)
evidence = st.dictionaries(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,31}", fullmatch=True),
    st.one_of(st.integers(-INTEGER_MAX, INTEGER_MAX), plain_words), max_size=4,
)  # fmt: skip
steps = st.builds(Step, st.sampled_from(StepKind), numbers, plain_words, st.one_of(st.none(), evidence))


@some
@given(st.data())
def test_whatever_a_speaker_can_say_is_as_published(data: st.DataObject) -> None:
    told = st.lists(steps, min_size=1, max_size=3).map(tuple)
    order = Receipt(data.draw(ids), data.draw(counted), data.draw(ids), data.draw(numbers), data.draw(told))
    document = Receipt(data.draw(ids), data.draw(counted), "", 0, data.draw(told), link.KEYS_TOPIC, data.draw(numbers))
    for receipt in (order, document):
        assert fault(link.receipt_topic("s"), link.encode_receipt(receipt)) == ""
    streams = {manifest.stream: manifest.version for manifest in data.draw(st.lists(manifests(), max_size=2))}
    state = SpeakerState(
        data.draw(st.booleans()), data.draw(numbers), streams, data.draw(numbers), data.draw(numbers), data.draw(ids),
        data.draw(numbers), data.draw(st.integers(0, 100)), data.draw(st.sampled_from(("mains", "battery", "unknown"))),
        data.draw(several(hashes)), "chain:1",  # type: ignore[arg-type]
    )  # fmt: skip
    assert fault(link.state_topic("s"), link.encode_state(state)) == ""


@some
@given(st.lists(counted, max_size=500, unique=True), st.booleans(), ids)
def test_whatever_is_asked_and_answered_is_as_published(missing: list[int], tested: bool, journal: str) -> None:
    ask = Ask(AskKind.SELF_TEST, correlation="c") if tested else Ask(AskKind.RECEIPTS, tuple(missing))
    assert fault(link.ask_topic("s"), asking.encode_ask(ask)) == ""
    half = len(missing) // 2
    for answer in (
        SpeakerAnswer(journal, tuple(missing[:half]), tuple(missing[half:])),
        SpeakerAnswer(journal, refused="unknown_ask", correlation="c"),
        SpeakerAnswer(journal, found=SelfTest(80, "mains", 3, "ok", "verified", 4)),
    ):
        assert fault(link.answer_topic("s"), asking.encode_answer(answer)) == ""


class Listening(World):
    """A simulated city in which every message that its broker takes is held against what is published."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.channels: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self._checked: set[bytes] = set()

    def _on_broker(self, topic: str, payload: bytes, retain: bool) -> None:
        super()._on_broker(topic, payload, retain)
        channel = channel_of(topic)
        if channel and payload and payload not in self._checked:
            self._checked.add(payload)
            self.channels[channel] += 1
            if wrong := fault(topic, payload):
                self.wrong[f"{channel}: {wrong}"] += 1


def test_every_message_of_a_simulated_city_is_as_published() -> None:
    """Without the attacker, who alone sends what is not as published."""
    world = Listening(Run(11, tuple(kind for kind in Fault if kind is not Fault.ATTACK), 900, 300))
    world.run()
    assert world.wrong == Counter()
    assert set(world.channels) >= {
        "keys", "config", "areaManifest", "state", "receipt", "hello", "helloAnswer", "ask", "answer",
    }  # fmt: skip
