"""A gateway's account that somebody else uses: one red incident at once; our own survivor is none."""

from __future__ import annotations

from collections import Counter

import pytest

from services.dispatcher.domain.incidents import Incident, IncidentState
from services.dispatcher.domain.taken_accounts import ACCOUNT_TAKEN
from services.dispatcher.domain.verification import Task
from services.dispatcher.engine.air import accounts
from services.dispatcher.engine.air.accounts import RED_US, AccountsHealth
from services.dispatcher.engine.events import AccountTaken, IncidentClosed
from services.dispatcher.engine.leases import GATEWAY_LEASE_US, hold
from services.dispatcher.engine.ports import Page
from tests import builders
from tests.builders import SECOND_US, Town

OURS, SURVIVOR = "host/1", "host/2"


@pytest.fixture
def town() -> Town:
    town = builders.town()
    assert hold(town.store, "gw-0", OURS, GATEWAY_LEASE_US)
    return town


def lose(town: Town, account: str = "gw-0", owner: str = OURS) -> list[Incident]:
    town.engine.handle([AccountTaken(account, "gw-0", owner)])
    with town.store.read() as read:
        return read.find(Incident, Page(), hazard=ACCOUNT_TAKEN)


def health(town: Town) -> AccountsHealth:
    with town.store.read() as read:
        return accounts.health(read)


def test_a_lost_account_is_one_red_incident_that_says_what_to_do(town: Town) -> None:
    (alarm,) = lose(town)
    assert (alarm.level, alarm.playbook, alarm.alert, alarm.area) == (1, "", "", builders.CITY)
    assert alarm.state is IncidentState.VERIFYING
    assert "gw-0" in alarm.headline
    assert "new secrets" in town.get(Task, alarm.task).question["en"]
    assert [row.id for row in health(town).taken] == ["gw-0"]


def test_a_tug_of_war_is_one_incident_one_row_and_a_line_an_hour(town: Town) -> None:
    for second in range(7_300):
        town.clock.advance(1)
        alarms = lose(town, ("gw-0", "gw-0-intake")[second % 2])
    assert len(alarms) == 1
    assert [row.id for row in health(town).taken] == ["gw-0", "gw-0-intake"]
    assert Counter(town.kinds("gw-0"))["gateway.account_taken"] <= 3


def test_a_second_account_joins_the_open_incident_in_its_own_words(town: Town) -> None:
    lose(town)
    for _ in range(3):
        town.clock.advance(5)
        (alarm,) = lose(town, "gw-0-intake")
    assert (alarm.signal_count, alarm.level, alarm.alert) == (2, 1, "")
    with town.store.read() as read:
        first, second = read.signals_of(alarm.id)
    assert "账号gw-0连接" in first.headline
    assert "gw-0-intake" in second.headline
    assert "gw-0-intake" in second.description


def test_a_survivor_that_took_the_id_up_is_no_alarm(town: Town) -> None:
    town.clock.advance(10)
    assert hold(town.store, "gw-0", SURVIVOR, GATEWAY_LEASE_US)
    assert lose(town) == []
    assert health(town) == AccountsHealth()
    assert town.kinds("gw-0") == ["gateway.succeeded"]


def test_a_lease_that_has_just_run_out_excuses_nobody(town: Town) -> None:
    town.clock.advance(10)
    assert len(lose(town)) == 1


def test_it_is_red_while_its_incident_is_open_and_a_while_after_the_last_time(town: Town) -> None:
    (alarm,) = lose(town)
    town.clock.advance(3_600)
    assert health(town).taken
    town.engine.handle([IncidentClosed(alarm.id, "li", "new secrets")])
    assert health(town) == AccountsHealth()
    assert len(lose(town)) == 2
    for incident in lose(town):
        if incident.open:
            town.engine.handle([IncidentClosed(incident.id, "li", "again")])
    assert health(town).taken
    town.clock.advance(RED_US // SECOND_US)
    assert health(town) == AccountsHealth()
