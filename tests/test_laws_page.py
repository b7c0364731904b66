"""The page of the laws says nothing that is not there: every file, function and test that it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "laws.md"
LAWS = 12
PARTS = ("**Rule.**", "**Held by**", "**Attacked by**")
PLANTED = "tests/simulation/planted/"
# A file in backticks, and behind it in brackets what of it is meant.
_NAMED = re.compile(r"`([\w./-]+/[\w.-]+)`(?:\s+\(((?:`[\w.]+`(?:,\s+)?)+)\))?")
_TICKED = re.compile(r"`([^`]*)`")
_LAW = re.compile(r"^## (\d+)\. .+$", re.MULTILINE)


@cache
def page() -> str:
    return PAGE.read_text("utf-8")


def laws() -> dict[int, str]:
    """The text under the heading of each law."""
    parts = _LAW.split(page())
    return {int(number): text for number, text in zip(parts[1::2], parts[2::2], strict=True)}


def named(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Every file that a text names, with the names of its own behind it."""
    return [(file, tuple(_TICKED.findall(names))) for file, names in _NAMED.findall(text)]


@cache
def defined(file: str) -> frozenset[str]:
    """What a Python file defines: its functions, classes and values, and `Class.method` for what is in a class."""
    found: set[str] = set()

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")
            if isinstance(node, ast.Assign):
                found.update(prefix + target.id for target in node.targets if isinstance(target, ast.Name))
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(prefix + node.target.id)

    visit(ast.parse((ROOT / file).read_text("utf-8")).body, "")
    return frozenset(found)


def test_all_twelve_laws_stand_there_in_their_order() -> None:
    assert list(laws()) == list(range(1, LAWS + 1))


@pytest.mark.parametrize("law", range(1, LAWS + 1))
def test_a_law_has_its_accident_its_rule_its_code_and_its_attackers(law: int) -> None:
    text = laws()[law]
    at = [text.index(part) for part in PARTS]
    assert at == sorted(at)
    accident, code, attackers = text[: at[0]].strip(), text[at[1] : at[2]], text[at[2] :]
    assert re.match(r"\*[^*]+, [^*]*\d{4}\.\*", accident), "an accident has a place and a year"
    assert 8 <= len(text.strip().splitlines()) <= 24
    held = named(code)
    assert held and all(names and not file.startswith("tests/") for file, names in held)
    tests = [(file, names) for file, names in named(attackers) if file.startswith("tests/")]
    assert tests and all(names for _, names in tests)


@pytest.mark.parametrize("law", range(1, LAWS + 1))
def test_every_file_and_every_name_exists(law: int) -> None:
    missing = []
    for file, names in named(laws()[law]):
        if not (ROOT / file).is_file():
            missing.append(file)
            continue
        missing += [f"{file}: {name}" for name in names if name not in defined(file)]
    assert missing == []


@pytest.mark.parametrize("law", range(1, LAWS + 1))
def test_what_is_named_as_a_test_is_one_that_runs(law: int) -> None:
    for file, names in named(laws()[law]):
        if file.startswith("tests/"):
            assert Path(file).name.startswith("test_")
            assert all(name.rpartition(".")[2].startswith("test_") for name in names), file


def test_nothing_in_backticks_escapes_the_check() -> None:
    """Whatever looks like a name stands behind its file, so that it can't outlive what it names."""
    checked = {name for file, names in named(page()) for name in (file, *names)}
    loose = {said for said in _TICKED.findall(page()) if re.fullmatch(r"[\w./-]*[_/][\w./-]*", said)} - checked
    assert loose == set()


def test_a_planted_bug_is_named_under_its_own_law() -> None:
    told = {
        law: [n for file, names in named(text) if file.startswith(PLANTED) for n in names]
        for law, text in laws().items()
    }
    assert {1, 2, 4, 5, 7, 8, 10, 11} <= {law for law, names in told.items() if names}
    assert all(name.startswith(f"test_law_{law}_") for law, names in told.items() for name in names)


def test_lines_fit() -> None:
    assert max(map(len, page().splitlines())) <= 120


@pytest.mark.parametrize("file", ["README.md", "README.zh-CN.md", "CONTRIBUTING.md"])
def test_people_find_the_page(file: str) -> None:
    assert "docs/laws.md" in (ROOT / file).read_text("utf-8")
