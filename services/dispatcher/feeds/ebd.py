"""EBD packets and packages from other platforms: broadcast orders in, signals or named problems out. Pure.

An order from a platform above is information from an authority: it is verified and released here like any other
signal, and nothing sounds by its arrival. Its severity claims a level; 15 is a test and information only. What the
feed's enrolment makes of it is `report`'s rules.
Key. `ebd/<feed>/<EBMID>`, so a repeated order is one signal whatever packet it comes in. A cancelling order adds
`#cancel`, because some platforms cancel under the very id of what they cancel.
Every other packet (state requests, reports, heartbeats, answers) is read and reports nothing: `answer` replies to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from services.dispatcher.domain.signals import Evidence, Feed, Problem, Reading, SignalKind
from services.dispatcher.feeds.ebd_message import Content, EbdOrder, Head, MsgType, Packet, Response, Result
from services.dispatcher.feeds.ebd_read import read_packet
from services.dispatcher.feeds.ebd_signature import EbdSignature, EbdSignatureState, Verify, read_signature
from services.dispatcher.feeds.ebd_tar import Member, looks_like_tar, open_package
from services.dispatcher.feeds.report import Report, Status, clean, hazard_of, signal_of

FORMAT = "ebd"
LEVELS = (1, 2, 3, 4)
SEVERITY_TEST = 15
FUTURE_ALLOWED_US = 300_000_000
BODY, OLD_BODY, SIGNATURE, RESOURCE, PACKAGE = "EBDB_", "EBDI_", "EBDS_", "EBDR_", "EBDT_"


@dataclass(frozen=True, slots=True)
class EbdReading:
    """What came: the packet or None, what is known of its signature, its resource files, every problem."""

    packet: Packet | None
    signature: EbdSignatureState
    signed: EbdSignature | None
    resources: tuple[Member, ...]
    problems: tuple[Problem, ...]
    id: str = ""


def read(raw: bytes, verify: Verify | None = None) -> EbdReading:
    """The packet in a package or in a bare XML file, told apart by the bytes; never raises.

    Without `verify` a signature is read and shown as not verified; with it a packet needs one that holds.
    """
    if not looks_like_tar(raw):
        return _judged(raw, None, (), (), verify)
    package = open_package(raw)
    if package.refused:
        return EbdReading(None, EbdSignatureState.ABSENT, None, (), package.problems)
    notes: list[Problem] = list(package.problems)
    body = _body(package.members, notes)
    if body is None:
        return EbdReading(None, EbdSignatureState.ABSENT, None, (), tuple(notes))
    name = f"{SIGNATURE}{body.name}"
    signature = next((member for member in package.members if member.name == name), None)
    others = tuple(member for member in package.members if member is not body and member is not signature)
    for member in others:
        if not member.name.startswith(RESOURCE):
            notes.append(_warning("member_unknown", member.name, "The package has a member of unknown purpose."))
    found = _judged(body.content, signature, others, tuple(notes), verify)
    if found.id and body.name not in (f"{BODY}{found.id}.xml", f"{OLD_BODY}{found.id}.xml"):
        differs = _warning("id_differs", body.name, "The packet's id is not the one in its file's name.")
        return replace(found, problems=(*found.problems, differs))
    return found


def _body(members: tuple[Member, ...], notes: list[Problem]) -> Member | None:
    """The one body file; the old prefix counts where the present one is missing."""
    bodies = [member for member in members if member.name.startswith(BODY)]
    if not bodies:
        bodies = [member for member in members if member.name.startswith(OLD_BODY)]
        notes += [_warning("old_name", member.name, f"{OLD_BODY} is an old name for {BODY}.") for member in bodies[:1]]
    if len(bodies) == 1:
        return bodies[0]
    code, what = ("missing", "no body file") if not bodies else ("repeated", "more than one body file")
    notes.append(Problem("error", code, BODY, f"The package has {what}."))
    return None


def _judged(
    body: bytes, signature: Member | None, others: tuple[Member, ...], notes: tuple[Problem, ...], verify: Verify | None
) -> EbdReading:
    found = read_packet(body)
    state, signed, said = _signature(body, signature, found.id, verify)
    # Where signatures are checked, leaving one out must not be the way round the check.
    proved = verify is None or state is EbdSignatureState.VERIFIED
    return EbdReading(
        found.packet if proved else None, state, signed, others, (*found.problems, *said, *notes), found.id
    )


def _signature(
    body: bytes, file: Member | None, id: str, verify: Verify | None
) -> tuple[EbdSignatureState, EbdSignature | None, tuple[Problem, ...]]:
    where = "signature"
    unproved = "warning" if verify is None else "error"
    if file is None:
        said = Problem(unproved, "signature_absent", where, "The packet is not signed.")
        return EbdSignatureState.ABSENT, None, (said,)
    found = read_signature(file.content)
    problems = tuple(_warning(p.code, f"{where}/{p.where}", p.message) for p in found.problems)
    if found.signature is None:
        unread = Problem(unproved, "signature_unreadable", where, "The signature file can't be read.")
        return EbdSignatureState.UNREADABLE, None, (*problems, unread)
    if found.signature.related and id and found.signature.related != id:
        problems += (_warning("signature_other", where, "The signature names another packet."),)
    if verify is None:
        unchecked = _warning("signature_not_verified", where, "The signature was read, not verified.")
        return EbdSignatureState.NOT_VERIFIED, found.signature, (*problems, unchecked)
    if not verify(body, found.signature):
        wrong = Problem("error", "signature_wrong", where, "The signature does not hold for this packet.")
        return EbdSignatureState.WRONG, found.signature, (*problems, wrong)
    return EbdSignatureState.VERIFIED, found.signature, problems


def reading(raw: bytes, feed: Feed, received_us: int) -> Reading:
    """Read and turn into signals in one step: the form every feed format has in FEEDS."""
    found = read(raw)
    if found.packet is None:
        return Reading((), found.problems)
    made = signals(found.packet, feed, received_us)
    return Reading(made.signals, (*found.problems, *made.problems))


def signals(packet: Packet, feed: Feed, received_us: int) -> Reading:
    """The signal of a packet that is an order; any other packet makes none. `received_us` is µs UTC."""
    order = packet.body
    if not isinstance(order, EbdOrder):
        return Reading((), (_warning("not_an_order", "EBD/EBDType", f"{packet.head.type} reports nothing."),))
    signal = signal_of(_report(order, packet.head, feed, received_us), FORMAT, feed, received_us)
    # The packet's own evidence that nothing may come of a test by itself.
    tested = replace(signal, test_bit=order.severity == SEVERITY_TEST)
    return Reading((tested,), tested.problems)


def _report(order: EbdOrder, head: Head, feed: Feed, received_us: int) -> Report:
    hazard, event_code = hazard_of(order.event_type, feed)
    content = order.content or _NOTHING
    cancels = order.msg_type is MsgType.CANCEL
    return Report(
        where="EBM",
        id=order.id,
        own_key=f"{order.id}#cancel" if cancels else "",
        kind=SignalKind.CANCEL if cancels else SignalKind.UPDATE if _earlier(order) else SignalKind.ALERT,
        hazard=hazard,
        evidence=Evidence.AUTHORITY,
        event_code=event_code,
        level=order.severity if order.severity in LEVELS else None,
        headline=clean(content.title or order.sender_name),
        description=clean(content.text),
        observed_us=order.sent_us if order.sent_us is not None else head.time_us,
        expires_us=order.end_us,
        areas=content.areas,
        # A cancelling order that names nothing cancels its own id.
        references=_earlier(order) or ((order.id,) if cancels else ()),
        device=order.sender_code or head.source,
        status=Status.TEST if order.severity == SEVERITY_TEST else Status.ACTUAL,
        problems=tuple(_findings(order, received_us)),
    )


_NOTHING = Content("", "", "", ())


def _earlier(order: EbdOrder) -> tuple[str, ...]:
    """The earlier orders it names; some senders name the order itself, which says nothing unless it cancels."""
    cancels = order.msg_type is MsgType.CANCEL
    return tuple(id for id in order.related if cancels or id != order.id)


def _findings(order: EbdOrder, received_us: int) -> Iterator[Problem]:
    where = "EBM/MsgBasicInfo"
    if order.msg_type is MsgType.CANCEL:
        if not order.related:
            yield _warning("related_missing", "EBM/RelatedInfo", "It names no order, so it cancels its own id.")
        return
    if order.end_us is not None and order.start_us is not None and order.end_us < order.start_us:
        yield _warning("window_reversed", f"{where}/EndTime", "The window ends before it begins.")
    if order.start_us is not None and order.start_us > received_us + FUTURE_ALLOWED_US:
        yield _warning("window_later", f"{where}/StartTime", "The order asks to be aired at a later time.")


def answer(found: EbdReading) -> Response:
    """What an EBDResponse says of a packet that came; it speaks of the packet, never of the broadcast."""
    errors = [problem for problem in found.problems if problem.severity == "error"]
    if not errors:
        return Response(Result.TAKEN, "接收解析及校验成功")
    code, words = _RESULTS.get(errors[0].code, (Result.NOT_PARSED, "接收解析失败"))
    return Response(code, f"{words}：{errors[0].where} {errors[0].code}")


_SIGNATURE_WRONG = (Result.SIGNATURE_WRONG, "签名验证失败")
_RESULTS = {
    "missing": (Result.CONTENT_MISSING, "数据内容缺失"),
    "signature_wrong": _SIGNATURE_WRONG,
    "signature_absent": _SIGNATURE_WRONG,
    "signature_unreadable": _SIGNATURE_WRONG,
}


def _warning(code: str, where: str, message: str) -> Problem:
    return Problem("warning", code, where, message)
