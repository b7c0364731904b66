"""The agent against a real Mosquitto: keys, config, hello, manifest, sound, receipts, and what a lost link does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from devices.protocols.documents import Manifest, Order
from devices.protocols.speaker_link import manifest_topic, sign
from devices.speaker.agent import Agent
from devices.speaker.loop import Loop
from devices.speaker.player import NullPlayer
from devices.speaker.settings import PlayerKind, Settings
from devices.speaker.store import AudioStore
from tests.devices.speaker.conftest import SECRETS, Mosquitto
from tests.devices.speaker.desk import Desk
from tests.devices.speaker.world import ACTUAL, CITY, HOUR, ROOT_KEY, S, an_order, withdrawn

ROUNDS_MAX = 30_000


@dataclass
class Street:
    """One agent and the dispatcher's desk on one loop."""

    loop: Loop
    broker: Mosquitto
    desk: Desk
    settings: Settings
    agent: Agent

    def until(self, condition: Callable[[], bool]) -> None:
        """Run the loop until the condition holds; a bounded number of rounds stands for "never"."""
        for _ in range(ROUNDS_MAX):
            if condition():
                return
            self.loop.run_once(wait_us_max=20_000)
        raise AssertionError("it did not come to that")

    def order(self, order: Order) -> None:
        now_us = self.loop.wall_us()
        order = replace(order, start_at=now_us, expires=now_us + HOUR)
        topic = manifest_topic(CITY, "actual", "city")
        manifest = Manifest(topic, now_us // 1_000, now_us, now_us + 60 * S, "", (order,))
        self.desk.publish(topic, sign(manifest, ACTUAL))

    def again(self) -> None:
        """The process ends without a goodbye and a new one starts on the same store."""
        self.agent._link._leave()
        self.agent._journal.close()
        self.agent = an_agent(self.loop, self.settings)
        self.agent.start()


def settings_for(port: int, store: Path, **changes: object) -> Settings:
    settings = Settings(
        id="sp-1",
        secret=SECRETS["sp-1"],
        root_kid=ROOT_KEY.kid,
        root_key=ROOT_KEY.x,
        broker_host="127.0.0.1",
        broker_port=port,
        store=store,
        player=PlayerKind.NULL,
        reconnect_spread_s=0,
    )
    return replace(settings, **changes)  # type: ignore[arg-type]


def an_agent(loop: Loop, settings: Settings) -> Agent:
    return Agent(settings, loop, NullPlayer(loop, mic_db=71, speed=100), AudioStore(settings.store))


@pytest.fixture
def street(broker: Mosquitto, tmp_path: Path) -> Iterator[Street]:
    loop = Loop()
    desk = Desk(loop, broker.port, SECRETS["desk"])
    settings = settings_for(broker.port, tmp_path / "sp-1")
    made = Street(loop, broker, desk, settings, an_agent(loop, settings))
    desk.set_up()
    made.agent.start()
    yield made
    made.agent.close()
    desk.close()
    loop.close()


def test_an_order_goes_from_the_broker_to_sound_and_back_as_receipts(street: Street) -> None:
    street.order(an_order(repeat=2, gap_s=0))
    street.until(lambda: street.desk.steps("o-1").count("finished") == 2)
    assert street.desk.steps("o-1") == [
        "accepted",
        "ready",
        "playing",
        "finished",
        "ready",
        "playing",
        "finished",
    ]
