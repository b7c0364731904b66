"""`tocsin feed` and `tocsin gb26875`: look at what a department or a fire panel sent, without a running system."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from devices.protocols.selector import Polygon
from services.dispatcher.domain.signals import Feed, Problem, Signal, Use
from services.dispatcher.feeds import FEEDS, atom, cap, ebd
from services.dispatcher.feeds.cap_message import CapArea, CapMessage
from services.dispatcher.feeds.cap_rules import shape_warnings
from services.dispatcher.feeds.detect import detect
from services.dispatcher.feeds.ebd_message import Order
from services.dispatcher.feeds.ebd_tar import TAR_BYTES_MAX

from .panel_frames import capture_rows, in_words

CAPTURE_BYTES_MAX = 16_777_216
# The largest file of any format; each format has its own bound below it.
FILE_BYTES_MAX = TAR_BYTES_MAX

feed_app = typer.Typer(help="Check department feed files.", no_args_is_help=True)
gb26875_app = typer.Typer(help="Read fire panel frames (GB/T 26875.3).", no_args_is_help=True)


@feed_app.callback()
def _feed() -> None:
    """Check department feed files."""


@gb26875_app.callback()
def _gb26875() -> None:
    """Read fire panel frames (GB/T 26875.3)."""


@feed_app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Files of department feeds.")],
    format: Annotated[str, typer.Option(help="The format of all of them; empty: told by how each begins.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array, one object per file.")] = False,
) -> None:
    """Say of each file whether it is accepted, which signals it makes, and every problem.

    Exit code 0 when all files are accepted whole, else 1. CAP and EBD files are judged as of the time they were
    sent, others as of now. In JSON a polygon is a closed list of [lat, lon], a circle is [lat, lon, radius in km].
    """
    if format and format not in FEEDS:
        raise typer.BadParameter(f"The format is one of {', '.join(FEEDS)}.")
    results = [check_file(path, format) for path in files]
    if as_json:
        typer.echo(json.dumps(results, ensure_ascii=False, indent=2))
    else:
        for result in results:
            typer.echo(_in_words(result))
    raise typer.Exit(0 if all(result["accepted"] for result in results) else 1)


def check_file(path: Path, format: str = "") -> dict[str, Any]:
    """The verdict on one file, ready for JSON; the format is told by the file where none is given."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as cause:
        problem = Problem(
            "error", "file_unreadable", "", f"The file cannot be read: {cause.strerror or 'input error'}."
        )
        return _verdict(path, [], (problem,), accepted=False)
    format = format or detect(raw)
    if format not in _IN_FULL:
        return _check_any(path, format, raw)
    rows, problems = _IN_FULL[format](raw)
    accepted = all(problem.severity != "error" for problem in problems)
    return _verdict(path, rows, problems, accepted=accepted) | {"format": format}


def _cap_rows(raw: bytes) -> tuple[list[dict[str, Any]], tuple[Problem, ...]]:
    found = cap.read(raw)
    rows, problems = [], list(found.problems)
    for message in found.messages:
        judged = cap.signals(message, _ANY_FEED, message.sent_us)
        groups = cap.groups(message) or (cap.NO_GROUP,)
        rows += [_signal_row(message, *pair) for pair in zip(groups, judged.signals, strict=True)]
        problems += (*judged.problems, *shape_warnings(message))
    return rows, tuple(problems)


def _list_rows(raw: bytes) -> tuple[list[dict[str, Any]], tuple[Problem, ...]]:
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


def _packet_rows(raw: bytes) -> tuple[list[dict[str, Any]], tuple[Problem, ...]]:
    """The signal of an EBD packet that is an order, as of the time it was sent."""
    found = ebd.read(raw)
    if found.packet is None:
        return [], found.problems
    head, order = found.packet.head, found.packet.body
    received_us = order.sent_us if isinstance(order, Order) and order.sent_us is not None else head.time_us
    judged = ebd.signals(found.packet, replace(_ANY_FEED, format=ebd.FORMAT), received_us or 0)
    rows = [_order_row(order, signal) for signal in judged.signals if isinstance(order, Order)]
    return rows, (*found.problems, *judged.problems)


def _order_row(order: Order, signal: Signal) -> dict[str, Any]:
    codes = list(signal.place.areas)
    return {
        "key": signal.key,
        "identifier": order.id,
        "sender": order.sender_code,
        "sent": order.sent,
        "status": "Test" if signal.test_bit else "Actual",
        "kind": str(signal.kind),
        "event": order.event_type,
        "hazard": signal.hazard,
        "level": signal.claimed_level,
        "languages": [order.content.language] if order.content else [],
        "areas": [{"name": "", "codes": codes, "polygons": [], "circles": []}] if codes else [],
        "references": list(order.related),
    }


_IN_FULL = {cap.FORMAT: _cap_rows, atom.FORMAT: _list_rows, ebd.FORMAT: _packet_rows}


def _check_any(path: Path, format: str, raw: bytes) -> dict[str, Any]:
    """The verdict on a file whose signals say all there is; some of it may be accepted and the rest not."""
    found = FEEDS[format](raw, replace(_ANY_FEED, format=format), time.time_ns() // 1_000)
    errors = [problem for problem in found.problems if problem.severity == "error"]
    rows = [
        {
            "key": signal.key,
            "kind": str(signal.kind),
            "event": signal.headline,
            "hazard": signal.hazard,
            "level": signal.claimed_level,
            "status": str(signal.use),
            "sent": datetime.fromtimestamp(signal.observed_us // 1_000_000, UTC).isoformat(),
            "areas": list(signal.place.areas),
            "places": list(signal.place.names),
            "references": list(signal.references),
        }
        for signal in found.signals
    ]
    return _verdict(path, rows, found.problems, accepted=bool(found.signals) and not errors) | {"format": format}


# Checking a file asks what it says, not whether some feed may say it.
_ANY_FEED = Feed("check", "", "", cap.FORMAT, Use.ACTUAL, "", "")


def _verdict(
    path: Path, rows: list[dict[str, Any]], problems: tuple[Problem, ...], *, accepted: bool
) -> dict[str, Any]:
    return {
        "file": str(path),
        "format": cap.FORMAT,
        "accepted": accepted,
        "signals": rows,
        "problems": [asdict(problem) for problem in problems],
    }


def _signal_row(message: CapMessage, group: cap.Group, signal: Signal) -> dict[str, Any]:
    first = group.infos[0] if group.infos else None
    areas = dict.fromkeys(area for info in group.infos for area in info.areas)
    return {
        "key": signal.key,
        "identifier": message.identifier,
        "sender": message.sender,
        "sent": message.sent,
        "status": message.status,
        "kind": str(signal.kind),
        "event": first.event if first else "",
        "hazard": signal.hazard,
        "level": signal.claimed_level,
        "languages": list(dict.fromkeys(info.language for info in group.infos)),
        "areas": [_area_row(area) for area in areas],
        "references": [reference.text for reference in message.references],
    }


def _area_row(area: CapArea) -> dict[str, Any]:
    return {
        "name": area.name,
        "codes": [value for _, value in area.codes],
        "polygons": [_closed(polygon) for polygon in area.polygons],
        "circles": [[c.lat_e7 / 1e7, c.lon_e7 / 1e7, c.radius_m / 1_000] for c in area.circles],
    }


def _closed(polygon: Polygon) -> list[list[float]]:
    ring = [[lat / 1e7, lon / 1e7] for lat, lon in polygon.ring]
    return [*ring, ring[0]]


def _in_words(result: dict[str, Any]) -> str:
    verdict = "accepted" if result["accepted"] else "accepted in part" if result["signals"] else "refused"
    lines = [f"{result['file']}: {verdict}"]
    for row in result["signals"]:
        level = "no level" if row["level"] is None else f"level {row['level']}"
        lines.append(f"  {row['kind']} {row['hazard']} ({row['event']}), {level}, {row['status']}, sent {row['sent']}")
    lines += [f"  {p['severity']} {p['code']} at {p['where'] or 'file'}: {p['message']}" for p in result["problems"]]
    return "\n".join(lines)


@gb26875_app.command()
def decode(
    file: Annotated[Path, typer.Argument(help="A capture, binary or as hexadecimal text; - for standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, as docs/panels.md says.")] = False,
) -> None:
    """Say what the frames in a capture say, and which bytes are no frame.

    Exit code 0 when there is at least one frame and no damage, 1 when not, 2 when the capture can't be read.
    """
    frames = damaged = 0
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as capture:
            for row in capture_rows(capture, CAPTURE_BYTES_MAX):
                frames, damaged = frames + (row["kind"] == "frame"), damaged + (row["kind"] == "damaged")
                typer.echo(json.dumps(row, ensure_ascii=False) if as_json else in_words(row))
            cut = bool(capture.read(1))
    except OSError as cause:
        typer.echo(f"The capture cannot be read: {cause.strerror or 'input error'}.", err=True)
        raise typer.Exit(2) from cause
    if cut:
        typer.echo(f"Only the first {CAPTURE_BYTES_MAX} bytes were read.", err=True)
    if not as_json:
        typer.echo(f"{frames} frames, {damaged} damaged stretches")
    raise typer.Exit(0 if frames and not damaged and not cut else 1)
