"""CAP alerts: what is accepted, what is refused with which code, and the signals that come out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.protocols.selector import Circle, Polygon
from services.dispatcher.domain.signals import Datum, Evidence, Feed, Place, Signal, SignalKind, Use
from services.dispatcher.feeds import FEEDS
from services.dispatcher.feeds.cap import area_codes, groups, read, reading, signals
from services.dispatcher.feeds.cap_message import RAW_BYTES_MAX, CapMessage
from services.dispatcher.feeds.cap_rules import shape_warnings

DATA = Path(__file__).parents[1] / "data" / "cap"
SAMPLES = Path(__file__).parents[3] / "shared" / "samples" / "cap"
RAINSTORM = (DATA / "rainstorm.xml").read_text(encoding="utf-8")
TYPHOON = (DATA / "typhoon_two_levels.xml").read_text(encoding="utf-8")
ENGLISH = RAINSTORM[: RAINSTORM.index("<info>", RAINSTORM.index("<info>") + 1)] + "</alert>"
FEED = Feed("met", "示例气象台", "气象局", "cap", Use.ACTUAL, "", "210200000000")
SENT_US = 1_782_864_000_000_000
RECEIVED_US = SENT_US + 5_000_000
SECOND_CODE = "<eventCode><valueName>x</valueName><value>y</value></eventCode>"
RING = Polygon(
    (
        (389_000_000, 1_216_000_000),
        (389_500_000, 1_216_000_000),
        (389_500_000, 1_217_000_000),
        (389_000_000, 1_217_000_000),
    )
)


def with_(text: str, *changes: tuple[str, str]) -> bytes:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text.encode()


def with_first(text: str, old: str, new: str) -> bytes:
    assert old in text
    return text.replace(old, new, 1).encode()


def accepted(raw: bytes) -> CapMessage:
    found = read(raw)
    assert found.message is not None, found.problems
    return found.message


def errors(raw: bytes) -> list[tuple[str, str]]:
    found = read(raw)
    assert (found.message is None) == any(p.severity == "error" for p in found.problems)
    return [(p.code, p.where) for p in found.problems if p.severity == "error"]


def warned(raw: bytes) -> set[str]:
    found = read(raw)
    assert found.message is not None, found.problems
    return {p.code for p in found.problems}


def first(raw: bytes, feed: Feed = FEED, received_us: int = RECEIVED_US) -> Signal:
    return reading(raw, feed, received_us).signals[0]


def codes_of(signal: Signal) -> set[str]:
    return {problem.code for problem in signal.problems}


def test_a_rainstorm_in_two_languages_is_one_whole_signal() -> None:
    found = FEEDS["cap"](RAINSTORM.encode(), FEED, RECEIVED_US)
    assert found.problems == ()
    assert found.signals == (
        Signal(
            key=f"cap/met/met.example.cn,rain-0001,{SENT_US}",
            reporter="met",
            use=Use.ACTUAL,
            kind=SignalKind.ALERT,
            evidence=Evidence.AUTHORITY,
            hazard="rainstorm",
            event_code="11B03",
            place=Place(
                areas=("210202000000",),
                shapes=(RING, Circle(389_200_000, 1_216_500_000, 2_500)),
                names=("港口区", "Harbour district"),
            ),
            observed_us=SENT_US,
            received_us=RECEIVED_US,
            claimed_level=2,
            device="met.example.cn",
            headline="示例气象台发布暴雨橙色预警信号",
            description="预计未来三小时降雨量将达五十毫米以上。\n请远离低洼地带。",
            expires_us=SENT_US + 6 * 3_600_000_000,
        ),
    )


def test_regions_with_different_levels_are_different_signals_of_one_message() -> None:
    red, yellow = reading(TYPHOON.encode(), FEED, RECEIVED_US).signals
    assert (red.kind, red.hazard, red.claimed_level) == (SignalKind.UPDATE, "typhoon", 1)
    assert red.place.areas == ("210202000000", "210203000000")
    assert (yellow.claimed_level, yellow.place.areas) == (3, ("210211000000",))
    assert yellow.key == f"{red.key}#typhoon-3"


def test_references_become_keys_whatever_offset_they_are_written_in() -> None:
    at_06_utc = 1_786_341_600_000_000
    assert first(TYPHOON.encode()).references == (
        f"cap/met/met.example.cn,typhoon-0001,{at_06_utc}",
        f"cap/met/met.example.cn,typhoon-0000,{at_06_utc - 6 * 3_600_000_000}",
    )


def test_two_feeds_never_share_keys() -> None:
    other = Feed("mirror", "", "", "cap", Use.EXERCISE, "", "")
    assert first(RAINSTORM.encode(), other).key != first(RAINSTORM.encode()).key


@pytest.mark.parametrize(
    ("status", "use", "expected_use", "kind"),
    [
        ("Actual", Use.ACTUAL, Use.ACTUAL, SignalKind.ALERT),
        ("Exercise", Use.ACTUAL, Use.EXERCISE, SignalKind.ALERT),
        ("Actual", Use.EXERCISE, Use.EXERCISE, SignalKind.ALERT),
        ("Test", Use.ACTUAL, Use.ACTUAL, SignalKind.INFO),
        ("Draft", Use.ACTUAL, Use.ACTUAL, SignalKind.INFO),
        ("System", Use.ACTUAL, Use.ACTUAL, SignalKind.INFO),
        ("Test", Use.EXERCISE, Use.EXERCISE, SignalKind.INFO),
    ],
)
def test_a_message_can_only_lower_what_its_feed_may_do(
    status: str, use: Use, expected_use: Use, kind: SignalKind
) -> None:
    feed = Feed("met", "", "", "cap", use, "", "")
    signal = first(with_(RAINSTORM, ("<status>Actual", f"<status>{status}")), feed)
    assert (signal.use, signal.kind) == (expected_use, kind)
    assert ("status_not_aired" in codes_of(signal)) == (kind is SignalKind.INFO)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ([("<scope>Public</scope>", "<scope>Private</scope><addresses>a</addresses>")], "scope_not_public"),
        ([("T14:00:00", "T08:00:01")], "expired_on_arrival"),
    ],
)
def test_what_must_not_be_aired_is_information(changes: list[tuple[str, str]], code: str) -> None:
    signal = first(with_(RAINSTORM, *changes))
    assert signal.kind is SignalKind.INFO
    assert code in codes_of(signal)


def test_a_feed_speaks_only_for_the_hazards_it_is_enrolled_for() -> None:
    fire_only = Feed("met", "", "", "cap", Use.ACTUAL, "", "", hazards=("fire",))
    signal = first(RAINSTORM.encode(), fire_only)
    assert (signal.kind, codes_of(signal)) == (SignalKind.INFO, {"hazard_not_enrolled"})


def test_a_cancel_stays_a_cancel_even_late_and_without_info() -> None:
    bare = with_(TYPHOON[: TYPHOON.index("<info>")] + "</alert>", ("Update", "Cancel"))
    signal = first(bare, received_us=RECEIVED_US + 10**15)
    assert (signal.kind, signal.hazard, len(signal.references)) == (SignalKind.CANCEL, "other", 2)


@pytest.mark.parametrize(
    ("headline", "severity", "level", "code"),
    [
        ("发布暴雨红色预警信号", "Minor", 1, None),
        ("发布暴雨蓝色预警", "Extreme", 4, None),
        ("暴雨黄色预警升级为橙色预警", "Minor", 2, "colour_ambiguous"),
        ("解除暴雨橙色预警信号", "Minor", 2, "all_clear"),
        ("暴雨", "Extreme", 1, None),
        ("暴雨", "Moderate", 3, None),
        ("暴雨", "Unknown", None, None),
    ],
)
def test_the_level_is_the_colour_people_read_and_else_the_severity(
    headline: str, severity: str, level: int | None, code: str | None
) -> None:
    text = RAINSTORM[: RAINSTORM.index("  <info>")] + RAINSTORM[RAINSTORM.index("  <info>\n    <language>zh") :]
    signal = first(with_(text, ("示例气象台发布暴雨橙色预警信号", headline), ("Severe", severity)))
    assert signal.claimed_level == level
    assert codes_of(signal) == ({code} if code else set())


def parameter(name: str, value: str) -> str:
    return f"<parameter><valueName>{name}</valueName><value>{value}</value></parameter>"


@pytest.mark.parametrize(
    ("severity", "stated", "level"),
    [
        ("Unknown", "3; orange; Severe", 2),
        ("Unknown", "4; Red; Extreme", 1),
        ("Unknown", "0", None),
        ("Minor", "2; yellow; Moderate", 4),
    ],
)
def test_the_colour_of_european_services_counts_where_the_severity_is_unknown(
    severity: str, stated: str, level: int | None
) -> None:
    raw = with_(
        ENGLISH,
        ("<severity>Severe", f"<severity>{severity}"),
        ("<area>", parameter("awareness_level", stated) + "<area>"),
    )
    (signal,) = reading(raw, FEED, RECEIVED_US).signals
    assert signal.claimed_level == level


@pytest.mark.parametrize(
    ("event", "more", "hazard"),
    [
        ("weather", ("profile:CAP-CP:Event:0.4", "flashFlood", ""), "flood"),
        ("Alert", ("SAME", "TOR", ""), "tornado"),
        ("Level 3", ("", "", parameter("awareness_type", "10; Rain")), "rainstorm"),
        ("Level 3", ("", "", parameter("awareness_type", "99; New")), "other"),
        ("Level 3", ("", "", ""), "other"),
    ],
)
def test_an_event_that_says_nothing_is_understood_by_its_codes(
    event: str, more: tuple[str, str, str], hazard: str
) -> None:
    scheme, code, pair = more
    raw = with_(
        ENGLISH,
        ("<event>Rainstorm", f"<event>{event}"),
        (
            "<valueName>GB/T 35561</valueName><value>11B03</value>",
            f"<valueName>{scheme}</valueName><value>{code}</value>",
        ),
        ("<headline>Orange rainstorm warning", "<headline>Orange warning"),
        ("<area>", f"{pair}<area>"),
    )
    (signal,) = reading(raw, FEED, RECEIVED_US).signals
    assert signal.hazard == hazard


def test_a_colour_that_does_not_exist_for_the_hazard_is_suspect() -> None:
    hail = with_(RAINSTORM, ("暴雨橙色", "冰雹蓝色"), ("11B03", "11B15"), ("暴雨", "冰雹"))
    assert "colour_not_in_use" in {p.code for p in reading(hail, FEED, RECEIVED_US).problems}


def test_a_translation_takes_the_hazard_of_the_block_that_is_understood() -> None:
    code = "<eventCode><valueName>GB/T 35561</valueName><value>11B03</value></eventCode>"
    raw = with_(RAINSTORM, (code, ""), ("<event>Rainstorm", "<event>Chuvas"), ("rainstorm warning", "aviso"))
    (group,) = groups(accepted(raw))
    assert (group.hazard, [info.language for info in group.infos]) == ("rainstorm", ["zh-CN", "en-US"])


def test_a_translation_that_names_another_hazard_is_the_same_signal() -> None:
    raw = with_(
        RAINSTORM,
        ("<event>Rainstorm", "<event>Thunderstorm"),
        ("<eventCode><valueName>GB/T 35561</valueName><value>11B03</value></eventCode>", ""),
    )
    (signal,) = reading(raw, FEED, RECEIVED_US).signals
    assert (signal.hazard, signal.claimed_level) == ("rainstorm", 2)
    (group,) = groups(accepted(raw))
    assert [info.language for info in group.infos] == ["zh-CN", "en-US"]


def test_blocks_of_one_language_are_no_translations_of_each_other() -> None:
    raw = with_(
        RAINSTORM,
        ("<event>Rainstorm", "<event>Thunderstorm"),
        ("<eventCode><valueName>GB/T 35561</valueName><value>11B03</value></eventCode>", ""),
        ("<language>en-US", "<language>zh-CN"),
    )
    assert [group.hazard for group in groups(accepted(raw))] == ["thunderstorm_gale", "rainstorm"]


def test_an_event_nobody_knows_is_still_shown() -> None:
    code = "<eventCode><valueName>GB/T 35561</valueName><value>11B03</value></eventCode>"
    raw = with_(RAINSTORM, (code, ""), ("ainstorm", "oodoo"), ("暴雨", "某事"))
    signal = first(raw)
    assert (signal.kind, signal.hazard, signal.event_code) == (SignalKind.ALERT, "other", "")
    assert "hazard_unknown" in codes_of(signal)


def test_cap_1_0_and_1_1_are_read() -> None:
    old = accepted((DATA / "cap_1_0.xml").read_bytes())
    assert (old.version, old.infos[0].certainty, old.infos[0].event_codes) == (
        "1.0",
        "Likely",
        (("LOCAL", "structure"),),
    )
    assert first((DATA / "cap_1_0.xml").read_bytes()).place.areas == ("210202000000",)
    middle = accepted(with_(RAINSTORM, ("cap:1.2", "cap:1.1")))
    assert (middle.version, len(middle.infos)) == ("1.1", 2)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030", "gbk"])
def test_encodings_are_believed_as_declared(encoding: str) -> None:
    declared = encoding.removesuffix("-sig").upper()
    raw = RAINSTORM.replace('encoding="UTF-8"', f'encoding="{declared}"').encode(encoding)
    assert accepted(raw) == accepted(RAINSTORM.encode())


def test_prefixes_comments_and_wrapped_values_change_nothing() -> None:
    prefixed = RAINSTORM.replace("xmlns=", "xmlns:cap=").replace("</", "</cap:")
    prefixed = "<cap:".join(prefixed.split("<")).replace("<cap:/cap:", "</cap:").replace("<cap:?xml", "<?xml")
    wrapped = prefixed.replace("38.90,121.60 38.95", "\n  38.90,121.60\n\t38.95").replace(
        "rain-0001", "<!-- x -->\nrain-0001\n"
    )
    assert accepted(wrapped.encode()) == accepted(RAINSTORM.encode())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ([("  <identifier>rain-0001</identifier>\n", "")], ("missing", "alert/identifier")),
        ([("<sender>met.example.cn</sender>", "<sender/>")], ("missing", "alert/sender")),
        ([("rain-0001", "rain 0001")], ("id_characters", "alert/identifier")),
        ([("rain-0001", "rain,0001")], ("id_characters", "alert/identifier")),
        ([("rain-0001", "r" * 257)], ("id_too_long", "alert/identifier")),
        ([("08:00:00+08:00</sent>", "00:00:00Z</sent>")], ("time_malformed", "alert/sent")),
        ([("08:00:00+08:00</sent>", "08:00:00</sent>")], ("time_malformed", "alert/sent")),
        ([("08:00:00+08:00</sent>", "08:00:00,08:00</sent>")], ("time_malformed", "alert/sent")),
        ([("2026-07-01T08:00:00+08:00</sent>", "2026-02-30T08:00:00+08:00</sent>")], ("time_malformed", "alert/sent")),
        ([("2026-07-01T08:00:00+08:00</sent>", "2026-07-01 08:00:00+08:00</sent>")], ("time_malformed", "alert/sent")),
        ([("Actual", "actual")], ("value_unknown", "alert/status")),
        ([(">Public<", ">Everybody<")], ("value_unknown", "alert/scope")),
        ([(">Public<", ">Restricted<")], ("restriction_missing", "alert/restriction")),
        ([(">Public<", ">Private<")], ("addresses_missing", "alert/addresses")),
        ([(">Alert<", ">Cancel<")], ("references_missing", "alert/references")),
        ([("<identifier>", "<identifier>x</identifier><identifier>")], ("repeated", "alert/identifier")),
        (
            [("<scope>Public</scope>\n", ""), ("<msgType>", "<scope>Public</scope><msgType>")],
            ("element_order", "alert/msgType"),
        ),
    ],
)
def test_a_broken_head_is_refused_with_its_reason(changes: list[tuple[str, str]], error: tuple[str, str]) -> None:
    assert errors(with_(RAINSTORM, *changes)) == [error]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ([("    <category>Met</category>\n", "")], ("missing", "info[1]/category")),
        ([(">Severe<", ">High<")], ("value_unknown", "info[1]/severity")),
        ([(">Expected<", "><")], ("missing", "info[1]/urgency")),
        ([("<areaDesc>Harbour district</areaDesc>", "")], ("missing", "info[1]/area[1]/areaDesc")),
        ([("<valueName>GB/T 35561</valueName>", "")], ("missing", "info[1]/eventCode")),
        ([(" 38.90,121.60</polygon>", " 38.91,121.60</polygon>")], ("polygon_open", "info[1]/area[1]/polygon")),
        ([("38.95,121.60 38.95,121.70 38.90,121.70 ", "")], ("polygon_points", "info[1]/area[1]/polygon")),
        ([("38.95,121.60", "121.60,38.95")], ("coordinates_range", "info[1]/area[1]/polygon")),
        ([("38.95,121.60", "38.95;121.60")], ("coordinates_malformed", "info[1]/area[1]/polygon")),
        ([("38.95,121.60", "nan,121.60")], ("coordinates_malformed", "info[1]/area[1]/polygon")),
        ([("121.65 2.5", "121.65 -1")], ("circle_radius", "info[1]/area[1]/circle")),
        ([("121.65 2.5", "121.65 inf")], ("circle_radius", "info[1]/area[1]/circle")),
        ([("121.65 2.5", "121.65")], ("circle_malformed", "info[1]/area[1]/circle")),
        ([("14:00:00+08:00", "14:00:00Z")], ("time_malformed", "info[1]/expires")),
    ],
)
def test_a_broken_info_is_refused_with_its_reason(changes: list[tuple[str, str]], error: tuple[str, str]) -> None:
    assert errors(with_(RAINSTORM, *changes))[0] == error


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"not xml", "xml_malformed"),
        (RAINSTORM.encode()[:700], "xml_malformed"),
        (b"<alert/>", "namespace_unknown"),
        (b'<alert xmlns="urn:example:other"/>', "namespace_unknown"),
        (b'<feed xmlns="http://www.w3.org/2005/Atom"/>', "namespace_unknown"),
        (b'<info xmlns="urn:oasis:names:tc:emergency:cap:1.2"/>', "not_an_alert"),
        (b"<!DOCTYPE a><alert/>", "xml_doctype"),
        (RAINSTORM.encode() + b" " * RAW_BYTES_MAX, "too_large"),
        (RAINSTORM.encode("gb18030"), "xml_malformed"),
    ],
)
def test_what_is_no_alert_is_refused_with_its_reason(raw: bytes, code: str) -> None:
    assert [code for code, _ in errors(raw)] == [code]


def test_an_entity_that_points_to_a_file_is_never_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("rain-9999")
    doctype = f'<!DOCTYPE alert [<!ENTITY x SYSTEM "{secret.as_uri()}">]>'
    raw = with_(RAINSTORM, ("<alert ", f"{doctype}<alert "), ("rain-0001", "&x;"))
    assert [code for code, _ in errors(raw)] == ["xml_doctype"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ([(">Alert<", ">Update<")], "references_missing"),
        ([("<scope>Public</scope>", "<scope>Public</scope><restriction>x</restriction>")], "restriction_ignored"),
        ([(">Likely<", ">Very Likely<")], "certainty_deprecated"),
        ([("08:00:00+08:00</sent>", "08:00:00.25+08:00</sent>")], "time_fraction"),
        ([("T14:00:00", "T07:00:00")], "expires_before_sent"),
        ([("T14:00:00", "T07:00:00")], "effective_after_expires"),
        ([("More than", "&lt;b&gt;More&lt;/b&gt; than")], "html_in_text"),
        ([("en-US", "english language")], "language_malformed"),
        ([("121.65 2.5", "121.65 0")], "circle_radius_zero"),
        (
            [("</geocode>", "</geocode><altitude>200</altitude><ceiling>100</ceiling>")],
            "ceiling_below_altitude",
        ),
        ([("    <area>", "    <web>example</web><area>")], "web_relative"),
        ([("<scope>", "<password>x</password><scope>")], "password_deprecated"),
        ([("<headline>Orange", "<x xmlns='urn:x'/><headline>Orange")], "element_foreign"),
        ([("Met</category>\n    <event>R", "Geo</category>\n    <event>R")], "categories_differ"),
        ([("More than 50 mm within three hours.", "预计未来三小时降雨量将达五十毫米以上。")], "language_repeats_text"),
    ],
)
def test_what_is_only_bad_style_is_accepted_and_shown(changes: list[tuple[str, str]], code: str) -> None:
    assert code in warned(with_(RAINSTORM, *changes))


def test_blocks_of_different_events_are_shown() -> None:
    assert "event_codes_differ" in warned(with_first(RAINSTORM, "</eventCode>", f"</eventCode>{SECOND_CODE}"))


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("met.example.cn,typhoon-0002,2026-08-10T20:00:00+08:00", "reference_self"),
        ("met.example.cn,typhoon-0001,2026-08-11T20:00:00+08:00", "reference_later"),
    ],
)
def test_strange_references_are_shown(reference: str, code: str) -> None:
    begin, end = TYPHOON.index("<references>") + 12, TYPHOON.index("</references>")
    assert code in warned((TYPHOON[:begin] + reference + TYPHOON[end:]).encode())


def test_a_message_that_names_itself_does_not_refer_to_itself() -> None:
    begin, end = TYPHOON.index("<references>") + 12, TYPHOON.index("</references>")
    own = "met.example.cn,typhoon-0002,2026-08-10T20:00:00+08:00"
    assert first((TYPHOON[:begin] + own + TYPHOON[end:]).encode()).references == ()


def test_elements_of_another_cap_version_are_read_and_named() -> None:
    raw = with_(RAINSTORM, ("<event>Rainstorm", '<event xmlns="urn:oasis:names:tc:emergency:cap:1.1">Rainstorm'))
    assert warned(raw) == {"namespace_mixed"}
    assert accepted(raw).infos == accepted(RAINSTORM.encode()).infos


def test_a_signature_is_noticed_and_neither_trusted_nor_refused() -> None:
    raw = with_(RAINSTORM, ("</alert>", '<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"/></alert>'))
    assert accepted(raw).signed
    assert warned(raw) == set()


def test_a_polygon_that_crosses_itself_is_shown_to_whoever_checks() -> None:
    bow_tie = with_(RAINSTORM, ("38.95,121.60 38.95,121.70 38.90,121.70", "38.95,121.70 38.95,121.60 38.90,121.70"))
    assert [p.code for p in shape_warnings(accepted(bow_tie))] == ["polygon_crosses_itself"]
    assert list(shape_warnings(accepted(RAINSTORM.encode()))) == []


def test_what_a_stranger_can_grow_is_capped() -> None:
    info = RAINSTORM[RAINSTORM.index("  <info>") : RAINSTORM.index("  </info>") + 10]
    assert errors(with_(RAINSTORM, (info, info * 40)))[0] == ("too_many", "alert/info")
    circle = "<circle>38.92,121.65 2.5</circle>"
    assert errors(with_(RAINSTORM, (circle, circle * 1_025)))[0][0] == "too_many"
    long = accepted(with_(RAINSTORM, ("More than", "x" * 40_000)))
    assert len(long.infos[0].description) == 32_768
    many = read(with_(RAINSTORM, ("<headline>Orange", "<x xmlns='urn:x'/>" * 500 + "<headline>Orange")))
    assert len(many.problems) == 100


@pytest.mark.parametrize(
    ("scheme", "value", "codes"),
    [
        ("CPEAS Geographic Code", "210202000000", ["210202000000"]),
        ("anything", "21020200000000", ["210202000000"]),
        ("国家行政区划代码", "210202，210203", ["210202000000", "210203000000"]),
        ("GB/T 2260", "210202001", ["210202001000"]),
        ("SAME", "136061", []),
        ("UGC", "LEZ146", []),
        ("CPEAS", "010202000000", []),
    ],
)
def test_only_chinese_division_codes_become_areas(scheme: str, value: str, codes: list[str]) -> None:
    assert list(area_codes(scheme, value)) == codes


@given(st.binary(max_size=400))
def test_no_bytes_crash_the_reader(raw: bytes) -> None:
    assert read(raw).message is None


@given(st.integers(0, len(RAINSTORM.encode())), st.binary(min_size=1, max_size=6))
def test_no_damage_crashes_the_reader_or_the_signals(at: int, noise: bytes) -> None:
    raw = RAINSTORM.encode()
    found = read(raw[:at] + noise + raw[at + len(noise) :])
    if found.message is not None:
        assert signals(found.message, FEED, RECEIVED_US).signals


@pytest.mark.skipif(not SAMPLES.exists(), reason="the shared samples are not here")
def test_shared_samples_are_accepted_or_refused_as_they_should_be() -> None:
    verdicts = {path.name: read(path.read_bytes()).message is not None for path in SAMPLES.glob("*/*.xml")}
    assert verdicts == {path.name: path.parent.name == "valid" for path in SAMPLES.glob("*/*.xml")}


def scoped(area: str, *areas: str, code: str = "210202000000") -> tuple[tuple[str, ...], SignalKind, set[str]]:
    feed = Feed("met", "", "", "cap", Use.ACTUAL, "", area, areas=areas)
    signal = first(RAINSTORM.replace("210202000000", code).encode(), feed)
    return signal.place.areas, signal.kind, codes_of(signal)


def test_a_feed_speaks_only_for_its_own_areas() -> None:
    alert, info = SignalKind.ALERT, SignalKind.INFO
    assert scoped("210200000000") == (("210202000000",), alert, set())
    assert scoped("210203000000", "210202000000") == (("210202000000",), alert, set())
    assert scoped("210202001000") == (("210202001000",), alert, {"area_narrowed"})
    assert scoped("210203000000") == (("210202000000",), info, {"area_left_out", "area_not_enrolled"})


def test_of_very_many_areas_those_of_the_feed_count_first_and_it_is_said() -> None:
    many = [f"33{number:04}000000" for number in range(1_200)]
    raw = RAINSTORM.replace(
        "<value>210202000000</value>", f"<value>{','.join([*many, '210202000000'])}</value>"
    ).encode()
    everywhere = first(raw, Feed("met", "", "", "cap", Use.ACTUAL, "", ""))
    assert everywhere.place.areas == tuple(many[:1_000])
    assert codes_of(everywhere) == {"areas_too_many"}
    for enrolled, kept in (("210200000000", "210202000000"), ("210202001000", "210202001000")):
        own = first(raw, Feed("met", "", "", "cap", Use.ACTUAL, "", enrolled))
        assert (own.place.areas, own.kind) == ((kept,), SignalKind.ALERT)
        assert codes_of(own) >= {"areas_too_many", "area_left_out"}


def test_a_feed_is_the_witness_that_it_is_enrolled_as() -> None:
    hotline = Feed("hotline", "", "", "cap", Use.ACTUAL, "", "", evidence=Evidence.PERSON)
    assert first(RAINSTORM.encode(), hotline).evidence is Evidence.PERSON


def test_a_feed_may_have_words_of_its_own() -> None:
    feed = Feed("met", "", "", "cap", Use.ACTUAL, "", "", aliases=(("暴雨", "flood"), ("Rainstorm", "flood")))
    signal = first(RAINSTORM.encode(), feed)
    assert (signal.hazard, signal.event_code) == ("flood", "11A00")


def test_shapes_on_a_chinese_map_are_moved_to_wgs_84() -> None:
    feed = Feed("met", "", "", "cap", Use.ACTUAL, "", "", datum=Datum.GCJ02)
    polygon, circle = first(RAINSTORM.encode(), feed).place.shapes
    assert isinstance(polygon, Polygon) and isinstance(circle, Circle)
    assert (len(polygon.ring), circle.radius_m) == (4, 2_500)
    for moved, drawn in (
        (polygon.ring[0], RING.ring[0]),
        ((circle.lat_e7, circle.lon_e7), (389_200_000, 1_216_500_000)),
    ):
        assert all(0 < abs(a - b) < 100_000 for a, b in zip(moved, drawn, strict=True))


def test_an_old_alert_without_an_end_is_information() -> None:
    endless = RAINSTORM.replace("<expires>2026-07-01T14:00:00+08:00</expires>", "").encode()
    late = first(endless, received_us=SENT_US + 86_400_000_001)
    assert (late.kind, codes_of(late)) == (SignalKind.INFO, {"report_old"})
    assert first(endless, received_us=SENT_US + 86_400_000_000).kind is SignalKind.ALERT


def test_a_message_from_the_future_counts_from_now() -> None:
    early = first(RAINSTORM.encode(), received_us=SENT_US - 10**15)
    assert (early.observed_us, codes_of(early)) == (SENT_US - 10**15 + 300_000_000, {"sent_in_future"})


def test_a_message_that_says_its_event_is_over_raises_none() -> None:
    over = RAINSTORM.replace("发布暴雨橙色", "解除暴雨橙色").replace(
        "<event>Rainstorm</event>", "<event>Rainstorm</event><responseType>AllClear</responseType>"
    )
    assert (first(over.encode()).kind, codes_of(first(over.encode()))) == (SignalKind.INFO, {"all_clear"})
    partly = first(RAINSTORM.replace("发布暴雨橙色", "解除暴雨橙色").encode())
    assert (partly.kind, codes_of(partly)) == (SignalKind.ALERT, {"all_clear_in_part"})


def test_a_reference_of_cap_1_0_names_no_time() -> None:
    old = (DATA / "cap_1_0.xml").read_text(encoding="utf-8")
    at = old.index("<info>")
    message = accepted((old[:at] + "<references>a-1/met.example.cn</references>" + old[at:]).encode())
    assert [(each.sender, each.identifier, each.sent_us) for each in message.references] == [
        ("met.example.cn", "a-1", None)
    ]
    # Found by identifier, as one with a wrong time is.
    assert signals(message, FEED, RECEIVED_US).signals[0].references == ("cap/met/met.example.cn,a-1,0",)
