"""Room on a stream: every alert keeps what it needs to be ended, and what is full says so before anybody releases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from devices.protocols.documents import (
    MANIFEST_BYTES_MAX,
    MANIFEST_ORDERS_MAX,
    Audio,
    Manifest,
    OrderState,
    Phase,
    Receipt,
    Step,
    StepKind,
)
from services.dispatcher.domain.broadcasts import Broadcast, BroadcastState, Resumed, Stopped, whole_order, wire_order
from services.dispatcher.domain.incidents import Verdict
from services.dispatcher.domain.playbook import Playbook, Spoken
from services.dispatcher.domain.refusals import OverCap, WrongState
from services.dispatcher.engine.air import compared, endings, receipts, room
from services.dispatcher.engine.air.receipts import Arrived
from services.dispatcher.engine.air.room import Family, Taken
from services.dispatcher.engine.rows import Stream
from tests import builders
from tests.builders import DUTY, SECOND_US, Town, storm_playbook, storm_signal
from tests.engine.signing import Keys, read, sign, states

ON_AIR, STOPPED, DRAFT, WITHDRAWN = (
    BroadcastState.ON_AIR, BroadcastState.STOPPED, BroadcastState.DRAFT, BroadcastState.WITHDRAWN,
)  # fmt: skip
HAZARDS_MAX = 12 * 40


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


def playbook_of(number: int, level: int = 3, words: int = 0, follower_words: int | None = None, **how: Any) -> Playbook:
    """A storm of its own hazard, so that it never joins another; followers as wordy as the alert where not said."""
    names = {"zh": f"灾害{number}", "en": f"hazard {number}"}
    after = _said(words if follower_words is None else follower_words)
    return storm_playbook(
        id=f"h{number}", hazard=f"h{number}", hazard_names=names, level_suspected=level, level_corroborated=level,
        spoken=Spoken(_said(words), after, after), corroborated_by=(), **how,
    )  # fmt: skip


def _said(words: int) -> dict[str, str]:
    return {"zh": "{place}" + "避" * words, "en": "{place}" + "x" * words}


def town_of(*books: Playbook) -> Town:
    return builders.town(playbooks=books)


def draft(town: Town, number: int) -> Broadcast:
    hazard = f"h{number}"
    return town.alert(town.signal(storm_signal(f"cap/{hazard}", hazard=hazard, claimed_level=None)))


def air(town: Town, number: int) -> Broadcast:
    alert = draft(town, number)
    return town.release(alert.id, *("li", "zhao")[: alert.people_needed])


def clear(town: Town, alert: Broadcast, phase: Phase = Phase.ALL_CLEAR) -> Broadcast:
    return town.release(town.follower(alert.id, phase).id, "wang")


def signed(town: Town, keys: Keys, alert: Broadcast) -> Manifest:
    return read(sign(town, alert.stream, keys), keys)


def heard(town: Town, broadcast: Broadcast, *kinds: StepKind) -> None:
    """Every speaker that it is meant for says this of it."""
    now_us = town.clock.now_us()
    with town.store.read() as look:
        rows = look.expected(broadcast.id)
    for row in rows:
        said = Receipt(
            f"j-{broadcast.id}", now_us, broadcast.id, broadcast.rev, tuple(Step(kind, now_us) for kind in kinds)
        )
        receipts.keep_receipts(town.store, [Arrived(row.speaker, said, b"{}")])


# What a release finds


def test_withdrawn_orders_are_stubs_from_the_revision_that_withdraws(keys: Keys) -> None:
    town = town_of(playbook_of(0))
    alert = air(town, 0)
    town.act(alert.id, Stopped("wang", DUTY, "wait"))
    (order,) = signed(town, keys, alert).orders
    assert (order.rev, order.state, order.texts, order.event_code) == (2, OrderState.WITHDRAWN, {}, "")


def test_twenty_alerts_and_their_all_clears_within_the_hour_all_go_out(keys: Keys) -> None:
    town = town_of(*(playbook_of(n) for n in range(20)))
    for n in range(20):
        alert = air(town, n)
        assert alert.state is ON_AIR
        heard(town, alert, StepKind.PLAYING)
        ending = clear(town, alert)
        heard(town, ending, StepKind.FINISHED)
        manifest = signed(town, keys, alert)
        assert [o.id for o in manifest.orders if o.state is OrderState.IN_FORCE][-1] == ending.id
        town.clock.advance(130)
        town.pass_timers()
    assert len(signed(town, keys, alert).orders) <= MANIFEST_ORDERS_MAX


def test_a_full_stream_is_named_when_the_next_alert_is_drafted_and_refuses_its_release() -> None:
    books = [playbook_of(n, words=150) for n in range(12)]
    town = town_of(*books)
    on_air = []
    for n in range(12):
        waiting = draft(town, n)
        with town.store.read() as look:
            full = endings.no_room(look, waiting)
        if full:
            break
        on_air.append(town.release(waiting.id, "li"))
    assert 2 < len(on_air) < 12
    assert all(f"h{n} yellow" in full for n in range(len(on_air)))
    assert town.whys(waiting.incident, "broadcast.no_room") == [f"its alert can't be released: {full}"]
    with pytest.raises(OverCap) as refused:
        town.release(waiting.id, "li")
    assert refused.value.detail == full
    assert town.get(Broadcast, waiting.id).state is DRAFT


def test_two_red_alerts_find_room_where_lower_levels_find_none(keys: Keys) -> None:
    books = [*(playbook_of(n, words=30) for n in range(16)), *(playbook_of(n, level=1, words=30) for n in (16, 17))]
    town = town_of(*books)
    with pytest.raises(OverCap):
        for n in range(16):
            alert = air(town, n)
    reds = [air(town, n) for n in (16, 17)]
    assert [red.state for red in reds] == [ON_AIR, ON_AIR]
    assert {red.id for red in reds} <= set(states(signed(town, keys, alert)))


def test_an_all_clear_whose_time_to_be_proved_is_over_gives_its_room_to_a_new_alert(keys: Keys) -> None:
    town = town_of(*(playbook_of(n, words=150) for n in range(12)))
    endings_on_air = []
    for n in range(11):
        town.clock.advance(121)
        alert = air(town, n)
        heard(town, alert, StepKind.PLAYING)
        endings_on_air.append(clear(town, alert))
    first = town.get(Broadcast, endings_on_air[0].id)
    assert first.state is WITHDRAWN
    assert town.whys(first.id, "broadcast.retired") == ["its room is needed for another"]
    assert town.get(Broadcast, endings_on_air[-1].id).state is ON_AIR
    manifest = signed(town, keys, alert)
    assert manifest.swept > town.get(Broadcast, endings_on_air[0].original).start_at_us


def test_from_seventy_percent_the_desk_is_told_what_fills_the_stream() -> None:
    town = town_of(*(playbook_of(n, words=150) for n in range(12)))
    told: list[str] = []
    for n in range(12):
        alert = draft(town, n)
        with town.store.read() as look:
            full = bool(endings.no_room(look, alert))
        if full:
            break
        town.release(alert.id, "li")
        told = town.whys(alert.stream, "stream.filling")
    assert told and all(int(why.split(" ")[0]) >= room.TELL_PERCENT for why in told)


def test_an_all_clear_is_heard_when_every_speaker_that_started_the_alert_has_finished_it() -> None:
    town = town_of(playbook_of(0))
    alert = air(town, 0)
    heard(town, alert, StepKind.PLAYING)
    ending = clear(town, alert)
    town.clock.advance(121)
    town.pass_timers()
    assert town.get(Broadcast, ending.id).state is ON_AIR
    heard(town, ending, StepKind.FINISHED)
    town.clock.advance(60)
    town.pass_timers()
    gone = town.get(Broadcast, ending.id)
    assert (gone.state, gone.rev) == (WITHDRAWN, ending.rev + 1)
    assert town.whys(ending.id, "broadcast.retired") == [
        "every speaker has finished it or said that it will not sound there"
    ]


def test_a_speaker_that_says_it_never_started_the_alert_keeps_no_all_clear_on_air() -> None:
    town = town_of(playbook_of(0))
    ending = clear(town, air(town, 0))
    heard(town, ending, StepKind.REFUSED)
    town.clock.advance(121)
    town.pass_timers()
    assert town.get(Broadcast, ending.id).state is WITHDRAWN


def test_a_speaker_that_nobody_has_heard_from_keeps_the_all_clear_on_air() -> None:
    # It may have started the alert, and its receipts may wait at the broker.
    town = town_of(playbook_of(0))
    alert = air(town, 0)
    ending = clear(town, alert)
    for _ in range(5):
        town.clock.advance(121)
        town.pass_timers()
    assert town.get(Broadcast, ending.id).state is ON_AIR


def test_an_alert_stopped_for_good_keeps_room_for_its_all_clear(keys: Keys) -> None:
    books = [playbook_of(n, level=1, words=20, follower_words=200) for n in range(12)]
    town = town_of(*books)
    stopped = [air(town, n) for n in range(3)]
    for alert in stopped:
        town.act(alert.id, Stopped("wang", DUTY, "wait"))
    town.clock.advance(61)
    town.pass_timers()
    with pytest.raises(OverCap):
        for n in range(3, 12):
            air(town, n)
    for alert in stopped:
        ending = clear(town, alert)
        assert states(signed(town, keys, alert))[ending.id] == (1, "in_force")


def test_a_stopped_alert_keeps_the_room_to_come_back(keys: Keys) -> None:
    town = town_of(*(playbook_of(n, level=1, words=450, follower_words=0) for n in range(12)))
    on_air = []
    with pytest.raises(OverCap):
        for n in range(12):
            on_air.append(air(town, n))
    town.act(on_air[0].id, Stopped("wang", DUTY, "wait"))
    with pytest.raises(OverCap):
        air(town, 11)
    town.act(on_air[0].id, Resumed("wang", DUTY))
    assert states(signed(town, keys, on_air[0]))[on_air[0].id] == (3, "in_force")


def test_a_stopped_correction_can_not_come_back_beside_a_newer_all_clear() -> None:
    town = town_of(playbook_of(0))
    alert = air(town, 0)
    correction = clear(town, alert, Phase.CORRECTION)
    town.act(correction.id, Stopped("wang", DUTY, "wait"))
    clear(town, alert)
    with pytest.raises(WrongState):
        town.act(correction.id, Resumed("wang", DUTY))


def test_of_a_correction_and_an_all_clear_the_one_released_last_is_in_force(keys: Keys) -> None:
    town = town_of(playbook_of(0))
    alert = air(town, 0)
    first, second = clear(town, alert, Phase.CORRECTION), clear(town, alert)
    assert states(signed(town, keys, alert)) == {
        alert.id: (2, "withdrawn"), first.id: (2, "withdrawn"), second.id: (1, "in_force"),
    }  # fmt: skip


def test_an_all_clear_that_was_stopped_by_mistake_can_be_given_again(keys: Keys) -> None:
    town = town_of(playbook_of(0))
    alert = air(town, 0)
    first = clear(town, alert)
    town.act(first.id, Stopped("wang", DUTY, "a slip"))
    town.clock.advance(61)
    town.pass_timers()
    again = clear(town, alert)
    assert (again.id != first.id, again.texts, again.state) == (True, first.texts, ON_AIR)
    assert states(signed(town, keys, alert))[again.id] == (1, "in_force")
    assert town.whys(again.id, "broadcast.prepared_again") == [f"{first.id} left the air without being heard"]


def test_an_all_clear_that_everybody_heard_is_not_prepared_again() -> None:
    town = town_of(playbook_of(0))
    alert = air(town, 0)
    ending = clear(town, alert)
    heard(town, ending, StepKind.FINISHED)
    town.clock.advance(121)
    town.pass_timers()
    assert town.follower(alert.id, Phase.ALL_CLEAR).id == ending.id


def test_a_standing_order_that_finds_no_room_is_missed_and_says_what_fills_the_stream() -> None:
    fire = builders.fire_playbook(standing=builders.standing_order())
    town = town_of(fire)
    with town.store.write() as tx:
        tx.put(builders.panel())
    incident = town.signal(builders.fire_signal())
    waiting = town.alert(incident)
    live = replace(
        waiting, state=ON_AIR, rev=1, start_at_us=builders.NOON_US, expires_us=builders.NOON_US + 3_600 * SECOND_US
    )
    with town.store.write() as tx:
        tx.put(*(replace(live, id=f"{n:032x}", incident="other") for n in range(500, 508)))
    town.signal(builders.fire_signal("2", device="smoke-2"))
    assert town.alert(incident).state is DRAFT
    assert "the stream is full of fire" in town.whys(incident, "incident.missed")[0]


# A broker that holds a sweep this database does not know


def test_a_restored_database_does_not_revive_what_the_broker_has_swept(keys: Keys) -> None:
    town = town_of(playbook_of(0))
    alert = air(town, 0)
    before = signed(town, keys, alert)
    town.clock.advance(60)
    later_us = before.issued + 60 * SECOND_US
    newer = replace(
        before, version=before.version + 60_000, issued=later_us, fresh_until=later_us, orders=(), swept=later_us
    )
    with town.store.write() as tx:
        assert compared.found_on_broker(tx, alert.stream, b"newer", newer, "actual-city-1", 0) == "unknown here"
    with town.store.write() as tx:
        compared.adopt(tx, alert.stream, "wang")
    assert town.get(Broadcast, alert.id).state is WITHDRAWN
    manifest = signed(town, keys, alert)
    assert manifest.swept >= newer.swept
    assert states(manifest) in ({}, {alert.id: (2, "withdrawn")})


# What the room must be, pure


def family(name: str, bytes: int, level: int = 3, **changes: Any) -> Family:
    return replace(Family(name, name, level, bytes), **changes)


def taken(*families: Family, ended_bytes: int = 0) -> Taken:
    return Taken(families, ended_bytes)


def test_only_families_that_have_had_their_time_give_way_the_oldest_first() -> None:
    third = room.BYTES_MAX // 3
    old, older, fresh = (
        family("old", third, over=True, done_us=20),
        family("older", third, over=True, done_us=10),
        family("fresh", third - 10, over=True, done_us=90),
    )
    wanted = family("new", third, level=1)
    assert room.gives_way(wanted, taken(old, older, fresh), 50) == (older,)
    assert room.gives_way(wanted, taken(old, older, fresh), 5) is None
    assert room.gives_way(wanted, taken(), 50) == ()


def test_for_a_follower_the_others_leave_at_any_time_but_never_a_live_alert() -> None:
    half = room.BYTES_MAX // 2
    live, over = family("live", half), family("over", half, over=True, done_us=90)
    assert room.gives_way_to_follower(family("new", half), taken(live, over)) == (over,)
    assert room.gives_way_to_follower(family("new", half), taken(live, family("other", half))) is None
    assert room.gives_way_to_follower(family("new", half), taken(live, family("strange", half, ours=False))) == ()


def test_red_alerts_on_air_use_up_the_room_kept_for_them() -> None:
    red = family("red", room.RED_BYTES, level=1)
    assert room.room_left(taken(), 1) == (room.BYTES_MAX, MANIFEST_ORDERS_MAX)
    assert room.room_left(taken(), 2)[0] == room.room_left(taken(red), 2)[0] == room.room_left(taken(red, red), 2)[0]
    assert room.room_left(taken(red, red, red), 2)[0] == room.room_left(taken(), 2)[0] - room.RED_BYTES


def test_what_others_put_on_a_stream_never_keeps_ours_off_it() -> None:
    alert = wire_order(air(town_of(playbook_of(0, words=400)), 0))
    ours, strange = replace(alert, id="ours"), [replace(alert, id=f"strange-{n}", start_at=n) for n in range(20)]
    shown, swept_us = room.listed([*strange, ours], {"ours"}, (), 0, builders.NOON_US)
    assert {order.id for order in shown} >= {"ours", "strange-0", "strange-1"}
    assert (len(shown) < 21, swept_us) == (True, 0)


def test_an_order_is_never_longer_than_was_kept_for_it() -> None:
    draft_order = whole_order(draft(town_of(playbook_of(0)), 0))
    late = 2**53 - 1
    audio = tuple(Audio(lang, "f" * 64, "opus", 3_600_000, 33_554_432) for lang in ("en", "zh"))
    longest = replace(draft_order, rev=999, start_at=late - 1, expires=late, audio=audio)
    assert room.size(longest) <= room.size_at_most(draft_order)


# Any history


Op = tuple[str, int]
OPS = st.lists(
    st.one_of(
        *(st.tuples(st.just("alert"), st.integers(0, 11)) for _ in range(5)),
        *(
            st.tuples(st.just(what), st.integers(0, 30))
            for what in ("stop", "resume", "correct", "clear", "answer", "hear")
        ),
        st.tuples(st.just("wait"), st.sampled_from([1, 30, 61, 130, 700, 3_600])),
    ),
    max_size=40,
)
BOOKS = tuple(
    playbook_of(
        n,
        level=1 + n % 4,
        words=(0, 60, 450)[n % 3],
        follower_words=(0, 200, 20, 450)[n % 4],
        valid_s=(600, 3_600)[n % 2],
    )
    for n in range(HAZARDS_MAX)
)


# A corrected alert's correction leaves for others, and its all-clear is given all the same.
CORRECTED_AND_FULL: list[Op] = [
    ("alert", 0), ("correct", 0), ("alert", 0), ("alert", 0), ("alert", 0), ("alert", 6), ("wait", 130), ("alert", 0),
    ("alert", 0), ("alert", 11), ("alert", 0), ("clear", 0),
]  # fmt: skip


@given(ops=OPS)
@example(ops=CORRECTED_AND_FULL)
@settings(max_examples=60, deadline=None)
def test_whatever_happened_everything_on_air_can_be_ended(ops: list[Op]) -> None:
    keys, town = Keys(), town_of(*BOOKS)
    released: list[Broadcast] = []
    for number, (what, choice) in enumerate(ops):
        chosen = released[choice % len(released)] if released else None
        match what:
            case "alert":
                fresh = draft(town, number * 12 + choice)
                if fresh.state is DRAFT:
                    _try(town, released, fresh)
            case "wait":
                town.clock.advance(choice)
                town.pass_timers()
            case _ if chosen is not None:
                _do(town, what, town.get(Broadcast, chosen.id))
            case _:
                pass
        _all_signed(town, keys)
    for alert in released:
        now = town.get(Broadcast, alert.id)
        ending = town.follower(now.id, Phase.ALL_CLEAR)
        if now.state in (ON_AIR, STOPPED, WITHDRAWN) and ending.state is DRAFT:
            assert (clear(town, now).id, (1, "in_force")) in states(signed(town, keys, now)).items()


def _try(town: Town, released: list[Broadcast], fresh: Broadcast) -> None:
    try:
        released.append(town.release(fresh.id, *("li", "zhao")[: fresh.people_needed]))
    except OverCap:
        assert town.get(Broadcast, fresh.id).state is DRAFT


def _do(town: Town, what: str, alert: Broadcast) -> None:
    """Ends never fail for want of room: only a state that no longer allows them refuses."""
    try:
        match what:
            case "stop":
                town.act(alert.id, Stopped("wang", DUTY, "wait"))
            case "resume":
                town.act(alert.id, Resumed("wang", DUTY))
            case "correct":
                clear(town, alert, Phase.CORRECTION)
            case "clear":
                clear(town, alert)
            case "answer":
                town.answer(alert.incident, Verdict.CONFIRM)
            case _:
                heard(town, alert, StepKind.PLAYING, StepKind.FINISHED)
    except WrongState:
        pass


def _all_signed(town: Town, keys: Keys) -> None:
    with town.store.read() as look:
        topics = {b.stream for b in look.find(Broadcast, state=(ON_AIR, STOPPED, WITHDRAWN))}
    for topic in topics:
        raw = sign(town, topic, keys).raw
        assert len(raw) <= MANIFEST_BYTES_MAX
        listed = states(read(sign(town, topic, keys), keys))
        with town.store.read() as look:
            on_air = [b.id for b in look.find(Broadcast, stream=topic, state=ON_AIR)]
            assert look.get(Stream, topic) is not None
        assert all(listed[id][1] == "in_force" for id in on_air)
