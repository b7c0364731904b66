"""Our own agent as a process whose player takes a fraction of the time: settings file, speed."""

from __future__ import annotations

import sys
from pathlib import Path

from devices.speaker.agent import Agent, run
from devices.speaker.loop import Loop
from devices.speaker.player import NullPlayer
from devices.speaker.settings import read_settings
from devices.speaker.store import AudioStore


def main(settings_file: str, speed: str) -> None:
    loop = Loop()
    settings = read_settings(Path(settings_file))
    player = NullPlayer(loop, mic_db=71, speed=int(speed))
    run([Agent(settings, loop, player, AudioStore(settings.store))], loop)


if __name__ == "__main__":
    main(*sys.argv[1:3])
