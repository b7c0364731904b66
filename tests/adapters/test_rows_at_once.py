"""Several threads that read rows of one kind for the first time, as every gateway's do when it starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# In a process of its own, because what must not happen ends the process.
AT_ONCE = """
import sys
from dataclasses import make_dataclass
from threading import Barrier, Thread

from services.dispatcher.adapters.rows import decode

sys.setswitchinterval(1e-6)
for number in range(100):
    inner = [make_dataclass(f"Inner{number}x{i}", [("a", int, 0)], frozen=True, slots=True) for i in range(12)]
    fields = [(f"f{i}", each | None, None) for i, each in enumerate(inner)]
    kind = make_dataclass(f"Kind{number}", fields, frozen=True, slots=True)
    together = Barrier(8)

    def read():
        together.wait()
        assert decode(kind, '{"f3": {"a": 4}}').f3.a == 4

    threads = [Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_rows_of_one_kind_are_first_read_by_many_threads_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", AT_ONCE], cwd=ROOT, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
