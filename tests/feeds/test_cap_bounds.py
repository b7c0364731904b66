"""What hostile or huge CAP input costs: it is refused or bounded with a sentence. Encodings and the 180° meridian."""

from __future__ import annotations

import re
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from devices.protocols.selector import Polygon, inside
from services.dispatcher.domain.signals import Feed, Use
from services.dispatcher.feeds.cap import read, reading
from services.dispatcher.feeds.cap_message import PROBLEMS_MAX, RAW_BYTES_MAX, CapMessage
from services.dispatcher.feeds.cap_rules import shape_warnings
from services.dispatcher.feeds.cap_shapes import BadShape, points_of, polygons_of

DATA = Path(__file__).parents[1] / "data" / "cap"
WHOLE = (DATA / "whole.xml").read_text(encoding="utf-8")
RAINSTORM = (DATA / "rainstorm.xml").read_text(encoding="utf-8")
FEED = Feed("met", "", "", "cap", Use.ACTUAL, "", "")
MEMORY_BYTES_MAX = 64_000_000


def accepted(raw: bytes) -> CapMessage:
    found = read(raw)
    assert found.message is not None, found.problems
    return found.message


def refused(raw: bytes) -> list[str]:
    """The codes of the errors, found within a bounded memory."""
    tracemalloc.start()
    try:
        found = read(raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY_BYTES_MAX
    assert found.message is None
    assert len(found.problems) <= PROBLEMS_MAX
    assert all(len(problem.message) < 500 for problem in found.problems)
    return [problem.code for problem in found.problems if problem.severity == "error"]


def in_event(text: str) -> bytes:
    return WHOLE.replace("<event>暴雨", f"<event>{text}").encode()


def bomb() -> bytes:
    lines = ['<!ENTITY a0 "ha">']
    lines += [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12)]
    return WHOLE.replace("<alert ", f"<!DOCTYPE alert [{''.join(lines)}]><alert ").replace("暴雨", "&a11;").encode()


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (in_event("x" * 50_000_000), "too_large"),
        (b"<a>" * 10_000, "xml_too_large"),
        (b"<a>" * 10_000 + b"</a>" * 10_000, "xml_too_large"),
        (WHOLE.replace("<info>", "<info>" * 10_000).encode(), "xml_too_large"),
        (b"<" + b"a" * 100_000 + b"/>", "xml_too_large"),
        (WHOLE.replace("<area>", "<area/>" * 140_000 + "<area>").encode(), "too_many"),
        (WHOLE.replace("<area>", "<x/>" * 250_000 + "<area>").encode(), "element_unknown"),
        (WHOLE.replace("<status>", "<status>Actual</status>" * 40_000 + "<status>").encode(), "repeated"),
        (WHOLE.replace("</polygon>", " 38.90,121.60" * 60_000 + "</polygon>").encode(), "too_many"),
        (WHOLE.replace("</polygon>", " x" * 400_000 + "</polygon>").encode(), "too_many"),
        (WHOLE.replace("<circle>", "<circle>1,1 1</circle>" * 1_100 + "<circle>").encode(), "too_many"),
        (WHOLE.replace("<geocode>", "<geocode/>" * 2_000 + "<geocode>").encode(), "too_many"),
        (
            WHOLE.replace("<incidents>", f"<references>{'a,b,c ' * 100_000}</references><incidents>").encode(),
            "too_many",
        ),
    ],
)
def test_what_is_too_much_is_refused_within_bounds(raw: bytes, code: str) -> None:
    assert refused(raw)[0] == code


def test_an_entity_bomb_is_refused_before_it_grows() -> None:
    assert refused(bomb()) == ["xml_doctype"]


def test_a_message_may_be_as_large_as_the_limit_says() -> None:
    room = RAW_BYTES_MAX - len(WHOLE.encode())
    message = accepted(WHOLE.replace("met@example.cn", "met@example.cn" + "x" * room).encode())
    assert len(message.infos[0].contact) == 32_768


def test_an_embedded_file_is_noticed_and_not_kept() -> None:
    raw = WHOLE.replace("<digest>", f"<derefUri>{'QUJD' * 100_000}</derefUri><digest>").encode()
    (resource,) = accepted(raw).infos[0].resources
    assert (resource.embedded, resource.size) == (True, 2_048)


def test_a_polygon_of_six_thousand_points_is_read_whole() -> None:
    ring = " ".join(f"{38 + n / 10_000},{121 + (n % 7) / 100}" for n in range(6_208))
    start, end = WHOLE.index("<polygon>") + 9, WHOLE.index("</polygon>")
    message = accepted((WHOLE[:start] + ring + " 38.0,121.0" + WHOLE[end:]).encode())
    (polygon,) = message.infos[0].areas[0].polygons
    assert len(polygon.ring) == 6_208
    assert [problem.code for problem in shape_warnings(message)] in ([], ["polygon_crosses_itself"])


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030", "gbk", "big5"]
)
def test_encodings_are_believed_as_declared(encoding: str) -> None:
    text = WHOLE
    if encoding == "big5":
        text = WHOLE.replace("示例市气象台", "香港天文台").replace("预计未来三小时降雨量将达五十毫米以上。", "大雨")
        for word in (
            "全体居民",
            "暴雨橙色预警信号",
            "暴雨",
            "发布",
            "请远离低洼地带。",
            "雷达图",
            "港口区",
            "值班记录第七号",
        ):
            text = text.replace(word, "大雨")
    raw = text.replace('"UTF-8"', f'"{encoding.removesuffix("-sig").upper()}"').encode(encoding)
    if encoding in ("utf-16-le", "utf-16-be"):
        raw = "\ufeff".encode(encoding) + raw
    assert accepted(raw) == accepted(text.encode())


def test_latin_letters_of_one_byte_are_read() -> None:
    latin = WHOLE.replace('"UTF-8"', '"ISO-8859-1"')
    for name in ("source", "note", "event", "audience", "senderName", "headline", "description", "instruction"):
        start, end = latin.index(f"<{name}>") + len(name) + 2, latin.index(f"</{name}>")
        latin = latin[:start] + "Ciclón en Gävle" + latin[end:]
    latin = latin.replace("雷达图", "é").replace("港口区", "ü")
    assert accepted(latin.encode("iso-8859-1")).infos[0].event == "Ciclón en Gävle"


@pytest.mark.parametrize("declared", ["GB2312", "gb_2312-80", "GBK"])
def test_characters_that_only_a_wider_chinese_encoding_has_are_read(declared: str) -> None:
    text = RAINSTORM.replace("UTF-8", declared).replace("港口区", "港口區镕㐂")
    found = read(text.encode("gb18030"))
    assert found.message is not None
    assert found.message.infos[1].areas[0].name == "港口區镕㐂"
    assert read(text.encode()).message is None
    assert read(text.replace("<alert", "<!DOCTYPE alert []><alert").encode("gb18030")).message is None


def test_utf_16_that_says_utf_8_is_read_by_its_mark() -> None:
    assert accepted(WHOLE.encode("utf-16")) == accepted(WHOLE.encode())


@pytest.mark.parametrize("prefix", ["cap", "ns2", "a.b-c", "警"])
def test_any_prefix_will_do(prefix: str) -> None:
    text = WHOLE.replace("</", f"</{prefix}:").replace("<alert xmlns=", f"<{prefix}:alert xmlns:{prefix}=")
    names = {part.split(">")[0] for part in WHOLE.split("<")[2:] if part[0].isalpha()} - {"alert"}
    for name in names:
        text = text.replace(f"<{name}>", f"<{prefix}:{name}>")
    assert accepted(text.encode()) == accepted(WHOLE.encode())


@pytest.mark.parametrize(
    ("text", "within", "without"),
    [
        ("-10,179 -10,-179 10,-179 10,179 -10,179", [(0, 179.5), (0, -179.5), (0, 180), (0, -180)], [(0, 0), (0, 178)]),
        ("-10,-179 10,-179 10,179 -10,179 -10,-179", [(0, 179.5), (0, -179.5)], [(0, 0), (0, -178)]),
        ("-10,179 -10,180 -10,-180 -10,-179 10,-179 10,179 -10,179", [(0, 179.5), (0, -179.5)], [(0, 0)]),
        ("0,170 10,-170 -10,-170 0,170", [(0, 175), (0, -171)], [(9, 175), (0, 0), (0, -169)]),
        ("-80,-180 80,-180 80,180 -80,180 -80,-180", [(0, 0), (0, 179), (0, -179)], [(85, 0)]),
        ("10,-100 10,0 10,100 -10,100 -10,0 -10,-100 10,-100", [(0, 0), (0, 99)], [(0, 101), (0, -179)]),
    ],
)
def test_a_polygon_over_the_180th_meridian_covers_what_it_means(
    text: str, within: list[tuple[float, float]], without: list[tuple[float, float]]
) -> None:
    shapes = polygons_of(text)

    def covered(lat: float, lon: float) -> bool:
        return any(inside(shape, round(lat * 1e7), round(lon * 1e7)) for shape in shapes)

    assert [point for point in within if not covered(*point)] == []
    assert [point for point in without if covered(*point)] == []


def test_a_polygon_that_was_cut_is_shown() -> None:
    start, end = WHOLE.index("<polygon>") + 9, WHOLE.index("</polygon>")
    found = read((WHOLE[:start] + "-10,179 -10,-179 10,-179 -10,179" + WHOLE[end:]).encode())
    assert [problem.code for problem in found.problems] == ["polygon_over_meridian"]
    assert found.message is not None and len(found.message.infos[0].areas[0].polygons) == 2


coordinate = st.tuples(st.floats(-90, 90).map(lambda x: round(x, 5)), st.floats(-180, 180).map(lambda x: round(x, 5)))


@given(st.lists(coordinate, min_size=3, max_size=12))
def test_every_cut_stays_on_the_map(points: list[tuple[float, float]]) -> None:
    try:
        shapes = polygons_of(" ".join(f"{lat:.5f},{lon:.5f}" for lat, lon in [*points, points[0]]))
    except BadShape as bad:
        assert bad.code == "polygon_around_pole"
        return
    assert shapes
    for shape in shapes:
        assert all(abs(lat) <= 900_000_000 and abs(lon) <= 1_800_000_000 for lat, lon in shape.ring)


@given(st.lists(st.text("0123456789.,+-eEnaif_ \n\t１[]", max_size=12), max_size=4).map(" ".join))
@example("51.5074,-0.1278 51.6,-0.2 0.5,0.5")
@example("1.5,2.5],[3.5,4.5")
@example("1.2.3456,1.0000 1.0000,1.0000")
@example("01.5,2.5 1.5,02.5")
@example("90.00000001,1.0 1.0,180.00000001")
@example("1.23456785,1.0 1.0,-1.0000000")
def test_points_are_what_their_digits_say(text: str) -> None:
    pairs = text.split()
    right = [re.fullmatch(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)),([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))", p) for p in pairs]
    said = [(Decimal(each[1]) * 10**7, Decimal(each[2]) * 10**7) for each in right if each is not None]
    try:
        points = points_of(text)
    except BadShape:
        assert None in right or any(abs(lat) > 900_000_000 or abs(lon) > 1_800_000_000 for lat, lon in said)
        return
    assert None not in right
    assert len(points) == len(said)
    for (lat, lon), (said_lat, said_lon) in zip(points, said, strict=True):
        assert abs(lat - said_lat) <= Decimal("0.5001")
        assert abs(lon - said_lon) <= Decimal("0.5001")


PIECES = st.sampled_from(
    [
        *(
            "<info>",
            "</info>",
            "<area>",
            "</area>",
            "<resource>",
            "<polygon>0,0 0,1 1,1 0,0</polygon>",
            "<circle>",
            "</circle>",
        ),
        *(
            "<geocode>",
            "</geocode>",
            "<valueName>",
            "<value/>",
            "<event>",
            "</event>",
            "<![CDATA[",
            "]]>",
            "<!--",
            "-->",
        ),
        *("&amp;", "&#1;", "&x;", "</alert>", "<alert/>", "x" * 40_000, "\x00", "\ufeff", "\ud7ff", "😀", "<?x?>"),
        *("<references>a,b,2026-07-01T00:00:00+00:00</references>", "xmlns:a='urn:a'", "<a:b xmlns:a='urn:a'/>"),
    ]
)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 60), PIECES), min_size=1, max_size=4))
def test_no_damage_crashes_the_way_to_a_signal(cuts: list[tuple[int, int, str]]) -> None:
    text = WHOLE
    for at, length, piece in cuts:
        text = text[:at] + piece + text[at + length :]
    found = reading(text.encode(), FEED, 0)
    assert bool(found.signals) != any(problem.severity == "error" for problem in found.problems)
    for signal in found.signals:
        assert all(isinstance(shape, Polygon) or shape.radius_m >= 0 for shape in signal.place.shapes)
