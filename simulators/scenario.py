"""Scenarios: scripted exercises as data. Read once, checked once; the runner trusts them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

FOLDER = Path(__file__).with_name("scenarios")
FILE_BYTES_MAX = 65_536
STEPS_MAX = 200
WITHIN_S_DEFAULT = 10


class BrokenScenario(ValueError):
    """This scenario can't be run."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One inject or one expectation, with the sentence that the report shows for it.

    Exactly one of `inject` and `expect` is set. `within_s` is how long an expectation may take to come true.
    """

    say: dict[str, str]
    inject: Literal["fire", "sensor", "cap", "answer", "release", "all_clear", "correct"] | None = None
    expect: Literal["speakers_online", "incident", "sensor_joined", "on_air", "not_on_air", "playing"] | None = None
    hazard: str = ""
    device: int = 1
    kind: Literal["detector", "call_point"] = "detector"
    file: str = ""
    by: str = ""
    verdict: Literal["confirm", "refute", "unsure"] = "confirm"
    state: str = ""
    released_by: Literal["people", "standing", ""] = ""
    phase: Literal["alert", "correction", "all_clear"] = "alert"
    share: Literal["all", "most"] = "all"
    within_s: int = WITHIN_S_DEFAULT


@dataclass(frozen=True, slots=True)
class Scenario:
    id: str
    title: dict[str, str]
    steps: tuple[Step, ...]


def read_scenario(name: str) -> Scenario:
    """A scenario by name (beside this file) or by path. Raises BrokenScenario with one sentence."""
    path = Path(name) if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    try:
        raw = path.read_bytes()
    except OSError as missing:
        raise BrokenScenario(
            f"There is no scenario {name}; there is {', '.join(sorted(p.stem for p in FOLDER.glob('*.yaml')))}."
        ) from missing
    if len(raw) > FILE_BYTES_MAX:
        raise BrokenScenario(f"{path.name} has {len(raw)} bytes, the limit is {FILE_BYTES_MAX}.")
    try:
        data: dict[str, Any] = yaml.safe_load(raw)
        steps = tuple(msgspec.convert(step, Step) for step in data["steps"])
        scenario = Scenario(str(data["id"]), dict(data["title"]), steps)
    except (yaml.YAMLError, msgspec.ValidationError, KeyError, TypeError, ValueError) as broken:
        raise BrokenScenario(f"{path.name} is no scenario: {broken}") from broken
    if not 0 < len(steps) <= STEPS_MAX:
        raise BrokenScenario(f"{path.name} has {len(steps)} steps, the limit is {STEPS_MAX}.")
    for number, step in enumerate(steps, 1):
        if (step.inject is None) == (step.expect is None):
            raise BrokenScenario(f"{path.name}: step {number} is not exactly one inject or one expectation.")
    return scenario
