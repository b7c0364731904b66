"""`tocsin feed` and `tocsin gb26875`: look at what a department or a fire panel sent, without a running system."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from devices.protocols.gb26875 import SENTENCES, Connection, Damaged, Frame
from devices.protocols.gb26875_objects import (
    ANALOGUE_UNITS,
    Analogue,
    ComponentConfiguration,
    ComponentStatus,
    DeviceStatus,
    SystemStatus,
    UnitObject,
    text_of,
)
from devices.protocols.gb26875_units import decode_unit
from services.dispatcher.feeds import FEEDS
from services.dispatcher.feeds.gb26875_names import component_name, system_name

from .feed_check import check_file

CAPTURE_BYTES_MAX = 16_777_216
PIECE_BYTES = 4_096

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
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON per file.")] = False,
) -> None:
    """Say of each file whether it is accepted, which signals it makes, and every problem.

    Exit code 0 when all files are accepted whole, else 1. Messages that say when they were sent are judged as of then,
    others as of now. In JSON a polygon is a closed list of [lat, lon], a circle is [lat, lon, radius in km].
    """
    if format and format not in FEEDS:
        raise typer.BadParameter(f"The format is one of {', '.join(FEEDS)}.")
    accepted = True
    for path in files:
        result = check_file(path, format)
        accepted = accepted and bool(result["accepted"])
        typer.echo(json.dumps(result, ensure_ascii=False) if as_json else _in_words(result))
    raise typer.Exit(0 if accepted else 1)


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
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say what the frames in a capture say, and which bytes are no frame.

    Exit code 0 when there is at least one frame and no damage, else 1.
    """
    try:
        if str(file) == "-":
            raw = sys.stdin.buffer.read(CAPTURE_BYTES_MAX + 1)
        else:
            with file.open("rb") as capture:
                raw = capture.read(CAPTURE_BYTES_MAX + 1)
    except OSError as cause:
        typer.echo(f"The capture cannot be read: {cause.strerror or 'input error'}.", err=True)
        raise typer.Exit(1) from cause
    if len(raw) > CAPTURE_BYTES_MAX:
        typer.echo(f"The capture has more than {CAPTURE_BYTES_MAX} bytes.", err=True)
        raise typer.Exit(1)
    items = decode_capture(raw)
    frames = [item for item in items if item["kind"] == "frame"]
    damaged = [item for item in items if item["kind"] == "damaged"]
    if as_json:
        typer.echo(json.dumps({"file": str(file), "frames": frames, "damaged": damaged}, ensure_ascii=False, indent=2))
    else:
        for item in items:
            typer.echo(_frame_in_words(item) if item["kind"] == "frame" else _damage_in_words(item))
    raise typer.Exit(0 if frames and not damaged else 1)


def decode_capture(raw: bytes) -> list[dict[str, Any]]:
    """Frames and damaged stretches of a capture in order, ready for JSON."""
    raw = _from_hex(raw)
    wire = Connection()
    items = []
    for at in range(0, len(raw), PIECE_BYTES):
        wire.receive_data(raw[at : at + PIECE_BYTES])
        while (found := wire.next_frame()) is not None:
            items.append(_item(found))
    wire.receive_eof()
    while (found := wire.next_frame()) is not None:
        items.append(_item(found))
    return items


def _from_hex(raw: bytes) -> bytes:
    """Captures are often kept as hexadecimal text with spaces and line ends; anything else is bytes as they are."""
    try:
        text = raw.decode("ascii")
        return bytes.fromhex(text)
    except ValueError:
        return raw


def _item(found: Frame | Damaged) -> dict[str, Any]:
    if isinstance(found, Damaged):
        head = None if found.header is None else {"serial": found.header.serial, "source": found.header.source}
        return {"kind": "damaged", "reason": str(found.reason), "hex": found.raw.hex(), "header": head}
    unit = decode_unit(found.unit) if found.unit else None
    deviations = (*found.deviations, *(unit.deviations if unit else ()))
    return {
        "kind": "frame",
        "serial": found.serial,
        "version": list(found.version),
        "time": list(bytes(found.time)),
        "source": found.source,
        "destination": found.destination,
        "app_length": len(found.unit),
        "command": found.command,
        "type_flag": unit.type_flag if unit else None,
        "count": unit.count if unit else None,
        "objects": [_object_row(each) for each in unit.objects] if unit else [],
        "problems": [{"code": str(each), "message": SENTENCES[each]} for each in deviations],
    }


def _object_row(each: UnitObject) -> dict[str, Any]:
    row: dict[str, Any] = {"object": type(each).__name__}
    for name, value in asdict(each).items():
        if isinstance(value, dict):
            row[name] = list(value.values())
        else:
            row[name] = value.hex() if isinstance(value, bytes) else value
    match each:
        case ComponentStatus():
            row["description"] = text_of(each.description)
            row["component"] = component_name(each.component_type)
            row["bits"] = [bit.name.lower() for bit in each.bits if bit.name]
            row["fire"], row["test_bit"] = bool(each.status & 2), not each.status & 1
        case ComponentConfiguration():
            row["description"] = text_of(each.description)
            row["component"] = component_name(each.component_type)
        case SystemStatus():
            row["system"] = system_name(each.system_type)
            row["fire"], row["test_bit"] = bool(each.status & 2), not each.status & 1
        case DeviceStatus():
            row["fire"], row["test_bit"] = bool(each.status & 2), not each.status & 1
        case Analogue():
            factor, unit = ANALOGUE_UNITS.get(each.quantity, (1, ""))
            row["reading"], row["unit"] = round(each.value * factor, 2), unit
        case _:
            return row
    return row


def _frame_in_words(item: dict[str, Any]) -> str:
    head = f"frame serial {item['serial']} from {item['source']} command {item['command']} type {item['type_flag']}"
    lines = [head, *(f"  {json.dumps(row, ensure_ascii=False)}" for row in item["objects"])]
    return "\n".join([*lines, *(f"  {problem['code']}: {problem['message']}" for problem in item["problems"])])


def _damage_in_words(item: dict[str, Any]) -> str:
    return f"damaged ({item['reason']}): {item['hex']}"
