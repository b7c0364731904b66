"""Reads playbooks from a folder of YAML files and checks each against the schema beside them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from ..domain.playbook import Corroboration, OnUnanswered, Playbook, Rung, Spoken, StandingOrder, Target
from ..domain.wordings import PLACEHOLDERS, unfilled, unknown_placeholder

FILE_BYTES_MAX = 65_536
PLAYBOOKS_MAX = 200
_THERE_ARE = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)


class BrokenPlaybook(ValueError):
    """A playbook can't be used; every reason stands in `problems`, one sentence each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def read_playbooks(folder: Path) -> tuple[Playbook, ...]:
    """Every playbook of the folder in file-name order. Raises BrokenPlaybook naming file and place."""
    try:
        validator = Draft202012Validator(json.loads((folder / "schema.json").read_text("utf-8")))
    except (OSError, ValueError) as broken:
        raise BrokenPlaybook((f"schema.json can't be read in {folder.name}: {broken}",)) from broken
    problems: list[str] = []
    playbooks: list[Playbook] = []
    files = sorted(folder.glob("*.yaml"))
    if len(files) > PLAYBOOKS_MAX:
        raise BrokenPlaybook((f"there are {len(files)} playbooks, the limit is {PLAYBOOKS_MAX}",))
    for file in files:
        raw = file.read_bytes()
        found = _problems(file, raw, validator)
        if not found:
            playbook = _playbook(yaml.safe_load(raw), hashlib.sha256(raw).hexdigest()[:12])
            playbooks.append(playbook)
            found = [f"{file.name}: {problem}" for problem in _contradictions(playbook)]
        problems += found
    names = [p.id for p in playbooks]
    problems += [f"the playbook id {name} stands in two files" for name in sorted(set(names)) if names.count(name) > 1]
    if problems:
        raise BrokenPlaybook(tuple(problems))
    return tuple(playbooks)


def _problems(file: Path, raw: bytes, validator: Draft202012Validator) -> list[str]:
    if len(raw) > FILE_BYTES_MAX:
        return [f"{file.name} has {len(raw)} bytes, the limit is {FILE_BYTES_MAX}"]
    try:
        data = yaml.safe_load(raw)
    except yaml.YAMLError as broken:
        return [f"{file.name} is not YAML: {broken}"]
    errors = sorted(validator.iter_errors(data), key=str)
    return [f"{file.name}: {'/'.join(map(str, e.absolute_path)) or 'the file'}: {e.message}" for e in errors]


def _contradictions(playbook: Playbook) -> list[str]:
    """What no schema can say: parts that each are right and together would not do what they promise."""
    found = _words(playbook)
    standing = playbook.standing
    if standing is not None:
        if playbook.target is not Target.VENUE:
            found.append("standing_order: it reaches the venue of the alarm alone, so order/target is venue")
        for corroboration in standing.covers:
            if corroboration not in playbook.corroborated_by:
                found.append(f"standing_order/covers: {corroboration} is not among when/corroborated_by")
    if playbook.level_corroborated > playbook.level_suspected:
        found.append("level: what is corroborated is less grave than what is suspected")
    return found


def _words(playbook: Playbook) -> list[str]:
    """What is wrong with what people hear and read."""
    spoken = {phase: getattr(playbook.spoken, phase) for phase in ("alert", "correction", "all_clear")}
    langs = sorted({lang for texts in spoken.values() for lang in texts})
    found = []
    for phase, texts in spoken.items():
        found += [
            f"order/{phase}: it has no {lang} text, and others of this order do" for lang in langs if lang not in texts
        ]
        found += [
            f"order/{phase}/{lang}: it does not name the {{place}}" for lang in texts if "{place}" not in texts[lang]
        ]
    filled = {"question": playbook.question, **{f"order/{phase}": texts for phase, texts in spoken.items()}}
    for where, texts in filled.items():
        found += [
            f"{where}/{lang}: nothing fills {left}; what is filled in: {_THERE_ARE}"
            for lang, text in texts.items()
            if (left := unknown_placeholder(text))
        ]
    plain = {"title": playbook.title, "hazard_names": playbook.hazard_names}
    for where, texts in plain.items():
        found += [
            f"{where}/{lang}: nothing fills {left}; nothing is filled in here"
            for lang, text in texts.items()
            if (left := unfilled(text))
        ]
    found += [
        f"{where}/{lang}: it is blank"
        for where, texts in {**filled, **plain}.items()
        for lang in texts
        if not texts[lang].strip()
    ]
    return found


def _playbook(data: dict[str, Any], version: str) -> Playbook:
    when, order, standing = data["when"], data["order"], data.get("standing_order")
    return Playbook(
        id=data["id"],
        version=version,
        title=data["title"],
        hazard=data["hazard"],
        hazard_names=data["hazard_names"],
        event_code=data["event_code"],
        venue_kinds=tuple(when["venue_kinds"]) if "venue_kinds" in when else None,
        claimed_levels=tuple(when["claimed_levels"]) if "claimed_levels" in when else None,
        join_within_s=when["join_within_s"],
        level_suspected=data["level"]["suspected"],
        level_corroborated=data["level"]["corroborated"],
        corroborated_by=tuple(Corroboration(c) for c in when["corroborated_by"]),
        verify=tuple(Rung(r["up"], r["answer_timeout_s"]) for r in data["verify"]),
        question=data["question"],
        target=Target(order["target"]),
        order_class=order["class"],
        spoken=Spoken(order["alert"], order["correction"], order["all_clear"]),
        volume=order["volume"],
        repeat=order["repeat"],
        gap_s=order["gap_s"],
        valid_s=order["valid_s"],
        prove_within_s=data["prove_within_s"],
        standing=_standing(standing) if standing else None,
    )


def _standing(data: dict[str, Any]) -> StandingOrder:
    return StandingOrder(tuple(Corroboration(c) for c in data["covers"]), OnUnanswered(data["on_unanswered"]))
