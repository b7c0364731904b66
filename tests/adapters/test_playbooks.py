from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.dispatcher.adapters.playbooks import FILE_BYTES_MAX, PLAYBOOKS_MAX, BrokenPlaybook, read_playbooks
from services.dispatcher.domain.playbook import Corroboration, OnUnanswered, Rung, StandingOrder, Target, matching
from tests.builders import fire_signal, storm_signal

PLAYBOOKS = Path(__file__).parents[2] / "playbooks"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(PLAYBOOKS / "schema.json", tmp_path)
    shutil.copy(PLAYBOOKS / "underground-fire.yaml", tmp_path)
    return tmp_path


def change(folder: Path, place: str, value: Any) -> None:
    """Set one place of the playbook, `a/b/0/c`; None takes it out."""
    file = folder / "underground-fire.yaml"
    data = yaml.safe_load(file.read_text("utf-8"))
    *path, last = (int(step) if step.isdigit() else step for step in place.split("/"))
    inner: Any = data
    for step in path:
        inner = inner[step]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    file.write_text(yaml.safe_dump(data, allow_unicode=True), "utf-8")


def problems(folder: Path) -> tuple[str, ...]:
    with pytest.raises(BrokenPlaybook) as broken:
        read_playbooks(folder)
    return broken.value.problems


def test_the_playbooks_that_come_along_are_whole() -> None:
    ids = [playbook.id for playbook in read_playbooks(PLAYBOOKS)]
    assert {"rainstorm-red", "underground-fire"} <= set(ids)


def test_a_playbook_is_read_whole(folder: Path) -> None:
    (fire,) = read_playbooks(folder)
    assert (fire.id, fire.hazard, fire.event_code, fire.target) == ("underground-fire", "fire", "12B00", Target.VENUE)
    assert fire.verify == (Rung(0, 60), Rung(1, 120), Rung(-1, 180))
    assert fire.standing == StandingOrder(
        (Corroboration.TWO_DETECTORS, Corroboration.DETECTOR_AND_CALL_POINT), OnUnanswered.HOLD
    )
    assert len(fire.version) == 12


def test_the_version_changes_with_the_file(folder: Path) -> None:
    (before,) = read_playbooks(folder)
    change(folder, "order/volume", 50)
    (after,) = read_playbooks(folder)
    assert (after.version != before.version, after.volume) == (True, 50)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("hazard", None, "underground-fire.yaml: the file: 'hazard' is a required property"),
        ("level/suspected", 5, "underground-fire.yaml: level/suspected: 5 is greater than the maximum of 4"),
        ("order/volume", "loud", "underground-fire.yaml: order/volume: 'loud' is not valid under any"),
        ("verify/1/up", "top", "underground-fire.yaml: verify/1/up: 'top' is not of type 'integer'"),
        ("verify", [], "underground-fire.yaml: verify: [] should be non-empty"),
        ("standing_order/covers/0", "person", "underground-fire.yaml: standing_order/covers/0: 'person' is not one of"),
        ("surprise", 1, "underground-fire.yaml: the file: Additional properties are not allowed ('surprise' was"),
        ("order/alert/zh", "请撤离", "underground-fire.yaml: order/alert/zh: it does not name the {place}"),
        ("order/correction/en", "No fire.", "underground-fire.yaml: order/correction/en: it does not name the {place}"),
        ("order/target", "places", "underground-fire.yaml: standing_order: it reaches the venue of the alarm alone"),
        (
            "order/alert/zh",
            "{place}起火，请离开{venue}。",
            "underground-fire.yaml: order/alert/zh: nothing fills {venue}; what is filled in: {place}",
        ),
        (
            "order/all_clear/en",
            "{place} is safe {now",
            "underground-fire.yaml: order/all_clear/en: nothing fills {now; what is filled in: {place}",
        ),
        (
            "question/en",
            "Is {office} at {place}?",
            "underground-fire.yaml: question/en: nothing fills {office}; what is filled in: {place}",
        ),
        (
            "question/zh",
            "｛place｝？",
            "underground-fire.yaml: question/zh: nothing fills ｛place｝; what is filled in",
        ),
        (
            "title/zh",
            "{place}火灾",
            "underground-fire.yaml: title/zh: nothing fills {place}; nothing is filled in here",
        ),
        (
            "hazard_names/en",
            "fire}",
            "underground-fire.yaml: hazard_names/en: nothing fills }; nothing is filled in here",
        ),
        ("order/correction/en", None, "underground-fire.yaml: order/correction: it has no en text, and others"),
        ("order/all_clear", {"zh": "{place}解除"}, "underground-fire.yaml: order/all_clear: it has no en text"),
        ("order/all_clear", None, "underground-fire.yaml: order: 'all_clear' is a required property"),
        ("question/en", "  ", "underground-fire.yaml: question/en: it is blank"),
        (
            "when/corroborated_by",
            ["two_detectors"],
            "underground-fire.yaml: standing_order/covers: detector_and_call_point is not among when/corroborated_by",
        ),
        ("level/corroborated", 4, "underground-fire.yaml: level: what is corroborated is less grave"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_place(folder: Path, place: str, value: Any, said: str) -> None:
    change(folder, place, value)
    assert [problem.startswith(said) for problem in problems(folder)] == [True]


def test_every_problem_of_every_file_is_told_at_once(folder: Path) -> None:
    shutil.copy(PLAYBOOKS / "rainstorm-red.yaml", folder)
    change(folder, "hazard", "FIRE")
    change(folder, "order/repeat", 0)
    (folder / "broken.yaml").write_text("a: [1", "utf-8")
    found = problems(folder)
    assert len(found) == 3
    assert [problem.split(":")[0].split(" ")[0] for problem in found] == [
        "broken.yaml",
        "underground-fire.yaml",
        "underground-fire.yaml",
    ]


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff\xfe\x00", b"just text", b"!!python/object:os.system {}"])
def test_a_file_that_is_no_playbook_is_named(folder: Path, raw: bytes) -> None:
    (folder / "odd.yaml").write_bytes(raw)
    assert [problem.startswith("odd.yaml") for problem in problems(folder)] == [True]


def test_the_same_id_in_two_files_is_refused(folder: Path) -> None:
    shutil.copy(folder / "underground-fire.yaml", folder / "twin.yaml")
    assert problems(folder) == ("the playbook id underground-fire stands in two files",)


def test_files_and_their_number_are_bounded(folder: Path) -> None:
    (folder / "long.yaml").write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    assert problems(folder) == (f"long.yaml has {FILE_BYTES_MAX + 1} bytes, the limit is {FILE_BYTES_MAX}",)
    for number in range(PLAYBOOKS_MAX):
        (folder / f"{number}.yaml").touch()
    assert problems(folder) == (f"there are {PLAYBOOKS_MAX + 2} playbooks, the limit is {PLAYBOOKS_MAX}",)


@pytest.mark.parametrize("schema", [None, b"", b"{"])
def test_without_its_schema_nothing_is_read(folder: Path, schema: bytes | None) -> None:
    (folder / "schema.json").unlink()
    if schema is not None:
        (folder / "schema.json").write_bytes(schema)
    assert problems(folder)[0].startswith("schema.json can't be read")


def test_the_first_playbook_in_file_order_that_fits_is_taken() -> None:
    playbooks = read_playbooks(PLAYBOOKS)
    fire = matching(playbooks, fire_signal(), "underground")
    storm = matching(playbooks, storm_signal(), None)
    assert (fire and fire.hazard, storm and storm.hazard) == ("fire", "rainstorm")
    assert matching(playbooks, fire_signal(hazard="smog"), "underground") is None
