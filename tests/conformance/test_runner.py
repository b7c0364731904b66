"""`tocsin conformance` against our own agent, another maker's speaker, and a speaker that checks no signature."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from devices.conformance.bench import Bench, BenchAccount
from devices.conformance.checks import all_checks, trial
from devices.conformance.cli import app, run
from devices.conformance.finding import Finding
from devices.conformance.link_checks import comes_back
from devices.conformance.papers import BenchPapers, root_x
from devices.protocols import speaker_link as link
from devices.protocols.jws import SigningKey
from tests.conformance.benches import SECRETS, SPEAKER, broker, given_at_installation, program, runner

RUN_S_MAX = 600
SECTION_AT = 82
"""Where the column of sections stands in a row whose result has two wide characters."""
FOREIGN = "tests.conformance.foreign_speaker"
NO_PLAYER: dict[str, object] = {"player": "sound_card", "sound_card_command": ["false"], "reconnect_spread_s": 0}
DEVICES: dict[str, tuple[Sequence[str], dict[str, object]]] = {
    "own": (("tests.conformance.quick_agent", "{settings}", "8"), {"player": "null", "reconnect_spread_s": 0}),
    "silent": (("devices.command", "speaker", "--settings", "{settings}"), NO_PLAYER),
    "foreign": ((FOREIGN, "{settings}", "{store}", "1.0"), {"spread_s": 0}),
    "unchecked": ((FOREIGN, "{settings}", "{store}", "1.0", "unchecked"), {"spread_s": 0}),
}

Ended = tuple[int, list[str]]


def tried(folder: Path, device: Sequence[str], more: dict[str, object]) -> Ended:
    """How the runner ended, and the lines of its table."""
    folder.mkdir()
    store = str(folder / "store")
    if "player" in more:
        more = more | {"store": store}
    with broker(folder / "broker") as port, runner(folder, port) as process:
        settings = folder / "device.json"
        settings.write_text(json.dumps(given_at_installation(folder, port) | more), "utf-8")
        arguments = [each.format(settings=settings, store=store) for each in device]
        with program([sys.executable, "-m", *arguments]):
            said, _ = process.communicate(timeout=RUN_S_MAX)
        return process.returncode, [line for line in said.splitlines() if line]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Every device on a bench of its own, all at once: a run is mostly waiting."""
    folder = tmp_path_factory.mktemp("benches")
    with ThreadPoolExecutor(len(DEVICES)) as benches:
        runs = {name: benches.submit(tried, folder / name, *device) for name, device in DEVICES.items()}
        return {name: run.result() for name, run in runs.items()}


@pytest.mark.parametrize("device", ["own", "foreign"])
def test_device_that_keeps_to_the_page_holds(device: str, ended: dict[str, Ended]) -> None:
    code, table = ended[device]
    assert (code, [line for line in table if line.startswith(("FAILS", "not tried"))]) == (0, []), "\n".join(table)


def test_device_that_checks_no_signature_is_told_so(ended: dict[str, Ended]) -> None:
    code, table = ended["unchecked"]
    failed = [line for line in table if line.startswith("FAILS")]
    assert code == 1
    assert any("another's signature under a good key's name" in line for line in failed), "\n".join(table)
    assert any("does nothing that was refused" in line for line in failed), "\n".join(table)


def test_device_that_sounds_nothing_has_obeyed_nothing_by_it(ended: dict[str, Ended]) -> None:
    code, table = ended["silent"]
    rows = {columns[1]: line for line in table if len(columns := re.split(" {2,}", line)) == 4}
    whole = "\n".join(table)
    assert code == 1
    plays = rows["accepts and plays an exercise, every repeat receipted"]
    assert plays.startswith("FAILS"), whole
    assert "expected accepted, playing, finished" in plays, whole
    assert "failed: sound_card_failed" in plays, whole
    for check in (
        "has the drill preface", "says that it is ready before it begins", "states times by the verified clock",
        "a withdrawn order stays silent", "the rate limit holds an alert back", "begins at start_at",
        "says that an order has expired, finished if heard, else failed", "nothing sounds again after a lost line",
    ):  # fmt: skip
        assert rows[check].startswith("not tried"), whole
    for check in ("asks the time after power-on", "refuses an empty retained message", "journal and numbers go on"):
        assert rows[check].startswith("holds"), whole
    assert "… pole-7 has failed to sound and may try again, up to 20 s" in table


def test_every_row_names_its_section_of_the_page(ended: dict[str, Ended]) -> None:
    rows = [line for line in ended["own"][1] if line.startswith("holds 符合")]
    assert len(rows) == len(all_checks(SPEAKER))
    assert [line for line in rows if line[SECTION_AT - 1] != " " or line[SECTION_AT] not in "1234567"] == []


def test_summary_counts_every_check_once(ended: dict[str, Ended]) -> None:
    whole = len(all_checks(SPEAKER))
    assert f"{whole} checks: {whole} hold, 0 required ones fail, 0 differ, 0 not tried." in ended["own"][1]
    assert f"共 {whole} 项：符合 {whole} 项，必需项不符合 0 项，有差异 0 项，未检验 0 项。" in ended["own"][1]
    for _, table in ended.values():
        said = next(line for line in table if " checks: " in line)
        counts = [int(number) for number in re.findall(r"\d+", said)]
        assert counts[0] == sum(counts[1:]) == whole


def opened(port: int, waits: Callable[[str], None] = lambda sentence: None, **secrets: str) -> Bench:
    """A bench of short limits on this broker, in this process."""
    login = BenchAccount(
        "runner", SECRETS["runner"], secrets.get("speaker_secret", SECRETS[SPEAKER]), "bench/login.json"
    )
    root = SigningKey.generate("bench-root")
    bench = Bench("127.0.0.1", port, login, BenchPapers(SPEAKER, root), 120.0, waits, away_s_max=1.0)
    bench.open()
    return bench


def test_device_that_never_comes_ends_the_run_with_where_to_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = len(all_checks(SPEAKER))
    with broker(tmp_path / "broker") as port:
        assert run(opened(port), 1.0) == 1
    said = capsys.readouterr().out
    assert f"STOPPED 中止  Nothing of {SPEAKER} within 1 s. Is it on, on this broker," in said
    assert f"at all. The {whole} checks from here on are not tried." in said
    assert f"{whole} checks: 0 hold, 0 required ones fail, 0 differ, {whole} not tried." in said


def test_own_login_that_the_broker_refuses_is_said_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with broker(tmp_path / "broker") as port:
        bench = opened(port, speaker_secret="not-the-devices-secret")
        assert run(bench, 1.0) == 1
        again = opened(port, speaker_secret="not-the-devices-secret")
        again.states.append((0.0, link.SpeakerState(True, 1, {}, 0, 0, "a-journal", 0, 80, "mains", (), "")))
        back = list(comes_back(again))
        again.close()
    refused = "The broker refuses the device's own login (speaker_secret in bench/login.json): its line can't be taken"
    assert f"{refused}, 5 checks are not tried." in capsys.readouterr().out
    assert [(finding.holds, finding.seen) for finding in back] == [(None, f"{refused}.")] * 5


def test_device_that_goes_offline_ends_the_run(tmp_path: Path) -> None:
    found: list[Finding] = []
    with broker(tmp_path / "broker") as port:
        bench = opened(port)
        settings = tmp_path / "device.json"
        given = {"id": SPEAKER, "secret": SECRETS[SPEAKER], "broker_host": "127.0.0.1", "broker_port": port}
        root = {"root_kid": bench.papers.root.kid, "root_key": root_x(bench.papers.root)}
        settings.write_text(json.dumps(given | root | {"spread_s": 0}), "utf-8")
        with program([sys.executable, "-m", FOREIGN, str(settings), str(tmp_path / "store"), "1.0"]) as device:

            def until_it_has_its_keys(finding: Finding) -> None:
                found.append(finding)
                if len(found) == 3:
                    device.kill()

            ended = trial(bench, 30.0, until_it_has_its_keys)
            bench.close()
    assert re.fullmatch(
        rf"{SPEAKER} went offline at \d\d:\d\d:\d\d and did not come back within 1 s\.", str(ended.stopped)
    )
    assert ended.stopped is not None
    assert (ended.stopped.by_device, ended.all_held) == (True, False)
    assert ended.findings[: len(found)] == found
    assert (ended.count(None), len(ended.findings)) == (len(all_checks(SPEAKER)) - len(found), len(all_checks(SPEAKER)))


def test_second_client_of_the_runners_login_ends_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = len(all_checks(SPEAKER))
    with broker(tmp_path / "broker") as port:
        bench = opened(port)
        second = opened(port)
        assert run(bench, 60.0) == 2
        second.close()
    said = capsys.readouterr().out
    assert "nother client uses the runner's login: end it and start again." in said
    assert f"The {whole} checks from here on are not tried." in said


def test_broker_that_goes_away_ends_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with broker(tmp_path / "broker") as port:
        bench = opened(port)
    assert run(bench, 60.0) == 2
    said = capsys.readouterr().out
    assert "The runner lost its line to the broker" in said
    assert "and the broker can't be reached." in said


def test_wait_says_what_it_waits_for(tmp_path: Path) -> None:
    said: list[str] = []
    with broker(tmp_path / "broker") as port:
        bench = opened(port, said.append)
        assert bench.until(lambda: said, 20.0, "plays two repeats")
        bench.close()
    assert said == [f"{SPEAKER} plays two repeats, up to 20 s"]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:x", ":1"])
def test_broker_without_host_or_port_is_refused(address: str, tmp_path: Path) -> None:
    given = ["--broker", address, "--speaker", "pole-7", "--login", "x", "--root-out", str(tmp_path / "root")]
    assert CliRunner().invoke(app, given).exit_code == 2
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "can't be read: No such file or directory"),
        ("{", "is not JSON"),
        ("[]", "is not one object"),
        ('{"name": "runner"}', "has no text as its member 'secret'"),
        ('{"name": "runner", "secret": "s", "speaker_secret": 7}', "has no text as its member 'speaker_secret'"),
    ],
)
def test_login_file_that_cannot_be_used_is_named(content: str | None, sentence: str, tmp_path: Path) -> None:
    login = tmp_path / "login.json"
    if content is not None:
        login.write_text(content, "utf-8")
    given = ["--broker", "127.0.0.1:1", "--speaker", "p", "--login", str(login), "--root-out", str(tmp_path / "root")]
    ended = CliRunner().invoke(app, given)
    assert (ended.exit_code, f"The login file {login} {sentence}." in ended.output) == (2, True), ended.output


def test_speaker_that_is_no_id_is_told_apart_from_a_broker_that_is_no_address(tmp_path: Path) -> None:
    given = ["--broker", "127.0.0.1:1", "--speaker", "Pole 7", "--login", "x", "--root-out", str(tmp_path / "root")]
    ended = CliRunner().invoke(app, given)
    assert (ended.exit_code, "--speaker is an id" in ended.output, "HOST:PORT" in ended.output) == (2, True, False)


def test_root_file_that_holds_no_root_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    root.write_text("[]", "utf-8")
    given = ["--broker", "127.0.0.1:1", "--speaker", "p", "--login", "x", "--root-out", str(root)]
    assert CliRunner().invoke(app, given).exit_code == 2
    assert root.read_text("utf-8") == "[]"


def test_broker_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    login = tmp_path / "login.json"
    login.write_text('{"name": "runner", "secret": "s"}', "utf-8")
    given = ["--broker", "127.0.0.1:1", "--speaker", "p", "--login", str(login), "--root-out", str(tmp_path / "root")]
    ended = CliRunner().invoke(app, given)
    assert (ended.exit_code, "cannot be reached" in ended.output) == (2, True)
