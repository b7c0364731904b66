"""`tocsin speaker`: run one speaker, or several in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import structlog
import typer

from devices.speaker.agent import make_agent, run
from devices.speaker.journal import JournalInUse
from devices.speaker.loop import Loop
from devices.speaker.settings import PlayerKind, SettingsRefused, read_settings, settings_told

_log = structlog.get_logger("speaker")
app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Run a loudspeaker endpoint. 运行广播终端。",
)


@app.command(epilog=f"\b\nMembers of a settings file 设置项. {settings_told()}")
def speaker(
    settings: Annotated[
        list[Path],
        typer.Option(help="Settings file (TOML or JSON), one per speaker. 终端设置文件，每个终端一个。"),
    ],
) -> None:
    """Run a loudspeaker endpoint until it is told to stop. 运行广播终端，直到收到停止信号。

    It connects out to the broker and opens no port. 终端只向外连接，不开放任何端口。
    """
    loop = Loop()
    try:
        told = [read_settings(path) for path in settings]
        agents = [make_agent(each, loop) for each in told]
    except (SettingsRefused, JournalInUse) as refused:
        typer.echo(f"{getattr(refused, 'code', 'in_use')}: {refused}", err=True)
        raise typer.Exit(2) from refused
    for each in told:
        if each.player is PlayerKind.NULL:
            _log.warning("The player is null: nothing will be heard.", speaker=each.id)
    run(agents, loop)
