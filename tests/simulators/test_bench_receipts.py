"""The receipts benchmark at a small size: what it sends, and that it finds every receipt again as a row."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from devices.protocols.speaker_link import StepKind, decode_receipt, parse_speaker_topic
from services.dispatcher.adapters.broker import gateway_login, hash_secret, new_secret
from services.dispatcher.domain.planning import Coverage
from services.dispatcher.processes.children import Mosquitto
from simulators.bench import receipts
from simulators.bench.cli import app
from simulators.bench.result import BenchFailed, spread

NOTHING = Coverage(targeted=20, online=20, playing=0, proved=0, finished=0, refused=0, failed=0, out_of_service=0)


def test_script_cuts_the_last_order_short_and_says_what_its_coverage_must_be() -> None:
    spoken = receipts.script(speakers=20, receipts=110)
    assert len(spoken.said) == 110
    assert spoken.coverage == {
        "order-1": replace(NOTHING, playing=20, proved=2, finished=20),
        "order-2": replace(NOTHING, playing=20, proved=spoken.coverage["order-2"].proved, finished=10),
    }


def test_every_receipt_of_the_script_is_another_one_and_can_be_read() -> None:
    spoken = receipts.script(speakers=20, receipts=60)
    read = [(parse_speaker_topic(topic), decode_receipt(payload)) for topic, payload in spoken.said]
    assert Counter(speaker for (speaker, _), _ in read) == dict.fromkeys(spoken.speakers, 3)
    assert len({(speaker, receipt.journal, receipt.seq) for (speaker, _), receipt in read}) == 60
    assert Counter(step.kind for _, receipt in read for step in receipt.steps) == {
        StepKind.ACCEPTED: 20,
        StepKind.READY: 20,
        StepKind.PLAYING: 20,
        StepKind.FINISHED: 20,
    }


def test_both_drains_take_every_receipt_and_ours_makes_each_a_row() -> None:
    answer = CliRunner().invoke(app, ["receipts", "--speakers", "20", "--receipts", "90", "--rounds", "1"])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout.splitlines()[-1])
    assert (told["bench"], told["speakers"], told["receipts"], told["rounds"]) == ("receipts", 20, 90, 1)
    assert told["raw_per_s"] > 0 and told["ours_per_s"] > 0 and told["ratio"] > 0
    assert told["coverage"]["order-1"] == {
        "targeted": 20, "online": 20, "playing": 20, "proved": 2, "finished": 20, "refused": 0, "failed": 0,
        "out_of_service": 0, "after_stop": 0,
    }  # fmt: skip


def test_drain_that_misses_a_receipt_gives_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "DRAIN_WITHIN_S", 0.2)
    tmp_path.chmod(0o711)
    secret = new_secret()
    with Mosquitto(tmp_path / "broker") as mosquitto:
        port = mosquitto.start([gateway_login(receipts.GATEWAY, hash_secret(secret))])
        with pytest.raises(BenchFailed, match=re.escape("paho took 0 of 1 receipts within 0.2 s.")):
            receipts.drain_raw(port, secret, 1)
        with pytest.raises(BenchFailed, match=re.escape("0 of 1 receipts were stored in 0.2 s.")):
            receipts.drain_ours(port, secret, receipts.script(1, 1), tmp_path / "rows.db")


def test_spread_names_median_and_both_ends() -> None:
    assert spread([3.0, 1.0, 2.00004]) == {"median": 2.0, "min": 1.0, "max": 3.0}
