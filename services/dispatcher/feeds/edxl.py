"""EDXL-DE envelopes (OASIS Distribution Element 1.0 and 2.0): the CAP alerts inside, and what the envelope says. Pure.

An envelope can only lower its alerts, as every text can: its status stands beside theirs. Content that is no embedded
XML (files, links) is named and left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from services.dispatcher.domain.signals import Problem
from services.dispatcher.feeds.cap_tables import ROOTS

ROOT_NAMES = frozenset(
    f"{{{space}}}{name}"
    for space, name in (
        ("urn:oasis:names:tc:emergency:EDXL:DE:1.0", "EDXLDistribution"),
        ("urn:oasis:names:tc:emergency:EDXL:DE:2.0", "edxlDistribution"),
        ("urn:oasis:names:tc:emergency:EDXL:DE:2.0", "EDXLDistribution"),
    )
)
ALERTS_MAX = 64
STATUSES = ("Actual", "Exercise", "System", "Test")


@dataclass(frozen=True, slots=True)
class Envelope:
    """The alerts in order, the status of the distribution ("" when it says none), and the problems of the envelope."""

    alerts: tuple[etree._Element, ...]
    status: str
    problems: tuple[Problem, ...]


def opened(root: etree._Element) -> Envelope:
    """What an envelope of ROOT_NAMES holds; without any alert or with more than ALERTS_MAX it is an error."""
    space = etree.QName(root).namespace
    problems: list[Problem] = []
    alerts: list[etree._Element] = []
    for content in root.iterchildren(f"{{{space}}}contentObject", f"{{{space}}}content"):
        found = [each for each in content.iterdescendants(*ROOTS) if etree.QName(each).localname == "alert"]
        if not found:
            problems.append(
                Problem("warning", "content_left_out", "contentObject", "A content that is no CAP alert was left out.")
            )
        alerts += found
    status = (root.findtext(f".//{{{space}}}distributionStatus") or "").strip()
    if status and status not in STATUSES:
        sentence = f"{status[:40]!r} is no value of distributionStatus; nothing in the envelope is aired."
        problems.append(Problem("error", "value_unknown", "distributionStatus", sentence))
        status = "Draft"
    if not alerts:
        problems.append(Problem("error", "envelope_empty", "contentObject", "The envelope holds no CAP alert."))
    if len(alerts) > ALERTS_MAX:
        sentence = f"The envelope holds more than {ALERTS_MAX} alerts."
        problems.append(Problem("error", "too_many", "contentObject", sentence))
        alerts.clear()
    return Envelope(tuple(alerts), status, tuple(problems))
