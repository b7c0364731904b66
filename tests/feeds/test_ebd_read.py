"""EBD XML: what is read, what is tolerated under which name, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.feeds.ebd_message import (
    AREAS_MAX,
    PROBLEMS_MAX,
    XML_BYTES_MAX,
    Auxiliary,
    BroadcastLog,
    ConnectionCheck,
    Content,
    DataRequest,
    Dispatch,
    EbdCoverage,
    EbdOrder,
    EbdType,
    Head,
    LogItem,
    MsgType,
    Packet,
    Recognised,
    ResourceBroadcast,
    ResourceItem,
    ResourceReport,
    Response,
    StateRequest,
    StateResponse,
    SystemBroadcast,
)
from services.dispatcher.feeds.ebd_read import read_packet
from tests.feeds.ebd_packets import (
    CANCEL,
    EBDID,
    EBMID,
    OLD_FORMS,
    ORDER,
    OURS,
    PLATFORM,
    SENT_US,
    accepted,
    body_of,
    cut,
    errors,
    packet_of,
    warned,
    with_,
)

SAMPLE = Path(__file__).parents[3] / "shared" / "samples" / "ebd" / "ebm_dalian_41digit.xml"
HOUR_US = 3_600_000_000


def test_an_order_of_the_newer_generation_is_read_whole() -> None:
    found = read_packet(ORDER.encode())
    assert (found.problems, found.id) == ((), EBDID)
    assert found.packet == Packet(
        Head(EBDID, EbdType.EBM, PLATFORM, SENT_US + 5_000_000, OURS, "http://platform.example.cn/ebd", "", "1.0"),
        EbdOrder(
            id=EBMID,
            msg_type=MsgType.REQUEST,
            sender_name="示例市应急广播平台",
            sender_code=PLATFORM,
            sent="2026-07-01 08:00:00",
            sent_us=SENT_US,
            event_type="11B03",
            severity=2,
            start_us=SENT_US,
            end_us=SENT_US + 6 * HOUR_US,
            origin="21020041600000_20260701080000",
            content=Content(
                language="zho",
                title="示例市发布暴雨橙色预警",
                text="预计未来三小时降雨量将达五十毫米以上，请远离低洼地带。",
                areas=("210202000000", "210203000000"),
                programme=1,
                auxiliaries=(Auxiliary("2", "EBDR_rain.mp3", 5),),
            ),
            dispatches=(Dispatch("zho", "", "42102020000000314010301", (("0599", "(42102020000000599010101,2,1)"),)),),
        ),
    )


def test_old_names_and_forms_are_read_and_every_one_of_them_is_named() -> None:
    order = body_of(OLD_FORMS.encode())
    assert isinstance(order, EbdOrder)
    assert accepted(OLD_FORMS.encode()).head.source == "010233110000000001"
    assert order.related == ("010233110000000001202606300009",)
    assert (order.sent_us, order.start_us, order.end_us) == (SENT_US, SENT_US, SENT_US + HOUR_US)
    assert order.content is not None
    assert order.content.areas == ("331100000000", "331124000000")
    assert set(warned(OLD_FORMS.encode())) == {
        ("old_name", "EBD/RealtedEBD"),
        ("old_name", "EBD/SRC/EBEID"),
        ("related_empty", "EBD/RelatedEBD"),
        ("old_name", "EBD/EBM/RelatedEBM"),
        ("old_name", "EBD/EBM/MsgBasicInfo/SentTime"),
        ("time_form", "EBD/EBM/MsgBasicInfo/SendTime"),
        ("time_form", "EBD/EBM/MsgBasicInfo/StartTime"),
        ("area_length", "EBD/EBM/MsgContent/AreaCode"),
    }


def test_a_cancelling_order_needs_no_content() -> None:
    order = body_of(CANCEL.encode())
    assert isinstance(order, EbdOrder)
    assert (order.msg_type, order.related, order.content) == (MsgType.CANCEL, (EBMID,), None)
    assert warned(CANCEL.encode()) == []


@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample files are not here")
def test_a_real_order_is_read_with_what_its_vendor_added_named() -> None:
    order = body_of(SAMPLE.read_bytes())
    assert isinstance(order, EbdOrder)
    assert (order.id, order.severity, order.event_type) == ("42102000000000101010101202611200001", 4, "11000")
    assert [where.rsplit("/", 1)[1] for code, where in warned(SAMPLE.read_bytes()) if code == "element_unknown"] == [
        "SysTask",
        "BroadcastTime",
        "ProcessType",
    ]


@pytest.mark.parametrize("name", ["DEST", "EBDTime", "SRC", "EBDVersion", "Dispatch", "RelatedInfo", "AreaCode"])
def test_a_missing_part_that_an_order_can_do_without_does_not_lose_it(name: str) -> None:
    assert isinstance(body_of(cut(ORDER, name)), EbdOrder)


@pytest.mark.parametrize(
    "name", ["SenderName", "SendTime", "EventType", "Severity", "StartTime", "EndTime", "MsgTitle"]
)
def test_a_missing_part_is_named(name: str) -> None:
    assert [(code, where.rsplit("/", 1)[1]) for code, where in warned(cut(ORDER, name))] == [("missing", name)]


@pytest.mark.parametrize("name", ["EBDID", "EBMID", "MsgType", "MsgContent", "MsgBasicInfo", "EBM", "EBDType"])
def test_without_what_makes_it_an_order_it_is_refused(name: str) -> None:
    assert [code for code, _ in errors(cut(ORDER, name))] == ["missing"]


def test_times_are_beijing_times() -> None:
    assert accepted(with_(ORDER, ("08:00:05", "00:00:00"))).head.time_us == SENT_US - 8 * HOUR_US


@pytest.mark.parametrize("time", ["2026-02-30 08:00:00", "08:00", "2026-07-01", "now", "2026-07-01 24:00:01"])
def test_a_time_that_is_none_is_left_out_and_named(time: str) -> None:
    raw = with_(ORDER, ("<EBDTime>2026-07-01 08:00:05", f"<EBDTime>{time}"))
    assert accepted(raw).head.time_us is None
    assert warned(raw) == [("time_malformed", "EBD/EBDTime")]


def test_two_answers_to_one_question_are_refused() -> None:
    assert errors(with_(ORDER, ("<MsgType>1</MsgType>", "<MsgType>1</MsgType><MsgType>2</MsgType>"))) == [
        ("repeated", "EBD/EBM/MsgBasicInfo/MsgType")
    ]
    assert ("body_differs", "EBD/ConnectionCheck") in errors(with_(ORDER, ("</EBD>", "<ConnectionCheck/></EBD>")))
    assert errors(with_(ORDER, ("</EBM>\n", "</EBM><EBM/>"))) == [("repeated", "EBD/EBM")]


def test_the_present_name_counts_where_the_old_one_stands_beside_it() -> None:
    raw = with_(ORDER, ("<EBRID>42102020", "<EBEID>x</EBEID><EBRID>42102020"))
    assert accepted(raw).head.destination == OURS


def test_severities_that_are_none_are_left_out() -> None:
    for written, read in (("0", 0), ("15", 15), ("7", None), ("红", None), ("-1", None)):
        order = body_of(with_(ORDER, ("<Severity>2", f"<Severity>{written}")))
        assert isinstance(order, EbdOrder)
        assert order.severity == read


def test_area_codes_that_are_none_are_left_out_and_the_rest_kept() -> None:
    raw = with_(ORDER, ("210203000000</AreaCode>", "abc,， 210204,1,99999999999999</AreaCode>"))
    order = body_of(raw)
    assert isinstance(order, EbdOrder) and order.content is not None
    assert order.content.areas == ("210202000000", "210204000000")
    assert {code for code, _ in warned(raw)} == {"area_malformed", "area_length"}


def test_area_codes_are_capped() -> None:
    many = ",".join(f"{210000000000 + n}" for n in range(AREAS_MAX + 5))
    raw = with_(ORDER, ("210202000000,210203000000", many))
    order = body_of(raw)
    assert isinstance(order, EbdOrder) and order.content is not None
    assert len(order.content.areas) == AREAS_MAX
    assert [code for code, _ in warned(raw)] == ["too_many"]


@pytest.mark.parametrize("id", ["a b", "a,b", "a/b", "x" * 65, "１２"])
def test_an_id_that_could_not_stand_in_a_key_is_refused(id: str) -> None:
    assert errors(with_(ORDER, (f"<EBMID>{EBMID}", f"<EBMID>{id}"))) == [("id_malformed", "EBD/EBM/EBMID")]


def test_an_odd_id_is_kept_as_it_is() -> None:
    order = body_of(with_(ORDER, (f"<EBMID>{EBMID}", "<EBMID>EBM-7_a")))
    assert isinstance(order, EbdOrder)
    assert order.id == "EBM-7_a"


@pytest.mark.parametrize(
    ("type", "body", "read"),
    [
        ("EBMStateRequest", f"<EBM><EBMID>{EBMID}</EBMID></EBM>", StateRequest(EBMID)),
        (
            "OMDRequest",
            "<OMDType>EBRDTState</OMDType><Params><RPTStartTime>2026-07-01 08:00:00</RPTStartTime>"
            "<RptEndTime>2026-07-01 09:00:00</RptEndTime><RptType>Full</RptType></Params>",
            DataRequest("EBRDTState", SENT_US, SENT_US + HOUR_US, "Full"),
        ),
        ("ConnectionCheck", "<RptTime>2026-07-01 08:00:00</RptTime>", ConnectionCheck(SENT_US)),
        ("EBDResponse", "<ResultCode>3</ResultCode><ResultDesc>缺</ResultDesc>", Response(3, "缺")),
        ("EBDNotify", "<ResultCode>1</ResultCode><ResultDesc>ok</ResultDesc>", Response(1, "ok")),
        (
            "EBRDTInfo",
            "<EBRDT><RptTime>2026-07-01 08:00:00</RptTime><RptType>Sync</RptType>"
            f"<RelatedEBRPS><EBRID>{PLATFORM}</EBRID></RelatedEBRPS><EBRID>{OURS}</EBRID><EBRName>广场</EBRName>"
            "<Longitude>121.6</Longitude><Latitude>38.9</Latitude></EBRDT>",
            ResourceReport((ResourceItem(OURS, SENT_US, "Sync", "广场", PLATFORM, "121.6", "38.9"),)),
        ),
        (
            "EBRDTState",
            f"<EBRDT><RptTime>2026-07-01 08:00:00</RptTime><EBRID>{OURS}</EBRID><StateCode>3</StateCode>"
            "<StateDesc>故障</StateDesc></EBRDT>",
            ResourceReport((ResourceItem(OURS, SENT_US, state=3, state_words="故障"),)),
        ),
        (
            "EBMBrdLog",
            f"<EBMBrdItem><EBM><EBMID>{EBMID}</EBMID></EBM><BrdStateCode>3</BrdStateCode><BrdStateDesc>成功"
            "</BrdStateDesc><Coverage><CoverageRate>1</CoverageRate></Coverage></EBMBrdItem>",
            BroadcastLog((LogItem(EBMID, 3, "成功", EbdCoverage(1_000_000)),)),
        ),
        (
            "EBMStateResponse",
            f"<RptTime>2026-07-01 08:00:00</RptTime><EBM><EBMID>{EBMID}</EBMID></EBM><BrdStateCode>4</BrdStateCode>"
            "<BrdStateDesc>部分</BrdStateDesc><Coverage><CoverageRate>0.25</CoverageRate><AreaCode>210202000000"
            "</AreaCode><ResBrdStat>1,4,4,118</ResBrdStat></Coverage><ResBrdInfo><ResBrdItem><EBRAS>"
            f"<EBRID>{OURS}</EBRID></EBRAS><EBRBS><BrdSysInfo>(1,2,3)</BrdSysInfo><BrdStateCode>2</BrdStateCode>"
            "</EBRBS></ResBrdItem></ResBrdInfo>",
            StateResponse(
                EBMID,
                SENT_US,
                4,
                "部分",
                EbdCoverage(250_000, ("210202000000",), (1, 4, 4, 118)),
                (ResourceBroadcast(OURS, (SystemBroadcast(None, "(1,2,3)", None, None, "", 2, ""),)),),
            ),
        ),
        ("EBMStreamPortRequest", "<Anything/>", Recognised()),
    ],
)
def test_the_other_packets_are_recognised_and_read(type: str, body: str, read: object) -> None:
    assert accepted(packet_of(type, body)) == Packet(Head(EBDID, EbdType(type), PLATFORM, SENT_US), read)  # type: ignore[arg-type]


@pytest.mark.parametrize("type", list(EbdType))
def test_a_packet_of_any_type_with_an_empty_body_is_read_or_refused(type: EbdType) -> None:
    read_packet(packet_of(type, ""))


@pytest.mark.parametrize(
    ("name", "written", "ppm", "code"),
    [
        ("CoverageRate", "0.985", 985_000, None),
        ("CoverageRate", "1", 1_000_000, None),
        ("CoverageRate", "0", 0, None),
        ("CoverageRate", "98", 980_000, "coverage_form"),
        ("CoveragePercent", "90%", 900_000, "coverage_form"),
        ("CoveragePercent", "100", 1_000_000, "coverage_form"),
        ("CoveragePercent", "0.99", 990_000, "coverage_form"),
        ("CoveragePercent", "1", 10_000, "coverage_form"),
        ("CoverageRate", "101", None, "coverage_malformed"),
        ("CoverageRate", "NaN", None, "coverage_malformed"),
        ("CoverageRate", "-1", None, "coverage_malformed"),
    ],
)
def test_a_coverage_is_read_in_every_form_and_never_as_more_than_it_says(
    name: str, written: str, ppm: int | None, code: str | None
) -> None:
    body = (
        f"<EBMBrdItem><EBM><EBMID>{EBMID}</EBMID></EBM><BrdStateCode>3</BrdStateCode><BrdStateDesc>x</BrdStateDesc>"
        f"<Coverage><{name}>{written}</{name}></Coverage></EBMBrdItem>"
    )
    read = body_of(packet_of("EBMBrdLog", body))
    assert isinstance(read, BroadcastLog)
    assert read.items[0].coverage == EbdCoverage(ppm)
    assert (code in {each for each, _ in warned(packet_of("EBMBrdLog", body))}) == (code is not None)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "empty"),
        (b"EBD", "xml_malformed"),
        (b"x" * (XML_BYTES_MAX + 1), "too_large"),
        (b'<!DOCTYPE EBD [<!ENTITY x SYSTEM "file:///etc/passwd">]><EBD><EBDID>&x;</EBDID></EBD>', "xml_doctype"),
        (b'<!DOCTYPE EBD [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><EBD>&b;</EBD>', "xml_doctype"),
        (b"<EBD>&unknown;</EBD>", "xml_malformed"),
        (b"<a>" * 200 + b"</a>" * 200, "not_an_ebd"),
        (b"<alert/>", "not_an_ebd"),
        (b'<feed xmlns="http://www.w3.org/2005/Atom"/>', "not_an_ebd"),
        (b"<EBD><EBDID>1</EBDID><EBDType>Fax</EBDType></EBD>", "type_unknown"),
    ],
)
def test_what_is_no_packet_is_refused_with_its_reason(raw: bytes, code: str) -> None:
    assert [each for each, _ in errors(raw)] == [code]


def test_nesting_without_end_is_refused() -> None:
    assert len(errors(b"<EBD>" * 100_000)) == 1


def test_problems_are_capped_and_the_error_is_among_them() -> None:
    junk = "".join(f"<junk{n}/>" for n in range(10 * PROBLEMS_MAX))
    found = read_packet(with_(ORDER, ("<EBDVersion>", f"{junk}<EBDVersion>"), (f"<EBMID>{EBMID}", "<EBMID>a b")))
    assert (found.packet, len(found.problems)) == (None, PROBLEMS_MAX)
    assert [p.code for p in found.problems if p.severity == "error"] == ["id_malformed"]


@given(st.integers(0, len(ORDER) - 1), st.integers(0, 40), st.text(max_size=12))
def test_no_change_of_an_order_crashes_it(at: int, length: int, put: str) -> None:
    changed = ORDER[:at] + put + ORDER[at + length :]
    read_packet(changed.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=300), st.text("<>/&;EBDMID0123456789\"' ", max_size=300))
def test_no_bytes_crash_it(raw: bytes, text: str) -> None:
    read_packet(raw)
    read_packet(text.encode())
    read_packet(b"<EBD>" + raw + b"</EBD>")


ELEMENTS = (
    "EBM EBMID EBRID EBRAS EBRBS Coverage CoverageRate AreaCode RptTime ResBrdInfo ResBrdItem ResBrdStat BrdStateCode"
    " Params OMDType MsgBasicInfo MsgContent MsgType Severity Auxiliary RelatedInfo Dispatch EBMBrdItem EBRDT StateCode"
    " ResultCode SendTime"
).split()


@given(st.sampled_from(list(EbdType)), st.lists(st.tuples(st.sampled_from(ELEMENTS), st.text(max_size=20))))
def test_any_elements_in_any_packet_are_read_or_refused(type: EbdType, elements: list[tuple[str, str]]) -> None:
    body = "".join(f"<{name}><![CDATA[{text}]]><{name}>1</{name}></{name}>" for name, text in elements)
    read_packet(packet_of(type, body).decode().encode("utf-8", "surrogatepass"))
