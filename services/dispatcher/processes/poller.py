"""Asks polled feeds, in the worker: fetches a list or a document, hands what it holds to the engine, and says so.

An entry is reported as taken after its signals are committed. Whatever ends this in between, the feed's row still says
that it is to be asked, and the next errand finds what is left.
"""

from __future__ import annotations

import fcntl
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from ..adapters.http_poll import Answer, HttpPoll, PollFailed
from ..adapters.signatures import verify_for
from ..domain.polling import Failed, Poll, PollAnswered, PolledEntry, PollEvent, Settled, conditions
from ..domain.signals import Feed, Reading, Unread
from ..engine.engine import EVENTS_MAX, Engine
from ..engine.events import Event, PollTold, SignalArrived, UnreadArrived
from ..engine.ports import Store
from ..feeds import FEEDS, atom, cap
from ..feeds.signed import with_signature

log = structlog.get_logger(__name__)

ROUND_S_MAX = 45.0
"""After so long a round ends with what it has: with one more answer it stays below a task's time limit."""

UNREAD_KEPT_BYTES_MAX = 65_536
TOKEN_CHARS = 32


@dataclass(frozen=True, slots=True)
class _Content:
    """One entry of an answer, with its own bytes where they came along."""

    entry: PolledEntry
    raw: bytes | None


class Poller:
    """Does one errand at a time. `counted` is told what became of each."""

    def __init__(self, store: Store, engine: Engine, http: HttpPoll, counted: Callable[[str], None]) -> None:
        self._store = store
        self._engine = engine
        self._http = http
        self._counted = counted

    def poll(self, id: str) -> None:
        """Ask this feed, if it still is to be asked."""
        with self._store.read() as read:
            poll = read.get(Poll, id)
        feed = self._enrolled(id)
        if poll is None or feed is None or not poll.asked:
            self._counted("not_wanted")
            return
        began_s = time.monotonic()
        try:
            answer = self._get(poll, poll.url, conditions(poll))
        except PollFailed as failed:
            self._tell(id, Failed(failed.code, random.random()))
            self._counted(failed.code)
            return
        self._counted(str(answer.status))
        contents = self._listed(poll, feed, answer)
        if contents is None:
            return
        entries = tuple(content.entry for content in contents.values())
        digest = answer.digest if answer.status == 200 else ""
        self._tell(id, PollAnswered(answer.status, answer.headers, digest, random.random(), entries))
        with self._store.read() as read:
            after = read.get(Poll, id)
        if after is not None and after.round is not None:
            wanted = [contents[token] for token in after.round.left if token in contents]
            self._deliver(poll, feed, wanted, began_s + ROUND_S_MAX)

    def _listed(self, poll: Poll, feed: Feed, answer: Answer) -> dict[str, _Content] | None:
        """What an answer holds, by token; None where it was no list, which is told already."""
        if answer.status != 200 or answer.digest == poll.digest:
            return {}
        if feed.format != atom.FORMAT:
            document = PolledEntry(answer.digest[:TOKEN_CHARS])
            return {document.token: _Content(document, answer.body)}
        listing = atom.read_list(answer.body, answer.url)
        broken = next((p.code for p in listing.problems if p.severity == "error"), "")
        if broken and not listing.entries:
            if poll.reason != broken:
                # Once for each outage: the same broken page comes again every minute.
                self._engine.handle([UnreadArrived(self._unread(feed, broken, answer.body))])
            self._tell(feed.id, Failed(broken, random.random()))
            return None
        return {
            each.token: _Content(PolledEntry(each.token, "" if each.embedded else each.cap_url or ""), each.embedded)
            for each in listing.entries
        }

    def _deliver(self, poll: Poll, feed: Feed, wanted: list[_Content], until_s: float) -> None:
        """Get entries into the intake, and say what became of them; those that time is too short for stay open."""
        taken: list[str] = []
        failed: list[tuple[str, str]] = []
        for content in wanted:
            if time.monotonic() > until_s:
                break
            try:
                raw = content.raw if content.raw is not None else self._linked(poll, content.entry)
            except PollFailed as fault:
                failed.append((content.entry.token, fault.code))
                continue
            enrolled = self._enrolled(feed.id)
            if enrolled is None:
                # Switched off while this went on: what is left stays open until it is on again.
                break
            self._take(enrolled, raw)
            taken.append(content.entry.token)
        if taken or failed:
            self._tell(feed.id, Settled(tuple(taken), tuple(failed)))

    def _enrolled(self, id: str) -> Feed | None:
        """The feed as it is now, while it is on."""
        with self._store.read() as read:
            feed = read.get(Feed, id)
        return feed if feed is not None and feed.enabled else None

    def _linked(self, poll: Poll, entry: PolledEntry) -> bytes:
        if not entry.url:
            raise PollFailed("no_alert_in_entry", again=False)
        answer = self._get(poll, entry.url, {})
        if answer.status != 200:
            raise PollFailed(f"http_{answer.status}")
        return answer.body

    def _get(self, poll: Poll, url: str, headers: Mapping[str, str]) -> Answer:
        if not poll.plain_http and not url.lower().startswith("https:"):
            raise PollFailed("plain_http_refused", again=False)
        return self._http.get(url, headers, home=poll.url)

    def _take(self, feed: Feed, raw: bytes) -> None:
        """Commit what a document says, and keep it as unread where something of it can't be read."""
        found = _read(feed, raw, self._now_us())
        events: list[Event] = [SignalArrived(signal) for signal in found.signals]
        bad = next((p.code for p in found.problems if p.severity == "error"), "" if found.signals else "not_read")
        if bad:
            events.append(UnreadArrived(self._unread(feed, bad, raw)))
        for start in range(0, len(events), EVENTS_MAX):
            self._engine.handle(events[start : start + EVENTS_MAX])

    def _unread(self, feed: Feed, reason: str, raw: bytes) -> Unread:
        log.warning("a polled feed can't be read", feed=feed.id, reason=reason)
        return Unread("poll", f"feed/{feed.id}", reason, raw[:UNREAD_KEPT_BYTES_MAX], self._now_us())

    def _tell(self, id: str, event: PollEvent) -> None:
        self._engine.handle([PollTold(id, self._now_us(), event)])

    def _now_us(self) -> int:
        with self._store.read() as read:
            return read.now_us()


def _read(feed: Feed, raw: bytes, now_us: int) -> Reading:
    """What a document says, with what its XML signature proves, as for one that was sent here."""
    found = (cap.reading if feed.format == atom.FORMAT else FEEDS[feed.format])(raw, feed, now_us)
    verdict = verify_for(feed, raw, datetime.fromtimestamp(now_us / 1e6, UTC)) if found.signals else None
    if verdict is None:
        return found
    return with_signature(found, verdict.state, verdict.sentence, required=feed.signature_required)


@contextmanager
def one_of(folder: Path, places: int) -> Iterator[bool]:
    """Hold one of so many places that processes of this machine share; False when all are taken. The system frees the
    place of a process that dies."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in range(places):
        with (folder / f"poll-{number}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            yield True
            return
    yield False


def feed_of(payload: dict[str, Any]) -> str:
    """Whom an errand is for."""
    return str(payload["feed"])
