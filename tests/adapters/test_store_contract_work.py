"""The other half of the stores' contract: timers, effects, the log, and two writers at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from services.dispatcher.domain.effects import Carry, Record, Save, Sleep, Timer, WakeAt
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.places import Area
from services.dispatcher.domain.retries import RETRIES
from services.dispatcher.domain.signals import Use
from services.dispatcher.engine.chain import chain_pass, verify
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import EffectRow, Expected, LogRow, Stream, TimerRow
from services.dispatcher.engine.writing import WritableStore
from tests.adapters.neighbours import INCIDENT, TIMES
from tests.builders import area


def test_a_timer_moves_when_it_is_set_again(store: WritableStore) -> None:
    with store.write() as tx:
        tx.wake_at(WakeAt(Timer.RUNG, "t-1", 30, 90))
        tx.wake_at(WakeAt(Timer.RUNG, "t-2", 20, 90))
        tx.wake_at(WakeAt(Timer.PROVE, "t-2", 20, 90))
        tx.wake_at(WakeAt(Timer.RUNG, "t-1", 10, 95))
    rows = [
        TimerRow(Timer.RUNG, "t-1", 10, 95),
        TimerRow(Timer.PROVE, "t-2", 20, 90),
        TimerRow(Timer.RUNG, "t-2", 20, 90),
    ]
    with store.read() as read:
        assert read.due_timers(9, 10) == []
        assert read.due_timers(10, 10) == rows[:1]
        assert read.due_timers(30, 10) == rows
        assert read.due_timers(30, 2) == rows[:2]


def test_a_timer_that_only_comes_sooner_never_moves_back(store: WritableStore) -> None:
    with store.write() as tx:
        for due_us in (30, 40, 20, 25):
            tx.wake_at(WakeAt(Timer.REFUSED, "all", due_us, due_us + 1, only_sooner=True))
    with store.read() as read:
        assert read.due_timers(50, 10) == [TimerRow(Timer.REFUSED, "all", 20, 21)]


def test_a_timer_is_taken_once_and_only_at_the_moment_it_was_due(store: WritableStore) -> None:
    with store.write() as tx:
        tx.wake_at(WakeAt(Timer.RUNG, "t-1", 10, 90))
        assert not tx.take_due(TimerRow(Timer.RUNG, "t-1", 9, 90))
        assert not tx.take_due(TimerRow(Timer.PROVE, "t-1", 10, 90))
        assert tx.take_due(TimerRow(Timer.RUNG, "t-1", 10, 90))
        assert not tx.take_due(TimerRow(Timer.RUNG, "t-1", 10, 90))


def test_a_timer_that_sleeps_is_not_due_any_more(store: WritableStore) -> None:
    with store.write() as tx:
        tx.wake_at(WakeAt(Timer.RUNG, "t-1", 20, 90))
        tx.wake_at(WakeAt(Timer.RUNG, "t-2", 20, 90))
        tx.sleep(Sleep(Timer.RUNG, "t-1"))
        tx.sleep(Sleep(Timer.RUNG, "t-1"))
        tx.sleep(Sleep(Timer.PROVE, "t-2"))
        assert tx.due_timers(50, 10) == [TimerRow(Timer.RUNG, "t-2", 20, 90)]


def test_what_is_asked_is_answered_as_it_was_when_it_was_asked(store: WritableStore) -> None:
    first, second = area("210202", None), area("210203", None)
    with store.write() as tx:
        tx.put(first)
        before = tx.asked(Area, Page(order="code"))
        tx.put(second)
        after = tx.asked(Area, Page(order="code"))
        tx.delete(Area, first.code)
        assert (before(), after()) == ([first], [first, second])
    with store.read() as read:
        assert read.asked(Area)() == [second]


def test_a_row_that_was_asked_for_and_is_not_there_can_be_made(store: WritableStore) -> None:
    with store.write() as tx:
        assert tx.asked(Stream, id="s")() == []
        tx.put(Stream("s", "210202", "actual", "city"))
    with store.read() as read:
        assert [row.id for row in read.find(Stream)] == ["s"]


def test_what_is_asked_of_a_versioned_kind_can_be_changed(store: WritableStore) -> None:
    with store.write() as tx:
        tx.put(Stream("s", "210202", "actual", "city"))
    with store.write() as tx:
        asked = tx.asked(Stream, id="s")
        [stream] = asked()
        tx.put(replace(stream, manifest_version=7))
        assert [row.manifest_version for row in tx.find(Stream, id="s")] == [7]
    with store.read() as read:
        assert [row.manifest_version for row in read.find(Stream)] == [7]


RENDER = Save(Carry.RENDER_AUDIO, "w-1")
CANARY = Save(Carry.CANARY, "w-1")
CANARY_US = RETRIES[Carry.CANARY].expires_us or 0
LEASE_US = 60_000_000


def _claim(store: WritableStore, owner: str = "me", lease_us: int = LEASE_US, limit: int = 10) -> list[EffectRow]:
    with store.write() as tx:
        return tx.claim([Carry.RENDER_AUDIO, "canary"], owner, lease_us, limit)


def _open(store: WritableStore) -> list[EffectRow]:
    with store.read() as read:
        return read.open_effects()


def test_a_lane_has_one_open_effect_however_often_it_is_asked_for(store: WritableStore) -> None:
    with store.write() as tx:
        first_us = tx.now_us()
        tx.save(CANARY)
        (first,) = tx.open_effects()
    with store.write() as tx:
        second_us = tx.now_us()
        tx.save(CANARY)
        last_us = tx.now_us()
    (effect,) = _open(store)
    assert first.expires_us is not None and effect.expires_us is not None
    assert first_us <= first.wanted_us == first.not_before_us == first.expires_us - CANARY_US
    assert second_us <= effect.expires_us - CANARY_US <= last_us
    assert effect == replace(first, wanted=2, expires_us=effect.expires_us)


def test_effects_are_claimed_by_kind_the_longest_due_first(store: WritableStore) -> None:
    with store.write() as tx:
        for subject in ("a", "b", "c", "d"):
            tx.save(Save(Carry.RENDER_AUDIO, subject))
        tx.save(Save(Carry.OFFICE_TASK, "t-1"))
        now_us = tx.now_us()
        for effect in tx.claim([Carry.RENDER_AUDIO], "me", LEASE_US, 10):
            due_us = {"a": now_us - 1, "b": now_us - 3, "c": now_us - 2, "d": now_us + LEASE_US}[effect.subject]
            tx.retry(effect, due_us, "set", 1)
    with store.read() as read:
        assert read.claimable(["canary", Carry.RENDER_AUDIO])
        assert not read.claimable([Carry.CANARY])
        assert not read.claimable([])
    with store.write() as tx:
        assert tx.claim([], "me", LEASE_US, 10) == []
    assert [effect.subject for effect in _claim(store, limit=2)] == ["b", "c"]
    assert [effect.subject for effect in _claim(store)] == ["a"]
    assert _claim(store) == []
    with store.read() as read:
        assert not read.claimable([Carry.RENDER_AUDIO])


def test_an_effect_that_is_done_is_gone(store: WritableStore) -> None:
    with store.write() as tx:
        tx.save(RENDER)
    (effect,) = _claim(store)
    assert _open(store) == [effect]
    assert (effect.leased_by, effect.wanted, effect.tries) == ("me", 1, 0)
    with store.write() as tx:
        tx.done(effect)
    assert _open(store) == []


def test_an_effect_wanted_again_while_it_was_carried_out_runs_once_more(store: WritableStore) -> None:
    with store.write() as tx:
        tx.save(RENDER)
    (effect,) = _claim(store)
    with store.write() as tx:
        tx.retry(effect, 1, "busy", 3)
    (effect,) = _claim(store)
    with store.write() as tx:
        tx.save(RENDER)
    assert _claim(store, "other") == []
    with store.write() as tx:
        before_us = tx.now_us()
        tx.done(effect)
    (again,) = _open(store)
    opened_us = again.not_before_us
    opened = replace(effect, wanted=2, wanted_us=opened_us, tries=0, not_before_us=opened_us, reason="")
    assert again == replace(opened, leased_by="", leased_until_us=0)
    assert before_us <= opened_us
    (claimed,) = _claim(store, "other")
    with store.write() as tx:
        tx.done(claimed)
    assert _open(store) == []


def test_effects_done_together_end_each_for_itself(store: WritableStore) -> None:
    with store.write() as tx:
        for name in ("closed", "lost", "wanted-again"):
            tx.save(Save(Carry.PUBLISH_CONFIG, name))
    with store.write() as tx:
        closed, lost, again = tx.claim([Carry.PUBLISH_CONFIG], "one", 1_000_000, 10)
        tx.save(Save(Carry.PUBLISH_CONFIG, "wanted-again"))
    with store.write() as tx:
        tx.done()
        tx.done(again, replace(lost, leased_by="two"), closed)
    with store.read() as read:
        left = {effect.subject: effect for effect in read.open_effects()}
        assert left.pop("lost") == lost
        (reopened,) = left.values()
        assert (reopened.subject, reopened.wanted, reopened.leased_by, reopened.tries) == ("wanted-again", 2, "", 0)


def test_an_effect_tried_in_vain_waits_and_says_why(store: WritableStore) -> None:
    with store.write() as tx:
        tx.save(RENDER)
    (effect,) = _claim(store)
    with store.write() as tx:
        later_us = tx.now_us() + LEASE_US
        tx.retry(effect, later_us, "the broker is away", 1)
    waiting = replace(
        effect, tries=1, not_before_us=later_us, leased_by="", leased_until_us=0, reason="the broker is away"
    )
    assert _open(store) == [waiting]
    assert _claim(store) == []
    with store.write() as tx:
        tx.save(RENDER)
    (effect,) = _claim(store)
    assert (effect.tries, effect.wanted, effect.not_before_us < later_us) == (1, 2, True)


def test_an_effect_wanted_while_it_fails_is_tried_at_once(store: WritableStore) -> None:
    with store.write() as tx:
        tx.save(RENDER)
    (effect,) = _claim(store)
    with store.write() as tx:
        tx.save(RENDER)
        later_us = tx.now_us() + LEASE_US
        tx.retry(effect, later_us, "the broker is away", 4)
    (again,) = _claim(store)
    assert (again.tries, again.wanted, again.reason) == (4, 2, "the broker is away")
    assert again.wanted_us == effect.wanted_us == again.not_before_us


def test_a_lease_that_ran_out_passes_to_another_whom_the_first_can_no_longer_disturb(store: WritableStore) -> None:
    with store.write() as tx:
        tx.save(RENDER)
    (lost,) = _claim(store, "first", lease_us=0)
    (held,) = _claim(store, "second")
    with store.write() as tx:
        tx.done(lost)
        tx.retry(lost, 1, "too late", 1)
    assert _open(store) == [held]
    with store.write() as tx:
        tx.done(held)
        tx.save(RENDER)
        tx.done(held)
        tx.done(lost)
    assert [effect.wanted for effect in _open(store)] == [1]


def test_one_owner_who_claims_again_can_not_finish_under_the_old_lease(store: WritableStore) -> None:
    with store.write() as tx:
        tx.save(RENDER)
    (old,) = _claim(store, "me", lease_us=-1)
    (new,) = _claim(store, "me")
    with store.write() as tx:
        tx.done(old)
    assert _open(store) == [new]


def test_the_log_keeps_what_was_recorded_in_order(store: WritableStore) -> None:
    with store.write() as tx:
        at_us = [tx.now_us()]
        tx.record(Record("incident.opened", "i-1", "它着火了", "王一", {"use": Use.ACTUAL, "b": [1, None], "a": True}))
        tx.record(Record("task.asked", "t-1", ""))
        tx.record(Record("incident.closed", "i-1", "out"))
        at_us.append(tx.now_us())
    with store.read() as read:
        rows = read.log_of(None)
        assert [(row.kind, row.subject, row.person, row.link, row.hash) for row in rows] == [
            ("incident.opened", "i-1", "王一", None, ""),
            ("task.asked", "t-1", "", None, ""),
            ("incident.closed", "i-1", "", None, ""),
        ]
        assert rows[0].body == '{"facts": {"a": true, "b": [1, null], "use": "actual"}, "why": "它着火了"}'
        assert all(at_us[0] <= row.at_us <= at_us[1] for row in rows)
        assert rows[0].seq < rows[1].seq < rows[2].seq
        assert read.log_of("i-1") == [rows[0], rows[2]]
        assert read.log_of(None, rows[0].seq, 1) == [rows[1]]
        assert read.log_of("i-1", rows[0].seq) == [rows[2]]


def test_log_lines_are_linked_in_order_and_only_once(store: WritableStore) -> None:
    with store.write() as tx:
        assert tx.chain_head() == (0, "")
        for n in range(3):
            tx.record(Record("n", str(n), ""))
        waiting = tx.unchained(2)
        assert [row.subject for row in waiting] == ["0", "1"]
        linked = [replace(row, link=n, hash=f"hash {n}") for n, row in enumerate(waiting, 1)]
        tx.link(linked)
        tx.link([])
    with store.read() as read:
        assert read.chain_head() == (2, "hash 2")
        assert read.chain(0, 10) == linked
        assert read.chain(0, 1) == linked[:1]
        assert read.chain(1, 10) == linked[1:]
        assert [row.link for row in read.log_of(None)] == [1, 2, None]
    with store.write() as tx:
        assert [row.subject for row in tx.unchained(10)] == ["2"]


def test_the_engines_chain_holds_over_what_the_store_gives_back(store: WritableStore) -> None:
    with store.write() as tx:
        tx.record(Record("a", "狗" * 200, 'line\nbreak "quoted" \\ \u2028', facts={"n": 2**53, "x": 0.1}))
        tx.record(Record("b", "i-1", "", "p-1"))
    assert chain_pass(store) == 2
    assert chain_pass(store) == 0
    with store.read() as read:
        assert (verify(read).rows, verify(read).problem) == (2, "")


def test_two_at_once_lose_no_update_of_one_incident(store: WritableStore, at_once: Callable[[str], None]) -> None:
    with store.write() as tx:
        tx.put(INCIDENT)
    at_once("count")
    with store.read() as read:
        assert read.get(Incident, INCIDENT.id) == replace(INCIDENT, signal_count=2 * TIMES)


def test_two_at_once_wait_for_the_incident_the_other_holds(
    store: WritableStore, at_once: Callable[[str], None]
) -> None:
    with store.write() as tx:
        tx.put(INCIDENT)
    at_once("count_locked")
    with store.read() as read:
        assert read.get(Incident, INCIDENT.id) == replace(INCIDENT, signal_count=2 * TIMES)


def test_two_at_once_never_open_one_incident_twice(store: WritableStore, at_once: Callable[[str], None]) -> None:
    at_once("join")
    with store.read() as read:
        assert sorted(incident.hazard for incident in read.find(Incident)) == sorted(
            f"hazard-{n}" for n in range(TIMES)
        )


def test_two_at_once_never_claim_one_effect_twice(store: WritableStore, at_once: Callable[[str], None]) -> None:
    with store.write() as tx:
        for n in range(TIMES):
            tx.save(Save(Carry.RENDER_AUDIO, f"{n:03}"))
    at_once("claim")
    with store.read() as read:
        assert read.open_effects() == []
        assert sorted(row.subject for row in read.log_of(None)) == [f"render_audio:{n:03}" for n in range(TIMES)]


def test_two_at_once_link_one_chain(store: WritableStore, at_once: Callable[[str], None]) -> None:
    at_once("chain")
    chain_pass(store)
    with store.read() as read:
        assert (verify(read).rows, verify(read).problem) == (2 * TIMES, "")


def test_a_log_line_is_what_its_row_says(store: WritableStore) -> None:
    with store.write() as tx:
        tx.record(Record("kind", "subject", "why", "person"))
        now_us = tx.now_us()
        (row,) = tx.unchained(5)
    assert row == LogRow(row.seq, row.at_us, "kind", "subject", "person", '{"facts": {}, "why": "why"}')
    assert 0 <= now_us - row.at_us < 3_600_000_000


def test_receipts_and_the_plan_of_their_order_at_the_same_time_count_whole(
    store: WritableStore, at_once: Callable[[str], None]
) -> None:
    at_once("plan_or_say")
    with store.read() as read:
        for turn in range(TIMES):
            assert read.expected(f"b-{turn}") == [
                Expected(f"b-{turn}", "s-0"),
                Expected(f"b-{turn}", "s-1", playing_us=5),
            ]
