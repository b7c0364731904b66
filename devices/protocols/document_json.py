"""The dispatcher's documents in JSON: strict both ways. Signatures, topics and scope are `speaker_link`'s business.

An unknown member refuses the whole document: a speaker that does not understand a word of what is signed must not
guess the rest. Encoding leaves out every member that stands at its default.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Final, TypeVar, cast

from devices.protocols import documents as d
from devices.protocols import jws, selector, strict_json
from devices.protocols.strict_json import Members, malformed, match, over_cap, text
from devices.protocols.topics import NAME, parse_manifest_topic

NAME_LONG: Final = re.compile(r"[a-z0-9-]{1,64}")
"""Ids that stand in no topic: orders, journals, venues. A UUID fits as text."""
NONCE: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
SHA256: Final = re.compile(r"[0-9a-f]{64}")
VENUE_KIND: Final = re.compile(r"[a-z0-9_-]{1,32}")
CHAIN_HEAD: Final = re.compile(rf"[A-Za-z0-9_:.-]{{0,{d.CHAIN_HEAD_CHARS_MAX}}}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}")
_CODEC = re.compile(r"[a-z0-9.+/-]{1,32}")
_EVENT_CODE = re.compile(r"[A-Za-z0-9._:-]{1,32}")
_ORIGIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_BASE = re.compile(r"https?://[!-~]*[!-.0-~]")
STUB_MEMBERS: Final = (
    "id", "rev", "status", "order_class", "level", "phase", "selector", "start_at", "expires", "state", "corrects",
    "supersedes",
)  # fmt: skip
"""What a withdrawn order may have. Its words are in the revision before, and nobody needs them any more."""
_ALGORITHM = re.compile(r"[A-Za-z0-9._+-]{1,32}")
_PUBLIC_KEY = re.compile(rf"[A-Za-z0-9_-]{{1,{d.PUBLIC_KEY_CHARS_MAX}}}")

_E = TypeVar("_E", d.OrderClass, d.Phase, d.OrderState, d.KeyUse)


def encode(document: d.KeyDocument | d.Manifest | d.SpeakerConfig | d.HelloAnswer) -> bytes:
    """Canonical JSON of a document, unchecked."""
    return strict_json.canonical(plain(document))


def encode_order(order: d.Order) -> bytes:
    """The canonical JSON of one order as a manifest lists it, unchecked."""
    return strict_json.canonical(plain(order))


def plain(value: object) -> object:
    """A document, or any part of one, as the JSON value it stands for."""
    if isinstance(value, selector.Selector):
        return selector.to_json(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        found = {field.name: plain(member) for field, member in members if member != field.default}
        if isinstance(value, d.Order) and value.state is d.OrderState.WITHDRAWN:
            return {name: found[name] for name in STUB_MEMBERS if name in found}
        return found
    if isinstance(value, tuple):
        return [plain(member) for member in value]
    return value


def decode_keys(payload: bytes) -> d.KeyDocument:
    """Raises LinkRefused: MALFORMED or OVER_CAP, as every reader below."""
    members = Members(strict_json.loads(payload), "keys")
    document = d.KeyDocument(
        version=members.integer("version"),
        issued=members.integer("issued"),
        keys=tuple(_key(item) for item in members.items("keys", d.KEYS_MAX)),
        root=_key(members.take("root")) if "root" in members else None,
    )
    members.done()
    if len({key.kid for key in document.keys}) != len(document.keys):
        raise malformed("keys.keys names a key twice")
    if len({key.x for key in document.keys}) != len(document.keys):
        raise malformed("keys.keys lists a key under two names")
    if any(key.use is d.KeyUse.ROOT for key in document.keys):
        raise malformed("keys.keys holds a root")
    if document.root is not None and document.root.use is not d.KeyUse.ROOT:
        raise malformed("keys.root is not a root")
    return document


def _key(value: object) -> d.LinkKey:
    members = Members(value, "key")
    key = d.LinkKey(
        kid=members.match("kid", NAME),
        alg=members.match("alg", _ALGORITHM),
        x=members.match("x", _PUBLIC_KEY),
        use=_one_of(d.KeyUse, members, "use"),
        issuer=members.match("issuer", NAME),
        area=members.match("area", NAME),
        levels=tuple(_level(item) for item in members.items("levels", 4)),
        not_after=members.integer("not_after"),
    )
    members.done()
    if len(set(key.levels)) != len(key.levels):
        raise malformed("key.levels repeats a level")
    # A key of another algorithm stays in the document unread: it is for speakers that know that algorithm.
    if key.alg == jws.ALGORITHM and not _is_public_key(key.x):
        raise malformed("key.x is not the base64url of 32 bytes")
    return key


def _is_public_key(x: str) -> bool:
    try:
        return len(jws.decode_base64url(x)) == 32
    except ValueError:
        return False


def _level(value: object) -> int:
    if type(value) is not int or not 1 <= value <= 4:
        raise malformed("key.levels holds something other than 1 to 4")
    return value


def decode_config(payload: bytes) -> d.SpeakerConfig:
    members = Members(strict_json.loads(payload), "config")
    config = d.SpeakerConfig(
        speaker=members.match("speaker", NAME),
        version=members.integer("version"),
        area_chain=members.matches("area_chain", NAME, d.AREA_CHAIN_MAX),
        overlay=members.matches("overlay", NAME, d.OVERLAY_MAX),
        venue=members.match("venue", NAME_LONG),
        venue_kind=members.match("venue_kind", VENUE_KIND),
        lat_e7=members.integer("lat_e7", -selector.LAT_E7_MAX, selector.LAT_E7_MAX),
        lon_e7=members.integer("lon_e7", -selector.LON_E7_MAX, selector.LON_E7_MAX),
        volume_max=members.integer("volume_max", 1, 100),
        reconnect_spread_s=members.integer("reconnect_spread_s", 0, d.SPREAD_S_MAX),
        fetch_spread_s=members.integer("fetch_spread_s", 0, d.SPREAD_S_MAX),
        accepted_spread_ms=members.integer("accepted_spread_ms", 0, d.ACCEPTED_SPREAD_MS_MAX),
        starts_per_hour_max=members.integer("starts_per_hour_max", 1, d.STARTS_PER_HOUR_MAX),
        staged=tuple(_audio(item) for item in members.items("staged", d.STAGED_MAX)) if "staged" in members else (),
        audio_base=_base(members),
    )
    members.done()
    if not config.area_chain:
        raise malformed("config.area_chain is empty")
    if set(config.area_chain) & set(config.overlay):
        raise malformed("config.overlay repeats an area of the chain")
    return config


def decode_hello_answer(payload: bytes) -> d.HelloAnswer:
    members = Members(strict_json.loads(payload), "hello")
    answer = d.HelloAnswer(
        nonce=members.match("nonce", NONCE),
        utc=members.integer("utc"),
        streams=stream_versions(members, "streams", d.HELLO_STREAMS_MAX),
    )
    members.done()
    return answer


def stream_versions(members: Members, name: str, count_max: int) -> dict[str, int]:
    """An object from manifest topic to version."""
    versions = members.mapping(name, count_max)
    for topic, version in versions.items():
        parse_manifest_topic(topic)
        if type(version) is not int or not 0 <= version <= d.INTEGER_MAX:
            raise malformed(name)
    return cast("dict[str, int]", versions)


def decode_manifest(payload: bytes) -> d.Manifest:
    """A manifest whose orders fit its own stream: status, distinct ids, none when retired."""
    members = Members(strict_json.loads(payload), "manifest")
    manifest = d.Manifest(
        stream=members.text("stream", d.TOPIC_CHARS_MAX),
        version=members.integer("version", 1),
        issued=members.integer("issued"),
        fresh_until=members.integer("fresh_until"),
        chain_head=members.match("chain_head", CHAIN_HEAD),
        orders=tuple(_order(item) for item in members.items("orders", d.MANIFEST_ORDERS_MAX)),
        retired=_flag(members, "retired"),
        swept=members.integer("swept", 1) if "swept" in members else 0,
        audio_base=_base(members),
    )
    members.done()
    parse_manifest_topic(manifest.stream)
    if manifest.fresh_until < manifest.issued:
        raise malformed("manifest.fresh_until lies before issued")
    if len({order.id for order in manifest.orders}) != len(manifest.orders):
        raise malformed("manifest.orders holds an order twice")
    if manifest.swept > manifest.issued:
        raise malformed("manifest.swept lies after issued")
    if manifest.retired and manifest.orders:
        raise malformed("manifest.retired with orders")
    return manifest


def _order(value: object) -> d.Order:
    members = Members(value, "order")
    state = _one_of(d.OrderState, members, "state")
    order = _stub(members) if state is d.OrderState.WITHDRAWN else _whole_order(members)
    members.done()
    if order.expires <= order.start_at:
        raise malformed("order.expires does not lie after start_at")
    if (order.phase is d.Phase.ALERT) != (order.corrects is None):
        raise malformed("order.corrects belongs to a correction or an all-clear, and to nothing else")
    return order


def _stub(members: Members) -> d.Order:
    return d.Order(
        id=members.match("id", NAME_LONG),
        rev=members.integer("rev", 1),
        status=_status(members),
        order_class=_one_of(d.OrderClass, members, "order_class"),
        level=members.integer("level", 1, 4),
        event_code="",
        phase=_one_of(d.Phase, members, "phase"),
        texts={},
        audio=(),
        selector=_selector(members.take("selector")),
        volume="unchanged",
        repeat=1,
        gap_s=0,
        start_at=members.integer("start_at"),
        expires=members.integer("expires"),
        state=d.OrderState.WITHDRAWN,
        corrects=_corrects(members),
        supersedes=_supersedes(members),
    )


def _whole_order(members: Members) -> d.Order:
    order = d.Order(
        id=members.match("id", NAME_LONG),
        rev=members.integer("rev", 1),
        status=_status(members),
        order_class=_one_of(d.OrderClass, members, "order_class"),
        level=members.integer("level", 1, 4),
        event_code=members.match("event_code", _EVENT_CODE),
        phase=_one_of(d.Phase, members, "phase"),
        texts=_texts(members),
        audio=tuple(_audio(item) for item in members.items("audio", d.AUDIO_MAX)),
        selector=_selector(members.take("selector")),
        volume=_volume(members),
        repeat=members.integer("repeat", 1, d.REPEAT_MAX),
        gap_s=members.integer("gap_s", 0, d.GAP_S_MAX),
        start_at=members.integer("start_at"),
        expires=members.integer("expires"),
        state=d.OrderState.IN_FORCE,
        corrects=_corrects(members),
        supersedes=_supersedes(members),
        also_unstarted=_flag(members, "also_unstarted"),
        origin=_origin(members) if "origin" in members else None,
    )
    if not order.texts and not order.audio:
        raise malformed("order has neither a text nor a recording")
    return order


def _corrects(members: Members) -> str | None:
    return members.match("corrects", NAME_LONG) if "corrects" in members else None


def _supersedes(members: Members) -> tuple[str, ...]:
    return members.matches("supersedes", NAME_LONG, d.SUPERSEDES_MAX) if "supersedes" in members else ()


def _texts(members: Members) -> dict[str, str]:
    texts = members.mapping("texts", d.TEXT_LANGUAGES_MAX)
    return {
        match(lang, "order.texts", _LANGUAGE): text(words, "order.texts", d.TEXT_CHARS_MAX)
        for lang, words in texts.items()
    }


def _origin(members: Members) -> dict[str, str]:
    origin = members.mapping("origin", d.ORIGIN_MEMBERS_MAX)
    return {
        match(name, "order.origin", _ORIGIN_NAME): text(words, "order.origin", d.ORIGIN_CHARS_MAX)
        for name, words in origin.items()
    }


def _audio(value: object) -> d.Audio:
    members = Members(value, "audio")
    audio = d.Audio(
        lang=members.match("lang", _LANGUAGE),
        sha256=members.match("sha256", SHA256),
        codec=members.match("codec", _CODEC),
        ms=members.integer("ms", 1, d.AUDIO_MS_MAX),
        bytes=members.integer("bytes", 1, d.AUDIO_BYTES_MAX),
    )
    members.done()
    return audio


def _base(members: Members) -> str:
    """A base address without a slash at its end, "" when there is none."""
    if "audio_base" not in members:
        return ""
    return match(members.text("audio_base", d.BASE_CHARS_MAX), "audio_base", _BASE)


def _selector(value: object) -> selector.Selector:
    try:
        who = selector.from_json(value)
    except selector.SelectorMalformed as error:
        raise malformed(f"selector: {error}") from error
    match selector.refusal(who):
        case None:
            return who
        case (
            selector.SelectorRefusal.NAMES | selector.SelectorRefusal.SPEAKERS | selector.SelectorRefusal.VERTICES
        ) as reason:
            raise over_cap(f"selector: {reason}")
        case reason:
            raise malformed(f"selector: {reason}")


def _status(members: Members) -> str:
    status = members.take("status")
    if status != "actual" and status != "exercise":
        raise malformed("order.status")
    return str(status)


def _volume(members: Members) -> int | str:
    volume = members.take("volume")
    if volume == "unchanged" or volume == "mute":
        return str(volume)
    if type(volume) is not int or not 1 <= volume <= 100:
        raise malformed("order.volume")
    return volume


def _flag(members: Members, name: str) -> bool:
    return members.boolean(name) if name in members else False


def _one_of(kind: type[_E], members: Members, name: str) -> _E:
    value = members.take(name)
    try:
        return kind(str(value))
    except ValueError as error:
        raise malformed(name) from error
