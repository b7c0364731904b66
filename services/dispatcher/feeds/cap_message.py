"""A CAP alert as values, and what of it is capped. Pure; read by `cap_read`, written by `cap_write`.

Times are µs UTC, shapes WGS-84 in 1e-7 degree with radii in metres, texts stripped, absent texts empty. They are named
tuples because an alert makes many on its way to a siren, and a frozen dataclass takes five times as long to make.
"""

from __future__ import annotations

from typing import NamedTuple

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


class Reference(NamedTuple):
    """One `sender,identifier,sent` of an earlier message; `text` as written. CAP 1.0 names no time."""

    sender: str
    identifier: str
    sent_us: int | None
    text: str


class CapResource(NamedTuple):
    """A file that goes with an info; it is named, never fetched. `size` in bytes; `digest` as written."""

    description: str
    mime_type: str
    uri: str
    embedded: bool
    size: int | None = None
    digest: str = ""


class CapArea(NamedTuple):
    """An area: the union of its shapes and codes. `codes` are (scheme, value) pairs; altitudes in feet as written."""

    name: str
    polygons: tuple[Polygon, ...] = ()
    circles: tuple[Circle, ...] = ()
    codes: tuple[tuple[str, str], ...] = ()
    altitude: str = ""
    ceiling: str = ""


class CapInfo(NamedTuple):
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
    audience: str = ""
    contact: str = ""


class CapMessage(NamedTuple):
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
    source: str = ""
    incidents: str = ""


class CapReading(NamedTuple):
    """The message, or None where an error refuses it; every problem found on the way.

    Of an envelope (EDXL-DE) `further` are the other alerts; with any error `message` is None and they are those that
    could be read all the same.
    """

    message: CapMessage | None
    problems: tuple[Problem, ...]
    further: tuple[CapMessage, ...] = ()

    @property
    def messages(self) -> tuple[CapMessage, ...]:
        """Every alert that was read."""
        return self.further if self.message is None else (self.message, *self.further)
