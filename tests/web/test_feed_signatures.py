"""XML signatures over the intake: evidence on every signal, and a condition where the feed's enrolment says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests import builders
from tests.builders import StoppedClock
from tests.signing import NOW, certified, signed
from tests.web.api import Api, refusal

ALERT = builders.cap_alert()
PEM = certified("met").public_bytes(Encoding.PEM).decode()
OLD_PEM = certified("rsa2048").public_bytes(Encoding.PEM).decode()


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api(builders.town(clock=StoppedClock(int(NOW.timestamp()) * 1_000_000)))
    with api.client:
        yield api


def evidence(api: Api, raw: bytes) -> list[tuple[str, list[str]]]:
    """The signature and the problems that an incident's page shows of each of its signals."""
    answer = api.cap(raw)
    assert answer.status_code == 202, answer.text
    story = api.get("duty", f"/api/incidents/{answer.json()['signals'][0]['incident']}").json()
    return [(s["signature"], [p["code"] for p in s["problems"]]) for s in story["signals"]]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (signed(ALERT, "met"), ("valid", [])),
        (ALERT, ("unsigned", [])),
        (signed(ALERT, "fire"), ("unknown_signer", ["signature_unknown_signer"])),
        (signed(ALERT, "met").replace(b"Extreme", b"Severe"), ("invalid", ["signature_invalid"])),
    ],
)
def test_what_a_signature_proves_stands_on_the_signal(api: Api, raw: bytes, shown: tuple[str, list[str]]) -> None:
    api.enrol_feed(certificates=(PEM,))
    assert evidence(api, raw) == [shown]


def test_a_feed_without_certificates_is_not_asked_for_a_signature(api: Api) -> None:
    api.enrol_feed()
    assert evidence(api, signed(ALERT, "met")) == [("", [])]


def test_a_weak_signature_shows_as_weak_where_it_is_allowed(api: Api) -> None:
    api.enrol_feed(certificates=(OLD_PEM,), weak_signatures=True, signature_required=True)
    assert evidence(api, signed(ALERT, "rsa2048", old=True)) == [("weak", ["signature_weak"])]


@pytest.mark.parametrize("raw", [ALERT, signed(ALERT, "fire"), signed(ALERT, "met").replace(b"Extreme", b"Severe")])
def test_a_feed_that_must_be_signed_takes_nothing_else_and_keeps_it_as_unread(api: Api, raw: bytes) -> None:
    api.enrol_feed(certificates=(PEM,), signature_required=True)
    answer = api.cap(raw)
    assert refusal(answer) == (422, "not_read")
    assert answer.json()["errors"][0]["code"] == "signature_required"
    assert [row["reason"] for row in api.get("duty", "/api/unread").json()["unread"]] == ["signature_required"]


def test_a_weak_signature_is_none_where_it_is_not_allowed(api: Api) -> None:
    api.enrol_feed(certificates=(OLD_PEM,), signature_required=True)
    assert refusal(api.cap(signed(ALERT, "rsa2048", old=True))) == (422, "not_read")


def test_a_repeated_alert_may_come_with_and_without_its_signature(api: Api) -> None:
    api.enrol_feed(certificates=(PEM,))
    assert api.cap(ALERT).json()["signals"][0]["repeated"] is False
    assert api.cap(signed(ALERT, "met")).json()["signals"][0]["repeated"] is True
