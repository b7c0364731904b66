"""The unsigned half of the speaker link's vectors: forms of an order, of a selector and of what speakers say."""

from __future__ import annotations

import json
from typing import Any

RIGHT = [[0, 0], [0, 100], [100, 100], [100, 0]]
NOTCHED = [[0, 0], [0, 90], [90, 90], [90, 60], [30, 60], [30, 30], [90, 30], [90, 0]]
BOW_TIE = [[0, 0], [100, 100], [100, 0], [0, 100]]


def _shapes(*shapes: dict[str, Any]) -> dict[str, Any]:
    return {"shapes": list(shapes)}


def _ring(corners: int) -> dict[str, Any]:
    return {"ring": [[n, n * n] for n in range(corners)]}


GOOD_MEMBERS: list[tuple[str, object]] = [
    ("retired", False),
    ("chain_head", ""),
    ("orders", []),
    ("orders.0.volume", 1),
    ("orders.0.volume", 100),
    ("orders.0.volume", "mute"),
    ("orders.0.volume", "unchanged"),
    ("orders.0.audio", []),
    ("audio_base", "https://audio.example/recordings"),
    ("audio_base", "http://127.0.0.1:8080"),
    ("swept", 1_800_000_000_000_000),
    ("orders.0.texts", {}),
    ("orders.0.texts", {"zh-CN": "警" * 500}),
    ("orders.0.texts", {"zh-CN": "第一行\n第二行"}),
    ("orders.0.supersedes", ["0198f0a0-0000-7000-8000-000000000000"]),
    ("orders.0.also_unstarted", True),
    ("orders.0.origin", {"cap": "dalian-20260101-1", "ebmid": "0" * 35}),
    ("orders.0.selector", {}),
    ("orders.0.selector", {"areas": []}),
    ("orders.0.selector", {"speakers": [f"sp-{n}" for n in range(64)]}),
    ("orders.0.selector", _shapes(_ring(99), {"lat_e7": 0, "lon_e7": 0, "radius_m": 1})),
    ("orders.0.selector", _shapes({"lat_e7": 900_000_000, "lon_e7": -1_800_000_000, "radius_m": 500_000})),
]
"""(member, value) of changes to the first manifest that keep it good; `...` takes the member away."""

BAD_MEMBERS: list[tuple[str, object, str]] = [
    ("version", ..., "malformed"),
    ("version", 0, "malformed"),
    ("version", 2**53, "malformed"),
    ("version", True, "malformed"),
    ("version", "1", "malformed"),
    ("version", None, "malformed"),
    ("issued", -1, "malformed"),
    ("fresh_until", 0, "malformed"),
    ("chain_head", "a b", "malformed"),
    ("retired", True, "malformed"),
    ("retired", 1, "malformed"),
    ("urgent", True, "malformed"),
    ("orders", {}, "malformed"),
    ("orders.0", None, "malformed"),
    ("orders.0.id", "Order 1", "malformed"),
    ("orders.0.id", "o" * 65, "malformed"),
    ("orders.0.rev", 0, "malformed"),
    ("orders.0.status", "test", "malformed"),
    ("orders.0.order_class", "urgent", "malformed"),
    ("orders.0.level", 0, "malformed"),
    ("orders.0.level", 5, "malformed"),
    ("orders.0.event_code", "", "malformed"),
    ("orders.0.phase", "test", "malformed"),
    ("orders.0.phase", "correction", "malformed"),
    ("orders.0.phase", "all_clear", "malformed"),
    ("orders.0.corrects", "0198f0a0-0000-7000-8000-000000000000", "malformed"),
    ("orders.0.texts", {"zh-CN": "警" * 501}, "over_cap"),
    ("orders.0.texts", {f"{a}{b}": "x" for a in "abc" for b in "xyz"}, "over_cap"),
    ("orders.0.texts", {"zh-CN": ""}, "malformed"),
    ("orders.0.texts", {"zh-CN": "bell\u0007"}, "malformed"),
    ("orders.0.texts", {"z": "x"}, "malformed"),
    ("orders.0.audio.0.sha256", "A" * 64, "malformed"),
    ("orders.0.audio.0.ms", 0, "malformed"),
    ("orders.0.audio.0.bytes", 33_554_433, "malformed"),
    ("orders.0.audio.0.urls", ["http://a/b"], "malformed"),
    ("audio_base", "file:///etc", "malformed"),
    ("audio_base", "http://a/", "malformed"),
    ("audio_base", "http://a/" + "b" * 248, "over_cap"),
    ("audio_base", "", "malformed"),
    ("swept", 0, "malformed"),
    ("swept", 1_800_000_000_000_001, "malformed"),
    ("orders.0.volume", 0, "malformed"),
    ("orders.0.volume", 101, "malformed"),
    ("orders.0.volume", "loud", "malformed"),
    ("orders.0.repeat", 0, "malformed"),
    ("orders.0.repeat", 10_001, "malformed"),
    ("orders.0.gap_s", 3_601, "malformed"),
    ("orders.0.expires", 1_800_000_000_000_000, "malformed"),
    ("orders.0.state", "paused", "malformed"),
    ("orders.0.state", "withdrawn", "malformed"),
    ("orders.0.supersedes", ["a", "a"], "malformed"),
    ("orders.0.supersedes", [f"o-{n}" for n in range(17)], "over_cap"),
    ("orders.0.origin", {"cap": "x" * 257}, "over_cap"),
    ("orders.0.selector", ..., "malformed"),
    ("orders.0.selector", {"everyone": True}, "malformed"),
    ("orders.0.selector", {"areas": None}, "malformed"),
    ("orders.0.selector", {"areas": [210200000000]}, "malformed"),
    ("orders.0.selector", {"areas": [f"area-{n}" for n in range(65)]}, "over_cap"),
    ("orders.0.selector", {"speakers": [f"sp-{n}" for n in range(65)]}, "over_cap"),
    ("orders.0.selector", _shapes(_ring(101)), "over_cap"),
    ("orders.0.selector", _shapes(_ring(100), {"lat_e7": 0, "lon_e7": 0, "radius_m": 1}), "over_cap"),
    ("orders.0.selector", _shapes(_ring(2)), "malformed"),
    ("orders.0.selector", _shapes({"ring": [[0, 0], [0, 1], [900_000_001, 0]]}), "malformed"),
    ("orders.0.selector", _shapes({"ring": [[0, 0, 0]] * 3}), "malformed"),
    ("orders.0.selector", _shapes({"lat_e7": 0, "lon_e7": 0, "radius_m": 0}), "malformed"),
    ("orders.0.selector", _shapes({"lat_e7": 0, "lon_e7": 0, "radius_m": 500_001}), "malformed"),
    ("orders.0.selector", _shapes({"lat_e7": 0, "lon_e7": 0, "radius_m": 1, "unit": "km"}), "malformed"),
]
"""(member, value, refusal)."""

STUB_MEMBERS: list[tuple[str, object, str | None]] = [
    ("supersedes", ["0198f0a0-0000-7000-8000-000000000000"], None),
    ("expires", 1_800_000_060_000_000, None),
    ("texts", {"en": "Leave."}, "malformed"),
    ("audio", [], "malformed"),
    ("event_code", "fire", "malformed"),
    ("volume", "unchanged", "malformed"),
    ("repeat", 1, "malformed"),
    ("gap_s", 0, "malformed"),
    ("also_unstarted", True, "malformed"),
    ("origin", {"cap": "1"}, "malformed"),
    ("selector", ..., "malformed"),
    ("level", ..., "malformed"),
    ("phase", "all_clear", "malformed"),
    ("state", "in_force", "malformed"),
]
"""(member, value, refusal or None) of changes to a withdrawn order."""


def selectors() -> list[dict[str, object]]:
    """Selectors against the speaker of the vectors, moved where a case says so."""

    def made(
        name: str, selector: dict[str, Any], matches: bool, lat_e7: int = 50, lon_e7: int = 50
    ) -> dict[str, object]:
        where = {"lat_e7": lat_e7, "lon_e7": lon_e7}
        return {"name": name, "selector": selector, "where": where, "matches": matches}

    square, notched, bow_tie = ({"ring": ring} for ring in (RIGHT, NOTCHED, BOW_TIE))
    equator = {"lat_e7": 0, "lon_e7": 0, "radius_m": 1_000}
    north = {"lat_e7": 600_000_000, "lon_e7": 0, "radius_m": 1_000}
    return [
        made("no field: everyone", {}, True),
        made("own area", {"areas": ["210202001000"]}, True),
        made("area above", {"areas": ["210200000000"]}, True),
        made("overlay zone", {"areas": ["zone-port"]}, True),
        made("another area", {"areas": ["210203000000"]}, False),
        made("one of two areas", {"areas": ["210203000000", "210202000000"]}, True),
        made("no area", {"areas": []}, False),
        made("beginning of an area's code", {"areas": ["2102"]}, False),
        made("venue", {"venues": ["xinghai-square"]}, True),
        made("another venue", {"venues": ["station"]}, False),
        made("no venue", {"venues": []}, False),
        made("kind of venue", {"venue_kinds": ["park", "square"]}, True),
        made("another kind of venue", {"venue_kinds": ["park"]}, False),
        made("no kind of venue", {"venue_kinds": []}, False),
        made("speaker", {"speakers": ["sp-0001"]}, True),
        made("another speaker", {"speakers": ["sp-0002"]}, False),
        made("no speaker", {"speakers": []}, False),
        made("area and venue", {"areas": ["210200000000"], "venues": ["xinghai-square"]}, True),
        made("area, but not venue", {"areas": ["210200000000"], "venues": ["station"]}, False),
        made("no shape", _shapes(), False),
        made("inside a square", _shapes(square), True),
        made("on an edge", _shapes(square), True, 0, 50),
        made("on an upright edge", _shapes(square), True, 50, 100),
        made("on a corner", _shapes(square), True, 100, 100),
        made("beside an edge", _shapes(square), False, 101, 50),
        made("level with a corner, outside", _shapes(square), False, 100, 101),
        made("level with two corners, west of them", _shapes(notched), False, 30, -1),
        made("in the notch", _shapes(notched), False, 60, 45),
        made("on the floor of the notch", _shapes(notched), True, 30, 45),
        made("below the notch", _shapes(notched), True, 29, 45),
        made("the other way round", _shapes({"ring": RIGHT[::-1]}), True),
        made("first point repeated at the end", _shapes({"ring": [*RIGHT, RIGHT[0]]}), True),
        made("crossing of a bow tie", _shapes(bow_tie), True, 50, 50),
        made("wing of a bow tie", _shapes(bow_tie), True, 20, 50 - 30),
        made("between the wings", _shapes(bow_tie), False, 50, 20),
        made("twice around is outside", _shapes({"ring": RIGHT * 2}), False),
        made("one of two shapes", _shapes({"ring": [[200, 200], [200, 300], [300, 300]]}, square), True),
        made(
            "the whole world",
            _shapes({"ring": _corners(900_000_000, 1_800_000_000)}),
            True,
            -900_000_000,
            1_800_000_000,
        ),
        made("long slanted edge, on it", _shapes({"ring": _slant()}), True, 0, 0),
        made("long slanted edge, one unit west", _shapes({"ring": _slant()}), True, 0, -1),
        made("long slanted edge, one unit east", _shapes({"ring": _slant()}), False, 0, 1),
        made("centre of a circle", _shapes(equator), True, 0, 0),
        made("north end of a circle", _shapes(equator), True, 89_932, 0),
        made("one unit beyond", _shapes(equator), False, 89_933, 0),
        made("east end of a circle on the equator", _shapes(equator), True, 0, -89_932),
        made("one unit beyond on the equator", _shapes(equator), False, 0, -89_933),
        made("inside the box, outside the circle", _shapes(equator), False, 80_000, 80_000),
        made("east end of a circle at 60° north", _shapes(north), True, 600_000_000, 179_864),
        made("beyond it at 60° north", _shapes(north), False, 600_000_000, 179_867),
    ]


def _corners(lat: int, lon: int) -> list[list[int]]:
    return [[-lat, -lon], [-lat, lon], [lat, lon], [lat, -lon]]


def _slant() -> list[list[int]]:
    """A triangle whose long edge runs through (0, 0) with products near 2⁶³."""
    return [[-900_000_000, -1_800_000_000], [900_000_000, 1_800_000_000], [900_000_000, -1_800_000_000]]


def reports() -> list[dict[str, object]]:
    """Receipts, states and hellos, as text."""
    receipt: dict[str, Any] = {
        "journal": "0198f0a0-0000-7000-8000-00000000000a",
        "seq": 41,
        "order": "0198f0a0-0000-7000-8000-000000000001",
        "rev": 1,
        "steps": [
            {"kind": "playing", "at": 1_800_000_000_000_000, "evidence": {"repeat": 1, "mic_db": 71}},
            {"kind": "finished", "at": 1_800_000_009_000_000, "reason": "complete"},
        ],
    }
    refusal = {"journal": "j", "seq": 1, "order": "", "rev": 0, "stream": "tocsin/v1/keys", "version": 7}
    refusal |= {"steps": [{"kind": "refused", "at": 1, "reason": "bad_signature"}]}
    state: dict[str, Any] = {
        "online": True,
        "connection": 12,
        "streams": {"tocsin/v1/area/210202000000/manifest/actual/city": 1_800_000_000_000},
        "keys_version": 7,
        "config_version": 3,
        "journal": "j",
        "seq": 41,
        "volume": 80,
        "power": "mains",
        "cached": ["5" * 64],
        "chain_head": "a1b2c3",
    }
    asked = {"ask": "receipts", "missing": [3, 17]}
    tested: dict[str, Any] = {"journal": "j", "volume": 80, "power": "mains", "cached": 12, "store": "ok"}
    tested |= {"clock": "verified", "orders": 3}
    hello = {"nonce": "n0nce-of-16-chars-or-more"}
    step = receipt["steps"][0]
    rows: list[tuple[str, str, dict[str, Any] | str, str | None]] = [
        ("receipt", "two steps", receipt, None),
        ("receipt", "refusal of a document", refusal, None),
        ("receipt", "member of a newer speaker", receipt | {"gps": 1}, None),
        ("receipt", "no payload", "", "empty_payload"),
        ("receipt", "8,193 bytes", " " * 8_193, "over_cap"),
        ("receipt", "33 steps", receipt | {"steps": [{"kind": "ready", "at": 1}] * 33}, "over_cap"),
        ("receipt", "17 pieces of evidence", _evidence({f"e{n}": n for n in range(17)}, receipt), "over_cap"),
        ("receipt", "no steps", receipt | {"steps": []}, "malformed"),
        ("receipt", "steps left out", {k: v for k, v in receipt.items() if k != "steps"}, "malformed"),
        ("receipt", "unknown step", receipt | {"steps": [step | {"kind": "humming"}]}, "malformed"),
        ("receipt", "step that is a list", receipt | {"steps": [[]]}, "malformed"),
        ("receipt", "fraction of a microsecond", receipt | {"steps": [step | {"at": 1.5}]}, "malformed"),
        ("receipt", "control character in a reason", receipt | {"steps": [step | {"reason": "\u0000"}]}, "malformed"),
        ("receipt", "long reason", receipt | {"steps": [step | {"reason": "r" * 65}]}, "malformed"),
        ("receipt", "fraction as evidence", _evidence({"mic_db": 70.5}, receipt), "malformed"),
        ("receipt", "evidence without a name", _evidence({"": 1}, receipt), "malformed"),
        ("receipt", "ideographic space as evidence", _evidence({"note": "广场\u3000东"}, receipt), None),
        ("receipt", "lone surrogate as evidence", _evidence({"note": "\ud83d"}, receipt), "malformed"),
        ("receipt", "control character as evidence", _evidence({"note": "\u0000"}, receipt), "malformed"),
        ("receipt", "long text as evidence", _evidence({"note": "n" * 257}, receipt), "malformed"),
        ("receipt", "order and stream", receipt | {"stream": "tocsin/v1/keys"}, "malformed"),
        ("receipt", "neither order nor stream", receipt | {"order": ""}, "malformed"),
        ("receipt", "order with a blank", receipt | {"order": "o 1"}, "malformed"),
        ("receipt", "negative number", receipt | {"seq": -1}, "malformed"),
        ("receipt", "number as text", receipt | {"seq": "41"}, "malformed"),
        ("receipt", "a list", "[]", "malformed"),
        ("receipt", "half a receipt", json.dumps(receipt)[:40], "malformed"),
        ("receipt", "3,000 open brackets", "[" * 3_000, "malformed"),
        ("state", "online", state, None),
        ("state", "offline", state | {"online": False}, None),
        ("state", "member of a newer speaker", state | {"gps": 1}, None),
        ("state", "no payload", "", "empty_payload"),
        ("state", "513 pieces of audio", state | {"cached": [f"{n:064x}" for n in range(513)]}, "over_cap"),
        ("state", "same audio twice", state | {"cached": ["5" * 64] * 2}, "malformed"),
        ("state", "online as a number", state | {"online": 1}, "malformed"),
        ("state", "volume 101", state | {"volume": 101}, "malformed"),
        ("state", "unknown power", state | {"power": "steam"}, "malformed"),
        ("state", "version of no stream", state | {"streams": {"tocsin/v1/keys": 1}}, "malformed"),
        ("hello", "nonce", hello, None),
        ("hello", "no payload", "", "empty_payload"),
        ("hello", "257 bytes", " " * 257, "over_cap"),
        ("hello", "short nonce", {"nonce": "n"}, "malformed"),
        ("hello", "nonce left out", {}, "malformed"),
        ("ask", "receipts", asked, None),
        ("ask", "receipts, with a correlation", asked | {"correlation": "c-1"}, None),
        ("ask", "500 receipts", {"ask": "receipts", "missing": list(range(1, 501))}, None),
        ("ask", "self-test", {"ask": "self_test"}, None),
        ("ask", "member of a newer dispatcher", asked | {"journal": "j"}, None),
        ("ask", "no payload", "", "empty_payload"),
        ("ask", "16,385 bytes", " " * 16_385, "over_cap"),
        ("ask", "501 receipts", {"ask": "receipts", "missing": list(range(1, 502))}, "over_cap"),
        ("ask", "receipts, but not which", {"ask": "receipts"}, "malformed"),
        ("ask", "receipt 0", {"ask": "receipts", "missing": [0]}, "malformed"),
        ("ask", "a number as text", {"ask": "receipts", "missing": ["1"]}, "malformed"),
        ("ask", "nothing", {"missing": [1]}, "malformed"),
        ("ask", "what no speaker knows", {"ask": "sing"}, "malformed"),
        ("ask", "long correlation", asked | {"correlation": "c" * 65}, "over_cap"),
        ("ask", "empty correlation", asked | {"correlation": ""}, "malformed"),
        ("answer", "one again, one gone", {"journal": "j", "resent": [3], "gone": [17]}, None),
        ("answer", "self-test", tested, None),
        ("answer", "member of a newer speaker", tested | {"gps": 1}, None),
        ("answer", "unknown ask", {"journal": "j", "refused": "unknown_ask", "correlation": "c-1"}, None),
        ("answer", "no payload", "", "empty_payload"),
        ("answer", "16,385 bytes", " " * 16_385, "over_cap"),
        ("answer", "501 receipts gone", {"journal": "j", "resent": [], "gone": list(range(1, 502))}, "over_cap"),
        ("answer", "gone left out", {"journal": "j", "resent": [3]}, "malformed"),
        ("answer", "of no journal", {"resent": [3], "gone": []}, "malformed"),
        ("answer", "of nothing", {"journal": "j"}, "malformed"),
        ("answer", "unknown supply", tested | {"power": "wind"}, "malformed"),
        ("answer", "volume of 101", tested | {"volume": 101}, "malformed"),
    ]
    return [
        {"kind": kind, "name": name, "raw": raw if isinstance(raw, str) else json.dumps(raw), "refused": refused}
        for kind, name, raw, refused in rows
    ]


def _evidence(evidence: dict[str, Any], receipt: dict[str, Any]) -> dict[str, Any]:
    return receipt | {"steps": [receipt["steps"][0] | {"evidence": evidence}]}
