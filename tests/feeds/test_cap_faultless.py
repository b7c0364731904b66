"""The quick way of reading a CAP alert and the thorough one say the same of every alert that the quick one takes."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from services.dispatcher.feeds.cap_faultless import faultless_alert
from services.dispatcher.feeds.cap_message import CapMessage
from services.dispatcher.feeds.cap_read import thorough_alert
from services.dispatcher.feeds.cap_tables import NAMESPACES, ROOTS, SIGNATURE
from services.dispatcher.feeds.xml_edge import open_root

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
    return faultless_alert(root, ROOTS[root.tag])


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
