"""EBD XML in, a Packet or named problems out. Pure; tolerant of what deployed platforms write.

An error is only what leaves no packet: no XML, no type, no body, no id to know an order by, nothing to say. Everything
else that departs from the rules is a warning, because an order from above must not be lost to a missing title.
"""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from services.dispatcher.domain.signals import Problem
from services.dispatcher.feeds.ebd_message import (
    TEXT_CHARS_MAX,
    XML_BYTES_MAX,
    Auxiliary,
    Body,
    BroadcastLog,
    ConnectionCheck,
    Content,
    DataRequest,
    Dispatch,
    EbdCoverage,
    EbdOrder,
    EbdType,
    Head,
    LogItem,
    MsgType,
    Packet,
    PacketReading,
    Recognised,
    ResourceBroadcast,
    ResourceItem,
    ResourceReport,
    Response,
    StateRequest,
    StateResponse,
    SystemBroadcast,
)
from services.dispatcher.feeds.ebd_xml import EbdUnreadable, Findings, Node, is_id
from services.dispatcher.feeds.xml_edge import BadXml, open_root

SEVERITIES = (0, 1, 2, 3, 4, 15)
AUXILIARIES_MAX = 32
DISPATCHES_MAX = 256
RELATED_MAX = 256
_TYPES = {str(each): each for each in EbdType}
_ENVELOPE = ("EBDVersion", "EBDID", "EBDType", "SRC", "DEST", "EBDTime", "RelatedEBD")


def read_packet(raw: bytes) -> PacketReading:
    """Read one packet of at most 1 MB; never raises. With any error the packet is None."""
    findings = Findings()
    try:
        root = open_root(raw, XML_BYTES_MAX)
    except BadXml as bad:
        return PacketReading(None, (Problem("error", bad.code, bad.where, bad.sentence),))
    id, packet = "", None
    try:
        node = _root(root, findings)
        id = node.id("EBDID", required=True)
        packet = _packet(node, id)
    except EbdUnreadable:
        packet = None
    return PacketReading(None if findings.failed else packet, findings.problems, id)


def _root(root: etree._Element, findings: Findings) -> Node:
    name = etree.QName(root)
    if name.localname != "EBD":
        what = _OTHER_ROOTS.get(name.localname, f"The root element is {name.localname[:40]}, not EBD.")
        findings.error("not_an_ebd", name.localname[:40], what)
        raise EbdUnreadable
    if name.namespace:
        findings.warn("namespace_unknown", "EBD", "The packet is in a namespace, which EBD does not have.")
    return Node(root, "EBD", findings)


_OTHER_ROOTS = {
    "alert": "This is a CAP or 12379 alert, not an EBD packet.",
    "feed": "This is an Atom list, not an EBD packet.",
    "rss": "This is an RSS list, not an EBD packet.",
    "Signature": "This is a signature file; the packet it belongs to is missing.",
}


def _packet(node: Node, id: str) -> Packet:
    type_ = _type(node)
    node.only(*_ENVELOPE, *_TYPES)
    bodies = [name for name in node.names() if name in _TYPES]
    if bodies != [str(type_)]:
        for other in bodies:
            if other != type_:
                node.findings.error("body_differs", f"EBD/{other}", f"The packet says {type_} and carries {other}.")
        if type_ not in bodies:
            node.missing(type_)
            raise EbdUnreadable
    source, destination = node.child("SRC"), node.child("DEST")
    if source is None:
        node.missing("SRC", fatal=False)
    related = node.child("RelatedEBD")
    head = Head(
        id=id,
        type=type_,
        source=_resource(source),
        time_us=node.time_us("EBDTime", wanted=True),
        destination=_resource(destination),
        source_url=source.text("URL", 1_024) if source else "",
        related=related.id("EBDID") if related else "",
        version=node.text("EBDVersion", wanted=True),
    )
    if related is not None and not head.related:
        node.findings.warn("related_empty", "EBD/RelatedEBD", "RelatedEBD names no packet.")
    body = node.child(type_)
    assert body is not None
    return Packet(head, _BODIES[type_](body))


def _type(node: Node) -> EbdType:
    value = node.text("EBDType", required=True)
    if value in _TYPES:
        return _TYPES[value]
    if value:
        node.findings.error("type_unknown", "EBD/EBDType", f"{value[:40]!r} is no type of packet.")
    raise EbdUnreadable


def _resource(node: Node | None) -> str:
    if node is None:
        return ""
    value = node.id("EBRID")
    if not value:
        node.missing("EBRID", fatal=False)
    return value


def _order(node: Node) -> EbdOrder:
    findings = node.findings
    node.only("EBMVersion", "EBMID", "RelatedInfo", "TestType", "MsgBasicInfo", "MsgContent", "Dispatch")
    basic = node.child("MsgBasicInfo", required=True)
    if basic is None:
        raise EbdUnreadable
    known = ("MsgType", "SenderName", "SenderCode", "SendTime", "EventType", "Severity", "StartTime", "EndTime")
    basic.only(*known)
    number = basic.text("MsgType", required=True)
    if number not in ("1", "2"):
        if number:
            findings.error("value_unknown", f"{basic.where}/MsgType", f"{number[:40]!r} is neither 1 nor 2.")
        raise EbdUnreadable
    msg_type = MsgType(int(number))
    asked = msg_type is MsgType.REQUEST
    content = node.child("MsgContent", required=asked)
    related = node.child("RelatedInfo")
    test_type = node.text("TestType")
    if test_type:
        findings.warn("test_type", f"{node.where}/TestType", f"TestType {test_type!r} is shown and changes nothing.")
    return EbdOrder(
        id=node.id("EBMID", required=True),
        msg_type=msg_type,
        sender_name=basic.text("SenderName", wanted=True),
        sender_code=basic.text("SenderCode", wanted=True),
        sent=basic.text("SendTime"),
        sent_us=basic.time_us("SendTime", wanted=True),
        event_type=basic.text("EventType", wanted=asked),
        severity=_severity(basic, asked),
        start_us=basic.time_us("StartTime", wanted=asked),
        end_us=basic.time_us("EndTime", wanted=asked),
        related=_related(related),
        origin=related.text("EBIID") if related else "",
        test_type=test_type,
        content=_content(content, asked) if content else None,
        dispatches=tuple(_dispatch(each) for each in node.each("Dispatch", DISPATCHES_MAX)),
        version=node.text("EBMVersion", wanted=True),
    )


def _related(node: Node | None) -> tuple[str, ...]:
    if node is None:
        return ()
    node.only("EBMID", "EBIID")
    texts = [(each.element.text or "").strip() for each in node.each("EBMID", RELATED_MAX)]
    found: dict[str, None] = {}
    for text in texts:
        if is_id(text):
            found[text] = None
        else:
            node.findings.warn(
                "related_empty", f"{node.where}/EBMID", "An earlier order is named without a readable id."
            )
    return tuple(found)


def _severity(basic: Node, asked: bool) -> int | None:
    value = basic.whole("Severity", wanted=asked)
    if value is not None and value not in SEVERITIES:
        basic.findings.warn("value_unknown", f"{basic.where}/Severity", f"{value} is no severity and was left out.")
        return None
    return value


def _content(node: Node, asked: bool) -> Content:
    known = ("LanguageCode", "MsgTitle", "MsgDesc", "AreaCode", "ProgramNum", "Auxiliary")
    node.only(*known)
    auxiliaries = tuple(_auxiliary(each) for each in node.each("Auxiliary", AUXILIARIES_MAX))
    text = node.text("MsgDesc", TEXT_CHARS_MAX, wanted=asked and not auxiliaries)
    return Content(
        language=node.text("LanguageCode", wanted=asked),
        title=node.text("MsgTitle", TEXT_CHARS_MAX, wanted=asked),
        text=text,
        areas=node.areas("AreaCode", wanted=asked),
        programme=node.whole("ProgramNum"),
        auxiliaries=auxiliaries,
    )


def _auxiliary(node: Node) -> Auxiliary:
    return Auxiliary(
        type=node.text("AuxiliaryType", wanted=True),
        description=node.text("AuxiliaryDesc", 1_024, wanted=True),
        size_bytes=node.whole("Size"),
        digest=node.text("Digest"),
    )


def _dispatch(node: Node) -> Dispatch:
    systems = [(each.text("BrdSysType"), each.text("BrdSysInfo", 1_024)) for each in node.each("EBRBS")]
    return Dispatch(
        node.text("LanguageCode"), node.id_in("EBRPS", "EBRID"), node.id_in("EBRAS", "EBRID"), tuple(systems)
    )


def _ebm_id(node: Node) -> str:
    order = node.child("EBM", required=True)
    return order.id("EBMID", required=True) if order else ""


def _state_request(node: Node) -> StateRequest:
    return StateRequest(_ebm_id(node))


def _coverage(node: Node) -> EbdCoverage | None:
    found = node.child("Coverage")
    if found is None:
        node.missing("Coverage", fatal=False)
        return None
    rate = found.rate_ppm("CoverageRate", percent=found.written_as("CoverageRate") != "CoverageRate")
    counters = found.text("ResBrdStat")
    numbers = [part.strip() for part in counters.split(",")] if counters else []
    if not numbers:
        return EbdCoverage(rate, found.areas("AreaCode"))
    if len(numbers) != 4 or not all(part.isascii() and part.isdigit() and len(part) <= 9 for part in numbers):
        where = f"{found.where}/ResBrdStat"
        found.findings.warn("number_malformed", where, "ResBrdStat is not four whole numbers and was left out.")
        return EbdCoverage(rate, found.areas("AreaCode"))
    one, two, three, four = (int(part) for part in numbers)
    return EbdCoverage(rate, found.areas("AreaCode"), (one, two, three, four))


def _state_response(node: Node) -> StateResponse:
    resources = node.child("ResBrdInfo")
    return StateResponse(
        ebm=_ebm_id(node),
        report_us=node.time_us("RptTime", wanted=True),
        state=_state(node, "BrdStateCode", 5),
        state_words=node.text("BrdStateDesc", wanted=True),
        coverage=_coverage(node),
        resources=tuple(_resource_broadcast(each) for each in resources.each("ResBrdItem")) if resources else (),
    )


def _state(node: Node, name: str, code_max: int) -> int | None:
    value = node.whole(name, wanted=True)
    if value is not None and value > code_max:
        node.findings.warn("value_unknown", f"{node.where}/{name}", f"{value} is no state and was left out.")
        return None
    return value


def _resource_broadcast(node: Node) -> ResourceBroadcast:
    return ResourceBroadcast(
        adapter=node.id_in("EBRAS", "EBRID"),
        systems=tuple(_system_broadcast(each) for each in node.each("EBRBS")),
        platform=node.id_in("EBRPS", "EBRID"),
        station=node.id_in("EBRST", "EBRID"),
    )


def _system_broadcast(node: Node) -> SystemBroadcast:
    return SystemBroadcast(
        report_us=node.time_us("RptTime"),
        info=node.text("BrdSysInfo", 1_024),
        start_us=node.time_us("StartTime"),
        end_us=node.time_us("EndTime"),
        recording=node.text("FileURL", 1_024),
        state=_state(node, "BrdStateCode", 5),
        state_words=node.text("BrdStateDesc"),
    )


def _data_request(node: Node) -> DataRequest:
    wanted = node.text("OMDType", required=True)
    if wanted and wanted not in _TYPES:
        node.findings.warn("value_unknown", f"{node.where}/OMDType", f"{wanted[:40]!r} is no report known here.")
    return DataRequest(wanted, *_window(node))


def _window(node: Node) -> tuple[int | None, int | None, str]:
    params = node.child("Params")
    if params is None:
        return None, None, ""
    return params.time_us("RptStartTime"), params.time_us("RptEndTime"), params.text("RptType")


def _connection_check(node: Node) -> ConnectionCheck:
    return ConnectionCheck(node.time_us("RptTime", wanted=True))


def _response(node: Node) -> Response:
    code = node.whole("ResultCode")
    if code is None:
        node.missing("ResultCode")
        raise EbdUnreadable
    return Response(code, node.text("ResultDesc", 1_024, wanted=True))


def _resources(item: str) -> Callable[[Node], ResourceReport]:
    def read(node: Node) -> ResourceReport:
        items = tuple(_resource_item(each) for each in node.each(item))
        return ResourceReport(items, *_window(node))

    return read


def _resource_item(node: Node) -> ResourceItem:
    related = next((name for name in node.names() if name.startswith("RelatedEBR")), "")
    return ResourceItem(
        id=node.id("EBRID", required=True),
        report_us=node.time_us("RptTime", wanted=True),
        report_type=node.text("RptType"),
        name=node.text("EBRName"),
        related=node.id_in(related, "EBRID") if related else "",
        longitude=node.text("Longitude", 32),
        latitude=node.text("Latitude", 32),
        state=node.whole("StateCode"),
        state_words=node.text("StateDesc"),
    )


def _broadcast_log(node: Node) -> BroadcastLog:
    items = tuple(
        LogItem(_ebm_id(each), _state(each, "BrdStateCode", 5), each.text("BrdStateDesc"), _coverage(each))
        for each in node.each("EBMBrdItem")
    )
    return BroadcastLog(items, *_window(node))


def _recognised(node: Node) -> Recognised:
    return Recognised()


_BODIES: dict[EbdType, Callable[[Node], Body]] = {
    EbdType.EBM: _order,
    EbdType.EBM_STATE_REQUEST: _state_request,
    EbdType.EBM_STATE_RESPONSE: _state_response,
    EbdType.OMD_REQUEST: _data_request,
    EbdType.EBRPS_INFO: _resources("EBRPS"),
    EbdType.EBRST_INFO: _resources("EBRST"),
    EbdType.EBRAS_INFO: _resources("EBRAS"),
    EbdType.EBRBS_INFO: _resources("EBRBS"),
    EbdType.EBRDT_INFO: _resources("EBRDT"),
    EbdType.EBRPS_STATE: _resources("EBRPS"),
    EbdType.EBRAS_STATE: _resources("EBRAS"),
    EbdType.EBRBS_STATE: _resources("EBRBS"),
    EbdType.EBRDT_STATE: _resources("EBRDT"),
    EbdType.EBM_BRD_LOG: _broadcast_log,
    EbdType.CONNECTION_CHECK: _connection_check,
    EbdType.EBD_RESPONSE: _response,
    EbdType.EBD_NOTIFY: _response,
    EbdType.EBM_STREAM_PORT_REQUEST: _recognised,
}
