"""An import-linter contract that states what a package may import, where import-linter's own state what it may not.

Everything is refused that the contract does not name: a new package, and a library nobody meant to depend on there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from grimp import ImportGraph
from importlinter.application import output
from importlinter.domain import fields
from importlinter.domain.contract import Contract, ContractCheck, InvalidContractOptions

ANY_LIBRARY = "any library"


class MayImport(Contract):
    """Modules of `packages`, less those of `unless`, import the standard library, themselves and `may_import` alone.

    `may_import` lists packages of ours and libraries, or the words "any library" for all that is not ours.
    """

    type_name = "may_import"

    packages = fields.SetField(subfield=fields.StringField())
    may_import = fields.SetField(subfield=fields.StringField(), required=False, default=set())
    unless = fields.SetField(subfield=fields.StringField(), required=False, default=set())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        packages, allowed, unless = (_strings(part) for part in (self.packages, self.may_import, self.unless))
        if missing := sorted(package for package in packages if package not in graph.modules):
            raise InvalidContractOptions({"packages": f"There is no module {missing[0]}."})
        ours = _strings(self.session_options["root_packages"])
        refused = []
        for importer in sorted(graph.modules):
            if not _within(importer, packages) or _within(importer, unless):
                continue
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                library = not _within(imported, ours)
                if _within(imported, packages | allowed) or (library and _is_standard(imported)):
                    continue
                if library and ANY_LIBRARY in allowed and imported != "tests":
                    continue
                refused.append((importer, imported, _first_line(graph, importer, imported)))
        return ContractCheck(kept=not refused, metadata={"refused": refused})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, imported, line in check.metadata["refused"]:
            output.print_error(f"{importer} may not import {imported} (line {line})", bold=False)


def _strings(values: Any) -> set[str]:
    return {str(value) for value in values}


def _within(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _is_standard(module: str) -> bool:
    return module.split(".")[0] in sys.stdlib_module_names | {"__future__"}


def _first_line(graph: ImportGraph, importer: str, imported: str) -> int | None:
    lines = [detail["line_number"] for detail in graph.get_import_details(importer=importer, imported=imported)]
    return min(lines, default=None)
