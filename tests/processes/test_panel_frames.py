"""`tocsin gb26875 decode`: every frame and every damaged stretch of a capture, whatever form the capture has."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from devices.protocols.gb26875 import Frame, TimeTag, encode
from devices.protocols.gb26875_objects import (
    Analogue,
    ComponentConfiguration,
    DeviceClock,
    DeviceConfiguration,
    DeviceOperation,
    DeviceStatus,
    DeviceVersion,
    Operation,
    ReadDeviceOperations,
    ReadOperations,
    SystemClock,
    SystemConfiguration,
    SystemStatus,
    SystemVersion,
    UnitObject,
    description_bytes,
)
from devices.protocols.gb26875_units import TYPE_NAMES, encode_unit
from services.dispatcher.processes.cli_feeds import gb26875_app
from services.dispatcher.processes.panel_frames import Row, capture_rows, in_words

SAMPLES = json.loads((Path(__file__).parents[1] / "data" / "gb26875" / "frames.json").read_text())
ROWS: list[Row] = [sample["row"] for sample in (*SAMPLES["frames"], *SAMPLES["damaged"])]
WHOLE = bytes.fromhex(ROWS[0]["hex"])
BYTES_MAX = 1_000_000
TAG = TimeTag(30, 53, 9, 20, 11, 26)
AT = "2026-11-20T09:53:30+08:00"
ADDRESS = b"\x0a\x00\x28\x00"
SYSTEM = {"system_type": 1, "system_address": 2, "system": "火灾报警系统"}


def rows(capture: bytes) -> list[Row]:
    return list(capture_rows(io.BytesIO(capture), BYTES_MAX))


def moved(row: Row, offset: int) -> Row:
    return row | {"offset": offset}


def glued(found: list[Row]) -> list[Row]:
    """The rows as they are when their bytes follow one another."""
    made, offset = [], 0
    for row in found:
        made.append(moved(row, offset))
        offset += row["length"]
    return made


@pytest.mark.parametrize("row", ROWS, ids=[s["id"] for s in (*SAMPLES["frames"], *SAMPLES["damaged"])])
def test_every_sample_is_read_with_all_its_values(row: Row) -> None:
    assert rows(bytes.fromhex(row["hex"])) == [row]


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "{}\n",
        "\ufeff{}",
        "# a comment: 40 40\n{} # 40\r\n",
    ],
)
@pytest.mark.parametrize("spelling", ["plain", "capitals", "spaced", "c", "escapes", "colons", "lines", "halves"])
def test_hexadecimal_text_is_read_however_it_is_spelled(form: str, spelling: str) -> None:
    hex = "".join(row["hex"] for row in ROWS)
    pairs = [hex[at : at + 2] for at in range(0, len(hex), 2)]
    spelled = {
        "plain": hex,
        "capitals": hex.upper(),
        "spaced": " ".join(pairs),
        "c": "{" + ", ".join(f"0x{pair.upper()}" for pair in pairs) + "}",
        "escapes": '"' + "".join(f"\\x{pair}" for pair in pairs) + '"',
        "colons": ":".join(pairs),
        "lines": "\n".join(hex[at : at + 64] for at in range(0, len(hex), 64)),
        "halves": "\n".join(hex[at : at + 77] for at in range(0, len(hex), 77)),
    }[spelling]
    assert rows(form.format(spelled).encode()) == glued(ROWS)


def test_text_in_utf_16_is_read_as_well() -> None:
    assert rows(ROWS[0]["hex"].encode("utf-16")) == [ROWS[0]]


def test_words_in_hexadecimal_text_are_shown_and_frames_around_them_found() -> None:
    found = rows(f"{ROWS[0]['hex']}ZZ{ROWS[4]['hex']}\nhello {ROWS[5]['hex']}".encode())
    assert [(row["kind"], row.get("text")) for row in found] == [
        ("frame", None),
        ("damaged", "ZZ"),
        ("frame", None),
        ("damaged", "hello"),
        ("frame", None),
    ]


def test_half_a_byte_is_shown() -> None:
    assert [row.get("text") for row in rows((ROWS[0]["hex"] + " 404").encode())] == [None, "4", None]


def test_frames_sent_as_text_are_told_from_text_that_shows_bytes() -> None:
    wire = b"\x00" + WHOLE.hex().upper().encode() + b"\r\n" + WHOLE
    junk, text, bare = rows(wire)
    assert (junk["reason"], junk["hex"]) == ("junk", "00")
    problem = {"code": "ascii_hex", "message": "The frame was sent as hexadecimal text."}
    assert text == moved(ROWS[0], 1) | {"ascii_hex": True, "problems": [problem]}
    assert bare == moved(ROWS[0], 1 + 2 * len(WHOLE) + 2)


OBJECTS: list[tuple[int, UnitObject, Row]] = [
    (
        1,
        SystemStatus(1, 2, 0x3FFE, TAG),
        SYSTEM
        | {
            "object": "SystemStatus",
            "status": 0x3FFE,
            "time": list(bytes(TAG)),
            "at": AT,
            "bits": [
                "fire",
                "fault",
                "shield",
                "supervise",
                "started",
                "feedback",
                "delay",
                "main_power_fault",
                "backup_power_fault",
                "bus_fault",
                "manual",
                "configuration_changed",
                "reset",
            ],
            "fire": True,
            "test_bit": True,
        },
    ),
    (
        3,
        Analogue(1, 2, 30, ADDRESS, 3, -2730, TAG),
        SYSTEM
        | {
            "object": "Analogue",
            "component_type": 30,
            "component": "感温火灾探测器",
            "component_address": "0a002800",
            "quantity": 3,
            "quantity_name": "temperature",
            "value": -2730,
            "reading": -273.0,
            "unit": "°C",
            "time": list(bytes(TAG)),
            "at": AT,
        },
    ),
    (
        4,
        Operation(1, 2, 0x7F, 9, TAG),
        SYSTEM
        | {
            "object": "Operation",
            "operation": 0x7F,
            "operator": 9,
            "bits": ["reset", "silence", "manual_alarm", "cleared", "self_check", "confirm", "test"],
            "time": list(bytes(TAG)),
            "at": AT,
        },
    ),
    (5, SystemVersion(1, 2, 3, 7), SYSTEM | {"object": "SystemVersion", "major": 3, "minor": 7}),
    (
        6,
        SystemConfiguration(1, 2, "三层".encode("gb18030")),
        SYSTEM | {"object": "SystemConfiguration", "text": "三层", "text_hex": "c8fdb2e3"},
    ),
    (
        7,
        ComponentConfiguration(1, 2, 200, ADDRESS, description_bytes("三层")),
        SYSTEM
        | {
            "object": "ComponentConfiguration",
            "component_type": 200,
            "component": "部件(类型200)",
            "component_address": "0a002800",
            "description": "三层",
            "description_hex": "c8fdb2e3" + "00" * 27,
        },
    ),
    (8, SystemClock(1, 2, TAG), SYSTEM | {"object": "SystemClock", "time": list(bytes(TAG)), "at": AT}),
    (
        21,
        DeviceStatus(0x7F, None),
        {
            "object": "DeviceStatus",
            "status": 0x7F,
            "time": None,
            "bits": ["normal", "fire", "fault", "main_power_fault", "backup_power_fault", "link_fault", "line_fault"],
            "fire": True,
            "test_bit": False,
        },
    ),
    (
        24,
        DeviceOperation(0x20, 3, TAG),
        {
            "object": "DeviceOperation",
            "operation": 32,
            "operator": 3,
            "bits": ["confirm"],
            "time": list(bytes(TAG)),
            "at": AT,
        },
    ),
    (25, DeviceVersion(2, 1), {"object": "DeviceVersion", "major": 2, "minor": 1}),
    (26, DeviceConfiguration(b"abc"), {"object": "DeviceConfiguration", "text": "abc", "text_hex": "616263"}),
    (28, DeviceClock(TimeTag()), {"object": "DeviceClock", "time": [0] * 6, "at": None}),
    (
        64,
        ReadOperations(1, 2, 5, TAG),
        SYSTEM | {"object": "ReadOperations", "count": 5, "since": list(bytes(TAG)), "at": AT},
    ),
    (
        84,
        ReadDeviceOperations(5, TAG),
        {"object": "ReadDeviceOperations", "count": 5, "since": list(bytes(TAG)), "at": AT},
    ),
]


@pytest.mark.parametrize(("type_flag", "each", "expected"), OBJECTS)
def test_every_kind_of_object_is_shown_with_all_that_it_means(type_flag: int, each: UnitObject, expected: Row) -> None:
    (row,) = rows(encode(Frame(1, TAG, "01" * 6, "02" * 6, 2, encode_unit(type_flag, [each]))))
    assert (row["type_flag"], row["type_name"], row["objects"]) == (type_flag, TYPE_NAMES[type_flag], [expected])


@pytest.mark.parametrize(("type_flag", "problem"), [(9, "reserved_type"), (128, "user_type"), (254, "user_type")])
def test_a_unit_that_cannot_be_read_is_shown_whole(type_flag: int, problem: str) -> None:
    (row,) = rows(encode(Frame(1, TAG, "01" * 6, "02" * 6, 2, bytes((type_flag, 3)) + b"own")))
    assert (row["type_name"], row["count"], [each["code"] for each in row["problems"]]) == (None, 3, [problem])
    assert row["objects"] == [{"object": "Opaque", "body": "6f776e"}]


def told(*arguments: str, input: bytes = b"") -> tuple[int, list[Any]]:
    result = CliRunner().invoke(gb26875_app, ["decode", *arguments, "--json"], input=input)
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()]


def test_the_command_prints_one_object_a_line_from_a_file_and_from_standard_input(tmp_path: Path) -> None:
    capture = tmp_path / "capture"
    capture.write_bytes(WHOLE)
    assert told(str(capture)) == (0, [ROWS[0]])
    assert told("-", input=WHOLE.hex(" ").encode()) == (0, [ROWS[0]])


def test_the_command_fails_when_anything_is_damaged_or_nothing_is_there(tmp_path: Path) -> None:
    assert told("-", input=WHOLE + b"\x00")[0] == 1
    assert told("-", input=b"") == (1, [])
    assert told(str(tmp_path / "absent")) == (2, [])


def test_in_words_there_is_a_line_for_each_thing(tmp_path: Path) -> None:
    capture = tmp_path / "capture"
    capture.write_bytes(bytes.fromhex(ROWS[2]["hex"]) + b"\x00")
    result = CliRunner().invoke(gb26875_app, ["decode", str(capture)])
    assert (result.exit_code, result.stdout.splitlines()) == (
        1,
        [
            "frame serial 1 from b22396604001 to 000000000000 at byte 0: command 2 (send), type 21 (device_status), "
            "1 object, sent at no date (0, 0, 0, 0, 0, 0)",
            '  DeviceStatus {"bits": ["normal"], "fire": false, "test_bit": false}',
            "  send_time_invalid: The frame's time tag is zero or no calendar date.",
            "  time_missing: The objects carry no time tag.",
            "damaged (junk) at byte 33, length 1: These bytes begin no frame. 00",
            "frames: 1, damaged stretches: 1",
        ],
    )


def test_no_more_than_the_limit_is_read() -> None:
    endless = io.BytesIO(WHOLE * 1_000)
    assert len(list(capture_rows(endless, 78 * 900))) == 900
    assert endless.tell() == 78 * 900


@given(st.lists(st.one_of(st.binary(max_size=99), st.text(max_size=99).map(str.encode), st.sampled_from([WHOLE]))))
def test_any_capture_is_told_whole(parts: list[bytes]) -> None:
    capture = b"".join(parts)
    found = rows(capture)
    assert all(in_words(row) for row in found)
    offsets = [row["offset"] for row in found if row["length"]]
    assert offsets == sorted(offsets)
    # A control character in front makes it bytes, of which none may be lost but line ends behind text.
    raw = rows(b"\x01" + capture)
    assert sum(row["length"] for row in raw if not row.get("ascii_hex")) <= len(capture) + 1
    if all(row["kind"] == "damaged" for row in raw):
        assert "".join(row["hex"] for row in raw) == "01" + capture.hex()


def test_a_reader_that_has_seen_enough_is_no_fault_of_the_capture(tmp_path: Path) -> None:
    capture = tmp_path / "capture"
    capture.write_bytes(bytes.fromhex(ROWS[2]["hex"]) * 2_000)
    command = [sys.executable, "-m", "devices.command", "gb26875", "decode", str(capture)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as decoding:
        assert decoding.stdout is not None and decoding.stderr is not None
        decoding.stdout.close()
        assert decoding.stderr.read() == b""
