"""Deeds that several processes or threads do to one store at the same time, and a way to start them together.

Run as a program it is one of those processes. It reads a JSON line [URL, DEED, NUMBER], says "ready", waits for another
line, does the deed and says "done"; and so on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Barrier

from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.effects import Carry, Record
from services.dispatcher.domain.incidents import Incident, IncidentState
from services.dispatcher.domain.signals import Place, Use
from services.dispatcher.engine.chain import chain_pass
from services.dispatcher.engine.ports import Conflict, Tx
from services.dispatcher.engine.rows import ReceiptRow
from services.dispatcher.engine.writing import WritableStore

ROOT = Path(__file__).resolve().parents[2]
TIMES = 40
INCIDENT = Incident(
    id="0192f0c0a1b27c3d8e4f5a6b7c8d9e0f",
    use=Use.ACTUAL,
    hazard="fire",
    event_code="11A01",
    playbook="",
    state=IncidentState.SUSPECTED,
    level=3,
    reasons=(),
    place=Place(),
    venue=None,
    area="210200000000",
    cell="1/1",
    lat_e7=None,
    lon_e7=None,
    opened_us=1,
    last_signal_us=1,
)


def count(store: WritableStore, _: int) -> None:
    """Count one signal more on the incident, many times, without holding it: who lost starts again."""
    for _ in range(TIMES):
        _insist(store, lambda tx: _count_on(tx, tx.get(Incident, INCIDENT.id)))


def count_locked(store: WritableStore, _: int) -> None:
    """The same with the incident held."""
    for _ in range(TIMES):
        with store.write() as tx:
            _count_on(tx, tx.get_locked(Incident, INCIDENT.id))


def join(store: WritableStore, number: int) -> None:
    """Join the open incident of each hazard, or open it: only the lock keeps two from opening the same."""
    for turn in range(TIMES):
        hazard = f"hazard-{turn}"
        with store.write() as tx:
            tx.lock(f"join/{hazard}", f"join/{hazard}/beside")
            if not tx.find(Incident, hazard=hazard, state=(IncidentState.SUSPECTED,)):
                tx.put(replace(INCIDENT, id=f"{hazard}-{number}", hazard=hazard))


def claim(store: WritableStore, number: int) -> None:
    """Claim effects until there are none; the log says who had which."""
    while True:
        with store.write() as tx:
            claimed = tx.claim([Carry.RENDER_AUDIO], f"owner-{number}", 60_000_000, 3)
            for effect in claimed:
                tx.record(Record("claimed", effect.lane, effect.leased_by))
                tx.done(effect)
        if not claimed:
            return


def chain(store: WritableStore, number: int) -> None:
    """Write log lines and link them."""
    for turn in range(TIMES):
        with store.write() as tx:
            tx.record(Record("turn", f"{number}/{turn}", "to be linked"))
        chain_pass(store)


def plan_or_say(store: WritableStore, number: int) -> None:
    """One plans orders, with and again without a speaker, while the other keeps that speaker's receipts of them."""
    for turn in range(TIMES):
        order = f"b-{turn}"
        if number:
            receipt = ReceiptRow("s-1", "j", turn + 1, order, 1, b"", 1, playing_us=5)
            _insist(store, partial(_keep, receipt))
            continue
        for speakers in (("s-0", "s-1"), ("s-0",), ("s-0", "s-1")):
            _insist(store, partial(_plan, order, speakers))


DEEDS: dict[str, Callable[[WritableStore, int], None]] = {
    deed.__name__: deed for deed in (count, count_locked, join, claim, chain, plan_or_say)
}


def _count_on(tx: Tx, incident: Incident | None) -> None:
    assert incident is not None
    tx.put(replace(incident, signal_count=incident.signal_count + 1))


def _keep(receipt: ReceiptRow, tx: Tx) -> None:
    tx.add_receipts([receipt])


def _plan(order: str, speakers: tuple[str, ...], tx: Tx) -> None:
    tx.plan_expected(order, speakers)


def _insist(store: WritableStore, change: Callable[[Tx], None]) -> None:
    while True:
        try:
            with store.write() as tx:
                change(tx)
        except Conflict:
            continue
        return


def as_threads(store: WritableStore, deed: str, neighbours: int = 2) -> None:
    """Let threads of this process do the deed to one store."""
    together = Barrier(neighbours)

    def one(number: int) -> None:
        together.wait(timeout=10)
        DEEDS[deed](store, number)

    with ThreadPoolExecutor(neighbours) as threads:
        for done in [threads.submit(one, number) for number in range(neighbours)]:
            done.result(timeout=60)


class Neighbours:
    """Two processes that do deeds to one database together, started once because starting takes longest."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.adapters.neighbours"]
        self._processes = [
            subprocess.Popen(command, cwd=ROOT, text=True, bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for _ in range(2)
        ]

    def do(self, url: str, deed: str) -> None:
        """Both do the deed at the same time; AssertionError when one of them can't."""
        for number, process in enumerate(self._processes):
            _say(process, json.dumps([url, deed, number]))
        for process in self._processes:
            assert _said(process) == "ready", "see its traceback above"
        for process in self._processes:
            _say(process, "go")
        for process in self._processes:
            assert _said(process) == "done", "see its traceback above"

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


def _say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")


def _said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def main() -> None:
    for line in sys.stdin:
        url, deed, number = json.loads(line)
        store = SqlStore(url)
        with store.read() as read:
            read.get(Incident, INCIDENT.id)
        print("ready", flush=True)
        sys.stdin.readline()
        DEEDS[deed](store, number)
        store.close()
        print("done", flush=True)


if __name__ == "__main__":
    main()
