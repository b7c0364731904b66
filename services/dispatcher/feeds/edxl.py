"""Envelopes of CAP alerts: EDXL-DE (OASIS Distribution Element 1.0 and 2.0), and `alerts`, which some offices put
around several alerts in CAP's own namespace and no standard knows. The alerts inside, and what the envelope says. Pure.

An envelope can only lower its alerts, as every text can: its status stands beside theirs. Content that is no embedded
XML (files, links) is named and left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from services.dispatcher.domain.signals import Problem
from services.dispatcher.feeds.cap_tables import ROOTS, VERSIONS

LIST_NAMES = frozenset(f"{{{space}}}alerts" for space in VERSIONS)
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


def is_envelope(root: etree._Element) -> bool:
    """Whether a root element is one of these, and not an alert or something else."""
    return root.tag in ROOT_NAMES or (root.tag in LIST_NAMES and any(child.tag in ROOTS for child in root))


def opened(root: etree._Element) -> Envelope:
    """What an envelope holds; without any alert or with more than ALERTS_MAX it is an error."""
    if root.tag in LIST_NAMES:
        return _listed(root)
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
    return _counted(alerts, status, problems, "contentObject")


def _listed(root: etree._Element) -> Envelope:
    """The alerts of an `alerts` element, which says nothing itself."""
    sentence = "The element alerts is not of CAP; the alerts in it were read."
    problems = [Problem("warning", "alerts_wrapped", "alerts", sentence)]
    alerts = [child for child in root if child.tag in ROOTS]
    if len(alerts) < len(root):
        problems.append(Problem("warning", "content_left_out", "alerts", "What is no CAP alert was left out."))
    return _counted(alerts, "", problems, "alerts")


def _counted(alerts: list[etree._Element], status: str, problems: list[Problem], where: str) -> Envelope:
    if not alerts:
        problems.append(Problem("error", "envelope_empty", where, "The envelope holds no CAP alert."))
    if len(alerts) > ALERTS_MAX:
        problems.append(Problem("error", "too_many", where, f"The envelope holds more than {ALERTS_MAX} alerts."))
        alerts = []
    return Envelope(tuple(alerts), status, tuple(problems))
