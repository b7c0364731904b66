"""Prometheus Alertmanager webhooks and what speaks like them: bytes in, signals or named problems out. Pure.

Read are the version 4 body, bodies of notifiers that leave half of it out, Grafana's (the old one of single rules as
well), a single alert, and lists as /api/v2/alerts takes and gives them.

Evidence. A rule on a measurement is a machine's word: a feed enrolled as an authority counts as a detector here.
Hazard. The label `hazard`, else `event_code`, else the feed's aliases and the hazard words in `alertname`. Without
one the alert is about machines: it is information, as are a rule without data, a silenced alert and a `status` of test.
Key. `alertmanager/<feed>/<alert>@<start>`, the alert being the digest of its sorted labels; some senders give all
alerts one fingerprint, so it counts only where there are no labels. A resolved alert cancels that key. Where the start
is missing, the minute of receipt stands for it and a resolution, which then has nothing to name, is information.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.dispatcher.domain.signals import Evidence, Feed, Problem, Reading, Signal, SignalKind
from services.dispatcher.feeds.hazards import OTHER
from services.dispatcher.feeds.json_edge import BadJson, open_json
from services.dispatcher.feeds.report import (
    AREAS_MAX,
    DESCRIPTION_CHARS_MAX,
    NAME_CHARS_MAX,
    RADIUS_M_DEFAULT,
    Report,
    Status,
    area_code,
    clean,
    digest,
    hazard_of,
    level_of,
    signal_of,
)
from services.dispatcher.feeds.rfc3339 import instant_us

FORMAT = "alertmanager"
BODY_BYTES_MAX = 1_048_576
ALERTS_MAX = 500
LABELS_MAX = 128
LABEL_CHARS_MAX = 4_096
MINUTE_US = 60_000_000

SEVERITIES = {
    **dict.fromkeys(("emergency", "disaster", "extreme"), 1),
    **dict.fromkeys(("critical", "page", "fatal", "severe", "high", "error", "major"), 2),
    **dict.fromkeys(("warning", "warn", "moderate", "medium", "average"), 3),
    **dict.fromkeys(("info", "informational", "notice", "minor", "low", "none"), 4),
}
NO_DATA = ("DatasourceNoData", "DatasourceError")
_FIRING = ("firing", "active", "alerting", "unprocessed")
_SUPPRESSED = "suppressed"
_RESOLVED = ("resolved", "ok", "inactive", "expired")
_SEVERITY_LABELS = ("level", "severity", "priority")
_DEVICE_LABELS = ("device", "sensor", "instance", "host", "station")
_PLACE_LABELS = ("place", "location", "address", "site", "station")
_AREA_LABELS = ("area", "areas", "area_code")
_HEADLINES = ("summary", "title", "message")
_SEPARATORS = re.compile(r"[,;\s]+")
_HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BEFORE_US = 0
"""Times before 1970 say that there is no time: Go writes its zero as the year 1."""


class _Malformed(Exception):
    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


def reading(raw: bytes, feed: Feed, received_us: int) -> Reading:
    """The signals of a body from an enrolled feed; `received_us` is µs UTC. Never raises.

    Each alert is judged by itself: an error names the alert that it refuses, the others stand.
    """
    try:
        group, alerts = _alerts(open_json(raw, BODY_BYTES_MAX))
    except (BadJson, _Malformed) as bad:
        return Reading((), (Problem("error", bad.code, "", bad.sentence),))
    found: dict[str, Signal] = {}
    problems = list(_of_group(group, alerts))
    for number, alert in enumerate(alerts[:ALERTS_MAX], 1):
        where = f"alert {number}"
        try:
            report = _Alert(alert, group, where, feed, received_us).report()
        except _Malformed as bad:
            problems.append(Problem("error", bad.code, where, bad.sentence))
            continue
        signal = signal_of(report, FORMAT, feed, received_us)
        if signal.key not in found:
            found[signal.key] = signal
            problems += signal.problems
    return Reading(tuple(found.values()), tuple(problems))


def _alerts(value: object) -> tuple[dict[str, object], list[object]]:
    """(what is said of all, the alerts) of a body in any of its forms."""
    if isinstance(value, list):
        return {}, value
    if not isinstance(value, dict):
        raise _Malformed("wrong_type", "The body is neither an alert nor a list of alerts.")
    if "alerts" in value:
        listed = value["alerts"]
        if not isinstance(listed, list):
            raise _Malformed("wrong_type", "The member alerts is no list.")
        return value, listed
    if "ruleName" in value or "ruleId" in value:
        return {}, [_of_rule(value)]
    if "labels" in value:
        return {}, [value]
    raise _Malformed("not_alerts", "The body holds neither alerts nor labels.")


def _of_rule(value: dict[str, object]) -> dict[str, object]:
    """Grafana's old body of one rule as an alert: tags are labels, the rule's name is the alert's."""
    tags = value.get("tags")
    labels = {**(tags if isinstance(tags, dict) else {}), "alertname": value.get("ruleName", "")}
    if isinstance(value.get("ruleId"), int):
        labels["rule_id"] = str(value["ruleId"])
    annotations = {"summary": value.get("title", ""), "description": value.get("message", "")}
    return {"labels": labels, "annotations": annotations, "status": value.get("state", "")}


def _of_group(group: dict[str, object], alerts: list[object]) -> Iterator[Problem]:
    if not alerts:
        yield Problem("error", "no_alerts", "", "The body holds no alert.")
    if len(alerts) > ALERTS_MAX:
        said = f"A body has at most {ALERTS_MAX} alerts; from this one on it was not read."
        yield Problem("error", "too_many_alerts", f"alert {ALERTS_MAX + 1}", said)
    cut = group.get("truncatedAlerts", 0)
    if isinstance(cut, int) and cut > 0:
        yield Problem("warning", "alerts_truncated", "", "The sender left alerts out of this body.")


class _Alert:
    """One alert being read: its labels and annotations as texts, and what the group says of all."""

    def __init__(self, alert: object, group: dict[str, object], where: str, feed: Feed, received_us: int) -> None:
        if not isinstance(alert, dict):
            raise _Malformed("wrong_type", "The alert is no JSON object.")
        self._alert: dict[str, object] = alert
        self._group = group
        self._where = where
        self._feed = feed
        self._received_us = received_us
        self._labels = _texts(alert.get("labels"), "labels")
        self._annotations = _texts(alert.get("annotations"), "annotations")
        self._problems: list[Problem] = []

    def report(self) -> Report:
        name = self._name()
        if not self._labels and not name:
            raise _Malformed("labels_missing", "The alert has neither labels nor a fingerprint.")
        starts_us, ends_us = self._time("startsAt"), self._time("endsAt")
        state = self._state(ends_us)
        kind, id, references = self._life(name, state, starts_us, ends_us)
        hazard, code = self._hazard()
        lat, lon = self._position()
        areas = tuple(self._areas())
        return Report(
            where=self._where,
            id=id,
            kind=kind,
            references=references,
            hazard=hazard,
            event_code=code,
            evidence=self._evidence(),
            level=self._level(),
            headline=self._first(self._annotations, _HEADLINES) or self._labels.get("alertname", ""),
            description=self._annotations.get("description", "")[:DESCRIPTION_CHARS_MAX],
            observed_us=ends_us if state in _RESOLVED and ends_us is not None else starts_us,
            areas=areas,
            venue=self._labels.get("venue") or None,
            lat=lat,
            lon=lon,
            radius_m=RADIUS_M_DEFAULT,
            names=tuple(filter(None, [self._first(self._labels, _PLACE_LABELS)[:NAME_CHARS_MAX]])),
            device=(self._first(self._labels, _DEVICE_LABELS) or name)[:NAME_CHARS_MAX],
            status=self._status(),
            ages=False,
            problems=tuple(self._problems),
        )

    def _life(
        self, name: str, state: str, starts_us: int | None, ends_us: int | None
    ) -> tuple[SignalKind, str, tuple[str, ...]]:
        """Kind, id and references: a resolution has an id of its own and cancels that of what it resolves."""
        minute = f"r{self._received_us // MINUTE_US}"
        id = f"{name}@{minute if starts_us is None else starts_us}"
        if state in _RESOLVED:
            resolution = f"{id}#resolved-{minute if ends_us is None else ends_us}"
            return SignalKind.CANCEL, resolution, () if starts_us is None else (id,)
        if state == _SUPPRESSED:
            self._warn("not_a_hazard", "The alert is silenced or inhibited where it comes from.")
        elif state not in _FIRING:
            self._warn("not_a_hazard", f"The state {state[:32]!a} is neither firing nor resolved.")
        return SignalKind.ALERT, id, ()

    def _name(self) -> str:
        """What the alert is known by: its labels, else its fingerprint."""
        if self._labels:
            return digest(*(part for pair in sorted(self._labels.items()) for part in pair))
        fingerprint = self._alert.get("fingerprint")
        return digest(fingerprint[:LABEL_CHARS_MAX]) if isinstance(fingerprint, str) and fingerprint else ""

    def _state(self, ends_us: int | None) -> str:
        """The alert's own state, else the end it gives, else the group's state."""
        state = self._alert.get("status", self._alert.get("state"))
        if isinstance(state, dict):
            state = state.get("state")
        if state is None and ends_us is not None:
            return "resolved" if ends_us <= self._received_us else "firing"
        if state is None:
            state = self._group.get("status", self._group.get("state", "firing"))
        return state.lower() if isinstance(state, str) else "unknown"

    def _time(self, name: str) -> int | None:
        value = self._alert.get(name)
        if value is None or value == "":
            return None
        try:
            found_us = instant_us(value if isinstance(value, str) else "")
        except ValueError:
            self._warn("bad_time", f"The member {name} is no time; it was passed over.")
            return None
        return found_us if found_us > _BEFORE_US else None

    def _hazard(self) -> tuple[str, str]:
        """The hazard a label names; words in the alert's name count last."""
        for label in ("hazard", "event_code"):
            if self._labels.get(label):
                return self._not_without_data(hazard_of(self._labels[label][:NAME_CHARS_MAX], self._feed))
        name = self._labels.get("alertname", "")[:NAME_CHARS_MAX]
        found = hazard_of(name, self._feed)
        if found[0] == OTHER:
            found = hazard_of(_HUMPS.sub(" ", name), self._feed)
        if found[0] == OTHER:
            self._warn("not_a_hazard", "No label of the alert names a hazard: it is about machines.")
        return self._not_without_data(found)

    def _not_without_data(self, hazard: tuple[str, str]) -> tuple[str, str]:
        if self._labels.get("alertname") in NO_DATA:
            self._warn("not_a_hazard", "The rule has no data to judge by: a measurement is missing.")
        return hazard

    def _evidence(self) -> Evidence:
        """A machine's word, however the feed is enrolled; what names no hazard is the machine's own affair."""
        if any(problem.code == "not_a_hazard" for problem in self._problems):
            return Evidence.SYSTEM
        return Evidence.DETECTOR if self._feed.evidence is Evidence.AUTHORITY else self._feed.evidence

    def _level(self) -> int | None:
        text = self._first(self._labels, _SEVERITY_LABELS)
        return (SEVERITIES.get(text.lower()) or level_of(text)) if text else None

    def _areas(self) -> Iterator[str]:
        words = [word for word in _SEPARATORS.split(self._first(self._labels, _AREA_LABELS)) if word]
        for word in words[:AREAS_MAX]:
            code = area_code(word)
            if code is not None:
                yield code
            else:
                self._warn("bad_area_code", "An area of the alert is no code of 6, 9, 12 or 14 digits.")

    def _position(self) -> tuple[float | None, float | None]:
        texts = self._first(self._labels, ("lat", "latitude")), self._first(self._labels, ("lon", "lng", "longitude"))
        if texts == ("", ""):
            return None, None
        try:
            lat, lon = (float(text) for text in texts)
        except ValueError:
            lat = lon = float("nan")
        if not (abs(lat) <= 90 and abs(lon) <= 180):
            self._warn("bad_position", "The alert's latitude and longitude are no position; they were passed over.")
            return None, None
        return lat, lon

    def _status(self) -> Status:
        word = self._labels.get("status", "").lower()
        return Status(word) if word in tuple(Status) else Status.ACTUAL

    def _first(self, texts: dict[str, str], names: tuple[str, ...]) -> str:
        return next((texts[name] for name in names if texts.get(name)), "")

    def _warn(self, code: str, message: str) -> None:
        self._problems.append(Problem("warning", code, self._where, message))


def _texts(value: object, name: str) -> dict[str, str]:
    """Labels or annotations as texts; numbers count as their digits, what is neither is left out."""
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > LABELS_MAX:
        raise _Malformed("wrong_type", f"The member {name} is no object of at most {LABELS_MAX} texts.")
    texts: dict[str, str] = {}
    for key, each in value.items():
        if isinstance(each, str | int | float) and not isinstance(each, bool):
            texts[clean(key[:LABEL_CHARS_MAX])] = clean(str(each)[:LABEL_CHARS_MAX])
    return texts
