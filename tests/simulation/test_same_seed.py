"""A seed means one run: the same account, byte for byte, in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from simulators.faults import Fault
from simulators.simulate import play
from simulators.world import Run

ROOT = Path(__file__).parents[2]
SHORT = ("--seed", "7", "--seeds", "1", "--minutes", "20", "--calm", "20")
COMMAND = (sys.executable, "-m", "simulators.simulate", *SHORT)


def played_with_hash_seed(number: str) -> bytes:
    environment = {**os.environ, "PYTHONHASHSEED": number}
    done = subprocess.run((*COMMAND, "--log", "--json"), cwd=ROOT, env=environment, capture_output=True, check=True)
    return done.stdout


def test_the_account_of_a_seed_does_not_depend_on_the_hash_seed_of_the_process() -> None:
    first = played_with_hash_seed("1")
    assert len(first.splitlines()) > 100
    assert played_with_hash_seed("4242") == first


def test_another_seed_is_another_run() -> None:
    digests = {play(Run(seed, (), 600, 1_200)).digest for seed in (1, 2)}
    assert len(digests) == 2


def test_leaving_out_one_kind_of_fault_moves_no_other() -> None:
    def clock_lines(faults: tuple[Fault, ...]) -> list[str]:
        return [line for line in play(Run(3, faults, 2_400, 1_200)).lines if "clock: jumps" in line]

    with_attack = clock_lines((Fault.CLOCK_JUMPS, Fault.ATTACK))
    assert with_attack
    assert clock_lines((Fault.CLOCK_JUMPS,)) == with_attack
