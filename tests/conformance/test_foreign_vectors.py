"""The foreign speaker's readers against the signed test vectors: what the page says is enough to read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import foreign_claims
from tests.conformance import foreign_rules as foreign
from tests.conformance.foreign_sounds import mono, sequence
from tests.conformance.foreign_speaker import ForeignSpeaker

DATA = Path(__file__).parents[1] / "data" / "speaker_link"
Case = dict[str, Any]
WORLD: Case = json.loads((DATA / "world.json").read_text("utf-8"))
ROOTS = [WORLD["root"], WORLD["next_root"]]
KEYS = foreign.read_keys(WORLD["keys"].encode(), ROOTS)[0]["keys"]
CONFIG = foreign.read_config(WORLD["config"].encode(), "sp-0001", KEYS, WORLD["now"], None)[0]


def cases(*files: str) -> list[Any]:
    return [
        pytest.param(case, id=f"{file}: {case['name']}")
        for file in files
        for case in json.loads((DATA / f"{file}.json").read_text("utf-8"))
    ]


def outcome(read: Callable[..., object], *given: object) -> object:
    try:
        read(*given)
    except foreign.Refused as refused:
        return refused.args[0]
    return None


@pytest.mark.parametrize("case", cases("manifest_headers", "manifest_contents", "manifest_scopes"))
def test_manifest(case: Case) -> None:
    config = CONFIG if case["config"] else None
    given = case["raw"].encode(), case["topic"], KEYS, config, case["now"]
    assert outcome(foreign.read_manifest, *given) == case.get("refused")


@pytest.mark.parametrize("case", cases("freshness"))
def test_freshness(case: Case) -> None:
    held = case["held_version"], case["held_digest"]
    assert foreign.freshness(case, case["digest"], case["now"], *held) == case["refused"]


@pytest.mark.parametrize("case", cases("key_documents"))
def test_key_document(case: Case) -> None:
    assert outcome(foreign.read_keys, case["raw"].encode(), ROOTS, WORLD["now"]) == case.get("refused")


@pytest.mark.parametrize("case", cases("configs"))
def test_config(case: Case) -> None:
    given = case["raw"].encode(), "sp-0001", KEYS, case["now"], None
    assert outcome(foreign.read_config, *given) == case.get("refused")


@pytest.mark.parametrize("case", cases("hello_answers"))
def test_hello_answer(case: Case) -> None:
    assert outcome(foreign.read_answer, case["raw"].encode(), WORLD["nonce"], KEYS) == case.get("refused")


@pytest.mark.parametrize("case", cases("selectors"))
def test_selector(case: Case) -> None:
    assert foreign.selects(case["selector"], CONFIG | case["where"]) is case["matches"]


@pytest.mark.parametrize("case", cases("order_of_sounds"))
def test_order_of_sounds(case: Case) -> None:
    may, over = _claimed(case["may_sound"]), _claimed(case["over"])

    def original(claimed: Case) -> Case | None:
        order = claimed["order"]
        return (may | over).get(f"{order['status']}/{order.get('corrects')}")

    assert sequence(may, original, CONFIG) == case["sequence"]


@pytest.mark.parametrize("case", cases("removed_keys"))
def test_removed_key(case: Case, tmp_path: Path) -> None:
    root = {"root_kid": WORLD["root"]["kid"], "root_key": WORLD["root"]["x"]}
    speaker = ForeignSpeaker({"id": "sp-0001", **root}, tmp_path)
    speaker.offset = WORLD["now"] - mono()
    speaker.take("tocsin/v1/keys", WORLD["keys"].encode())
    speaker.take(speaker.topic("config"), WORLD["config"].encode())
    for document in case["documents"]:
        speaker.take(document["topic"], document["raw"].encode())
        speaker.book.decide()
    held = {topic: each[0] for topic, each in speaker.j["streams"].items()}
    orders = {key: [each["order"]["rev"], each["order"]["state"]] for key, each in speaker.j["orders"].items()}
    letters = [json.loads(letter) for letter in speaker.j["letters"].values()]
    reported = [step["reason"] for letter in letters if "stream" in letter for step in letter["steps"]]
    over = [key for key in sorted(speaker.j["orders"]) if foreign_claims.over(speaker.j, key)]
    assert (held, orders, over, reported) == (case["held"], case["orders"], case["over"], case["reported"])


def _claimed(orders: list[Case]) -> dict[str, Case]:
    by = {"area": ""}
    return {f"{o['status']}/{o['id']}": {"order": o, "by": by | {"stream": o["stream"]}} for o in orders}
