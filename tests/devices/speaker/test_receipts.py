"""Receipts and state: sharing messages, spreading, numbering, overflow, resending, and the answer to asks."""

from __future__ import annotations

import json
from dataclasses import replace

from devices.protocols.asking import RECEIPTS_KEPT_MAX
from devices.protocols.documents import Step, StepKind
from devices.protocols.speaker_link import ask_topic, config_topic, decode_receipt, decode_state, sign
from devices.speaker import events as e
from devices.speaker.turn import spread
from tests.devices.speaker.world import CONFIG, SETUP, SPEAKER, T0, S, World, an_audio, an_order

ASK = ask_topic(SPEAKER)


def answers(world: World) -> list[dict[str, object]]:
    return [json.loads(p.payload) for p in world.published if p.topic.endswith("/answer")]


def states(world: World) -> list[bytes]:
    return [p.payload for p in world.published if p.topic.endswith("/state")]


def test_a_whole_story_in_receipts() -> None:
    world = World(mic_db=74).up().order(an_order()).advance(30)
    wait = spread("sp-1 actual/o-1", 2_000_000)
    assert [r.steps for r in world.receipts] == [
        (
            Step(StepKind.ACCEPTED, T0),
            Step(StepKind.READY, T0 + 50_000, "", {"repeat": 1}),
            Step(
                StepKind.PLAYING,
                T0 + 50_000,
                "",
                {"repeat": 1, "of": 1, "source": "speech", "volume": 60, "mic_db": 74},
            ),
        ),
        (
            Step(
                StepKind.FINISHED,
                T0 + 10_050_000,
                "",
                {"repeat": 1, "of": 1, "source": "speech", "volume": 60, "ms": 10_000, "mic_db": 74},
            ),
        ),
    ]
    assert 0 <= wait < 2_000_000


def test_accepted_is_spread_by_the_name_of_speaker_and_order() -> None:
    world = World().up().order(an_order(start_at=T0 + 600 * S))
    wait = spread("sp-1 actual/o-1", 2_000_000)
    world.advance((wait - 1) / S)
    assert world.receipts == []
    world.advance(2 / S)
    assert world.steps("o-1") == ["accepted"]
    waits = {spread(f"sp-{n} actual/o-1", 2_000_000) // 200_000 for n in range(200)}
    assert waits == set(range(10))


def test_without_a_microphone_there_is_no_decibel_figure() -> None:
    world = World().up().order(an_order()).advance(30)
    assert "mic_db" not in (world.step("o-1", "finished").evidence or {})


def test_receipts_made_offline_are_sent_at_the_next_connect_in_order() -> None:
    world = World().up().order(an_order(start_at=T0 + 60 * S)).advance(5).disconnect().advance(120)
    before = len(world.published)
    world.connect()
    sent = [decode_receipt(p.payload).seq for p in world.published[before:] if p.topic.endswith("/receipt")]
    assert sent == sorted(sent)
    assert world.steps("o-1")[-1] == "finished"


def test_unacknowledged_receipts_are_sent_again_and_acknowledged_ones_are_not() -> None:
    world = World().up().order(an_order()).advance(30)
    first, second = (r.seq for r in world.receipts)
    world.feed(e.Acknowledged, seq=first)
    before = len(world.published)
    world.disconnect().connect()
    sent = [decode_receipt(p.payload).seq for p in world.published[before:] if p.topic.endswith("/receipt")]
    assert sent == [second]


def test_receipts_without_an_acknowledgement_survive_a_crash() -> None:
    world = World().up().order(an_order()).advance(30)
    said = world.receipts
    world.crash().boot()
    world.published.clear()
    world.connect()
    assert world.receipts == said


def test_steps_not_yet_sent_survive_a_crash() -> None:
    world = World().up().order(an_order(start_at=T0 + 600 * S)).advance(0.001).crash().boot().connect().advance(5)
    assert world.steps("o-1") == ["accepted"]


def test_missing_receipts_are_sent_again_and_the_gone_are_named() -> None:
    world = World().up().order(an_order()).advance(30)
    world.published.clear()
    world.message(ASK, b'{"ask":"receipts","missing":[1,2,77],"correlation":"c-1"}')
    assert [r.seq for r in world.receipts] == [1, 2]
    assert answers(world) == [{"resent": [1, 2], "gone": [77], "journal": "journal-1", "correlation": "c-1"}]


def test_asks_that_make_no_sense_are_answered_so_and_cost_nothing() -> None:
    world = World().up()
    world.published.clear()
    asks = (
        b"",
        b"{",
        b"[]",
        b'{"missing":[1]}',
        b'{"ask":"receipts"}',
        b'{"ask":"receipts","missing":["1"]}',
        b'{"ask":"receipts","missing":[0]}',
        b'{"ask":"receipts","missing":[true]}',
        b'{"ask":"receipts","missing":[' + b",".join(b"%d" % n for n in range(1, 502)) + b"]}",
        b'{"ask":"receipts","missing":[1]' + b" " * 16_384 + b"}",
    )
    for ask in asks:
        world.message(ASK, ask)
    assert answers(world) == [{"refused": "unknown_ask", "journal": "journal-1"}] * len(asks)
    assert world.receipts == []


def test_an_ask_of_a_newer_dispatcher_is_refused_under_its_correlation() -> None:
    world = World().up()
    world.message(ASK, b'{"ask":"sing","correlation":"c-9"}')
    assert answers(world) == [{"refused": "unknown_ask", "journal": "journal-1", "correlation": "c-9"}]


def test_a_self_test_answers_with_what_the_speaker_knows_of_itself() -> None:
    world = World().up()
    world.message(ASK, b'{"ask":"self_test"}')
    assert answers(world) == [
        {
            "volume": 80,
            "power": "mains",
            "cached": 0,
            "store": "ok",
            "clock": "verified",
            "orders": 0,
            "journal": "journal-1",
        }
    ]


def test_overflow_drops_the_oldest_that_ended_nothing_and_counts_them() -> None:
    world = World().up().disconnect()
    mail = world.state.mail
    letters = dict(mail.letters)
    from devices.speaker.state import Letter

    final = Letter(b"final", True)
    letters |= {n: Letter(b"minor", False) if n % 2 else final for n in range(1, RECEIPTS_KEPT_MAX + 1)}
    full = replace(mail, seq=RECEIPTS_KEPT_MAX, letters=letters, unacked=tuple(letters))
    world.state = replace(world.state, mail=full)
    world.retained.clear()
    world.connected = True
    world.order(an_order()).advance(60)
    kept = world.state.mail.letters
    assert len(kept) == RECEIPTS_KEPT_MAX
    assert [n for n in (1, 3) if n in kept] == []
    assert all(n in kept for n in range(2, RECEIPTS_KEPT_MAX, 2))
    evidence = [s.evidence or {} for s in decode_receipt(kept[RECEIPTS_KEPT_MAX + 2].payload).steps]
    assert evidence[0]["dropped"] == 1


def test_state_is_said_at_connect_after_changes_and_as_a_heartbeat() -> None:
    world = World().up().advance(15)
    said = [decode_state(raw) for raw in states(world)]
    assert (said[0].online, said[0].connection, said[0].keys_version) == (True, 1, 0)
    assert (said[-1].keys_version, said[-1].config_version) == (1, 1)
    count = len(said)
    world.advance(300)
    assert 4 <= len(states(world)) - count <= 5


def test_state_names_the_versions_held_for_each_stream() -> None:
    world = World().up().order(an_order()).advance(15)
    state = decode_state(states(world)[-1])
    assert state.streams == world.versions
    assert (state.journal, state.chain_head, state.power) == ("journal-1", "head-1", "mains")


def test_many_changes_share_one_state_message() -> None:
    world = World().up().advance(15)
    before = len(states(world))
    for number in range(10):
        world.order(an_order(f"o-{number}", start_at=T0 + 600 * S))
    world.advance(11)
    assert len(states(world)) - before == 1


def test_stored_audio_and_power_show_in_the_state() -> None:
    world = World().up().advance(15)
    audio = an_audio()
    world.feed(e.AudioStored, sha256=audio.sha256)
    world.feed(e.PowerChanged, power="battery")
    world.advance(11)
    state = decode_state(states(world)[-1])
    assert (state.cached, state.power) == ((audio.sha256,), "battery")


def test_a_full_disk_does_not_keep_an_order_from_sounding_and_is_in_the_evidence() -> None:
    world = World().up()
    world.feed(e.StoreFailed, reason="disk_full")
    world.order(an_order()).advance(30)
    assert world.sounds() == ["o-1#1"]
    assert (world.step("o-1", "playing").evidence or {})["store"] == "disk_full"


def test_a_spread_of_zero_is_allowed() -> None:
    world = World().up()
    eager = replace(SETUP, version=2, accepted_spread_ms=0, fetch_spread_s=0)
    world.publish(config_topic(SPEAKER), sign(eager, CONFIG))
    world.order(an_order(start_at=T0 + 600 * S)).advance(0.01)
    assert world.steps("o-1") == ["accepted"]
