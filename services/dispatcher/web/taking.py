"""A foreign message to signals and rows: what the feeds' intake and the desk's uploads share.

A message that can't be read is kept as unread; one of which a part can't be read is taken in its other parts, and kept
as unread as well.
"""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi.responses import JSONResponse

from ..domain.refusals import NotFound
from ..domain.signals import Feed, Problem, Reading, Unread
from ..engine.engine import EVENTS_MAX
from ..engine.events import SignalArrived, UnreadArrived
from ..engine.groups import GroupCommit, Lot
from ..engine.signals import scope
from ..feeds import FEEDS
from ..feeds.signed import with_signature
from .deps import WebDeps
from .problems import IdentifierReused, problem
from .schemas import FeedAnswer, ProblemOfInput, SignalTaken

UNREAD_KEPT_BYTES_MAX = 65_536
PROBLEMS_SHOWN_MAX = 100
_REUSED = "identifier_reused"


class Taking:
    """Reads and takes messages; its methods are called from worker threads."""

    def __init__(self, deps: WebDeps) -> None:
        self._deps = deps
        self._group: GroupCommit[Lot] = GroupCommit(deps.engine.handle)

    def read(self, feed: Feed, format: str, raw: bytes, now_us: int) -> Reading:
        """What a message says, with what its XML signature proves, held to what the feed may speak for."""
        found = FEEDS[format](raw, feed, now_us)
        if not found.signals:
            return found
        verdict = self._deps.verify(feed, raw, datetime.fromtimestamp(now_us / 1e6, UTC))
        if verdict is not None:
            found = with_signature(found, verdict.state, verdict.sentence, required=feed.signature_required)
        try:
            city = self._deps.engine.read_city()
        except NotFound:
            return found
        signals = tuple(scope.within(signal, feed, city) for signal in found.signals)
        before = {id(problem) for signal in found.signals for problem in signal.problems}
        more = [problem for signal in signals for problem in signal.problems if id(problem) not in before]
        return Reading(signals, (*found.problems, *dict.fromkeys(more)))

    def take(self, found: Reading) -> FeedAnswer:
        """Commit the signals. Raises IdentifierReused when each of them has another report's identifier."""
        events = [SignalArrived(signal) for signal in found.signals]
        created: set[str] = set()
        reused: set[str] = set()
        for start in range(0, len(events), EVENTS_MAX):
            # A table may hold more than one group; what was committed of it counts as repeated when it is sent again.
            taken = self._group.accept(events[start : start + EVENTS_MAX])
            created |= taken.created
            reused |= taken.reused
        reused -= created
        counts = self._deps.counts
        counts.feed_signals.labels("new").inc(len(created))
        counts.feed_signals.labels("reused").inc(len(reused))
        counts.feed_signals.labels("repeated").inc(len(found.signals) - len(created) - len(reused))
        if reused:
            counts.feed_unread.labels(_REUSED).inc(len(reused))
        if len(reused) == len(found.signals):
            raise IdentifierReused(found.signals[0].key)
        with self._deps.store.read() as read:
            signals = [
                SignalTaken(
                    key=s.key,
                    repeated=s.key not in created and s.key not in reused,
                    reused=s.key in reused,
                    incident=read.signal_incident(s.key) or None,
                )
                for s in found.signals
            ]
        named = [Problem("error", _REUSED, key, IdentifierReused.__doc__ or "") for key in sorted(reused)]
        return FeedAnswer(
            accepted=len(signals) - len(reused), signals=signals, problems=shown((*named, *found.problems))
        )

    def keep_unread(self, source: str, raw: bytes, found: Reading, now_us: int) -> None:
        """Keep a message of which something could not be read."""
        reason = next((p.code for p in found.problems if p.severity == "error"), "not_read")
        unread = Unread("http", source, reason, raw[:UNREAD_KEPT_BYTES_MAX], now_us)
        self._deps.engine.handle([UnreadArrived(unread)])
        self._deps.counts.feed_unread.labels(reason).inc()


def not_read(found: Reading) -> JSONResponse:
    """The answer to a message that was kept as unread."""
    return problem(
        422,
        "not_read",
        "This message can't be read; it is kept and shown as unread.",
        "无法读取此消息；已作为未读输入保存并显示。",
        errors=[{"where": p.where, "code": p.code, "message": p.message} for p in found.problems[:PROBLEMS_SHOWN_MAX]],
    )


def shown(problems: tuple[Problem, ...]) -> list[ProblemOfInput]:
    return [ProblemOfInput.model_validate(p) for p in problems[:PROBLEMS_SHOWN_MAX]]
