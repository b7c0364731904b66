"""What people or the ladder get to see of every kind of effect that was tried long enough, through the real relay."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from devices.protocols.documents import Manifest, Phase
from services.dispatcher.domain.broadcasts import (
    Broadcast,
    BroadcastState,
    Declined,
    Stopped,
    content_hash,
    wire_order,
)
from services.dispatcher.domain.effects import Carry, Save, Timer
from services.dispatcher.domain.places import Speaker, Venue
from services.dispatcher.domain.planning import City
from services.dispatcher.domain.polling import Poll, Round
from services.dispatcher.domain.refusals import PlaceholderLeft
from services.dispatcher.domain.retries import RETRIES, GivenUp
from services.dispatcher.domain.verification import Task, TaskState
from services.dispatcher.engine import desk, health, queries
from services.dispatcher.engine.air import compared
from services.dispatcher.engine.air.staging import Staging
from services.dispatcher.engine.cities import city_changed
from services.dispatcher.engine.events import AudioRendered, CanaryAnswered, EffectGaveUp
from services.dispatcher.engine.relay import Carrier, CarryFailed, NotYet, Relay
from services.dispatcher.engine.rows import Asset, EffectRow, LogRow, Wording
from tests import builders
from tests.builders import (
    BOTH,
    DUTY,
    MALL,
    NOON_US,
    SECOND_US,
    Town,
    fire_playbook,
    fire_signal,
    released_by,
    storm_signal,
)


@dataclass
class Carriers:
    """Carriers of every kind that do as they are told: a kind without word fails."""

    town: Town
    answers: dict[Carry, Callable[[EffectRow], None]] = field(default_factory=dict)

    def pass_(self, seconds: float = 0, only: Carry | None = None) -> int:
        """Let so much time pass, a relay looking every half second; how often something was carried."""
        carriers: dict[str, Carrier] = dict.fromkeys([only] if only else Carry, self.carry)
        relay = Relay(self.town.store, self.town.engine, carriers, "one", self.town.clock)
        carried = relay.run()
        for _ in range(round(seconds * 2)):
            self.town.clock.advance(0.5)
            carried += relay.run()
        return carried

    def carry(self, effect: EffectRow) -> None:
        answer = self.answers.get(Carry(effect.carry))
        if answer is None:
            raise CarryFailed("away")
        answer(effect)


def fine(effect: EffectRow) -> None:
    return


def handed_on(effect: EffectRow) -> None:
    raise NotYet


@pytest.fixture
def town() -> Town:
    return builders.town()


@pytest.fixture
def carriers(town: Town) -> Carriers:
    """Everything can be carried out, until a test says otherwise."""
    return Carriers(town, dict.fromkeys(Carry, fine))


def lane(town: Town, carry: Carry, subject: str) -> EffectRow | None:
    with town.store.read() as read:
        return next((e for e in read.open_effects() if (e.carry, e.subject) == (carry, subject)), None)


def lines(town: Town, subject: str, kind: str) -> list[LogRow]:
    with town.store.read() as read:
        return [row for row in read.log_of(subject) if row.kind == kind]


def test_every_kind_that_is_given_up_is_seen_somewhere_else_than_in_its_own_lane(town: Town) -> None:
    """One of each kind, wanted by somebody; the event alone must change something that people or a ladder see."""
    incident = town.signal(fire_signal())
    alert, task = town.alert(incident), town.incident(incident).task
    town.act(alert.id, released_by("duty", alert))
    town.clock.advance(11)
    with town.store.write() as tx:
        tx.put(Poll("weather", "https://weather.example/list", 60, asked=True))
    subjects = {
        GivenUp.NOT_PUBLISHED: (alert.stream, alert.id, "broadcast.not_published"),
        GivenUp.CONFIG_OLD: ("mall-1", "mall-1", "speaker.config_old"),
        GivenUp.LADDER_CLIMBS: (task, task, "task.not_reached"),
        GivenUp.SPEAKERS_SAY_IT: (alert.wordings["zh"], alert.id, "broadcast.not_rendered"),
        GivenUp.NOT_ASKED: ("mall-1", "mall-1", "speaker.not_asked"),
        GivenUp.WORKERS_SILENT: ("worker", "worker", "worker.silent"),
        GivenUp.FEED_SILENT: ("weather", "weather", "feed.poll_failing"),
    }
    for carry in Carry:
        effect, seen_at, kind = subjects[RETRIES[carry].then]
        before = len(lines(town, seen_at, kind))
        town.engine.handle([EffectGaveUp(f"{carry}:{effect}", "away", again=True)])
        assert len(lines(town, seen_at, kind)) == before + 1, carry


# What is on air


def on_air(town: Town) -> tuple[str, str]:
    """A storm's alert on air; its id and its stream."""
    alert = town.alert(town.signal(storm_signal()))
    town.act(alert.id, released_by("duty", alert))
    town.act(alert.id, released_by("chief", town.get(Broadcast, alert.id)))
    return alert.id, alert.stream


def test_a_stop_is_tried_until_the_broker_has_it_however_long_that_takes(town: Town, carriers: Carriers) -> None:
    alert, stream = on_air(town)
    carriers.pass_()
    town.act(alert, Stopped("duty", DUTY, "wrong place"))
    del carriers.answers[Carry.PUBLISH_STREAM]
    carriers.pass_(1_800, only=Carry.PUBLISH_STREAM)
    effect = lane(town, Carry.PUBLISH_STREAM, stream)
    assert effect is not None and effect.tries > 300
    assert effect.not_before_us - town.clock.now_us() <= 5 * SECOND_US
    told = lines(town, alert, "broadcast.not_published")
    # Once when it is sure, and then whenever the failures have doubled.
    assert len(told) == 6
    assert json.loads(told[0].body)["why"].startswith("speakers do not have revision 2: away.")
    carriers.answers[Carry.PUBLISH_STREAM] = fine
    carriers.pass_(5)
    assert lane(town, Carry.PUBLISH_STREAM, stream) is None


def test_people_are_told_within_half_a_minute_that_nothing_goes_out(town: Town, carriers: Carriers) -> None:
    alert, _ = on_air(town)
    del carriers.answers[Carry.PUBLISH_STREAM]
    carriers.pass_(15)
    assert len(lines(town, alert, "broadcast.not_published")) == 1


def test_what_its_carrier_calls_hopeless_is_tried_on_while_an_order_may_sound(town: Town, carriers: Carriers) -> None:
    _, stream = on_air(town)

    def hopeless(effect: EffectRow) -> None:
        raise CarryFailed("speakers would refuse it", again=False)

    carriers.answers[Carry.PUBLISH_STREAM] = hopeless
    carriers.pass_(60)
    assert lane(town, Carry.PUBLISH_STREAM, stream) is not None
    carriers.answers[Carry.PUBLISH_STREAM] = fine
    carriers.pass_(5)
    assert lane(town, Carry.PUBLISH_STREAM, stream) is None


def test_what_a_person_decided_about_orders_unknown_here_is_tried_until_they_are_over(
    town: Town, carriers: Carriers
) -> None:
    manifest = unknown_on_air(town)
    del carriers.answers[Carry.PUBLISH_STREAM]
    desk.withdraw_stream(town.store, manifest.stream, "li")
    carriers.pass_(600, only=Carry.PUBLISH_STREAM)
    assert lane(town, Carry.PUBLISH_STREAM, manifest.stream) is not None
    (told, *_) = town.whys(manifest.stream, "stream.not_published")
    assert told == "what was decided about orders that are unknown here does not reach speakers: away"
    town.clock.advance(7_200)
    carriers.pass_(60, only=Carry.PUBLISH_STREAM)
    assert lane(town, Carry.PUBLISH_STREAM, manifest.stream) is None


def test_what_a_person_withdrew_is_published_again_while_the_broker_still_holds_it(
    town: Town, carriers: Carriers
) -> None:
    manifest = unknown_on_air(town)
    desk.withdraw_stream(town.store, manifest.stream, "li")
    carriers.pass_(5)
    assert lane(town, Carry.PUBLISH_STREAM, manifest.stream) is None
    with town.store.write() as tx:
        assert compared.found_on_broker(tx, manifest.stream, b"signed", manifest, "actual-city-1", 0) == "republish"
    assert lane(town, Carry.PUBLISH_STREAM, manifest.stream) is not None


def unknown_on_air(town: Town) -> Manifest:
    """The broker holds an order in force that this database does not know."""
    draft = town.alert(town.signal(storm_signal()))
    order = replace(wire_order(draft), id="rogue", rev=1, start_at=NOON_US, expires=NOON_US + 3_600 * SECOND_US)
    said = Manifest(draft.stream, NOON_US // 1_000 + 7, NOON_US, NOON_US + 3_600 * SECOND_US, "", (order,))
    with town.store.write() as tx:
        assert compared.found_on_broker(tx, said.stream, b"signed", said, "actual-city-1", 0) == "unknown here"
    return said


def test_a_stream_on_which_nothing_may_sound_any_more_is_given_up(town: Town, carriers: Carriers) -> None:
    with town.store.write() as tx:
        tx.save(Save(Carry.PUBLISH_STREAM, "stream"))
    del carriers.answers[Carry.PUBLISH_STREAM]
    carriers.pass_(60)
    assert lane(town, Carry.PUBLISH_STREAM, "stream") is None
    assert town.kinds("publish_stream:stream") == ["effect.gave_up"]


# Audio


def wording_of_draft(town: Town) -> tuple[str, str]:
    """A draft's id, and the wording of its Chinese text."""
    alert = town.alert(town.signal(fire_signal()))
    return alert.id, alert.wordings["zh"]


def test_audio_is_rendered_in_the_end_after_hours_of_backlog_with_blips(town: Town, carriers: Carriers) -> None:
    alert, wording = wording_of_draft(town)
    for _ in range(12):
        carriers.answers[Carry.RENDER_AUDIO] = handed_on
        carriers.pass_(900, only=Carry.RENDER_AUDIO)
        del carriers.answers[Carry.RENDER_AUDIO]
        carriers.pass_(20, only=Carry.RENDER_AUDIO)
    assert lane(town, Carry.RENDER_AUDIO, wording) is not None
    whys = town.whys(alert, "broadcast.not_rendered")
    assert "its zh audio is not rendered: handed on, and not done 60 s after it was wanted. Speakers say" in whys[0]
    # Told when it begins and when it has doubled, a blip now and then; never line upon line.
    assert len(whys) < 60
    town.engine.handle([AudioRendered(Asset(wording, "zh", "opus", "0" * 64, 1, 1, True))])
    carriers.answers[Carry.RENDER_AUDIO] = fine
    carriers.pass_(30)
    assert lane(town, Carry.RENDER_AUDIO, wording) is None


def test_a_render_that_comes_late_still_reaches_the_broadcast_on_air(town: Town, carriers: Carriers) -> None:
    alert, wording = wording_of_draft(town)
    carriers.answers[Carry.RENDER_AUDIO] = handed_on
    carriers.pass_(300)
    before = town.act(alert, released_by("duty", town.get(Broadcast, alert), BOTH))
    town.engine.handle([AudioRendered(Asset(wording, "zh", "opus", "0" * 64, 1, 1, True))])
    after = town.get(Broadcast, alert)
    assert ([a.lang for a in after.audio], after.rev) == (["zh"], before.rev + 1)


def test_words_that_nobody_wants_any_more_are_given_up(town: Town, carriers: Carriers) -> None:
    alert, wording = wording_of_draft(town)
    town.act(alert, Declined("duty", DUTY, "a false alarm"))
    carriers.answers[Carry.RENDER_AUDIO] = handed_on
    carriers.pass_(61, only=Carry.RENDER_AUDIO)
    assert lane(town, Carry.RENDER_AUDIO, wording) is None
    assert town.kinds(f"render_audio:{wording}") == ["effect.gave_up"]


def test_words_of_a_standing_order_are_wanted_though_nothing_is_drafted() -> None:
    town = builders.town(playbooks=(fire_playbook(standing=builders.standing_order()),))
    Staging(town.store).step(town.engine.read_city(), town.engine.playbooks)
    with town.store.read() as read:
        staged = [e.subject for e in read.open_effects() if e.carry == Carry.RENDER_AHEAD]
    assert len(staged) == 4
    town.clock.advance(100_000)
    Carriers(town).pass_(60, only=Carry.RENDER_AHEAD)
    assert all(lane(town, Carry.RENDER_AHEAD, wording) for wording in staged)


def test_words_with_a_placeholder_are_never_handed_on_and_what_asked_for_them_is_given_up(town: Town) -> None:
    with town.store.write() as tx:
        tx.put(Wording("odd", "zh", "请离开{venue}。", "actual", "alert", 1, "12B00"))
        tx.save(Save(Carry.RENDER_AUDIO, "odd"))

    def refuses(effect: EffectRow) -> None:
        raise CarryFailed(PlaceholderLeft("{venue}").sentence, again=False)

    Carriers(town, {Carry.RENDER_AUDIO: refuses}).pass_(only=Carry.RENDER_AUDIO)
    assert lane(town, Carry.RENDER_AUDIO, "odd") is None


# Offices


def test_a_ladder_climbs_at_once_when_its_office_cannot_be_reached(town: Town, carriers: Carriers) -> None:
    task = town.incident(town.signal(fire_signal())).task
    del carriers.answers[Carry.OFFICE_TASK]
    carriers.pass_(15)
    climbed = town.get(Task, task)
    assert (climbed.rung, climbed.state, climbed.office) == (1, TaskState.ASKED, "district-centre")
    assert town.whys(task, "task.not_reached") == ["other-office is not reached: away; the next office is asked"]
    # The next office's deadline begins when it is asked.
    assert climbed.due_us - climbed.rung_began_us == climbed.rungs[1].answer_timeout_s * SECOND_US
    assert town.clock.now_us() - climbed.rung_began_us < 5 * SECOND_US


def test_on_the_last_rung_the_deadline_stands_and_delivery_is_tried_on(town: Town, carriers: Carriers) -> None:
    task = town.incident(town.signal(fire_signal())).task
    del carriers.answers[Carry.OFFICE_TASK]
    carriers.pass_(100)
    last = town.get(Task, task)
    assert (last.on_last_rung, last.state) == (True, TaskState.ASKED)
    assert last.due_us - last.rung_began_us == last.rungs[-1].answer_timeout_s * SECOND_US
    assert town.whys(task, "task.not_reached")[-1].endswith("nobody is left to ask, and its deadline stands")
    effect = lane(town, Carry.OFFICE_TASK, task)
    assert effect is not None
    carriers.answers[Carry.OFFICE_TASK] = fine
    carriers.pass_(5)
    assert lane(town, Carry.OFFICE_TASK, task) is None


def test_an_office_that_was_asked_just_now_keeps_its_chance(town: Town) -> None:
    task = town.incident(town.signal(fire_signal())).task
    town.clock.advance(9)
    outcome = town.engine.handle([EffectGaveUp(f"office_task:{task}", "away", again=True)])
    assert (town.get(Task, task).rung, outcome.tried_on) == (0, [f"office_task:{task}"])


@pytest.mark.parametrize("state", [TaskState.ANSWERED, TaskState.UNANSWERED, TaskState.WITHDRAWN])
def test_a_task_that_is_over_is_told_to_its_offices_for_a_while_only(town: Town, state: TaskState) -> None:
    task = town.get(Task, town.incident(town.signal(fire_signal())).task)
    with town.store.write() as tx:
        tx.put(replace(tx.get_locked(Task, task.id) or task, state=state))
    town.clock.advance(60)
    outcome = town.engine.handle([EffectGaveUp(f"office_task:{task.id}", "away", again=True)])
    assert (town.get(Task, task.id).state, town.get(Task, task.id).rung, outcome.tried_on) == (state, 0, [])


# Configs


def configs(town: Town) -> list[str]:
    with town.store.read() as read:
        return sorted(e.subject for e in read.open_effects() if e.carry == Carry.PUBLISH_CONFIG)


def test_a_config_is_tried_while_its_speaker_is_enrolled(town: Town, carriers: Carriers) -> None:
    del carriers.answers[Carry.PUBLISH_CONFIG]
    with town.store.write() as tx:
        tx.save(Save(Carry.PUBLISH_CONFIG, "mall-1"))
    carriers.pass_(3_600, only=Carry.PUBLISH_CONFIG)
    assert "mall-1" in configs(town)
    assert town.whys("mall-1", "speaker.config_old")[0].startswith("it does not have config ")
    with town.store.write() as tx:
        speaker = tx.get_locked(Speaker, "mall-1")
        assert speaker is not None
        tx.put(replace(speaker, enrolled=False))
        city_changed(tx)
    carriers.pass_(7_200, only=Carry.PUBLISH_CONFIG)
    assert "mall-1" not in configs(town)


def test_a_speaker_whose_config_does_not_come_is_shown_with_an_old_one(town: Town) -> None:
    with town.store.write() as tx:
        speaker = tx.get_locked(Speaker, "mall-1")
        assert speaker is not None
        tx.put(replace(speaker, config_version=speaker.config_version + 1))
        tx.heard([builders.live("mall-1", config_version=speaker.config_version)])
    with town.store.read() as read:
        now = queries.speaker_now(read, "mall-1")
    assert now.live is not None and now.live.config_version < now.speaker.config_version


# Asks, canaries, polls


def test_an_ask_for_receipts_expires_and_the_log_of_the_speaker_says_so(town: Town, carriers: Carriers) -> None:
    del carriers.answers[Carry.ASK_MISSING]
    with town.store.write() as tx:
        tx.save(Save(Carry.ASK_MISSING, "mall-1"))
    carriers.pass_(599, only=Carry.ASK_MISSING)
    assert lane(town, Carry.ASK_MISSING, "mall-1") is not None
    carriers.pass_(31, only=Carry.ASK_MISSING)
    assert lane(town, Carry.ASK_MISSING, "mall-1") is None
    assert town.whys("mall-1", "speaker.not_asked") == ["nobody asks for its missing receipts: its time ran out"]


def test_a_canary_that_cannot_be_sent_makes_health_red_before_the_next_one(town: Town, carriers: Carriers) -> None:
    town.engine.handle([CanaryAnswered(town.clock.now_us())])
    seen_us = town.clock.now_us()
    del carriers.answers[Carry.CANARY]
    for _ in range(3):
        with town.store.write() as tx:
            tx.save(Save(Carry.CANARY, "worker"))
        carriers.pass_(60, only=Carry.CANARY)
        with town.store.read() as read:
            assert health.worker_seen(read)[1:] == (seen_us, True)
    town.engine.handle([CanaryAnswered(town.clock.now_us())])
    with town.store.read() as read:
        assert health.worker_seen(read)[1:] == (town.clock.now_us(), False)


def poll(town: Town) -> Poll:
    return town.get(Poll, "weather")


def test_a_poll_that_nobody_takes_on_is_one_that_failed_and_is_due_again(town: Town, carriers: Carriers) -> None:
    with town.store.write() as tx:
        tx.put(Poll("weather", "https://weather.example/list", 60, asked=True))
        tx.save(Save(Carry.POLL_FEED, "weather"))
    carriers.answers[Carry.POLL_FEED] = handed_on
    carriers.pass_(299, only=Carry.POLL_FEED)
    assert (poll(town).asked, poll(town).failures) == (True, 0)
    carriers.pass_(16, only=Carry.POLL_FEED)
    silent = poll(town)
    assert (silent.asked, silent.failures, silent.reason) == (False, 1, "workers_away")
    assert lane(town, Carry.POLL_FEED, "weather") is None
    with town.store.read() as read:
        due = [t.due_us for t in read.due_timers(2**62, 100) if (t.timer, t.subject) == (Timer.POLL, "weather")]
    assert due == [silent.next_due_us]


def test_a_poll_whose_answer_is_being_taken_is_not_late(town: Town) -> None:
    taking = Poll("weather", "https://weather.example/list", 60, asked=True, round=Round("", "", "d", ("a",), False))
    with town.store.write() as tx:
        tx.put(taking)
    outcome = town.engine.handle([EffectGaveUp("poll_feed:weather", "handed on", again=True)])
    assert (poll(town).failures, outcome.tried_on) == (0, ["poll_feed:weather"])


# The last door


def odd_city(town: Town) -> City:
    """A city in which a venue's name would be read out with braces."""
    with town.store.write() as tx:
        venue = tx.get_locked(Venue, MALL)
        assert venue is not None
        tx.put(replace(venue, name="商场{2}"))
        city_changed(tx)
    return town.engine.read_city()


def test_an_order_that_would_read_a_placeholder_out_is_not_drafted_and_says_why(town: Town) -> None:
    odd_city(town)
    incident = town.signal(fire_signal())
    assert town.incident(incident).alert == ""
    (line,) = lines(town, incident, "broadcast.not_planned")
    said = json.loads(line.body)
    assert said["facts"]["code"] == "placeholder_left"
    assert "{2}" in said["why"]


def test_a_draft_whose_words_hold_a_placeholder_is_never_released(town: Town) -> None:
    alert = town.alert(town.signal(fire_signal()))
    odd = replace(alert, texts={**alert.texts, "zh": "请离开{venue}。"})
    with town.store.write() as tx:
        tx.put(replace(odd, content=content_hash(odd)))
    drafted = town.get(Broadcast, alert.id)
    with pytest.raises(PlaceholderLeft) as refused:
        town.act(alert.id, released_by("duty", drafted))
    assert refused.value.code == "placeholder_left"
    assert "alert/zh: {venue}" in refused.value.sentence
    assert town.get(Broadcast, alert.id).state is BroadcastState.DRAFT


def test_followers_are_checked_with_their_alert() -> None:
    spoken = replace(fire_playbook().spoken, all_clear={"zh": "{venue}火情解除。"})
    town = builders.town(playbooks=(fire_playbook(spoken=spoken),))
    incident = town.signal(fire_signal())
    assert town.incident(incident).alert == ""
    assert f"{Phase.ALL_CLEAR}/zh: {{venue}}" in town.whys(incident, "broadcast.not_planned")[0]
