"""Plain JSON reports: one or a list, strict in form, and the published schema admits exactly what the reader takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from devices.protocols.selector import Circle
from services.dispatcher.domain.signals import Evidence, Feed, Place, Problem, Signal, SignalKind, Use
from services.dispatcher.feeds.plain import PLAIN_BYTES_MAX, REPORTS_MAX, SCHEMA, reading

FEED = Feed("fire", "消防", "消防救援部门", "plain", Use.ACTUAL, "", "210200000000")
EIGHT_US = 1_782_864_000_000_000
REPORT: dict[str, Any] = {
    "id": "2026-0007",
    "kind": "alert",
    "hazard": "火灾",
    "level": 2,
    "headline": "商场火情",
    "description": "三层起火",
    "observed": "2026-07-01T08:00:00+08:00",
    "expires": "2026-07-01T04:00:00Z",
    "areas": ["210202", "210202001"],
    "venue": "dl-slgc",
    "places": ["胜利广场"],
    "position": {"lat": 38.92, "lon": 121.63, "radius_m": 300},
    "device": "unit-3",
    "status": "actual",
}
SIGNAL = Signal(
    key="plain/fire/2026-0007",
    reporter="fire",
    use=Use.ACTUAL,
    kind=SignalKind.ALERT,
    evidence=Evidence.AUTHORITY,
    hazard="fire",
    event_code="12B00",
    place=Place("dl-slgc", ("210202000000", "210202001000"), (Circle(389_200_000, 1_216_300_000, 300),), ("胜利广场",)),
    observed_us=EIGHT_US,
    received_us=EIGHT_US,
    claimed_level=2,
    device="unit-3",
    headline="商场火情",
    description="三层起火",
    expires_us=EIGHT_US + 4 * 3_600_000_000,
)
VALIDATOR = Draft202012Validator(SCHEMA)


def read(body: object) -> tuple[tuple[Signal, ...], list[tuple[str, str]]]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = reading(raw, FEED, EIGHT_US)
    return found.signals, [(problem.code, problem.where) for problem in found.problems]


def less(*names: str, **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (REPORT | changes).items() if name not in names}


def test_a_report_alone_or_in_a_list_becomes_a_whole_signal() -> None:
    assert read(REPORT) == read([REPORT]) == ((SIGNAL,), [])


def test_the_schema_is_one_and_admits_the_example() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert VALIDATOR.is_valid(REPORT) and VALIDATOR.is_valid([REPORT])


def test_the_example_of_the_published_page_is_accepted() -> None:
    page = (Path(__file__).parents[2] / "docs" / "feeds.md").read_text(encoding="utf-8")
    example = json.loads(page.partition("```json\n")[2].partition("```")[0])
    (signal,), problems = read(example)
    assert (signal.key, problems, VALIDATOR.is_valid(example)) == ("plain/fire/2026-0007", [], True)


@pytest.mark.parametrize(
    ("body", "code", "where"),
    [
        (less("id"), "member_missing", "report 1.id"),
        (less("kind"), "member_missing", "report 1.kind"),
        (less("hazard"), "member_missing", "report 1.hazard"),
        (less("headline"), "member_missing", "report 1.headline"),
        (less("observed"), "member_missing", "report 1.observed"),
        (less(kind="update"), "member_missing", "report 1.references"),
        (less(kind="cancel"), "member_missing", "report 1.references"),
        (less(kind="ALERT"), "value_unknown", "report 1.kind"),
        (less(kind=None), "value_unknown", "report 1.kind"),
        (less(id="a b"), "bad_id", "report 1.id"),
        (less(id="x" * 65), "bad_id", "report 1.id"),
        (less(id=7), "bad_id", "report 1.id"),
        (less(level=0), "out_of_range", "report 1.level"),
        (less(level="2"), "out_of_range", "report 1.level"),
        (less(level=True), "out_of_range", "report 1.level"),
        (less(level=1.5), "out_of_range", "report 1.level"),
        (less(observed="2026-07-01 08:00"), "bad_time", "report 1.observed"),
        (less(observed="2026-02-30T08:00:00Z"), "bad_time", "report 1.observed"),
        (less(observed="0001-01-01T00:00:00Z"), "bad_time", "report 1.observed"),
        (less(expires=7), "bad_time", "report 1.expires"),
        (less(areas=["2102"]), "bad_area_code", "report 1.areas"),
        (less(areas="210202"), "wrong_type", "report 1.areas"),
        (less(areas=["210202"] * 101), "wrong_type", "report 1.areas"),
        (less(places=[""]), "wrong_type", "report 1.places"),
        (less(position={"lat": 38.9}), "member_missing", "report 1.position.lon"),
        (less(position={"lat": 91, "lon": 0}), "out_of_range", "report 1.position.lat"),
        (less(position={"lat": 1, "lon": 1, "alt": 1}), "member_unknown", "report 1.position"),
        (less(position=[38.9, 121.6]), "wrong_type", "report 1.position"),
        (less(references=[]), "wrong_type", "report 1.references"),
        (less(headline="x" * 401), "wrong_type", "report 1.headline"),
        (less(severity=1), "member_unknown", "report 1"),
        ("text", "wrong_type", "report 1"),
        (None, "wrong_type", "report 1"),
        ([], "count_out_of_range", ""),
        ([REPORT] * (REPORTS_MAX + 1), "count_out_of_range", ""),
    ],
)
def test_what_the_form_does_not_admit_is_refused_where_it_stands(body: object, code: str, where: str) -> None:
    assert read(body) == ((), [(code, where)])


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "empty"),
        (b"{", "json_malformed"),
        (b"\xff", "bad_encoding"),
        (b" " * (PLAIN_BYTES_MAX + 1) + b"1", "too_large"),
        (b"[" * 10_000, "json_too_deep"),
        (b'{"a":' * 10_000, "json_too_deep"),
        (b'{"id": 1, "id": 2}', "member_twice"),
        (b'{"level": NaN}', "number_out_of_range"),
        (b'{"level": -Infinity}', "number_out_of_range"),
        (b'{"level": 1e999}', "number_out_of_range"),
        (b'{"level": ' + b"1" * 10_000 + b"}", "number_out_of_range"),
    ],
)
def test_what_is_no_json_of_one_meaning_is_refused_with_one_sentence(raw: bytes, code: str) -> None:
    found = reading(raw, FEED, EIGHT_US)
    assert (found.signals, [problem.code for problem in found.problems]) == ((), [code])
    assert found.problems[0].message.endswith(".")


def test_a_bad_report_takes_no_other_with_it() -> None:
    assert read([less("id"), REPORT, REPORT]) == (
        (SIGNAL,),
        [("member_missing", "report 1.id"), ("id_twice", "report 3")],
    )


def test_a_cancel_needs_only_what_it_takes_back() -> None:
    body = {"id": "8", "kind": "cancel", "observed": "2026-07-01T00:00:00Z", "references": ["2026-0007"]}
    (cancel,), problems = read(body)
    assert (cancel.kind, cancel.key, cancel.references, problems) == (
        SignalKind.CANCEL,
        "plain/fire/8",
        ("plain/fire/2026-0007",),
        [],
    )


def test_a_hazard_that_is_not_known_goes_to_people() -> None:
    found = reading(json.dumps(less(hazard="食物中毒")).encode(), FEED, EIGHT_US)
    assert [(signal.kind, signal.hazard) for signal in found.signals] == [(SignalKind.ALERT, "other")]
    assert found.problems == (
        Problem("warning", "hazard_unknown", "report 1", "The report names none of the known hazards."),
    )


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 600), st.floats(-200, 200), st.text(max_size=5))
    | st.sampled_from(["alert", "cancel", "210202", "2026-07-01T00:00:00Z", "fire", "a-1", "test"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["lat", "lon", "radius_m", "x"]), inner, max_size=3)
    ),
    max_leaves=4,
)
CHANGES = st.dictionaries(st.sampled_from([*REPORT, "references", "unknown"]), VALUES, max_size=3)


@settings(max_examples=300, deadline=None)
@given(CHANGES, st.sets(st.sampled_from(list(REPORT)), max_size=2))
def test_the_reader_takes_what_the_schema_admits_and_nothing_else(changes: dict[str, Any], absent: set[str]) -> None:
    body = less(*absent, **changes)
    _, problems = read(body)
    refused = [code for code, _ in problems if code not in ("hazard_unknown", "reference_missing")]
    form = [code for code in refused if code in FORM_CODES]
    # The schema leaves times to their format, which validators may pass over.
    if "bad_time" not in form:
        assert (not form) == VALIDATOR.is_valid(body), (body, problems)


FORM_CODES = ("member_missing", "member_unknown", "value_unknown", "bad_id", "out_of_range", "bad_time") + (
    "bad_area_code",
    "wrong_type",
)
