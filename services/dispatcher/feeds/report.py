"""A report in plain values to a Signal: the rules that tables, plain JSON and Alertmanager share. Pure.

Use and evidence come from the feed's enrolment. The content can only lower it: an exercise makes a signal Exercise,
and a test, a hazard or an area that the feed is not enrolled for, a report that had expired or grown old when it
came, and a cancel that says of what, make it information that nothing is aired upon.
Key. `<format>/<feed>/<id>`, one namespace per feed, so that no feed can use up or cancel another's reports; `#info`
behind it where something that may change made it information.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from devices.protocols.selector import Circle
from services.dispatcher.domain.gcj02 import to_wgs84
from services.dispatcher.domain.places import code_head
from services.dispatcher.domain.signals import Datum, Evidence, Feed, Place, Problem, Signal, SignalKind, Use
from services.dispatcher.feeds.hazards import BY_NAME, EVENT_CODE, OTHER, Hazard, by_code, by_words

HEADLINE_CHARS_MAX = 400
DESCRIPTION_CHARS_MAX = 4_000
NAME_CHARS_MAX = 256
AREAS_MAX = 100
REFERENCES_MAX = 100
RADIUS_M_DEFAULT = 100
FUTURE_ALLOWED_US = 300_000_000
OLD_AFTER_US = 86_400_000_000

LEVELS = {
    **dict.fromkeys(("1", "i", "ⅰ", "一", "red", "特别重大", "特别严重"), 1),
    **dict.fromkeys(("2", "ii", "ⅱ", "二", "orange", "重大", "严重"), 2),
    **dict.fromkeys(("3", "iii", "ⅲ", "三", "yellow", "较大", "较重"), 3),
    **dict.fromkeys(("4", "iv", "ⅳ", "四", "blue", "一般"), 4),
}
_COLOURS = {"红": 1, "紅": 1, "橙": 2, "黄": 3, "黃": 3, "蓝": 4, "藍": 4}
_COLOUR = re.compile(r"([红紅橙黄黃蓝藍])色?(?:预警)?(?:信号)?")
_LEVEL_NOISE = re.compile(r"^level|级$")
_AREA_CODE = re.compile(r"[1-8](?:\d{5}|\d{8}|\d{11}|\d{13})", re.ASCII)


class Status(StrEnum):
    """What a report says of itself. Only the enrolment can make it actual."""

    ACTUAL = "actual"
    EXERCISE = "exercise"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Report:
    """One report, read but not yet judged. Times are µs UTC, positions in degrees of the feed's own datum.

    `id` and `references` are the sender's own; `own_key` replaces `id` in the key where one id has a whole life.
    `where` places the report in its file ("row 7"). `ages` is False for a state that stands until it is taken back.
    """

    where: str
    id: str
    kind: SignalKind
    hazard: str
    evidence: Evidence
    own_key: str = ""
    event_code: str = ""
    level: int | None = None
    headline: str = ""
    description: str = ""
    observed_us: int | None = None
    expires_us: int | None = None
    areas: tuple[str, ...] = ()
    venue: str | None = None
    lat: float | None = None
    lon: float | None = None
    radius_m: int = RADIUS_M_DEFAULT
    names: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    device: str = ""
    status: Status = Status.ACTUAL
    ages: bool = True
    problems: tuple[Problem, ...] = ()


# Findings after which a signal is information only. Those of the first kind may go away while the report stays: the
# information has a key of its own then, so that the report itself still counts as new when it comes.
_NOT_AIRED_NOW = frozenset(("status_not_aired", "hazard_not_enrolled", "area_not_enrolled", "not_a_hazard"))
_TOO_LATE = frozenset(("expired_on_arrival", "report_old", "reference_missing"))


def signal_of(report: Report, format: str, feed: Feed, received_us: int) -> Signal:
    """The signal of a report from an enrolled feed; `received_us` is µs UTC. Never raises."""
    areas, scope_problems = in_scope(report, feed)
    problems = (*report.problems, *scope_problems, *_findings(report, feed, received_us))
    codes = {problem.code for problem in problems}
    not_now = bool(codes & _NOT_AIRED_NOW) and report.kind is not SignalKind.INFO
    kind = SignalKind.INFO if not_now or codes & _TOO_LATE else report.kind
    hazard = BY_NAME.get(report.hazard)
    return Signal(
        key=key_of(format, feed, report.own_key or report.id) + ("#info" if not_now else ""),
        reporter=feed.id,
        use=Use.EXERCISE if report.status is Status.EXERCISE else feed.use,
        kind=kind,
        evidence=report.evidence,
        hazard=report.hazard,
        event_code=report.event_code or (hazard.code if hazard else ""),
        place=Place(report.venue, areas, tuple(_shapes(report, feed.datum)), report.names),
        observed_us=_bounded_us(report.observed_us, received_us),
        received_us=received_us,
        claimed_level=report.level,
        device=report.device,
        headline=report.headline[:HEADLINE_CHARS_MAX],
        description=report.description[:DESCRIPTION_CHARS_MAX],
        expires_us=report.expires_us,
        references=tuple(key_of(format, feed, each) for each in report.references),
        problems=problems,
    )


def key_of(format: str, feed: Feed, id: str) -> str:
    """The key of the feed's report of that id."""
    return f"{format}/{feed.id}/{id}"


def digest(*parts: str) -> str:
    """32 hexadecimal digits that stand for these texts, each with its bounds."""
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _bounded_us(observed_us: int | None, received_us: int) -> int:
    """When it was observed: what has no time, or one that is still to come, counts from now; nothing is before 1970."""
    return received_us if observed_us is None else max(0, min(observed_us, received_us + FUTURE_ALLOWED_US))


def hazard_of(text: str, feed: Feed) -> tuple[str, str]:
    """(hazard, event code) that a word, name or code of the feed means; OTHER for none that is known here."""
    folded = text.strip().casefold()
    for word, name in feed.aliases:
        if word.casefold() == folded:
            return name, _code_of(BY_NAME.get(name))
    if folded in BY_NAME:
        return folded, BY_NAME[folded].code
    code = folded.upper()
    if EVENT_CODE.fullmatch(code):
        coded = by_code(code)
        return (coded.name if coded else OTHER), code
    found = by_words(text)
    return (found.name if found else OTHER), _code_of(found)


def level_of(text: str) -> int | None:
    """The level 1 (red) to 4 (blue) that a colour, a numeral or a word of grading means; None for none."""
    word = re.sub(r"\s+", "", text).lower()
    colour = _COLOUR.fullmatch(word)
    if colour:
        return _COLOURS[colour[1]]
    return LEVELS.get(word) or LEVELS.get(_LEVEL_NOISE.sub("", word))


def area_code(text: str) -> str | None:
    """A division code of 6, 9, 12 or 14 digits as the 12 digits used here; None for anything else."""
    return text[:12].ljust(12, "0") if _AREA_CODE.fullmatch(text) else None


def clean(text: str) -> str:
    """Foreign text as it may be kept and shown: trimmed, no control characters but line feeds, no lone surrogates,
    and none of the invisible marks that could turn a sentence round."""
    if text.isprintable():
        return text.strip()
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    return "".join(_kept(char) for char in lines).strip()


def _kept(char: str) -> str:
    if char == "\n":
        return char
    match unicodedata.category(char):
        case "Cc" | "Cs":
            return "\ufffd"
        case "Cf":
            return ""
        case _:
            return char


def in_scope(report: Report, feed: Feed) -> tuple[tuple[str, ...], tuple[Problem, ...]]:
    """The areas of a report that the feed may speak for, with what was found on the way.

    A report without any area or venue is about the feed's own area; a wider one is narrowed to it.
    """
    scope = tuple(dict.fromkeys(code for code in (feed.area, *feed.areas) if code))
    if not scope:
        return report.areas, ()
    if not report.areas:
        return ((feed.area,) if report.venue is None and feed.area else ()), ()
    kept: dict[str, None] = {}
    problems: list[Problem] = []
    for code in report.areas:
        if any(_lies_in(code, each) for each in scope):
            kept[code] = None
        elif narrowed := [each for each in scope if _lies_in(each, code)]:
            kept.update(dict.fromkeys(narrowed))
            said = f"The area {code} is wider than what the feed speaks for; it was narrowed to {narrowed[0]}."
            problems.append(_warning("area_narrowed", report.where, said))
        else:
            said = f"The feed is not enrolled for the area {code}."
            problems.append(_warning("area_left_out", report.where, said))
    if not kept and report.kind is not SignalKind.CANCEL:
        said = "The feed is enrolled for none of the areas that the report names."
        problems.append(_warning("area_not_enrolled", report.where, said))
        return report.areas, tuple(problems)
    return tuple(kept), tuple(problems)


def _lies_in(code: str, area: str) -> bool:
    return code == area or code.startswith(code_head(area))


def _shapes(report: Report, datum: Datum) -> Iterator[Circle]:
    if report.lat is None or report.lon is None:
        return
    lat, lon = to_wgs84(report.lat, report.lon) if datum is Datum.GCJ02 else (report.lat, report.lon)
    yield Circle(round(lat * 1e7), round(lon * 1e7), report.radius_m)


def _findings(report: Report, feed: Feed, received_us: int) -> Iterator[Problem]:
    where = report.where
    if report.status is Status.TEST:
        yield _warning("status_not_aired", where, "A report that is marked as a test is never aired.")
    if report.observed_us is not None and report.observed_us > received_us + FUTURE_ALLOWED_US:
        yield _warning("sent_in_future", where, "The report's time lies in the future: a clock or a date is wrong.")
    if report.kind is SignalKind.CANCEL:
        # What it names is the feed's own, whatever else it says.
        if not report.references:
            yield _warning("reference_missing", where, "The report cancels something and does not say what.")
        return
    if report.hazard == OTHER and report.evidence is not Evidence.SYSTEM:
        yield _warning("hazard_unknown", where, "The report names none of the known hazards.")
    if feed.hazards is not None and report.hazard not in feed.hazards:
        yield _warning("hazard_not_enrolled", where, f"The feed is not enrolled for the hazard {report.hazard}.")
    hazard = BY_NAME.get(report.hazard)
    if hazard is not None and report.level is not None and report.level not in hazard.levels:
        yield _warning("colour_not_in_use", where, f"There is no level {report.level} for {report.hazard}.")
    if report.expires_us is not None and report.expires_us <= received_us:
        yield _warning("expired_on_arrival", where, "The report had expired when it came; it is not aired.")
    endless = report.ages and report.expires_us is None and report.observed_us is not None
    if endless and report.observed_us is not None and report.observed_us < received_us - OLD_AFTER_US:
        yield _warning("report_old", where, "The report is more than 24 hours old and has no end; it is not aired.")


def _code_of(hazard: Hazard | None) -> str:
    return hazard.code if hazard else ""


def _warning(code: str, where: str, message: str) -> Problem:
    return Problem("warning", code, where, message)
