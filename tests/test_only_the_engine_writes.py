"""Only the engine opens a transaction: others see a store without one, and may not import the way to it."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grimp import ImportGraph
from importlinter.contracts.protected import ProtectedContract

from services.dispatcher.engine.ports import Store
from services.dispatcher.processes.wiring import OpenStore

ROOT = Path(__file__).parent.parent
DISPATCHER = "services.dispatcher"
RULES: list[dict[str, Any]] = [
    rule
    for rule in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    if rule["name"].startswith("only the engine writes")
]


def kept(importer: str, imported: str) -> bool:
    """Whether both rules allow this import."""
    graph = ImportGraph()
    named = {name for rule in RULES for names in ("protected_modules", "allowed_importers") for name in rule[names]}
    for module in named | {importer, imported}:
        graph.add_module(module)
    graph.add_import(importer=importer, imported=imported, line_number=1, line_contents="import")
    rules = [ProtectedContract(rule["name"], {"root_packages": ["services"]}, rule) for rule in RULES]
    return all(rule.check(graph, verbose=False).kept for rule in rules)


def transactions_in(source: str) -> Iterator[int]:
    """The lines in which a store's `write()` is called; a file's takes an argument."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="write"), args=[], keywords=[]):
                yield node.lineno


def test_who_is_handed_a_store_can_only_read_it() -> None:
    public = [{name for name in vars(port) if not name.startswith("_")} for port in (Store, OpenStore)]
    assert public == [{"read"}, {"clock", "changes", "close"}]


@pytest.mark.parametrize("importer", ["adapters.manifests", "web.intake", "processes.enrolment", "processes.wiring"])
def test_nobody_but_the_engine_imports_the_way_to_write(importer: str) -> None:
    assert not kept(f"{DISPATCHER}.{importer}", f"{DISPATCHER}.engine.writing")
    assert kept(f"{DISPATCHER}.{importer}", f"{DISPATCHER}.engine.ports")
    assert kept(f"{DISPATCHER}.engine.desk", f"{DISPATCHER}.engine.writing")


@pytest.mark.parametrize("store", ["adapters.store", "adapters.memory"])
def test_the_stores_themselves_are_imported_where_they_are_made(store: str) -> None:
    assert not kept(f"{DISPATCHER}.processes.gateway", f"{DISPATCHER}.{store}")
    assert not kept(f"{DISPATCHER}.adapters.manifests", f"{DISPATCHER}.{store}")
    assert kept(f"{DISPATCHER}.processes.wiring", f"{DISPATCHER}.{store}")


def test_a_transaction_is_seen_however_the_store_came_to_hand() -> None:
    assert list(transactions_in("with cast(Any, store).write() as tx:\n    tx.put(row)")) == [1]
    assert list(transactions_in("file.write(data)")) == []


@pytest.mark.parametrize("room", ["adapters", "domain", "feeds", "processes", "web"])
def test_no_other_room_opens_a_transaction(room: str) -> None:
    files = sorted((ROOT / "services" / "dispatcher" / room).rglob("*.py"))
    assert files
    found = [f"{path.name}:{line}" for path in files for line in transactions_in(path.read_text())]
    assert found == []
