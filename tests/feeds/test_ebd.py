"""EBD packets from other platforms: the signals they make, what is known of their signature, what is answered."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.signals import Evidence, Place, Signal, SignalKind, Use
from services.dispatcher.feeds import FEEDS
from services.dispatcher.feeds.ebd import answer, read, reading
from services.dispatcher.feeds.ebd_message import Response
from services.dispatcher.feeds.ebd_signature import EbdSignature, EbdSignatureState, write_signature
from services.dispatcher.feeds.ebd_tar import Member, write_package
from tests.feeds.ebd_packets import (
    CANCEL,
    EBDID,
    EBMID,
    FEED,
    OLD_FORMS,
    ORDER,
    PLATFORM,
    RECEIVED_US,
    SENT_US,
    SIGNED,
    cut,
    packet_of,
    with_,
)

BODY = Member(f"EBDB_{EBDID}.xml", ORDER.encode())
SIGNATURE = Member(f"EBDS_EBDB_{EBDID}.xml", write_signature(SIGNED))
SOUND = Member("EBDR_rain.mp3", b"sound")


def package(*members: Member) -> bytes:
    return write_package(members)


def signal(raw: bytes, received_us: int = RECEIVED_US) -> Signal:
    (found,) = reading(raw, FEED, received_us).signals
    return found


def codes(raw: bytes) -> list[str]:
    return [problem.code for problem in reading(raw, FEED, RECEIVED_US).problems]


def test_an_order_in_a_package_is_one_whole_signal() -> None:
    found = FEEDS["ebd"](package(BODY, SIGNATURE, SOUND), FEED, RECEIVED_US)
    assert [p.code for p in found.problems] == ["signature_not_verified"]
    assert found.signals == (
        Signal(
            key=f"ebd/upper/{EBMID}",
            reporter="upper",
            use=Use.ACTUAL,
            kind=SignalKind.ALERT,
            evidence=Evidence.AUTHORITY,
            hazard="rainstorm",
            event_code="11B03",
            place=Place(areas=("210202000000", "210203000000")),
            observed_us=SENT_US,
            received_us=RECEIVED_US,
            claimed_level=2,
            device=PLATFORM,
            headline="示例市发布暴雨橙色预警",
            description="预计未来三小时降雨量将达五十毫米以上，请远离低洼地带。",
            expires_us=SENT_US + 6 * 3_600_000_000,
        ),
    )


def test_a_bare_file_and_a_package_make_the_same_signal() -> None:
    assert signal(ORDER.encode()) == signal(package(BODY, SIGNATURE))


def test_the_same_order_in_another_packet_has_the_same_key() -> None:
    again = with_(ORDER, (EBDID, EBDID[:-1] + "9"))
    assert signal(again).key == signal(ORDER.encode()).key


def test_a_test_is_information_and_carries_its_bit_whatever_the_feed() -> None:
    found = signal(with_(ORDER, ("<Severity>2", "<Severity>15")))
    assert (found.kind, found.test_bit, found.claimed_level) == (SignalKind.INFO, True, None)
    assert "status_not_aired" in codes(with_(ORDER, ("<Severity>2", "<Severity>15")))


def test_a_test_does_not_use_up_the_key_of_the_order_itself() -> None:
    assert signal(with_(ORDER, ("<Severity>2", "<Severity>15"))).key != signal(ORDER.encode()).key


def test_an_unknown_severity_claims_no_level() -> None:
    found = signal(with_(ORDER, ("<Severity>2", "<Severity>0")))
    assert (found.kind, found.claimed_level) == (SignalKind.ALERT, None)


def test_an_unknown_event_is_still_an_alert() -> None:
    found = signal(with_(ORDER, ("11B03", "11111")))
    assert (found.kind, found.hazard, found.event_code) == (SignalKind.ALERT, "other", "")
    assert "hazard_unknown" in codes(with_(ORDER, ("11B03", "11111")))


def test_a_code_of_the_upper_platforms_own_is_read_as_the_enrolment_says() -> None:
    own = replace(FEED, aliases=(("11B73", "storm_surge"),))
    (found,) = reading(with_(ORDER, ("11B03", "11B73")), own, RECEIVED_US).signals
    assert found.hazard == "storm_surge"


def test_a_cancelling_order_refers_to_what_it_cancels() -> None:
    found = signal(CANCEL.encode(), RECEIVED_US + 3_600_000_000)
    assert (found.kind, found.references) == (SignalKind.CANCEL, (f"ebd/upper/{EBMID}",))


def test_an_order_cancelled_under_its_own_id_is_cancelled() -> None:
    for related in ("", f"<RelatedInfo><EBMID>{EBMID}</EBMID></RelatedInfo>"):
        raw = cut(CANCEL, "RelatedInfo").decode()
        raw = raw.replace(f"<EBMID>{PLATFORM}202607010002</EBMID>", f"<EBMID>{EBMID}</EBMID>{related}")
        found = signal(raw.encode())
        assert (found.kind, found.references) == (SignalKind.CANCEL, (f"ebd/upper/{EBMID}",))
        assert found.key != signal(ORDER.encode()).key


def test_an_order_that_replaces_an_earlier_one_is_an_update() -> None:
    raw = with_(ORDER, ("<RelatedInfo>", "<RelatedInfo><EBMID>earlier-1</EBMID>"))
    assert (signal(raw).kind, signal(raw).references) == (SignalKind.UPDATE, ("ebd/upper/earlier-1",))


def test_an_order_whose_window_had_closed_is_information() -> None:
    assert signal(ORDER.encode(), SENT_US + 7 * 3_600_000_000).kind is SignalKind.INFO


def test_a_hazard_that_the_feed_is_not_enrolled_for_is_information() -> None:
    (found,) = reading(ORDER.encode(), replace(FEED, hazards=("flood",)), RECEIVED_US).signals
    assert found.kind is SignalKind.INFO


def test_a_feed_speaks_for_no_area_but_its_own() -> None:
    one = replace(FEED, area="210202000000")
    (found,) = reading(ORDER.encode(), one, RECEIVED_US).signals
    assert found.place.areas == ("210202000000",)
    (other,) = reading(ORDER.encode(), replace(FEED, area="330383000000"), RECEIVED_US).signals
    assert other.kind is SignalKind.INFO


def test_the_use_comes_from_the_enrolment() -> None:
    (found,) = reading(ORDER.encode(), replace(FEED, use=Use.EXERCISE), RECEIVED_US).signals
    assert found.use is Use.EXERCISE


def test_an_order_without_sending_time_happened_when_its_packet_was_made_or_came() -> None:
    assert signal(cut(ORDER, "SendTime")).observed_us == SENT_US + 5_000_000
    neither = cut(cut(ORDER, "SendTime").decode(), "EBDTime")
    assert signal(neither).observed_us == RECEIVED_US


def test_orders_for_later_and_windows_the_wrong_way_round_are_named() -> None:
    assert "window_later" in codes(with_(ORDER, ("<StartTime>2026-07-01 08", "<StartTime>2026-07-01 13")))
    assert "window_reversed" in codes(with_(ORDER, ("<StartTime>2026-07-01 08", "<StartTime>2026-07-01 15")))


def test_a_heartbeat_reports_nothing_and_says_so() -> None:
    raw = packet_of("ConnectionCheck", "<RptTime>2026-07-01 08:00:00</RptTime>")
    found = reading(raw, FEED, RECEIVED_US)
    assert found.signals == ()
    assert [(p.severity, p.code) for p in found.problems] == [
        ("warning", "signature_absent"),
        ("warning", "not_an_order"),
    ]


def test_what_is_known_of_a_signature_is_said_and_no_more() -> None:
    assert (read(ORDER.encode()).signature, read(package(BODY)).signature) == (EbdSignatureState.ABSENT,) * 2
    found = read(package(BODY, SIGNATURE))
    assert (found.signature, found.signed) == (EbdSignatureState.NOT_VERIFIED, SIGNED)
    assert str(found.signature) == "read, not verified"
    unreadable = read(package(BODY, replace(SIGNATURE, content=b"<Signature/>")))
    assert (unreadable.signature, unreadable.packet is None) == (EbdSignatureState.UNREADABLE, False)


def test_with_a_door_to_check_signatures_only_one_that_holds_lets_a_packet_in() -> None:
    asked: list[tuple[bytes, EbdSignature]] = []

    def holds(body: bytes, signature: EbdSignature) -> bool:
        asked.append((body, signature))
        return body == BODY.content

    assert read(package(BODY, SIGNATURE), holds).signature is EbdSignatureState.VERIFIED
    assert asked == [(BODY.content, SIGNED)]
    changed = replace(BODY, content=with_(ORDER, ("<Severity>2", "<Severity>1")))
    for members, state in (
        ((changed, SIGNATURE), EbdSignatureState.WRONG),
        ((BODY,), EbdSignatureState.ABSENT),
        ((BODY, replace(SIGNATURE, content=b"x")), EbdSignatureState.UNREADABLE),
    ):
        found = read(package(*members), holds)
        assert (found.packet, found.signature) == (None, state)
        assert answer(found).code == 4


def test_a_signature_that_names_another_packet_is_named() -> None:
    other = Member(SIGNATURE.name, write_signature(replace(SIGNED, related="10999")))
    assert "signature_other" in codes(package(BODY, other))


def test_the_old_prefix_of_the_body_is_read_and_named() -> None:
    old = package(Member(f"EBDI_{EBDID}.xml", ORDER.encode()))
    assert signal(old) == signal(ORDER.encode())
    assert "old_name" in codes(old)


def test_a_body_under_another_packets_name_is_named() -> None:
    assert "id_differs" in codes(package(Member("EBDB_7.xml", ORDER.encode())))


@pytest.mark.parametrize(
    ("members", "code"), [((SOUND,), "missing"), ((BODY, Member("EBDB_2.xml", b"<EBD/>")), "repeated")]
)
def test_a_package_without_exactly_one_body_is_refused(members: tuple[Member, ...], code: str) -> None:
    found = read(package(*members))
    assert found.packet is None
    assert [p.code for p in found.problems if p.severity == "error"] == [code]


def test_members_of_unknown_purpose_are_named_and_kept() -> None:
    found = read(package(BODY, SOUND, Member("readme.txt", b"x")))
    assert found.resources == (SOUND, Member("readme.txt", b"x"))
    assert [(p.code, p.where) for p in found.problems if p.code == "member_unknown"] == [
        ("member_unknown", "readme.txt")
    ]


def test_the_answer_says_what_was_made_of_the_packet() -> None:
    assert answer(read(ORDER.encode())) == Response(1, "接收解析及校验成功")
    assert answer(read(b"<EBD>")).code == 2
    assert answer(read(package(BODY)[:700])).code == 2
    assert answer(read(cut(ORDER, "MsgContent"))) == Response(3, "数据内容缺失：EBD/EBM/MsgContent missing")


def test_a_test_order_in_old_forms_is_still_only_information() -> None:
    assert signal(OLD_FORMS.encode()).kind is SignalKind.INFO


@given(st.binary(max_size=200), st.integers(0, 3_000), st.integers(0, 3_000))
def test_no_bytes_crash_it(raw: bytes, start: int, end: int) -> None:
    whole = package(BODY, SIGNATURE)
    for each in (raw, whole[:start] + raw + whole[end:]):
        found = reading(each, FEED, RECEIVED_US)
        assert found.signals or found.problems
