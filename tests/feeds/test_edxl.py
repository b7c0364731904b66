"""EDXL-DE envelopes: every alert inside counts, the envelope can only lower them, and what is bad is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.dispatcher.domain.signals import Feed, SignalKind, Use
from services.dispatcher.feeds.cap import read, reading

DATA = Path(__file__).parents[1] / "data" / "cap"
SPACE = "urn:oasis:names:tc:emergency:EDXL:DE:1.0"
FEED = Feed("met", "", "", "cap", Use.ACTUAL, "", "")
SENT_US = 1_782_864_000_000_000
WHOLE = (DATA / "whole.xml").read_text(encoding="utf-8").split("?>", 1)[1]
TWO = WHOLE.replace("whole-0001", "whole-0002")


def envelope(*contents: str, status: str = "Actual", space: str = SPACE, root: str = "EDXLDistribution") -> bytes:
    objects = "".join(
        f"<contentObject><xmlContent><embeddedXMLContent>{content}</embeddedXMLContent></xmlContent></contentObject>"
        for content in contents
    )
    head = f"<distributionID>d</distributionID><distributionStatus>{status}</distributionStatus>"
    return f'<{root} xmlns="{space}">{head}{objects}</{root}>'.encode()


def codes(raw: bytes) -> list[tuple[str, str]]:
    return [(problem.code, problem.where) for problem in read(raw).problems]


def test_every_alert_of_an_envelope_becomes_its_signals() -> None:
    found = reading(envelope(WHOLE, TWO), FEED, SENT_US)
    assert [signal.key for signal in found.signals] == [
        f"cap/met/met.example.cn,whole-0001,{SENT_US}",
        f"cap/met/met.example.cn,whole-0002,{SENT_US}",
    ]
    assert found.problems == ()


def test_the_second_version_wraps_alerts_too() -> None:
    space = "urn:oasis:names:tc:emergency:EDXL:DE:2.0"
    raw = envelope(WHOLE, space=space, root="edxlDistribution").replace(b"contentObject", b"content")
    assert [message.identifier for message in read(raw).messages] == ["whole-0001"]


def test_alerts_that_an_office_lists_in_one_element_are_read_and_the_element_is_named() -> None:
    raw = f'<alerts xmlns="urn:oasis:names:tc:emergency:cap:1.2">{WHOLE}{TWO}<other/></alerts>'.encode()
    found = read(raw)
    assert [message.identifier for message in found.messages] == ["whole-0001", "whole-0002"]
    assert codes(raw) == [("alerts_wrapped", "alerts"), ("content_left_out", "alerts")]


@pytest.mark.parametrize(
    ("outer", "inner", "use", "kind"),
    [
        ("Actual", "Actual", Use.ACTUAL, SignalKind.ALERT),
        ("Exercise", "Actual", Use.EXERCISE, SignalKind.ALERT),
        ("Actual", "Exercise", Use.EXERCISE, SignalKind.ALERT),
        ("Test", "Exercise", Use.ACTUAL, SignalKind.INFO),
        ("Exercise", "Test", Use.ACTUAL, SignalKind.INFO),
        ("System", "Actual", Use.ACTUAL, SignalKind.INFO),
    ],
)
def test_the_lower_of_both_statuses_counts(outer: str, inner: str, use: Use, kind: SignalKind) -> None:
    raw = envelope(WHOLE.replace("<status>Actual", f"<status>{inner}"), status=outer)
    (signal,) = reading(raw, FEED, SENT_US).signals
    assert (signal.use, signal.kind) == (use, kind)


def test_one_bad_alert_is_named_and_keeps_no_good_one_back() -> None:
    raw = envelope(WHOLE, TWO.replace("<severity>Severe", "<severity>High"))
    found = read(raw)
    assert found.message is None
    assert [(problem.code, problem.where) for problem in found.problems] == [
        ("value_unknown", "content[2]/info[1]/severity")
    ]
    assert [signal.key for signal in reading(raw, FEED, SENT_US).signals] == [
        f"cap/met/met.example.cn,whole-0001,{SENT_US}"
    ]


def test_a_repeated_alert_is_one_and_a_changed_one_under_the_same_name_is_refused() -> None:
    assert [message.identifier for message in read(envelope(WHOLE, WHOLE)).messages] == ["whole-0001"]
    assert codes(envelope(WHOLE, WHOLE)) == []
    changed = WHOLE.replace("五十毫米", "一百毫米")
    assert codes(envelope(WHOLE, changed)) == [("identifier_repeated", "content[2]/alert/identifier")]
    assert "五十毫米" in read(envelope(WHOLE, changed)).messages[0].infos[0].description


@pytest.mark.parametrize(
    ("raw", "problems"),
    [
        (envelope(), [("envelope_empty", "contentObject")]),
        (envelope("<x/>"), [("envelope_empty", "contentObject"), ("content_left_out", "contentObject")]),
        (envelope(WHOLE, "text"), [("content_left_out", "contentObject")]),
        (envelope(*["<alert xmlns='urn:oasis:names:tc:emergency:cap:1.2'/>"] * 65), [("too_many", "contentObject")]),
        (envelope(WHOLE, status="Perhaps"), [("value_unknown", "distributionStatus")]),
    ],
)
def test_an_envelope_says_what_is_wrong_with_it(raw: bytes, problems: list[tuple[str, str]]) -> None:
    assert codes(raw) == problems


def test_nothing_in_an_envelope_of_unknown_status_is_aired() -> None:
    (signal,) = reading(envelope(WHOLE, status="Perhaps"), FEED, SENT_US).signals
    assert signal.kind is SignalKind.INFO
