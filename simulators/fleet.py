"""`tocsin fleet`: many real speaker agents in one process, each with its own MQTT connection. Simulated poles only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from devices.speaker.agent import Agent, make_agent, run
from devices.speaker.journal import JournalInUse
from devices.speaker.loop import Loop
from devices.speaker.settings import PlayerKind, SettingsRefused, read_settings

app = typer.Typer(add_completion=False, help="Run many simulated speakers. 运行模拟终端群。")

AGENTS_MAX = 2_000


@app.command()
def fleet(
    folder: Annotated[Path, typer.Option(help="Folder of speaker settings files (*.json). 终端设置文件夹。")],
) -> None:
    """Run every speaker of a folder until told to stop; none makes a sound. 运行文件夹中的全部模拟终端，不发声。"""
    loop = Loop()
    try:
        agents = open_fleet(folder, loop)
    except (SettingsRefused, JournalInUse) as refused:
        typer.echo(f"{getattr(refused, 'code', 'in_use')}: {refused}", err=True)
        raise typer.Exit(2) from refused
    run(agents, loop)


def open_fleet(folder: Path, loop: Loop) -> list[Agent]:
    """An agent for each settings file in file-name order. Raises SettingsRefused, also for a player that sounds."""
    files = sorted(folder.glob("*.json"))
    if not files or len(files) > AGENTS_MAX:
        raise SettingsRefused("bad_fleet", f"{folder} holds {len(files)} settings files; 1 to {AGENTS_MAX} can be run.")
    settings = [read_settings(file) for file in files]
    for each in settings:
        if each.player is PlayerKind.SOUND_CARD:
            raise SettingsRefused("fleet_sounds", f"{each.id} would use the sound card; a fleet makes no sound.")
    return [make_agent(each, loop) for each in settings]
