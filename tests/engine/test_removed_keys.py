"""A key that goes from the key document: what only it had signed is given up, and every stream is signed anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from devices.protocols import speaker_link
from devices.protocols.documents import KeyUse, Manifest, OrderState, SpeakerState
from devices.protocols.jws import SigningKey
from services.dispatcher.domain.broadcasts import Broadcast, BroadcastState, Stopped, wire_order
from services.dispatcher.domain.effects import Carry
from services.dispatcher.domain.places import Speaker
from services.dispatcher.domain.refusals import NoKey, NotFound, OlderKeyDocument, UnknownOnAir
from services.dispatcher.domain.signing_keys import KeyState
from services.dispatcher.engine.air import broker_copies, compared, foreign, receipts, removed_keys, signing_keys
from services.dispatcher.engine.air.listing import new_stream
from services.dispatcher.engine.air.signing_keys import KeyReport
from services.dispatcher.engine.events import EffectGaveUp
from services.dispatcher.engine.leases import hold
from services.dispatcher.engine.rows import Live, Stream
from tests import builders
from tests.builders import CITY, DISTRICT, DUTY, NOON_US, SECOND_US, Town
from tests.engine.signing import Keys, read, sign, states

STOLEN = KeyState("actual-city-1", "actual", "city", CITY, (1, 2, 3, 4), NOON_US * 2)
HELD = KeyState("actual-city-2", "actual", "city", CITY, (1, 2, 3, 4), NOON_US * 2)
KEYS, OLDER = Keys(version=9), Keys(version=1)
"""Of a gateway with the newest key document, and of one with the first; the key has the name of the stolen one."""
REV_MAX = 2**53 - 1


@pytest.fixture
def town() -> Town:
    made = builders.town()
    signing_keys.report(made.store, "gw-0", [KeyReport(STOLEN, "", 0), KeyReport(HELD, "", 0)], 1)
    return made


def successor(version: int) -> Keys:
    """A signer with the key that stays, and this version of the key document."""
    keys = Keys(version=version)
    keys.private[KeyUse.ACTUAL] = SigningKey.generate(HELD.id)
    return keys


def remove(town: Town) -> None:
    """A gateway reports a newer key document, which lists only the successor."""
    signing_keys.report(town.store, "gw-0", [KeyReport(HELD, "", 0)], 2)


def done(town: Town) -> None:
    """What was to be signed and published has been."""
    with town.store.write() as tx:
        tx.done(*tx.claim([Carry.PUBLISH_STREAM], "test", SECOND_US, 100))


def on_broker(town: Town, manifest: Manifest, kid: str = STOLEN.id, document: int = 1) -> str:
    """A gateway with this version of the key document finds a manifest."""
    with town.store.write() as tx:
        return compared.found_on_broker(tx, manifest.stream, b"found", manifest, kid, document)


def stolen_manifest(town: Town, ahead: int = 500_000) -> tuple[Broadcast, Manifest]:
    """An alert of ours, and what a thief has signed above it: the alert and one of his own."""
    alert = town.on_air()
    mine = read(sign(town, alert.stream, KEYS), KEYS)
    strange = replace(mine.orders[0], id="evil")
    return alert, replace(mine, version=mine.version + ahead, orders=(*mine.orders, strange))


def state(streams: dict[str, int], **changes: Any) -> SpeakerState:
    return replace(SpeakerState(True, 1, streams, 1, 0, "journal", 0, 80, "mains", (), ""), **changes)


def hear(town: Town, speaker: str, says: SpeakerState) -> None:
    receipts.hear_speakers(town.store, [(speaker, says)], city=town.engine.read_city())


def row(town: Town, topic: str) -> Stream:
    return town.get(Stream, topic)


def test_every_stream_of_the_keys_use_and_issuer_is_signed_anew(town: Town) -> None:
    alert = town.on_air()
    before = sign(town, alert.stream, KEYS)
    assert not sign(town, alert.stream, KEYS).fresh
    remove(town)
    assert f"publish_stream:{alert.stream}" in town.lanes()
    after = sign(town, alert.stream, KEYS)
    assert (after.fresh, after.version > before.version) == (True, True)
    assert states(read(after, KEYS)) == states(read(before, KEYS))


def test_a_key_of_another_use_or_issuer_signs_nothing_anew(town: Town) -> None:
    alert = town.on_air()
    sign(town, alert.stream, KEYS)
    for other in (replace(STOLEN, use="exercise"), replace(STOLEN, issuer="coast")):
        removed_keys.take_back(town.store, [other], [STOLEN, HELD])
    assert not sign(town, alert.stream, KEYS).fresh


def test_what_only_the_removed_key_had_signed_no_longer_waits_for_a_person(town: Town) -> None:
    alert = town.on_air()
    strange = replace(wire_order(town.get(Broadcast, alert.id)), id="evil")
    mine = read(sign(town, alert.stream, KEYS), KEYS)
    forged = replace(mine, version=mine.version + 500_000, orders=(*mine.orders, strange))
    with town.store.write() as tx:
        assert compared.found_on_broker(tx, forged.stream, b"forged", forged, STOLEN.id, 1) == "unknown here"
    with pytest.raises(UnknownOnAir):
        sign(town, alert.stream, KEYS)
    remove(town)
    assert not foreign.waits(row(town, alert.stream))
    signed = sign(town, alert.stream, KEYS)
    assert mine.version < signed.version < forged.version
    assert states(read(signed, KEYS)) == states(mine)
    (why,) = town.whys(alert.stream, "stream.key_removed")
    assert "may not sign it any more" in why


def test_what_another_key_had_signed_goes_on_waiting(town: Town) -> None:
    alert = town.on_air()
    mine = read(sign(town, alert.stream, KEYS), KEYS)
    strange = replace(mine.orders[0], id="unknown")
    found = replace(mine, version=mine.version + 60, orders=(*mine.orders, strange))
    with town.store.write() as tx:
        compared.found_on_broker(tx, found.stream, b"found", found, HELD.id, 1)
    remove(town)
    assert foreign.waits(row(town, alert.stream))


def test_a_stream_that_only_the_removed_key_ever_used_is_signed_empty(town: Town) -> None:
    alert = town.on_air()
    mine = read(sign(town, alert.stream, KEYS), KEYS)
    topic = speaker_link.manifest_topic(CITY, "actual", "city")
    forged = replace(mine, stream=topic, orders=(replace(mine.orders[0], id="evil"),))
    with town.store.write() as tx:
        assert compared.found_on_broker(tx, topic, b"forged", forged, STOLEN.id, 1) == "unknown here"
    remove(town)
    assert f"publish_stream:{topic}" in town.lanes()
    assert read(sign(town, topic, KEYS), KEYS).orders == ()


def test_what_our_own_signature_carried_on_is_swept(town: Town) -> None:
    first = town.on_air()
    mine = read(sign(town, first.stream, KEYS), KEYS)
    strange = replace(mine.orders[0], id="evil")
    forged = replace(mine, version=mine.version + 500_000, orders=(*mine.orders, strange))
    with town.store.write() as tx:
        compared.found_on_broker(tx, forged.stream, b"forged", forged, STOLEN.id, 1)
    town.clock.advance(5)
    town.act(first.id, Stopped("wang", DUTY, "wait"))
    carried = read(sign(town, first.stream, KEYS), KEYS)
    assert states(carried)["evil"] == (1, "in_force")
    remove(town)
    after = read(sign(town, first.stream, KEYS), KEYS)
    assert list(states(after)) == [first.id]
    assert after.swept > strange.start_at
    assert after.version > carried.version


def test_our_order_that_our_own_signature_withdrew_for_the_thief_comes_back_above_it(town: Town) -> None:
    alert = town.on_air()
    mine = read(sign(town, alert.stream, KEYS), KEYS)
    silenced = speaker_link.stub(replace(mine.orders[0], rev=40))
    forged = replace(mine, version=mine.version + 500_000, orders=(silenced,))
    with town.store.write() as tx:
        compared.found_on_broker(tx, forged.stream, b"forged", forged, STOLEN.id, 1)
    remove(town)
    after = read(sign(town, alert.stream, KEYS), KEYS)
    assert states(after) == {alert.id: (41, "in_force")}
    stopped = town.act(alert.id, Stopped("wang", DUTY, "wait"))
    assert (stopped.state, stopped.rev) == (BroadcastState.STOPPED, 42)


@pytest.mark.parametrize("state", [OrderState.IN_FORCE, OrderState.WITHDRAWN])
def test_a_revision_that_jumps_is_never_under_our_signature_and_stops_nothing_of_ours(
    town: Town, state: OrderState
) -> None:
    alert = town.on_air()
    mine = read(sign(town, alert.stream, KEYS), KEYS)
    raised = replace(mine.orders[0], rev=REV_MAX, state=state)
    raised = speaker_link.stub(raised) if state is OrderState.WITHDRAWN else raised
    strange = replace(mine.orders[0], id="evil", rev=REV_MAX)
    forged = replace(mine, version=mine.version + 500_000, orders=(raised, strange))
    with town.store.write() as tx:
        compared.found_on_broker(tx, forged.stream, b"forged", forged, STOLEN.id, 1)
    town.act(alert.id, Stopped("wang", DUTY, "wait"))
    assert states(read(sign(town, alert.stream, KEYS), KEYS)) == {alert.id: (2, "withdrawn")}


@pytest.mark.parametrize("decide", [compared.adopt, compared.withdraw_unknown])
def test_no_decision_of_a_person_gives_our_order_a_revision_that_jumps(town: Town, decide: object) -> None:
    alert = town.on_air()
    mine = read(sign(town, alert.stream, KEYS), KEYS)
    strange = replace(mine.orders[0], id="evil", rev=REV_MAX)
    forged = replace(mine, version=mine.version + 500_000, orders=(replace(mine.orders[0], rev=REV_MAX), strange))
    with town.store.write() as tx:
        compared.found_on_broker(tx, forged.stream, b"forged", forged, STOLEN.id, 1)
    with town.store.write() as tx:
        decide(tx, alert.stream, "wang")  # type: ignore[operator]
    assert town.get(Broadcast, alert.id).rev == 1
    assert states(read(sign(town, alert.stream, KEYS), KEYS)) == {alert.id: (1, "in_force")}


def test_what_a_person_adopted_stays_when_its_key_is_removed(town: Town) -> None:
    alert = town.on_air()
    mine = read(sign(town, alert.stream, KEYS), KEYS)
    strange = replace(mine.orders[0], id="unknown")
    found = replace(mine, version=mine.version + 60, orders=(*mine.orders, strange))
    with town.store.write() as tx:
        compared.found_on_broker(tx, found.stream, b"found", found, STOLEN.id, 1)
        compared.adopt(tx, found.stream, "wang")
    remove(town)
    assert states(read(sign(town, alert.stream, KEYS), KEYS))["unknown"] == (1, "in_force")


def test_a_gateway_that_was_away_has_everything_signed_anew_when_it_reports_the_newer_document(town: Town) -> None:
    alert = town.on_air()
    sign(town, alert.stream, KEYS)
    done(town)
    signing_keys.report(town.store, "gw-1", [KeyReport(STOLEN, "", 0), KeyReport(HELD, "", 0)], 1)
    assert f"publish_stream:{alert.stream}" not in town.lanes()
    remove(town)
    assert f"publish_stream:{alert.stream}" in town.lanes()
    sign(town, alert.stream, KEYS)
    # One that has not yet seen the newer document brings the key back to nobody.
    signing_keys.report(town.store, "gw-1", [KeyReport(STOLEN, "", 0), KeyReport(HELD, "", 0)], 1)
    with town.store.read() as read_only:
        assert {key.id for key in read_only.find(KeyState)} == {HELD.id}


def test_every_config_is_published_again_when_a_config_key_is_removed(town: Town) -> None:
    with town.store.write() as tx:
        tx.done(*tx.claim([Carry.PUBLISH_CONFIG], "test", SECOND_US, 100))
    removed_keys.take_back(town.store, [STOLEN], [])
    assert not any(lane.startswith("publish_config:") for lane in town.lanes())
    removed_keys.take_back(town.store, [replace(STOLEN, use="config")], [])
    asked = {lane.partition(":")[2] for lane in town.lanes() if lane.startswith("publish_config:")}
    with town.store.read() as read_only:
        assert asked == {s.id for s in read_only.find(Speaker) if s.enrolled} != set()


def forged_alone(town: Town) -> str:
    """A stream on which nothing was ever signed here, and a thief's manifest of it."""
    alert = town.on_air()
    mine = read(sign(town, alert.stream, KEYS), KEYS)
    topic = speaker_link.manifest_topic(CITY, "actual", "city")
    forged = replace(mine, stream=topic, orders=(replace(mine.orders[0], id="evil"),))
    with town.store.write() as tx:
        assert compared.found_on_broker(tx, topic, b"forged", forged, STOLEN.id, 1) == "unknown here"
    return topic


def test_what_has_to_be_signed_anew_is_tried_until_it_is_signed(town: Town) -> None:
    topic = forged_alone(town)
    lane = EffectGaveUp(f"publish_stream:{topic}", "no key")
    remove(town)
    assert town.engine.handle([lane]).tried_on
    sign(town, topic, KEYS)
    assert not town.engine.handle([lane]).tried_on


def test_streams_that_only_speakers_name_are_signed_where_there_can_be_such(town: Town) -> None:
    mine = town.get(Speaker, "mall-1")
    area, own = (
        speaker_link.manifest_topic(CITY, "actual", "city"),
        f"tocsin/v1/speaker/{mine.id}/manifest/actual/city",
    )
    others = [own.replace("mall-1", "mall-2"), own.replace("/city", "/coast"), area.replace(CITY, "999999999999"), "x"]
    says = SpeakerState(True, 1, dict.fromkeys([area, own, *others], 0), 1, 0, "journal", 0, 80, "mains", (), "")
    remove(town)
    receipts.hear_speakers(town.store, [(mine.id, says)], city=town.engine.read_city())
    asked = {lane.partition(":")[2] for lane in town.lanes() if lane.startswith("publish_stream:")}
    assert {area, own} <= asked
    assert not asked & set(others)
    for topic in (area, own):
        assert read(sign(town, topic, KEYS), KEYS).orders == ()


def test_a_gateway_with_an_older_document_signs_and_compares_nothing_while_a_newer_one_runs(town: Town) -> None:
    alert, forged = stolen_manifest(town)
    signing_keys.report(town.store, "gw-1", [KeyReport(STOLEN, "", 0), KeyReport(HELD, "", 0)], 1)
    remove(town)
    with pytest.raises(OlderKeyDocument):
        sign(town, alert.stream, OLDER)
    with pytest.raises(OlderKeyDocument):
        on_broker(town, forged)
    town.clock.advance(5)
    town.act(alert.id, Stopped("wang", DUTY, "wait"))
    assert "evil" not in states(read(sign(town, alert.stream, KEYS), KEYS))
    assert town.whys("gw-1", "gateway.keys_behind") != []


def test_when_the_gateway_with_the_newest_document_dies_another_signs_and_brings_nothing_back(town: Town) -> None:
    alert, forged = stolen_manifest(town)
    for gateway in ("gw-0", "gw-1"):
        hold(town.store, gateway, "host/1", 3 * SECOND_US)
    signing_keys.report(town.store, "gw-1", [KeyReport(STOLEN, "", 0), KeyReport(HELD, "", 0)], 1)
    remove(town)
    town.clock.advance(60)
    hold(town.store, "gw-1", "host/1", 3 * SECOND_US)
    assert on_broker(town, forged) == "republish"
    assert not foreign.waits(row(town, alert.stream))
    with pytest.raises(NoKey, match="newest key document"):
        sign(town, alert.stream, OLDER)
    assert sign(town, alert.stream, successor(version=1)).fresh
    done(town)
    broker_copies.sign_again(town.store, alert.stream, 1)
    assert f"publish_stream:{alert.stream}" not in town.lanes()
    signing_keys.report(town.store, "gw-1", [KeyReport(STOLEN, "", 0), KeyReport(HELD, "", 0)], 1)
    with town.store.read() as read_only:
        assert {key.id for key in read_only.find(KeyState)} == {HELD.id}


@pytest.mark.parametrize("dies", [False, True])
def test_a_late_signature_is_replaced_when_the_newest_document_is_back(town: Town, dies: bool) -> None:
    alert, _ = stolen_manifest(town)
    for gateway in ("gw-0", "gw-1"):
        hold(town.store, gateway, "host/1", 3 * SECOND_US)
    remove(town)
    town.clock.advance(60)
    hold(town.store, "gw-1", "host/1", 3 * SECOND_US)
    signing_keys.report(town.store, "gw-1", [KeyReport(STOLEN, "", 0)], 1)
    town.act(alert.id, Stopped("wang", DUTY, "wait"))
    sign(town, alert.stream, KEYS)
    done(town)
    town.clock.advance(60 if dies else 1)
    hold(town.store, "gw-0", "host/1", 3 * SECOND_US)
    remove(town)
    assert f"publish_stream:{alert.stream}" in town.lanes()
    by_successor = successor(version=2)
    sign(town, alert.stream, by_successor)
    done(town)
    remove(town)
    assert f"publish_stream:{alert.stream}" not in town.lanes()


def test_what_another_key_of_the_newest_document_signed_is_compared_by_the_one_that_is_left(town: Town) -> None:
    alert, found = stolen_manifest(town, ahead=60)
    hold(town.store, "gw-1", "host/1", 3 * SECOND_US)
    signing_keys.report(town.store, "gw-1", [KeyReport(STOLEN, "", 0), KeyReport(HELD, "", 0)], 1)
    remove(town)
    assert on_broker(town, found, HELD.id) == "unknown here"
    assert foreign.waits(row(town, alert.stream))


def test_where_no_key_of_the_newest_document_signs_a_gateway_with_an_older_one_does(town: Town) -> None:
    alert, _ = stolen_manifest(town)
    signing_keys.report(town.store, "gw-1", [KeyReport(STOLEN, "", 0), KeyReport(HELD, "", 0)], 1)
    signing_keys.report(town.store, "gw-0", [KeyReport(HELD, "absent")], 2)
    assert sign(town, alert.stream, successor(version=1)).fresh


def late(town: Town, topic: str, **changes: Any) -> None:
    """A gateway with the first document wrote this while the newer one was reported."""
    with town.store.write() as tx:
        stream = tx.get_locked(Stream, topic)
        assert stream is not None
        tx.put(replace(stream, **changes))
    done(town)


def test_a_signature_that_came_while_the_key_was_removed_is_replaced(town: Town) -> None:
    signing_keys.report(town.store, "gw-1", [KeyReport(STOLEN, "", 0), KeyReport(HELD, "", 0)], 1)
    alert = town.on_air()
    remove(town)
    sign(town, alert.stream, KEYS)
    late(town, alert.stream)
    signing_keys.report(town.store, "gw-1", [KeyReport(HELD, "", 0)], 2)
    assert f"publish_stream:{alert.stream}" in town.lanes()
    by_successor = successor(version=2)
    assert sign(town, alert.stream, by_successor).fresh
    for gateway in ("gw-0", "gw-1"):
        signing_keys.report(town.store, gateway, [KeyReport(HELD, "", 0)], 2)
    assert not sign(town, alert.stream, by_successor).fresh


def test_what_was_compared_while_the_key_was_removed_is_given_up(town: Town) -> None:
    signing_keys.report(town.store, "gw-1", [KeyReport(STOLEN, "", 0), KeyReport(HELD, "", 0)], 1)
    alert, forged = stolen_manifest(town)
    assert on_broker(town, forged) == "unknown here"
    found = row(town, alert.stream)
    remove(town)
    late(town, alert.stream, foreign=found.foreign, foreign_kid=STOLEN.id)
    remove(town)
    assert not foreign.waits(row(town, alert.stream))
    assert "evil" not in states(read(sign(town, alert.stream, KEYS), KEYS))


LIMITS: list[dict[str, Any]] = [{"area": "330383001000"}, {"levels": (4,)}, {"use": "exercise"}]


def narrow(town: Town, gateway: str, document: int, limit: dict[str, Any]) -> None:
    narrowed = [KeyReport(replace(STOLEN, **limit), "", 0), KeyReport(HELD, "", 0)]
    signing_keys.report(town.store, gateway, narrowed, document)


@pytest.mark.parametrize("limit", LIMITS)
def test_what_a_key_had_signed_that_may_sign_less_is_given_up(town: Town, limit: dict[str, Any]) -> None:
    topic = forged_alone(town)
    narrow(town, "gw-0", 1, limit)
    signing_keys.report(town.store, "gw-1", [KeyReport(STOLEN, "", 0), KeyReport(HELD, "", 0)], 1)
    narrow(town, "gw-0", 2, limit)
    assert not foreign.waits(row(town, topic))
    assert f"publish_stream:{topic}" in town.lanes()


@pytest.mark.parametrize("limit", LIMITS)
def test_a_late_signature_of_a_key_that_may_sign_less_is_replaced(town: Town, limit: dict[str, Any]) -> None:
    signing_keys.report(town.store, "gw-1", [KeyReport(STOLEN, "", 0), KeyReport(HELD, "", 0)], 1)
    alert = town.on_air()
    narrow(town, "gw-0", 2, limit)
    sign(town, alert.stream, KEYS)
    late(town, alert.stream)
    narrow(town, "gw-0", 2, limit)
    assert f"publish_stream:{alert.stream}" in town.lanes()


@pytest.mark.parametrize(("limit", "above"), [({"levels": (4,)}, True), ({"area": DISTRICT}, True), (LIMITS[0], False)])
def test_ours_goes_above_the_version_of_a_key_that_may_still_sign_there(
    town: Town, limit: dict[str, Any], above: bool
) -> None:
    alert, forged = stolen_manifest(town)
    assert f"/{DISTRICT}/" in alert.stream
    on_broker(town, forged)
    narrow(town, "gw-0", 2, limit)
    signed = sign(town, alert.stream, KEYS)
    assert (signed.version > forged.version, "evil" in states(read(signed, KEYS))) == (above, False)


def test_a_key_that_may_sign_more_gives_up_nothing_that_a_person_decides(town: Town) -> None:
    narrow(town, "gw-0", 2, {"levels": (2, 3, 4)})
    alert, found = stolen_manifest(town, ahead=60)
    assert on_broker(town, found, document=2) == "unknown here"
    signing_keys.report(town.store, "gw-0", [KeyReport(STOLEN, "", 0), KeyReport(HELD, "", 0)], 3)
    assert foreign.waits(row(town, alert.stream))
    assert not row(town, alert.stream).anew


def test_another_key_under_the_same_name_vouches_for_nothing_of_the_first(town: Town) -> None:
    signing_keys.report(town.store, "gw-0", [KeyReport(replace(STOLEN, x="first"), "", 0)], 2)
    alert, forged = stolen_manifest(town)
    on_broker(town, forged, document=2)
    signing_keys.report(town.store, "gw-0", [KeyReport(replace(STOLEN, x="second"), "", 0)], 3)
    assert not foreign.waits(row(town, alert.stream))
    assert sign(town, alert.stream, KEYS).version < forged.version


OWN = "tocsin/v1/speaker/mall-1/manifest/actual/city"


def test_a_stream_that_a_speaker_names_when_it_comes_back_after_the_removal_is_signed(town: Town) -> None:
    remove(town)
    done(town)
    hear(town, "mall-1", state({OWN: 0}))
    assert f"publish_stream:{OWN}" in town.lanes()
    assert read(sign(town, OWN, KEYS), KEYS).orders == ()
    done(town)
    hear(town, "mall-1", state({OWN: 0}))
    assert f"publish_stream:{OWN}" not in town.lanes()


def test_an_unknown_stream_on_which_a_version_counts_is_left_to_who_compares_it(town: Town) -> None:
    """A restored database has lost it, or a thief's key is still listed: what is on it must be seen before we sign."""
    hear(town, "mall-1", state({OWN: NOON_US // 1_000}))
    assert f"publish_stream:{OWN}" not in town.lanes()
    with town.store.read() as read:
        assert read.get(Stream, OWN) is None


def test_a_last_will_takes_back_nothing_that_a_speaker_has_said_since_it_connected(town: Town) -> None:
    hear(town, "mall-1", state({OWN: NOON_US // 1_000}, keys_version=7, config_version=5))
    hear(town, "mall-1", state({}, online=False, keys_version=6, config_version=4))
    live = town.get(Live, "mall-1")
    assert (live.online, live.streams) == (False, {OWN: NOON_US // 1_000})
    assert (live.keys_version, live.config_version) == (7, 5)


def test_the_stream_of_a_speaker_that_is_gone_is_not_tried_for_ever(town: Town) -> None:
    gone = OWN.replace("mall-1", "gone-1")
    with town.store.write() as tx:
        tx.put(new_stream(gone))
    remove(town)
    assert f"publish_stream:{gone}" in town.lanes()
    with pytest.raises(NotFound):
        sign(town, gone, KEYS)
    assert not town.engine.handle([EffectGaveUp(f"publish_stream:{gone}", "no such speaker")]).tried_on


@pytest.mark.parametrize("later_s", [-60, 7_200, 20 * 365 * 86_400])
def test_a_thiefs_order_of_any_time_that_we_carried_ends_and_sweeps_nothing_later(town: Town, later_s: int) -> None:
    first = town.on_air()
    mine = read(sign(town, first.stream, KEYS), KEYS)
    start_us = mine.orders[0].start_at + later_s * SECOND_US
    strange = replace(mine.orders[0], id="evil", start_at=start_us, expires=start_us + 86_400 * SECOND_US)
    forged = replace(mine, version=mine.version + 500_000, orders=(*mine.orders, strange))
    with town.store.write() as tx:
        compared.found_on_broker(tx, forged.stream, b"forged", forged, STOLEN.id, 1)
    town.clock.advance(5)
    town.act(first.id, Stopped("wang", DUTY, "wait"))
    assert states(read(sign(town, first.stream, KEYS), KEYS))["evil"] == (1, "in_force")
    remove(town)
    after = read(sign(town, first.stream, KEYS), KEYS)
    if later_s < 0:
        assert ("evil" in states(after), after.swept) == (False, start_us + 1)
    else:
        assert states(after)["evil"] == (2, "withdrawn")
        town.clock.advance(3_600)
        assert read(sign(town, first.stream, KEYS), KEYS).swept == 0
