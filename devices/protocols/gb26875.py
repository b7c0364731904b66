"""GB/T 26875.3-2011 frames: bytes in, frames or damaged stretches out, and back. Both ends use it; it opens no socket.

A frame is cut by its length field, never by searching for its end: the delimiters are not escaped.
What the application unit says is read by `gb26875_units`. Addresses are 12 hex digits in wire order.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum, StrEnum

START = b"@@"
END = b"##"
START_HEX = b"4040"
HEADER_BYTES = 27
FRAME_BYTES_MIN = 30
UNIT_BYTES_MAX = 1024
BUFFER_BYTES_MAX = 65_536
STRETCH_BYTES_MAX = 4096

BEIJING = timezone(timedelta(hours=8))
_HEADER = struct.Struct("<2sHBB6s6s6sHB")
_HEX_DIGITS = re.compile(rb"[0-9A-Fa-f]*")
_ANY_START = re.compile(rb"@@|4040")
# With a length of at most 1024, or cut off before its length: where one damaged frame is known already, others count
# only so far. Without this, a megabyte of @ would cost seconds.
_POSSIBLE_START = re.compile(
    rb"(?s)@@(?=.{22}(?:.[\x00-\x03]|\x00\x04)|.{0,23}\Z)|4040(?=.{44}(?:..0[0-3]|0004)|.{0,47}\Z)"
)
_LINE_ENDS = b"\r\n\t \0"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Command(IntEnum):
    """The command byte; 0 and 7 to 127 are reserved, 128 to 255 belong to the manufacturer."""

    CONTROL = 1
    SEND = 2
    CONFIRM = 3
    REQUEST = 4
    RESPONSE = 5
    DENY = 6


USER_COMMAND_MIN = 128
_COMMANDS = frozenset(int(each) for each in Command)


class Damage(StrEnum):
    """Why a stretch of bytes is not a frame."""

    JUNK = "junk"
    INCOMPLETE = "incomplete"
    UNIT_TOO_LONG = "unit_too_long"
    BAD_END = "bad_end"
    BAD_CHECKSUM = "bad_checksum"
    UNKNOWN_COMMAND = "unknown_command"


class Deviation(StrEnum):
    """A way in which a readable frame or unit departs from the standard; `SENTENCES` says it in words."""

    MAJOR_VERSION = "major_version"
    ASCII_HEX = "ascii_hex"
    SEND_TIME_INVALID = "send_time_invalid"
    USER_COMMAND = "user_command"
    UNIT_MISSING = "unit_missing"
    UNIT_TOO_SHORT = "unit_too_short"
    USER_TYPE = "user_type"
    RESERVED_TYPE = "reserved_type"
    COUNT_DISAGREES = "count_disagrees"
    COUNT_OVER_LIMIT = "count_over_limit"
    TIME_MISSING = "time_missing"
    TIME_SHARED = "time_shared"
    OBJECT_SIZE = "object_size"
    TRAILING_BYTES = "trailing_bytes"


SENTENCES: dict[Deviation, str] = {
    Deviation.MAJOR_VERSION: "The protocol's major version is not 1.",
    Deviation.ASCII_HEX: "The frame was sent as hexadecimal text.",
    Deviation.SEND_TIME_INVALID: "The frame's time tag is zero or no calendar date.",
    Deviation.USER_COMMAND: "The command byte belongs to the manufacturer.",
    Deviation.UNIT_MISSING: "The frame should carry an application unit and has none.",
    Deviation.UNIT_TOO_SHORT: "The application unit is shorter than one object of its type.",
    Deviation.USER_TYPE: "The type flag belongs to the manufacturer, so its objects cannot be read.",
    Deviation.RESERVED_TYPE: "The type flag is reserved by the standard, so its objects cannot be read.",
    Deviation.COUNT_DISAGREES: "The object count does not match the length; the length was believed.",
    Deviation.COUNT_OVER_LIMIT: "The unit has more objects than the standard allows for its type.",
    Deviation.TIME_MISSING: "The objects carry no time tag.",
    Deviation.TIME_SHARED: "The objects share one time tag at the end.",
    Deviation.OBJECT_SIZE: "The objects have a size of the manufacturer's own; only their fixed head was read.",
    Deviation.TRAILING_BYTES: "Bytes are left over after the last whole object.",
}


class BadFrame(ValueError):
    """The frame cannot be written in GB/T 26875.3."""


class BufferFull(Exception):
    """More than 64 kB were handed over without asking for frames."""


@dataclass(frozen=True, slots=True)
class TimeTag:
    """Six plain binary bytes of Beijing time, kept as sent even where they are no date. `year` counts from 2000."""

    second: int = 0
    minute: int = 0
    hour: int = 0
    day: int = 0
    month: int = 0
    year: int = 0

    @classmethod
    def at(cls, utc_us: int) -> TimeTag:
        """The tag of an instant in µs UTC, cut to the second."""
        local = datetime.fromtimestamp(utc_us // 1_000_000, BEIJING)
        return cls(local.second, local.minute, local.hour, local.day, local.month, local.year % 100)

    @property
    def is_zero(self) -> bool:
        """True for the tag of a device that has no clock."""
        return bytes(self) == bytes(6)

    @property
    def utc_us(self) -> int | None:
        """The instant in µs UTC, or None where the six numbers are no calendar date of 2000 to 2099."""
        if self.year > 99:
            return None
        try:
            local = datetime(
                2000 + self.year, self.month, self.day, self.hour, self.minute, self.second, tzinfo=BEIJING
            )
        except ValueError:
            return None
        return (local - _EPOCH) // _MICROSECOND

    def __bytes__(self) -> bytes:
        return bytes((self.second, self.minute, self.hour, self.day, self.month, self.year))


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame. `unit` is the application unit as sent; `ascii_hex` says that it travels as hexadecimal text."""

    serial: int
    time: TimeTag
    source: str
    destination: str
    command: int
    unit: bytes = b""
    version: tuple[int, int] = (1, 1)
    ascii_hex: bool = False

    @property
    def deviations(self) -> tuple[Deviation, ...]:
        """Where the frame, its unit apart, departs from the standard."""
        found = []
        if self.version[0] != 1:
            found.append(Deviation.MAJOR_VERSION)
        if self.ascii_hex:
            found.append(Deviation.ASCII_HEX)
        if self.time.utc_us is None:
            found.append(Deviation.SEND_TIME_INVALID)
        if self.command >= USER_COMMAND_MIN:
            found.append(Deviation.USER_COMMAND)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Damaged:
    """Bytes that are no frame. `header` is the head of the first frame they failed to be, where it can be read."""

    raw: bytes
    reason: Damage
    header: Frame | None = None


@dataclass(frozen=True, slots=True)
class _Rejected:
    """The first place in the buffer that began like a frame and is none. Where only the sum is wrong its length is
    believed, and `end` is where it ends."""

    offset: int
    reason: Damage
    end: int | None


def encode(frame: Frame) -> bytes:
    """The frame's bytes, as hexadecimal text where it says so; raises BadFrame when a field does not fit."""
    if len(frame.unit) > UNIT_BYTES_MAX:
        raise BadFrame(f"The application unit has {len(frame.unit)} bytes; {UNIT_BYTES_MAX} are allowed.")
    try:
        source, destination = bytes.fromhex(frame.source), bytes.fromhex(frame.destination)
        head = _HEADER.pack(
            START, frame.serial, *frame.version, bytes(frame.time), source, destination, len(frame.unit), frame.command
        )
    except (struct.error, ValueError) as cause:
        raise BadFrame(f"A header field does not fit: {cause}.") from cause
    if len(source) != 6 or len(destination) != 6:
        raise BadFrame("An address needs 12 hex digits.")
    summed = head[2:] + frame.unit
    raw = START + summed + bytes((sum(summed) & 0xFF,)) + END
    return raw.hex().upper().encode() if frame.ascii_hex else raw


def confirm(frame: Frame, at: TimeTag) -> Frame:
    """The confirm (command 3) of a frame: same serial, addresses turned round, same version and transport."""
    return _answer(frame, Command.CONFIRM, at)


def deny(frame: Frame, at: TimeTag) -> Frame:
    """The deny (command 6) of a frame or of a damaged frame's readable header."""
    return _answer(frame, Command.DENY, at)


def _answer(frame: Frame, command: Command, at: TimeTag) -> Frame:
    return Frame(
        serial=frame.serial,
        time=at,
        source=frame.destination,
        destination=frame.source,
        command=command,
        version=frame.version,
        ascii_hex=frame.ascii_hex,
    )


class Connection:
    """The receiving half of one transport: feed it bytes, ask for frames until it answers None.

    Frames do not depend on how the bytes were split. After damage the search goes on byte by byte; nothing is lost:
    every byte comes back in a Frame or a Damaged, but for line ends behind a frame sent as text. Each damaged frame
    that can be told from its neighbours comes back by itself, so that each can be denied. At most 64 kB are held.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0
        self._rejected: _Rejected | None = None
        self._paused = False
        self._ended = False
        self._after_text = False
        self._consumed = 0

    @property
    def held(self) -> int:
        """How many bytes wait for more."""
        return len(self._buffer)

    @property
    def consumed(self) -> int:
        """How many bytes have come back so far: where in the stream the last frame or stretch ended."""
        return self._consumed

    @property
    def pending(self) -> bool:
        """True while bytes wait for more."""
        return bool(self._buffer)

    def receive_data(self, data: bytes) -> None:
        """Take bytes off the wire; raises BufferFull beyond 64 kB held."""
        if len(self._buffer) + len(data) > BUFFER_BYTES_MAX:
            raise BufferFull
        self._buffer += data
        self._paused = False

    def receive_pause(self) -> None:
        """The wire has gone quiet: report junk, and find whole frames behind one whose rest never came.

        A frame with a damaged length would otherwise hide the frames after it until enough bytes had come.
        """
        self._paused = True

    def receive_eof(self) -> None:
        """The wire has ended: what is left can no longer become a frame."""
        self._ended = True

    def next_frame(self) -> Frame | Damaged | None:
        """The next frame or damaged stretch, or None when more bytes are needed."""
        self._skip_line_ends()
        while True:
            self._at = self._find_start(self._at)
            if self._rejected is not None and self._rejected.end is not None and self._at >= self._rejected.end:
                return self._take_stretch(self._rejected.end)
            if self._at >= STRETCH_BYTES_MAX:
                return self._take_stretch(STRETCH_BYTES_MAX)
            if self._at == len(self._buffer):
                return self._stretch_if(self._rejected is not None or self._paused or self._ended)
            found = self._judge(self._at)
            if isinstance(found, Damage):
                if self._is_another(found):
                    return self._take_stretch(self._at)
                self._reject(found)
            elif found is None:
                inside = self._rejected is not None and self._rejected.end is not None
                if self._ended or (self._paused and (inside or self._whole_frame_behind())):
                    self._reject(Damage.INCOMPLETE)
                    continue
                # What may begin inside a damaged frame is waited for, so that splits decide nothing.
                return None if inside else self._stretch_if(self._rejected is not None or self._paused)
            elif self._at:
                return self._take_stretch(self._at)
            else:
                frame, length = found
                return self._take_frame(frame, length)

    def _skip_line_ends(self) -> None:
        if not self._after_text or not self._buffer:
            return
        rest = self._buffer.lstrip(_LINE_ENDS)
        self._consumed += len(self._buffer) - len(rest)
        self._buffer = rest
        self._after_text = not rest

    def _reject(self, reason: Damage) -> None:
        if self._rejected is None:
            end = self._at + self._length_on_wire(self._at) if reason is Damage.BAD_CHECKSUM else None
            self._rejected = _Rejected(self._at, reason, end)
        self._at += 1

    def _is_another(self, reason: Damage) -> bool:
        """Whether a second damaged frame begins here, behind one whose end is not known."""
        before = self._rejected
        if before is None or before.end is not None or reason not in (Damage.BAD_END, Damage.BAD_CHECKSUM):
            return False
        header = _readable_header(bytes(self._buffer[self._at : self._at + 2 * HEADER_BYTES]))
        return header is not None and header.version[0] == 1 and header.command in _COMMANDS

    def _stretch_if(self, wanted: bool) -> Damaged | None:
        return self._take_stretch(self._at) if wanted and self._at else None

    def _take_stretch(self, length: int) -> Damaged:
        raw = self._take(length)
        self._at -= length
        rejected = self._rejected
        if rejected is None:
            return Damaged(raw, Damage.JUNK)
        if rejected.offset >= length:
            end = None if rejected.end is None else rejected.end - length
            self._rejected = _Rejected(rejected.offset - length, rejected.reason, end)
            return Damaged(raw, Damage.JUNK)
        self._rejected = None
        return Damaged(raw, rejected.reason, _readable_header(raw[rejected.offset :]))

    def _take_frame(self, frame: Frame, length: int) -> Frame | Damaged:
        raw = self._take(length)
        self._rejected = None
        self._after_text = frame.ascii_hex
        if frame.command < USER_COMMAND_MIN and frame.command not in _COMMANDS:
            return Damaged(raw, Damage.UNKNOWN_COMMAND, frame)
        return frame

    def _take(self, length: int) -> bytes:
        raw = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._consumed += length
        return raw

    def _length_on_wire(self, at: int) -> int:
        """How long the frame at `at` says it is; its head is there."""
        if self._buffer[at] == START_HEX[0]:
            low, high = bytes.fromhex(self._buffer[at + 48 : at + 52].decode())
            return 2 * (FRAME_BYTES_MIN + low + 256 * high)
        return FRAME_BYTES_MIN + int.from_bytes(self._buffer[at + 24 : at + 26], "little")

    def _find_start(self, begin: int) -> int:
        """Where the next frame could start at or after `begin`; the end of the buffer when nowhere."""
        buffer = self._buffer
        starts = _ANY_START if self._rejected is None else _POSSIBLE_START
        if found := starts.search(buffer, begin):
            return found.start()
        for length in (3, 2, 1):
            at = len(buffer) - length
            if at >= begin and (START_HEX.startswith(buffer[at:]) or START.startswith(buffer[at:])):
                return at
        return len(buffer)

    def _whole_frame_behind(self) -> bool:
        at = self._find_start(self._at + 1)
        while at < len(self._buffer):
            if isinstance(self._judge(at), tuple):
                return True
            at = self._find_start(at + 1)
        return False

    def _judge(self, at: int) -> tuple[Frame, int] | Damage | None:
        """The frame at `at` and its length on the wire, or why there is none, or None while it may still become one."""
        if self._buffer[at] == START_HEX[0]:
            return self._judge_hex(at)
        have = len(self._buffer) - at
        if have < HEADER_BYTES:
            return None
        length = int.from_bytes(self._buffer[at + 24 : at + 26], "little")
        if length > UNIT_BYTES_MAX:
            return Damage.UNIT_TOO_LONG
        total = FRAME_BYTES_MIN + length
        if have < total:
            return None
        whole = _open(bytes(self._buffer[at : at + total]), ascii_hex=False)
        return whole if isinstance(whole, Damage) else (whole, total)

    def _judge_hex(self, at: int) -> tuple[Frame, int] | Damage | None:
        buffer = self._buffer
        have = len(buffer) - at
        wanted = 2 * HEADER_BYTES
        if have >= wanted:
            head = buffer[at : at + wanted]
            if _HEX_DIGITS.fullmatch(head) is None:
                return Damage.JUNK
            length = int.from_bytes(bytes.fromhex(head[48:52].decode()), "little")
            if length > UNIT_BYTES_MAX:
                return Damage.UNIT_TOO_LONG
            wanted = 2 * (FRAME_BYTES_MIN + length)
        text = buffer[at : at + wanted]
        if _HEX_DIGITS.fullmatch(text) is None:
            return Damage.JUNK
        if have < wanted:
            return None
        whole = _open(bytes.fromhex(text.decode()), ascii_hex=True)
        return whole if isinstance(whole, Damage) else (whole, wanted)


def _open(raw: bytes, *, ascii_hex: bool) -> Frame | Damage:
    """Check a whole frame's end and sum and read its fields."""
    if raw[-2:] != END:
        return Damage.BAD_END
    if sum(raw[2:-3]) & 0xFF != raw[-3]:
        return Damage.BAD_CHECKSUM
    return _fields(raw, raw[HEADER_BYTES:-3], ascii_hex)


def _fields(raw: bytes, unit: bytes, ascii_hex: bool) -> Frame:
    _, serial, major, user, tag, source, destination, _, command = _HEADER.unpack_from(raw)
    return Frame(serial, TimeTag(*tag), source.hex(), destination.hex(), command, unit, (major, user), ascii_hex)


def _readable_header(raw: bytes) -> Frame | None:
    """The head of a frame that failed, without its unit; None when the stretch ends before the head does."""
    if raw.startswith(START) and len(raw) >= HEADER_BYTES:
        return _fields(raw, b"", False)
    text = raw[: 2 * HEADER_BYTES]
    if text.startswith(START_HEX) and len(text) == 2 * HEADER_BYTES and _HEX_DIGITS.fullmatch(text):
        return _fields(bytes.fromhex(text.decode()), b"", True)
    return None
