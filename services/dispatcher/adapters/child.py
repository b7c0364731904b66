"""Running a program for its output: bytes in, bytes out, with a deadline and a limit on what it may send back.

No shell is involved anywhere; what strangers wrote goes in by standard input only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

_COMPLAINT_BYTES_MAX = 65_536


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """A program that ended by itself with status 0. `complaint` is the end of what it wrote to standard error."""

    output: bytes
    complaint: str


class ChildFailed(Exception):
    """A program gave no usable output. `code` is absent, refused, too_slow or too_much; `complaint` its own words."""

    def __init__(self, code: str, complaint: str = "") -> None:
        self.code = code
        self.complaint = complaint
        super().__init__(f"{code}: {complaint}" if complaint else code)


def run(argv: Sequence[str], given: bytes, *, timeout_s: float, output_bytes_max: int) -> ChildEnded:
    """Run a program to its end with `given` as its standard input. Raises ChildFailed."""
    with tempfile.TemporaryFile() as complaints:
        try:
            child = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, start_new_session=True
            )
        except OSError as error:
            raise ChildFailed("absent", f"{argv[0]} can't be started: {error.strerror}.") from error
        feeder = threading.Thread(target=_feed, args=(child, given), daemon=True)
        overdue = threading.Event()
        alarm = threading.Timer(timeout_s, _overdue, args=(child, overdue))
        assert child.stdout is not None
        with child:
            feeder.start()
            alarm.start()
            try:
                output = child.stdout.read(output_bytes_max + 1)
                if len(output) > output_bytes_max:
                    raise ChildFailed("too_much", f"{argv[0]} sent more than {output_bytes_max} bytes.")
                status = child.wait()
            finally:
                alarm.cancel()
                if child.poll() is None:
                    _kill(child)
                feeder.join()
        complaints.seek(max(0, complaints.seek(0, os.SEEK_END) - _COMPLAINT_BYTES_MAX))
        complaint = complaints.read().decode(errors="replace")
    if overdue.is_set():
        raise ChildFailed("too_slow", f"{argv[0]} did not finish within {timeout_s:g} seconds.")
    if status != 0:
        raise ChildFailed("refused", f"{argv[0]} ended with status {status}: {complaint[-300:].strip()}")
    return ChildEnded(output, complaint)


def _feed(child: subprocess.Popen[bytes], given: bytes) -> None:
    """Hand over the input; a child that stops listening says why by its status."""
    assert child.stdin is not None
    with suppress(BrokenPipeError):
        child.stdin.write(given)
    with suppress(BrokenPipeError):
        child.stdin.close()


def _overdue(child: subprocess.Popen[bytes], overdue: threading.Event) -> None:
    overdue.set()
    _kill(child)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """With its own children, so that none of them holds the pipe open."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
