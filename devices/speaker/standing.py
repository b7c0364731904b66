"""Orders as the speaker holds them: who may change which, which are meant for it, and how they rank. No sound here."""

from __future__ import annotations

from dataclasses import replace

from devices.protocols.documents import (
    LinkKey,
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
from devices.speaker.state import ORDERS_KEPT_MAX, Standing, Words, may_sign, order_entry, order_key, vouched
from devices.speaker.turn import Turn


def claim(t: Turn, stream: str, signer: LinkKey, order: Order, audio_base: str) -> Refusal | None:
    """Take an order of an accepted manifest into the book, if this stream may say it. A reason when it may not.

    A stub takes the words along that the speaker holds of the order: only revision, state and end are news.

    The result does not depend on which of two claims came first: an area's stream stands above the speaker's own,
    a wider key above a narrower one, and between equals the higher revision. What only a removed key vouches for
    stands against no claim of a listed one, whatever its revision.
    """
    key = order_key(order.status, order.id)
    held = t.orders.get(key)
    new = Standing(order, stream, signer.area, audio_base, signer.x)
    if held is not None:
        if as_listed(held.order) == order and held.stream == stream:
            # A manifest signed again: from now on its key is the one that vouches for the order.
            again = replace(new, order=held.order, audio_base=audio_base or held.audio_base)
            if again != replace(held, mine=False, height=0):
                _hold(t, key, again)
                limits.vouched(t, key, signer.x)
            return None
        if vouched(t.papers, held):
            refusal, takes_over = _judge(t, held, new)
            if not takes_over:
                return refusal
        else:
            _reopen(t, key, order)
        if withdrawn(new):
            kept = replace(held.order, rev=order.rev, state=order.state, expires=order.expires)
            new = replace(new, order=kept, audio_base=held.audio_base)
        _doubt(t, key, held, new)
    _hold(t, key, new)
    _make_room(t, key)
    return None


def _hold(t: Turn, key: str, standing: Standing) -> None:
    t.set_order(key, standing)
    t.keep(order_entry(key, standing))


def _judge(t: Turn, held: Standing, new: Standing) -> tuple[Refusal | None, bool]:
    """(why the new claim is refused, whether it takes over)."""
    old_stream, new_stream = parse_manifest_topic(held.stream), parse_manifest_topic(new.stream)
    if old_stream.kind is not new_stream.kind:
        # Orders for one speaker add, they never override.
        return None, new_stream.kind is StreamKind.AREA
    if old_stream.issuer != new_stream.issuer:
        if not contains(t.config, new.scope, held.scope):
            return Refusal.NOT_ISSUER, False
        if not contains(t.config, held.scope, new.scope):
            return None, True
    if new.order.rev == held.order.rev and new.order != as_listed(held.order):
        return Refusal.VERSION_CONFLICT, False
    return None, new.order.rev > held.order.rev


def _doubt(t: Turn, key: str, held: Standing, new: Standing) -> None:
    """What sounded so far had other words: should the key that vouched for them be removed, it was never heard."""
    mark = t.mark(key)
    if not still_said(words(held.order), new.order) and (mark.heard or mark.running):
        t.set_mark(key, replace(mark, doubts=tuple(sorted({*mark.doubts, held.signer}))))


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


def sweep(t: Turn, manifest: Manifest, signer: LinkKey) -> None:
    """Note which orders in force the stream no longer lists, and withdraw those that it says are over."""
    listed = {order_key(order.status, order.id) for order in manifest.orders}
    for key, standing in tuple(t.orders.items()):
        if standing.stream != manifest.stream or key in listed or withdrawn(standing):
            continue
        if standing.order.start_at < manifest.swept:
            # Its key answers for the end: once it is removed, the order is any listed key's again.
            _end(t, key, replace(standing, signer=signer.x, unlisted_by=""))
        elif standing.unlisted_by != signer.x and standing.order.expires > manifest.issued:
            _hold(t, key, replace(standing, unlisted_by=signer.x))


def unhear(t: Turn) -> None:
    """Count no repeat of an order as heard into which a key that has been removed may have put other words, whichever
    revision was the higher one."""
    for key, standing in t.orders.items():
        mark = t.mark(key)
        sure = all(may_sign(t.papers, x, standing.stream, standing.scope) for x in mark.doubts)
        if not sure and vouched(t.papers, standing):
            t.set_mark(key, replace(mark, heard=0, failed_repeat=0, tries=0, doubts=()))


def end_unvouched(t: Turn) -> None:
    """Withdraw what only a removed key vouches for, once a listed key has spoken on the same stream without it."""
    for key, standing in tuple(t.orders.items()):
        spoken = may_sign(t.papers, standing.unlisted_by, standing.stream)
        if spoken and not withdrawn(standing) and not vouched(t.papers, standing):
            _end(t, key, standing)


def _end(t: Turn, key: str, standing: Standing) -> None:
    _hold(t, key, replace(standing, order=replace(standing.order, state=OrderState.WITHDRAWN)))


def contains(config: SpeakerConfig | None, outer: str, inner: str) -> bool:
    """Whether area `outer` contains area `inner`, as far as the speaker's own chain shows."""
    if config is None or outer == inner:
        return outer == inner
    chain = config.area_chain
    if outer not in chain:
        return False
    if inner in config.overlay:
        return outer == chain[0]
    return inner in chain and chain.index(outer) <= chain.index(inner)


def _make_room(t: Turn, newest: str) -> None:
    """Forget the order that expired first when the book is full; the new one is never the one to go."""
    if len(t.orders) > ORDERS_KEPT_MAX:
        candidates = (key for key in t.orders if key != newest and not t.mark(key).running)
        t.forget_order(min(candidates, key=lambda key: (t.orders[key].order.expires, key)))


def original(t: Turn, standing: Standing) -> Standing | None:
    """The order that a correction or all-clear is about, if this speaker holds it. Use never mixes."""
    corrects = standing.order.corrects
    return t.orders.get(order_key(standing.order.status, corrects)) if corrects else None


def may_end(t: Turn, ending: Standing, ended: Standing) -> bool:
    """Whether one order may end another: same issuer, or a key whose area contains the other's."""
    first, second = parse_manifest_topic(ending.stream), parse_manifest_topic(ended.stream)
    if first.kind is StreamKind.SPEAKER and second.kind is StreamKind.AREA:
        return False  # Orders for one speaker add, they never override.
    return first.issuer == second.issuer or contains(t.config, ending.scope, ended.scope)


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
        return area_height(config, parse_manifest_topic(standing.stream))
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
    """What is said: two revisions of an order may differ in it."""
    return order.texts, order.audio


def still_said(before: Words, order: Order) -> bool:
    """Whether an order says what was said before. A recording that comes to the same words changes nothing of that."""
    texts, audio = before
    return texts == order.texts and set(audio) <= set(order.audio)


def withdrawn(standing: Standing) -> bool:
    return standing.order.state is OrderState.WITHDRAWN
