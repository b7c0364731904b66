"""Valid CAP alerts and their invalid twins: one deviation each, refused under its own name, or accepted and shown."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.feeds.cap import read
from services.dispatcher.feeds.cap_message import CapReading
from services.dispatcher.feeds.cap_times import text_of, us_of

WHOLE = (Path(__file__).parents[1] / "data" / "cap" / "whole.xml").read_text(encoding="utf-8")
PAIRS = ("eventCode", "parameter", "geocode")
MANDATORY = {
    "alert": ("identifier", "sender", "sent", "status", "msgType", "scope"),
    "info[1]": ("category", "event", "urgency", "severity", "certainty"),
    "info[1]/resource": ("resourceDesc", "mimeType"),
    "info[1]/area[1]": ("areaDesc",),
}
ENUMS = {
    "alert": ("status", "msgType", "scope"),
    "info[1]": ("category", "responseType", "urgency", "severity", "certainty"),
}
TIMES = {"alert": ("sent",), "info[1]": ("effective", "onset", "expires")}
BAD_TIMES = (
    "2026-07-01T08:00:00Z",
    "2026-07-01T08:00:00z",
    "2026-07-01T08:00:00",
    "2026-07-01T08:00+08:00",
    "2026-07-01",
    "2026-07-01 08:00:00+08:00",
    "2026-07-01t08:00:00+08:00",
    "2026-07-01T08:00:00+0800",
    "2026-07-01T08:00:00+08",
    "2026-07-01T08:00:00,08:00",
    "2026-07-01T08:00:00 +08:00",
    "2026-07-01T08:00:00+14:01",
    "2026-07-01T08:00:00+24:00",
    "2026-07-01T08:00:00+08:60",
    "2026-07-01T24:00:01+08:00",
    "2026-07-01T24:00:00.5+08:00",
    "2026-07-01T25:00:00+08:00",
    "2026-07-01T08:60:00+08:00",
    "2026-07-01T08:00:60+08:00",
    "2026-13-01T08:00:00+08:00",
    "2026-02-30T08:00:00+08:00",
    "2026-00-01T08:00:00+08:00",
    "0000-07-01T08:00:00+08:00",
    "26-07-01T08:00:00+08:00",
    "20260701T080000+0800",
    "2026-W27-3T08:00:00+08:00",
    "2026-182T08:00:00+08:00",
    "2026/07/01T08:00:00+08:00",
    "01-07-2026T08:00:00+08:00",
    "Wed, 01 Jul 2026 08:00:00 +0800",
    "1782864000",
    "now",
    "２０２６-07-01T08:00:00+08:00",
)


def element(name: str, text: str = WHOLE) -> str:
    begin = text.index(f"<{name}>")
    return text[begin : text.index(f"</{name}>", begin) + len(name) + 3]


def with_text(name: str, value: str) -> bytes:
    old = element(name)
    return WHOLE.replace(old, f"<{name}>{value}</{name}>", 1).encode()


def errors(raw: bytes) -> list[tuple[str, str]]:
    found = read(raw)
    assert (found.message is None) == any(problem.severity == "error" for problem in found.problems)
    return [(problem.code, problem.where) for problem in found.problems if problem.severity == "error"]


def accepted(raw: bytes) -> CapReading:
    found = read(raw)
    assert found.message is not None, found.problems
    return found


def shown(raw: bytes) -> set[str]:
    return {problem.code for problem in accepted(raw).problems}


def test_the_alert_that_all_twins_come_from_is_faultless() -> None:
    assert accepted(WHOLE.encode()).problems == ()


@pytest.mark.parametrize(("where", "name"), [(where, name) for where, names in MANDATORY.items() for name in names])
@pytest.mark.parametrize("left", ["", "<{0}/>", "<{0}></{0}>", "<{0}> \n\t </{0}>"])
def test_a_mandatory_element_that_is_absent_or_empty_is_missed(where: str, name: str, left: str) -> None:
    raw = WHOLE.replace(element(name), left.format(name), 1).encode()
    assert errors(raw) == [("missing", f"{where}/{name}")]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("part", ["valueName", "value"])
def test_a_pair_needs_both_its_parts(name: str, part: str) -> None:
    pair = element(name)
    raw = WHOLE.replace(pair, pair.replace(element(part, pair), ""), 1).encode()
    assert [code for code, _ in errors(raw)] == ["missing"]


@pytest.mark.parametrize("name", PAIRS)
def test_an_empty_part_of_a_pair_is_a_part(name: str) -> None:
    pair = element(name)
    raw = WHOLE.replace(pair, pair.replace(element("value", pair), "<value />"), 1).encode()
    assert accepted(raw).problems == ()


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(
    ("content", "codes"),
    [
        ("<value>a</value><valueName>b</valueName>", ["element_order"]),
        ("<valueName>a</valueName><valueName>a</valueName><value>b</value>", ["repeated"]),
        ("<valueName>a</valueName><value>b</value><value>b</value>", ["repeated"]),
        ("<valueName>a</valueName><value>b<x/></value>", ["text_has_elements"]),
        ("<valueName>a</valueName><other>b</other>", ["element_unknown", "missing"]),
        ("<valueName>a</valueName>b<value>c</value>", ["text_stray"]),
        ("a=b", ["text_stray", "missing"]),
        ("", ["missing"]),
    ],
)
def test_a_pair_is_a_name_and_a_value_and_nothing_else(name: str, content: str, codes: list[str]) -> None:
    raw = WHOLE.replace(element(name), f"<{name}>{content}</{name}>", 1).encode()
    assert [code for code, _ in errors(raw)] == codes


@pytest.mark.parametrize(("where", "name"), [(where, name) for where, names in ENUMS.items() for name in names])
@pytest.mark.parametrize("value", ["High", "actual", "ALERT", "Very likely", "1", "Severe Extreme", "未知"])
def test_a_value_that_the_schema_does_not_list_is_refused(where: str, name: str, value: str) -> None:
    assert ("value_unknown", f"{where}/{name}") in errors(with_text(name, value))


@pytest.mark.parametrize(("where", "name"), [(where, name) for where, names in TIMES.items() for name in names])
@pytest.mark.parametrize("value", BAD_TIMES)
def test_a_time_of_any_other_form_is_refused(where: str, name: str, value: str) -> None:
    assert errors(with_text(name, value)) == [("time_malformed", f"{where}/{name}")]


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("2026-07-01T08:00:00+08:00", 1_782_864_000_000_000),
        ("2026-07-01T00:00:00-00:00", 1_782_864_000_000_000),
        ("2026-07-01T14:00:00+14:00", 1_782_864_000_000_000),
        ("2026-06-30T24:00:00+00:00", 1_782_864_000_000_000),
        ("2026-07-01T00:00:00.250+00:00", 1_782_864_000_250_000),
        ("1969-12-31T23:59:59+00:00", -1_000_000),
        ("0001-01-01T00:00:00+14:00", -62_135_647_200_000_000),
        ("9999-12-31T24:00:00-14:00", 253_402_351_200_000_000),
    ],
)
def test_times_are_read_to_the_microsecond(text: str, us: int) -> None:
    assert us_of(text) == us


@given(st.integers(-62_135_500_000, 253_402_200_000), st.integers(-840, 840))
def test_a_time_that_is_written_is_read_again(second: int, offset_min: int) -> None:
    assert us_of(text_of(second * 1_000_000, offset_min)) == second * 1_000_000


@pytest.mark.parametrize("name", ["identifier", "sender"])
@pytest.mark.parametrize("value", ["a b", "a,b", "a&amp;b", "a&lt;b", "a\tb", "a\nb", "a\u3000b", "a\u00a0b"])
def test_names_hold_no_space_comma_or_markup(name: str, value: str) -> None:
    assert errors(with_text(name, value)) == [("id_characters", f"alert/{name}")]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("polygon", "38.91,121.60 38.95,121.65 38.90,121.70 38.88,121.62", "polygon_open"),
        ("polygon", "38.91,121.60 38.95,121.65 38.91,121.60", "polygon_points"),
        ("polygon", "38.91,121.60", "polygon_points"),
        ("polygon", "38.91 121.60 38.95 121.65 38.90 121.70 38.91 121.60", "coordinates_malformed"),
        ("polygon", "38.91,121.60, 38.95,121.65, 38.90,121.70, 38.91,121.60", "coordinates_malformed"),
        ("polygon", "38.91, 121.60 38.95, 121.65 38.90, 121.70 38.91, 121.60", "coordinates_malformed"),
        ("polygon", "38.91,121.60,0 38.95,121.65,0 38.90,121.70,0 38.91,121.60,0", "coordinates_malformed"),
        ("polygon", "38.91,121.60,1 38.95 38.90,121.70 38.91,121.60", "coordinates_malformed"),
        ("polygon", "38°54'N,121°36'E 38.95,121.65 38.90,121.70 38.91,121.60", "coordinates_malformed"),
        ("polygon", "3.891e1,121.60 38.95,121.65 38.90,121.70 3.891e1,121.60", "coordinates_malformed"),
        ("polygon", "inf,121.60 38.95,121.65 38.90,121.70 inf,121.60", "coordinates_malformed"),
        ("polygon", "3_8,121.60 38.95,121.65 38.90,121.70 3_8,121.60", "coordinates_malformed"),
        ("polygon", "３８,121.60 38.95,121.65 38.90,121.70 ３８,121.60", "coordinates_malformed"),
        ("polygon", "a,b c,d e,f a,b", "coordinates_malformed"),
        ("polygon", "121.60,38.91 121.65,38.95 121.70,38.90 121.60,38.91", "coordinates_range"),
        ("polygon", "90.1,0 0,0 0,1 90.1,0", "coordinates_range"),
        ("polygon", "-90.1,0 0,0 0,1 -90.1,0", "coordinates_range"),
        ("polygon", "0,180.1 0,0 1,0 0,180.1", "coordinates_range"),
        ("polygon", f"{'9' * 400},0 0,0 0,1 {'9' * 400},0", "coordinates_range"),
        ("polygon", "80,0 80,90 80,180 80,-90 80,0", "polygon_around_pole"),
        ("circle", "38.92,121.65", "circle_malformed"),
        ("circle", "38.92,121.65,2.5", "circle_malformed"),
        ("circle", "38.92 121.65 2.5", "circle_malformed"),
        ("circle", "38.92, 121.65 2.5", "circle_malformed"),
        ("circle", "invalid", "circle_malformed"),
        ("circle", "a,b 2.5", "coordinates_malformed"),
        ("circle", "121.65,38.92 2.5", "coordinates_range"),
        ("circle", "38.92,181 2.5", "coordinates_range"),
        ("circle", "38.92,121.65 -1", "circle_radius"),
        ("circle", "38.92,121.65 2.5km", "circle_radius"),
        ("circle", "38.92,121.65 nan", "circle_radius"),
        ("circle", "38.92,121.65 1e3", "circle_radius"),
        ("circle", "38.92,121.65 20041", "circle_radius"),
    ],
)
def test_a_shape_that_could_be_misread_is_refused(name: str, value: str, code: str) -> None:
    assert errors(with_text(name, value)) == [(code, f"info[1]/area[1]/{name}")]


@pytest.mark.parametrize(
    ("references", "code"),
    [
        ("a,b,c", "reference_malformed"),
        ("a,b", "reference_malformed"),
        ("b", "reference_malformed"),
        (",b,2026-07-01T07:00:00+08:00", "reference_malformed"),
        ("a,,2026-07-01T07:00:00+08:00", "reference_malformed"),
        ("a,b,2026-07-01T07:00:00Z", "reference_malformed"),
        ("a,b,2026-07-01", "reference_malformed"),
        ("a,b,2026-07-01T07:00:00+08:00,c", "reference_malformed"),
        ("a,b,2026-07-01T07:00:00+08:00;c,d,2026-07-01T07:00:00+08:00", "reference_malformed"),
        ("a b,c,2026-07-01T07:00:00+08:00", "reference_malformed"),
        ("a/b", "reference_malformed"),
        (" ".join(["a,b,2026-07-01T07:00:00+08:00"] * 257), "too_many"),
    ],
)
def test_a_reference_that_names_no_message_is_refused(references: str, code: str) -> None:
    raw = WHOLE.replace("<incidents>", f"<references>{references}</references><incidents>", 1).encode()
    assert {found for found, _ in errors(raw)} == {code}


@pytest.mark.parametrize("kind", ["Cancel", "Ack", "Error"])
def test_what_must_name_an_earlier_message_is_refused_without(kind: str) -> None:
    assert errors(with_text("msgType", kind)) == [("references_missing", "alert/references")]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ([("<scope>Public", "<scope>Restricted")], ("restriction_missing", "alert/restriction")),
        ([("<scope>Public", "<scope>Private")], ("addresses_missing", "alert/addresses")),
        ([("<size>2048</size>", "<size>2k</size>")], ("number_malformed", "info[1]/resource/size")),
        ([("<size>2048</size>", "<size>20.5</size>")], ("number_malformed", "info[1]/resource/size")),
        ([("<altitude>0</altitude>", "<altitude>low</altitude>")], ("number_malformed", "info[1]/area[1]/altitude")),
        ([("<altitude>0</altitude>", "")], ("ceiling_without_altitude", "info[1]/area[1]/ceiling")),
        ([("</scope>", "</scope>stray")], ("text_stray", "alert")),
        (
            [
                (
                    "<info>",
                    "<info>stray",
                )
            ],
            ("text_stray", "info[1]"),
        ),
        ([("</areaDesc>", "</areaDesc>;")], ("text_stray", "info[1]/area[1]")),
        ([("<event>", "<event><b>x</b>")], ("text_has_elements", "info[1]/event")),
        ([("<headline>", "<headline><![CDATA[x]]><br/>")], ("text_has_elements", "info[1]/headline")),
        ([("<incidents>", "<mood>x</mood><incidents>")], ("element_unknown", "alert/mood")),
        ([("<incidents>", "<mood xmlns=''>x</mood><incidents>")], ("element_unknown", "alert/mood")),
        ([("<incidents>", "<event>x</event><incidents>")], ("element_unknown", "alert/event")),
        ([("<event>", "<status>Actual</status><event>")], ("element_unknown", "info[1]/status")),
        ([("<headline>", "<Headline>x</Headline><headline>")], ("element_unknown", "info[1]/Headline")),
        ([("<polygon>", "<polygon xmlns=''>0,0</polygon><polygon>")], ("element_unknown", "info[1]/area[1]/polygon")),
    ],
)
def test_what_breaks_the_schema_is_refused(changes: list[tuple[str, str]], error: tuple[str, str]) -> None:
    text = WHOLE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    assert errors(text.encode())[:1] == [error]


SINGLE = {
    "alert": "identifier sender sent status msgType source scope note incidents".split(),
    "info[1]": (
        "language event urgency severity certainty audience effective onset expires senderName headline description"
        " instruction web contact"
    ).split(),
    "info[1]/resource": "resourceDesc mimeType size uri digest".split(),
    "info[1]/area[1]": "areaDesc altitude ceiling".split(),
}


@pytest.mark.parametrize(("where", "name"), [(where, name) for where, names in SINGLE.items() for name in names])
def test_a_single_element_that_stands_twice_is_refused(where: str, name: str) -> None:
    raw = WHOLE.replace(element(name), element(name) * 2, 1).encode()
    assert errors(raw) == [("repeated", f"{where}/{name}")]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pair
        for names in SINGLE.values()
        for pair in itertools.pairwise(names)
        if f"</{pair[0]}>" in WHOLE and f"</{pair[1]}>" in WHOLE
    ],
)
def test_two_elements_that_changed_places_are_refused(first: str, second: str) -> None:
    one, other = element(first), element(second)
    raw = WHOLE.replace(one, "\0", 1).replace(other, one, 1).replace("\0", other, 1).encode()
    assert {code for code, _ in errors(raw)} == {"element_order"}


@pytest.mark.parametrize(
    "root",
    [
        "<alert>",
        '<alert xmlns="urn:oasis:names:tc:emergency:cap:1.3">',
        '<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2/">',
        '<alert xmlns="URN:OASIS:NAMES:TC:EMERGENCY:CAP:1.2">',
        '<alert xmlns="http://com.icss.amp">',
        '<alert xmlns="">',
    ],
)
def test_a_namespace_that_is_not_caps_is_refused(root: str) -> None:
    raw = WHOLE.replace('<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2">', root, 1).encode()
    assert errors(raw) == [("namespace_unknown", "alert")]


@pytest.mark.parametrize("name", ["Alert", "alerts", "info", "feed"])
def test_a_root_that_is_no_alert_is_refused(name: str) -> None:
    raw = WHOLE.replace("<alert ", f"<{name} ", 1).replace("</alert>", f"</{name}>").encode()
    assert errors(raw) == [("not_an_alert", name)]


def test_children_without_the_namespace_of_their_root_are_not_read() -> None:
    raw = WHOLE.replace("<alert xmlns=", "<cap:alert xmlns:cap=").replace("</alert>", "</cap:alert>").encode()
    assert set(errors(raw)) >= {("missing", "alert/identifier"), ("element_unknown", "alert/identifier")}


def test_an_empty_alert_misses_everything() -> None:
    raw = b'<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2"/>'
    assert errors(raw) == [("missing", f"alert/{name}") for name in MANDATORY["alert"]]


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_file_that_was_cut_off_is_refused(cut: int) -> None:
    raw = WHOLE.strip().encode()
    assert [code for code, _ in errors(raw[: len(raw) * cut // 40])] == ["xml_malformed"]


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbf",
        WHOLE.replace("</status>", "</stati>").encode(),
        WHOLE.replace("<status>", "<status").encode(),
        WHOLE.replace("Actual", "Act&ual").encode(),
        WHOLE.replace("Actual", "Actual&nbsp;").encode(),
        WHOLE.replace("Actual", "Actual\x00").encode(),
        WHOLE.replace("Actual", "Actual\x0b").encode(),
        WHOLE.replace("Actual", "Actual&#0;").encode(),
        WHOLE.encode() + b"<alert/>",
        WHOLE.encode() + b"trailing",
        b"\n" + WHOLE.encode(),
        WHOLE.encode().replace("市".encode(), b"\xff\xfe"),
        WHOLE.replace("UTF-8", "UTF-99").encode(),
        WHOLE.replace("UTF-8", "US-ASCII").encode(),
        WHOLE.replace('<alert xmlns="', '<cap:alert xmlns="').encode(),
        b"{}",
        b"PK\x03\x04",
    ],
)
def test_what_is_not_well_formed_is_refused(raw: bytes) -> None:
    assert [code for code, _ in errors(raw)] == ["xml_malformed"]


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE alert>",
        '<!DOCTYPE alert SYSTEM "http://127.0.0.1:9/x.dtd">',
        '<!DOCTYPE alert [<!ENTITY x "y">]>',
        '<!DOCTYPE alert [<!ENTITY % x SYSTEM "file:///etc/hostname"> %x;]>',
        "<!DOCTYPE alert [<!ATTLIST alert id ID #IMPLIED>]>",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused_whatever_is_in_it(doctype: str, encoding: str) -> None:
    text = WHOLE.replace("<alert ", f"{doctype}<alert ", 1).replace("UTF-8", encoding)
    assert errors(text.encode(encoding)) == [("xml_doctype", "")]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ([("<urgency>Expected", "<urgency> \n Expected\n ")], None),
        ([("T08:00:00+08:00</sent>", "T08:00:00.000+08:00</sent>")], "time_fraction"),
        ([("T08:00:00+08:00</sent>", "T08:00:00.1234567+08:00</sent>")], "time_fraction"),
        ([("T14:00:00+08:00</expires>", "T24:00:00+08:00</expires>")], None),
        ([("T08:00:00+08:00</sent>", "T00:00:00-00:00</sent>")], None),
        ([(">Likely<", ">Very Likely<")], "certainty_deprecated"),
        ([("<polygon>", "<polygon>\n\t"), ("</polygon>", "\n</polygon>")], None),
        ([("<circle>", "<circle>\n "), ("</circle>", " \n</circle>")], None),
        ([("38.92,121.65 2.5", "+38.92,+121.65 2.5")], None),
        ([("38.92,121.65 2.5", "38.92,121.65 0")], "circle_radius_zero"),
        ([("38.92,121.65 2.5", "38.92,179.99 50")], "circle_over_meridian"),
        ([("<altitude>0</altitude>", "<altitude>900</altitude>")], "ceiling_below_altitude"),
        ([("<language>zh-CN", "<language>zh_CN")], "language_malformed"),
        ([("<mimeType>image/png", "<mimeType>png")], "mime_type_malformed"),
        ([("<uri>https://met.example.cn/map.png", "<uri>map.png")], "uri_relative"),
        ([("<incidents>", "<x:more xmlns:x='urn:example:x'>x</x:more><incidents>")], "element_foreign"),
        ([("</status>", "</status><!-- a comment --><?and an-instruction?>")], None),
        ([("示例市", "<![CDATA[示例市]]>")], None),
        ([("示例市", "&#31034;&#x4F8B;市")], None),
    ],
)
def test_what_is_sloppy_and_clear_is_accepted_and_shown(changes: list[tuple[str, str]], code: str | None) -> None:
    text = WHOLE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    assert shown(text.encode()) == ({code} if code else set())
