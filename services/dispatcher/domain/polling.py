"""Polled feeds: when to ask again, which entries are new, what has been taken. Pure: `decide(poll, event, now_us)`.

An entry counts as seen only when its signals are committed, and the server's validators (ETag, Last-Modified) are kept
only when every entry of the answer is seen. Whatever dies in between, the next answer is the whole list again, and the
intake makes repeats one. The deadline is a timer row: a poll that is never answered is due again all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeAlias, assert_never

from .effects import Carry, Record, Save, Timer, WakeAt

EVERY_S_MIN = 10
BACKOFF_S_MAX = 300
BACKOFF_DOUBLINGS_MAX = 6
RETRY_AFTER_S_MAX = 900
ENTRIES_MAX = 1_000
ENTRIES_PER_ROUND = 100
ENTRY_TRIES_MAX = 5
SEEN_MAX = 2_000
TRIES_KEPT_MAX = 1_000
HEADER_CHARS_MAX = 256
REASON_CHARS_MAX = 200
# A poll that comes late is still worth making.
USELESS_AFTER_US = 10 * 365 * 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PolledEntry:
    """One entry of a list: the token of this version of it, and where it lies. An empty url means that its content
    came with the answer itself; a feed that is one document has one such entry, its token the digest."""

    token: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """An answer whose entries are being taken: its validators, the tokens not yet settled, and whether more of it
    waits (`more`) or something of it has to be tried again (`again`)."""

    etag: str
    last_modified: str
    digest: str
    left: tuple[str, ...]
    more: bool
    again: bool = False


@dataclass(frozen=True, slots=True)
class Poll:
    """One polled feed, under its feed's id. `seen` are tokens, oldest first; `tries` counts failed tries by token;
    times are µs UTC. `asked` says that its server is to be asked, or that an answer is not settled yet; this row is
    what an errand to it is proved by. Without `plain_http` nothing of it is asked for but over https."""

    id: str
    url: str
    every_s: int
    etag: str = ""
    last_modified: str = ""
    digest: str = ""
    next_due_us: int = 0
    failures: int = 0
    reason: str = ""
    seen: tuple[str, ...] = ()
    tries: tuple[tuple[str, int], ...] = ()
    round: Round | None = None
    asked: bool = False
    plain_http: bool = False
    version: int = 0


@dataclass(frozen=True, slots=True)
class PollDue:
    """The timer is due. `draw` is a random number from 0 to 1, here and in the events below."""

    draw: float


@dataclass(frozen=True, slots=True)
class PollAnswered:
    """The server answered; `headers` have lower-case names. `digest` is of the body and `entries` are what its list
    holds; where the digest is that of the poll the list need not be read again, and there are none."""

    status: int
    headers: Mapping[str, str]
    digest: str
    draw: float
    entries: tuple[PolledEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer, or one that is no list; `reason` is a machine-readable code."""

    reason: str
    draw: float


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of delivered entries. `taken` are committed as signals, or kept as unread; `failed` are
    (token, reason) of those that could not be had."""

    taken: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()


PollEvent: TypeAlias = PollDue | PollAnswered | Failed | Settled


PollEffect: TypeAlias = Save | WakeAt | Record


def decide(poll: Poll, event: PollEvent, now_us: int) -> tuple[Poll, list[PollEffect]]:
    """What an event makes of a polled feed. Late and repeated events are ordinary."""
    match event:
        case PollDue():
            # A round that is still open was cut off, or is slow; its tokens are settled whenever that is said.
            asked, wake = _wait(replace(poll, round=None, asked=True), event.draw, now_us)
            return asked, [wake, Save(Carry.POLL_FEED, poll.id)]
        case PollAnswered(status=200):
            return _list(poll, event, now_us)
        case PollAnswered(status=304) if poll.etag or poll.last_modified:
            return _well(replace(poll, asked=False), event.draw, now_us)
        case PollAnswered():
            return _ill(poll, f"http_{event.status}", event.draw, now_us, _retry_after_s(event.headers, now_us))
        case Failed():
            return _ill(poll, event.reason[:REASON_CHARS_MAX], event.draw, now_us)
        case Settled():
            return _settled(poll, event, now_us)
        case _:
            assert_never(event)


def conditions(poll: Poll) -> dict[str, str]:
    """The headers that let a server say that nothing has changed."""
    found = {"If-None-Match": poll.etag, "If-Modified-Since": poll.last_modified}
    return {name: value for name, value in found.items() if value}


def _list(poll: Poll, event: PollAnswered, now_us: int) -> tuple[Poll, list[PollEffect]]:
    """A list came: what is new of it is to be delivered (`Round.left`), at most one round's worth."""
    well, effects = _well(poll, event.draw, now_us)
    etag, last_modified = (_kept(event.headers.get(name, "")) for name in ("etag", "last-modified"))
    listed = {entry.token: entry for entry in event.entries[:ENTRIES_MAX]}
    known = set(poll.seen)
    new = [entry for token, entry in listed.items() if token not in known]
    if not new:
        same = replace(well, etag=etag, last_modified=last_modified, digest=event.digest, round=None, asked=False)
        return replace(same, seen=_remember(poll.seen, tuple(listed))), effects
    tries = dict(poll.tries)
    now = tuple(sorted(new, key=lambda entry: tries.get(entry.token, 0))[:ENTRIES_PER_ROUND])
    left = tuple(entry.token for entry in now)
    # What the list still shows must outlive in memory what it no longer shows, or it would come anew again and again.
    shown = tuple(token for token in listed if token in known)
    opened = Round(etag, last_modified, event.digest, left, more=len(new) > len(now))
    return replace(well, seen=_remember(poll.seen, shown), round=opened), effects


def _settled(poll: Poll, event: Settled, now_us: int) -> tuple[Poll, list[PollEffect]]:
    effects: list[PollEffect] = []
    tries = dict(poll.tries)
    done = list(event.taken)
    for token, reason in event.failed:
        tries[token] = tries.pop(token, 0) + 1
        if tries[token] >= ENTRY_TRIES_MAX:
            done.append(token)
            why = f"an entry could not be had {ENTRY_TRIES_MAX} times: {reason[:REASON_CHARS_MAX]}"
            effects.append(Record("feed.entry_given_up", poll.id, why, facts={"token": token}))
    for token in done:
        tries.pop(token, None)
    again = len(event.failed) > len(done) - len(event.taken)
    kept = tuple(tries.items())[-TRIES_KEPT_MAX:]
    settled = replace(poll, seen=_remember(poll.seen, tuple(done)), tries=kept)
    if poll.round is None:
        return settled, effects
    named = {*event.taken, *(token for token, _ in event.failed)}
    left = tuple(token for token in poll.round.left if token not in named)
    current = replace(poll.round, left=left, again=poll.round.again or again)
    if left:
        return replace(settled, round=current), effects
    if current.more:
        soon = replace(settled, round=None, asked=False, next_due_us=now_us)
        return soon, [*effects, _wake(soon)]
    if current.again:
        return replace(settled, round=None, asked=False), effects
    adopted = replace(settled, etag=current.etag, last_modified=current.last_modified, digest=current.digest)
    return replace(adopted, round=None, asked=False), effects


def _well(poll: Poll, draw: float, now_us: int) -> tuple[Poll, list[PollEffect]]:
    """The server answers as it should; the log says so once after it did not."""
    well, wake = _wait(replace(poll, failures=0, reason=""), draw, now_us)
    if not poll.failures:
        return well, [wake]
    why = f"it answers again after {poll.failures} failures"
    return well, [wake, Record("feed.poll_recovered", poll.id, why, facts={"failures": poll.failures})]


def _ill(poll: Poll, reason: str, draw: float, now_us: int, at_least_s: int = 0) -> tuple[Poll, list[PollEffect]]:
    """The server does not; the log says so when it begins and when the reason changes."""
    failed = replace(poll, failures=poll.failures + 1, reason=reason, asked=False)
    ill, wake = _wait(failed, draw, now_us, at_least_s)
    if poll.failures and poll.reason == reason:
        return ill, [wake]
    return ill, [wake, Record("feed.poll_failing", poll.id, reason)]


def _wait(poll: Poll, draw: float, now_us: int, at_least_s: int = 0) -> tuple[Poll, WakeAt]:
    waiting = replace(poll, next_due_us=now_us + max(wait_us(poll, draw), at_least_s * 1_000_000))
    return waiting, _wake(waiting)


def _wake(poll: Poll) -> WakeAt:
    return WakeAt(Timer.POLL, poll.id, poll.next_due_us, poll.next_due_us + USELESS_AFTER_US)


def wait_us(poll: Poll, draw: float) -> int:
    """How long until the next poll: the interval give or take a tenth, so that feeds spread; while the server fails
    the interval doubles up to five minutes, less up to half of it by chance."""
    every_s = max(poll.every_s, EVERY_S_MIN)
    if not poll.failures:
        return round(every_s * 1_000_000 * (0.9 + 0.2 * draw))
    doubled_s = every_s << min(poll.failures - 1, BACKOFF_DOUBLINGS_MAX)
    return round(min(doubled_s, max(every_s, BACKOFF_S_MAX)) * 1_000_000 * (0.5 + 0.5 * draw))


def _remember(seen: tuple[str, ...], tokens: tuple[str, ...]) -> tuple[str, ...]:
    """The tokens with these as the newest, each once, the oldest forgotten beyond the cap."""
    newest = dict.fromkeys(tokens)
    return (*(token for token in seen if token not in newest), *newest)[-SEEN_MAX:]


def _kept(value: str) -> str:
    """A validator that may be sent back as it came; nothing else is worth keeping."""
    return value if len(value) <= HEADER_CHARS_MAX and value.isascii() and value.isprintable() else ""


def _retry_after_s(headers: Mapping[str, str], now_us: int) -> int:
    """Retry-After as seconds from now, number or date, at most 15 minutes; 0 where it says nothing."""
    value = headers.get("retry-after", "").strip()[:64]
    if value.isascii() and value.isdigit():
        return min(int(value), RETRY_AFTER_S_MAX)
    try:
        at = parsedate_to_datetime(value)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return min(max(0, (at - _EPOCH) // timedelta(seconds=1) - now_us // 1_000_000), RETRY_AFTER_S_MAX)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0
