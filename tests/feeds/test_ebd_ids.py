"""Identifiers of the emergency broadcast system, both generations."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.feeds.ebd_ids import (
    BadId,
    Ebdid,
    Ebmid,
    Ebrid18,
    Ebrid23,
    parse_ebdid,
    parse_ebmid,
    parse_ebrid,
)


def digits(count: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=count, max_size=count)


OLD = st.builds(Ebrid18, digits(2), digits(2), digits(12), digits(2))
NEW = st.builds(Ebrid23, st.integers(1, 6), digits(12), digits(4), digits(2), digits(2), digits(2))
EBRIDS = st.one_of(OLD, NEW)


def test_an_old_resource_code_is_taken_apart() -> None:
    assert parse_ebrid("010233110000000001") == Ebrid18("01", "02", "331100000000", "01")


def test_a_new_resource_code_is_taken_apart() -> None:
    assert parse_ebrid("43415230000000314010301") == Ebrid23(4, "341523000000", "0314", "01", "03", "01")


def test_packet_and_order_ids_of_both_generations_are_taken_apart() -> None:
    new, old = Ebrid23(4, "210200000000", "0101", "01", "01", "01"), Ebrid18("01", "02", "331100000000", "01")
    assert parse_ebdid("10421020000000001010101010000000000000001") == Ebdid("10", new, 1)
    assert parse_ebdid("010102331100000000010000000000000000") == Ebdid("01", old, 0)
    assert parse_ebmid("42102000000000101010101202611200001") == Ebmid(new, date(2026, 11, 20), 1)
    assert parse_ebmid("010233110000000001202607010001") == Ebmid(old, date(2026, 7, 1), 1)


@given(EBRIDS, digits(2), st.integers(0, 10**16 - 1), st.dates(), st.integers(0, 9_999))
def test_what_is_built_is_parsed_back(source: Ebrid18 | Ebrid23, type: str, seq: int, day: date, day_seq: int) -> None:
    packet, order = Ebdid(type, source, seq), Ebmid(source, day, day_seq)
    assert (parse_ebrid(str(source)), parse_ebdid(str(packet)), parse_ebmid(str(order))) == (source, packet, order)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "01023311000000000",
        "0102331100000000011",
        "０10233110000000001",
        "01023311000000000a",
        "9" * 23,
        "0" * 23,
    ],
)
def test_what_is_no_resource_code_is_refused_by_code(text: str) -> None:
    with pytest.raises(BadId) as refused:
        parse_ebrid(text)
    assert refused.value.code == "id_malformed"


@given(st.text(max_size=50))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for parse in (parse_ebrid, parse_ebdid, parse_ebmid):
        try:
            assert str(parse(text)) == text
        except BadId:
            continue


def test_an_order_id_with_an_impossible_day_is_refused() -> None:
    with pytest.raises(BadId):
        parse_ebmid("010233110000000001202602300001")


def test_sequences_that_do_not_fit_are_refused() -> None:
    source = parse_ebrid("010233110000000001")
    with pytest.raises(BadId):
        Ebdid("10", source, 10**16)
    with pytest.raises(BadId):
        Ebmid(source, date(2026, 7, 1), 10_000)
