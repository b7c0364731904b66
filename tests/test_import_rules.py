"""The contract that holds who may import whom, against small graphs drawn by hand."""

from __future__ import annotations

from grimp import ImportGraph

from tests.import_rules import MayImport

OURS = ["city", "pole"]


def refused(
    packages: list[str], may_import: list[str], *, unless: list[str] | None = None
) -> list[tuple[str, str, int]]:
    contract = MayImport(
        name="rule",
        session_options={"root_packages": OURS},
        contract_options={"packages": packages, "may_import": may_import, "unless": unless or []},
    )
    verdict = contract.check(drawn(), verbose=False)
    found: list[tuple[str, str, int]] = verdict.metadata["refused"]
    assert verdict.kept == (not found)
    return found


def drawn() -> ImportGraph:
    graph = ImportGraph()
    for module in ("city", "city.rules", "city.rules.fire", "city.engine", "pole", "pole.words"):
        graph.add_module(module)
    for module in ("json", "sqlalchemy", "tests"):
        graph.add_module(module, is_squashed=True)
    arrows = [
        ("city.rules.fire", "json"),
        ("city.rules.fire", "pole.words"),
        ("city.engine", "city.rules.fire"),
        ("city.engine", "sqlalchemy"),
        ("pole.words", "tests"),
    ]
    for line, (importer, imported) in enumerate(arrows, start=1):
        graph.add_import(importer=importer, imported=imported, line_number=line, line_contents=f"import {imported}")
    return graph


def test_what_is_not_named_is_refused_with_its_line() -> None:
    assert refused(["city.rules"], []) == [("city.rules.fire", "pole.words", 2)]
    assert refused(["city.engine"], ["city.rules"]) == [("city.engine", "sqlalchemy", 4)]


def test_standard_library_and_the_package_itself_are_free() -> None:
    assert refused(["city.rules"], ["pole.words"]) == []
    assert refused(["city"], ["pole", "sqlalchemy"]) == []


def test_one_named_module_does_not_open_its_package_or_its_neighbours_by_name() -> None:
    assert refused(["city.rules"], ["pole.word"]) == [("city.rules.fire", "pole.words", 2)]
    assert refused(["city.engine"], ["city.rule", "sqlalchemy"]) == [("city.engine", "city.rules.fire", 3)]


def test_any_library_means_no_package_of_ours_and_not_the_tests() -> None:
    assert refused(["city.engine"], ["any library"]) == [("city.engine", "city.rules.fire", 3)]
    assert refused(["pole"], ["any library"]) == [("pole.words", "tests", 5)]


def test_module_with_its_own_contract_is_left_out() -> None:
    assert refused(["city"], ["sqlalchemy"], unless=["city.rules"]) == []
