"""EBD packets as they leave here: answers, state reports and heartbeats. Pure and strict.

What readers tolerate is never written: present-day names only, the order of the standard, exact ids of one generation,
Beijing times without a zone, UTF-8 without a byte order mark. A state answer says what was counted and nothing better.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from lxml import etree

from services.dispatcher.domain.refusals import Refused
from services.dispatcher.feeds.ebd_ids import HEARTBEAT_TYPE, MESSAGE_TYPE, BadId, parse_ebdid, parse_ebmid, parse_ebrid
from services.dispatcher.feeds.ebd_message import (
    NAME_CHARS_MAX,
    PPM,
    Body,
    BrdState,
    ConnectionCheck,
    EbdCoverage,
    EbdType,
    Head,
    Packet,
    ResourceBroadcast,
    Response,
    Result,
    StateResponse,
    SystemBroadcast,
)
from services.dispatcher.feeds.ebd_xml import BEIJING

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SCHEMA = "http://www.w3.org/2001/XMLSchema"
WORDS_CHARS_MAX = 1_024
_Parent: TypeAlias = etree._Element


class NotWritable(Refused):
    """This EBD packet can't be written as asked."""

    code = "ebd_not_writable"


def write_packet(packet: Packet) -> bytes:
    """The XML of an EBDResponse, an EBMStateResponse or a ConnectionCheck; raises NotWritable for anything else."""
    head, body = packet.head, packet.body
    _check_head(head)
    root = etree.Element("EBD", nsmap={"xs": _SCHEMA})
    _text(root, "EBDVersion", head.version)
    _text(root, "EBDID", head.id)
    _text(root, "EBDType", str(head.type))
    source = etree.SubElement(root, "SRC")
    _text(source, "EBRID", head.source)
    _optional(source, "URL", head.source_url, WORDS_CHARS_MAX)
    if head.destination:
        _text(etree.SubElement(root, "DEST"), "EBRID", head.destination)
    _time(root, "EBDTime", head.time_us)
    if head.related:
        _text(etree.SubElement(root, "RelatedEBD"), "EBDID", head.related)
    _write_body(etree.SubElement(root, str(head.type)), head.type, body)
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True)


def _write_body(into: _Parent, type_: EbdType, body: Body) -> None:
    match body:
        case Response() if type_ is EbdType.EBD_RESPONSE:
            if body.code not in tuple(Result):
                raise NotWritable(f"{body.code} is no ResultCode")
            _text(into, "ResultCode", str(int(body.code)))
            _text(into, "ResultDesc", body.words, WORDS_CHARS_MAX)
        case StateResponse() if type_ is EbdType.EBM_STATE_RESPONSE:
            _write_state(into, body)
        case ConnectionCheck() if type_ is EbdType.CONNECTION_CHECK:
            _time(into, "RptTime", body.report_us)
        case _:
            raise NotWritable(f"{type(body).__name__} as {type_}")


def brd_state(
    *, targeted: int, played: int, start_us: int, now_us: int, over: bool = False, cancelled: bool = False
) -> BrdState:
    """The BrdStateCode of an order that was taken on. Only an order that every targeted speaker has proved to have
    played succeeded; one that reached most of them failed, which is what code 4 says of a partly failed one."""
    if cancelled:
        return BrdState.CANCELLED
    if over:
        return BrdState.SUCCEEDED if 0 < targeted <= played else BrdState.FAILED
    return BrdState.WAITING if now_us < start_us else BrdState.PLAYING


def coverage_rate(targeted: int, played: int) -> int:
    """Parts per million of the targeted speakers that played, rounded down so that only all of them is all."""
    assert 0 <= played and 0 <= targeted
    return min(played, targeted) * PPM // targeted if targeted else 0


def _write_state(into: _Parent, body: StateResponse) -> None:
    if body.state is None or body.state not in tuple(BrdState):
        raise NotWritable(f"{body.state} is no BrdStateCode")
    if body.coverage is None or body.coverage.rate_ppm is None or not 0 <= body.coverage.rate_ppm <= PPM:
        raise NotWritable("the coverage is not said")
    if body.state == BrdState.SUCCEEDED and body.coverage.rate_ppm != PPM:
        raise NotWritable("an order that did not reach everybody has not succeeded")
    if not body.resources:
        raise NotWritable("no adapter is named")
    _time(into, "RptTime", body.report_us)
    try:
        parse_ebmid(body.ebm)
    except BadId as bad:
        raise NotWritable(bad.sentence) from bad
    _text(etree.SubElement(into, "EBM"), "EBMID", body.ebm)
    _text(into, "BrdStateCode", str(int(body.state)))
    _text(into, "BrdStateDesc", body.state_words, WORDS_CHARS_MAX)
    _write_coverage(etree.SubElement(into, "Coverage"), body.coverage)
    info = etree.SubElement(into, "ResBrdInfo")
    for item in body.resources:
        _write_resource(etree.SubElement(info, "ResBrdItem"), item)


def _write_coverage(into: _Parent, coverage: EbdCoverage) -> None:
    assert coverage.rate_ppm is not None
    whole, part = divmod(coverage.rate_ppm, PPM)
    _text(into, "CoverageRate", f"{whole}.{part:06}".rstrip("0").removesuffix("."))
    _text(into, "AreaCode", ",".join(coverage.areas), None)
    if coverage.counters is not None:
        _text(into, "ResBrdStat", ",".join(str(each) for each in coverage.counters))


def _write_resource(into: _Parent, item: ResourceBroadcast) -> None:
    if not item.systems:
        raise NotWritable("an adapter without a broadcast system")
    for name, id in (("EBRPS", item.platform), ("EBRST", item.station), ("EBRAS", item.adapter)):
        if id or name == "EBRAS":
            _check_resource(id)
            _text(etree.SubElement(into, name), "EBRID", id)
    for system in item.systems:
        _write_system(etree.SubElement(into, "EBRBS"), system)


def _write_system(into: _Parent, system: SystemBroadcast) -> None:
    if system.state is None or system.state not in tuple(BrdState):
        raise NotWritable(f"{system.state} is no BrdStateCode")
    _time(into, "RptTime", system.report_us)
    _text(into, "BrdSysInfo", system.info, WORDS_CHARS_MAX)
    _time(into, "StartTime", system.start_us)
    _time(into, "EndTime", system.end_us)
    _optional(into, "FileURL", system.recording, WORDS_CHARS_MAX)
    _text(into, "BrdStateCode", str(int(system.state)))
    _text(into, "BrdStateDesc", system.state_words, WORDS_CHARS_MAX)


def _check_head(head: Head) -> None:
    try:
        id = parse_ebdid(head.id)
    except BadId as bad:
        raise NotWritable(bad.sentence) from bad
    if str(id.source) != head.source:
        raise NotWritable("the packet's id is not the sender's")
    heartbeat = head.type is EbdType.CONNECTION_CHECK
    if id.type != (HEARTBEAT_TYPE if heartbeat else MESSAGE_TYPE) or (id.seq == 0) != heartbeat:
        raise NotWritable("a heartbeat has type 01 and sequence 0, everything else type 10 and a sequence")
    if head.destination:
        _check_resource(head.destination)


def _check_resource(id: str) -> None:
    try:
        parse_ebrid(id)
    except BadId as bad:
        raise NotWritable(bad.sentence) from bad


def _time(into: _Parent, name: str, us: int | None) -> None:
    """Beijing time to the second; a fraction is cut."""
    try:
        if us is None:
            raise NotWritable(f"{name} is missing")
        at = (_EPOCH + timedelta(microseconds=us)).astimezone(BEIJING)
    except OverflowError as cause:
        raise NotWritable(f"{name} is no time") from cause
    _text(into, name, f"{at.year:04}-{at.month:02}-{at.day:02} {at.hour:02}:{at.minute:02}:{at.second:02}")


def _optional(into: _Parent, name: str, text: str, chars_max: int = NAME_CHARS_MAX) -> None:
    if text:
        _text(into, name, text, chars_max)


def _text(into: _Parent, name: str, text: str, chars_max: int | None = NAME_CHARS_MAX) -> None:
    if not text.strip() or (chars_max is not None and len(text) > chars_max):
        raise NotWritable(f"{name} is empty" if not text.strip() else f"{name} has more than {chars_max} characters")
    try:
        etree.SubElement(into, name).text = text
    except ValueError as cause:
        raise NotWritable(f"{name} holds a control character") from cause
