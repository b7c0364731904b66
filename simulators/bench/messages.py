"""CAP messages of the shapes that warning offices send, made up here: what `tocsin bench feeds` reads without files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, pi, sin
from xml.sax.saxutils import escape

from services.dispatcher.feeds.cap_tables import NAMESPACES

SENT = "2026-07-01T08:00:00+08:00"
SENT_US = 1_782_864_000_000_000
EXPIRES = "2026-07-01T20:00:00+08:00"
TEXTS = {
    "zh-CN": ("暴雨", "某市气象台发布暴雨橙色预警信号", "预计未来三小时内降雨量将达五十毫米以上，请注意防范。"),
    "en-US": ("Rainstorm", "Orange rainstorm warning", "Fifty millimetres of rain are expected within three hours.\n"),
    "fr-FR": ("Fortes pluies", "Vigilance orange", "Cinquante millimètres de pluie sont attendus en trois heures.\n"),
    "de-DE": ("Starkregen", "Amtliche Warnung vor Starkregen", "In drei Stunden fallen bis zu fünfzig Liter Regen.\n"),
}


@dataclass(frozen=True, slots=True)
class Form:
    """How much there is of everything: info blocks by language, `sentences` in a description, pairs, areas, points."""

    languages: tuple[str, ...]
    sentences: int
    parameters: int
    areas: int
    geocodes: int
    points: int = 0
    circle: bool = False


FORMS: dict[str, Form] = {
    "a city by its codes": Form(("zh-CN",), 1, 0, 2, 1),
    "two languages by codes": Form(("zh-CN", "en-US"), 2, 3, 2, 4),
    "counties with many pairs": Form(("en-US",), 20, 12, 1, 24, 9),
    "three languages, one zone": Form(("en-US", "fr-FR", "de-DE"), 4, 4, 1, 2, 60),
    "forecast regions": Form(("en-US", "fr-FR"), 6, 8, 4, 6, 20),
    "a long outline": Form(("de-DE",), 4, 6, 1, 1, 400),
    "a circle": Form(("en-US",), 6, 3, 1, 1, circle=True),
}


def messages() -> dict[str, bytes]:
    """One message of each form, in UTF-8 with indented elements as most senders write them."""
    return {name: _alert(form, number).encode() for number, (name, form) in enumerate(FORMS.items(), 1)}


def _alert(form: Form, number: int) -> str:
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<alert xmlns="{NAMESPACES["1.2"]}">',
        *_texts(
            1,
            identifier=f"bench-{number}",
            sender="bench@warnings.example",
            sent=SENT,
            status="Actual",
            msgType="Alert",
            scope="Public",
        ),
        *(line for language in form.languages for line in _info(form, language)),
        "</alert>",
        "",
    ]
    return "\n".join(lines)


def _info(form: Form, language: str) -> Iterator[str]:
    event, headline, sentence = TEXTS[language]
    yield "  <info>"
    yield from _texts(
        2,
        language=language,
        category="Met",
        event=event,
        responseType="Prepare",
        urgency="Expected",
        severity="Severe",
        certainty="Likely",
    )
    yield from _pair(2, "eventCode", "GB/T 35561", "11B03")
    yield from _texts(
        2,
        effective=SENT,
        onset=SENT,
        expires=EXPIRES,
        senderName="A weather office",
        headline=headline,
        description=sentence * form.sentences,
        instruction=sentence,
        web="https://warnings.example/1",
    )
    for number in range(form.parameters):
        yield from _pair(2, "parameter", f"parameter_{number}", f"value {number} of this message")
    for number in range(form.areas):
        yield from _area(form, number)
    yield "  </info>"


def _area(form: Form, number: int) -> Iterator[str]:
    yield "    <area>"
    yield from _texts(3, areaDesc=f"Region {number} and its surroundings")
    if form.points:
        yield from _texts(3, polygon=" ".join(_ring(form.points, number)))
    if form.circle:
        yield from _texts(3, circle="38.9140,121.6147 12.5")
    for code in range(form.geocodes):
        yield from _pair(3, "geocode", "CPEAS Geographic Code", f"{210_200_000_000 + 1_000 * code + number}")
    yield "    </area>"


def _ring(points: int, number: int) -> Iterator[str]:
    """A closed outline around a place of its own, with four decimals as most senders write."""
    for step in (*range(points), 0):
        angle = 2 * pi * step / points
        yield f"{38.9 + number + 0.2 * sin(angle):.4f},{121.6 + 0.3 * cos(angle):.4f}"


def _texts(depth: int, **texts: str) -> Iterator[str]:
    for name, text in texts.items():
        yield f"{'  ' * depth}<{name}>{escape(text)}</{name}>"


def _pair(depth: int, name: str, scheme: str, value: str) -> Iterator[str]:
    yield f"{'  ' * depth}<{name}>"
    yield from _texts(depth + 1, valueName=scheme, value=value)
    yield f"{'  ' * depth}</{name}>"
