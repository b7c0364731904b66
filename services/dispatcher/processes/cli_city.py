"""The `tocsin city` commands: look at a city pack, and put it into the database."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ..adapters.city_pack import CityPack, FeedWords, PackRefused, read_city_pack
from ..engine import cities
from ..engine.ports import Store
from ..engine.rows import CitySettings
from ..feeds import FEEDS
from ..feeds.hazards import BY_NAME, OTHER
from .commands import my_name, opened_store

city_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="City packs: areas, venues, offices and speakers as files. 城市数据包。",
)


@city_app.callback()
def city() -> None:
    """City packs: areas, venues, offices and speakers as files."""


@city_app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the city pack.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Read a city pack and print every problem with file and line. Ends with 1 when there is any. 检查城市数据包。"""
    verdict = read_city_pack(folder, datetime.now(UTC).date(), feed_words())
    typer.echo(json.dumps(as_fields(verdict), ensure_ascii=False) if as_json else "\n".join(as_lines(verdict)))
    if isinstance(verdict, PackRefused):
        raise typer.Exit(1)


@city_app.command(name="import")
def import_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the city pack.")],
) -> None:
    """Check a city pack and put it into the database; every speaker's config is published anew. 导入城市数据包。"""
    pack = read_city_pack(folder, datetime.now(UTC).date(), feed_words())
    if isinstance(pack, PackRefused):
        typer.echo("\n".join(as_lines(pack)), err=True)
        raise typer.Exit(1)
    with opened_store() as store:
        version = put_in(store, pack, my_name())
    typer.echo(f"{as_lines(pack)[0]} It is version {version} of the city here.")


def feed_words() -> FeedWords:
    """The hazards and formats that departments may be enrolled for here."""
    return FeedWords(frozenset((*BY_NAME, OTHER)), frozenset(FEEDS))


def put_in(store: Store, pack: CityPack, person: str) -> int:
    """Import a checked pack; the new version of the city. Raises a refusal for another city."""
    settings = CitySettings("city", pack.settings.code, pack.settings.name, pack.settings.issuer)
    return cities.put_in(store, settings, list(pack.rows()), person)


def as_fields(verdict: CityPack | PackRefused) -> dict[str, object]:
    """The verdict for programs: `{ok, city, name, counts}`, or `{ok, problems, left_out}` with each one's fields."""
    if isinstance(verdict, CityPack):
        settings = verdict.settings
        return {"ok": True, "city": settings.code, "name": settings.name, "counts": _counts(verdict)}
    problems = [
        {"file": problem.file, "line": problem.line, "code": problem.code, "message": problem.message}
        for problem in verdict.problems
    ]
    return {"ok": False, "problems": problems, "left_out": verdict.left_out}


def as_lines(verdict: CityPack | PackRefused) -> list[str]:
    """The verdict for people: one line for a sound pack, otherwise one line a problem and their number last."""
    if isinstance(verdict, CityPack):
        counts = ", ".join(f"{count} {kind}" for kind, count in _counts(verdict).items())
        return [f"{verdict.settings.name} ({verdict.settings.code}) is sound: {counts}."]
    lines = [f"{p.file}:{p.line}: {p.code}: {p.message}" for p in verdict.problems]
    total = len(verdict.problems) + verdict.left_out
    hidden = f", {verdict.left_out} of them not listed" if verdict.left_out else ""
    return [*lines, f"The pack can't be used: {total} problem{'' if total == 1 else 's'}{hidden}."]


def _counts(pack: CityPack) -> dict[str, int]:
    return {
        "areas": len(pack.areas),
        "venues": len(pack.venues),
        "offices": len(pack.offices),
        "speakers": len(pack.speakers),
        "departments": len(pack.departments),
        "samples": sum(
            row.sample for rows in (pack.areas, pack.venues, pack.offices, pack.departments) for row in rows
        ),
    }
