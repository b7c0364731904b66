from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from devices.protocols import document_json, speaker_link
from devices.protocols.documents import KeyUse, Manifest, Phase, Receipt, Step, StepKind
from devices.protocols.selector import Polygon
from services.dispatcher.domain.broadcasts import (
    Act,
    Broadcast,
    BroadcastState,
    Release,
    Stopped,
    content_hash,
    wire_order,
)
from services.dispatcher.domain.incidents import Air
from services.dispatcher.domain.planning import Coverage
from services.dispatcher.domain.refusals import NoKey, NotFound, PlanOutOfDate, Refused, UnknownOnAir
from services.dispatcher.domain.signals import Place
from services.dispatcher.domain.signals import Use as SignalUse
from services.dispatcher.engine import desk
from services.dispatcher.engine.air import compared, foreign, receipts
from services.dispatcher.engine.air.listing import KEPT_AFTER_EXPIRY_US
from services.dispatcher.engine.air.receipts import Arrived
from services.dispatcher.engine.air.streams import FRESH_US, REFRESH_US
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import Stream
from simulators.database import Database
from tests import builders
from tests.builders import DUTY, NOON_US, SECOND_US, STREET, Town, storm_signal
from tests.engine.signing import Keys, read, sign, states

ON_AIR, WITHDRAWN, DRAFT = BroadcastState.ON_AIR, BroadcastState.WITHDRAWN, BroadcastState.DRAFT


@pytest.fixture
def town() -> Town:
    return builders.town()


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


def plant(town: Town, broadcast: str, **changes: Any) -> Broadcast:
    """Somebody with the database in their hands changes the broadcast's row."""
    with town.store.write() as tx:
        row = tx.get_locked(Broadcast, broadcast)
        assert row is not None
        changed = replace(row, **changes)
        tx.put(changed)
    return changed


def rehashed(town: Town, broadcast: str, **changes: Any) -> Broadcast:
    """The same, by somebody who knows how the content is hashed."""
    changed = plant(town, broadcast, **changes)
    return plant(town, broadcast, content=content_hash(changed))


# Signing


def test_what_is_released_is_signed_with_the_chain_head(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    signed = sign(town, alert.stream, keys)
    manifest = read(signed, keys)
    with town.store.read() as tx:
        _, head = tx.chain_head()
    assert manifest == Manifest(alert.stream, NOON_US // 1_000, NOON_US, NOON_US + FRESH_US, head, (wire_order(alert),))
    assert (signed.fresh, signed.refused, len(head)) == (True, (), 64)


def test_the_chain_head_covers_the_release_itself(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    sign(town, alert.stream, keys)
    with town.store.read() as tx:
        linked = {row.kind for row in tx.chain(0, 1_000)}
    assert "broadcast.on_air" in linked


def test_the_same_state_is_signed_once(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    first = sign(town, alert.stream, keys)
    assert sign(town, alert.stream, keys) == replace(first, fresh=False)


def test_freshness_is_renewed_in_time_with_a_higher_version(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    first = sign(town, alert.stream, keys)
    town.clock.advance(REFRESH_US / SECOND_US)
    again = sign(town, alert.stream, keys)
    assert (again.fresh, again.version > first.version, states(read(again, keys))) == (
        True,
        True,
        {alert.id: (1, "in_force")},
    )


def test_a_refresh_timer_asks_for_publishing(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    sign(town, alert.stream, keys)
    with town.store.write() as tx:
        for effect in tx.claim(["publish_stream"], "x", 1, 10):
            tx.done(effect)
    town.clock.advance(REFRESH_US / SECOND_US)
    town.pass_timers()
    assert f"publish_stream:{alert.stream}" in town.lanes()


def test_the_version_never_goes_back_even_when_the_clock_does(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    first = sign(town, alert.stream, keys)
    town.clock.advance(-30)
    town.act(alert.id, Stopped("wang", DUTY, "wait"))
    assert sign(town, alert.stream, keys).version == first.version + 1


def test_a_withdrawn_order_stays_in_the_manifest_until_it_expires(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    clear = town.release(town.follower(alert.id, Phase.ALL_CLEAR).id, "wang")
    assert states(read(sign(town, alert.stream, keys), keys)) == {
        alert.id: (2, "withdrawn"),
        clear.id: (1, "in_force"),
    }
    town.clock.advance(3_600)
    town.pass_timers()
    assert states(read(sign(town, alert.stream, keys), keys)) == {}
    assert town.get(Broadcast, alert.id).state is BroadcastState.ENDED


def test_a_stream_with_a_long_past_still_carries_a_new_order(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    with town.store.write() as tx:
        for n in range(1_100):
            tx.put(replace(alert, id=f"-{n:04}", state=WITHDRAWN, expires_us=NOON_US - KEPT_AFTER_EXPIRY_US))
    assert states(read(sign(town, alert.stream, keys), keys)) == {alert.id: (1, "in_force")}


def test_without_a_key_of_that_use_nothing_is_signed(town: Town) -> None:
    alert = town.on_air()
    with pytest.raises(NoKey):
        sign(town, alert.stream, Keys((KeyUse.EXERCISE,)))


def test_actual_and_exercise_are_signed_by_different_keys(town: Town, keys: Keys) -> None:
    actual = town.on_air()
    drill = town.on_air(storm_signal("cap/drill/1", use=SignalUse.EXERCISE))
    for alert, use in ((actual, KeyUse.ACTUAL), (drill, KeyUse.EXERCISE)):
        signed = sign(town, alert.stream, keys)
        assert read(signed, keys).orders[0].status == use
        only_the_other = replace(keys.document, keys=tuple(k for k in keys.document.keys if k.use is not use))
        with pytest.raises(speaker_link.LinkRefused):
            speaker_link.read_manifest(signed.raw, signed.topic, only_the_other, None, None)


# Law 1, at the last door


def test_an_order_planted_on_air_without_a_release_is_not_signed_and_said_loudly(town: Town, keys: Keys) -> None:
    good = town.on_air()
    bad = town.follower(good.id, Phase.ALL_CLEAR)
    plant(town, bad.id, state=ON_AIR, rev=1, start_at_us=NOON_US, expires_us=NOON_US + bad.valid_s * SECOND_US)
    signed = sign(town, good.stream, keys)
    assert states(read(signed, keys)) == {good.id: (1, "in_force")}
    assert signed.refused == (bad.id,)
    assert town.whys(bad.id, "stream.release_not_shown") == ["no valid release for this content: it is not signed"]


PLANTED: list[Callable[[Town, Broadcast], Broadcast]] = [
    lambda town, b: plant(town, b.id, texts={"zh": "全市立即撤离"}),
    lambda town, b: rehashed(town, b.id, texts={"zh": "全市立即撤离"}),
    lambda town, b: rehashed(town, b.id, level=3),
    lambda town, b: rehashed(town, b.id, selector=replace(b.selector, areas=None)),
    lambda town, b: rehashed(town, b.id, volume=100),
    lambda town, b: rehashed(town, b.id, phase=Phase.CORRECTION),
    lambda town, b: plant(town, b.id, content="0" * 64),
    lambda town, b: plant(town, b.id, expires_us=b.expires_us + 1),
    lambda town, b: _no_releases(town, plant(town, b.id, rule="storm-red@v1: authority", released_by=())),
]


def _no_releases(town: Town, b: Broadcast) -> Broadcast:
    with town.store.write() as tx:
        for row in tx.find(Release, Page(), broadcast=b.id):
            tx.delete(Release, row.id)
    return b


@pytest.mark.parametrize("planted", PLANTED)
def test_a_row_changed_behind_the_engine_is_not_signed(
    town: Town, keys: Keys, planted: Callable[[Town, Broadcast], Broadcast]
) -> None:
    alert = town.on_air()
    planted(town, alert)
    signed = sign(town, alert.stream, keys)
    assert (read(signed, keys).orders, signed.refused) == ((), (alert.id,))


def test_a_row_that_says_one_person_is_enough_for_red_is_not_believed(town: Town, keys: Keys) -> None:
    draft = town.release(town.alert(town.signal(storm_signal())).id, "li")
    until_us = NOON_US + draft.valid_s * SECOND_US
    plant(town, draft.id, people_needed=1, state=ON_AIR, rev=1, start_at_us=NOON_US, expires_us=until_us)
    assert sign(town, draft.stream, keys).refused == (draft.id,)


def test_releases_of_earlier_content_or_of_one_person_twice_are_not_enough(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    with town.store.write() as tx:
        for row in tx.find(Release, Page(), broadcast=alert.id):
            tx.put(replace(row, person="li"))
    assert sign(town, alert.stream, keys).refused == (alert.id,)


def test_words_that_would_read_a_placeholder_out_are_not_signed_even_with_every_release(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    odd = rehashed(town, alert.id, texts={**alert.texts, "en": "Leave {venue} at once."})
    with town.store.write() as tx:
        for row in tx.find(Release, Page(), broadcast=alert.id):
            tx.put(replace(row, content=odd.content))
    assert sign(town, alert.stream, keys).refused == (alert.id,)
    rehashed(town, alert.id, texts=alert.texts)
    with town.store.write() as tx:
        for row in tx.find(Release, Page(), broadcast=alert.id):
            tx.put(replace(row, content=alert.content))
    assert sign(town, alert.stream, keys).refused == ()


def test_silence_needs_no_release(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    town.act(alert.id, Stopped("wang", DUTY, "wait"))
    _no_releases(town, alert)
    assert states(read(sign(town, alert.stream, keys), keys)) == {alert.id: (2, "withdrawn")}


def test_a_standing_release_needs_its_row_with_the_same_rule(town: Town, keys: Keys) -> None:
    town = builders.town(playbooks=(builders.fire_playbook(standing=builders.standing_order()),))
    with town.store.write() as tx:
        tx.put(builders.panel())
    incident = town.signal(builders.fire_signal())
    town.signal(builders.fire_signal("2", device="smoke-2"))
    alert = town.alert(incident)
    assert states(read(sign(town, alert.stream, keys), keys)) == {alert.id: (1, "in_force")}
    plant(town, alert.id, rule="another@v1: two_detectors")
    assert sign(town, alert.stream, keys).refused == (alert.id,)


def test_more_than_a_hundred_corners_become_the_venues_inside(town: Town) -> None:
    ring = tuple((388_000_000 + 20_000_000 * (n % 2), 1_215_000_000 + n * 10_000) for n in range(98))
    corners = (*ring, (390_000_000, 1_217_000_000), (388_000_000, 1_217_000_000), (387_900_000, 1_216_000_000))
    shape = Polygon(tuple(corners))
    drawn = town.alert(town.signal(storm_signal(place=Place(areas=(STREET,), shapes=(shape,)))))
    assert drawn.selector.shapes is None
    assert drawn.selector.venues is not None


# What only the broker knows


def lost(keys: Keys) -> tuple[Town, Manifest, bytes]:
    """A database restored from a backup made before the alert was released, and what the broker still holds."""
    clock = builders.StoppedClock()
    database = Database(clock)
    town = builders.town(database, clock)
    draft = town.alert(town.signal(storm_signal()))
    backup = database.backup()
    town.release(draft.id, "li", "zhao")
    signed = sign(town, draft.stream, keys)
    database.restore(backup)
    clock.advance(5)
    return town, read(signed, keys), signed.raw


def found(town: Town, manifest: Manifest, raw: bytes) -> str:
    with town.store.write() as tx:
        return compared.found_on_broker(tx, manifest.stream, raw, manifest, "actual-city-1", 0)


def stream_of(town: Town, topic: str) -> Stream:
    return town.get(Stream, topic)


def test_our_own_copy_on_the_broker_is_the_same(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    signed = sign(town, alert.stream, keys)
    assert found(town, read(signed, keys), signed.raw) == "same"


def test_an_older_copy_on_the_broker_is_published_over(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    old = sign(town, alert.stream, keys)
    town.act(alert.id, Stopped("wang", DUTY, "wait"))
    sign(town, alert.stream, keys)
    assert found(town, read(old, keys), old.raw) == "republish"
    assert f"publish_stream:{alert.stream}" in town.lanes()


def test_another_issuers_stream_is_no_business_of_ours(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    manifest = read(sign(town, alert.stream, keys), keys)
    other = replace(manifest, stream=alert.stream.replace("/city", "/district"))
    assert found(town, other, b"raw") == "another issuer's"


def test_a_newer_unknown_copy_is_shown_and_nothing_is_published_over_it(keys: Keys) -> None:
    town, manifest, raw = lost(keys)
    assert found(town, manifest, raw) == "unknown here"
    assert found(town, manifest, raw) == "unknown here"
    assert len(town.whys(manifest.stream, "stream.unknown_on_air")) == 1
    assert foreign.unknown_on_air(stream_of(town, manifest.stream))
    with pytest.raises(UnknownOnAir):
        sign(town, manifest.stream, keys)


def test_a_new_alarm_on_that_stream_goes_out_beside_what_is_unknown(keys: Keys) -> None:
    town, manifest, raw = lost(keys)
    found(town, manifest, raw)
    other = town.on_air(storm_signal("cap/weather/7", hazard="rainstorm", received_us=NOON_US + 7_200 * SECOND_US))
    signed = sign(town, other.stream, keys)
    assert other.stream == manifest.stream
    assert signed.version > manifest.version
    assert states(read(signed, keys)) == {manifest.orders[0].id: (1, "in_force"), other.id: (1, "in_force")}


def test_what_may_have_been_cancelled_in_a_lost_time_is_not_released_anew(keys: Keys) -> None:
    town, manifest, raw = lost(keys)
    found(town, manifest, raw)
    with pytest.raises(UnknownOnAir):
        town.release(manifest.orders[0].id, "li", "zhao")


def test_adopting_takes_over_what_is_known_with_its_deadline_and_its_person(keys: Keys) -> None:
    town, manifest, raw = lost(keys)
    found(town, manifest, raw)
    desk.adopt_stream(town.store, manifest.stream, "li")
    adopted = town.get(Broadcast, manifest.orders[0].id)
    assert (adopted.state, adopted.rev, adopted.expires_us) == (ON_AIR, 1, manifest.orders[0].expires)
    assert town.incident(adopted.incident).air is Air.ON_AIR
    with town.store.read() as tx:
        assert [(r.act, r.person) for r in tx.find(Release, Page(), broadcast=adopted.id)] == [(Act.ADOPT, "li")]
    signed = sign(town, manifest.stream, keys)
    assert (signed.version > manifest.version, signed.refused) == (True, ())
    assert states(read(signed, keys)) == {adopted.id: (1, "in_force")}
    town.clock.advance(3_600)
    town.pass_timers()
    assert town.get(Broadcast, adopted.id).state is BroadcastState.ENDED


def test_an_adopted_all_clear_expects_its_alerts_speakers_and_shows_what_they_said_meanwhile(keys: Keys) -> None:
    clock = builders.StoppedClock()
    database = Database(clock)
    town = builders.town(database, clock)
    alert = town.on_air()
    clear = town.follower(alert.id, Phase.ALL_CLEAR)
    backup = database.backup()
    town.release(clear.id, "wang")
    signed = sign(town, alert.stream, keys)
    database.restore(backup)
    clock.advance(5)
    said = Receipt("journal", 1, clear.id, 1, (Step(StepKind.FINISHED, NOON_US),))
    receipts.keep_receipts(town.store, [Arrived("mall-1", said, b"raw")])
    found(town, read(signed, keys), signed.raw)
    desk.adopt_stream(town.store, alert.stream, "li")
    with town.store.read() as tx:
        assert tx.coverage(clear.id) == Coverage(3, 0, 1, 0, 1, 0, 0, 0)


def test_a_draft_written_anew_since_is_not_adopted_under_the_same_id(keys: Keys) -> None:
    town, manifest, raw = lost(keys)
    found(town, manifest, raw)
    rehashed(town, manifest.orders[0].id, texts={"zh": "别的"})
    desk.adopt_stream(town.store, manifest.stream, "li")
    assert town.get(Broadcast, manifest.orders[0].id).state is DRAFT
    assert states(read(sign(town, manifest.stream, keys), keys)) == {manifest.orders[0].id: (1, "in_force")}


def test_withdrawing_what_is_unknown_silences_it_with_a_higher_revision(keys: Keys) -> None:
    town, manifest, raw = lost(keys)
    stranger = replace(manifest.orders[0], id="f" * 32)
    both = replace(manifest, orders=(*manifest.orders, stranger))
    found(town, both, b"raw")
    desk.withdraw_stream(town.store, manifest.stream, "li")
    signed = sign(town, manifest.stream, keys)
    assert signed.version > manifest.version
    assert states(read(signed, keys)) == {
        manifest.orders[0].id: (2, "withdrawn"),
        stranger.id: (2, "withdrawn"),
    }
    assert town.kinds(manifest.stream)[-2:] == ["stream.unknown_withdrawn", "stream.signed"]


@pytest.mark.parametrize("decide", [desk.adopt_stream, desk.withdraw_stream])
def test_where_nothing_is_unknown_there_is_nothing_to_decide(
    town: Town, decide: Callable[[object, str, str], None]
) -> None:
    alert = town.on_air()
    with pytest.raises(NotFound):
        decide(town.store, alert.stream, "li")


def test_only_a_higher_number_on_the_broker_is_nothing_to_decide(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    manifest = read(sign(town, alert.stream, keys), keys)
    newer = replace(manifest, version=manifest.version + 90_000)
    assert found(town, newer, b"raw") == "newer number"
    signed = sign(town, alert.stream, keys)
    assert signed.version == newer.version + 1


def test_stopping_goes_above_whatever_the_broker_holds(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    manifest = read(sign(town, alert.stream, keys), keys)
    later = replace(manifest.orders[0], rev=7)
    found(town, replace(manifest, version=manifest.version + 90_000, orders=(later,)), b"raw")
    stopped = town.act(alert.id, Stopped("wang", DUTY, "wait"))
    assert stopped.rev == 8
    assert states(read(sign(town, alert.stream, keys), keys)) == {alert.id: (8, "withdrawn")}


@pytest.mark.parametrize("rev", [1, 2, 3])
def test_merging_never_revives_a_withdrawn_order(town: Town, keys: Keys, rev: int) -> None:
    alert = town.on_air()
    manifest = read(sign(town, alert.stream, keys), keys)
    withdrawn = speaker_link.stub(replace(manifest.orders[0], rev=3))
    old = replace(manifest, orders=(replace(manifest.orders[0], rev=rev),))
    stream = replace(stream_of(town, alert.stream), foreign=document_json.encode(old))
    assert foreign.merged([withdrawn], stream, NOON_US) == [withdrawn]


def test_merging_keeps_the_withdrawal_that_only_the_broker_knew(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    manifest = read(sign(town, alert.stream, keys), keys)
    withdrawn = speaker_link.stub(replace(manifest.orders[0], rev=2))
    stream = replace(
        stream_of(town, alert.stream), foreign=document_json.encode(replace(manifest, orders=(withdrawn,)))
    )
    assert foreign.merged(list(manifest.orders), stream, NOON_US) == [withdrawn]
    assert foreign.merged(list(manifest.orders), stream, manifest.orders[0].expires) == list(manifest.orders)


def test_an_old_plan_is_refused_even_for_the_second_of_two_people(town: Town) -> None:
    draft = town.release(town.alert(town.signal(storm_signal())).id, "li")
    town.rebuild(without=("square-2",))
    with pytest.raises(PlanOutOfDate) as refused:
        town.release(draft.id, "zhao")
    assert isinstance(refused.value, Refused)


AHEAD_MS = 600_000


@pytest.mark.parametrize("orders", [(), None])
def test_a_version_that_no_speaker_takes_moves_none_of_ours(
    town: Town, keys: Keys, orders: tuple[speaker_link.Order, ...] | None
) -> None:
    alert = town.on_air()
    signed = sign(town, alert.stream, keys)
    ours = read(signed, keys)
    far = replace(ours, version=NOON_US // 1_000 + AHEAD_MS + 1, orders=ours.orders if orders is None else orders)
    assert found(town, far, b"far ahead") == "ahead of the time"
    assert f"publish_stream:{alert.stream}" in town.lanes()
    assert sign(town, alert.stream, keys).raw == signed.raw
    town.act(alert.id, Stopped("wang", DUTY, "wait"))
    assert sign(town, alert.stream, keys).version == ours.version + 1


def test_an_empty_stream_with_a_version_far_ahead_is_said_anew_by_us(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    other = alert.stream.replace("/actual/", "/exercise/")
    far = replace(read(sign(town, alert.stream, keys), keys), stream=other, version=NOON_US // 1_000 + AHEAD_MS * 99)
    assert found(town, replace(far, orders=()), b"far ahead") == "ahead of the time"
    assert sign(town, other, keys).version == NOON_US // 1_000


def test_what_we_signed_ahead_ourselves_is_ours(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    town.clock.advance(3_600)
    signed = sign(town, alert.stream, keys)
    town.clock.advance(-3_600)
    assert found(town, read(signed, keys), signed.raw) == "same"


# Decisions of people, and what speakers were told in a time that this database has lost


def test_whoever_withdraws_what_is_unknown_also_learns_what_is_over(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    before = read(sign(town, alert.stream, keys), keys)
    over = speaker_link.stub(replace(before.orders[0], rev=5))
    assert found(town, replace(before, version=before.version + 60, orders=(over,)), b"newer") == "unknown here"
    with town.store.write() as tx:
        compared.withdraw_unknown(tx, alert.stream, "wang")
    now = town.get(Broadcast, alert.id)
    assert (now.state, now.rev) == (WITHDRAWN, 5)
    clear = town.release(town.follower(alert.id, Phase.ALL_CLEAR).id, "wang")
    assert states(read(sign(town, alert.stream, keys), keys))[clear.id] == (1, "in_force")


def test_an_all_clear_given_in_a_lost_time_and_withdrawn_by_people_can_be_given_again(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    before = read(sign(town, alert.stream, keys), keys)
    clear = town.follower(alert.id, Phase.ALL_CLEAR)
    given = replace(wire_order(clear), rev=1, start_at=NOON_US, expires=before.orders[0].expires)
    over = speaker_link.stub(replace(before.orders[0], rev=2))
    assert found(town, replace(before, version=before.version + 60, orders=(over, given)), b"newer") == "unknown here"
    with town.store.write() as tx:
        compared.withdraw_unknown(tx, alert.stream, "wang")
    again = town.release(town.follower(alert.id, Phase.ALL_CLEAR).id, "wang")
    listed = states(read(sign(town, alert.stream, keys), keys))
    assert (again.id != clear.id, listed[again.id], listed[clear.id]) == (True, (1, "in_force"), (2, "withdrawn"))


def test_a_manifest_sweeps_nothing_that_began_after_it_was_made(town: Town, keys: Keys) -> None:
    alert = town.on_air()
    made = replace(read(sign(town, alert.stream, keys), keys), orders=(), issued=NOON_US - 1, swept=NOON_US - 1)
    with pytest.raises(speaker_link.LinkRefused):
        document_json.decode_manifest(document_json.encode(replace(made, swept=NOON_US)))
    assert found(town, replace(made, version=made.version + 60), b"newer") == "newer number"
    assert town.get(Broadcast, alert.id).state is ON_AIR
