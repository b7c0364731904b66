"""The agent against a real Mosquitto: keys, config, hello, manifest, sound, receipts, and what a lost link does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from devices.speaker.agent import Agent, make_agent
from devices.speaker.loop import Loop
from devices.speaker.player import NullPlayer
from devices.speaker.settings import PlayerKind, SpeakerSettings
from devices.speaker.store import AudioStore
from tests.devices.speaker.conftest import SECRETS, Mosquitto
from tests.devices.speaker.desk import ROUNDS_MAX, Desk
from tests.devices.speaker.world import ROOT_KEY, an_order, withdrawn


@dataclass
class Street:
    """One agent and the dispatcher's desk on one loop."""

    loop: Loop
    broker: Mosquitto
    desk: Desk
    settings: SpeakerSettings
    agent: Agent

    def until(self, condition: Callable[[], bool]) -> None:
        """Run the loop until the condition holds; a bounded number of rounds stands for "never"."""
        for _ in range(ROUNDS_MAX):
            if condition():
                return
            self.loop.run_once(wait_us_max=20_000)
        raise AssertionError("it did not come to that")

    def again(self) -> None:
        """The process ends without a goodbye and a new one starts on the same store."""
        self.agent._link._leave()
        self.agent._journal.close()
        self.agent = an_agent(self.loop, self.settings)
        self.agent.start()


def settings_for(port: int, store: Path, **changes: object) -> SpeakerSettings:
    settings = SpeakerSettings(
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


def an_agent(loop: Loop, settings: SpeakerSettings) -> Agent:
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
    street.desk.order(an_order(repeat=2, gap_s=0))
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


def test_sound_that_fails_again_and_again_is_logged_once_as_an_error(broker: Mosquitto, tmp_path: Path) -> None:
    loop = Loop()
    desk = Desk(loop, broker.port, SECRETS["desk"])
    desk.set_up()
    settings = settings_for(broker.port, tmp_path / "sp-1", player=PlayerKind.SOUND_CARD, sound_card_command=("false",))
    with capture_logs() as logs:
        agent = make_agent(settings, loop)
        agent.start()
        desk.order(an_order(repeat=1))
        for _ in range(ROUNDS_MAX):
            mark = agent.state.marks.get("actual/o-1")
            if mark is not None and mark.tries >= 2:
                break
            loop.run_once(wait_us_max=20_000)
        agent.close()
    desk.close()
    loop.close()
    errors = [(each["event"], each.get("reason", "")) for each in logs if each["log_level"] == "error"]
    assert errors == [
        ("No usable player: nothing will be heard.", ""),
        ("A repeat could not sound.", "sound_card_failed"),
    ]


def test_a_withdrawal_cuts_the_sound(street: Street) -> None:
    order = an_order(texts={"zh": "很长。" * 160}, repeat=50)
    street.desk.order(order)
    street.until(lambda: "playing" in street.desk.steps("o-1"))
    street.desk.order(withdrawn(order))
    street.until(lambda: "superseded:withdrawn" in street.desk.steps("o-1"))
    assert street.agent.state.sound.sounding is None


def test_a_wrong_secret_is_refused_and_nothing_is_said(broker: Mosquitto, tmp_path: Path) -> None:
    loop = Loop()
    agent = an_agent(loop, settings_for(broker.port, tmp_path / "x", secret="some-other-secret-1"))
    agent.start()
    for _ in range(20):
        loop.run_once(wait_us_max=20_000)
    assert not agent.state.mail.connected
    assert agent.state.mail.connection >= 1
    agent.close()
    loop.close()


def test_a_broker_that_restarts_is_found_again_and_the_order_waited_for_it(street: Street) -> None:
    street.until(lambda: street.agent.state.clock.verified)
    street.broker.stop()
    street.until(lambda: not street.agent.state.mail.connected)
    street.desk.close()
    street.broker.start()
    street.desk = Desk(street.loop, street.broker.port, SECRETS["desk"])
    street.desk.set_up()
    street.desk.order(an_order())
    street.until(lambda: "finished" in street.desk.steps("o-1"))
    assert street.agent.state.mail.connection >= 2


def test_the_last_will_says_offline_with_the_connection_number(street: Street) -> None:
    street.until(lambda: street.agent.state.clock.verified)
    street.agent._link._leave()
    street.until(lambda: any(not state.online for state in street.desk.states))
    assert [s.connection for s in street.desk.states if not s.online] == [1]


def test_a_process_that_dies_and_starts_again_hears_nothing_twice(street: Street) -> None:
    street.desk.order(an_order(repeat=2, gap_s=0))
    street.until(lambda: street.desk.steps("o-1").count("finished") == 2)
    said = list(street.desk.steps("o-1"))
    street.again()
    street.until(lambda: street.agent.state.clock.verified)
    assert street.agent.state.mail.connection == 2
    assert street.desk.steps("o-1") == said
    assert street.agent.state.sound.sounding is None


def test_missing_receipts_are_sent_again_when_asked_for(street: Street) -> None:
    street.desk.order(an_order())
    street.until(lambda: "finished" in street.desk.steps("o-1"))
    seqs = [receipt.seq for receipt in street.desk.receipts]
    street.desk.receipts.clear()
    street.desk.publish("tocsin/v1/speaker/sp-1/ask", b'{"ask":"receipts","missing":[%d]}' % seqs[0], retain=False)
    street.until(lambda: bool(street.desk.receipts and street.desk.answers))
    assert [receipt.seq for receipt in street.desk.receipts] == [seqs[0]]


def test_acknowledged_receipts_are_no_longer_waiting(street: Street) -> None:
    street.desk.order(an_order())
    street.until(lambda: "finished" in street.desk.steps("o-1") and not street.agent.state.mail.unacked)
    assert street.agent.state.mail.letters


def test_stopping_in_good_order_leaves_a_retained_offline_state(street: Street) -> None:
    street.until(lambda: street.agent.state.clock.verified)
    street.agent.close()
    street.until(lambda: any(not state.online for state in street.desk.states))
    street.agent = an_agent(street.loop, street.settings)
    street.agent.start()


def test_a_journal_that_cannot_be_written_does_not_keep_the_order_from_sounding(street: Street) -> None:
    street.until(lambda: street.agent.state.clock.verified)
    file = street.agent._journal._file
    assert file is not None
    file.close()
    street.agent._journal._file = open("/dev/full", "ab", buffering=0)
    street.desk.order(an_order())
    street.until(lambda: "finished" in street.desk.steps("o-1"))
    evidence = [s.evidence or {} for r in street.desk.receipts for s in r.steps if s.kind == "playing"]
    assert evidence[0]["source"] == "speech"


def test_many_agents_share_one_loop(broker: Mosquitto, tmp_path: Path) -> None:
    loop = Loop()
    agents = [
        an_agent(loop, settings_for(broker.port, tmp_path / name, id=name, secret=SECRETS[name]))
        for name in ("sp-1", "sp-2")
    ]
    for agent in agents:
        agent.start()
    for _ in range(ROUNDS_MAX):
        if all(agent.state.mail.connected for agent in agents):
            break
        loop.run_once(wait_us_max=20_000)
    assert [agent.state.mail.connected for agent in agents] == [True, True]
    for agent in agents:
        agent.close()
    loop.close()
