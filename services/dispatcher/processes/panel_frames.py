"""What a capture of fire panel frames says, as rows ready for JSON and as words. Rows are described in docs/panels.md.

A capture is bytes as they were on the wire, or text with the bytes in hexadecimal digits. It is read piece by piece, so
that its length costs time and no memory.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from enum import IntFlag
from typing import Any, BinaryIO

from devices.protocols.gb26875 import (
    BEIJING,
    FRAME_BYTES_MIN,
    SENTENCES,
    Command,
    Connection,
    Damage,
    Damaged,
    Frame,
    TimeTag,
    encode,
)
from devices.protocols.gb26875_objects import (
    ANALOGUE_UNITS,
    QUANTITIES,
    Analogue,
    ComponentBit,
    ComponentConfiguration,
    ComponentStatus,
    DeviceBit,
    DeviceConfiguration,
    DeviceOperation,
    DeviceStatus,
    Operation,
    OperationBit,
    SystemBit,
    SystemConfiguration,
    SystemStatus,
    UnitObject,
    text_of,
)
from devices.protocols.gb26875_units import TYPE_NAMES, Unit, decode_unit
from services.dispatcher.feeds.gb26875_names import component_name, system_name

PIECE_BYTES = 4_096
HEAD_BYTES = 65_536
WORD_CHARS_MAX = 8_192
"""A longer word is cut, an even number of digits at a time."""
HEX_RUN_MIN = 8
"""Inside a word with other characters, so many digits in a row are bytes; fewer may be part of a name."""

Row = dict[str, Any]
_WORDS = re.compile(r"[^\s,;:|\-_(){}\[\]\"']+")
_PREFIXES = re.compile(r"(?i:0x|\\x)")
_DIGITS = re.compile(r"[0-9A-Fa-f]+")
_RUNS = re.compile(rf"[0-9A-Fa-f]{{{HEX_RUN_MIN},}}")


def capture_rows(file: BinaryIO, bytes_max: int) -> Iterator[Row]:
    """Rows of every frame and damaged stretch, in order; reads at most `bytes_max` bytes of the file."""
    head = file.read(min(HEAD_BYTES, bytes_max))
    pieces = _pieces(head, file, bytes_max - len(head))
    encoding = _text_encoding(head)
    yield from _rows(pieces) if encoding is None else _text_rows(_lines(pieces, encoding))


def _pieces(head: bytes, file: BinaryIO, left: int) -> Iterator[bytes]:
    for at in range(0, len(head), PIECE_BYTES):
        yield head[at : at + PIECE_BYTES]
    while left > 0 and (piece := file.read(min(PIECE_BYTES, left))):
        left -= len(piece)
        yield piece


def _text_encoding(head: bytes) -> str | None:
    """How a capture that is text is encoded; None for bytes as they are. Frames hold control characters, so that no
    text is taken for them."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and len(head) % 2 == 0:
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig"
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(head)
    if any(not c.isprintable() and not c.isspace() for c in text) or "\ufffd" in text:
        return None
    bare = "".join(_WORDS.findall(_PREFIXES.sub("", re.sub(r"#.*", "", text))))
    digits = sum(len(run) for run in _DIGITS.findall(bare))
    return encoding if digits and digits * 2 >= len(bare) else None


def _rows(pieces: Iterator[bytes]) -> Iterator[Row]:
    wire = Connection()
    for piece in pieces:
        wire.receive_data(piece)
        yield from _found(wire)
    wire.receive_eof()
    yield from _found(wire)


def _found(wire: Connection) -> Iterator[Row]:
    while (found := wire.next_frame()) is not None:
        yield row_of(found, wire.consumed)


def _lines(pieces: Iterator[bytes], encoding: str) -> Iterator[str]:
    """Lines without comments; a line without end is cut."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    rest, comment = "", False
    for piece in pieces:
        *whole, rest = re.split(r"\r\n|\r|\n", rest + decoder.decode(piece))
        for line in whole:
            if not comment:
                yield line.partition("#")[0]
            comment = False
        if len(rest) > WORD_CHARS_MAX:
            comment = comment or "#" in rest
            # Even, so that no byte is cut in two.
            cut = len(rest) if comment else len(rest) - len(rest) % 2
            yield rest[:cut].partition("#")[0]
            rest = rest[cut:]
    if not comment:
        yield rest.partition("#")[0]


def _text_rows(lines: Iterator[str]) -> Iterator[Row]:
    """Rows of a capture in hexadecimal digits. A word that is no number is a damaged stretch of its own; a byte may be
    cut in two by a line end."""
    wire = Connection()
    half = ""
    for line in lines:
        words = [word for found in _WORDS.findall(line) for word in _parts(found)]
        for index, word in enumerate(words):
            digits = half + word
            if _DIGITS.fullmatch(word) is None or (half and len(digits) % 2):
                if half:
                    yield _not_hex(half, wire)
                digits, half = word, ""
            if _DIGITS.fullmatch(word) is None:
                yield _not_hex(word, wire)
                continue
            half = ""
            if len(digits) == 1:
                digits = "0" + digits
            elif len(digits) % 2:
                digits, half = digits[:-1], digits[-1]
            wire.receive_data(bytes.fromhex(digits))
            yield from _found(wire)
            if half and index < len(words) - 1:
                yield _not_hex(half, wire)
                half = ""
    if half:
        yield _not_hex(half, wire)
    wire.receive_eof()
    yield from _found(wire)


def _parts(word: str) -> Iterator[str]:
    """A word as digits alone and what else there is: prefixes go, and long numbers inside other letters are found."""
    for part in filter(None, _PREFIXES.split(word)):
        if _DIGITS.fullmatch(part):
            yield part
            continue
        at = 0
        for run in _RUNS.finditer(part):
            if run.start() > at:
                yield f"?{part[at : run.start()]}"
            yield run.group()
            at = run.end()
        if at < len(part):
            yield f"?{part[at:]}"


def _not_hex(word: str, wire: Connection) -> Row:
    """`offset` is in the bytes read so far, of which some may still wait to become a frame."""
    text = word.removeprefix("?")
    return {
        "kind": "damaged",
        "offset": wire.consumed + wire.held,
        "length": 0,
        "reason": "not_hex",
        "message": "This is no hexadecimal number.",
        "text": text[:200],
    }


def row_of(found: Frame | Damaged, end: int) -> Row:
    """The row of a frame or damaged stretch that ended at byte `end` of the capture."""
    return _damage_row(found, end) if isinstance(found, Damaged) else _frame_row(found, end)


DAMAGES: dict[Damage, str] = {
    Damage.JUNK: "These bytes begin no frame.",
    Damage.INCOMPLETE: "The frame ends before its length says.",
    Damage.UNIT_TOO_LONG: "The length of the application unit is above 1024.",
    Damage.BAD_END: "Where the length says that the frame ends stands no ##.",
    Damage.BAD_CHECKSUM: "The checksum does not hold.",
    Damage.UNKNOWN_COMMAND: "The command byte is reserved by the standard.",
}


def _damage_row(found: Damaged, end: int) -> Row:
    row: Row = {
        "kind": "damaged",
        "offset": end - len(found.raw),
        "length": len(found.raw),
        "reason": str(found.reason),
        "message": DAMAGES[found.reason],
        "hex": found.raw.hex(),
        "header": None if found.header is None else _head(found.header),
    }
    if found.reason is Damage.BAD_CHECKSUM and found.header is not None and not found.header.ascii_hex:
        row["checksum"] = _sums(found.raw)
    return row


def _sums(raw: bytes) -> Row:
    """What the sum should be and what the frame says, of the frame that begins first."""
    at = raw.find(b"@@")
    end = at + FRAME_BYTES_MIN + int.from_bytes(raw[at + 24 : at + 26], "little")
    return {"computed": sum(raw[at + 2 : end - 3]) & 0xFF, "sent": raw[end - 3]} if end <= len(raw) else {}


def _head(frame: Frame) -> Row:
    return {
        "serial": frame.serial,
        "version": list(frame.version),
        "time": list(bytes(frame.time)),
        "sent": _local(frame.time),
        "source": frame.source,
        "destination": frame.destination,
        "command": frame.command,
        "command_name": _command_name(frame.command),
    }


def _command_name(command: int) -> str:
    return Command(command).name.lower() if command in set(Command) else "user" if command > 127 else "reserved"


def _local(tag: TimeTag) -> str | None:
    """Beijing time with its offset; None for no calendar date."""
    at_us = tag.utc_us
    return None if at_us is None else datetime.fromtimestamp(at_us // 1_000_000, BEIJING).isoformat()


def _frame_row(frame: Frame, end: int) -> Row:
    unit: Unit | None = decode_unit(frame.unit) if frame.unit else None
    wire = encode(frame)
    raw = bytes.fromhex(wire.decode()) if frame.ascii_hex else wire
    deviations = (*frame.deviations, *(unit.deviations if unit else ()))
    return {
        "kind": "frame",
        "offset": end - len(wire),
        "length": len(raw),
        **_head(frame),
        "app_length": len(frame.unit),
        "type_flag": unit.type_flag if unit else None,
        "type_name": TYPE_NAMES.get(unit.type_flag) if unit else None,
        "count": unit.count if unit else None,
        "checksum": raw[-3],
        "ascii_hex": frame.ascii_hex,
        "objects": [_object_row(each) for each in unit.objects] if unit else [],
        "problems": [{"code": str(each), "message": SENTENCES[each]} for each in deviations],
        "hex": raw.hex(),
    }


def _object_row(each: UnitObject) -> Row:
    row: Row = {"object": type(each).__name__}
    for name, value in asdict(each).items():
        if isinstance(value, dict):
            row[name] = list(value.values())
        else:
            row[name] = value.hex() if isinstance(value, bytes) else value
    row |= _named(each)
    for name in ("time", "since"):
        tag = getattr(each, name, None)
        if isinstance(tag, TimeTag):
            row["at"] = _local(tag)
    return row


def _named(each: UnitObject) -> Row:
    """What the numbers of an object mean."""
    named: Row = {}
    if (system := getattr(each, "system_type", None)) is not None:
        named["system"] = system_name(system)
    if (component := getattr(each, "component_type", None)) is not None:
        named["component"] = component_name(component)
    match each:
        case ComponentStatus():
            named |= _described(each.description) | _state(ComponentBit(each.status & 0x1FF))
        case ComponentConfiguration():
            named |= _described(each.description)
        case SystemStatus():
            named |= _state(SystemBit(each.status & 0x3FFF))
        case DeviceStatus():
            named |= _state(DeviceBit(each.status & 0x7F))
        case Operation() | DeviceOperation():
            named["bits"] = _bits(OperationBit(each.operation & 0x7F))
        case Analogue():
            factor, unit = ANALOGUE_UNITS.get(each.quantity, (1, ""))
            named |= {"quantity_name": QUANTITIES.get(each.quantity, ""), "reading": round(each.value * factor, 2)}
            named["unit"] = unit
        case SystemConfiguration() | DeviceConfiguration():
            named |= {"text": text_of(each.text), "text_hex": each.text.hex()}
        case _:
            return named
    return named


def _described(description: bytes) -> Row:
    return {"description": text_of(description), "description_hex": description.hex()}


def _state(bits: ComponentBit | SystemBit | DeviceBit) -> Row:
    names = _bits(bits)
    return {"bits": names, "fire": "fire" in names, "test_bit": "normal" not in names}


def _bits(bits: IntFlag) -> list[str]:
    return [bit.name.lower() for bit in bits if bit.name]


_IDLE = (
    "object",
    "system_type",
    "component_type",
    "status",
    "description_hex",
    "text_hex",
    "quantity",
    "value",
    "time",
)


def _no_date(time: list[int]) -> str:
    return f"at no date ({', '.join(map(str, time))})"


def in_words(row: Row) -> str:
    """One row for people: a line, and one below it for each object and each problem."""
    where = f"at byte {row['offset']}"
    if row["kind"] == "damaged":
        said = row.get("hex", row.get("text", ""))
        return f"damaged ({row['reason']}) {where}, length {row['length']}: {row['message']} {said}"
    named = f" ({row['type_name']})" if row["type_name"] else ""
    objects = "1 object" if row["count"] == 1 else f"{row['count']} objects"
    kind = f"type {row['type_flag']}{named}, {objects}" if row["type_flag"] is not None else "no unit"
    head = (
        f"frame serial {row['serial']} from {row['source']} to {row['destination']} {where}: "
        f"command {row['command']} ({row['command_name']}), {kind}, sent {row['sent'] or _no_date(row['time'])}"
    )
    lines = [head]
    for each in row["objects"]:
        said = {name: value for name, value in each.items() if name not in _IDLE}
        lines.append(f"  {each['object']} {json.dumps(said, ensure_ascii=False)}")
    return "\n".join([*lines, *(f"  {problem['code']}: {problem['message']}" for problem in row["problems"])])
