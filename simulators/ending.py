"""When faults are over: what must be true within a bounded time at speakers, broker and database; laws 4, 7, 8."""

from __future__ import annotations

from collections.abc import Sequence

from devices.protocols.documents import Order, OrderClass, Phase, Step, StepKind
from devices.protocols.selector import matches
from devices.protocols.speaker_link import decode_receipt, parse_manifest_topic, whereabouts
from services.dispatcher.domain.broadcasts import Broadcast, BroadcastState, wire_order
from services.dispatcher.domain.effects import Carry
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.judgement import Doubt
from services.dispatcher.domain.sightings import UNKNOWN_SOUNDS, Listing, Sighting, order_id
from services.dispatcher.engine.air.foreign import unknown_on_air
from services.dispatcher.engine.rows import Asset, EffectRow, Expected, Stream
from simulators.checks import HEARD_PERCENT, HOUR_US, Ears, Truth, enrolled, said_limited, said_of
from simulators.endpoint import Heard, SimulatedSpeaker
from simulators.network import Broker
from simulators.precedence import ends_drills, must_wait

FOLLOW_US = 60_000_000
STOP_US = 5_000_000
ALARM_US = 30_000_000
SOUND_US = 60_000_000
SETTLED_US = 600_000_000
MISSED = '"missed"'
TIME_DOUBTS = (Doubt.BEFORE_START, Doubt.IN_FUTURE, Doubt.AFTER_END)
RENDERING = (Carry.RENDER_AUDIO, Carry.RENDER_AHEAD)
RENDERED_US = 60_000_000


class Ending:
    """Looks at every speaker, with what the database says that it should have done."""

    def __init__(self, truth: Truth, ears: Ears, broker: Broker, speakers: Sequence[SimulatedSpeaker]) -> None:
        self._truth, self._ears, self._broker, self._speakers = truth, ears, broker, speakers

    # Within a time, while all is well

    def followed(self, follower_id: str, since_us: int) -> None:
        """Law 4: a correction or all-clear has begun at every reachable speaker that had begun the original."""
        row = self._truth.database.rows(Broadcast).get(follower_id)
        if row is None or row.rev == 0:
            return
        if self._replaced(row):
            return
        key, original = f"{row.use}/{row.id}", f"{row.use}/{row.original}"
        planned = self._truth.database.rows("expected").get(row.original, {})
        for speaker in self._speakers:
            mine = [h for h in speaker.heard if h.journal == speaker.disk.journal and h.plan.order == original]
            had = any(h.began_us < since_us for h in mine)
            if not had or speaker.id not in planned or not self.reachable(speaker, since_us):
                continue
            self._truth.counts["law4.checked"] += 1
            begun = any(h.plan.order == key and h.began_us >= since_us for h in speaker.heard)
            # A restored database may release once more what was heard in the time that it lost: at most once heard.
            begun = begun or _heard_since(speaker, row, max(h.began_us for h in mine))
            if not begun and self._drill_over(speaker, row):
                self._truth.counts["excused.drill_over"] += 1
                continue
            if not begun and not self._outranked(speaker, row, since_us):
                late = f"has not begun the {row.phase} {follower_id} of {row.original} after 60 s"
                self._truth.broken(4, follower_id, f"{speaker.id} {late}")

    def _replaced(self, row: Broadcast) -> bool:
        """Whether the other follower of the same alert took this one's place."""
        others = [b for b in self._truth.database.rows(Broadcast).values() if b.original == row.original]
        return row.state is not BroadcastState.ON_AIR and any(b.start_at_us > row.start_at_us for b in others)

    def stopped(self, broadcast_id: str, since_us: int) -> None:
        """A stop cuts the sound at every reachable speaker."""
        row = self._truth.database.rows(Broadcast).get(broadcast_id)
        if row is None or row.state is BroadcastState.ON_AIR:
            return
        for speaker in self._speakers:
            sounding = speaker.sounding
            if sounding is None or not self.reachable(speaker, since_us):
                continue
            if sounding.plan.order == f"{row.use}/{row.id}":
                self._truth.broken(4, broadcast_id, f"{speaker.id} still plays {broadcast_id} 5 s after its stop")

    def alarmed(self, order: str, since_us: int) -> None:
        """Law 1: an order that plays and that nobody gave out is one red incident, which no broadcast came of."""
        seen = self._truth.database.rows(Sighting).get(order_id(order))
        incident = self._truth.database.rows(Incident).get(seen.incident) if seen is not None else None
        if incident is None or incident.hazard != UNKNOWN_SOUNDS or incident.level != 1:
            self._truth.broken(1, order, f"{order} plays, nobody gave it out, and no red incident says so after 30 s")
            return
        named = [i.id for i in self._truth.database.rows(Incident).values() if f"{order}" in i.headline.split("指令")]
        if len(named) > 1 or incident.alert:
            self._truth.broken(
                1, order, f"{order} made {len(named)} incidents, with the alert {incident.alert or 'none'}"
            )
        self._truth.counts["alarm.checked"] += 1

    def _no_false_alarm(self) -> None:
        """Law 1: what was given out here is no alarm; what a restore has lost may be."""
        for seen in self._truth.database.rows(Sighting).values():
            if not seen.incident or seen.order in self._truth.unknown or self._lost(seen) or self._thiefs(seen):
                continue
            self._truth.broken(1, seen.id, f"{seen.id} is an alarm, and it was given out here")

    def _thiefs(self, seen: Sighting) -> bool:
        """Whether it is a version that somebody with a key of the dispatcher's signed, or said by who heard it."""
        if seen.listing is not Listing.THING:
            return bool(self._truth.stolen)
        signed = self._truth.keys.stolen.values()
        return any((seen.stream, seen.version) == (g.manifest.stream, g.manifest.version) for g in signed)

    def taken_back(self, order: str, since_us: int) -> None:
        """Law 5: some time after a stolen key was removed, no reachable speaker begins what only that key vouched for,
        or holds its version."""
        where = self._truth.stolen[order]
        ahead = {g.manifest.version for g in self._truth.keys.stolen.values() if g.manifest.stream == where.stream}
        key = f"{parse_manifest_topic(where.stream).use}/{order}"
        for speaker in self._speakers:
            if not self.reachable(speaker, since_us):
                continue
            self._truth.counts["key.taken_back"] += 1
            held = speaker.state.papers.streams.get(where.stream)
            if held is not None and held.version in ahead:
                said = f"{speaker.id} still holds version {held.version} of {where.stream}"
                self._truth.broken(5, speaker.id, f"{said}, and {where.kid} has been removed")
            if speaker.sounding is not None and speaker.sounding.plan.order == key:
                said = f"{speaker.id} still plays {order}"
                self._truth.broken(5, speaker.id, f"{said}, and {where.kid} has been removed")

    def _lost(self, seen: Sighting) -> bool:
        """Whether a restore has taken away what explained it: an order that only a lost database gave out, or a version
        that it signed. Of many that one speaker says together it can't be told."""
        if seen.listing is not Listing.THING:
            return bool(self._truth.lost)
        for lost in self._truth.lost:
            order, stream = lost.rows(Broadcast).get(seen.order), lost.rows(Stream).get(seen.stream)
            if seen.order and order is not None and order.rev >= max(seen.rev, 1):
                return True
            if not seen.order and stream is not None and stream.manifest_version >= seen.version:
                return True
        return False

    def sounded(self, alert_id: str, since_us: int) -> None:
        """Law 8: an alert that was released has begun at every reachable speaker that it is meant for."""
        row = self._truth.database.rows(Broadcast).get(alert_id)
        if row is None or row.state is not BroadcastState.ON_AIR:
            return
        planned = self._truth.database.rows("expected").get(alert_id, {})
        for speaker in self._speakers:
            config = speaker.state.papers.config
            if speaker.id not in planned or not self.reachable(speaker, since_us) or config is None:
                continue
            if not enrolled(self._truth.database, speaker.id) or not matches(row.selector, whereabouts(config)):
                continue
            self._truth.counts["law8.sound_checked"] += 1
            begun = any(h.plan.order == f"{row.use}/{alert_id}" for h in speaker.heard)
            excused = self._outranked(speaker, row, since_us) or self._excused(speaker, row, self._truth.clock.us)
            if not begun and not excused:
                self._truth.broken(8, alert_id, f"{speaker.id} has not begun {alert_id} 60 s after its release")

    def reachable(self, speaker: SimulatedSpeaker, since_us: int) -> bool:
        """Whether a speaker has been up and online since well before then."""
        config, link = speaker.state.papers.config, speaker.link
        return (
            speaker.alive
            and speaker.online_since_us < since_us - STOP_US
            and link is not None
            and link.passes
            and speaker.state.clock.verified
            and config is not None
            and speaker.sound_failed_us < since_us
            and not speaker.moved_us > since_us - HOUR_US
        )

    def _outranked(self, speaker: SimulatedSpeaker, row: Broadcast, since_us: int) -> bool:
        """Whether something sounded meanwhile for which this correction or all-clear had to wait."""
        journal, key = speaker.disk.journal, f"{row.use}/{row.id}"
        mine = self._ears.held(journal, key) or wire_order(row)
        for heard in speaker.heard:
            other = self._ears.held(heard.journal, heard.plan.order)
            if (heard.ended_us and heard.ended_us < since_us) or heard.plan.order == key or other is None:
                continue
            if must_wait(mine, other):
                return True
            alike = (other.status, other.order_class) == (mine.status, mine.order_class)
            graver = other.level <= mine.level or self._gave_way(journal, mine)
            if alike and other.phase is not Phase.ALL_CLEAR and graver and not must_wait(other, mine):
                return True
        return False

    def _gave_way(self, journal: str, order: Order) -> bool:
        """Whether an all-clear stands below a newer alert that is still waiting, and so below all that is above it."""
        return order.phase is Phase.ALL_CLEAR and any(must_wait(order, o) for o in self._ears.every(journal))

    # In the end

    def converged(self) -> None:
        """Faults are long over: nothing is open, the broker says what the rows say, and everybody heard what is due."""
        self._nothing_open()
        self._no_false_alarm()
        self._all_rendered()
        self._broker_agrees()
        for row in self._truth.database.rows(Broadcast).values():
            if row.rev == 0:
                continue
            for speaker in self._speakers:
                self._heard_all(speaker, row)
                self._coverage_agrees(speaker, row)

    def open_effects(self) -> list[EffectRow]:
        """What is saved and not carried out yet. A draft made just now waits for its audio: the worker was asked, and
        has some seconds."""
        effects: list[EffectRow] = list(self._truth.database.rows("effect").values())
        return [e for e in effects if e.carry not in RENDERING or self._late(e)]

    def _late(self, effect: EffectRow) -> bool:
        return self._truth.database.now_us() - effect.wanted_us > RENDERED_US

    def _nothing_open(self) -> None:
        for effect in self.open_effects():
            self._truth.broken(8, effect.subject, f"{effect.lane} is still open: {effect.reason or 'no reason given'}")

    def _all_rendered(self) -> None:
        """Words wanted by what is on air or may yet be released are rendered, or wanted since a moment ago: whatever
        backlog and blips lie behind, no errand for them was given up."""
        rows, effects = self._truth.database.rows, self._truth.database.rows("effect")
        for b in rows(Broadcast).values():
            drafted = b.phase is Phase.ALERT and b.state in (BroadcastState.DRAFT, BroadcastState.HELD)
            if not drafted and b.state not in (BroadcastState.ON_AIR, BroadcastState.STOPPED):
                continue
            for lang, wording in b.wordings.items():
                if rows(Asset).get(wording) is not None:
                    self._truth.counts["rendered"] += 1
                elif f"{Carry.RENDER_AUDIO}:{wording}" not in effects:
                    self._truth.broken(8, b.id, f"{b.id} is {b.state}, and nobody renders its {lang} words any more")

    def _broker_agrees(self) -> None:
        for stream in self._truth.database.rows(Stream).values():
            if unknown_on_air(stream):
                # A person has not decided yet, and until then nothing is published there.
                continue
            if stream.signed and self._broker.retained.get(stream.id) != stream.signed:
                self._truth.broken(8, stream.id, f"the broker's copy of {stream.id} is not the one signed last")

    def _heard_all(self, speaker: SimulatedSpeaker, row: Broadcast) -> None:
        """Every targeted speaker has played what is in force exactly as often as is due."""
        now_us, config = self._truth.clock.us, speaker.state.papers.config
        wall_us = self._truth.database.now_us()
        planned = self._truth.database.rows("expected").get(row.id, {})
        in_force = row.state is BroadcastState.ON_AIR and row.start_at_us < wall_us - SETTLED_US
        if not in_force or speaker.id not in planned or not enrolled(self._truth.database, speaker.id):
            return
        if config is None or wall_us > row.expires_us or not matches(row.selector, whereabouts(config)):
            return
        key = f"{row.use}/{row.id}"
        mine = [h for h in speaker.heard if h.plan.order == key]
        done = {h.plan.repeat for h in mine if h.end in ("end", "failed") or h.durable >= HEARD_PERCENT}
        if done == set(range(1, row.repeat + 1)):
            self._truth.counts["heard.all"] += 1
            return
        if not self._excused(speaker, row, now_us):
            self._truth.broken(
                7, row.id, f"{speaker.id} has heard repeats {sorted(done)} of {row.id}, and {row.repeat} are due"
            )

    def _excused(self, speaker: SimulatedSpeaker, row: Broadcast, now_us: int) -> bool:
        """The speaker link's own reasons for silence, as far as they can be seen from outside."""
        if row.phase is not Phase.ALERT:
            original = f"{row.use}/{row.original}"
            if not any(h.plan.order == original for h in speaker.heard):
                return True
        on_air_us = row.start_at_us - self._truth.slack_us
        later = [h for h in speaker.heard if not h.ended_us or h.ended_us > on_air_us]
        if row.use == "exercise" and any(self._ended_drills(h) for h in later):
            self._truth.counts["excused.drill_over"] += 1
            return True
        if row.order_class is OrderClass.DAILY and row.phase is Phase.ALERT and _missed(speaker, row.id):
            self._truth.counts["excused.daily_missed"] += 1
            return True
        limited = row.phase is Phase.ALERT and said_limited(speaker, row.id)
        if limited and self._ears.limit_reached(speaker, wire_order(row), 2 * HOUR_US):
            self._truth.counts["excused.rate_limit"] += 1
            return True
        return speaker.sound_failed_us > on_air_us

    def _drill_over(self, speaker: SimulatedSpeaker, row: Broadcast) -> bool:
        """Whether it is an exercise that had begun here, in a time that a restore has lost, before an actual emergency
        did: it is over there, whatever is released under its name again."""
        journal, key = speaker.disk.journal, f"{row.use}/{row.id}"
        began_us = min(
            (h.began_us for h in speaker.heard if h.journal == journal and h.plan.order == key), default=None
        )
        if row.use != "exercise" or began_us is None:
            return False
        return any(h.began_us > began_us and self._ended_drills(h) for h in speaker.heard)

    def _ended_drills(self, heard: Heard) -> bool:
        """Whether what was heard was an actual emergency."""
        order = self._ears.held(heard.journal, heard.plan.order)
        return order is not None and ends_drills(order)

    def _coverage_agrees(self, speaker: SimulatedSpeaker, row: Broadcast) -> None:
        """The expected row says what the receipts in the speaker's journal say, no more and no less."""
        expected = self._truth.database.rows("expected").get(row.id, {}).get(speaker.id)
        if expected is None:
            return
        steps = self._steps(speaker, row)
        said, shown = _kinds(steps), _shown(expected)
        # In the time that a restore has lost it may have been released before, and then it sounded before its start.
        since_us = row.start_at_us + self._truth.slack_us if self._truth.lost else 0
        counting = [step for step in steps if step.at >= since_us]
        missing, proved = _kinds(counting) - shown, any(map(_by_microphone, counting))
        aside = self._truth.database.rows("early").get((row.id, speaker.id))
        if self._truth.lost and aside is not None:
            # Said of a revision that a restore has lost: set aside until a person adopts it.
            self._truth.counts["excused.set_aside"] += 1
            missing, proved = missing - _shown(aside), proved and not aside.proved
        if expected.doubted in TIME_DOUBTS and self._truth.error_us_max:
            # A clock that jumped makes true times impossible ones.
            self._truth.counts["excused.doubted"] += 1
            missing, proved = missing - set(_SOUND), False
        if expected.doubted == Doubt.AFTER_STOP:
            # It was cut off and did not hear of the stop: what it sounded after that is shown and is no proof.
            self._truth.counts["excused.after_stop"] += 1
            missing, proved = missing - set(_SOUND), False
        if StepKind.FINISHED in shown:
            # What hindered it on the way is no outcome of an order that was heard whole.
            missing -= {StepKind.REFUSED, StepKind.FAILED}
        if missing:
            self._truth.broken(8, row.id, f"{speaker.id} said {sorted(missing)} of {row.id}, and its row does not")
        if proved and not expected.proved:
            self._truth.broken(8, row.id, f"{speaker.id} proved {row.id} by microphone, and its row does not say so")
        if len(speaker.journals) == 1 and expected.proved and not any(map(_by_microphone, steps)):
            self._truth.broken(11, row.id, f"{row.id} counts as proved at {speaker.id}, and no microphone heard it")
        if row.id in self._truth.unknown:
            # A liar named it while a restore had made it a draft again, and what it said has come true since.
            self._truth.counts["excused.lie_come_true"] += 1
            return
        if len(speaker.journals) == 1 and shown - said:
            self._truth.broken(7, row.id, f"the row of {speaker.id} and {row.id} says {sorted(shown - said)} too much")
        if len(speaker.journals) == 1 and StepKind.FINISHED in shown and not _heard_last(speaker, row):
            self._truth.broken(7, row.id, f"the row says that {speaker.id} has finished {row.id}, and it has not")

    def _steps(self, speaker: SimulatedSpeaker, row: Broadcast) -> list[Step]:
        """What its journal says of an order."""
        return [
            step
            for (kind, _), text in speaker.disk.facts.items()
            if kind == "receipt" and f'"{row.id}"' in text
            for step in decode_receipt(text.encode()).steps
        ]


def _heard_since(speaker: SimulatedSpeaker, row: Broadcast, since_us: int) -> bool:
    """Whether this journal's speaker has heard every repeat of an order, and all of them after `since_us`."""
    journal, key = speaker.disk.journal, f"{row.use}/{row.id}"
    mine = [h for h in speaker.heard if h.journal == journal and h.plan.order == key and h.began_us > since_us]
    whole = {h.plan.repeat for h in mine if h.end == "end" or h.durable >= HEARD_PERCENT}
    return whole == set(range(1, row.repeat + 1))


def _heard_last(speaker: SimulatedSpeaker, row: Broadcast) -> bool:
    """Whether the street heard the last repeat of an order, or as much of it as counts."""
    mine = (h for h in speaker.heard if h.plan.order == f"{row.use}/{row.id}" and h.plan.repeat >= row.repeat)
    return any(h.end == "end" or h.durable >= HEARD_PERCENT for h in mine)


def _missed(speaker: SimulatedSpeaker, order: str) -> bool:
    """Whether the speaker said that a daily item came too late: it never catches up."""
    return any(MISSED in text for text in said_of(speaker, order))


def _more_to_come(step: Step) -> bool:
    """An order has finished with its last repeat."""
    said = step.evidence or {}
    repeat, of = said.get("repeat"), said.get("of")
    return step.kind is StepKind.FINISHED and isinstance(repeat, int) and isinstance(of, int) and repeat < of


def _kinds(steps: Sequence[Step]) -> set[StepKind]:
    return {s.kind for s in steps if s.kind in _SHOWN and not _more_to_come(s)}


def _by_microphone(step: Step) -> bool:
    return step.kind in _SOUND and step.evidence is not None and "mic_db" in step.evidence


_SOUND = (StepKind.PLAYING, StepKind.FINISHED)
_SHOWN = {
    StepKind.ACCEPTED, StepKind.READY, StepKind.PLAYING, StepKind.FINISHED, StepKind.REFUSED, StepKind.FAILED,
}  # fmt: skip


def _shown(row: Expected) -> set[StepKind]:
    found = {
        StepKind.ACCEPTED: row.accepted_us is not None,
        StepKind.READY: row.ready_us is not None,
        StepKind.PLAYING: row.playing_us is not None,
        StepKind.FINISHED: row.finished_us is not None,
        StepKind.REFUSED: bool(row.refused),
        StepKind.FAILED: bool(row.failed),
    }
    return {kind for kind, is_so in found.items() if is_so}
