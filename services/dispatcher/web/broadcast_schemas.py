"""Bodies of the API about broadcasts. Times are integer µs UTC; people are ids, with `names` beside them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from devices.protocols.documents import OrderClass, Phase

from ..domain.broadcasts import Act, Broadcast, BroadcastState, sentences
from ..domain.planning import Coverage
from ..domain.signals import Use
from ..engine.queries import BroadcastStory, IncidentStory
from ..engine.rows import Expected
from .schemas import (
    CircleView,
    IncidentView,
    LogLine,
    Names,
    RequestBody,
    RingView,
    SignalView,
    TaskView,
    View,
    WitnessView,
)


class AudioView(View):
    lang: str
    sha256: str
    codec: str
    ms: int
    bytes: int


class SelectorView(View):
    """Whom the order is for: fields intersect, an absent one is all, an empty one is none."""

    areas: list[str] | None
    venues: list[str] | None
    venue_kinds: list[str] | None
    speakers: list[str] | None
    shapes: list[RingView | CircleView] | None


class BroadcastView(View):
    id: str
    incident: str
    use: Use
    phase: Phase
    original: str
    playbook: str
    state: BroadcastState
    hazard: str
    hazard_names: dict[str, str]
    event_code: str
    level: int
    order_class: OrderClass
    place_names: dict[str, str]
    texts: dict[str, str]
    selector: SelectorView
    stream: str
    speakers: int
    plan: str
    verdict: str
    volume: int | str
    repeat: int
    gap_s: int
    valid_s: int
    prove_within_s: int
    people_needed: int
    content: str = Field(description="The hash that a release names: what people read, to the letter.")
    sentences: dict[str, str] = Field(default_factory=dict, description="The sentence to confirm, per language.")
    released_by: list[str]
    approved: bool
    rule: str
    rev: int
    audio: list[AudioView]
    said_by_speakers: list[str] = Field(
        default_factory=list,
        description="Languages whose audio is not rendered: speakers say the text themselves or play recorded phrases.",
    )
    start_at_us: int
    expires_us: int
    stopped_by: str
    stopped_us: int

    @classmethod
    def of(cls, b: Broadcast) -> BroadcastView:
        """The broadcast with its confirm sentences."""
        not_rendered = sorted(set(b.texts) - {audio.lang for audio in b.audio})
        shown = {"sentences": sentences(b), "said_by_speakers": not_rendered}
        return cls.model_validate(b).model_copy(update=shown)


class BroadcastPage(View):
    broadcasts: list[BroadcastView]
    more: bool
    names: Names


class ReleaseView(View):
    id: str
    act: Act
    person: str
    content: str
    rule: str
    why: str
    at_us: int


class CoverageView(View):
    """The four counts, always all four, with both denominators: `targeted` and `in_service`."""

    targeted: int
    in_service: int = Field(description="Targeted without those out of service.")
    online: int
    playing: int
    proved: int = Field(description="Proved by microphone.")
    finished: int
    refused: int
    failed: int
    out_of_service: int
    after_stop: int = Field(description="Said that they still sounded it after it was taken off the air.")

    @classmethod
    def of(cls, c: Coverage) -> CoverageView:
        """The counts as they stand."""
        return cls(
            targeted=c.targeted,
            in_service=c.targeted - c.out_of_service,
            online=c.online,
            playing=c.playing,
            proved=c.proved,
            finished=c.finished,
            refused=c.refused,
            failed=c.failed,
            out_of_service=c.out_of_service,
            after_stop=c.after_stop,
        )


class BroadcastDetail(View):
    broadcast: BroadcastView
    releases: list[ReleaseView]
    coverage: CoverageView
    correction: BroadcastView | None = Field(description="Prepared with the alert: one person, one click.")
    all_clear: BroadcastView | None
    no_room: str = Field(description="What fills the stream so that this draft can't be released; empty when it can.")
    names: Names

    @classmethod
    def of(cls, story: BroadcastStory, names: Names) -> BroadcastDetail:
        """The whole page of one broadcast."""
        return cls(
            broadcast=BroadcastView.of(story.broadcast),
            releases=[ReleaseView.model_validate(r) for r in story.releases],
            coverage=CoverageView.of(story.coverage),
            correction=BroadcastView.of(story.correction) if story.correction else None,
            all_clear=BroadcastView.of(story.all_clear) if story.all_clear else None,
            no_room=story.no_room,
            names=names,
        )


class ExpectedView(View):
    speaker: str
    accepted_us: int | None
    ready_us: int | None
    playing_us: int | None
    finished_us: int | None
    refused: str
    failed: str
    proved: bool
    doubted: str = Field(
        description="Why the first step that does not count, or proves nothing, was not believed; `after_stop`, that "
        "it still sounded after it was taken off the air, outranks the others."
    )


class ExpectedPage(View):
    rows: list[ExpectedView]
    next: str | None = Field(description="Ask on with `after` at this speaker; null at the end.")

    @classmethod
    def of(cls, rows: tuple[Expected, ...], *, more: bool) -> ExpectedPage:
        """One page by speaker id."""
        return cls(rows=[ExpectedView.model_validate(r) for r in rows], next=rows[-1].speaker if more else None)


class ReleaseRequest(RequestBody):
    """What the person read: the content's hash and the sentence, in any of the languages shown."""

    content: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    sentence: Annotated[str, StringConstraints(min_length=1, max_length=2_000)]


class IncidentDetail(View):
    incident: IncidentView
    witnesses: list[WitnessView]
    signals: list[SignalView]
    tasks: list[TaskView]
    broadcasts: list[BroadcastView]
    log: list[LogLine]
    names: Names

    @classmethod
    def of(cls, story: IncidentStory, names: Names) -> IncidentDetail:
        """The whole page of one incident."""
        return cls(
            incident=IncidentView.model_validate(story.incident),
            witnesses=[WitnessView.model_validate(w) for w in story.incident.witnesses],
            signals=[SignalView.model_validate(s) for s in story.signals],
            tasks=[TaskView.model_validate(t) for t in story.tasks],
            broadcasts=[BroadcastView.of(b) for b in story.broadcasts],
            log=[LogLine.of(row) for row in story.log],
            names=names,
        )
