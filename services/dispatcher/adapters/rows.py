"""Dataclasses to rows and back: every value comes back as it was, with its tuples, enums, bytes and shapes.

Bodies are JSON. A field that a body lacks takes its default and one that the class lacks is passed over, so that
old and new code can share a database.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import Enum
from functools import cache, partial
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgspec

from ..domain.effects import Record
from ..domain.incidents import Incident
from ..domain.places import Speaker
from ..engine.ports import Page
from .tables import ENTITIES

T = TypeVar("T")
COLUMN_CHARS_MAX = 256
"""Longer texts are cut in columns: what an index can hold is limited, and the body has all of it."""


KNOWN_MAX = 1_024
# Every report of a storm reads and writes its incident anew, and an incident has many witnesses: what the newest body
# of each says is remembered, and being frozen may be shared.
_known: dict[str, tuple[str, Incident]] = {}
_forgetting = threading.Lock()


def encode(row: object) -> str:
    """The body of a dataclass: JSON, bytes as base64."""
    body = msgspec.json.encode(row).decode()
    if type(row) is Incident:
        _remember(body, row)
    return body


def decode(kind: type[T], body: str) -> T:
    """The dataclass that was encoded; msgspec.ValidationError when the body is of another kind."""
    return cast("T", _reader(kind)(body))


def decode_entity(kind: type[T], key: str, body: str) -> T:
    """The same for a row under this key, which may have been read or written just before."""
    if kind is not Incident:
        return decode(kind, body)
    known = _known.get(key)
    if known is None or known[0] != body:
        known = body, decode(Incident, body)
        _remember(*known)
    return cast("T", known[1])


def _remember(body: str, incident: Incident) -> None:
    with _forgetting:
        if len(_known) >= KNOWN_MAX and incident.id not in _known:
            del _known[next(iter(_known))]
        _known[incident.id] = body, incident


_readers: dict[Any, Callable[[str], object]] = {}
_making = threading.Lock()


def _reader(kind: Any) -> Callable[[str], object]:
    reader = _readers.get(kind)
    if reader is None:
        # msgspec keeps what it has found out of a class before it is whole: two threads that make a decoder of one
        # class at once end the process.
        with _making:
            reader = _readers.get(kind) or _make_reader(kind)
            _readers[kind] = reader
    return reader


def _make_reader(kind: Any) -> Callable[[str], object]:
    if _is_plain(kind):
        return msgspec.json.Decoder(kind).decode
    build = _builder(kind)
    return lambda body: build(msgspec.json.decode(body))


def _is_plain(hint: Any) -> bool:
    """Whether msgspec reads this type by itself; it can't tell the members of a union of dataclasses apart."""
    try:
        msgspec.json.Decoder(hint)
    except TypeError:
        return False
    return True


@cache
def _builder(hint: Any) -> Callable[[Any], Any]:
    """What makes a value of this type out of its JSON."""
    if _is_plain(hint):
        return partial(msgspec.convert, type=hint)
    if get_origin(hint) in (Union, UnionType):
        return _union_builder(tuple(member for member in get_args(hint) if member is not NoneType))
    if get_origin(hint) is tuple:
        item = _builder(get_args(hint)[0])
        return lambda value: tuple(map(item, value))
    return _dataclass_builder(hint)


def _union_builder(members: tuple[Any, ...]) -> Callable[[Any], Any]:
    """Members of a union of dataclasses have fields of different names, which are tag enough."""
    builders = [_builder(member) for member in members]
    if len(members) == 1:
        return lambda value: None if value is None else builders[0](value)
    named = [_hints(member).keys() for member in members]

    def build(value: Any) -> Any:
        if value is None:
            return None
        shared = [len(value.keys() & names) for names in named]
        return builders[shared.index(max(shared))](value)

    return build


def _dataclass_builder(kind: Any) -> Callable[[Any], Any]:
    names = _hints(kind).keys()
    inner = [(name, _builder(hint)) for name, hint in _hints(kind).items() if hint not in _AS_THEY_ARE]

    def build(value: Any) -> Any:
        filled = {name: value[name] for name in names & value.keys()}
        for name, build_field in inner:
            if name in filled:
                filled[name] = build_field(filled[name])
        return kind(**filled)

    return build


def _hints(kind: Any) -> dict[str, Any]:
    found = get_type_hints(kind)
    return {field.name: found[field.name] for field in fields(kind)}


_AS_THEY_ARE = (str, int, bool, str | None, int | None, int | str, dict[str, str])
"""Types whose JSON is the value already."""


def readable(text: str) -> str:
    """Text as both databases can hold it: NUL and lone surrogates are none to PostgreSQL."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def column(value: object) -> object:
    """A value as its column holds it, and as `find` compares it; a foreign key may be of any length."""
    if isinstance(value, Enum):
        value = value.value
    if not isinstance(value, str):
        return value
    text = readable(value)
    if len(text) > COLUMN_CHARS_MAX:
        return text[: COLUMN_CHARS_MAX - 65] + "#" + hashlib.sha256(text.encode()).hexdigest()
    return text


_NAMES = {kind: tuple(c.name for c in table.c if c.name not in ("version", "body")) for kind, table in ENTITIES.items()}


def names_of(kind: type) -> tuple[str, ...]:
    """The fields of a kind that have a column, its key first."""
    return _NAMES[kind]


def columns_of(row: object) -> tuple[object, ...]:
    """What the columns of `names_of` hold for this row."""
    return tuple([column(value) for value in _VALUES[type(row)](row)])


def _speaker(row: Speaker) -> tuple[object, ...]:
    until_us = row.out_of_service.until_us if row.out_of_service is not None else None
    return tuple(until_us if name == "out_of_service_until_us" else getattr(row, name) for name in _NAMES[Speaker])


def _values(names: tuple[str, ...]) -> Callable[[Any], tuple[object, ...]]:
    """What reads these fields of a row, of which there is at least one."""
    return attrgetter(*names) if len(names) > 1 else lambda row: (getattr(row, names[0]),)


_VALUES = {kind: _values(names) for kind, names in _NAMES.items()} | {Speaker: _speaker}


def order_of(kind: type, page: Page) -> str:
    """The column that a page orders by; "id" means the key whatever its name."""
    name = page.order.removeprefix("-")
    name = names_of(kind)[0] if name == "id" else name
    assert name in names_of(kind), f"{kind.__name__} can't be ordered by {name}: it has no such column"
    return name


def check_fields(kind: type, wanted: Mapping[str, object]) -> None:
    """A search by what has no column would read the whole table: a mistake of ours."""
    for name in wanted:
        assert name in names_of(kind), f"{kind.__name__} can't be found by {name}: it has no such column"


def record_body(record: Record) -> str:
    """The log's canonical JSON of a record: sorted keys, text as it is."""
    said = {"why": record.why, "facts": record.facts}
    return readable(json.dumps(said, sort_keys=True, ensure_ascii=False, default=str))
