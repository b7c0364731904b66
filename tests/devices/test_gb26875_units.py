"""GB/T 26875.3 application units: typed objects there and back, and what is made of units that depart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.protocols.gb26875 import BadFrame, Deviation, TimeTag
from devices.protocols.gb26875_objects import (
    Analogue,
    ComponentBit,
    ComponentConfiguration,
    ComponentStatus,
    DeviceClock,
    DeviceConfiguration,
    DeviceOperation,
    DeviceStatus,
    DeviceVersion,
    DutyCheck,
    Opaque,
    Operation,
    ReadComponent,
    ReadDevice,
    ReadDeviceOperations,
    ReadOperations,
    ReadSystem,
    SystemClock,
    SystemConfiguration,
    SystemStatus,
    SystemVersion,
    UnitObject,
    description_bytes,
    text_of,
)
from devices.protocols.gb26875_units import Unit, decode_unit, encode_unit

TAG = TimeTag(30, 53, 9, 20, 11, 26)
ADDRESS = b"\x0a\x00\x28\x00"
FIRE = ComponentStatus(1, 1, 23, ADDRESS, 0x0003, description_bytes("地下一层B区手报"), TAG)

ONE_OF_EACH: dict[int, UnitObject] = {
    1: SystemStatus(1, 2, 0x0101, TAG),
    2: FIRE,
    3: Analogue(1, 1, 30, ADDRESS, 3, -125, TAG),
    4: Operation(1, 1, 0x04, 9, TAG),
    5: SystemVersion(1, 1, 3, 7),
    6: SystemConfiguration(1, 1, "配置".encode("gb18030")),
    7: ComponentConfiguration(1, 1, 40, ADDRESS, description_bytes("一层走廊")),
    8: SystemClock(1, 1, TAG),
    21: DeviceStatus(1, TAG),
    24: DeviceOperation(0x20, 3, TAG),
    25: DeviceVersion(2, 1),
    26: DeviceConfiguration(b"abc"),
    28: DeviceClock(TAG),
    61: ReadSystem(1, 1),
    62: ReadComponent(1, 1, ADDRESS),
    63: ReadComponent(1, 1, ADDRESS),
    64: ReadOperations(1, 1, 5, TAG),
    65: ReadSystem(1, 1),
    66: ReadSystem(1, 1),
    67: ReadComponent(1, 1, ADDRESS),
    68: ReadSystem(1, 1),
    81: ReadDevice(),
    84: ReadDeviceOperations(5, TAG),
    85: ReadDevice(),
    86: ReadDevice(),
    88: ReadDevice(),
    89: ReadDevice(),
    90: DeviceClock(TAG),
    91: DutyCheck(5),
}


@pytest.mark.parametrize("type_flag", ONE_OF_EACH)
def test_every_type_is_read_as_it_was_written(type_flag: int) -> None:
    each = ONE_OF_EACH[type_flag]
    assert decode_unit(encode_unit(type_flag, [each])) == Unit(type_flag, 1, (each,))


def test_call_point_fire_is_read_field_by_field() -> None:
    raw = bytes.fromhex(
        "02 01 01 01 17 0A 00 28 00 03 00 B5 D8 CF C2 D2 BB B2 E3 42 C7 F8 CA D6 B1 A8" + "00" * 16 + "1E3509140B1A"
    )
    assert decode_unit(raw) == Unit(2, 1, (FIRE,))
    assert FIRE.bits == ComponentBit.NORMAL | ComponentBit.FIRE
    assert text_of(FIRE.description) == "地下一层B区手报"


def test_analogue_values_are_signed() -> None:
    raw = bytes.fromhex("03 02 01011E01000100038D02 1E3509140B1A 01011E020001000383FF 1E3509140B1A")
    assert [each.value for each in decode_unit(raw).objects if isinstance(each, Analogue)] == [653, -125]


def test_set_clock_duty_check_and_read_component_are_the_standards_bytes() -> None:
    assert encode_unit(90, [DeviceClock(TAG)]) == bytes.fromhex("5A 01 1E 35 09 14 0B 1A")
    assert encode_unit(91, [DutyCheck(5)]) == bytes.fromhex("5B 01 05")
    assert encode_unit(62, [ReadComponent(1, 1, ADDRESS)]) == bytes.fromhex("3E 01 01 01 0A 00 28 00")


def test_objects_without_time_tags_are_read_and_named() -> None:
    assert decode_unit(b"\x15\x01\x01") == Unit(21, 1, (DeviceStatus(1),), (Deviation.TIME_MISSING,))
    bare = ComponentStatus(1, 1, 23, ADDRESS, 3, description_bytes("x"))
    two = encode_unit(2, [bare, bare])
    assert decode_unit(two) == Unit(2, 2, (bare, bare), (Deviation.TIME_MISSING,))


def test_objects_that_share_one_time_tag_at_the_end_are_read_and_named() -> None:
    bare = ComponentStatus(1, 1, 23, ADDRESS, 3, description_bytes("x"))
    raw = encode_unit(2, [bare, bare]) + bytes(TAG)
    tagged = ComponentStatus(1, 1, 23, ADDRESS, 3, description_bytes("x"), TAG)
    assert decode_unit(raw) == Unit(2, 2, (tagged, tagged), (Deviation.TIME_SHARED,))


def test_a_heartbeat_with_bytes_too_many_is_one_status_and_no_more() -> None:
    unit = decode_unit(b"\x15\x01\x01\x02\x03\x02")
    assert unit.objects == (DeviceStatus(1), Opaque(b"\x02\x03\x02"))
    assert unit.deviations == (Deviation.TIME_MISSING, Deviation.TRAILING_BYTES)


def test_the_last_object_cut_off_behind_its_status_is_still_a_fire() -> None:
    unit = decode_unit(encode_unit(2, [FIRE, FIRE])[: 2 + 46 + 9 + 4])
    assert unit.deviations == (Deviation.OBJECT_SIZE, Deviation.TIME_MISSING)
    whole, cut = unit.objects
    assert whole == FIRE
    assert cut == ComponentStatus(1, 1, 23, ADDRESS, 3, description_bytes("地下"[:2])[:4])


def test_a_wrong_count_is_overruled_by_the_length() -> None:
    raw = bytearray(encode_unit(2, [FIRE, FIRE]))
    raw[1] = 1
    assert decode_unit(bytes(raw)) == Unit(2, 1, (FIRE, FIRE), (Deviation.COUNT_DISAGREES,))


def test_bytes_left_over_are_kept_and_named() -> None:
    unit = decode_unit(encode_unit(2, [FIRE]) + b"\x01\x02")
    assert unit.objects == (FIRE, Opaque(b"\x01\x02"))
    assert unit.deviations == (Deviation.TRAILING_BYTES,)


def test_a_fire_with_a_shortened_description_is_still_a_fire() -> None:
    unit = decode_unit(encode_unit(2, [FIRE])[: 2 + 9 + 11])
    assert unit.deviations == (Deviation.OBJECT_SIZE, Deviation.TIME_MISSING)
    (each,) = unit.objects
    assert isinstance(each, ComponentStatus)
    assert (each.bits, text_of(each.description)) == (FIRE.bits, "地下一层B区")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", Unit(0, 0, (), (Deviation.UNIT_MISSING,))),
        (b"\x02", Unit(2, 0, (Opaque(b"\x02"),), (Deviation.UNIT_MISSING,))),
        (b"\x02\x00", Unit(2, 0, (), (Deviation.UNIT_TOO_SHORT,))),
        (b"\xc8\x01ab", Unit(200, 1, (Opaque(b"ab"),), (Deviation.USER_TYPE,))),
        (b"\x1b\x01ab", Unit(27, 1, (Opaque(b"ab"),), (Deviation.RESERVED_TYPE,))),
        (b"\x5b\x01", Unit(91, 1, (), (Deviation.UNIT_TOO_SHORT, Deviation.COUNT_DISAGREES))),
        (b"\x1a\x01\x09ab", Unit(26, 1, (Opaque(b"\x09ab"),), (Deviation.UNIT_TOO_SHORT, Deviation.COUNT_DISAGREES))),
    ],
)
def test_what_cannot_be_read_is_kept_with_its_reason(raw: bytes, expected: Unit) -> None:
    assert decode_unit(raw) == expected


def test_more_objects_than_the_standard_allows_are_named() -> None:
    raw = bytes((21, 2)) + 2 * (b"\x01" + bytes(TAG))
    assert decode_unit(raw).deviations == (Deviation.COUNT_OVER_LIMIT,)


def test_descriptions_are_cut_between_characters_and_padded() -> None:
    assert description_bytes("手报") == "手报".encode("gb18030").ljust(31, b"\0")
    assert description_bytes("报" * 16) == "报".encode("gb18030") * 15 + b"\0"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Ａ区１层".encode("gb18030") + bytes(9), "Ａ区１层"),
        (b"  room 1   ", "room 1"),
        (b"\x01\x02" + "一层".encode("gb18030") + b"\x00", "一层"),
        ("一层".encode("gb18030") + b"\xff\xff", "一层"),
        ("一层".encode("gb18030") + b"\x00\x01left over\xff", "一层"),
        ("地下一层".encode(), "地下一层"),
        ("地下B".encode() + b"\xff\xfe" + bytes(5), "鍦颁笅B��"),
        (b"\xff\xffa", "��a"),
        (bytes(31), ""),
    ],
)
def test_descriptions_are_read_whatever_they_are_padded_with(raw: bytes, text: str) -> None:
    assert text_of(raw) == text


@pytest.mark.parametrize(
    ("type_flag", "each"),
    [
        (1, FIRE),
        (27, DeviceStatus(1)),
        (91, DutyCheck(256)),
        (2, ComponentStatus(1, 1, 23, ADDRESS, 3, b"short", TAG)),
        (6, SystemConfiguration(1, 1, bytes(256))),
    ],
)
def test_what_does_not_fit_a_unit_is_refused(type_flag: int, each: UnitObject) -> None:
    with pytest.raises(BadFrame):
        encode_unit(type_flag, [each])


def test_a_unit_longer_than_1024_bytes_is_refused() -> None:
    with pytest.raises(BadFrame):
        encode_unit(2, [FIRE] * 23)


@given(st.binary(max_size=300))
def test_no_unit_crashes_the_reader(raw: bytes) -> None:
    unit = decode_unit(raw)
    assert unit.objects or unit.deviations


@given(st.sampled_from([1, 2, 3, 4, 21, 24]), st.integers(0, 20), st.binary(min_size=40, max_size=40))
def test_any_full_objects_are_read_back(type_flag: int, count: int, noise: bytes) -> None:
    each = ONE_OF_EACH[type_flag]
    size = len(encode_unit(type_flag, [each])) - 2
    body = (noise * 60)[: size * count]
    unit = decode_unit(bytes((type_flag, count)) + body)
    if count:
        assert encode_unit(type_flag, unit.objects) == bytes((type_flag, count)) + body
