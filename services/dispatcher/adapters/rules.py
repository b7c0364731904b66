"""Reads the rules of joining, inhibition, silences and risk from one YAML file and checks it against its schema."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from ..domain.rules import FIRE, Areas, CircumstanceRule, InhibitionRule, JoinRule, ReliabilityRule, Rules

FILE_BYTES_MAX = 65_536
SCHEMA = Path(__file__).parents[3] / "playbooks" / "rules" / "schema.json"


class BrokenRules(ValueError):
    """The rules can't be used; every reason stands in `problems`, one sentence each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def read_rules(file: Path) -> Rules:
    """The rules of a file; its version is the hash of its bytes. Raises BrokenRules naming file and place."""
    try:
        raw = file.read_bytes()
        schema = json.loads(SCHEMA.read_text("utf-8"))
    except OSError as broken:
        raise BrokenRules((f"{file.name} can't be read: {broken.strerror or broken}",)) from broken
    except ValueError as broken:
        raise BrokenRules((f"{SCHEMA.name} can't be read: {broken}",)) from broken
    if len(raw) > FILE_BYTES_MAX:
        raise BrokenRules((f"{file.name} has {len(raw)} bytes, the limit is {FILE_BYTES_MAX}",))
    try:
        data = yaml.safe_load(raw)
    except yaml.YAMLError as broken:
        raise BrokenRules((f"{file.name} is not YAML: {_in_one_line(broken)}",)) from broken
    errors = sorted(Draft202012Validator(schema).iter_errors(data), key=str)
    problems = [f"{file.name}: {'/'.join(map(str, e.absolute_path)) or 'the file'}: {e.message}" for e in errors]
    problems += [f"{file.name}: {problem}" for problem in ([] if problems else _contradictions(data))]
    if problems:
        raise BrokenRules(tuple(problems))
    return _rules(data, hashlib.sha256(raw).hexdigest()[:12])


def _in_one_line(broken: yaml.YAMLError) -> str:
    if isinstance(broken, yaml.MarkedYAMLError) and broken.problem_mark is not None:
        return f"line {broken.problem_mark.line + 1}: {broken.problem}"
    return " ".join(str(broken).split())


def _contradictions(data: dict[str, Any]) -> list[str]:
    """What no schema can say: rules that would do nothing, or what the laws forbid."""
    found = []
    for number, rule in enumerate(data["inhibition"]):
        if min(rule["mutes_levels"]) <= rule["level"]:
            found.append(f"inhibition/{number}: only what is less grave than level {rule['level']} can be muted")
        if rule.get("venues") and "mutes_hazards" not in rule:
            found.append(f"inhibition/{number}: incidents at a venue are muted only by name: say mutes_hazards")
    return found


def _rules(data: dict[str, Any], version: str) -> Rules:
    joining, risk, silences = data["joining"], data["risk"], data["silences"]
    plain = Rules()
    return Rules(
        version=version,
        joining={hazard: _join(rule) for hazard, rule in joining.get("hazards", {}).items()},
        joining_default=_join(joining["default"]),
        cancel_waits_s=data["cancel_waits_h"] * 3_600 if "cancel_waits_h" in data else plain.cancel_waits_s,
        signals_a_minute_logged=data.get("storm", {}).get("signals_a_minute_logged", plain.signals_a_minute_logged),
        inhibition=tuple(_inhibition(rule) for rule in data["inhibition"]),
        silence_h_max=silences.get("hours_max", plain.silence_h_max),
        silence_never_alone=tuple(dict.fromkeys((FIRE, *silences.get("never_alone", ())))),
        circumstances=tuple(_circumstance(rule) for rule in risk.get("circumstances", ())),
        reliability=ReliabilityRule(**risk.get("reliability", {})),
        utc_offset_min=risk.get("utc_offset_min", plain.utc_offset_min),
    )


def _join(rule: dict[str, Any]) -> JoinRule:
    return JoinRule(rule["distance_m"], rule["within_s"], Areas(rule["areas"]))


def _inhibition(rule: dict[str, Any]) -> InhibitionRule:
    return InhibitionRule(
        level=rule["level"],
        mutes_levels=tuple(rule["mutes_levels"]),
        hazards=_named(rule, "hazards"),
        mutes_hazards=_named(rule, "mutes_hazards"),
        venues=rule.get("venues", False),
        hold_s=rule.get("hold_h", 6) * 3_600,
    )


def _circumstance(rule: dict[str, Any]) -> CircumstanceRule:
    hours = rule.get("hours")
    return CircumstanceRule(
        reason=rule["reason"],
        hazards=_named(rule, "hazards"),
        venue_kinds=_named(rule, "venue_kinds"),
        hours=(hours[0], hours[1]) if hours else None,
        corroborated_only=rule.get("corroborated_only", True),
        gravest=rule.get("gravest", 2),
    )


def _named(rule: dict[str, Any], name: str) -> tuple[str, ...] | None:
    return tuple(rule[name]) if name in rule else None
