"""GB/T 26875.3 frames: every split, every shorter prefix, damage, and the way back to whole frames."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.protocols.gb26875 import (
    BUFFER_BYTES_MAX,
    STRETCH_BYTES_MAX,
    BadFrame,
    BufferFull,
    Command,
    Connection,
    Damage,
    Damaged,
    Deviation,
    Frame,
    TimeTag,
    confirm,
    deny,
    encode,
)

HEARTBEAT = bytes.fromhex(
    "40 40 01 00 01 01 1E 35 09 14 0B 1A 01 02 03 04 05 06 00 00 00 00 00 01 09 00 02"
    "15 01 01 1E 35 09 14 0B 1A 65 23 23"
)
CONFIRM_OF_HEARTBEAT = bytes.fromhex(
    "40 40 01 00 01 01 1E 35 09 14 0B 1A 00 00 00 00 00 01 01 02 03 04 05 06 00 00 03 B1 23 23"
)
DENY = bytes.fromhex("40 40 02 00 01 01 1E 35 09 14 0B 1A 01 02 03 04 05 06 00 00 00 00 00 01 00 00 06 B5 23 23")
DELIMITERS_INSIDE = bytes.fromhex(
    "40 40 40 40 01 01 23 23 17 1F 0C 1A 23 23 23 23 23 23 40 40 40 40 40 40 30 00 02"
    "02 01 01 01 28 23 23 40 40 02 00 40 40" + "23" * 31 + "17 1F 0C 1A B6 23 23"
)
CALL_POINT = bytes.fromhex(
    "40 40 02 00 01 01 1E 35 09 14 0B 1A 01 02 03 04 05 06 00 00 00 00 00 01 30 00 02"
    "02 01 01 01 17 0A 00 28 00 03 00 B5 D8 CF C2 D2 BB B2 E3 42 C7 F8 CA D6 B1 A8" + "00" * 16 + "1E 35 09 14 0B 1A"
    "01 23 23"
)
FIELD_FIRE = bytes.fromhex(
    "40 40 00 00 01 01 18 0D 11 16 0A 14 00 00 00 00 00 00 06 05 04 03 02 01 30 00 02"
    "02 01 01 03 00 D9 00 06 00 02 00 A3 C1 C7 F8 A3 B1 B2 E3 DF C8 B2 B8 D7 DF C0 C8" + "00" * 15 + "30 12 13 01 08 14"
    "68 23 23"
)
ASCII_CONFIRM = b"404001000101233A091A090C385B01000000790300000000000003AB2323"
WHOLE = [HEARTBEAT, CONFIRM_OF_HEARTBEAT, DENY, DELIMITERS_INSIDE, CALL_POINT, FIELD_FIRE, ASCII_CONFIRM]

TAG = TimeTag(30, 53, 9, 20, 11, 26)

frames = st.builds(
    Frame,
    serial=st.integers(0, 0xFFFF),
    time=st.builds(TimeTag, *[st.integers(0, 255)] * 6),
    source=st.binary(min_size=6, max_size=6).map(bytes.hex),
    destination=st.binary(min_size=6, max_size=6).map(bytes.hex),
    command=st.one_of(st.integers(1, 6), st.integers(128, 255)),
    unit=st.binary(max_size=80),
    version=st.tuples(st.integers(0, 255), st.integers(0, 255)),
    ascii_hex=st.booleans(),
)


def everything(pieces: list[bytes], *, pause: bool = False, end: bool = False) -> list[Frame | Damaged]:
    """All that a connection makes of the pieces, asked after each one."""
    wire = Connection()
    found = []
    for piece in pieces:
        wire.receive_data(piece)
        while (each := wire.next_frame()) is not None:
            found.append(each)
    if pause:
        wire.receive_pause()
    if end:
        wire.receive_eof()
    while (each := wire.next_frame()) is not None:
        found.append(each)
    return found


def only(raw: bytes) -> Frame:
    (found,) = everything([raw])
    assert isinstance(found, Frame)
    return found


def raw_of(found: list[Frame | Damaged]) -> bytes:
    return b"".join(encode(each) if isinstance(each, Frame) else each.raw for each in found)


def test_heartbeat_is_read_field_by_field() -> None:
    unit = bytes.fromhex("15 01 01 1E 35 09 14 0B 1A")
    assert only(HEARTBEAT) == Frame(1, TAG, "010203040506", "000000000001", Command.SEND, unit, (1, 1), False)


@pytest.mark.parametrize("raw", WHOLE)
def test_a_frame_is_written_as_it_was_read(raw: bytes) -> None:
    assert encode(only(raw)) == raw


@pytest.mark.parametrize("raw", WHOLE)
def test_every_split_gives_the_same_frame(raw: bytes) -> None:
    whole = [only(raw)]
    for at in range(len(raw) + 1):
        assert everything([raw[:at], raw[at:]]) == whole
    assert everything([bytes((byte,)) for byte in raw]) == whole


@pytest.mark.parametrize("raw", WHOLE)
def test_every_shorter_prefix_waits_and_is_kept_as_damage_at_the_end(raw: bytes) -> None:
    for length in range(1, len(raw)):
        assert everything([raw[:length]]) == []
        ended = everything([raw[:length]], end=True)
        assert all(isinstance(each, Damaged) for each in ended)
        assert raw_of(ended) == raw[:length]


def test_glued_frames_come_apart() -> None:
    assert raw_of(everything([b"".join(WHOLE)])) == b"".join(WHOLE)
    assert len(everything([b"".join(WHOLE)])) == len(WHOLE)


def test_delimiters_inside_a_frame_do_not_cut_it() -> None:
    frame = only(DELIMITERS_INSIDE)
    assert (frame.serial, frame.source, frame.destination, len(frame.unit)) == (0x4040, "23" * 6, "40" * 6, 48)


def test_confirm_turns_the_addresses_round_and_keeps_the_serial() -> None:
    assert encode(confirm(only(HEARTBEAT), TAG)) == CONFIRM_OF_HEARTBEAT


def test_deny_answers_a_damaged_frame_by_its_header() -> None:
    broken = HEARTBEAT[:-3] + b"\x00##"
    (damaged,) = everything([broken])
    assert isinstance(damaged, Damaged) and damaged.header is not None
    answer = deny(damaged.header, TAG)
    assert (answer.command, answer.serial, answer.destination) == (Command.DENY, 1, "010203040506")


def test_answers_travel_as_hexadecimal_text_where_the_question_did() -> None:
    assert encode(confirm(only(HEARTBEAT.hex().encode()), TAG)) == CONFIRM_OF_HEARTBEAT.hex().upper().encode()


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (HEARTBEAT[:-1] + b"\x13", Damage.BAD_END),
        (HEARTBEAT[:-3] + b"\x43##", Damage.BAD_CHECKSUM),
        (HEARTBEAT[:24] + b"\x01\x04" + HEARTBEAT[26:], Damage.UNIT_TOO_LONG),
        (encode(replace(only(CONFIRM_OF_HEARTBEAT), command=7)), Damage.UNKNOWN_COMMAND),
        (encode(replace(only(CONFIRM_OF_HEARTBEAT), command=0)), Damage.UNKNOWN_COMMAND),
    ],
)
def test_a_damaged_frame_is_kept_whole_with_its_reason_and_header(broken: bytes, reason: Damage) -> None:
    (damaged,) = everything([broken])
    assert isinstance(damaged, Damaged)
    assert (damaged.raw, damaged.reason) == (broken, reason)
    assert damaged.header is not None and damaged.header.serial == 1


@pytest.mark.parametrize("junk", [b"\x00", b"@", b"#", b"4", b"404", b"@4", b"\xff" * 90, b"##", b"40404040"])
def test_a_frame_after_junk_is_found_byte_by_byte(junk: bytes) -> None:
    found = everything([junk + CALL_POINT], end=True)
    assert found[-1] == only(CALL_POINT)
    assert raw_of(found) == junk + CALL_POINT


@pytest.mark.parametrize("length", range(1, len(FIELD_FIRE)))
def test_a_frame_behind_a_cut_off_one_is_found_when_the_wire_goes_quiet(length: int) -> None:
    found = everything([FIELD_FIRE[:length], CALL_POINT], pause=True)
    assert found[-1] == only(CALL_POINT)
    assert raw_of(found) == FIELD_FIRE[:length] + CALL_POINT


def test_a_fire_behind_a_frame_with_a_damaged_length_is_found_when_the_wire_goes_quiet() -> None:
    long = HEARTBEAT[:24] + b"\x00\x04" + HEARTBEAT[26:]
    assert everything([long + CALL_POINT]) == []
    damaged, fire = everything([long + CALL_POINT], pause=True)
    assert isinstance(damaged, Damaged)
    assert (damaged.raw, damaged.reason, fire) == (long, Damage.INCOMPLETE, only(CALL_POINT))


def test_a_pause_in_the_middle_of_a_slow_frame_does_not_lose_it() -> None:
    wire = Connection()
    for byte in CALL_POINT:
        wire.receive_data(bytes((byte,)))
        wire.receive_pause()
        found = wire.next_frame()
    assert found == only(CALL_POINT)
    assert not wire.pending


def test_endless_junk_comes_back_in_bounded_stretches() -> None:
    found = everything([b"\x00" * 1_000] * 20)
    assert [len(each.raw) for each in found if isinstance(each, Damaged)] == [STRETCH_BYTES_MAX] * 4


def test_more_than_64_kb_without_asking_is_refused() -> None:
    wire = Connection()
    wire.receive_data(bytes(BUFFER_BYTES_MAX))
    with pytest.raises(BufferFull):
        wire.receive_data(b"\x00")


def test_departures_from_the_standard_are_named() -> None:
    odd = Frame(1, TimeTag(), "00" * 6, "00" * 6, 200, b"", (0, 1), True)
    assert only(encode(odd)).deviations == (
        Deviation.MAJOR_VERSION,
        Deviation.ASCII_HEX,
        Deviation.SEND_TIME_INVALID,
        Deviation.USER_COMMAND,
    )
    assert only(HEARTBEAT).deviations == ()


@pytest.mark.parametrize(
    "bad",
    [
        replace(only(HEARTBEAT), unit=bytes(1_025)),
        replace(only(HEARTBEAT), serial=65_536),
        replace(only(HEARTBEAT), source="0102"),
        replace(only(HEARTBEAT), source="not an address"),
        replace(only(HEARTBEAT), time=TimeTag(second=256)),
    ],
)
def test_what_does_not_fit_a_frame_is_refused(bad: Frame) -> None:
    with pytest.raises(BadFrame):
        encode(bad)


def test_time_tags_are_beijing_time() -> None:
    assert TAG.utc_us == 1_795_139_610_000_000
    assert TimeTag.at(1_795_139_610_999_999) == TAG
    assert TimeTag().utc_us is None and TimeTag().is_zero
    assert TimeTag(0, 0, 0, 30, 2, 26).utc_us is None
    assert TimeTag(0, 0, 0, 1, 1, 100).utc_us is None


def test_each_of_several_damaged_frames_comes_back_by_itself_so_that_each_is_denied() -> None:
    sums = [CALL_POINT[:-3] + b"\x43##", HEARTBEAT[:-3] + b"\x43##", DELIMITERS_INSIDE[:-3] + b"\x43##"]
    ends = [HEARTBEAT[:-1] + b"\x13", CALL_POINT[:-1] + b"\x13"]
    for broken in ([*sums, *ends], [*ends, *sums], [sums[0], ends[0], sums[1], ends[1]]):
        found = everything([b"".join(broken) + FIELD_FIRE], pause=True)
        assert [each.raw for each in found if isinstance(each, Damaged)] == broken
        assert all(each.header is not None for each in found if isinstance(each, Damaged))
        assert found[-1] == only(FIELD_FIRE)


def test_a_whole_frame_inside_a_damaged_one_is_found() -> None:
    """A length that swallows the next frame up to its very end."""
    swallowing = HEARTBEAT[:24] + (len(CALL_POINT) + 9).to_bytes(2, "little") + HEARTBEAT[26:]
    damaged, fire = everything([swallowing + CALL_POINT])
    assert isinstance(damaged, Damaged)
    assert (damaged.raw, damaged.reason, fire) == (swallowing, Damage.BAD_CHECKSUM, only(CALL_POINT))


def test_a_frame_that_lost_or_doubled_a_byte_does_not_take_the_next_one_with_it() -> None:
    for at in range(len(CALL_POINT)):
        for broken in (
            CALL_POINT[:at] + CALL_POINT[at + 1 :],
            CALL_POINT[:at] + CALL_POINT[at : at + 1] + CALL_POINT[at:],
        ):
            found = everything([broken + FIELD_FIRE], pause=True)
            assert found[-1] == only(FIELD_FIRE)
            if only(CALL_POINT) not in found:
                assert raw_of(found) == broken + FIELD_FIRE


def test_line_ends_behind_frames_sent_as_text_belong_to_them() -> None:
    text = HEARTBEAT.hex().encode()
    pieces = [text + b"\r", b"\n", b"\n" + text + b"\r\n", HEARTBEAT, b"\r\n"]
    *whole, damaged = everything(pieces, end=True)
    assert whole == [only(text), only(text), only(HEARTBEAT)]
    assert damaged == Damaged(b"\r\n", Damage.JUNK)


def test_padding_behind_a_damaged_frame_sent_as_text_belongs_to_it_and_is_counted() -> None:
    reserved = encode(replace(only(HEARTBEAT.hex().encode()), command=0))
    wire = Connection()
    wire.receive_data(b"\xff" + reserved + bytes(77) + b"J##")
    wire.receive_eof()
    found = []
    while (each := wire.next_frame()) is not None:
        assert isinstance(each, Damaged)
        found.append((each.raw, each.reason))
    assert found == [(b"\xff", Damage.JUNK), (reserved, Damage.UNKNOWN_COMMAND), (b"J##", Damage.JUNK)]
    assert wire.consumed == 1 + len(reserved) + 77 + 3


def test_a_connection_says_where_in_the_stream_each_thing_ended() -> None:
    wire = Connection()
    wire.receive_data(b"\x00" + HEARTBEAT.hex().encode() + b"\r\n" + CALL_POINT[:-1])
    ends = []
    while wire.next_frame() is not None:
        ends.append(wire.consumed)
    assert (ends, wire.consumed, wire.held) == ([1, 79], 81, 77)


@given(frames)
def test_any_frame_survives_the_wire(frame: Frame) -> None:
    assert everything([encode(frame)]) == [frame]


@given(st.lists(frames, max_size=4), st.lists(st.integers(0, 400), max_size=4))
def test_any_stream_of_frames_survives_any_split(sent: list[Frame], cuts: list[int]) -> None:
    raw = b"".join(encode(frame) for frame in sent)
    edges = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    assert everything([raw[a:b] for a, b in zip(edges, edges[1:], strict=False)]) == sent


@given(
    st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([b"@@", b"4040", b"##", HEARTBEAT, FIELD_FIRE[:30]])))
)
def test_no_input_crashes_and_no_byte_is_lost(pieces: list[bytes]) -> None:
    found = everything(pieces, pause=True, end=True)
    # Hexadecimal text is kept by meaning, not by letter case.
    assert raw_of(found).upper() == b"".join(pieces).upper()
