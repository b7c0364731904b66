"""What the loudspeaker does with the order that was chosen: plan, load, start, progress, end, and what fails.

"Repeat k started" is on disk before its first sample. A plan falls from recordings to local speech to recorded
phrases and chime; an exercise without its preface falls silent instead.
"""

from __future__ import annotations

from dataclasses import replace

from devices.protocols.documents import Order, StepKind
from devices.protocols.refusals import Refusal
from devices.speaker import events as e
from devices.speaker import limits
from devices.speaker.events import Segment, SegmentKind, SoundPlan
from devices.speaker.receipts import say
from devices.speaker.standing import words
from devices.speaker.state import (
    HEARD_PERCENT,
    Loading,
    Mark,
    Sounding,
    without,
)
from devices.speaker.turn import Turn

DEPTH_MAX = 2
LOAD_US_MAX = 20_000_000
MEASURE_US_MAX = 2_000_000
OVERTIME_US = 30_000_000
TRIES_MAX = 3
PAUSE_US = 2_000_000
PAUSE_US_MAX = 60_000_000
CHIME_MS = 5_000
PREFACE_MS = 3_000
SPEECH_MS_A_CHARACTER = 300
PERCENT_STEP = 20
NO_PREFACE = "no_drill_preface"
_SOURCES = {SegmentKind.AUDIO: "recording", SegmentKind.SAY: "speech", SegmentKind.PHRASE: "phrase"}


def plan(t: Turn, key: str, depth: int) -> SoundPlan:
    """The next repeat of an order as sound, Chinese first, at this depth of falling back."""
    order = t.orders[key].order
    segments = [Segment(SegmentKind.PREFACE)] if order.status != "actual" else []
    segments.append(Segment(SegmentKind.CHIME))
    ms = CHIME_MS + (PREFACE_MS if order.status != "actual" else 0)
    audio = {a.lang: a for a in order.audio if a.sha256 in t.sound.cached} if depth == 0 else {}
    if depth < DEPTH_MAX:
        for lang in sorted({*order.texts, *audio}, key=lambda lang: (not lang.startswith(("zh", "cmn")), lang)):
            if lang in audio:
                text = order.texts.get(lang, "")
                segments.append(Segment(SegmentKind.AUDIO, audio[lang].sha256, lang, audio[lang].codec, text))
                ms += audio[lang].ms
            else:
                segments.append(Segment(SegmentKind.SAY, order.texts[lang], lang))
                ms += SPEECH_MS_A_CHARACTER * len(order.texts[lang])
    if not any(segment.kind in (SegmentKind.AUDIO, SegmentKind.SAY) for segment in segments):
        segments.append(Segment(SegmentKind.PHRASE, order.event_code))
        ms += PREFACE_MS
    return SoundPlan(
        key, order.status, order.rev, t.mark(key).heard + 1, tuple(segments), _volume(t, order), ms,
        order.level, str(order.phase), order.event_code,
    )  # fmt: skip


def _volume(t: Turn, order: Order) -> int:
    most = t.config.volume_max if t.config else 0
    match order.volume:
        case "mute":
            return 0
        case int(value):
            return min(value, most)
        case _:
            return min(t.volume, most)


def load(t: Turn, key: str, depth: int = 0) -> None:
    """Make the next repeat ready. Whether it sounds is decided again when it is."""
    drop_loading(t)
    wanted = plan(t, key, depth)
    ticket = t.sound.ticket + 1
    source = next(_SOURCES[segment.kind] for segment in wanted.segments if segment.kind in _SOURCES)
    asked = wanted.segments if depth == 0 else plan(t, key, 0).segments
    order = t.orders[key].order
    loading = Loading(
        key, wanted.rev, wanted.repeat, ticket, depth, source, t.mono_us, wanted.ms, wanted.volume, words(order), asked,
    )  # fmt: skip
    t.sound = replace(t.sound, ticket=ticket, loading=loading)
    t.effect(e.Load(ticket, wanted))
    t.wake(t.mono_us + LOAD_US_MAX)


def drop_loading(t: Turn) -> None:
    loading = t.sound.loading
    if loading is None:
        return
    t.stop(loading.ticket)
    t.sound = replace(t.sound, loading=None)
    if loading.ready and t.mono_us >= loading.since_us + MEASURE_US_MAX and measured_ms(t, loading.key) is None:
        _learn(t, loading.key, loading.asked, loading.ms)  # The player cannot tell; the estimate has to do.


def loaded(t: Turn, event: e.SoundLoaded) -> None:
    loading = t.sound.loading
    if loading is None or loading.ticket != event.ticket or loading.ready:
        return
    t.sound = replace(t.sound, loading=replace(loading, ready=True))
    if event.ms:
        measured(t, event.ticket, event.ms)
    say(t, loading.key, loading.rev, StepKind.READY, evidence={"repeat": loading.repeat})


def measured(t: Turn, ticket: int, ms: int) -> None:
    """The true length of what is ready, or sounds already, is known."""
    loading, sounding = t.sound.loading, t.sound.sounding
    if loading is not None and loading.ticket == ticket:
        _learn(t, loading.key, loading.asked, ms)
        t.sound = replace(t.sound, loading=replace(loading, ms=ms))
    elif sounding is not None and sounding.ticket == ticket:
        _learn(t, sounding.key, sounding.asked, ms)


def _learn(t: Turn, key: str, asked: tuple[Segment, ...], ms: int) -> None:
    t.sound = replace(t.sound, lengths={**t.sound.lengths, key: (asked, ms)})


def measured_ms(t: Turn, key: str) -> int | None:
    """How long the next repeat of an order takes, as loading or playing its like has shown; None when not known."""
    asked, ms = t.sound.lengths.get(key, ((), 0))
    return ms if asked and asked == plan(t, key, 0).segments else None


def start(t: Turn, now_us: int) -> None:
    """Sound what is loaded, in place of what sounds now."""
    loading = t.sound.loading
    assert loading is not None and loading.ready
    if t.sound.sounding is not None:
        cut(t, "preempted", now_us)
    mark, claim = t.mark(loading.key), t.orders[loading.key].claim
    if not mark.admitted:
        limits.count(t, t.orders[loading.key])
    mark = replace(mark, running=loading.repeat, percent=0, reached_us=t.verified_us, admitted=True)
    t.set_mark(loading.key, replace(mark, started_us=mark.started_us or now_us))
    sounding = Sounding(
        loading.key, loading.rev, loading.repeat, loading.ticket, loading.source, t.mono_us,
        t.mono_us + 2_000 * loading.ms + OVERTIME_US, loading.volume, loading.words, claim, loading.asked,
    )  # fmt: skip
    last = (loading.volume, claim) if loading.volume and isinstance(loading.words.volume, int) else t.sound.last
    t.sound = replace(t.sound, loading=None, sounding=sounding, last=last)
    t.effect(e.Play(loading.ticket))
    t.wake(sounding.cut_us)


def cut(t: Turn, reason: str, now_us: int) -> None:
    """Silence what sounds. The interrupted repeat is not heard; it starts again if its order may still sound."""
    sounding = t.sound.sounding
    assert sounding is not None
    t.stop(sounding.ticket)
    mark = t.mark(sounding.key)
    again = mark.again or sounding.began
    t.set_mark(sounding.key, replace(mark, running=0, percent=0, again=again, due_us=now_us))
    t.sound = replace(t.sound, sounding=None)
    evidence = _evidence(sounding, t.orders[sounding.key].order) | {"percent": mark.percent}
    say(t, sounding.key, sounding.rev, StepKind.SUPERSEDED, reason, evidence)


def began(t: Turn, ticket: int, mic_db: int | None) -> None:
    """The first sample went out."""
    sounding = t.sound.sounding
    if sounding is None or sounding.ticket != ticket or sounding.began:
        return
    evidence = _evidence(sounding, t.orders[sounding.key].order)
    if t.mark(sounding.key).again:
        evidence["again"] = 1
    if t.sound.store_reason:
        evidence["store"] = t.sound.store_reason
    if mic_db is not None:
        evidence["mic_db"] = mic_db
    t.sound = replace(t.sound, sounding=replace(sounding, began=True, mic_db=mic_db))
    say(t, sounding.key, sounding.rev, StepKind.PLAYING, evidence=evidence)


def progress(t: Turn, event: e.SoundProgress) -> None:
    """Progress is synced in steps of 20 %, so that a crash at 80 % counts as heard."""
    began(t, event.ticket, event.mic_db)
    sounding = t.sound.sounding
    if sounding is None or sounding.ticket != event.ticket:
        return
    mark = t.mark(sounding.key)
    percent = min(event.percent, 100)
    if percent // PERCENT_STEP > mark.percent // PERCENT_STEP:
        t.set_mark(sounding.key, replace(mark, percent=percent, reached_us=t.verified_us))
    if event.mic_db is not None:
        t.sound = replace(t.sound, sounding=replace(sounding, mic_db=event.mic_db))


def ended(t: Turn, event: e.SoundEnded) -> None:
    """A repeat sounded to its end."""
    began(t, event.ticket, event.mic_db)
    sounding = t.sound.sounding
    if sounding is None or sounding.ticket != event.ticket:
        return
    mic_db = event.mic_db if event.mic_db is not None else sounding.mic_db
    _learn(t, sounding.key, sounding.asked, event.ms)
    sounding = replace(sounding, source=event.source or sounding.source)
    evidence = _evidence(sounding, t.orders[sounding.key].order) | {"ms": event.ms}
    if event.fell_back:
        evidence["fell_back"] = event.fell_back
    if mic_db is not None:
        evidence["mic_db"] = mic_db
    _heard(t, sounding, evidence)


def _heard(t: Turn, sounding: Sounding, evidence: dict[str, int | str]) -> None:
    order = t.orders[sounding.key].order
    mark = t.mark(sounding.key)
    due_us = (t.now_us or 0) + order.gap_s * 1_000_000
    t.set_mark(
        sounding.key,
        replace(mark, heard=sounding.repeat, running=0, percent=0, again=False, tries=0, due_us=due_us),
    )
    rests = {**t.sound.rests, sounding.key: t.mono_us + order.gap_s * 1_000_000}
    t.sound = replace(t.sound, sounding=None, rests=rests)
    say(t, sounding.key, sounding.rev, StepKind.FINISHED, evidence=evidence)


def failed(t: Turn, ticket: int, reason: str) -> None:
    """Loading or sounding failed: fall back, rest and try again, or give this repeat up."""
    loading, sounding = t.sound.loading, t.sound.sounding
    if loading is not None and loading.ticket == ticket:
        t.sound = replace(t.sound, loading=None)
        _load_failed(t, loading, reason)
    elif sounding is not None and sounding.ticket == ticket:
        _sound_failed(t, sounding, reason)


def _load_failed(t: Turn, loading: Loading, reason: str) -> None:
    key, mark = loading.key, t.mark(loading.key)
    if reason == NO_PREFACE:
        t.set_mark(key, replace(mark, over=NO_PREFACE))
        say(t, key, loading.rev, StepKind.REFUSED, NO_PREFACE)
        return
    if loading.depth < DEPTH_MAX:
        depth = loading.depth + 1
        if depth < DEPTH_MAX and plan(t, key, depth).segments == plan(t, key, loading.depth).segments:
            depth += 1
        load(t, key, depth)
        return
    _pause(t, key, replace(mark, tries=mark.tries + 1), loading.repeat, loading.rev, reason)


def _sound_failed(t: Turn, sounding: Sounding, reason: str) -> None:
    """At 80 % the repeat was heard; before, it sounds again whole, but not for ever."""
    mark = t.mark(sounding.key)
    evidence = _evidence(sounding, t.orders[sounding.key].order) | {"percent": mark.percent}
    if mark.percent >= HEARD_PERCENT:
        _heard(t, sounding, evidence | {"cut_by": reason})
        return
    t.stop(sounding.ticket)
    t.sound = replace(t.sound, sounding=None)
    due_us = (t.now_us or 0) if sounding.began else mark.due_us
    again = sounding.began or mark.again
    mark = replace(mark, running=0, percent=0, again=again, tries=mark.tries + 1, due_us=due_us)
    if mark.tries >= TRIES_MAX and sounding.began:
        mark = replace(mark, heard=sounding.repeat, tries=0)
        say(t, sounding.key, sounding.rev, StepKind.FAILED, reason, evidence)
        t.set_mark(sounding.key, mark)
        return
    _pause(t, sounding.key, mark, sounding.repeat, sounding.rev, reason)


def _pause(t: Turn, key: str, mark: Mark, repeat: int, rev: int, reason: str) -> None:
    """Try again after a pause, longer each time. The failure is told once for each repeat."""
    if mark.failed_repeat != repeat:
        say(t, key, rev, StepKind.FAILED, reason or Refusal.NO_AUDIO_NO_SPEECH, {"repeat": repeat})
    t.set_mark(key, replace(mark, failed_repeat=repeat))
    pause_us = min(PAUSE_US << min(mark.tries, 10), PAUSE_US_MAX)
    t.sound = replace(t.sound, rests={**t.sound.rests, key: t.mono_us + pause_us})


def watch(t: Turn, now_us: int, finish_us_max: int) -> None:
    """Give up a player that says nothing, and a repeat that runs on too long after its order expired."""
    loading, sounding = t.sound.loading, t.sound.sounding
    if loading is not None and not loading.ready:
        if t.mono_us >= loading.since_us + LOAD_US_MAX:
            t.stop(loading.ticket)
            failed(t, loading.ticket, "load_timeout")
        elif t.sound.loading is not None:
            t.wake(loading.since_us + LOAD_US_MAX)
    if sounding is not None:
        last_us = t.orders[sounding.key].order.expires + finish_us_max
        if t.mono_us >= sounding.cut_us:
            failed(t, sounding.ticket, "player_silent")
        elif now_us >= last_us:
            cut(t, "expired", now_us)
        else:
            t.wake(sounding.cut_us)
            t.wake_at_utc(last_us)


def recovered(t: Turn, key: str, mark: Mark) -> None:
    """After a restart: a repeat that had reached 80 % was heard, any other sounds again whole. It was finished when it
    had come that far, as the journal knows; when the power came back says nothing."""
    if not mark.running:
        return
    if mark.percent >= HEARD_PERCENT:
        order = t.orders[key].order
        evidence: dict[str, int | str] = {
            "repeat": mark.running,
            "of": order.repeat,
            "percent": mark.percent,
            "restart": 1,
        }
        t.set_mark(key, replace(mark, heard=mark.running, running=0, percent=0, again=False))
        say(t, key, order.rev, StepKind.FINISHED, "restart", evidence, mark.reached_us)
    else:
        t.set_mark(key, replace(mark, running=0, percent=0, again=True))


def forget(t: Turn, key: str) -> None:
    """Drop what is only kept for an order that may still sound."""
    if key in t.sound.rests or key in t.sound.lengths:
        t.sound = replace(t.sound, rests=without(t.sound.rests, key), lengths=without(t.sound.lengths, key))


def _evidence(sounding: Sounding, order: Order) -> dict[str, int | str]:
    return {
        "repeat": sounding.repeat,
        "of": order.repeat,
        "source": sounding.source,
        "volume": sounding.volume,
    }
