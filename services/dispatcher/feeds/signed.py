"""What a checked signature means for what was read: evidence on every signal, or nothing read at all. Pure.

A signature that proves nothing does not by itself refuse a message (OASIS CAP 1.2, 3.3.4.1); the feed's enrolment may.
"""

from __future__ import annotations

from dataclasses import replace

from services.dispatcher.domain.signals import Problem, Reading

PROVED = ("valid", "weak")
WHERE = "alert/Signature"


def with_signature(found: Reading, state: str, sentence: str, *, required: bool) -> Reading:
    """The reading with the verdict in it: `state` on every signal, `sentence` as a problem unless it is simply valid.

    With `required`, what is not proved makes no signal.
    """
    if required and state not in PROVED:
        problem = Problem("error", "signature_required", WHERE, f"{sentence} This feed must be signed.")
        return Reading((), (problem, *found.problems))
    if state in ("valid", "unsigned"):
        return replace(found, signals=tuple(replace(signal, signature=state) for signal in found.signals))
    problem = Problem("warning", f"signature_{state}", WHERE, sentence)
    signals = tuple(replace(signal, signature=state, problems=(*signal.problems, problem)) for signal in found.signals)
    return Reading(signals, (*found.problems, problem))
