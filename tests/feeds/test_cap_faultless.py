"""The quick way of reading a CAP alert and the thorough one say the same of every alert that the quick one takes."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from services.dispatcher.feeds.cap_faultless import faultless_alert, plain_alert
from services.dispatcher.feeds.cap_message import (
    AREAS_MAX,
    INFOS_MAX,
    PAIRS_MAX,
    REFERENCES_MAX,
    RESOURCES_MAX,
    SHAPES_MAX,
    TEXT_CHARS_MAX,
    VERTICES_MAX,
    CapMessage,
)
from services.dispatcher.feeds.cap_read import thorough_alert
from services.dispatcher.feeds.cap_tables import NAMESPACES, ROOTS, SIGNATURE
from services.dispatcher.feeds.xml_edge import BadXml, open_root

DATA = Path(__file__).parents[1] / "data" / "cap"
CAP = NAMESPACES["1.2"]
SIGNED = f'<Signature xmlns="{SIGNATURE[1:].partition("}")[0]}"><SignedInfo/></Signature></alert>'
WHOLE = (DATA / "whole.xml").read_text(encoding="utf-8")
SEEDS = [
    *((DATA / name).read_text(encoding="utf-8") for name in ("rainstorm.xml", "typhoon_two_levels.xml")),
    WHOLE,
    WHOLE.replace("cap:1.2", "cap:1.1"),
    WHOLE.replace("</alert>", SIGNED),
    WHOLE.replace("</alert>", SIGNED).replace("</alert>", SIGNED),
]
SEEDS.append(SEEDS[0].replace("<", "<c:").replace("<c:/", "</c:").replace("<c:?", "<?").replace("xmlns=", "xmlns:c="))
TEXTS = ["", " ", "x", "\n a \t", "<b>&amp;", "a\rb", "\u3000", "2026-07-01T08:00:00.5+08:00", "Very Likely", "en"]
TEXTS += ["2026-07-01T08:00:00Z", "1,2 3,4 5,6 1,2", "1,179.9 50", "0,170 0,-170 5,-170 0,170", "a,b,c", "7"]
TAGS = [SIGNATURE, "{urn:x}Signature", "{urn:x}info", "info", f"{{{NAMESPACES['1.1']}}}info", f"{{{CAP}}}area"]


def parsed(text: str) -> etree._Element:
    return open_root(text.encode(), 1_000_000, compact=True)


def quick(root: etree._Element) -> CapMessage | None:
    return faultless_alert(root)


@pytest.mark.parametrize("text", SEEDS)
def test_alerts_without_fault_are_taken_the_quick_way(text: str) -> None:
    root = parsed(text)
    found = thorough_alert(root, ROOTS[root.tag])
    assert (found.message, found.problems) == (quick(root), ())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("</alert>", "x</alert>"),
        ("</alert>", SIGNED.replace("</alert>", "x</alert>")),
        ("</alert>", f'<s:Signature xmlns:s="urn:x" a="b"/>{SIGNED}'),
        ("<info>", f"{SIGNED[:-8]}<info>"),
        ("<info>", '<info a="b">'),
        ("<scope>", "<scope>Public</scope><scope>"),
    ],
)
def test_what_is_unusual_is_left_to_the_thorough_way(old: str, new: str) -> None:
    assert quick(parsed(WHOLE.replace(old, new, 1))) is None


def changed(root: etree._Element, kind: int, at: int, to: int) -> None:
    every = list(root.iter())
    element = every[at % len(every)]
    parent = element.getparent()
    match kind:
        case 0 if parent is not None:
            parent.remove(element)
        case 1 if parent is not None:
            parent.insert(to % (len(parent) + 1), deepcopy(element))
        case 2:
            element.text = TEXTS[to % len(TEXTS)].replace("&amp;", "&")
        case 3:
            element.tail = TEXTS[to % 3]
        case 4:
            element.set("a", '<>&"')
        case 5:
            element.tag = TAGS[to % len(TAGS)]
        case 6:
            element.tag = every[to % len(every)].tag
        case 7:
            element.text = every[to % len(every)].text
        case _:
            element.append(etree.Element(TAGS[to % len(TAGS)]))


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 200), st.integers(0, 200)), max_size=3),
)
def test_both_ways_read_the_same_message(text: str, changes: list[tuple[int, int, int]]) -> None:
    root = parsed(text)
    for kind, at, to in changes:
        changed(root, kind, at, to)
    root = parsed(etree.tostring(root, encoding="unicode", with_tail=False))
    if root.tag not in ROOTS:
        return
    message = quick(root)
    if message is not None:
        found = thorough_alert(root, ROOTS[root.tag])
        assert (found.message, found.problems) == (message, ())


DECLARED = WHOLE.partition("?>")[0] + "?>"
OPENING = WHOLE[WHOLE.index("<alert") : WHOLE.index(">", WHOLE.index("<alert")) + 1]
FAKE = WHOLE[WHOLE.index("<alert") :].replace("Actual", "Exercise").replace("--", "- -")
SPOILT = {
    "end_of_cdata": ("<headline>", "<headline>]]>"),
    "control": ("<headline>", "<headline>\x07"),
    "no_character": ("<headline>", "<headline>\ufffe"),
    "entity": ("<headline>", "<headline>&nbsp;"),
    "bare_ampersand": ("<headline>", "<headline>AT&T"),
    "one_attribute_twice": (OPENING, OPENING[:-1] + " a='1' a='2'>"),
    "prefix_of_nothing": (OPENING, OPENING.replace("<alert", "<c:alert")),
    "less_in_an_attribute": (OPENING, OPENING[:-1] + " a='<'>"),
    "greater_in_an_attribute": (OPENING, OPENING[:-1] + " a='>'>"),
    "opening_that_never_closes": (OPENING, OPENING[:-1]),
    "alert_of_nothing": (OPENING, OPENING[:-1] + "/>"),
    "other_namespace_below": ("<scope>", "<scope xmlns='urn:x'>"),
    "other_end": ("</scope>", "</scop>"),
    "second_root": ("</alert>", "</alert><alert/>"),
    "text_behind": ("</alert>", "</alert>x"),
    "blank_of_no_xml_behind": ("</alert>", "</alert>\u3000"),
    "blank_of_no_xml_between": ("<scope>", "\u3000<scope>"),
    "comment_before_that_ends_twice": (DECLARED, f"{DECLARED}<!-- x -- {FAKE} -->"),
    "comment_before_the_declaration": (DECLARED, f"<!-- x -->{DECLARED}"),
    "comment_that_never_ends": (DECLARED, f"{DECLARED}<!-- "),
    "no_character_in_a_comment": (DECLARED, f"{DECLARED}<!-- \uffff -->"),
    "control_in_a_comment": (DECLARED, f"{DECLARED}<!-- \x01 -->"),
    "stylesheet_before_the_declaration": (DECLARED, f"<?xml-stylesheet href='x'?>{DECLARED}"),
    "instruction_before": (DECLARED, f"{DECLARED}<?x {FAKE} ?>"),
    "instruction_instead": (DECLARED, f"<?x {FAKE} ?>"),
    "doctype": (DECLARED, f"{DECLARED}<!DOCTYPE alert>"),
    "cdata": ("<headline>", "<headline><![CDATA[x]]>"),
    "comment_in_a_text": ("<headline>", "<headline><!-- x -->"),
    "character_by_number": ("<headline>", "<headline>&#8;"),
    "other_encoding": (DECLARED, '<?xml version="1.0" encoding="ISO-8859-1"?>'),
    "no_such_encoding": (DECLARED, '<?xml version="1.0" encoding="UTF-88"?>'),
    "other_version": (DECLARED, '<?xml version="1.1"?>'),
    "vertical_tab_before": (DECLARED, f"{DECLARED}\x0b"),
    "blank_before_the_declaration": (DECLARED, f" {DECLARED}"),
    "second_mark_of_byte_order": (f"{DECLARED}\n", "\ufeff\ufeff"),
    "mark_of_byte_order_behind_the_declaration": (DECLARED, f"{DECLARED}\ufeff"),
    "mark_of_byte_order_behind_a_comment": (DECLARED, f"{DECLARED}<!-- x -->\ufeff"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_a_parser_would_see_otherwise_is_never_taken_as_plain(name: str) -> None:
    old, new = SPOILT[name]
    assert old in WHOLE
    assert plain_alert(WHOLE.replace(old, new, 1).encode()) is None


@pytest.mark.parametrize(
    "raw",
    [
        WHOLE.encode(),
        WHOLE.encode("utf-8-sig"),
        WHOLE.replace("\n", "\r\n").encode(),
        WHOLE.replace(DECLARED, "").encode(),
        WHOLE.replace(DECLARED, "<?xml version = '1.0' encoding = 'utf-8' standalone='yes' ?>").encode(),
        WHOLE.replace(DECLARED, f"{DECLARED}\n<!-- {FAKE} -->\n<?xml-stylesheet href='x'?><!---->\n").encode(),
        WHOLE.replace(OPENING, f"{OPENING[:-1]} xmlns:x='urn:x' x:y='z'\n>").encode(),
        WHOLE.replace("<headline>", "<headline>&quot;&apos;&lt;b&gt;&amp;lt; ]] ").encode(),
        SEEDS[-1].encode(),
    ],
)
def test_a_plain_file_says_what_its_elements_say(raw: bytes) -> None:
    root = open_root(raw, 1_000_000, compact=True)
    message = plain_alert(raw)
    assert message is not None
    assert message == thorough_alert(root, ROOTS[root.tag]).message


PAIR = "<valueName/><value/>"
TOO_MANY = {
    "code": ("<code>", "<code>x</code>", PAIRS_MAX),
    "category": ("<category>", "<category>Met</category>", PAIRS_MAX),
    "responseType": ("<responseType>", "<responseType>None</responseType>", PAIRS_MAX),
    "eventCode": ("<eventCode>", f"<eventCode>{PAIR}</eventCode>", PAIRS_MAX),
    "parameter": ("<parameter>", f"<parameter>{PAIR}</parameter>", PAIRS_MAX),
    "geocode": ("<geocode>", f"<geocode>{PAIR}</geocode>", PAIRS_MAX),
    "polygon": ("<polygon>", "<polygon>0,0 0,0 0,0 0,0</polygon>", SHAPES_MAX),
    "circle": ("<circle>", "<circle>0,0 0</circle>", SHAPES_MAX),
    "vertices": ("</polygon>", " 38.90,121.60" * 10, VERTICES_MAX // 10),
    "area": ("<area>", "<area><areaDesc>x</areaDesc></area>", AREAS_MAX),
    "resource": (
        "<resource>",
        "<resource><resourceDesc>x</resourceDesc><mimeType>a/b</mimeType></resource>",
        RESOURCES_MAX,
    ),
    "references": ("<incidents>", "a,b,2026-07-01T00:00:00+00:00 ", REFERENCES_MAX + 1),
    "info": ("<info>", WHOLE[WHOLE.index("<info>") : WHOLE.index("</info>") + len("</info>")], INFOS_MAX),
}


@pytest.mark.parametrize("name", TOO_MANY)
def test_no_number_of_elements_above_its_cap_is_taken_the_quick_way(name: str) -> None:
    before, element, count = TOO_MANY[name]
    stretch = element * count
    if name == "references":
        stretch = f"<references>{stretch}</references>"
    text = re.sub(r">\s+<", "><", WHOLE)
    assert before in text
    text = text.replace(before, stretch + before, 1)
    root = parsed(text)
    assert plain_alert(text.encode()) is None
    assert quick(root) is None
    found = thorough_alert(root, "1.2")
    assert (found.message, [problem.code for problem in found.problems]) == (None, ["too_many"])


def test_texts_that_would_be_cut_are_left_to_the_thorough_way() -> None:
    longest = TEXT_CHARS_MAX - len("description>")
    text = re.sub(r"<(headline|description|instruction)>[^<]*", rf"<\1>{'x' * longest}", WHOLE)
    message = plain_alert(text.encode())
    assert message is not None
    assert (message, ()) == thorough_alert(parsed(text), "1.2")[:2]
    cut = text.replace("<description>", f"<description>{'x' * (TEXT_CHARS_MAX - longest + 1)}")
    assert plain_alert(cut.encode()) is None
    assert quick(parsed(cut)) is None
    assert [problem.code for problem in thorough_alert(parsed(cut), "1.2").problems] == ["text_cut"]


PIECES = ["<", ">", "&", "&amp;", "&#13;", "]]>", "\x00", "\x1f", "\r", "\u2028", "\ufffe", "\ufffd", "</alert>"]
PIECES += [
    "\ufeff",
    " ",
    "/",
    "<!-- -->",
    "<?x?>",
    "<![CDATA[]]>",
    "<info>",
    "</info>",
    "<code/>",
    "<note></note>",
    "xmlns=''",
]
PIECES += ["\u3000", '"', "<code>1</code>", "<polygon>0,0 0,1 1,1 0,0</polygon>"]


@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 3), st.sampled_from(PIECES)), min_size=1, max_size=3),
    st.booleans(),
)
def test_a_plain_file_is_one_that_the_parser_reads_in_the_same_way(
    text: str, spots: list[tuple[int, int, str]], whole_tags: bool
) -> None:
    for at, cut, piece in spots:
        at %= len(text)
        if whole_tags:
            # Between two elements or at the ends of a text, where most of it is still right.
            at = max(0, text.find("<", at))
        text = text[:at] + piece + text[at + cut :]
    raw = text.encode()
    message = plain_alert(raw)
    if message is None:
        return
    try:
        root = open_root(raw, 1_000_000, compact=True)
    except BadXml as bad:
        pytest.fail(f"taken as plain, but {bad.sentence}")
    found = thorough_alert(root, ROOTS[root.tag])
    assert (found.message, found.problems) == (message, ())
