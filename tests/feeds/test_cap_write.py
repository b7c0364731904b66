"""Strict CAP 1.2 for publication: what is written is read again as it was, and what is not right is not written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.protocols.documents import OrderClass, Phase
from devices.protocols.selector import Circle, Polygon, Selector
from services.dispatcher.domain.broadcasts import Broadcast, BroadcastState
from services.dispatcher.domain.signals import Feed, SignalKind, Use
from services.dispatcher.feeds.cap import read, reading
from services.dispatcher.feeds.cap_message import CapArea, CapInfo, CapMessage, CapResource
from services.dispatcher.feeds.cap_write import (
    NotPublishable,
    message_of_broadcast,
    message_of_signal,
    reference_to,
    write,
)

WHOLE = (Path(__file__).parents[1] / "data" / "cap" / "whole.xml").read_bytes()
FEED = Feed("met", "", "", "cap", Use.ACTUAL, "", "")
SENT_US = 1_782_864_000_000_000
HOUR_US = 3_600_000_000
RING = ((389_000_000, 1_216_000_000), (389_500_000, 1_216_000_000), (389_500_001, 1_217_000_007))
BROADCAST = Broadcast(
    id="b-1",
    incident="i-1",
    use=Use.ACTUAL,
    phase=Phase.ALERT,
    original="",
    playbook="rain",
    state=BroadcastState.ON_AIR,
    hazard="rainstorm",
    hazard_names={"zh": "暴雨", "en": "Rainstorm"},
    event_code="11B03",
    level=2,
    order_class=OrderClass.EMERGENCY,
    place_names={"zh": "港口区", "en": "Harbour district"},
    texts={"zh": "请立即转移到高处。", "en": "Go to high ground now."},
    selector=Selector(areas=("210202000000",), shapes=(Polygon(RING), Circle(389_200_000, 1_216_500_000, 2_500))),
    stream="s",
    speakers=7,
    plan="p",
    verdict="confirmed",
    volume=80,
    repeat=2,
    gap_s=5,
    valid_s=3_600,
    prove_within_s=60,
    people_needed=2,
    expires_us=SENT_US + HOUR_US + 999_999,
)


def whole() -> CapMessage:
    message = read(WHOLE).message
    assert message is not None
    return message


def refused(message: CapMessage) -> list[str]:
    with pytest.raises(NotPublishable) as caught:
        write(message)
    return [problem.code for problem in caught.value.problems]


def with_info(**changes: object) -> CapMessage:
    (info,) = whole().infos
    return whole()._replace(infos=(info._replace(**changes),))  # type: ignore[arg-type]


def test_a_whole_message_is_written_and_read_again() -> None:
    raw = write(whole())
    assert raw.startswith(
        b"<?xml version='1.0' encoding='UTF-8'?>\n<alert xmlns=\"urn:oasis:names:tc:emergency:cap:1.2\">"
    )
    assert read(raw).message == whole()
    assert write(read(raw).messages[0]) == raw


def test_a_broadcast_is_published_in_every_language_of_its_texts() -> None:
    message = message_of_broadcast(BROADCAST, "ops.example.cn", "b-1", SENT_US + 123)
    area = CapArea(
        "港口区",
        (Polygon(RING),),
        (Circle(389_200_000, 1_216_500_000, 2_500),),
        (("CPEAS Geographic Code", "210202000000"),),
    )
    chinese = CapInfo(
        language="zh-CN",
        categories=("Met",),
        event="暴雨",
        responses=("Execute",),
        urgency="Immediate",
        severity="Severe",
        certainty="Observed",
        event_codes=(("GB/T 35561", "11B03"),),
        expires_us=SENT_US + HOUR_US,
        description="请立即转移到高处。",
        areas=(area,),
    )
    english = chinese._replace(
        language="en-US",
        event="Rainstorm",
        description="Go to high ground now.",
        areas=(area._replace(name="Harbour district"),),
    )
    assert message == CapMessage(
        version="1.2",
        identifier="b-1",
        sender="ops.example.cn",
        sent="2026-07-01T08:00:00+08:00",
        sent_us=SENT_US,
        status="Actual",
        msg_type="Alert",
        scope="Public",
        infos=(chinese, english),
    )
    assert read(write(message)).message == message


def test_an_exercise_is_published_as_one() -> None:
    message = message_of_broadcast(replace(BROADCAST, use=Use.EXERCISE), "ops.example.cn", "b-1", SENT_US)
    assert message.status == "Exercise"
    assert b"<status>Exercise</status>" in write(message)


@pytest.mark.parametrize(("phase", "kind"), [(Phase.CORRECTION, "Update"), (Phase.ALL_CLEAR, "Cancel")])
def test_a_correction_and_an_all_clear_name_their_original(phase: Phase, kind: str) -> None:
    original = message_of_broadcast(BROADCAST, "ops.example.cn", "b-1", SENT_US)
    later = replace(BROADCAST, phase=phase)
    message = message_of_broadcast(later, "ops.example.cn", "b-2", SENT_US + HOUR_US, reference_to(original))
    assert (message.msg_type, [reference.text for reference in message.references]) == (
        kind,
        ["ops.example.cn,b-1,2026-07-01T08:00:00+08:00"],
    )
    assert read(write(message)).message == message
    assert "references_missing" in refused(message._replace(references=()))


def test_a_signal_is_published_as_what_it_says() -> None:
    (signal,) = reading(WHOLE, FEED, SENT_US).signals
    message = message_of_signal(signal, "ops.example.cn", "s-1", SENT_US, "示例市")
    (again,) = reading(write(message), FEED, SENT_US).signals
    own = {"key", "device", "description"}
    same = {name: getattr(signal, name) for name in type(signal).__dataclass_fields__ if name not in own}
    assert {name: getattr(again, name) for name in same} == same


def test_information_is_not_published_as_an_alert() -> None:
    (signal,) = reading(WHOLE, FEED, SENT_US).signals
    with pytest.raises(NotPublishable):
        message_of_signal(replace(signal, kind=SignalKind.INFO), "ops.example.cn", "s-1", SENT_US, "示例市")


@pytest.mark.parametrize(
    ("message", "codes"),
    [
        (whole()._replace(version="1.1"), ["not_written"]),
        (whole()._replace(signed=True), ["not_written"]),
        (with_info(resources=(CapResource("x", "a/b", "", True),)), ["not_written"]),
        (whole()._replace(identifier="a b"), ["id_characters"]),
        (whole()._replace(identifier=""), ["missing"]),
        (whole()._replace(sent="2026-07-01T08:00:00Z"), ["time_malformed"]),
        (whole()._replace(sent_us=SENT_US + 1_000_000), ["not_the_same"]),
        (whole()._replace(status="Real"), ["value_unknown"]),
        (whole()._replace(msg_type="Cancel"), ["references_missing"]),
        (with_info(severity="High"), ["value_unknown"]),
        (with_info(headline=" 暴雨"), ["not_the_same"]),
        (with_info(headline="暴雨\x00"), ["text_not_xml"]),
        (with_info(headline="<b>暴雨</b>"), ["html_in_text"]),
        (with_info(expires_us=SENT_US + 1), ["text_not_xml"]),
        (with_info(language="中文"), ["language_malformed"]),
        (with_info(areas=()), ["area_missing"]),
        (with_info(areas=(CapArea("x", (Polygon(RING[:2]),)),)), ["polygon_points"]),
        (with_info(areas=(CapArea("x", (), (Circle(0, 0, 0),)),)), ["circle_radius_zero"]),
    ],
)
def test_what_is_not_right_is_not_written(message: CapMessage, codes: list[str]) -> None:
    assert refused(message) == codes


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), exclude_characters="<&"), min_size=1)
POINTS = st.tuples(st.integers(-900_000_000, 900_000_000), st.integers(-800_000_000, 800_000_000))


@given(TEXTS, st.lists(POINTS, min_size=3, max_size=8), st.integers(1, 20_040_000))
def test_every_text_and_place_comes_back(text: str, ring: list[tuple[int, int]], radius_m: int) -> None:
    area = CapArea(text, (Polygon(tuple(ring)),), (Circle(*ring[0], radius_m),), (("x", text),))
    message = with_info(headline=text, description=text, areas=(area,))
    try:
        raw = write(message)
    except NotPublishable as refusal:
        assert {problem.code for problem in refusal.problems} <= {"text_not_xml", "circle_over_meridian"}
    else:
        assert read(raw).message == message
