"""What commands share that work on the store: opening it with one sentence for every no, and who types."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager

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


def my_name() -> str:
    """Who types, as this machine knows them."""
    return f"{getpass.getuser()} (command line)"
