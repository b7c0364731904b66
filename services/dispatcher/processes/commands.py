"""What commands share that work on the store: opening it with one sentence for every no, and who types."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import typer

from ..domain.refusals import Refused
from ..engine.ports import Store, StoreUnavailable
from .cli_migrate import status
from .settings import Settings
from .wiring import make_store


@contextmanager
def opened_store() -> Iterator[Store]:
    """The store of the settings; a refusal or an absent database ends the command with one sentence."""
    settings = Settings()
    store = make_store(settings)
    try:
        _must_be_there(settings)
        if not status(settings.database).ready:
            raise StoreUnavailable("The database lacks tables: run `tocsin migrate upgrade`.")
        yield store
    except Refused as refused:
        typer.echo(f"{refused.code}: {refused.sentence}", err=True)
        raise typer.Exit(1) from refused
    except StoreUnavailable as away:
        typer.echo(f"store_unavailable: {away}", err=True)
        raise typer.Exit(1) from away
    finally:
        store.close()


def _must_be_there(settings: Settings) -> None:
    """A wrong folder is the commonest slip; opening it would make an empty database there."""
    file = settings.var / "tocsin.db"
    if not settings.database_url and not file.is_file():
        raise StoreUnavailable(
            f"There is no database {file}: TOCSIN_VAR names the folder that `tocsin up` keeps it in."
        )


def in_line(row: dict[str, object]) -> str:
    """A row for people: its id, then each member by name; what is empty is left out."""
    first, *rest = row.items()
    return "  ".join([str(first[1]), *(f"{name}={_said(value)}" for name, value in rest if value not in (None, ""))])


def _said(value: object) -> str:
    text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    return f'"{text}"' if " " in text else text


def show(row: dict[str, object], *, as_json: bool) -> None:
    """One row as a line, for people or as JSON."""
    typer.echo(json.dumps(row, ensure_ascii=False) if as_json else in_line(row))


def when(at_us: int) -> str:
    """A time in µs UTC as commands print it."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat()


def when_or_none(at_us: int | None) -> str | None:
    """The same of a time that may not be."""
    return None if at_us is None else when(at_us)


def my_name() -> str:
    """Who types, as this machine knows them."""
    return f"{getpass.getuser()} (command line)"
