"""The `tocsin clock` commands: what time is trusted, and an administrator at the machine who confirms the time."""

from __future__ import annotations

from typing import Annotated

import typer

from ..engine import clock
from ..engine.ports import Store
from .cli_maintenance import REASON_CHARS_MAX
from .commands import my_name, opened_store, show, when

clock_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The time that is trusted, and its confirmation. 可信时间。"
)


@clock_app.command("show")
def shown(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """The trusted time, the clock's time, and whether a clock has jumped. 查看时钟。"""
    with opened_store() as store:
        show(_row(store), as_json=as_json)


@clock_app.command()
def confirm(
    why: Annotated[str, typer.Option(help="For the log: by which other clock it is right. 事由：依据何种时间核对。")],
) -> None:
    """The clock is right: trust the time that it shows. 确认时钟正确。"""
    said = why.strip()
    if not 0 < len(said) <= REASON_CHARS_MAX:
        raise typer.BadParameter(f"A reason has 1 to {REASON_CHARS_MAX} characters.")
    with opened_store() as store:
        serial = _row(store)["serial"]
        assert isinstance(serial, int)
        by_us = clock.confirm(store, serial, my_name(), said)
        now = _row(store)["trusted"]
    typer.echo(f"The time is {now}: {abs(by_us) // 1_000_000} s {'later' if by_us > 0 else 'earlier'} than before.")


def _row(store: Store) -> dict[str, object]:
    clock.clock_pass(store)
    with store.read() as read:
        state = read.moment().state
    return {
        "state": clock.in_words(state) if state.since_us else "in order",
        "trusted": when(state.trusted_us),
        "shown": when(state.raw_us),
        "since": when(state.since_us) if state.since_us else None,
        "serial": state.serial,
    }
