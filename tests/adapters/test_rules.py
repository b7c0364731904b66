from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from services.dispatcher.adapters.rules import FILE_BYTES_MAX, BrokenRules, read_rules
from services.dispatcher.domain.rules import Areas, CircumstanceRule, InhibitionRule, JoinRule, ReliabilityRule, Rules

RULES = Path(__file__).parents[2] / "playbooks" / "rules" / "rules.yaml"
LEAST: dict[str, Any] = {
    "joining": {"default": {"distance_m": 1_000, "within_s": 3_600, "areas": "shared"}},
    "inhibition": [],
    "silences": {},
    "risk": {},
}


def written(tmp_path: Path, **changes: Any) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({**LEAST, **changes}), "utf-8")
    return file


def problems(file: Path) -> str:
    with pytest.raises(BrokenRules) as broken:
        read_rules(file)
    assert len(broken.value.problems) == 1
    return broken.value.problems[0]


def test_the_rules_of_the_product_are_sound() -> None:
    rules = read_rules(RULES)
    assert rules.join("fire") == JoinRule(500, 3_600, Areas.SHARED)
    assert rules.join("heat") == JoinRule()
    assert rules.inhibition == (InhibitionRule(level=1, mutes_levels=(4,), hold_s=21_600),)
    assert rules.silence_never_alone == ("fire", "gas")


def test_what_a_file_leaves_out_is_as_built_in(tmp_path: Path) -> None:
    found = read_rules(written(tmp_path))
    assert found == Rules(version=found.version)


def test_every_part_is_read(tmp_path: Path) -> None:
    join = {"distance_m": 0, "within_s": 60, "areas": "overlap"}
    file = written(
        tmp_path,
        joining={"default": join, "hazards": {"gas": join}},
        cancel_waits_h=2,
        storm={"signals_a_minute_logged": 5},
        inhibition=[
            {"level": 2, "mutes_levels": [3, 4], "hazards": ["typhoon"], "mutes_hazards": ["fire"], "venues": True,
             "hold_h": 1},
        ],
        silences={"hours_max": 48, "never_alone": ["gas"]},
        risk={
            "utc_offset_min": 0,
            "circumstances": [
                {"reason": "by night", "hazards": ["gas"], "venue_kinds": ["square"], "hours": [22, 6],
                 "corroborated_only": False, "gravest": 1},
            ],
            "reliability": {"seen_min": 3, "doubtful_below": 0.1, "doubtful_lowers": True},
        },
    )  # fmt: skip
    found = read_rules(file)
    gas = JoinRule(0, 60, Areas.OVERLAP)
    assert found == Rules(
        version=found.version,
        joining={"gas": gas},
        joining_default=gas,
        cancel_waits_s=7_200,
        signals_a_minute_logged=5,
        inhibition=(InhibitionRule(2, (3, 4), ("typhoon",), ("fire",), True, 3_600),),
        silence_h_max=48,
        silence_never_alone=("fire", "gas"),
        circumstances=(CircumstanceRule("by night", ("gas",), ("square",), (22, 6), False, 1),),
        reliability=ReliabilityRule(3, 0.1, True),
        utc_offset_min=0,
    )


def test_the_version_changes_with_any_byte(tmp_path: Path) -> None:
    file = written(tmp_path)
    before = read_rules(file).version
    file.write_bytes(file.read_bytes() + b"# a word\n")
    assert read_rules(file).version != before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"joining": {}}, "rules.yaml: joining: 'default' is a required property"),
        ({"colour": 1}, "Additional properties are not allowed ('colour' was unexpected)"),
        (
            {"inhibition": [{"level": 2, "mutes_levels": [2]}]},
            "inhibition/0: only what is less grave than level 2 can be muted",
        ),
        (
            {"inhibition": [{"level": 1, "mutes_levels": [4], "venues": True}]},
            "inhibition/0: incidents at a venue are muted only by name: say mutes_hazards",
        ),
        ({"risk": {"circumstances": [{"reason": "always"}]}}, "rules.yaml: risk/circumstances/0"),
        ({"joining": {"default": {"distance_m": 3_001, "within_s": 60, "areas": "shared"}}}, "3001 is greater than"),
    ],
)
def test_a_broken_file_says_where(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert said in problems(written(tmp_path, **changes))


def test_a_file_that_is_no_yaml_too_big_or_not_there_says_so(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    assert "can't be read" in problems(file)
    file.write_text("a: [")
    assert "is not YAML" in problems(file)
    file.write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    assert "the limit is" in problems(file)
