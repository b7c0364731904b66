"""A CAP alert as values, and what of it is capped. Pure; `cap` reads it from XML and turns it into signals.

Times are µs UTC, shapes WGS-84 in 1e-7 degree with radii in metres, texts stripped, absent texts empty.
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.protocols.selector import Circle, Polygon
from services.dispatcher.domain.signals import Problem

RAW_BYTES_MAX = 1_048_576
INFOS_MAX = 32
AREAS_MAX = 256
SHAPES_MAX = 1_024
VERTICES_MAX = 50_000
PAIRS_MAX = 1_024
RESOURCES_MAX = 32
REFERENCES_MAX = 256
NAME_CHARS_MAX = 256
TEXT_CHARS_MAX = 32_768
PROBLEMS_MAX = 100


@dataclass(frozen=True, slots=True)
class Reference:
    """One `sender,identifier,sent` of an earlier message; `text` as written."""

    sender: str
    identifier: str
    sent_us: int
    text: str


@dataclass(frozen=True, slots=True)
class CapResource:
    """A file that goes with an info; it is named, never fetched."""

    description: str
    mime_type: str
    uri: str
    embedded: bool


@dataclass(frozen=True, slots=True)
class CapArea:
    """An area: the union of its shapes and codes. `codes` are (scheme, value) pairs; altitudes in feet as written."""

    name: str
    polygons: tuple[Polygon, ...] = ()
    circles: tuple[Circle, ...] = ()
    codes: tuple[tuple[str, str], ...] = ()
    altitude: str = ""
    ceiling: str = ""


@dataclass(frozen=True, slots=True)
class CapInfo:
    """One info block: one language or one region of the alert."""

    language: str
    categories: tuple[str, ...]
    event: str
    responses: tuple[str, ...]
    urgency: str
    severity: str
    certainty: str
    event_codes: tuple[tuple[str, str], ...] = ()
    effective_us: int | None = None
    onset_us: int | None = None
    expires_us: int | None = None
    sender_name: str = ""
    headline: str = ""
    description: str = ""
    instruction: str = ""
    web: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    resources: tuple[CapResource, ...] = ()
    areas: tuple[CapArea, ...] = ()


@dataclass(frozen=True, slots=True)
class CapMessage:
    """One alert. `sent` is the time as written, `sent_us` the instant; `signed` says that a Signature is there."""

    version: str
    identifier: str
    sender: str
    sent: str
    sent_us: int
    status: str
    msg_type: str
    scope: str
    restriction: str = ""
    addresses: str = ""
    codes: tuple[str, ...] = ()
    note: str = ""
    references: tuple[Reference, ...] = ()
    infos: tuple[CapInfo, ...] = ()
    signed: bool = False


@dataclass(frozen=True, slots=True)
class CapReading:
    """The message, or None where an error refuses it; every problem found on the way."""

    message: CapMessage | None
    problems: tuple[Problem, ...]
