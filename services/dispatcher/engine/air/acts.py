"""What is done with a broadcast: by people, by a standing order, by time. Each act leaves its row."""

from __future__ import annotations

from dataclasses import replace

from devices.protocols.documents import Phase

from ...domain import broadcast_decisions, broadcasts
from ...domain.broadcasts import Act, Broadcast, BroadcastEvent, BroadcastState, Release
from ...domain.effects import Effect, Record
from ...domain.refusals import NotFound, UnknownOnAir, WrongState
from ..events import AudioRendered
from ..ports import Page
from ..transaction import Work
from . import endings, signing_keys
from .drafts import wire_audio
from .foreign import revision_on_broker, undecided
from .listing import SILENT_STATES
from .wanted import MAY_SOUND


def tell(work: Work, broadcast_id: str, event: BroadcastEvent) -> None:
    """Let a broadcast decide, with everything that going on air needs."""
    before = work.tx.get_locked(Broadcast, broadcast_id)
    if before is None:
        raise NotFound(f"broadcast {broadcast_id}")
    after, effects = broadcast_decisions.decide(before, event, work.tx.now_us())
    signing_keys.check_release(work.tx, before, event, work.city)
    if after.rev > before.rev:
        after = _above_broker(work, before, after)
    if after.state is BroadcastState.ON_AIR and before.state is BroadcastState.DRAFT:
        work.tx.lock("release")
        person = event.person if isinstance(event, broadcasts.ReleaseGiven) else ""
        if after.original:
            effects = [*_replace_original(work, after, person), *effects]
        for leaving, event_of_it in endings.make_room(work.tx, after, person):
            tell(work, leaving, event_of_it)
    # Last, so that an act which is refused leaves no row that a signer could take for a release.
    _act(work, before, event)
    work.tx.put(after)
    work.next(effects)
    if endings.left_unheard(before, after, event):
        again = broadcasts.prepared_again(after, work.ids.new())
        work.tx.put(again)
        work.tx.record(Record("broadcast.prepared_again", again.id, f"{after.id} left the air without being heard"))


def rendered(work: Work, event: AudioRendered) -> None:
    """Audio is there: the broadcasts that say these words take it along."""
    work.tx.put(event.asset)
    for b in work.tx.find(Broadcast, Page(limit=1_000, order="-id"), state=MAY_SOUND):
        if event.asset.id in b.wordings.values():
            others = tuple(a for a in b.audio if a.lang != event.asset.lang)
            audio = (*others, wire_audio(event.asset))
            tell(work, b.id, broadcasts.AudioReady(tuple(sorted(audio, key=lambda a: a.lang))))


def _above_broker(work: Work, before: Broadcast, after: Broadcast) -> Broadcast:
    """Silence goes above whatever the broker holds of this order, and so does what ends an alert. Other sound does
    not: what was released, and perhaps cancelled, in a time this database has lost is decided by people first.
    Raises UnknownOnAir."""
    there = revision_on_broker(work.tx, after)
    if there < after.rev:
        return after
    if after.state in SILENT_STATES:
        return broadcasts.silenced_at(after, there + 1, work.tx.now_us())
    if before.state is BroadcastState.ON_AIR:
        return after
    if after.phase is Phase.ALERT and undecided(work.tx, after.stream):
        raise UnknownOnAir(after.stream)
    return replace(after, rev=there + 1)


def _replace_original(work: Work, follower: Broadcast, person: str) -> list[Effect]:
    """A correction or all-clear takes its original off the air, and goes to exactly the original's speakers."""
    original = work.tx.get_locked(Broadcast, follower.original)
    if original is None or not original.on_manifest:
        raise WrongState("its alert was never on air")
    work.tx.copy_expected(follower.original, follower.id, early=False)
    after, effects = broadcast_decisions.decide(original, broadcasts.Replaced(follower.id, person), work.tx.now_us())
    work.tx.put(_above_broker(work, original, after))
    return effects


def _act(work: Work, before: Broadcast, event: BroadcastEvent) -> None:
    """Write the release row of a person's or a standing order's act."""
    act, person, rule, why = _act_of(event)
    if act is None or (act is Act.STANDING and before.state is not BroadcastState.DRAFT):
        return
    at_us = work.tx.now_us()
    work.tx.put(Release(work.ids.new(), before.id, act, person, before.content, rule, why, at_us))


def _act_of(event: BroadcastEvent) -> tuple[Act | None, str, str, str]:
    match event:
        case broadcasts.ReleaseGiven():
            return Act.RELEASE, event.person, "", event.sentence
        case broadcasts.StandingGiven():
            return Act.STANDING, "", event.rule, "standing order"
        case broadcasts.Declined():
            return Act.DECLINE, event.person, "", event.why
        case broadcasts.Stopped():
            return Act.STOP, event.person, "", event.why
        case broadcasts.Resumed():
            return Act.RESUME, event.person, "", "the same release"
        case _:
            return None, "", "", ""
