"""Bodies of the API but those of broadcasts. Times are integer µs UTC, positions integers of 1e-7 degree (WGS-84).

Answers take the fields of the domain's rows by name; requests refuse members they don't know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..domain import refused_documents
from ..domain.incidents import IncidentState, Verdict
from ..domain.places import OfficeKind, VenueKind
from ..domain.refused_documents import RefusedTopic
from ..domain.signals import Evidence, SignalKind, Use
from ..domain.verification import Task, TaskKind, TaskState
from ..engine.queries import SpeakerNow, StreamNow
from ..engine.rows import LogRow, Stream
from ..engine.signals.identifiers import SignalState

NAME_CHARS_MAX = 64
NOTE_CHARS_MAX = 1_000
RAW_SHOWN_BYTES = 2_048

Name = Annotated[str, StringConstraints(min_length=1, max_length=NAME_CHARS_MAX)]
Note = Annotated[str, StringConstraints(max_length=NOTE_CHARS_MAX)]
Why = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=NOTE_CHARS_MAX)]
Names = dict[str, str]


class RequestBody(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid")


class View(BaseModel):
    """An answer, filled from a row."""

    model_config = ConfigDict(from_attributes=True)


class LoginRequest(RequestBody):
    name: Name
    password: Annotated[str, StringConstraints(min_length=1, max_length=256)]


class MeView(View):
    person: str = Field(description="The person's id.")
    name: str
    roles: list[str]
    office: str
    expires: int = Field(description="When the login ends, µs UTC.")


class LoginView(MeView):
    token: str = Field(description="Shown once; send it as a Bearer token.")


class ProblemOfInput(View):
    severity: str
    code: str
    where: str
    message: str


class SignalTaken(View):
    key: str
    repeated: bool
    reused: bool = Field(description="Whether another report came under this key; this one is kept as unread.")
    incident: str | None = Field(description="The incident it belongs to, if it belongs to one.")


class FeedAnswer(View):
    accepted: int = Field(description="How many signals are in the database now, repeated ones included.")
    signals: list[SignalTaken]
    problems: list[ProblemOfInput]


class RingView(View):
    ring: list[tuple[int, int]]


class CircleView(View):
    lat_e7: int
    lon_e7: int
    radius_m: int


class PlaceView(View):
    venue: str | None
    areas: list[str]
    shapes: list[RingView | CircleView]
    names: list[str]


class WitnessView(View):
    reporter: str
    device: str
    evidence: Evidence
    automatic: bool
    claimed_level: int | None


class IncidentView(View):
    id: str
    use: Use
    hazard: str
    event_code: str
    playbook: str
    state: IncidentState
    level: int
    reasons: list[str]
    place: PlaceView
    venue: str | None
    area: str
    lat_e7: int | None
    lon_e7: int | None
    opened_us: int
    last_signal_us: int
    signal_count: int
    headline: str
    task: str
    alert: str
    alert_released: bool
    unanswered: bool
    rules: str = Field(description="Version of the rules that it was last rated by.")
    inhibited_by: str = Field(description="The graver incident that mutes it; empty while it is heard.")
    inhibited_why: str
    silenced: int = Field(description="Signals about it that a silence kept quiet; each is stored and counted.")


class IncidentPage(View):
    incidents: list[IncidentView]
    more: bool


class SignalView(View):
    key: str
    reporter: str
    use: Use
    kind: SignalKind
    evidence: Evidence
    hazard: str
    event_code: str
    place: PlaceView
    observed_us: int
    received_us: int
    claimed_level: int | None
    device: str
    test_bit: bool
    headline: str
    description: str
    expires_us: int | None
    references: list[str]
    problems: list[ProblemOfInput]
    signature: str = Field(description="valid, weak, invalid, unknown_signer or unsigned; empty: none looked for.")


class FeedChoice(View):
    id: str
    name: str
    department: str
    format: str
    use: Use
    area: str
    hazards: list[str] | None


class FeedChoices(View):
    feeds: list[FeedChoice]


class UploadSignal(View):
    signal: SignalView
    state: SignalState = Field(description="Whether it is new here, a repetition, or under another report's key.")


class UploadView(View):
    feed: str
    format: str
    name: str
    bytes: int
    sha256: str
    content: str = Field(description="What the file would be taken for; send it back to take the file.")
    signals: list[UploadSignal]
    problems: list[ProblemOfInput]
    answer: FeedAnswer | None = Field(default=None, description="What was taken; nothing in a dry run.")


class RungView(View):
    up: int
    answer_timeout_s: int


class TaskView(View):
    id: str
    kind: TaskKind
    use: Use
    incident: str
    broadcast: str
    venue: str | None
    area: str
    question: dict[str, str]
    rungs: list[RungView]
    offices: list[str] = Field(description="The office of each rung.")
    office: str = Field(description="The office that is asked now.")
    rung: int
    on_last_rung: bool
    state: TaskState
    asked_us: int
    due_us: int
    people: int
    verdict: Verdict | None
    answered_by: str


class TaskPage(View):
    tasks: list[TaskView]
    more: bool
    names: Names


class TaskAnswer(RequestBody):
    verdict: Verdict
    note: Note = ""


class WhyRequest(RequestBody):
    why: Why


class LogLine(View):
    seq: int
    at_us: int
    kind: str
    subject: str
    person: str
    why: str
    facts: dict[str, object]
    link: int | None = Field(description="Its number in the hash chain; null until it is linked.")
    hash: str

    @classmethod
    def of(cls, row: LogRow) -> LogLine:
        """The line with its body taken apart."""
        body: dict[str, object] = json.loads(row.body)
        facts = body.get("facts")
        return cls(
            seq=row.seq,
            at_us=row.at_us,
            kind=row.kind,
            subject=row.subject,
            person=row.person,
            why=str(body.get("why", "")),
            facts=facts if isinstance(facts, dict) else {},
            link=row.link,
            hash=row.hash,
        )


class LogPage(View):
    lines: list[LogLine]
    next: int | None = Field(description="Ask on with `after` at this number; null at the end.")
    names: Names


class UnreadView(View):
    wire: str
    source: str
    reason: str
    at_us: int
    bytes: int
    head_hex: str = Field(description=f"The first {RAW_SHOWN_BYTES} bytes.")
    head_text: str = Field(description="The same as text, as far as it is any, for people.")


class UnreadPage(View):
    unread: list[UnreadView]
    count: int = Field(description="How much there is in all.")


class AreaView(View):
    code: str
    name: str
    kind: str
    parent: str | None
    overlay: bool
    members: list[str]
    sample: bool
    centre_lat_e7: int | None
    centre_lon_e7: int | None


class VenueView(View):
    id: str
    name: str
    kind: VenueKind
    area: str
    lat_e7: int
    lon_e7: int
    people: int
    precision_m: int
    sample: bool


class OfficeView(View):
    id: str
    name: str
    kind: OfficeKind
    area: str
    answers: list[str]
    sample: bool


class CityView(View):
    code: str
    name: str
    issuer: str
    version: int
    speakers: int
    areas: list[AreaView] = Field(description="In force today; nodes hidden from people are left out.")
    venues: list[VenueView]
    offices: list[OfficeView]


class OutOfServiceView(View):
    author: str
    reason: str
    until_us: int


class SpeakerView(View):
    """`online` means that its state says so and that it was heard within 15 minutes; `silent` that it is not.
    `out_of_service` is null once its end has passed."""

    id: str
    name: str
    venue: str
    area: str
    lat_e7: int
    lon_e7: int
    microphone: bool
    online: bool
    silent: bool
    heard_us: int | None
    volume: int | None
    power: str
    cloned: int
    jumped: int = Field(description="How often its connection number jumped absurdly.")
    oddity: str = Field(
        description="What is odd about it now: `cloned`, `number_jumped`, `receipts_reused`, or nothing."
    )
    config_current: bool
    out_of_service: OutOfServiceView | None

    @classmethod
    def of(cls, now: SpeakerNow) -> SpeakerView:
        """The speaker beside what it last said of itself."""
        s, live = now.speaker, now.live
        out = s.out_of_service if now.out_of_service else None
        return cls(
            id=s.id,
            name=s.name,
            venue=s.venue,
            area=s.area,
            lat_e7=s.lat_e7,
            lon_e7=s.lon_e7,
            microphone=s.microphone,
            online=not now.silent,
            silent=now.silent,
            heard_us=live.heard_us or None if live else None,
            volume=live.volume if live else None,
            power=live.power if live else "",
            cloned=live.cloned if live else 0,
            jumped=live.jumped if live else 0,
            oddity=live.oddity if live else "",
            config_current=live is not None and live.config_version == s.config_version,
            out_of_service=OutOfServiceView.model_validate(out) if out else None,
        )


class SpeakerPage(View):
    speakers: list[SpeakerView]
    next: str | None = Field(description="Ask on with `after` at this id; null at the end.")
    names: Names


class OutOfServiceRequest(RequestBody):
    reason: Why
    until: int = Field(description="When it counts again, µs UTC: in the future, at most a year away.")


class UnknownOrder(View):
    id: str
    rev: int
    state: str
    phase: str
    level: int
    expires: int
    texts: dict[str, str]


class RefusedView(View):
    """Speakers that refuse what was given out on a stream, and had time to mend."""

    speakers: int
    meant: int = Field(description="Speakers in service that the stream is for.")
    many: bool = Field(description="Red: a twentieth of them, and two at least; or all.")
    reasons: dict[str, int]
    said_by: list[str] = Field(description="A few of them.")
    what: str
    what_zh: str
    do: str = Field(description="What a person does about it.")
    do_zh: str

    @classmethod
    def of(cls, refused: RefusedTopic) -> RefusedView:
        """The counts, and the same in words."""
        what, what_zh = refused_documents.headline(refused)
        do, do_zh = refused_documents.what_to_do(refused)
        return cls(
            speakers=refused.speakers,
            meant=refused.meant,
            many=refused.many,
            reasons=dict(refused.reasons),
            said_by=list(refused.said_by),
            what=what,
            what_zh=what_zh,
            do=do,
            do_zh=do_zh,
        )


class StreamView(View):
    topic: str
    area: str
    use: str
    issuer: str
    manifest_version: int
    refresh_us: int
    unknown_on_air: list[UnknownOrder] = Field(description="On air at the broker but unknown here: adopt or withdraw.")
    unknown_version: int = Field(description="Names what is unknown on air when it is decided on; 0 for nothing.")
    filled_percent: int = Field(description="How much of its room is kept; at 100 only red alerts and ends still fit.")
    filled_by: list[str] = Field(description="What keeps the room, the largest first.")
    refused: RefusedView | None = Field(description="Who refuses what is on it; null when all obey.")

    @classmethod
    def of(cls, now: StreamNow) -> StreamView:
        """The stream's row without its signed bytes."""
        s: Stream = now.stream
        return cls(
            topic=s.id,
            area=s.area,
            use=s.use,
            issuer=s.issuer,
            manifest_version=s.manifest_version,
            refresh_us=s.refresh_us,
            unknown_on_air=[UnknownOrder.model_validate(order) for order in now.unknown_on_air],
            unknown_version=now.unknown_version,
            filled_percent=now.room.percent,
            filled_by=list(now.room.filled_by),
            refused=RefusedView.of(now.refused) if now.refused else None,
        )


class StreamList(View):
    streams: list[StreamView]


class BehindView(View):
    speaker: str
    version: int = Field(description="The version that it holds; 0 for none.")


class BehindPage(View):
    speakers: list[BehindView]
    next: str | None = Field(description="Ask on with `after` at this speaker; null at the end.")


class StreamRequest(RequestBody):
    topic: Annotated[str, StringConstraints(min_length=1, max_length=160)]
    version: int | None = Field(
        default=None, description="The `unknown_version` that was read; refused when it is another by now."
    )


def task_page(tasks: tuple[Task, ...], *, more: bool, names: Mapping[str, str]) -> TaskPage:
    """A page of tasks with the names of those who answered."""
    return TaskPage(tasks=[TaskView.model_validate(t) for t in tasks], more=more, names=dict(names))
