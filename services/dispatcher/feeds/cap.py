"""CAP alerts (OASIS 1.2, 1.1, 1.0), alone or in an envelope: bytes in, signals or named problems out. Pure.

`cap_read` reads elements, `cap_rules` finds bad style, `cap_groups` tells what is said twice, `cap_signals` makes
signals of it.
"""

from __future__ import annotations

from dataclasses import replace

from lxml import etree

from services.dispatcher.domain.signals import Feed, Problem, Reading
from services.dispatcher.feeds import edxl
from services.dispatcher.feeds.cap_faultless import plain_alert
from services.dispatcher.feeds.cap_groups import NO_GROUP, Group, groups
from services.dispatcher.feeds.cap_message import PROBLEMS_MAX, RAW_BYTES_MAX, CapMessage, CapReading
from services.dispatcher.feeds.cap_read import read_alert
from services.dispatcher.feeds.cap_rules import warnings
from services.dispatcher.feeds.cap_signals import FORMAT, area_codes, message_key, signals
from services.dispatcher.feeds.xml_edge import BadXml, open_root

__all__ = ["FORMAT", "NO_GROUP", "Group", "area_codes", "groups", "message_key", "read", "reading", "signals"]

_LOWER_AND_LOWER = ("Actual", "Exercise", "System", "Test", "Draft")


def read(raw: bytes) -> CapReading:
    """The alert in a file of at most 1 MB, or the alerts in an envelope, with every problem; never raises."""
    message = plain_alert(raw)
    if message is not None:
        return CapReading(message, tuple(warnings(message)))
    try:
        root = open_root(raw, RAW_BYTES_MAX, compact=True)
    except BadXml as bad:
        return CapReading(None, (Problem("error", bad.code, bad.where, bad.sentence),))
    if edxl.is_envelope(root):
        return _read_envelope(root)
    found = read_alert(root)
    if found.message is None:
        return found
    return CapReading(found.message, (*found.problems, *warnings(found.message)))


def reading(raw: bytes, feed: Feed, received_us: int) -> Reading:
    """Read and turn into signals in one step: the form every feed format has in FEEDS."""
    found = read(raw)
    if found.message is not None and not found.further:
        made = signals(found.message, feed, received_us)
        return Reading(made.signals, (*found.problems, *made.problems)) if found.problems else made
    every = [signals(message, feed, received_us) for message in found.messages]
    return Reading(
        tuple(signal for made in every for signal in made.signals),
        (*found.problems, *(problem for made in every for problem in made.problems))[:PROBLEMS_MAX],
    )


def _read_envelope(root: etree._Element) -> CapReading:
    """The alerts of an envelope that can be read, lowered to its status. Of two under one name the first counts."""
    envelope = edxl.opened(root)
    problems = list(envelope.problems)
    messages: dict[tuple[str, str, int], CapMessage] = {}
    for index, alert in enumerate(envelope.alerts, 1):
        found = read_alert(alert)
        own = list(found.problems)
        if found.message is not None:
            name = (found.message.sender, found.message.identifier, found.message.sent_us)
            if name not in messages:
                own += warnings(found.message)
                messages[name] = _lowered(found.message, envelope.status)
            elif _lowered(found.message, envelope.status) != messages[name]:
                sentence = "An alert has the name of an earlier one in the envelope and says something else."
                own.append(Problem("error", "identifier_repeated", "alert/identifier", sentence))
        problems += [replace(problem, where=f"content[{index}]/{problem.where}") for problem in own]
    problems.sort(key=lambda problem: problem.severity != "error")
    shown = tuple(problems[:PROBLEMS_MAX])
    if not messages or (shown and shown[0].severity == "error"):
        return CapReading(None, shown, tuple(messages.values()))
    first, *further = messages.values()
    return CapReading(first, shown, tuple(further))


def _lowered(message: CapMessage, status: str) -> CapMessage:
    """The alert with the lower of its own status and its envelope's."""
    if status and _LOWER_AND_LOWER.index(status) > _LOWER_AND_LOWER.index(message.status):
        return message._replace(status=status)
    return message
