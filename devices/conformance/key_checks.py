"""The checks of a stolen key that is removed: what it claimed is taken back, and nothing older comes in its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from devices.conformance.bench import Bench
from devices.conformance.finding import (
    STATE_S_MAX,
    Check,
    Checks,
    Finding,
    Part,
    begins,
    never_began,
    state_of,
    told,
    untried,
    version_held,
)
from devices.conformance.papers import now_us, withdrawn
from devices.protocols import speaker_link as link
from devices.protocols.documents import INTEGER_MAX
from devices.protocols.speaker_link import Manifest, StepKind

AHEAD_MS = 590_000

REVOKED: Checks = {
    "ahead": Check("keeps to a version that a listed key signed ahead", "2 Manifest"),
    "removed": Check("takes a key document that lists a key no longer", "2 Keys"),
    "version": Check("takes a lower version once the key ahead is removed", "2 Manifest"),
    "order": Check("ends an order that only the removed key vouches for", "2 Manifest"),
    "revision": Check("plays an order again that only the removed key had ended", "2 Manifest"),
    "replay": Check("still refuses an older manifest of a key that stays", "2 Manifest"),
    "ends": Check("ends that order at its own rev", "2 Manifest"),
}


def revoked(b: Bench) -> Iterator[Finding]:
    """Somebody has a key: signs ten minutes ahead, gives an order that supersedes ours, and ends ours at the highest
    revision as well; then the key is removed."""
    papers = b.papers
    ours, thiefs = papers.order("ours", repeat=100), papers.order("thiefs", repeat=100, supersedes=("ours",))
    older = papers.manifest(papers.main, [ours, papers.order("replayed")])
    b.publish(papers.main, papers.put(ours))
    if not begins(b, "ours"):
        yield from untried(REVOKED, never_began(b, "ours"))
        return
    ended = link.stub(replace(withdrawn(ours), rev=INTEGER_MAX))
    ahead = papers.manifest(papers.main, [ended, thiefs], version=now_us() // 1_000 + AHEAD_MS)
    b.publish(papers.main, link.sign(ahead, papers.keys["stolen"]))
    if not begins(b, "thiefs"):
        yield from untried(REVOKED, never_began(b, "thiefs"))
        return
    b.publish(papers.main, papers.put(ours))
    back = b.until(lambda: _refused(b, papers.held[papers.main]))
    seen = ", ".join(b.refusals(papers.main)) or "nothing refused"
    yield REVOKED["ahead"].found(back, "version_back" if back else seen, "version_back for a lower version")

    begun = len(b.said("ours", StepKind.PLAYING))
    b.publish(link.KEYS_TOPIC, papers.remove_key("stolen"))
    yield version_held(b, REVOKED["removed"], lambda: state_of(b).keys_version, papers.document.version)
    taken = b.until(lambda: _version(b) == papers.held[papers.main], STATE_S_MAX)
    seen = f"version {_version(b)} in its state"
    yield REVOKED["version"].found(taken, seen, f"version {papers.held[papers.main]}")
    over = b.until(lambda: b.has("thiefs", StepKind.SUPERSEDED, "withdrawn"))
    yield REVOKED["order"].found(over, told(b, "thiefs"), "superseded: withdrawn")
    again = begins(b, "ours", repeats=begun)
    yield REVOKED["revision"].found(again, told(b, "ours"), "playing once more")
    yield _replay(b, older)
    b.publish(papers.main, papers.put(withdrawn(ours)))
    if not again:
        yield REVOKED["ends"].untried("it did not play again")
        return
    silent = b.until(lambda: any(each.rev == 2 for each in b.said("ours", StepKind.ACCEPTED)))
    silent = silent and b.until(lambda: b.said("ours")[-1].step.reason == "withdrawn")
    yield REVOKED["ends"].found(silent, told(b, "ours"), "accepted at rev 2, and superseded: withdrawn last")


def _replay(b: Bench, older: Manifest) -> Finding:
    b.publish(b.papers.main, link.sign(older, b.papers.keys["exercise"]))
    back = b.until(lambda: _refused(b, older.version))
    seen = f"version {_version(b)} in its state; replayed: {told(b, 'replayed')}"
    held = back and not b.said("replayed")
    return REVOKED["replay"].found(held, "version_back" if held else seen, "version_back and no receipt of its order")


def _version(b: Bench) -> int:
    return state_of(b).streams.get(b.papers.main, 0)


def _refused(b: Bench, version: int) -> bool:
    """Whether this version of the main stream was refused as one that goes back."""
    return any(
        receipt.stream == b.papers.main and receipt.version == version and step.reason == "version_back"
        for receipt, _ in b.receipts.values()
        for step in receipt.steps
    )


REMOVED_KEY = Part(tuple(REVOKED.values()), revoked, sounds=True)
