"""The rules of the speaker link as another maker reads them, from devices/protocols/README.md and asyncapi.yaml alone:
which documents are good, who is meant, which order sounds. Pure functions on JSON values.

Imports nothing of Tocsin: the published AsyncAPI document is its reader of forms. `foreign_speaker` is the speaker.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import yaml
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jsonschema import Draft202012Validator

Json = dict[str, Any]
PAGE = Path(__file__).parents[2] / "devices" / "protocols" / "asyncapi.yaml"
API: Json = yaml.safe_load(PAGE.read_text("utf-8").replace("$'", "\\Z'"))  # Python's $ lets a line feed through
KINDS = {kind: API["components"]["messages"][name] for kind, name in
         (("keys", "keys"), ("manifest", "manifest"), ("config", "config"), ("hello", "helloAnswer"))}  # fmt: skip
SCHEMAS = {kind: Draft202012Validator({**message["x-signed"], "components": API["components"]})
           for kind, message in KINDS.items()}  # fmt: skip
CAPS = ("maxItems", "maxLength", "maxProperties")


class Refused(Exception):
    """A document that is not obeyed; `args[0]` is a code of the page's section 6."""


def need(holds: object, code: str) -> None:
    if not holds:
        raise Refused(code)


def strict(raw: bytes, code: str = "malformed") -> Any:
    def once(pairs: list[tuple[str, Any]]) -> Json:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a member stands twice")
        return dict(pairs)

    try:
        value = json.loads(raw.decode(), object_pairs_hook=once, parse_float=never, parse_constant=never)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Refused(code) from None
    return value


def never(literal: str) -> Any:
    raise ValueError(literal)


def base64url(text: str) -> bytes:
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    need(base64.urlsafe_b64encode(data).rstrip(b"=").decode() == text, "malformed")
    return data


def opened(raw: bytes, kind: str, keys: list[Json], check: bool = True) -> tuple[Json, Json]:
    """Payload and key of a signed document, tested in the page's order. `check` False makes a bad speaker."""
    need(raw, "empty_payload")
    need(len(raw) <= KINDS[kind]["x-bytes-max"], "over_cap")
    parts = re.fullmatch(rb"([\w-]{1,400})\.([\w-]+)\.([\w-]{86})", raw, re.ASCII)
    need(parts, "malformed")
    assert parts is not None
    head, body, signature = (base64url(part.decode()) for part in parts.groups())
    header = strict(head, "header")
    need(isinstance(header, dict) and set(header) == {"alg", "kid", "typ"}, "header")
    need(all(isinstance(v, str) for v in header.values()) and re.fullmatch("[a-z0-9-]{1,32}", header["kid"]), "header")
    need(header["typ"] == KINDS[kind]["x-typ"], "wrong_type")
    key = next((each for each in keys if each["kid"] == header["kid"]), {})
    need(key, "unknown_key")
    need(header["alg"] == "Ed25519" == key["alg"], "header")
    try:
        Ed25519PublicKey.from_public_bytes(base64url(key["x"])).verify(signature, raw.rpartition(b".")[0])
    except InvalidSignature:
        need(not check, "bad_signature")
    value: Json = strict(body)
    orders = value.get("orders") if isinstance(value, dict) else None
    for order in orders if isinstance(orders, list) else []:
        shapes = order.get("selector", {}).get("shapes") if isinstance(order, dict) else None
        rings = [shape.get("ring", [0]) for shape in shapes or [] if isinstance(shape, dict)]
        need(sum(map(len, rings)) <= 100, "over_cap")
    errors = list(SCHEMAS[kind].iter_errors(value))
    need(not any(each.validator in CAPS and each.validator_value for each in errors), "over_cap")
    need(not errors, "malformed")
    if kind in FITS:
        FITS[kind](value)
    return value, key


def _keys_fit(value: Json) -> None:
    for name in ("kid", "x"):
        need(len({key[name] for key in value["keys"]}) == len(value["keys"]), "malformed")


def _orders_fit(value: Json) -> None:
    need(value["fresh_until"] >= value["issued"], "malformed")
    need(value.get("swept", 0) <= value["issued"], "malformed")
    need(len({order["id"] for order in value["orders"]}) == len(value["orders"]), "malformed")
    need(all(order["expires"] > order["start_at"] for order in value["orders"]), "malformed")


def _config_fits(value: Json) -> None:
    need(not set(value["area_chain"]) & set(value["overlay"]), "malformed")


FITS = {"keys": _keys_fit, "manifest": _orders_fit, "config": _config_fits}


def read_keys(raw: bytes, roots: list[Json], now: int | None = None) -> tuple[Json, Json]:
    value, key = opened(raw, "keys", roots)
    need(now is None or now <= key["not_after"], "key_expired")
    return value, key


def read_config(raw: bytes, speaker: str, keys: list[Json], now: int | None, held: Json | None) -> tuple[Json, Json]:
    value, key = opened(raw, "config", keys)
    need(value["speaker"] == speaker, "stream_mismatch")
    need(key["use"] == "config", "key_use")
    need(now is None or now <= key["not_after"], "key_expired")
    need(key["area"] in value["area_chain"], "key_area")
    down = value["area_chain"][: value["area_chain"].index(key["area"]) + 1]
    need(not held or held["area_chain"][: len(down)] == down, "key_area")
    return value, key


def read_answer(raw: bytes, nonce: str, keys: list[Json]) -> Json:
    value, key = opened(raw, "hello", keys)
    need(key["use"] == "clock", "key_use")
    need(value["utc"] <= key["not_after"], "key_expired")
    need(value["nonce"] == nonce, "wrong_nonce")
    return value


def read_manifest(
    raw: bytes, topic: str, keys: list[Json], config: Json | None, now: int | None, check: bool = True
) -> tuple[Json, Json]:
    value, key = opened(raw, "manifest", keys, check)
    need(value["stream"] == topic, "stream_mismatch")
    kind, name, _, use, issuer = topic.split("/")[2:]
    need(key["use"] == use, "key_use")
    need(key["issuer"] == issuer, "not_issuer")
    need(now is None or now <= key["not_after"], "key_expired")
    need(all(order["status"] == use for order in value["orders"]), "status_mismatch")
    need(all(order["level"] in key["levels"] for order in value["orders"]), "key_level")
    if config is not None:
        mine = config["speaker"] if kind == "speaker" else (*config["area_chain"], *config["overlay"])
        need(name == mine if kind == "speaker" else name in mine, "area_not_mine")
        need(reaches(key["area"], topic, config), "key_area")
    return value, key


def reaches(area: str, topic: str, config: Json) -> bool:
    chain, (kind, name) = config["area_chain"], topic.split("/")[2:4]
    up_to = chain[: chain.index(name) + 1] if name in chain else (name, chain[0])
    return area in ((*chain, *config["overlay"]) if kind == "speaker" else up_to)


def version_refusal(version: int, digest: str, held: int | None, held_digest: str | None) -> str | None:
    if held is None or version > held:
        return None
    return "version_back" if version < held else None if digest == held_digest else "version_conflict"


def newer(version: int, digest: str, held: int | None, held_digest: str | None) -> None:
    refusal = version_refusal(version, digest, held, held_digest)
    need(refusal is None, refusal or "")


def freshness(manifest: Json, digest: str, now: int | None, held: int | None, held_digest: str | None) -> str | None:
    refusal = version_refusal(manifest["version"], digest, held, held_digest)
    if refusal is not None or manifest["version"] == held:
        return refusal
    if now is None:
        return "no_clock"
    if manifest["version"] > now // 1_000 + 600_000:
        return "version_ahead"
    return "stale" if now > manifest["fresh_until"] else None


def selects(selector: Json, config: Json) -> bool:
    own = (("areas", {*config["area_chain"], *config["overlay"]}), ("venues", {config["venue"]}),
           ("venue_kinds", {config["venue_kind"]}), ("speakers", {config["speaker"]}))  # fmt: skip
    if any(field in selector and not mine & set(selector[field]) for field, mine in own):
        return False
    at = config["lat_e7"], config["lon_e7"]
    return "shapes" not in selector or any(_inside(shape, *at) for shape in selector["shapes"])


def _inside(shape: Json, lat: int, lon: int) -> bool:
    if "ring" not in shape:
        radius, north = shape["radius_m"] * 10**9 // 11_119_508, abs(lat - shape["lat_e7"])
        angle = (abs(lat + shape["lat_e7"]) // 2) * 2_012_227_627 >> 30
        square = angle * angle >> 30
        cosine = 2**30 - square // 90
        for d in (56, 30, 12, 2):
            cosine = 2**30 - (square * cosine >> 30) // d
        east = abs(lon - shape["lon_e7"]) * cosine >> 30
        return bool(north <= radius and east <= radius and north**2 + east**2 <= radius**2)
    odd = False
    for (a_lat, a_lon), (b_lat, b_lon) in zip(shape["ring"], shape["ring"][1:] + shape["ring"][:1], strict=True):
        left, right = (b_lon - a_lon) * (lat - a_lat), (b_lat - a_lat) * (lon - a_lon)
        in_box = min(a_lat, b_lat) <= lat <= max(a_lat, b_lat) and min(a_lon, b_lon) <= lon <= max(a_lon, b_lon)
        if left == right and in_box:
            return True
        odd ^= (a_lat > lat) != (b_lat > lat) and (left > right) == (b_lat > a_lat)
    return odd
