"""Orders as the speaker holds them: who may change which, which are meant for it, and how they rank. No sound here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from devices.protocols.documents import (
    Manifest,
    Order,
    OrderState,
    Phase,
    SpeakerConfig,
    as_listed,
    whereabouts,
)
from devices.protocols.order_of_sounds import Contender
from devices.protocols.refusals import Refusal
from devices.protocols.selector import matches
from devices.protocols.speaker_link import StreamKind, area_height, parse_manifest_topic
from devices.speaker import limits
from devices.speaker.claims import Claim, contains, stands
from devices.speaker.state import ORDERS_KEPT_MAX, Standing, Words, order_entry, order_key, vouched
from devices.speaker.turn import Turn

ACTUAL_ORDER = "actual_order"


def take(t: Turn, manifest: Manifest, claim: Claim) -> list[Refusal]:
    """Take the orders of an accepted manifest into the book, and what it says by leaving others out. The reasons why
    some of its orders are not taken."""
    refusals = [_claim(t, claim, order, manifest.audio_base) for order in manifest.orders]
    listed = {order_key(order.status, order.id) for order in manifest.orders}
    _sweep(t, manifest, claim, listed)
    take_back(t, listed)
    return [refusal for refusal in refusals if refusal is not None]


def take_back(t: Turn, listed: Collection[str] = ()) -> None:
    """Keys or claims have changed: what only a removed key vouches for is ended and unheard. `listed` are the orders of
    the manifest in hand."""
    _end_unvouched(t)
    _unhear(t)
    _make_room(t, listed)
    retarget(t)


def _claim(t: Turn, claim: Claim, order: Order, audio_base: str) -> Refusal | None:
    """Take an order into the book, if this claim may say it. A reason when it may not.

    A stub takes the words along that the speaker holds of the order: only revision, state and end are news.

    The result does not depend on which of two claims came first: an area's stream stands above the speaker's own,
    a wider key above a narrower one, and between equals the higher revision. What only a removed key vouches for
    stands against no claim of a listed one, whatever its revision.
    """
    key = order_key(order.status, order.id)
    held = t.orders.get(key)
    new = Standing(order, claim._replace(level=order.level, order=key), audio_base)
    if held is not None:
        if as_listed(held.order) == order and held.claim.stream == claim.stream:
            # A manifest signed again: from now on its key is the one that vouches for the order.
            again = replace(new, order=held.order, audio_base=audio_base or held.audio_base)
            if again != replace(held, mine=False, height=0):
                _hold(t, key, again)
            if not withdrawn(again):
                _listed_again(t, held.claim, again.claim)
            return None
        if vouched(t.papers, held):
            refusal, takes_over = _judge(t, held, new)
            if not takes_over:
                return refusal
        else:
            _reopen(t, key, order)
        if withdrawn(new):
            kept = replace(held.order, rev=order.rev, state=order.state, expires=order.expires)
            new = Standing(kept, new.claim._replace(level=kept.level), held.audio_base)
        _doubt(t, key, held, new)
    _hold(t, key, new)
    return None


def _listed_again(t: Turn, before: Claim, claim: Claim) -> None:
    """The very same order is in force by another claim: what it caused is that claim's as well."""
    if before == claim:
        return
    limits.listed_again(t, claim)
    for key, mark in t.marks.items():
        if before in mark.over_by and claim not in mark.over_by:
            t.set_mark(key, replace(mark, over_by=(*mark.over_by, claim)))


def _hold(t: Turn, key: str, standing: Standing) -> None:
    t.set_order(key, standing)
    t.keep(order_entry(key, standing))


def _judge(t: Turn, held: Standing, new: Standing) -> tuple[Refusal | None, bool]:
    """(why the new claim is refused, whether it takes over)."""
    old_stream, new_stream = parse_manifest_topic(held.claim.stream), parse_manifest_topic(new.claim.stream)
    if old_stream.kind is not new_stream.kind:
        # Orders for one speaker add, they never override.
        return None, new_stream.kind is StreamKind.AREA
    if old_stream.issuer != new_stream.issuer:
        if not contains(t.config, new.claim.scope, held.claim.scope):
            return Refusal.NOT_ISSUER, False
        if not contains(t.config, held.claim.scope, new.claim.scope):
            return None, True
    if new.order.rev == held.order.rev and new.order != as_listed(held.order):
        return Refusal.VERSION_CONFLICT, False
    return None, new.order.rev > held.order.rev


def _doubt(t: Turn, key: str, held: Standing, new: Standing) -> None:
    """What sounded so far was said otherwise: should the claim to that not stand any more, it was never heard."""
    mark = t.mark(key)
    if not still_said(words(held.order), new.order) and (mark.heard or mark.running):
        t.set_mark(key, replace(mark, doubts=tuple(sorted({*mark.doubts, held.claim}))))


def _reopen(t: Turn, key: str, order: Order) -> None:
    """An order that only a removed key vouched for is a listed key's now. What was said of revisions that no longer
    count is open again."""
    mark, said_max = t.mark(key), order.rev - 1
    reopened = replace(
        mark,
        accepted_rev=min(mark.accepted_rev, said_max),
        withdrawn_rev=min(mark.withdrawn_rev, said_max),
        limited_rev=min(mark.limited_rev, said_max),
        told_rev=min(mark.told_rev, said_max),
        closed_rev=min(mark.closed_rev, said_max),
    )
    t.set_mark(key, reopened)


def _sweep(t: Turn, manifest: Manifest, claim: Claim, listed: Collection[str]) -> None:
    """Note which orders in force the stream no longer lists, and withdraw those that it says are over."""
    for key, standing in tuple(t.orders.items()):
        if standing.claim.stream != manifest.stream or key in listed or withdrawn(standing):
            continue
        if standing.order.start_at < manifest.swept:
            # Its key answers for the end: once it is removed, the order is any listed key's again.
            _end(t, key, standing, claim)
        elif standing.unlisted_by != claim and standing.order.expires > manifest.issued:
            _hold(t, key, replace(standing, unlisted_by=claim))


def _unhear(t: Turn) -> None:
    """Count no repeat of an order as heard which a claim that does not stand may have had said otherwise, whichever
    revision was the higher one."""
    for key, standing in t.orders.items():
        mark = t.mark(key)
        sure = all(stands(t.papers, doubt) for doubt in mark.doubts)
        if not sure and vouched(t.papers, standing):
            t.set_mark(key, replace(mark, heard=0, failed_repeat=0, tries=0, doubts=()))


def _end_unvouched(t: Turn) -> None:
    """Withdraw what only a removed key vouches for, once a listed key has spoken on the same stream without it. Nobody
    claims that end, so that any listed key may list the order again, at whatever revision."""
    for key, standing in tuple(t.orders.items()):
        missed = standing.unlisted_by
        if missed and stands(t.papers, missed) and not withdrawn(standing) and not vouched(t.papers, standing):
            _end(t, key, standing, missed._replace(x=""))


def _end(t: Turn, key: str, standing: Standing, by: Claim) -> None:
    order = replace(standing.order, state=OrderState.WITHDRAWN)
    claim = by._replace(level=order.level, order=key)
    _hold(t, key, replace(standing, order=order, claim=claim, unlisted_by=None))


def _make_room(t: Turn, listed: Collection[str]) -> None:
    """Forget orders when the book is full: first what nobody who is listed has in force, then what is closed, then what
    ends first. What the manifest in hand lists, and what is made ready or sounds, never goes."""
    too_many = len(t.orders) - ORDERS_KEPT_MAX
    if too_many <= 0:
        return

    def worth(key: str) -> tuple[bool, bool, int, str]:
        standing = t.orders[key]
        in_force = vouched(t.papers, standing) and not withdrawn(standing)
        return in_force, t.mark(key).closed_rev < standing.order.rev, standing.order.expires, key

    busy = {each.key for each in (t.sound.loading, t.sound.sounding) if each is not None}
    for key in sorted((key for key in t.orders if key not in listed and key not in busy), key=worth)[:too_many]:
        t.forget_order(key)


def original(t: Turn, standing: Standing) -> Standing | None:
    """The order that a correction or all-clear is about, if this speaker holds it. Use never mixes."""
    corrects = standing.order.corrects
    return t.orders.get(order_key(standing.order.status, corrects)) if corrects else None


def may_end(t: Turn, ending: Standing, ended: Standing) -> bool:
    """Whether one order may end another: same issuer, or a key whose area contains the other's."""
    first, second = parse_manifest_topic(ending.claim.stream), parse_manifest_topic(ended.claim.stream)
    if first.kind is StreamKind.SPEAKER and second.kind is StreamKind.AREA:
        return False  # Orders for one speaker add, they never override.
    return first.issuer == second.issuer or contains(t.config, ending.claim.scope, ended.claim.scope)


def over(t: Turn, key: str) -> str:
    """The reason why an order will not sound again, "" where it may.

    Where a listed key has the order in force, it is over only as long as a claim by which it was ended stands, or the
    order that ended it is in force still: a thief's that was taken back ended nothing.
    """
    mark = t.mark(key)
    if not mark.over_by or not vouched(t.papers, t.orders[key]):
        return mark.over
    return mark.over if any(stands(t.papers, by) or _ends(t, by.order, key) for by in mark.over_by) else ""


def _ends(t: Turn, ending: str, ended: str) -> bool:
    """Whether an order that ended another is in force still and, if it has changed, still names it."""
    by, order = t.orders.get(ending), t.orders[ended].order
    names = by is not None and (order.id in named(by.order) or t.mark(ended).over == ACTUAL_ORDER)
    return by is not None and names and in_force(t, by)


def named(order: Order) -> tuple[str, ...]:
    """The ids of the orders that an order ends."""
    return (*order.supersedes, *((order.corrects,) if order.corrects else ()))


def in_force(t: Turn, standing: Standing) -> bool:
    """Whether an order is not withdrawn and has not expired, as far as this speaker knows the time."""
    return not withdrawn(standing) and (t.now_us or 0) < standing.order.expires


def retarget(t: Turn) -> None:
    """Work out anew which orders are meant for this speaker and from how high they come: orders or config changed."""
    config = t.config
    if config is None:
        return
    where = whereabouts(config)
    orders: dict[str, Standing] = {}
    for key, standing in t.orders.items():
        first = original(t, standing)
        # A correction goes to those its original went to; its own selector counts only where the original is unknown.
        meant = matches((first or standing).order.selector, where)
        height = _height(config, standing)
        if first is not None:
            height = max(height, _height(config, first))
        same = standing.mine == meant and standing.height == height
        orders[key] = standing if same else replace(standing, mine=meant, height=height)
    t.orders = orders
    t.live = tuple(key for key in orders if t.mark(key).closed_rev < orders[key].order.rev)


def contender(t: Turn, key: str) -> Contender:
    """An order as the order of sounds sees it."""
    standing = t.orders[key]
    first = original(t, standing)
    return Contender(standing.order, standing.height, first.order if first else None)


def _height(config: SpeakerConfig, standing: Standing) -> int:
    """The height of the stream; one that the speaker has moved away from counts as its own area."""
    try:
        return area_height(config, parse_manifest_topic(standing.claim.stream))
    except ValueError:
        return 0


def lost(t: Turn, first: Standing | None, correction: Order) -> bool:
    """Whether the journal is younger than the original broadcast, so that it cannot say if the original sounded."""
    began_us = first.order.start_at if first is not None else correction.start_at
    return t.born_us > began_us


def unheard(t: Turn, standing: Standing) -> bool:
    """Whether a correction or all-clear would answer something that nobody heard here."""
    order = standing.order
    if order.phase is Phase.ALERT or order.corrects is None or order.also_unstarted:
        return False
    started = t.mark(order_key(order.status, order.corrects)).started_us
    return not started and not lost(t, original(t, standing), order)


def words(order: Order) -> Words:
    """What can be heard of an order."""
    return Words(order.texts, order.audio, order.volume, order.event_code, order.level, order.phase)


def still_said(before: Words, order: Order) -> bool:
    """Whether an order says what was said before. A recording that comes to a text changes nothing of that."""
    texts = {audio.lang for audio in order.audio} <= set(order.texts)
    recordings, now = set(before.audio), set(order.audio)
    alike = recordings == now or (recordings < now and texts)
    return alike and before == words(order)._replace(audio=before.audio)


def withdrawn(standing: Standing) -> bool:
    return standing.order.state is OrderState.WITHDRAWN
