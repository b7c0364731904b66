"""Whatever a stranger sends in these formats, the answer is signals or sentences, never an exception."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.dispatcher.domain.signals import Datum, Feed, Reading, Use
from services.dispatcher.feeds import FEEDS
from services.dispatcher.feeds.detect import detect
from services.dispatcher.feeds.report import FUTURE_ALLOWED_US
from services.dispatcher.feeds.table_columns import COLUMNS

DATA = Path(__file__).parents[1] / "data"
FORMATS = ("alertmanager", "plain", "table")
NOW_US = 1_782_864_000_000_000
NAMES = ["alerts", "labels", "annotations", "status", "state", "startsAt", "endsAt", "fingerprint", "ruleName", "tags"]
NAMES += ["hazard", "alertname", "severity", "area", "lat", "lon", "id", "kind", "observed", "position", "references"]
NAMES += ["rows", "areas", "places", "truncatedAlerts", *(name for column in COLUMNS for name in column.names[:2])]
WORDS = ["fire", "flood", "alert", "cancel", "firing", "resolved", "210202", "2026-07-01T08:00:00Z", "NaN", "1e999"]
WORDS += ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "\ud800", "\x00", "红", "46204.5", "２１０２０２"]

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=12,
)
CELLS = st.text(max_size=8) | st.sampled_from([*WORDS, *NAMES])
TABLES = st.lists(st.lists(CELLS, max_size=8).map(",".join), max_size=8).map("\n".join)


def feed(format: str) -> Feed:
    return Feed("any", "", "", format, Use.ACTUAL, "", "210200000000", datum=Datum.GCJ02)


def check(read: Reading) -> None:
    assert read.signals or any(problem.severity == "error" for problem in read.problems)
    assert len({signal.key for signal in read.signals}) == len(read.signals)
    for signal in read.signals:
        json.dumps(signal.headline, ensure_ascii=False).encode()
        assert 0 <= signal.observed_us <= NOW_US + FUTURE_ALLOWED_US
    for problem in read.problems:
        assert problem.code and problem.message.endswith((".", "。")) and problem.message.encode()


@pytest.mark.parametrize("format", FORMATS)
@settings(deadline=None)
@given(raw=st.binary(max_size=200))
def test_any_bytes(format: str, raw: bytes) -> None:
    check(FEEDS[format](raw, feed(format), NOW_US))


@pytest.mark.parametrize("format", FORMATS)
@settings(deadline=None, max_examples=200)
@given(tree=TREES)
def test_any_json(format: str, tree: object) -> None:
    check(FEEDS[format](json.dumps(tree).encode(), feed(format), NOW_US))


@settings(deadline=None, max_examples=200)
@given(TABLES, st.sampled_from(["utf-8", "gb18030", "utf-16"]))
def test_any_table(table: str, encoding: str) -> None:
    raw = ("编号,灾种,时间,级别,区划代码,纬度,经度\n" + table).encode(encoding, "replace")
    check(FEEDS["table"](raw, feed("table"), NOW_US))


@settings(deadline=None)
@given(st.binary(max_size=200) | TREES.map(lambda tree: json.dumps(tree).encode()))
def test_every_file_is_taken_for_some_format(raw: bytes) -> None:
    assert detect(raw) in FEEDS


@pytest.mark.parametrize("year", ["0001", "1008", "1969", "4052", "9999"])
@pytest.mark.parametrize(
    ("format", "sample"),
    [("cap", "cap/whole.xml"), ("alert12379", "alert12379/rainstorm_orange.xml"), ("ebd", "ebd/order.xml")],
)
def test_a_year_nobody_means_is_bounded(format: str, sample: str, year: str) -> None:
    raw = (DATA / sample).read_text(encoding="utf-8").replace(">2026-", f">{year}-").encode()
    check(FEEDS[format](raw, feed(format), NOW_US))


@pytest.mark.parametrize(
    ("raw", "format"),
    [
        (b"\xef\xbb\xbf<alert/>", "cap"),
        ("编号,灾种\n".encode("gb18030"), "table"),
        ("编号,灾种\n".encode("utf-16"), "table"),
        (b"PK\x03\x04", "table"),
        (b'{"alerts": []}', "alertmanager"),
        (b'[{"labels": {}}]', "alertmanager"),
        (b'{"ruleName": "x"}', "alertmanager"),
        (b'{"id": "1", "kind": "alert", "hazard": "fire", "observed": ""}', "plain"),
        (b'[{"id": "1", "hazard": "fire", "time": "2026-07-01"}]', "table"),
        ('[{"编号": "1", "灾种": "火灾"}]'.encode(), "table"),
        (b'{"rows": []}', "table"),
        (b"[", "plain"),
        (b"[" * 10_000, "plain"),
    ],
)
def test_a_file_is_told_by_how_it_begins(raw: bytes, format: str) -> None:
    assert detect(raw) == format
