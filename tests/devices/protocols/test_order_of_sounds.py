"""The order of sounds: its sentences one by one, and for any set of orders against the page followed by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.protocols.documents import Order, OrderClass, OrderState, Phase
from devices.protocols.order_of_sounds import Contender, order_of_sounds
from devices.protocols.selector import Selector
from devices.protocols.speaker_link import area_height, parse_manifest_topic
from tests.data.speaker_link import make

MINUTE = 60_000_000
NOON = 1_800_000_000_000_000
DAILY = OrderClass.DAILY
RED, ORANGE, YELLOW, BLUE = 1, 2, 3, 4


def order(id: str, level: int = ORANGE, minute: int = 0, **changes: Any) -> Order:
    members: dict[str, Any] = {
        "id": id, "rev": 1, "status": "actual", "order_class": OrderClass.EMERGENCY, "level": level,
        "event_code": "11B03", "phase": Phase.ALERT, "texts": {"zh": "暴雨。"}, "audio": (), "selector": Selector(),
        "volume": 60, "repeat": 1, "gap_s": 5, "start_at": NOON + minute * MINUTE, "expires": NOON + 600 * MINUTE,
        "state": OrderState.IN_FORCE,
    }  # fmt: skip
    return Order(**(members | changes))


def alert(id: str, level: int = ORANGE, minute: int = 0, height: int = 2, **changes: Any) -> Contender:
    return Contender(order(id, level, minute, **changes), height)


def follows(original: Contender, phase: Phase, minute: int, id: str = "") -> Contender:
    """A correction or an all-clear of an alert, in words of its own: level and class are those of the original."""
    o = original.order
    name = id or f"{phase.replace('_', '-')}-of-{o.id}"
    made = order(name, BLUE, minute, status=o.status, phase=phase, corrects=o.id, order_class=o.order_class)
    return Contender(made, original.height, o)


def correction(original: Contender, minute: int = 9, id: str = "") -> Contender:
    return follows(original, Phase.CORRECTION, minute, id)


def all_clear(original: Contender, minute: int = 9, id: str = "") -> Contender:
    return follows(original, Phase.ALL_CLEAR, minute, id)


def ids(*contenders: Contender) -> list[str]:
    return [c.order.id for c in order_of_sounds(contenders)]


def drill(id: str, level: int = ORANGE, minute: int = 0, **changes: Any) -> Contender:
    return alert(id, level, minute, status="exercise", **changes)


# Class, use, level, area, age


def test_an_emergency_goes_before_a_daily_item_whatever_their_levels() -> None:
    assert ids(alert("news", RED, 5, order_class=DAILY), alert("rain", BLUE)) == ["rain", "news"]


def test_an_actual_emergency_goes_before_a_drill() -> None:
    assert ids(drill("drill", RED, 5), alert("rain", BLUE)) == ["rain", "drill"]


def test_a_drill_goes_before_an_actual_daily_item() -> None:
    assert ids(alert("news", RED, 5, order_class=DAILY), drill("drill", BLUE)) == ["drill", "news"]


def test_an_actual_daily_item_goes_before_a_daily_item_of_a_drill() -> None:
    assert ids(drill("rehearsal", RED, 5, order_class=DAILY), alert("news", BLUE, order_class=DAILY)) == [
        "news",
        "rehearsal",
    ]


def test_red_goes_before_orange_before_yellow_before_blue() -> None:
    assert ids(alert("b", BLUE, 4), alert("y", YELLOW, 3), alert("o", ORANGE, 2), alert("r", RED, 1)) == [*"royb"]


def test_at_one_level_the_higher_area_goes_first_then_the_newer_order_then_the_greater_id() -> None:
    contenders = [alert("own", minute=9, height=-1), alert("street", minute=9, height=0), alert("city", height=2)]
    contenders += [alert("a", minute=1, height=2), alert("b", minute=1, height=2)]
    assert ids(*contenders) == ["b", "a", "city", "street", "own"]


# All-clears


def test_an_all_clear_stands_just_above_its_original() -> None:
    red = alert("red", RED)
    assert ids(alert("above", RED, 1), red, all_clear(red), alert("orange")) == [
        "above",
        "all-clear-of-red",
        "red",
        "orange",
    ]


def test_the_all_clear_of_a_red_alert_lets_a_newer_orange_alert_go_first() -> None:
    red = alert("red", RED)
    assert ids(all_clear(red, 5), alert("fire", ORANGE, 6)) == ["fire", "all-clear-of-red"]


def test_the_all_clear_of_a_red_alert_goes_before_an_older_orange_alert() -> None:
    red = alert("red", RED)
    assert ids(all_clear(red, 5), alert("fire", ORANGE, 4)) == ["all-clear-of-red", "fire"]


def test_an_alert_of_the_same_moment_is_not_newer() -> None:
    red = alert("red", RED)
    assert ids(all_clear(red, 5), alert("fire", ORANGE, 5)) == ["all-clear-of-red", "fire"]


def test_a_newer_daily_item_does_not_hold_an_all_clear_back() -> None:
    red = alert("red", RED)
    assert ids(all_clear(red, 5), alert("news", RED, 6, order_class=DAILY)) == ["all-clear-of-red", "news"]


def test_nothing_of_a_drill_or_of_a_programme_goes_before_an_actual_all_clear() -> None:
    blue = alert("blue", BLUE)
    drilled = drill("drill", RED, 20)
    programme = alert("news", RED, 21, order_class=DAILY)
    contenders = [drilled, correction(drilled, 22), programme, correction(programme, 23), all_clear(blue, 5)]
    assert ids(*contenders)[0] == "all-clear-of-blue"


def test_a_newer_drill_does_not_hold_an_actual_all_clear_back_nor_an_actual_alert_one_of_a_drill() -> None:
    red, drilled = alert("red", RED), drill("drill", RED)
    contenders = [all_clear(red, 5), drill("later", RED, 6), all_clear(drilled, 5), alert("fire", BLUE, 4)]
    assert ids(*contenders) == ["all-clear-of-red", "fire", "later", "all-clear-of-drill"]


def test_where_a_newer_blue_an_older_orange_and_a_red_all_clear_go_round_in_a_circle_the_all_clear_goes_last() -> None:
    red = alert("red", RED)
    contenders = [all_clear(red, 5), alert("older", ORANGE, 1), alert("newer", BLUE, 6)]
    assert ids(*contenders) == ["older", "newer", "all-clear-of-red"]


def test_an_all_clear_goes_below_the_lowest_of_the_newer_alerts_and_no_further() -> None:
    red = alert("red", RED)
    contenders = [all_clear(red, 5), alert("o", ORANGE, 6), alert("y", YELLOW, 7), alert("b", BLUE, 1)]
    assert ids(*contenders) == ["o", "y", "all-clear-of-red", "b"]


def test_two_all_clears_below_one_newer_alert_keep_their_own_sequence() -> None:
    red, orange = alert("red", RED), alert("orange", ORANGE)
    contenders = [all_clear(orange, 5), all_clear(red, 4), alert("newer", BLUE, 6)]
    assert ids(*contenders) == ["newer", "all-clear-of-red", "all-clear-of-orange"]


def test_an_all_clear_whose_alerts_are_all_over_is_back_in_the_place_of_its_original() -> None:
    red = alert("red", RED)
    older, newer, ended = alert("older", ORANGE, 1), alert("newer", BLUE, 6), all_clear(red, 5)
    assert ids(older, newer, ended)[-1] == "all-clear-of-red"
    assert ids(older, ended)[0] == "all-clear-of-red"


def test_the_all_clear_of_an_alert_that_begins_later_still_stands_above_that_alert() -> None:
    red = alert("red", RED, 30)
    assert ids(red, all_clear(red, 5)) == ["all-clear-of-red", "red"]


def test_so_does_that_of_a_higher_area() -> None:
    street = alert("red", RED, 30, height=0)
    city = replace(all_clear(street, 5), height=2)
    assert ids(street, city) == ["all-clear-of-red", "red"]


def test_an_all_clear_of_a_daily_item_gives_way_to_no_newer_daily_item_of_lower_level() -> None:
    news = alert("news", RED, order_class=DAILY)
    assert ids(all_clear(news, 5), alert("later", BLUE, 6, order_class=DAILY)) == ["all-clear-of-news", "later"]


def test_an_all_clear_of_an_unknown_alert_goes_by_its_own_level_and_class() -> None:
    lone = Contender(order("over", ORANGE, 5, phase=Phase.ALL_CLEAR, corrects="gone"), 2)
    assert ids(lone, alert("red", RED), alert("yellow", YELLOW), alert("new", BLUE, 6)) == [
        "red",
        "yellow",
        "new",
        "over",
    ]
    assert ids(lone, alert("red", RED), alert("yellow", YELLOW)) == ["red", "over", "yellow"]


def test_an_all_clear_has_the_class_of_its_original() -> None:
    news = alert("news", RED, order_class=DAILY)
    claims = Contender(order("over", RED, 5, phase=Phase.ALL_CLEAR, corrects="news"), 2, news.order)
    assert ids(claims, alert("blue", BLUE)) == ["blue", "over"]


# Corrections


def test_a_correction_takes_the_place_of_its_original_and_stands_just_above_it() -> None:
    orange = alert("orange")
    contenders = [alert("red", RED), alert("later", ORANGE, 1), orange, correction(orange), alert("yellow", YELLOW)]
    assert ids(*contenders) == ["red", "later", "correction-of-orange", "orange", "yellow"]


def test_a_correction_does_not_wait_for_an_alert_that_is_newer_than_it() -> None:
    blue = alert("blue", BLUE)
    assert ids(correction(blue, 5), alert("fire", RED, 6)) == ["correction-of-blue", "fire"]


def test_a_correction_waits_for_a_graver_alert_that_was_there_before_it() -> None:
    blue = alert("blue", BLUE)
    assert ids(correction(blue, 5), alert("fire", RED, 4)) == ["fire", "correction-of-blue"]


def test_a_correction_goes_before_every_all_clear_of_its_use_and_class() -> None:
    red, blue = alert("red", RED), alert("blue", BLUE)
    for minute in (4, 6):
        assert ids(all_clear(red, 5), correction(blue, minute)) == ["correction-of-blue", "all-clear-of-red"]


def test_a_correction_of_a_daily_item_gives_way_to_every_emergency_and_one_of_a_drill_to_what_is_actual() -> None:
    news, drilled = alert("news", RED, order_class=DAILY), drill("drill", RED)
    contenders = [correction(news, 5), correction(drilled, 5), alert("rain", BLUE, 6)]
    assert ids(*contenders) == ["rain", "correction-of-drill", "correction-of-news"]


def test_corrections_above_one_newer_alert_keep_the_sequence_of_their_originals() -> None:
    blue, yellow = alert("blue", BLUE), alert("yellow", YELLOW)
    assert ids(correction(blue, 5), alert("fire", RED, 6), correction(yellow, 4)) == [
        "correction-of-yellow",
        "correction-of-blue",
        "fire",
    ]


def test_a_correction_above_a_lowered_all_clear_stays_below_the_alerts_that_were_there_before_it() -> None:
    red, blue = alert("red", RED), alert("blue", BLUE)
    contenders = [all_clear(red, 3), alert("yellow", YELLOW, 4), correction(blue, 5)]
    assert ids(*contenders) == ["yellow", "correction-of-blue", "all-clear-of-red"]


# The published vectors

CASES: list[dict[str, Any]] = json.loads((Path(make.__file__).parent / "order_of_sounds.json").read_text("utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_vector(case: dict[str, Any]) -> None:
    """Read as another maker would: height from the stream, the original from whatever is known."""
    known = {o["id"]: o for o in (*case["may_sound"], *case["over"])}

    def made(members: dict[str, Any]) -> Order:
        changes = {name: value for name, value in members.items() if name != "stream"}
        changes["phase"], changes["order_class"] = Phase(changes["phase"]), OrderClass(changes["order_class"])
        return replace(make.ORDER, **changes)

    def contender(members: dict[str, Any]) -> Contender:
        original = known.get(members.get("corrects", ""))
        streams = [o["stream"] for o in (members, original) if o is not None]
        height = max(area_height(make.CONFIG, parse_manifest_topic(stream)) for stream in streams)
        return Contender(made(members), height, made(original) if original else None)

    contenders = [contender(members) for members in case["may_sound"]]
    sequence = [f"{c.order.status}/{c.order.id}" for c in order_of_sounds(contenders)]
    assert sequence == case["sequence"]
    assert [f"{c.order.status}/{c.order.id}" for c in by_hand(contenders)] == sequence


# Any set of orders


def outranks(one: Contender, other: Contender) -> bool:
    """Whether `one` goes before `other` by class, use, level, area and age, those of their originals where known."""
    mine, its = one.original or one.order, other.original or other.order
    if mine.order_class is not its.order_class:
        return mine.order_class is OrderClass.EMERGENCY
    if one.order.status != other.order.status:
        return one.order.status == "actual"
    if mine.level != its.level:
        return mine.level < its.level
    if one.height != other.height:
        return one.height > other.height
    if mine.start_at != its.start_at:
        return mine.start_at > its.start_at
    if mine.id != its.id:
        return mine.id > its.id
    return (one.order.start_at, one.order.id) > (other.order.start_at, other.order.id)


def lowest_first(contenders: Sequence[Contender]) -> list[Contender]:
    row: list[Contender] = []
    for c in contenders:
        row.insert(sum(outranks(c, other) for other in row), c)
    return row


def same_kind(one: Contender, other: Contender) -> bool:
    classes = {(c.original or c.order).order_class for c in (one, other)}
    return one.order.status == other.order.status and len(classes) == 1


def by_hand(contenders: Sequence[Contender]) -> list[Contender]:
    """The sequence as somebody would lay it out with cards, the lowest first: alerts, all-clears, then corrections."""
    of = {phase: lowest_first([c for c in contenders if c.order.phase is phase]) for phase in Phase}
    row = list(of[Phase.ALERT])
    in_place = list(row)

    def just_above(below: Sequence[Contender]) -> int:
        """The gap above the uppermost of these cards."""
        return max((row.index(c) + 1 for c in below), default=0)

    for c in of[Phase.ALL_CLEAR]:
        newer = [
            a for a in of[Phase.ALERT]
            if same_kind(a, c) and a.order.start_at > c.order.start_at and a.order.id != c.order.corrects
        ]  # fmt: skip
        emergency = (c.original or c.order).order_class is OrderClass.EMERGENCY
        if emergency and newer and not outranks(newer[0], c):
            row.insert(row.index(newer[0]), c)
        else:
            row.insert(just_above([p for p in in_place if p.order.id == c.order.corrects or outranks(c, p)]), c)
            in_place.append(c)
    for c in of[Phase.CORRECTION]:
        natural = [p for p in in_place if p.order.id == c.order.corrects or outranks(c, p)]
        never = [
            o for o in row
            if same_kind(o, c)
            and (o.order.phase is Phase.ALL_CLEAR
                 or (o.order.phase is Phase.ALERT and o.order.start_at > c.order.start_at))
        ]  # fmt: skip
        at = max(just_above(natural), just_above(never))
        while at < len(row) and row[at].order.phase is Phase.CORRECTION and outranks(c, row[at]):
            at += 1
        row.insert(at, c)
    return row[::-1]


@st.composite
def sets(draw: st.DrawFn) -> list[Contender]:
    """Up to ten orders of few levels, areas and times, so that much is equal; some originals are over and not there."""
    alerts = [
        Contender(
            order(
                id,
                draw(st.integers(1, 3)),
                draw(st.integers(0, 3)),
                status=draw(st.sampled_from(["actual", "exercise"])),
                order_class=draw(st.sampled_from([OrderClass.EMERGENCY, OrderClass.EMERGENCY, DAILY])),
            ),
            draw(st.integers(-1, 1)),
        )
        for id in draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5, unique=True))
    ]
    found = [a for a in alerts if draw(st.booleans())]
    for id in draw(st.lists(st.sampled_from("ghijk"), max_size=5, unique=True)):
        original = draw(st.sampled_from(alerts))
        phase = draw(st.sampled_from([Phase.ALL_CLEAR, Phase.CORRECTION]))
        made = follows(original, phase, draw(st.integers(0, 3)), id)
        if original not in found and draw(st.booleans()):
            made = Contender(made.order, draw(st.integers(-1, 1)))
        found.append(made)
    return found


ANY = settings(max_examples=300, deadline=None, derandomize=True)


@ANY
@given(sets(), st.randoms(use_true_random=False))
def test_any_set_has_one_sequence_whatever_the_order_of_arrival(contenders: list[Contender], chance: Any) -> None:
    sequence = order_of_sounds(contenders)
    assert sorted(map(id, sequence)) == sorted(map(id, contenders))
    shuffled = list(contenders)
    chance.shuffle(shuffled)
    assert order_of_sounds(shuffled) == sequence


@ANY
@given(sets())
def test_any_set_goes_as_the_page_followed_by_hand(contenders: list[Contender]) -> None:
    assert ids(*contenders) == [c.order.id for c in by_hand(contenders)]


@ANY
@given(sets())
def test_in_any_set_every_sentence_holds(contenders: list[Contender]) -> None:
    """Of the sequence alone: what stands above what. A sequence is transitive by itself."""
    sequence = order_of_sounds(contenders)
    for place, higher in enumerate(sequence):
        for lower in sequence[place + 1 :]:
            assert not (lower.emergency and not higher.emergency)
            if higher.emergency == lower.emergency:
                assert not (lower.order.status == "actual" and higher.order.status == "exercise")
            if not same_kind(higher, lower):
                continue
            newer = lower.order.start_at > higher.order.start_at
            match higher.order.phase, lower.order.phase:
                case Phase.ALERT, Phase.ALERT:
                    assert outranks(higher, lower)
                case Phase.ALL_CLEAR, Phase.ALERT:
                    assert not (higher.emergency and newer) or higher.order.corrects == lower.order.id
                case Phase.ALL_CLEAR, Phase.CORRECTION:
                    raise AssertionError("a correction waits for an all-clear")
                case Phase.ALERT, Phase.CORRECTION:
                    assert higher.order.start_at <= lower.order.start_at


@ANY
@given(sets())
def test_without_anything_newer_followers_stand_where_their_originals_rank(contenders: list[Contender]) -> None:
    """An all-clear is lowered, and a correction raised, by something that is there, and never without."""
    followers = [c for c in contenders if c.order.phase is not Phase.ALERT]
    for c in followers:
        older = [o for o in contenders if o.order.phase is Phase.ALERT and o.order.start_at <= c.order.start_at]
        sequence = order_of_sounds([*older, c])
        at = sequence.index(c)
        assert all(outranks(o, c) for o in sequence[:at])
        assert all(outranks(c, o) or o.order.id == c.order.corrects for o in sequence[at + 1 :])
