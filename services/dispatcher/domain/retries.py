"""How long and how often each kind of effect is tried, and what people or the ladder get to see when that is over.

One table for all kinds. An effect that fails, or is handed on and not done, is **told of** when it has failed `tries`
times in a row or was wanted `late_us` ago, and again whenever that number or time has doubled. What is told of changes
something that people see, or lets a ladder climb (`GivenUp`); whether the effect is tried on is decided with it, from
whether anybody still wants it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .effects import Carry

SECOND_US = 1_000_000


class GivenUp(StrEnum):
    """What comes of an effect that was tried long enough.

    NOT_PUBLISHED: every order of the stream says that speakers don't have its newest revision; tried on while one of
    them may still sound, or the stream has to be signed anew because a key was removed. CONFIG_OLD: the log of the
    speaker says so, and the speaker is shown with an old config; tried on while it is enrolled. LADDER_CLIMBS: the next
    office is asked at once; on the last rung the deadline stands, and delivery is tried on while the task is open.
    SPEAKERS_SAY_IT: every broadcast of the words says that speakers say them; tried on while a broadcast or a standing
    order wants the words. NOT_ASKED: the log of the speaker says that nobody asked it for its receipts; its next
    heartbeat asks anew. WORKERS_SILENT: health says so; the next minute asks anew. FEED_SILENT: the feed counts one
    failed poll more; it is due again as after any failure.
    """

    NOT_PUBLISHED = "not_published"
    CONFIG_OLD = "config_old"
    LADDER_CLIMBS = "ladder_climbs"
    SPEAKERS_SAY_IT = "speakers_say_it"
    NOT_ASKED = "not_asked"
    WORKERS_SILENT = "workers_silent"
    FEED_SILENT = "feed_silent"


@dataclass(frozen=True, slots=True)
class Retry:
    """How one kind of effect is tried.

    `tries` counts failures in a row, None where only time ends it; the wait after each doubles from `backoff_from_us`
    to `backoff_to_us`. `handed_on_us` is how long whoever an effect was handed on to may take before it is handed on
    anew, and `late_us` how long it may be wanted before that is told; both None where nothing is handed on. After
    `expires_us` since it was last asked for an effect is of no use to anybody.
    """

    then: GivenUp
    tries: int | None
    backoff_from_us: int
    backoff_to_us: int
    handed_on_us: int | None = None
    late_us: int | None = None
    expires_us: int | None = None

    def backoff_us(self, failed: int) -> int:
        """How long to wait after so many failures in a row."""
        return min(self.backoff_to_us, self.backoff_from_us << min(failed - 1, 20))


RETRIES: Mapping[Carry, Retry] = {
    # A stop must be at every speaker within 60 s of the broker being back, so nothing on air waits long.
    Carry.PUBLISH_STREAM: Retry(GivenUp.NOT_PUBLISHED, 8, 100_000, 5 * SECOND_US),
    Carry.OFFICE_TASK: Retry(GivenUp.LADDER_CLIMBS, 8, 100_000, 5 * SECOND_US),
    Carry.PUBLISH_CONFIG: Retry(GivenUp.CONFIG_OLD, 20, 100_000, 30 * SECOND_US),
    Carry.RENDER_AUDIO: Retry(
        GivenUp.SPEAKERS_SAY_IT, 8, 100_000, 30 * SECOND_US, handed_on_us=30 * SECOND_US, late_us=60 * SECOND_US
    ),
    # Of a whole city it takes the workers hours: what waits in their queue is not handed on again every half minute.
    Carry.RENDER_AHEAD: Retry(
        GivenUp.SPEAKERS_SAY_IT, 8, 100_000, 30 * SECOND_US, handed_on_us=600 * SECOND_US, late_us=86_400 * SECOND_US
    ),
    Carry.POLL_FEED: Retry(
        GivenUp.FEED_SILENT, 8, 100_000, 15 * SECOND_US, handed_on_us=15 * SECOND_US, late_us=300 * SECOND_US
    ),
    Carry.ASK_MISSING: Retry(GivenUp.NOT_ASKED, None, 100_000, 30 * SECOND_US, expires_us=600 * SECOND_US),
    # Shorter than the minute after which the next one is sent.
    Carry.CANARY: Retry(GivenUp.WORKERS_SILENT, None, 100_000, 5 * SECOND_US, expires_us=55 * SECOND_US),
}


def failed_long_enough(retry: Retry, failed: int) -> bool:
    """Whether people are told of so many failures in a row: at `tries`, and whenever they have doubled."""
    return retry.tries is not None and _doubled(failed - 1, failed, retry.tries)


def late_enough(retry: Retry, before_us: int, now_us: int) -> bool:
    """Whether people are told of an effect that was handed on, wanted for `before_us` when last looked at and for
    `now_us` now: at `late_us`, and whenever that time has doubled."""
    return retry.late_us is not None and _doubled(before_us, now_us, retry.late_us)


def _doubled(before: int, after: int, unit: int) -> bool:
    """Whether unit, 2 × unit, 4 × unit, … lies behind `before` and not behind `after`."""
    return (max(0, after) // unit).bit_length() > (max(0, before) // unit).bit_length()
