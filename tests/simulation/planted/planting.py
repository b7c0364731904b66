"""Each law with a bug planted against it: a real part is wrapped, and the simulation must name the law that it breaks.

Without these, checks that look at nothing would pass as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from devices.speaker.machine import decide
from simulators.checks import Violation
from simulators.dispatcher import Parts
from simulators.endpoint import Decide
from simulators.faults import EVERY_FAULT, Fault
from simulators.world import Run, World

SEEDS = range(100, 112)


def found(
    parts: Parts | None = None,
    machine: Decide = decide,
    faults: Sequence[Fault] = EVERY_FAULT,
    seeds: range = SEEDS,
    rough_s: int = 1_800,
    prepare: Callable[[World], None] = lambda world: None,
) -> tuple[Violation, ...]:
    """What the first violating seed breaks; empty when none does."""
    for seed in seeds:
        world = World(Run(seed, tuple(faults), rough_s, 1_260), parts, machine)
        prepare(world)
        outcome = world.run()
        if outcome.violations:
            return outcome.violations
    return ()


def laws_broken(*parts: Any, **how: Any) -> set[int]:
    """The laws that the first violating seed breaks."""
    return {violation.law for violation in found(*parts, **how)}
