"""`tocsin enrol poll`, `sensor` and `sensor-gateway`: what is enrolled by them, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.effects import Timer
from services.dispatcher.domain.polling import Poll
from services.dispatcher.domain.signals import Sensor, Use
from services.dispatcher.engine.cities import CityInMemory, import_city
from services.dispatcher.engine.rows import BrokerAccount
from services.dispatcher.processes.cli_enrol import enrol_app
from services.dispatcher.processes.enrolment import broker_logins
from tests import builders

URL = "https://alerts.example.cn/list.atom"
SMOKE = ("sensor", "smoke-1", "--gateway", "box-1", "--device", "s1", "--kind", "smoke", "--venue", "mall")


@pytest.fixture
def store(store: SqlStore) -> SqlStore:
    """With the feed `weather`."""
    with store.write() as tx:
        import_city(tx, builders.city_settings(), builders.city_rows(), "test")
        tx.put(builders.feed("x", format="atom", rhythm_s=600))
    return store


def run(*words: str) -> str:
    result = CliRunner().invoke(enrol_app, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def refused(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(enrol_app, list(words))
    return result.exit_code, result.output.split(":")[0]


def poll(store: SqlStore) -> Poll | None:
    with store.read() as read:
        return read.get(Poll, "weather")


def timers(store: SqlStore) -> list[tuple[str, str, int]]:
    with store.read() as read:
        return [(t.timer, t.subject, t.due_us) for t in read.due_timers(read.now_us(), 10)]


def test_a_feed_is_polled_at_once_until_it_is_stopped(store: SqlStore) -> None:
    assert run("poll", "weather", "--url", URL, "--every", "120") == "weather is polled every 120 s.\n"
    made = poll(store)
    assert made is not None
    assert made == Poll("weather", URL, 120, next_due_us=made.next_due_us)
    assert timers(store) == [(Timer.POLL, "weather", made.next_due_us)]
    assert run("poll", "weather", "--stop") == "weather is polled no more.\n"
    assert (poll(store), timers(store)) == (None, [])
    assert refused("poll", "weather", "--stop") == (1, "not_found")


def test_a_new_address_forgets_nothing_that_was_taken(store: SqlStore) -> None:
    run("poll", "weather", "--url", URL)
    with store.write() as tx:
        made = tx.get_locked(Poll, "weather")
        assert made is not None
        tx.put(Poll("weather", URL, 60, etag='"v"', digest="d", seen=("a",), failures=3))
    run("poll", "weather", "--url", f"{URL}?v=2")
    again = poll(store)
    assert again is not None
    assert (again.url, again.seen, again.etag, again.digest, again.failures) == (f"{URL}?v=2", ("a",), "", "", 0)


@pytest.mark.parametrize(
    "url",
    [
        "http://alerts.example.cn/", "ftp://alerts.example.cn/", "file:///etc/passwd", "https://", "https://u:p@a.cn/",
        "https://a.cn:0/", "https://a.cn:x/", "https://[::1", "https://a.cn/\n", "https://a b.cn/", "list.atom",
        "https://127.0.0.1/", "https://localhost/", "https://[::1]/", "https://169.254.169.254/", "https://0.0.0.0/",
        "https://x.localhost./", "https://a.cn/" + "x" * 3_000,
    ],
)  # fmt: skip
def test_an_address_that_no_feed_is_fetched_from_is_refused(store: SqlStore, url: str) -> None:
    assert refused("poll", "weather", "--url", url) == (1, "poll_refused")
    assert poll(store) is None


def test_plain_http_and_this_machine_are_polled_where_somebody_says_so(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_POLL_LOOPBACK", "true")
    run("poll", "weather", "--url", "http://127.0.0.1:8000/list", "--plain-http")
    made = poll(store)
    assert made is not None
    assert made.plain_http


def test_a_poll_slower_than_the_feeds_rhythm_is_refused_and_so_is_a_strangers(store: SqlStore) -> None:
    assert refused("poll", "weather", "--url", URL, "--every", "301") == (1, "poll_refused")
    assert refused("poll", "nobody", "--url", URL) == (1, "not_found")
    assert refused("poll", "weather")[0] == 2
    assert refused("poll", "weather", "--url", URL, "--every", "9")[0] == 2


def test_the_first_sensor_of_a_gateway_device_brings_it_an_account(store: SqlStore) -> None:
    said = run(*SMOKE, "--use", "actual", "--name", "机房烟感")
    assert said.startswith("Enrolled smoke-1 at mall, actual.\nThe broker secret of box-1, shown this once: ")
    second = ("sensor", "gas-1", "--gateway", "box-1", "--device", "g1", "--kind", "gas", "--venue", "mall")
    assert run(*second, "--use", "actual", "--rhythm", "0") == "Enrolled gas-1 at mall, actual.\n"
    with store.read() as read:
        assert read.find(Sensor) == [
            Sensor("gas-1", "box-1", "g1", "gas", "mall", Use.ACTUAL),
            Sensor("smoke-1", "box-1", "s1", "smoke", "mall", Use.ACTUAL, "机房烟感", rhythm_s=3_600),
        ]
        city = CityInMemory().get(read)
    [login] = broker_logins(store, city)
    assert (login.name, login.read, login.write) == ("box-1", (), ("tocsin/v1/sensor/box-1/#",))


def test_a_gateway_device_gets_a_new_secret_and_can_be_switched_off(store: SqlStore) -> None:
    run(*SMOKE, "--use", "exercise")
    with store.read() as read:
        first = read.get(BrokerAccount, "box-1")
    assert run("sensor-gateway", "box-1").startswith("The broker secret of box-1, shown this once: ")
    with store.read() as read:
        assert read.get(BrokerAccount, "box-1") != first
        city = CityInMemory().get(read)
    run("off", "speaker", "box-1")
    assert broker_logins(store, city) == []
    assert refused("sensor-gateway", "box-9") == (1, "not_found")


def test_a_sensor_is_listed_and_switched_off(store: SqlStore) -> None:
    run(*SMOKE, "--use", "exercise")
    assert run("list", "sensor") == (
        "smoke-1  gateway=box-1  device=s1  kind=smoke  use=exercise  venue=mall  enabled=yes\n"
    )
    assert run("off", "sensor", "smoke-1") == "sensor smoke-1 is off.\n"
    with store.read() as read:
        assert [s.enabled for s in read.find(Sensor)] == [False]


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"--gateway": "gw-0"}, (1, "sensor_refused")),
        ({"--gateway": "square-1"}, (1, "sensor_refused")),
        ({"--gateway": "Box"}, (1, "sensor_refused")),
        ({"--device": "a/b"}, (1, "sensor_refused")),
        ({"--venue": "nowhere"}, (1, "not_found")),
        ({"--hazard": "source_silent"}, (1, "sensor_refused")),
        ({"--kind": "radar"}, (2, "Usage")),
    ],
)
def test_a_sensor_that_could_not_speak_or_not_be_found_is_refused(
    store: SqlStore, changes: dict[str, str], answer: tuple[int, str]
) -> None:
    options = dict(zip(SMOKE[2::2], SMOKE[3::2], strict=True)) | {"--use": "actual"} | changes
    assert refused(*SMOKE[:2], *(word for pair in options.items() for word in pair)) == answer
    with store.read() as read:
        assert (read.find(Sensor), read.find(BrokerAccount)) == ([], [])


def test_two_sensors_do_not_share_a_place_on_a_gateway(store: SqlStore) -> None:
    run(*SMOKE, "--use", "actual")
    assert refused("sensor", "smoke-2", *SMOKE[2:], "--use", "actual") == (1, "sensor_refused")


def test_a_sensor_that_is_enrolled_again_stays_under_maintenance(store: SqlStore) -> None:
    run(*SMOKE, "--use", "actual")
    end_us = builders.NOON_US
    with store.write() as tx:
        [before] = tx.find(Sensor)
        tx.put(replace(before, maintenance_author="li", maintenance_until_us=end_us, maintenance_reason="检修"))
    run(*SMOKE, "--use", "actual", "--rhythm", "60")
    with store.read() as read:
        assert read.find(Sensor) == [
            replace(
                before, rhythm_s=60, maintenance_author="li", maintenance_until_us=end_us, maintenance_reason="检修"
            )
        ]


def test_the_use_of_a_sensor_stays_for_good(store: SqlStore) -> None:
    run(*SMOKE, "--use", "exercise")
    assert refused(*SMOKE, "--use", "actual") == (1, "use_differs")
