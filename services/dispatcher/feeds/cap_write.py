"""CAP 1.2 for publication: messages, signals and broadcasts in, strict XML out. Pure.

What is written is read back before it leaves: whatever the reader finds fault with, be it only style, is not published.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from lxml import etree

from devices.protocols.documents import Phase
from devices.protocols.selector import Circle, Polygon, Shape
from services.dispatcher.domain.broadcasts import Broadcast
from services.dispatcher.domain.signals import Problem, Signal, SignalKind, Use
from services.dispatcher.feeds.cap import read
from services.dispatcher.feeds.cap_message import CapArea, CapInfo, CapMessage, CapResource, Reference
from services.dispatcher.feeds.cap_tables import NAMESPACES
from services.dispatcher.feeds.cap_times import text_of
from services.dispatcher.feeds.hazards import BY_NAME

BEIJING_MIN = 480
SPACE = NAMESPACES["1.2"]
_NSMAP = cast("dict[str, str]", {None: SPACE})
EVENT_SCHEME = "GB/T 35561"
AREA_SCHEME = "CPEAS Geographic Code"
SEVERITIES = {1: "Extreme", 2: "Severe", 3: "Moderate", 4: "Minor"}
MSG_TYPES = {SignalKind.ALERT: "Alert", SignalKind.UPDATE: "Update", SignalKind.CANCEL: "Cancel"}
LANGUAGES = {"zh": "zh-CN", "en": "en-US"}
# By the beginning of the event code (GB/T 35561-2017); the longest that fits counts.
CATEGORIES = {
    "11A": "Met",
    "11B": "Met",
    "11C": "Geo",
    "11D": "Geo",
    "11E": "Met",
    "11F": "Env",
    "11G": "Fire",
    "12": "Safety",
    "12B": "Fire",
    "12C": "Transport",
    "12D": "Infra",
    "13": "Health",
    "14": "Security",
}


class NotPublishable(Exception):
    """The message would not be right CAP 1.2; `problems` say why."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


def write(message: CapMessage) -> bytes:
    """The message as UTF-8 XML; reading it gives the same message. Raises NotPublishable.

    Times are written at the offset of `sent`. Only CAP 1.2 is written, unsigned, and nothing embedded.
    """
    if message.version != "1.2" or message.signed or _embeds(message):
        raise NotPublishable((_error("not_written", "alert", "Only unsigned CAP 1.2 without content is written."),))
    try:
        raw = etree.tostring(_alert(message), encoding="UTF-8", xml_declaration=True, pretty_print=True)
    except ValueError as cause:
        raise NotPublishable((_error("text_not_xml", "alert", f"The message can't stand in XML: {cause}"),)) from cause
    found = read(raw)
    if found.problems:
        raise NotPublishable(found.problems)
    if found.message != message:
        raise NotPublishable((_error("not_the_same", "alert", "The message would be read as another one."),))
    return raw


def message_of_signal(signal: Signal, sender: str, identifier: str, sent_us: int, area_name: str) -> CapMessage:
    """A signal as others may read it, in Chinese. `area_name` is said where the signal names no place.

    `references` stay out: a signal's are keys of this system. Raises NotPublishable for information that is no alert.
    """
    if signal.kind not in MSG_TYPES:
        raise NotPublishable((_error("not_an_alert", "alert", "Information that is not aired is not published."),))
    hazard = BY_NAME.get(signal.hazard)
    info = CapInfo(
        language="zh-CN",
        categories=(_category(signal.event_code or (hazard.code if hazard else "")),),
        event=(hazard.words[0] if hazard else "") or signal.headline or signal.hazard,
        responses=(),
        urgency="Unknown",
        severity=SEVERITIES.get(signal.claimed_level or 0, "Unknown"),
        certainty="Unknown",
        event_codes=((EVENT_SCHEME, signal.event_code),) if signal.event_code else (),
        expires_us=signal.expires_us,
        headline=signal.headline.strip(),
        description=signal.description.strip(),
        areas=(_area("、".join(signal.place.names) or area_name, signal.place.areas, signal.place.shapes),),
    )
    return _message(identifier, sender, sent_us, signal.use, MSG_TYPES[signal.kind], (info,), ())


def message_of_broadcast(
    broadcast: Broadcast, sender: str, identifier: str, sent_us: int, original: Reference | None = None
) -> CapMessage:
    """A released broadcast, one info per language of its texts. A correction and an all-clear need their `original`.

    The severity is the level; an order sounds now, hence Immediate, or Past where it is over.
    """
    over = broadcast.phase is Phase.ALL_CLEAR
    kind = "Alert" if broadcast.phase is Phase.ALERT else "Cancel" if over else "Update"
    infos = tuple(
        CapInfo(
            language=LANGUAGES.get(language, language),
            categories=(_category(broadcast.event_code),),
            event=_in(broadcast.hazard_names, language) or broadcast.hazard,
            responses=("AllClear",) if over else ("Execute",),
            urgency="Past" if over else "Immediate",
            severity=SEVERITIES[broadcast.level],
            certainty="Observed" if broadcast.verdict == "confirmed" else "Unknown",
            event_codes=((EVENT_SCHEME, broadcast.event_code),) if broadcast.event_code else (),
            expires_us=broadcast.expires_us // 1_000_000 * 1_000_000 if broadcast.expires_us else None,
            description=text.strip(),
            areas=(
                _area(
                    _in(broadcast.place_names, language) or broadcast.stream,
                    broadcast.selector.areas or (),
                    broadcast.selector.shapes or (),
                ),
            ),
        )
        for language, text in broadcast.texts.items()
    )
    references = () if original is None else (original,)
    return _message(identifier, sender, sent_us, broadcast.use, kind, infos, references)


def reference_to(message: CapMessage) -> Reference:
    """What a later message says to name this one."""
    text = f"{message.sender},{message.identifier},{message.sent}"
    return Reference(message.sender, message.identifier, message.sent_us, text)


def _message(
    identifier: str,
    sender: str,
    sent_us: int,
    use: Use,
    msg_type: str,
    infos: tuple[CapInfo, ...],
    references: tuple[Reference, ...],
) -> CapMessage:
    sent_us -= sent_us % 1_000_000
    return CapMessage(
        version="1.2",
        identifier=identifier,
        sender=sender,
        sent=text_of(sent_us, BEIJING_MIN),
        sent_us=sent_us,
        status="Actual" if use is Use.ACTUAL else "Exercise",
        msg_type=msg_type,
        scope="Public",
        references=references,
        infos=infos,
    )


def _in(texts: Mapping[str, str], language: str) -> str:
    return texts.get(language) or next(iter(texts.values()), "")


def _category(event_code: str) -> str:
    fits = [begin for begin in CATEGORIES if event_code.startswith(begin)]
    return CATEGORIES[max(fits, key=len)] if fits else "Other"


def _area(name: str, codes: Iterable[str], shapes: Iterable[Shape]) -> CapArea:
    shapes = tuple(shapes)
    return CapArea(
        name=name,
        polygons=tuple(shape for shape in shapes if isinstance(shape, Polygon)),
        circles=tuple(shape for shape in shapes if isinstance(shape, Circle)),
        codes=tuple((AREA_SCHEME, code) for code in codes),
    )


def _embeds(message: CapMessage) -> bool:
    return any(resource.embedded for info in message.infos for resource in info.resources)


def _alert(message: CapMessage) -> etree._Element:
    alert = etree.Element(f"{{{SPACE}}}alert", nsmap=_NSMAP)
    _leaves(
        alert,
        ("identifier", message.identifier),
        ("sender", message.sender),
        ("sent", message.sent),
        ("status", message.status),
        ("msgType", message.msg_type),
        ("source", message.source),
        ("scope", message.scope),
        ("restriction", message.restriction),
        ("addresses", message.addresses),
        *(("code", code) for code in message.codes),
        ("note", message.note),
        ("references", " ".join(reference.text for reference in message.references)),
        ("incidents", message.incidents),
    )
    offset_min = _offset_min(message.sent)
    for info in message.infos:
        _info(etree.SubElement(alert, f"{{{SPACE}}}info"), info, offset_min)
    return alert


def _info(element: etree._Element, info: CapInfo, offset_min: int) -> None:
    times = {
        name: "" if us is None else text_of(us, offset_min)
        for name, us in (("effective", info.effective_us), ("onset", info.onset_us), ("expires", info.expires_us))
    }
    _leaves(
        element,
        ("language", info.language),
        *(("category", category) for category in info.categories),
        ("event", info.event),
        *(("responseType", response) for response in info.responses),
        ("urgency", info.urgency),
        ("severity", info.severity),
        ("certainty", info.certainty),
        ("audience", info.audience),
    )
    _pairs(element, "eventCode", info.event_codes)
    _leaves(
        element,
        *times.items(),
        ("senderName", info.sender_name),
        ("headline", info.headline),
        ("description", info.description),
        ("instruction", info.instruction),
        ("web", info.web),
        ("contact", info.contact),
    )
    _pairs(element, "parameter", info.parameters)
    for resource in info.resources:
        _resource(etree.SubElement(element, f"{{{SPACE}}}resource"), resource)
    for area in info.areas:
        _place(etree.SubElement(element, f"{{{SPACE}}}area"), area)


def _resource(element: etree._Element, resource: CapResource) -> None:
    _leaves(
        element,
        ("resourceDesc", resource.description),
        ("mimeType", resource.mime_type),
        ("size", "" if resource.size is None else str(resource.size)),
        ("uri", resource.uri),
        ("digest", resource.digest),
    )


def _place(element: etree._Element, area: CapArea) -> None:
    _leaves(
        element,
        ("areaDesc", area.name),
        *(("polygon", " ".join(_point(*point) for point in (*p.ring, p.ring[0]))) for p in area.polygons),
        *(("circle", f"{_point(c.lat_e7, c.lon_e7)} {_decimal(c.radius_m, 3)}") for c in area.circles),
    )
    _pairs(element, "geocode", area.codes)
    _leaves(element, ("altitude", area.altitude), ("ceiling", area.ceiling))


def _leaves(parent: etree._Element, *leaves: tuple[str, str]) -> None:
    for name, text in leaves:
        if text:
            etree.SubElement(parent, f"{{{SPACE}}}{name}").text = text


def _pairs(parent: etree._Element, name: str, pairs: tuple[tuple[str, str], ...]) -> None:
    for scheme, value in pairs:
        pair = etree.SubElement(parent, f"{{{SPACE}}}{name}")
        etree.SubElement(pair, f"{{{SPACE}}}valueName").text = scheme
        etree.SubElement(pair, f"{{{SPACE}}}value").text = value


def _point(lat_e7: int, lon_e7: int) -> str:
    return f"{_decimal(lat_e7, 7)},{_decimal(lon_e7, 7)}"


def _decimal(value: int, places: int) -> str:
    """A scaled integer without loss and without idle zeros."""
    whole, part = divmod(abs(value), 10**places)
    return f"{'-' if value < 0 else ''}{whole}.{part:0{places}d}".rstrip("0").rstrip(".")


def _offset_min(sent: str) -> int:
    """The offset from UTC that a CAP time ends with; 0 for what is no such time and will not be published."""
    sign, hours, minutes = sent[-6:-5], sent[-5:-3], sent[-2:]
    if not (hours.isdecimal() and minutes.isdecimal()):
        return 0
    return (-1 if sign == "-" else 1) * (int(hours) * 60 + int(minutes))


def _error(code: str, where: str, message: str) -> Problem:
    return Problem("error", code, where, message)
