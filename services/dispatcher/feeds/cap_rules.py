"""CAP's rules of style: what a readable alert does that it should not. Pure; every finding is a warning."""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.dispatcher.domain.signals import Problem
from services.dispatcher.feeds.cap_message import CapArea, CapInfo, CapMessage, CapResource
from services.dispatcher.feeds.cap_shapes import crosses_itself

LANGUAGE = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*")
MIME_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(;.*)?", re.ASCII | re.DOTALL)
ABSOLUTE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
HTML = re.compile(r"</?[A-Za-z][^<>]*>|&[A-Za-z]+;")


def warnings(message: CapMessage) -> list[Problem]:
    """Warnings about everything but shapes; cheap enough for every message."""
    found: list[Problem] = []
    if message.restriction and message.scope != "Restricted":
        sentence = "A restriction means something in Restricted only."
        found.append(_warning("restriction_ignored", "alert/restriction", sentence))
    for reference in message.references:
        if reference.sent_us is None:
            sentence = "CAP 1.0 names no time in references; what this one means can't be told for sure."
            found.append(_warning("reference_without_time", "alert/references", sentence))
        elif reference.sent_us > message.sent_us:
            found.append(_warning("reference_later", "alert/references", "A reference is later than the alert itself."))
        if (reference.sender, reference.identifier) == (message.sender, message.identifier):
            found.append(_warning("reference_self", "alert/references", "The alert refers to itself."))
    for index, info in enumerate(message.infos, 1):
        found += _info(message, info, f"info[{index}]")
    if len(message.infos) > 1:
        found += _between(message.infos)
    return found


def _info(message: CapMessage, info: CapInfo, where: str) -> list[Problem]:
    found: list[Problem] = []
    if not LANGUAGE.fullmatch(info.language):
        found.append(_warning("language_malformed", f"{where}/language", "The language is not an RFC 3066 tag."))
    if info.expires_us is not None:
        if info.expires_us < message.sent_us:
            sentence = "The alert expires before it was sent."
            found.append(_warning("expires_before_sent", f"{where}/expires", sentence))
        if info.effective_us is not None and info.effective_us > info.expires_us:
            sentence = "The alert takes effect after it expires."
            found.append(_warning("effective_after_expires", f"{where}/effective", sentence))
    for name, text in (
        ("headline", info.headline),
        ("description", info.description),
        ("instruction", info.instruction),
    ):
        if ("<" in text or "&" in text) and HTML.search(text):
            sentence = "The text holds HTML, which would be read aloud."
            found.append(_warning("html_in_text", f"{where}/{name}", sentence))
    if info.web and not ABSOLUTE_URI.fullmatch(info.web):
        found.append(_warning("web_relative", f"{where}/web", "The web address is not absolute."))
    for resource in info.resources:
        found += _resource(resource, f"{where}/resource")
    if not info.areas:
        found.append(_warning("area_missing", f"{where}/area", "The info block names no area."))
    for index, area in enumerate(info.areas, 1):
        if area.circles or area.ceiling:
            found += _area(area, f"{where}/area[{index}]")
    return found


def _resource(resource: CapResource, where: str) -> Iterator[Problem]:
    if resource.mime_type and not MIME_TYPE.fullmatch(resource.mime_type):
        yield _warning("mime_type_malformed", f"{where}/mimeType", "The MIME type is not type/subtype.")
    if resource.uri and not resource.embedded and not ABSOLUTE_URI.fullmatch(resource.uri):
        yield _warning("uri_relative", f"{where}/uri", "A relative URI needs the content beside it.")


def _area(area: CapArea, where: str) -> Iterator[Problem]:
    if any(circle.radius_m == 0 for circle in area.circles):
        yield _warning("circle_radius_zero", f"{where}/circle", "A circle of radius 0 reaches nobody.")
    try:
        too_low = bool(area.ceiling) and float(area.ceiling) < float(area.altitude)
    except ValueError:
        too_low = True
    if too_low:
        yield _warning("ceiling_below_altitude", f"{where}/ceiling", "The ceiling lies below the altitude.")


def _between(infos: tuple[CapInfo, ...]) -> Iterator[Problem]:
    first = infos[0]
    for index, info in enumerate(infos[1:], 2):
        if info.categories != first.categories and set(info.categories) != set(first.categories):
            yield _warning(
                "categories_differ", f"info[{index}]/category", "Info blocks of one alert share one category."
            )
        if info.event_codes != first.event_codes and set(info.event_codes) != set(first.event_codes):
            yield _warning(
                "event_codes_differ", f"info[{index}]/eventCode", "Info blocks of one alert share one event."
            )
    languages: dict[str, str] = {}
    for index, info in enumerate(infos, 1):
        if info.description and languages.setdefault(info.description, info.language) != info.language:
            where = f"info[{index}]/description"
            yield _warning("language_repeats_text", where, "The same text stands under two languages.")


def shape_warnings(message: CapMessage) -> Iterator[Problem]:
    """Warnings about crossed polygons, for whoever checks a file: too slow for large shapes on the way to a siren."""
    seen = set()
    for index, info in enumerate(message.infos, 1):
        for number, area in enumerate(info.areas, 1):
            for polygon in area.polygons:
                if polygon in seen:
                    continue
                seen.add(polygon)
                if crosses_itself(polygon):
                    where = f"info[{index}]/area[{number}]/polygon"
                    yield _warning("polygon_crosses_itself", where, "The polygon crosses itself.")


def _warning(code: str, where: str, message: str) -> Problem:
    return Problem("warning", code, where, message)
