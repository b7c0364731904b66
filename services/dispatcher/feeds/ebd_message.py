"""EBD packets as values: the envelope, its bodies, and what of them is capped. Pure.

Interoperates with the packets that deployed platforms of the 2016 and 2018 generations exchange. Times are µs UTC (on
the wire they are Beijing time without a zone), None where absent; absent texts are empty; ids are opaque texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TypeAlias

from services.dispatcher.domain.signals import Problem

XML_BYTES_MAX = 1_048_576
NAME_CHARS_MAX = 256
TEXT_CHARS_MAX = 32_768
AREAS_MAX = 1_000
ITEMS_MAX = 1_000
PROBLEMS_MAX = 100
PPM = 1_000_000


class EbdType(StrEnum):
    """What a packet carries; the wire name is also the name of the body element."""

    EBM = "EBM"
    EBM_STATE_REQUEST = "EBMStateRequest"
    EBM_STATE_RESPONSE = "EBMStateResponse"
    OMD_REQUEST = "OMDRequest"
    EBRPS_INFO = "EBRPSInfo"
    EBRST_INFO = "EBRSTInfo"
    EBRAS_INFO = "EBRASInfo"
    EBRBS_INFO = "EBRBSInfo"
    EBRDT_INFO = "EBRDTInfo"
    EBRPS_STATE = "EBRPSState"
    EBRAS_STATE = "EBRASState"
    EBRBS_STATE = "EBRBSState"
    EBRDT_STATE = "EBRDTState"
    EBM_BRD_LOG = "EBMBrdLog"
    CONNECTION_CHECK = "ConnectionCheck"
    EBD_RESPONSE = "EBDResponse"
    EBD_NOTIFY = "EBDNotify"
    EBM_STREAM_PORT_REQUEST = "EBMStreamPortRequest"


class MsgType(IntEnum):
    """请求播发 or 取消播发."""

    REQUEST = 1
    CANCEL = 2


class BrdState(IntEnum):
    """BrdStateCode. FAILED is also what was played in part only, or not as ordered."""

    UNPROCESSED = 0
    WAITING = 1
    PLAYING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5


class Result(IntEnum):
    """ResultCode of an EBDResponse; after 2 to 5 the receiver does nothing further with the packet."""

    NOT_PROCESSED = 0
    TAKEN = 1
    NOT_PARSED = 2
    CONTENT_MISSING = 3
    SIGNATURE_WRONG = 4
    OTHER_ERROR = 5


@dataclass(frozen=True, slots=True)
class Head:
    """The envelope. `destination` and `related` (the packet that is answered) may be empty."""

    id: str
    type: EbdType
    source: str
    time_us: int | None
    destination: str = ""
    source_url: str = ""
    related: str = ""
    version: str = "1.0"


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """A programme beside the text. `description` is a file name in the package or an address; size in bytes."""

    type: str
    description: str
    size_bytes: int | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be said, and where. `areas` are 12-digit division codes."""

    language: str
    title: str
    text: str
    areas: tuple[str, ...]
    programme: int | None = None
    auxiliaries: tuple[Auxiliary, ...] = ()


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Over which station, adapter and systems the sender wants it aired; systems are (type, info) as written."""

    language: str = ""
    station: str = ""
    adapter: str = ""
    systems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class EbdOrder:
    """EBM: a broadcast order or its cancelling. `severity` is 0 unknown, 1 to 4, 15 test, None where not readable.

    `related` are earlier orders, `origin` the id of the emergency information behind it (EBIID).
    """

    id: str
    msg_type: MsgType
    sender_name: str = ""
    sender_code: str = ""
    sent: str = ""
    sent_us: int | None = None
    event_type: str = ""
    severity: int | None = None
    start_us: int | None = None
    end_us: int | None = None
    related: tuple[str, ...] = ()
    origin: str = ""
    test_type: str = ""
    content: Content | None = None
    dispatches: tuple[Dispatch, ...] = ()
    version: str = "1.0"


@dataclass(frozen=True, slots=True)
class StateRequest:
    """How far is this order?"""

    ebm: str


@dataclass(frozen=True, slots=True)
class EbdCoverage:
    """How much of an order's area was reached, in parts per million; `counters` are ResBrdStat as written."""

    rate_ppm: int | None
    areas: tuple[str, ...] = ()
    counters: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class SystemBroadcast:
    """EBRBS within a state answer: what one broadcast system did. `recording` is the address of an air check."""

    report_us: int | None
    info: str
    start_us: int | None
    end_us: int | None
    recording: str
    state: int | None
    state_words: str


@dataclass(frozen=True, slots=True)
class ResourceBroadcast:
    """ResBrdItem: what one adapter's systems did."""

    adapter: str
    systems: tuple[SystemBroadcast, ...]
    platform: str = ""
    station: str = ""


@dataclass(frozen=True, slots=True)
class StateResponse:
    """EBMStateResponse: how far an order is."""

    ebm: str
    report_us: int | None
    state: int | None
    state_words: str
    coverage: EbdCoverage | None
    resources: tuple[ResourceBroadcast, ...] = ()


@dataclass(frozen=True, slots=True)
class DataRequest:
    """OMDRequest: which reports are wanted, of which time; `report_type` is Full or Incremental."""

    wanted: str
    start_us: int | None = None
    end_us: int | None = None
    report_type: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionCheck:
    """A heartbeat."""

    report_us: int | None


@dataclass(frozen=True, slots=True)
class Response:
    """EBDResponse, and EBDNotify in the same form: what the other end made of a packet."""

    code: int
    words: str


@dataclass(frozen=True, slots=True)
class ResourceItem:
    """One resource in an *Info or *State report. Positions as written: their datum is not said."""

    id: str
    report_us: int | None
    report_type: str = ""
    name: str = ""
    related: str = ""
    longitude: str = ""
    latitude: str = ""
    state: int | None = None
    state_words: str = ""


@dataclass(frozen=True, slots=True)
class ResourceReport:
    """An *Info or *State report; the head says which."""

    items: tuple[ResourceItem, ...]
    start_us: int | None = None
    end_us: int | None = None
    report_type: str = ""


@dataclass(frozen=True, slots=True)
class LogItem:
    """One order in a broadcast log."""

    ebm: str
    state: int | None
    state_words: str
    coverage: EbdCoverage | None


@dataclass(frozen=True, slots=True)
class BroadcastLog:
    """EBMBrdLog: what was aired in a time."""

    items: tuple[LogItem, ...]
    start_us: int | None = None
    end_us: int | None = None
    report_type: str = ""


@dataclass(frozen=True, slots=True)
class Recognised:
    """A known packet whose body has no use here; the head says which."""


Body: TypeAlias = (
    EbdOrder
    | StateRequest
    | StateResponse
    | DataRequest
    | ConnectionCheck
    | Response
    | ResourceReport
    | BroadcastLog
    | Recognised
)


@dataclass(frozen=True, slots=True)
class Packet:
    head: Head
    body: Body


@dataclass(frozen=True, slots=True)
class PacketReading:
    """The packet, or None where an error refuses it; every problem found on the way.

    `id` is the packet's id as far as it could be read, for the answer to a refused one.
    """

    packet: Packet | None
    problems: tuple[Problem, ...]
    id: str = ""
