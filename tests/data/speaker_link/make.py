"""Makes the signed test vectors of the speaker link: `python -m tests.data.speaker_link.make` writes them anew.

Every key comes from a published seed, every byte from this file; the vectors beside it are what another vendor's
speaker must accept and refuse. The accepted ones are signed through `devices.protocols`, the damaged ones by hand.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from devices.protocols import document_json, jws, strict_json
from devices.protocols import speaker_link as link
from devices.protocols.jws import SigningKey, Typ
from devices.protocols.selector import Selector
from devices.protocols.speaker_link import KeyUse
from tests.data.speaker_link import forms, removed, sounds

HERE = Path(__file__).parent
Json = dict[str, Any]
Case = dict[str, object]

NOW = 1_800_000_000_000_000
MINUTE = 60_000_000
DAY = 86_400_000_000
PROVINCE, CITY, DISTRICT, STREET = "210000000000", "210200000000", "210202000000", "210202001000"
OTHER_DISTRICT, ZONE, SPEAKER = "210203000000", "zone-port", "sp-0001"


def signing_key(kid: str) -> SigningKey:
    """The test key of a name: its seed is the SHA-256 of the name behind a fixed sentence."""
    return SigningKey.from_seed(kid, seed(kid))


def seed(kid: str) -> bytes:
    return hashlib.sha256(f"tocsin speaker link test key {kid}".encode()).digest()


SCOPES: dict[str, tuple[KeyUse, str, str, tuple[int, ...], int]] = {
    "actual-city": (KeyUse.ACTUAL, "city", CITY, (1, 2, 3, 4), NOW + DAY),
    "exercise-city": (KeyUse.EXERCISE, "city", CITY, (1, 2, 3, 4), NOW + DAY),
    "actual-district": (KeyUse.ACTUAL, "district-202", DISTRICT, (3, 4), NOW + DAY),
    "actual-other": (KeyUse.ACTUAL, "district-203", OTHER_DISTRICT, (1, 2, 3, 4), NOW + DAY),
    "actual-zone": (KeyUse.ACTUAL, "port", ZONE, (1, 2, 3, 4), NOW + DAY),
    "actual-city-2": (KeyUse.ACTUAL, "city", CITY, (1, 2, 3, 4), NOW + DAY),
    "actual-old": (KeyUse.ACTUAL, "city", CITY, (1, 2, 3, 4), NOW - 1),
    "config-city": (KeyUse.CONFIG, "city", CITY, (), NOW + DAY),
    "config-other": (KeyUse.CONFIG, "district-203", OTHER_DISTRICT, (), NOW + DAY),
    "clock-city": (KeyUse.CLOCK, "city", CITY, (), NOW + DAY),
}


def link_key(kid: str) -> link.LinkKey:
    return signing_key(kid).public_link_key(*SCOPES[kid])


def root_key(kid: str, not_after: int = NOW + 3650 * DAY) -> link.LinkKey:
    return signing_key(kid).public_link_key(KeyUse.ROOT, "city", CITY, (), not_after)


ROOT, NEXT_ROOT = root_key("root-1"), root_key("root-2")
FOREIGN = link.LinkKey("actual-foreign", "SM2-SM3-x", "AAEC", KeyUse.ACTUAL, "city", CITY, (1, 2, 3, 4), NOW + DAY)
KEYS = link.KeyDocument(7, NOW - DAY, (*(link_key(kid) for kid in SCOPES), FOREIGN))
CONFIG = link.SpeakerConfig(
    speaker=SPEAKER,
    version=3,
    area_chain=(CITY, DISTRICT, STREET),
    overlay=(ZONE,),
    venue="xinghai-square",
    venue_kind="square",
    lat_e7=388_800_000,
    lon_e7=1_215_900_000,
    volume_max=90,
    reconnect_spread_s=20,
    fetch_spread_s=60,
    accepted_spread_ms=2_000,
    starts_per_hour_max=20,
)
ORDER = link.Order(
    id="0198f0a0-0000-7000-8000-000000000001",
    rev=1,
    status="actual",
    order_class=link.OrderClass.EMERGENCY,
    level=3,
    event_code="fire",
    phase=link.Phase.ALERT,
    texts={"zh-CN": "星海广场发生火情，请沿绿色指示牌向北撤离。", "en": "Fire at Xinghai Square. Leave to the north."},
    audio=(link.Audio("zh-CN", "5" * 64, "opus", 9_000, 27_000),),
    selector=Selector(areas=(DISTRICT,)),
    volume=80,
    repeat=3,
    gap_s=5,
    start_at=NOW,
    expires=NOW + 10 * MINUTE,
    state=link.OrderState.IN_FORCE,
)
STREAM = link.manifest_topic(DISTRICT, KeyUse.ACTUAL, "city")
MANIFEST = link.Manifest(
    STREAM, NOW // 1_000, NOW, NOW + 5 * MINUTE, "a1b2c3", (ORDER,), audio_base="http://127.0.0.1:8080/audio"
)  # fmt: skip
NONCE = "n0nce-of-16-chars-or-more"
ANSWER = link.HelloAnswer(NONCE, NOW, {STREAM: NOW // 1_000})


def plain(document: link.KeyDocument | link.Manifest | link.SpeakerConfig | link.HelloAnswer) -> Json:
    """The document as the JSON object that is signed."""
    members: Json = json.loads(document_json.encode(document))
    return members


def signed(members: object, kid: str, typ: Typ = Typ.MANIFEST) -> str:
    """Any JSON value under a good signature."""
    return signed_bytes(strict_json.canonical(members), kid, typ)


def signed_bytes(payload: bytes, kid: str, typ: Typ = Typ.MANIFEST) -> str:
    return jws.sign(payload, typ, signing_key(kid)).decode()


def with_header(header: bytes, payload: bytes, kid: str) -> str:
    """A valid signature by `kid` over any header bytes at all."""
    head = f"{jws.encode_base64url(header)}.{jws.encode_base64url(payload)}"
    return f"{head}.{jws.encode_base64url(signing_key(kid).private.sign(head.encode()))}"


def changed(members: Json, path: str, value: object) -> Json:
    """A copy in which one member, named like `orders.0.level`, has another value; `...` removes it."""
    result = copy.deepcopy(members)
    at: Any = result
    *way, last = (int(step) if step.isdigit() else step for step in path.split("."))
    for step in way:
        at = at[step]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return result


def headers() -> list[Case]:
    """What a speaker must refuse before it looks at a manifest's content."""
    payload = strict_json.canonical(plain(MANIFEST))
    good = signed(plain(MANIFEST), "actual-city")
    head, body, signature = good.split(".")
    twin = signature[:-1] + chr(ord(signature[-1]) + 1)
    broken: dict[str, tuple[str, str]] = {
        "empty payload": ("", "empty_payload"),
        "longer than 16,384 bytes": (good + "A" * (16_385 - len(good)), "over_cap"),
        "two segments": (f"{head}.{body}", "malformed"),
        "four segments": (f"{good}.{signature}", "malformed"),
        "padding": (f"{head}.{body}.{signature}==", "malformed"),
        "standard base64 alphabet": (f"{head}.{body[:-1]}+.{signature}", "malformed"),
        "unused bits set in the signature": (f"{head}.{body}.{twin}", "malformed"),
        "a line feed at the end": (good + "\n", "malformed"),
        "detached payload": (f"{head}..{signature}", "malformed"),
        "signature of 63 bytes": (f"{head}.{body}.{signature[:-2]}", "malformed"),
        "one payload bit turned": (
            f"{head}.{body[:9]}{'A' if body[9] != 'A' else 'B'}{body[10:]}.{signature}",
            "bad_signature",
        ),
        "signature of zeros": (f"{head}.{body}.{'A' * 86}", "bad_signature"),
        "signed by another key under this name": (
            with_header(b'{"alg":"Ed25519","kid":"actual-city","typ":"tocsin-manifest+jws"}', payload, "exercise-city"),
            "bad_signature",
        ),
        "key that the document does not list": (signed(plain(MANIFEST), "actual-new"), "unknown_key"),
        "typ of a config": (signed(plain(MANIFEST), "actual-city", Typ.CONFIG), "wrong_type"),
    }
    for name, header, code in (
        ("alg none", '{"alg":"none","kid":"actual-city","typ":"tocsin-manifest+jws"}', "header"),
        ("alg EdDSA", '{"alg":"EdDSA","kid":"actual-city","typ":"tocsin-manifest+jws"}', "header"),
        ("alg HS256", '{"alg":"HS256","kid":"actual-city","typ":"tocsin-manifest+jws"}', "header"),
        ("alg of another key", '{"alg":"Ed25519","kid":"actual-foreign","typ":"tocsin-manifest+jws"}', "header"),
        ("no kid", '{"alg":"Ed25519","typ":"tocsin-manifest+jws"}', "header"),
        ("no typ", '{"alg":"Ed25519","kid":"actual-city"}', "header"),
        ("kid in capitals", '{"alg":"Ed25519","kid":"ACTUAL","typ":"tocsin-manifest+jws"}', "header"),
        ("kid not a string", '{"alg":"Ed25519","kid":1,"typ":"tocsin-manifest+jws"}', "header"),
        ("crit", '{"alg":"Ed25519","crit":["b64"],"kid":"actual-city","typ":"tocsin-manifest+jws"}', "header"),
        ("jwk", '{"alg":"Ed25519","jwk":{},"kid":"actual-city","typ":"tocsin-manifest+jws"}', "header"),
        ("kid twice", '{"alg":"Ed25519","kid":"x","kid":"actual-city","typ":"tocsin-manifest+jws"}', "header"),
        ("header a list", "[]", "header"),
        ("header not JSON", "alg", "header"),
        ("typ JWT", '{"alg":"Ed25519","kid":"actual-city","typ":"JWT"}', "wrong_type"),
    ):
        broken[name] = (with_header(header.encode(), payload, "actual-city"), code)
    reordered = b'{ "typ":"tocsin-manifest+jws", "kid":"actual-city", "alg":"Ed25519" }'
    return [
        *(_manifest_case(name, raw, refused=code) for name, (raw, code) in broken.items()),
        _manifest_case("header members in another order", with_header(reordered, payload, "actual-city")),
    ]


def _manifest_case(
    name: str, raw: str, *, topic: str = STREAM, refused: str | None = None, now: int | None = NOW, config: bool = True
) -> Case:
    case: Case = {"name": name, "topic": topic, "raw": raw, "now": now, "config": config}
    return case | ({"accepted": True} if refused is None else {"refused": refused})


def contents() -> list[Case]:
    """Forms of a manifest's content, each under a good signature."""
    base = plain(MANIFEST)
    text = strict_json.canonical(base).decode()
    cases: list[Case] = [_manifest_case("the manifest that all others change", signed(base, "actual-city"))]
    for path, value in forms.GOOD_MEMBERS:
        cases.append(_manifest_case(_title(path, value), signed(changed(base, path, value), "actual-city")))
    for path, value, code in forms.BAD_MEMBERS:
        raw = signed(changed(base, path, value), "actual-city")
        cases.append(_manifest_case(_title(path, value), raw, refused=code))
    withdrawn = plain(replace(MANIFEST, orders=(replace(link.stub(ORDER), rev=2),)))
    cases.append(_manifest_case("a withdrawn order, as its stub", signed(withdrawn, "actual-city")))
    for path, value, refused in forms.STUB_MEMBERS:
        raw = signed(changed(withdrawn, f"orders.0.{path}", value), "actual-city")
        cases.append(_manifest_case("stub: " + _title(path, value), raw, refused=refused))
    for name, payload in (
        ("member twice", text.replace('"version"', '"version":1,"version"', 1)),
        ("fraction", text.replace('"rev":1', '"rev":1.0')),
        ("exponent", text.replace('"rev":1', '"rev":1e0')),
        ("not a number", text.replace('"rev":1', '"rev":NaN')),
        ("integer of 5,000 digits", text.replace('"rev":1', '"rev":' + "1" * 5_000)),
        ("lone surrogate", text.replace("星海", "\\ud83d")),
        ("bytes after the value", text + "{}"),
        ("byte order mark", "\ufeff" + text),
        ("5,000 open brackets", "[" * 5_000),
        ("a list", "[]"),
    ):
        cases.append(_manifest_case(name, signed_bytes(payload.encode(), "actual-city"), refused="malformed"))
    short = changed(changed(base["orders"][0], "audio", []), "texts", {"en": "Leave."})
    orders = [changed(short, "id", f"order-{n}") for n in range(17)]
    full, crowded = (signed(changed(base, "orders", orders[:count]), "actual-city") for count in (16, 17))
    twice = signed(changed(base, "orders", [orders[0], orders[0]]), "actual-city")
    cases.append(_manifest_case("one order twice", twice, refused="malformed"))
    cases.append(_manifest_case("16 orders", full))
    cases.append(_manifest_case("17 orders", crowded, refused="over_cap"))
    cases.append(_manifest_case("not UTF-8", signed_bytes(b'{"stream":"\xff"}', "actual-city"), refused="malformed"))
    return cases


def _title(path: str, value: object) -> str:
    shown = "left out" if value is ... else json.dumps(value, ensure_ascii=False)
    return f"{path} {shown}" if len(shown) <= 60 else f"{path} {shown[:50]} … ({len(shown)} characters)"


def scopes() -> list[Case]:
    """Who may sign what, and for whom."""

    def made(name: str, topic: str, kid: str, refused: str | None = None, **options: Any) -> Case:
        status = "exercise" if "/exercise/" in topic else "actual"
        members = changed(changed(plain(MANIFEST), "stream", topic), "orders.0.status", options.pop("status", status))
        members = changed(members, "orders.0.level", options.pop("level", 3))
        return _manifest_case(name, signed(members, kid), topic=topic, refused=refused, **options)

    area, own = link.manifest_topic, link.speaker_manifest_topic
    exercise = area(DISTRICT, KeyUse.EXERCISE, "city")
    return [
        made("exercise key, exercise stream", exercise, "exercise-city"),
        made("exercise key, actual stream", STREAM, "exercise-city", "key_use"),
        made("actual key, exercise stream", exercise, "actual-city", "key_use"),
        made("config key, actual stream", STREAM, "config-city", "key_use"),
        made("actual order, exercise stream", exercise, "exercise-city", "status_mismatch", status="actual"),
        made("exercise order, actual stream", STREAM, "actual-city", "status_mismatch", status="exercise"),
        made("another issuer's key", STREAM, "actual-district", "not_issuer"),
        made("the district's key at its own height", area(DISTRICT, KeyUse.ACTUAL, "district-202"), "actual-district"),
        made("the district's key below itself", area(STREET, KeyUse.ACTUAL, "district-202"), "actual-district"),
        made(
            "the district's key above itself", area(CITY, KeyUse.ACTUAL, "district-202"), "actual-district", "key_area"
        ),
        made("another district's key", area(STREET, KeyUse.ACTUAL, "district-203"), "actual-other", "key_area"),
        made(
            "another district's key, areas not compared",
            area(STREET, KeyUse.ACTUAL, "district-203"),
            "actual-other",
            config=False,
        ),
        made(
            "another district's stream",
            area(OTHER_DISTRICT, KeyUse.ACTUAL, "district-203"),
            "actual-other",
            "area_not_mine",
        ),
        made(
            "level that the key lacks",
            area(DISTRICT, KeyUse.ACTUAL, "district-202"),
            "actual-district",
            "key_level",
            level=2,
        ),
        made("overlay zone, its own key", area(ZONE, KeyUse.ACTUAL, "port"), "actual-zone"),
        made("overlay zone, the key of the whole tree", area(ZONE, KeyUse.ACTUAL, "city"), "actual-city"),
        made(
            "overlay zone, a district's key", area(ZONE, KeyUse.ACTUAL, "district-202"), "actual-district", "key_area"
        ),
        made("a district, the overlay zone's key", area(DISTRICT, KeyUse.ACTUAL, "port"), "actual-zone", "key_area"),
        made("this speaker alone", own(SPEAKER, KeyUse.ACTUAL, "city"), "actual-city"),
        made("this speaker alone, its district's key", own(SPEAKER, KeyUse.ACTUAL, "district-202"), "actual-district"),
        made(
            "this speaker alone, another district's key",
            own(SPEAKER, KeyUse.ACTUAL, "district-203"),
            "actual-other",
            "key_area",
        ),
        made("another speaker alone", own("sp-0002", KeyUse.ACTUAL, "city"), "actual-city", "area_not_mine"),
        made("key past its end", STREAM, "actual-old", "key_expired"),
        made("key past its end, no clock", STREAM, "actual-old", now=None),
        made("key in its last microsecond", STREAM, "actual-city", now=NOW + DAY),
        made("key one microsecond past its end", STREAM, "actual-city", "key_expired", now=NOW + DAY + 1),
        _manifest_case(
            "another topic than the signed one",
            signed(plain(MANIFEST), "actual-city"),
            topic=exercise,
            refused="stream_mismatch",
        ),
    ]


def freshness() -> list[Case]:
    """Version and freshness of a verified manifest against what is held."""
    own, other, version = link.digest(b"own").hex(), link.digest(b"other").hex(), NOW // 1_000
    ahead = NOW - 10 * MINUTE
    rows: list[tuple[str, int | None, int | None, str | None, str | None]] = [
        ("nothing held", NOW, None, None, None),
        ("older held", NOW, version - 1, other, None),
        ("newer held", NOW, version + 1, other, "version_back"),
        ("same version, same bytes", NOW, version, own, None),
        ("same version, same bytes, long ago", NOW + DAY, version, own, None),
        ("same version, other bytes", NOW, version, other, "version_conflict"),
        ("ten minutes ahead", ahead, None, None, None),
        ("more than ten minutes ahead", ahead - 1_000, None, None, "version_ahead"),
        ("fresh in the last microsecond", NOW + 5 * MINUTE, None, None, None),
        ("stale by one microsecond", NOW + 5 * MINUTE + 1, None, None, "stale"),
        ("no clock", None, None, None, "no_clock"),
        ("no clock, newer held", None, version + 1, other, "version_back"),
    ]
    return [
        {"name": name, "version": version, "fresh_until": MANIFEST.fresh_until, "digest": own, "now": now}
        | {"held_version": held, "held_digest": held_digest, "refused": refused}
        for name, now, held, held_digest, refused in rows
    ]


def key_documents() -> list[Case]:
    """Key documents, read with root-1 held and root-2 announced."""
    base, key = plain(KEYS), plain(KEYS)["keys"][0]
    announcing = plain(link.KeyDocument(8, NOW, KEYS.keys, NEXT_ROOT))

    def made(name: str, members: Json, kid: str = "root-1", typ: Typ = Typ.KEYS, refused: str | None = None) -> Case:
        case: Case = {"name": name, "raw": signed(members, kid, typ)}
        return case | ({"accepted": True} if refused is None else {"refused": refused})

    changes: list[tuple[str, object, str]] = [
        ("keys.0.x", key["x"] + "A", "malformed"),
        ("keys.0.use", "root", "malformed"),
        ("keys.0.use", "everything", "malformed"),
        ("keys.0.levels", [0], "malformed"),
        ("keys.0.levels", [1, 1], "malformed"),
        ("keys.0.levels", [1, 2, 3, 4, 4], "over_cap"),
        ("keys.0.not_after", ..., "malformed"),
        ("keys.1.kid", key["kid"], "malformed"),
        ("keys.1.x", key["x"], "malformed"),
        ("root", key, "malformed"),
        ("keys", [key] * 257, "over_cap"),
    ]
    return [
        made("signed by the held root", base),
        made("announcing the next root", announcing),
        made("signed by the announced root", base, "root-2"),
        made("signed by a key that is no root", base, "actual-city", refused="unknown_key"),
        made("signed as a manifest", base, typ=Typ.MANIFEST, refused="wrong_type"),
        *(made(_title(p, v), changed(base, p, v), refused=code) for p, v, code in changes),
    ]


STAGED = {"lang": "zh-CN", "sha256": "5" * 64, "codec": "opus", "ms": 9_000, "bytes": 27_000}


def configs() -> list[Case]:
    """Configs of sp-0001."""
    base = plain(CONFIG)

    def made(name: str, members: Json, kid: str = "config-city", refused: str | None = None) -> Case:
        case: Case = {"name": name, "raw": signed(members, kid, Typ.CONFIG), "now": NOW}
        return case | ({"accepted": True} if refused is None else {"refused": refused})

    changes: list[tuple[str, object, str]] = [
        ("area_chain", [], "malformed"),
        ("area_chain", [CITY, CITY], "malformed"),
        ("area_chain", [f"area-{n}" for n in range(17)], "over_cap"),
        ("overlay", [DISTRICT], "malformed"),
        ("lat_e7", 900_000_001, "malformed"),
        ("volume_max", 0, "malformed"),
        ("accepted_spread_ms", 2_001, "malformed"),
        ("starts_per_hour_max", 0, "malformed"),
        ("venue", "Square!", "malformed"),
        ("pitch", 1, "malformed"),
        ("staged", [{"sha256": "0"}], "malformed"),
        ("staged", [STAGED] * 17, "over_cap"),
    ]
    return [
        made("signed by the city's config key", base),
        made("with recordings to hold ready", changed(base, "staged", [STAGED])),
        made("signed by an order key", base, "actual-city", "key_use"),
        made("signed by another district's config key", base, "config-other", "key_area"),
        made("another speaker's", changed(base, "speaker", "sp-0002"), refused="stream_mismatch"),
        *(made(_title(p, v), changed(base, p, v), refused=code) for p, v, code in changes),
    ]


def hello_answers() -> list[Case]:
    """Answers to the hello whose nonce is published."""
    base = plain(ANSWER)

    def made(name: str, members: Json, kid: str = "clock-city", refused: str | None = None) -> Case:
        case: Case = {"name": name, "raw": signed(members, kid, Typ.HELLO)}
        return case | ({"accepted": True} if refused is None else {"refused": refused})

    many = {link.manifest_topic(f"area-{n}", KeyUse.ACTUAL, "city"): 1 for n in range(129)}
    return [
        made("answer", base),
        made("another nonce", changed(base, "nonce", NONCE + "x"), refused="wrong_nonce"),
        made("signed by an order key", base, "actual-city", "key_use"),
        made("stating a time past the key's end", changed(base, "utc", NOW + DAY + 1), refused="key_expired"),
        made("a stream that is no topic", changed(base, "streams", {"tocsin/v1/keys": 1}), refused="malformed"),
        made("129 streams", changed(base, "streams", many), refused="over_cap"),
        made("short nonce", changed(base, "nonce", "n"), refused="malformed"),
    ]


def world() -> Json:
    """What every vector is read with."""
    return {
        "seeds": {kid: seed(kid).hex() for kid in ("root-1", "root-2", *SCOPES)},
        "root": document_json.plain(ROOT),
        "next_root": document_json.plain(NEXT_ROOT),
        "keys": signed(plain(KEYS), "root-1", Typ.KEYS),
        "config": signed(plain(CONFIG), "config-city", Typ.CONFIG),
        "nonce": NONCE,
        "now": NOW,
    }


FILES: dict[str, Callable[[], object]] = {
    "world.json": world,
    "manifest_headers.json": headers,
    "manifest_contents.json": contents,
    "manifest_scopes.json": scopes,
    "freshness.json": freshness,
    "key_documents.json": key_documents,
    "configs.json": configs,
    "hello_answers.json": hello_answers,
    "selectors.json": forms.selectors,
    "reports.json": forms.reports,
    "order_of_sounds.json": sounds.cases,
    "removed_keys.json": lambda: removed.cases(KEYS, replace(MANIFEST, orders=()), ORDER, signing_key),
}


def encoded(content: object) -> str:
    """A vector file's text."""
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    for file, content in FILES.items():
        (HERE / file).write_text(encoded(content()), encoding="utf-8")
