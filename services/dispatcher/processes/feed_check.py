"""What a file of a department feed says, in one form for every format: the verdict that `tocsin feed check` prints.

Checking a file asks what it says, not whether some feed may say it: the kind and the status are the file's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from devices.protocols.selector import Circle, Polygon, Shape
from services.dispatcher.domain.signals import Feed, Place, Problem, Signal, SignalKind, Use
from services.dispatcher.feeds import FEEDS, alert12379, atom, cap, ebd
from services.dispatcher.feeds.cap_message import CapArea, CapMessage
from services.dispatcher.feeds.cap_rules import shape_warnings
from services.dispatcher.feeds.detect import detect
from services.dispatcher.feeds.ebd_message import EbdOrder, MsgType
from services.dispatcher.feeds.ebd_tar import TAR_BYTES_MAX
from services.dispatcher.feeds.xml_edge import BadXml, open_root

# The largest file of any format; each format has its own bound below it.
FILE_BYTES_MAX = TAR_BYTES_MAX
# "info" is what none of the three is: an acknowledgement, a report for information.
_KINDS = {"Alert": SignalKind.ALERT, "Update": SignalKind.UPDATE, "Cancel": SignalKind.CANCEL}
_LOWERING = frozenset(
    ("status_not_aired", "expired_on_arrival", "report_old", "not_a_hazard", "reference_missing", "hazard_not_enrolled")
)
_ANY_FEED = Feed("check", "", "", cap.FORMAT, Use.ACTUAL, "", "")

Row = dict[str, Any]
Told = tuple[list[Row], tuple[Problem, ...]]


def check_file(path: Path, format: str = "") -> Row:
    """The verdict on one file, ready for JSON; the format is told by the file where none is given."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as cause:
        said = f"The file cannot be read: {cause.strerror or 'input error'}."
        return _verdict(path, "", [], (Problem("error", "file_unreadable", "", said),), accepted=False)
    format = format or detect(raw)
    rows, problems = _IN_FULL[format](raw) if format in _IN_FULL else _plain_rows(format, raw)
    accepted = all(problem.severity != "error" for problem in problems)
    return _verdict(path, format, rows, problems, accepted=accepted and (bool(rows) or format in _MAY_BE_SILENT))


def _verdict(path: Path, format: str, rows: list[Row], problems: tuple[Problem, ...], *, accepted: bool) -> Row:
    return {
        "file": str(path),
        "format": format,
        "accepted": accepted,
        "signals": rows,
        "problems": [asdict(problem) for problem in problems],
    }


def _cap_rows(raw: bytes) -> Told:
    found = cap.read(raw)
    rows, problems = [], list(found.problems)
    for message in found.messages:
        judged = cap.signals(message, _ANY_FEED, message.sent_us)
        groups = cap.groups(message) or (cap.NO_GROUP,)
        rows += [_cap_row(message, *pair) for pair in zip(groups, judged.signals, strict=True)]
        problems += (*judged.problems, *shape_warnings(message))
    return rows, tuple(problems)


def _cap_row(message: CapMessage, group: cap.Group, signal: Signal) -> Row:
    first = group.infos[0] if group.infos else None
    areas = dict.fromkeys(area for info in group.infos for area in info.areas)
    return {
        "key": signal.key,
        "identifier": message.identifier,
        "sender": message.sender,
        "sent": message.sent,
        "status": message.status,
        "kind": str(_KINDS.get(message.msg_type, SignalKind.INFO)),
        "event": first.event if first else "",
        "hazard": signal.hazard,
        "level": signal.claimed_level,
        "languages": list(dict.fromkeys(info.language for info in group.infos)),
        "areas": [_cap_area(area) for area in areas],
        "references": [reference.text for reference in message.references],
    }


def _cap_area(area: CapArea) -> Row:
    return _area(area.name, [value for _, value in area.codes], (*area.polygons, *area.circles))


def _list_rows(raw: bytes) -> Told:
    """The alerts inside a list; those it only links are named."""
    listing = atom.read_list(raw)
    rows, problems = [], list(listing.problems)
    for index, entry in enumerate(listing.entries, 1):
        where = f"entry[{index}]"
        if entry.embedded is None:
            problems.append(Problem("warning", "entry_linked", where, f"The alert lies at {entry.cap_url}."))
            continue
        found, said = _cap_rows(entry.embedded)
        rows += found
        problems += (replace(problem, where=f"{where}/{problem.where}") for problem in said)
    return rows, tuple(problems)


def _packet_rows(raw: bytes) -> Told:
    """The signal of an EBD packet that is an order, as of the time it was sent."""
    found = ebd.read(raw)
    if found.packet is None:
        return [], found.problems
    head, order = found.packet.head, found.packet.body
    received_us = order.sent_us if isinstance(order, EbdOrder) and order.sent_us is not None else head.time_us
    judged = ebd.signals(found.packet, replace(_ANY_FEED, format=ebd.FORMAT), received_us or 0)
    rows = [_order_row(order, signal) for signal in judged.signals if isinstance(order, EbdOrder)]
    return rows, (*found.problems, *judged.problems)


def _order_row(order: EbdOrder, signal: Signal) -> Row:
    earlier = any(id != order.id for id in order.related)
    kind = SignalKind.CANCEL if order.msg_type is MsgType.CANCEL else SignalKind.UPDATE if earlier else SignalKind.ALERT
    return {
        "key": signal.key,
        "identifier": order.id,
        "sender": order.sender_code,
        "sent": order.sent,
        "status": "Test" if signal.test_bit else "Actual",
        "kind": str(kind),
        "event": order.event_type,
        "hazard": signal.hazard,
        "level": signal.claimed_level,
        "languages": [order.content.language] if order.content else [],
        "areas": _areas(signal.place),
        "references": list(order.related),
    }


def _national_rows(raw: bytes) -> Told:
    """The signal of a 12379 message, as of the time it was sent; what it says of itself in its own words."""
    feed = replace(_ANY_FEED, format=alert12379.FORMAT)
    found = alert12379.reading(raw, feed, time.time_ns() // 1_000)
    if not found.signals:
        return [], found.problems
    judged = alert12379.reading(raw, feed, found.signals[0].observed_us)
    try:
        root = open_root(raw, alert12379.RAW_BYTES_MAX)
    except BadXml as bad:  # pragma: no cover - it was read a moment ago
        raise AssertionError(bad.sentence) from bad

    def said(name: str) -> str:
        return (root.findtext(f"{{*}}{name}") or "").strip()

    language = (root.findtext("{*}info/{*}language") or "").strip()
    row = {
        "identifier": said("identifier"),
        "sender": said("senderCode") or said("sender"),
        "sent": said("sendTime"),
        "status": said("status"),
        "kind": str(_KINDS.get(said("msgType"), SignalKind.INFO)),
        "event": (root.findtext("{*}info/{*}eventType") or "").strip(),
        "languages": [language] if language else [],
        "references": [said("references")] if said("references") else [],
    }
    return [_row(alert12379.FORMAT, signal) | row for signal in judged.signals], judged.problems


def _plain_rows(format: str, raw: bytes) -> Told:
    """The signals of a format whose reports say no more than signals do; some may be accepted and the rest not."""
    found = FEEDS[format](raw, replace(_ANY_FEED, format=format), time.time_ns() // 1_000)
    return [_row(format, signal) for signal in found.signals], found.problems


def _row(format: str, signal: Signal) -> Row:
    own = f"{format}/{_ANY_FEED.id}/"
    tested = any(problem.code == "status_not_aired" for problem in signal.problems)
    return {
        "key": signal.key,
        "identifier": signal.key.removeprefix(own).partition("#info")[0],
        "sender": signal.device,
        "sent": _instant(signal.observed_us),
        "status": "Test" if tested else "Exercise" if signal.use is Use.EXERCISE else "Actual",
        "kind": str(_kind(signal)),
        "event": signal.headline or signal.event_code,
        "hazard": signal.hazard,
        "level": signal.claimed_level,
        "languages": [],
        "areas": _areas(signal.place),
        "references": [reference.removeprefix(own) for reference in signal.references],
    }


def _instant(at_us: int) -> str:
    """The time in UTC; empty for one that calendars don't reach."""
    try:
        return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat()
    except (ValueError, OverflowError):
        return ""


def _kind(signal: Signal) -> SignalKind:
    """What the report was before something made it information only; "info" for what never was more."""
    codes = {problem.code for problem in signal.problems}
    if signal.kind is not SignalKind.INFO or codes.isdisjoint(_LOWERING):
        return signal.kind
    if "#resolved-" in signal.key or "reference_missing" in codes:
        return SignalKind.CANCEL
    return SignalKind.UPDATE if signal.references else SignalKind.ALERT


def _areas(place: Place) -> list[Row]:
    """Where a signal says it is, as one area; none where it says nothing."""
    name = "、".join((*([place.venue] if place.venue else []), *place.names))
    return [_area(name, list(place.areas), place.shapes)] if name or place.areas or place.shapes else []


def _area(name: str, codes: list[str], shapes: tuple[Shape, ...]) -> Row:
    return {
        "name": name,
        "codes": codes,
        "polygons": [_closed(shape) for shape in shapes if isinstance(shape, Polygon)],
        "circles": [[c.lat_e7 / 1e7, c.lon_e7 / 1e7, c.radius_m / 1_000] for c in shapes if isinstance(c, Circle)],
    }


def _closed(polygon: Polygon) -> list[list[float]]:
    ring = [[lat / 1e7, lon / 1e7] for lat, lon in polygon.ring]
    return [*ring, ring[0]]


_IN_FULL: dict[str, Callable[[bytes], Told]] = {
    cap.FORMAT: _cap_rows,
    atom.FORMAT: _list_rows,
    ebd.FORMAT: _packet_rows,
    alert12379.FORMAT: _national_rows,
}
# A list may hold links alone, and packets that are no orders report nothing.
_MAY_BE_SILENT = (atom.FORMAT, ebd.FORMAT)
