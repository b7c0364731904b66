"""Programs that end with us: real ones, ended in every way."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from services.dispatcher.adapters import broker
from services.dispatcher.processes.children import Child, ChildWontStart, Mosquitto, Redis, program

ROOT = Path(__file__).resolve().parents[2]
GONE_WITHIN_S = 60

PARENT = """
import sys
from pathlib import Path
from services.dispatcher.processes.children import Mosquitto, Redis
folder = Path(sys.argv[1])
mosquitto, cache = Mosquitto(folder / "broker"), Redis(folder / "redis")
mosquitto.start([])
cache.start()
print(mosquitto.child.pid, cache.child.pid, flush=True)
sys.stdin.read()
"""


def shell(script: str, folder: Path) -> Child:
    return Child.start("script", ["/bin/sh", "-c", script], folder)


def test_children_of_a_parent_that_got_kill_9_are_gone(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        children = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(children) == 2
        parent.send_signal(signal.SIGKILL)
        try:
            for child in children:
                assert select.select([child], [], [], GONE_WITHIN_S)[0] == [child]
        finally:
            for child in children:
                os.close(child)


def test_redis_wants_its_password(tmp_path: Path) -> None:
    with Redis(tmp_path / "redis") as server:
        port = server.start()
        with redis.Redis.from_url(server.url) as known, redis.Redis(port=port) as stranger:
            assert known.ping() is True
            with pytest.raises(redis.AuthenticationError):
                stranger.ping()


def test_redis_password_stands_in_no_file_and_no_command_line(tmp_path: Path) -> None:
    with Redis(tmp_path / "redis") as server:
        server.start()
        assert server.child is not None
        written = [path.read_bytes() for path in (tmp_path / "redis").iterdir()]
        written.append(Path(f"/proc/{server.child.pid}/cmdline").read_bytes())
        assert [server.password.encode() in text for text in written] == [False] * len(written)


def test_redis_dies_and_starts_again_on_its_port(tmp_path: Path) -> None:
    with Redis(tmp_path / "redis") as server:
        port = server.start()
        assert server.child is not None
        server.child.process.kill()
        server.stop()
        assert server.start() == port


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another account to give")
def test_redis_never_runs_as_root(tmp_path: Path) -> None:
    with Redis(tmp_path / "redis") as server:
        server.start()
        assert server.child is not None
        assert os.stat(f"/proc/{server.child.pid}").st_uid != 0


def test_taken_port_is_refused_with_the_end_of_the_log(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "one") as first:
        port = first.start([])
        with pytest.raises(ChildWontStart, match="mosquitto ended with status 1") as refused:
            Mosquitto(tmp_path / "two", port=port).start([])
    assert refused.value.code == "ended"
    assert "Address already in use" in str(refused.value)


def test_program_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    child = shell("echo no room on the disk; exit 3", tmp_path)
    with pytest.raises(ChildWontStart) as refused:
        child.wait_until(lambda: False)
    assert refused.value.code == "ended"
    assert str(refused.value) == ("script ended with status 3 instead of answering. Its log ends:\nno room on the disk")


def test_program_that_stays_silent_is_given_up(tmp_path: Path) -> None:
    child = shell("echo thinking; exec cat /dev/full >/dev/null; ", tmp_path)
    try:
        with pytest.raises(ChildWontStart, match=r"^script gave no answer within 0 seconds\.") as refused:
            child.wait_until(lambda: False, within_s=0)
        assert refused.value.code == "silent"
    finally:
        child.stop()


def test_program_that_does_not_listen_is_ended_by_force(tmp_path: Path) -> None:
    child = shell("trap '' TERM; echo deaf; while :; do read -r line </dev/zero; done", tmp_path)
    child.wait_until(lambda: "deaf" in child.tail())
    assert child.stop(within_s=0) == -signal.SIGKILL


def test_child_reads_what_it_is_given_and_sees_only_its_environment(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "cat; echo $TOCSIN_SECRET-$GREETING"]
    child = Child.start("script", command, tmp_path, environment={"GREETING": "hello"}, given=b"by hand\n")
    assert child.process.wait() == 0
    assert child.tail() == "by hand\n-hello"


def test_missing_program_is_one_sentence() -> None:
    with pytest.raises(ChildWontStart) as refused:
        program("no-such-program")
    assert refused.value.code == "absent"
    assert str(refused.value) == (
        "The program no-such-program is not installed; deploy/packages.txt names its package."
    )


def test_program_that_cannot_be_run_says_so(tmp_path: Path) -> None:
    child = Child.start("script", [str(tmp_path / "nothing")], tmp_path)
    with pytest.raises(ChildWontStart, match=r"nothing can't be started: No such file or directory\.$"):
        child.wait_until(lambda: False)


def test_long_log_is_set_aside_and_a_short_one_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "script.log"
    log.write_bytes(b"x" * (4 * 1024 * 1024 + 1))
    shell("echo first", tmp_path).process.wait()
    shell("echo second", tmp_path).process.wait()
    assert log.read_text() == "first\nsecond\n"
    assert (tmp_path / "script.log.1").stat().st_size == 4 * 1024 * 1024 + 1


def test_folder_left_by_an_earlier_run_of_another_account_is_taken_over(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    broker.write_private(folder / broker.PASSWORD_FILE, "", None)
    with Mosquitto(folder) as mosquitto:
        mosquitto.start([])
        assert {path.stat().st_uid for path in (folder, *folder.glob("p*"))} == {
            os.geteuid() if mosquitto.account is None else mosquitto.account.uid
        }
