from __future__ import annotations

import json

import pytest

from services.dispatcher.adapters.celery_app import make_celery
from services.dispatcher.adapters.offices import OfficeTasks
from services.dispatcher.adapters.tasks import WorkerTasks
from services.dispatcher.domain.effects import Carry
from services.dispatcher.domain.verification import Task
from services.dispatcher.engine.relay import CarryFailed, Finish
from services.dispatcher.engine.rows import Asset, EffectRow, Wording
from tests import builders
from tests.builders import NOON_US, SECOND_US, Town, fire_signal

NOBODY = "redis://:secret@127.0.0.1:1/0"
"""No Redis listens there."""


@pytest.fixture
def town() -> Town:
    return builders.town()


def effect(carry: Carry, subject: str) -> EffectRow:
    return EffectRow(f"{carry}:{subject}", carry, subject, 1, 0, 0, None)


def test_every_office_asked_so_far_is_told_how_the_task_stands(town: Town) -> None:
    said: dict[str, bytes] = {}
    task = town.get(Task, town.incident(town.signal(fire_signal())).task)

    def publish_soon(topic: str, raw: bytes) -> Finish:
        return lambda: said.__setitem__(topic, raw)

    def carry() -> None:
        finish = OfficeTasks(town.store, publish_soon).carry(effect(Carry.OFFICE_TASK, task.id))
        assert finish is not None
        finish()

    carry()
    assert {topic: json.loads(raw) for topic, raw in said.items()} == {
        "tocsin/v1/office/other-office/task": {
            "task": task.id,
            "kind": "verify",
            "use": "actual",
            "state": "asked",
            "office": "other-office",
            "question": {"zh": "场所mall是否有险情？", "en": "Is there danger at 场所mall?"},
            "venue": "mall",
            "due": NOON_US + 60 * SECOND_US,
            "rung": 0,
        }
    }
    town.clock.advance(60)
    town.pass_timers()
    carry()
    assert sorted(said) == ["tocsin/v1/office/district-centre/task", "tocsin/v1/office/other-office/task"]
    assert {json.loads(raw)["office"] for raw in said.values()} == {"district-centre"}


def test_a_task_that_is_gone_is_told_to_nobody(town: Town) -> None:
    OfficeTasks(town.store, lambda topic, raw: pytest.fail("nobody is told")).carry(effect(Carry.OFFICE_TASK, "gone"))


def test_while_the_queue_is_away_the_effect_fails_and_is_tried_again(town: Town) -> None:
    wording = next(iter(town.alert(town.signal(fire_signal())).wordings.values()))
    tasks = WorkerTasks(town.store, make_celery(NOBODY))
    for carry, work in ((Carry.RENDER_AUDIO, tasks.render), (Carry.CANARY, tasks.canary)):
        with pytest.raises(CarryFailed) as failed:
            work(effect(carry, wording))
        assert failed.value.again


def test_a_wording_whose_audio_is_there_is_asked_of_nobody(town: Town) -> None:
    wording = town.get(Wording, next(iter(town.alert(town.signal(fire_signal())).wordings.values())))
    with town.store.write() as tx:
        tx.put(Asset(wording.id, wording.lang, "opus", "0" * 64, 1, 1, True))
    tasks = WorkerTasks(town.store, make_celery(NOBODY))
    tasks.render(effect(Carry.RENDER_AUDIO, wording.id))
    tasks.render(effect(Carry.RENDER_AUDIO, "unknown"))


def test_words_with_a_placeholder_are_not_handed_on(town: Town) -> None:
    with town.store.write() as tx:
        tx.put(Wording("odd", "zh", "请离开{venue}。", "actual", "alert", 1, "12B00"))
    with pytest.raises(CarryFailed) as failed:
        WorkerTasks(town.store, make_celery(NOBODY)).render(effect(Carry.RENDER_AUDIO, "odd"))
    assert (failed.value.again, "{venue}" in failed.value.reason) == (False, True)
