"""EBD packets as they leave here: exact, and never better than what was counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.feeds.ebd_ids import Ebdid, Ebrid, Ebrid18, parse_ebrid
from services.dispatcher.feeds.ebd_message import (
    Body,
    BrdState,
    ConnectionCheck,
    EbdCoverage,
    EbdType,
    Head,
    Packet,
    ResourceBroadcast,
    Response,
    StateRequest,
    StateResponse,
    SystemBroadcast,
)
from services.dispatcher.feeds.ebd_read import read_packet
from services.dispatcher.feeds.ebd_write import NotWritable, brd_state, coverage_rate, write_packet
from tests.feeds.ebd_packets import EBDID, EBMID, OURS, PLATFORM, SENT_US

HEAD = Head(
    str(Ebdid("10", parse_ebrid(OURS), 7)),
    EbdType.EBD_RESPONSE,
    OURS,
    SENT_US,
    PLATFORM,
    "http://here.example.cn",
    EBDID,
)
STATE = StateResponse(
    EBMID,
    SENT_US,
    BrdState.FAILED,
    "部分终端未播发",
    EbdCoverage(985_000, ("210202000000", "210203000000"), (1, 4, 4, 118)),
    (
        ResourceBroadcast(
            OURS,
            (
                SystemBroadcast(
                    SENT_US, "(1,2,3)", SENT_US, SENT_US + 60_000_000, "http://here.example.cn/a", 3, "播发成功"
                ),
            ),
        ),
    ),
)
SECONDS_US = st.integers(int(datetime(1970, 1, 2, tzinfo=UTC).timestamp()), 4_102_444_800).map(lambda s: s * 1_000_000)
WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn"), exclude_characters="\ufffe\uffff"), min_size=1)
PLAIN = WORDS.map(lambda text: text.strip()[:200]).filter(bool)
NEW_IDS = st.from_regex(r"[1-6][0-9]{22}", fullmatch=True)
OLD_IDS = st.from_regex(r"[0-9]{18}", fullmatch=True)
EBRIDS = st.one_of(NEW_IDS, OLD_IDS).map(parse_ebrid)


def head_of(type: EbdType, source: Ebrid, destination: Ebrid, seq: int, time_us: int) -> Head:
    heartbeat = type is EbdType.CONNECTION_CHECK
    id = Ebdid("01" if heartbeat else "10", source, 0 if heartbeat else seq)
    return Head(str(id), type, str(source), time_us, str(destination))


def written(packet: Packet) -> Packet:
    found = read_packet(write_packet(packet))
    assert found.problems == ()
    assert found.packet is not None
    return found.packet


def refused(type: EbdType, body: Body, head: Head = HEAD) -> str:
    with pytest.raises(NotWritable) as cause:
        write_packet(Packet(replace(head, type=type), body))
    assert cause.value.code == "ebd_not_writable"
    return cause.value.detail


def test_an_answer_is_written_in_the_order_of_the_standard() -> None:
    assert write_packet(Packet(HEAD, Response(1, "接收解析及校验成功"))).decode() == (
        "<?xml version='1.0' encoding='UTF-8'?>\n"
        '<EBD xmlns:xs="http://www.w3.org/2001/XMLSchema"><EBDVersion>1.0</EBDVersion>'
        f"<EBDID>10{OURS}0000000000000007</EBDID><EBDType>EBDResponse</EBDType>"
        f"<SRC><EBRID>{OURS}</EBRID><URL>http://here.example.cn</URL></SRC><DEST><EBRID>{PLATFORM}</EBRID></DEST>"
        f"<EBDTime>2026-07-01 08:00:00</EBDTime><RelatedEBD><EBDID>{EBDID}</EBDID></RelatedEBD>"
        "<EBDResponse><ResultCode>1</ResultCode><ResultDesc>接收解析及校验成功</ResultDesc></EBDResponse></EBD>"
    )


@given(EBRIDS, EBRIDS, st.integers(1, 10**16 - 1), SECONDS_US, st.integers(0, 5), PLAIN)
def test_an_answer_that_is_written_is_read_back(
    source: Ebrid, destination: Ebrid, seq: int, time_us: int, code: int, words: str
) -> None:
    packet = Packet(head_of(EbdType.EBD_RESPONSE, source, destination, seq, time_us), Response(code, words))
    assert written(packet) == packet


@given(EBRIDS, SECONDS_US, SECONDS_US)
def test_a_heartbeat_that_is_written_is_read_back(source: Ebrid, time_us: int, report_us: int) -> None:
    packet = Packet(head_of(EbdType.CONNECTION_CHECK, source, source, 0, time_us), ConnectionCheck(report_us))
    assert written(packet) == packet


@given(
    st.integers(1, 10_000).flatmap(lambda targeted: st.tuples(st.just(targeted), st.integers(0, targeted))),
    SECONDS_US,
    PLAIN,
    st.lists(st.from_regex(r"[1-8][0-9]{11}", fullmatch=True), min_size=1, max_size=5, unique=True),
)
def test_a_state_that_is_written_is_read_back(
    counts: tuple[int, int], time_us: int, words: str, areas: list[str]
) -> None:
    targeted, played = counts
    state = brd_state(targeted=targeted, played=played, start_us=time_us, now_us=time_us, over=True)
    coverage = EbdCoverage(coverage_rate(targeted, played), tuple(areas))
    body = replace(STATE, report_us=time_us, state=int(state), state_words=words, coverage=coverage)
    packet = Packet(replace(HEAD, type=EbdType.EBM_STATE_RESPONSE), body)
    assert written(packet) == packet
    assert (coverage.rate_ppm == 1_000_000) == (played == targeted) == (state is BrdState.SUCCEEDED)


def test_only_an_order_that_reached_everybody_succeeded() -> None:
    def state(played: int, now_us: int = 0, **more: bool) -> BrdState:
        return brd_state(targeted=100, played=played, start_us=0, now_us=now_us, **more)

    assert state(0, -1) is BrdState.WAITING
    assert state(100) is BrdState.PLAYING
    assert state(100, over=True) is BrdState.SUCCEEDED
    assert state(99, over=True) is BrdState.FAILED
    assert state(100, over=True, cancelled=True) is BrdState.CANCELLED
    assert brd_state(targeted=0, played=0, start_us=0, now_us=0, over=True) is BrdState.FAILED


def test_all_but_one_is_never_rounded_up_to_all() -> None:
    assert coverage_rate(10_000_000, 9_999_999) == 999_999
    assert (coverage_rate(3, 1), coverage_rate(0, 0), coverage_rate(5, 5)) == (333_333, 0, 1_000_000)


def test_success_for_less_than_everybody_is_not_written() -> None:
    wrong = replace(STATE, state=int(BrdState.SUCCEEDED))
    assert refused(EbdType.EBM_STATE_RESPONSE, wrong) == "an order that did not reach everybody has not succeeded"


@pytest.mark.parametrize(
    "change",
    [
        {"coverage": None},
        {"coverage": EbdCoverage(None, ("210202000000",))},
        {"coverage": EbdCoverage(1_000_001, ("210202000000",))},
        {"coverage": EbdCoverage(1_000, ())},
        {"state": 6},
        {"state": None},
        {"resources": ()},
        {"resources": (ResourceBroadcast(OURS, ()),)},
        {"resources": (ResourceBroadcast("", STATE.resources[0].systems),)},
        {"ebm": "7"},
        {"report_us": None},
        {"report_us": 10**30},
        {"state_words": " "},
        {"state_words": "x" * 2_000},
        {"state_words": "\x00"},
    ],
)
def test_a_state_that_is_not_whole_is_not_written(change: dict[str, object]) -> None:
    refused(EbdType.EBM_STATE_RESPONSE, replace(STATE, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"id": "7"},
        {"id": f"10{PLATFORM}0000000000000007"},
        {"id": f"01{OURS}0000000000000007"},
        {"id": f"10{OURS}0000000000000000"},
        {"destination": "7"},
        {"time_us": None},
    ],
)
def test_an_envelope_that_is_not_exact_is_not_written(change: dict[str, object]) -> None:
    refused(EbdType.EBD_RESPONSE, Response(1, "ok"), replace(HEAD, **change))  # type: ignore[arg-type]


def test_only_what_is_said_here_is_written() -> None:
    assert refused(EbdType.EBM_STATE_REQUEST, StateRequest(EBMID)) == "StateRequest as EBMStateRequest"
    assert refused(EbdType.EBM, Response(1, "ok")) == "Response as EBM"
    assert refused(EbdType.EBD_RESPONSE, Response(6, "?")) == "6 is no ResultCode"


def test_the_older_generation_is_written_to_those_who_speak_it() -> None:
    old = Ebrid18("01", "03", "210202000000", "01")
    packet = Packet(head_of(EbdType.EBD_RESPONSE, old, old, 1, SENT_US), Response(0, "收到"))
    assert f"<EBDID>10{old}0000000000000001</EBDID>".encode() in write_packet(packet)
