"""An errand to a polled feed: from a due timer over a real HTTP server to incidents, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from services.dispatcher.adapters.http_poll import Answer, HttpPoll
from services.dispatcher.domain.polling import Poll
from services.dispatcher.domain.rhythm import Heard
from services.dispatcher.domain.signals import Feed
from services.dispatcher.processes.enrolment_sources import enrol_poll
from services.dispatcher.processes.poller import Poller, one_of
from tests import builders
from tests.builders import OTHER_STREET, Town, cap_alert, feed
from tests.processes.publisher import LIST, Publisher

RAIN, GALE = cap_alert("rain-1"), cap_alert("rain-2", code=OTHER_STREET)


@dataclass(slots=True)
class Weather:
    """The feed `weather`, its publisher and a poller that has no broker between itself and the relay."""

    town: Town
    publisher: Publisher
    results: list[str] = field(default_factory=list)

    def poller(self) -> Poller:
        return Poller(self.town.store, self.town.engine, HttpPoll(loopback=True), self.results.append)

    def pass_on(self) -> list[str]:
        """Let due timers pass and run the errand that they saved; what was asked for on it."""
        already = len(self.publisher.asked)
        self.town.pass_timers()
        if "poll_feed:weather" in self.town.lanes():
            self.poller().poll("weather")
        return [path for path, _ in self.publisher.asked[already:]]

    def later(self, seconds: float = 66) -> list[str]:
        self.town.clock.advance(seconds)
        return self.pass_on()

    @property
    def poll(self) -> Poll:
        return self.town.get(Poll, "weather")

    def incidents(self) -> list[str]:
        with self.town.store.read() as read:
            return [key for key in ("rain-1", "rain-2") if any(key in s for s in self._signals(read.log_of(None)))]

    def _signals(self, rows: object) -> list[str]:
        assert isinstance(rows, list)
        return [row.body for row in rows if row.kind == "incident.signal"]

    def unread(self) -> list[tuple[str, str, str]]:
        with self.town.store.read() as read:
            return [(row.wire, row.source, row.reason) for row in read.unread()]


@pytest.fixture
def weather() -> Iterator[Weather]:
    with Publisher() as publisher:
        publisher.publish(a=RAIN, b=GALE)
        town = builders.town()
        enrolled(town, publisher)
        yield Weather(town, publisher)


def enrolled(town: Town, publisher: Publisher, **changes: object) -> None:
    made: Feed = replace(feed("x", format="atom"), **changes)  # type: ignore[arg-type]
    with town.store.write() as tx:
        tx.put(made)
    enrol_poll(town.store, "weather", publisher.url + LIST, 60, "test", plain_http=True, loopback=True)


def test_a_list_and_each_of_its_alerts_are_fetched_once(weather: Weather) -> None:
    assert weather.pass_on() == [LIST, "/a.xml", "/b.xml"]
    assert weather.incidents() == ["rain-1", "rain-2"]
    assert (weather.poll.asked, weather.poll.failures, len(weather.poll.seen)) == (False, 0, 2)
    assert weather.later() == [LIST]
    assert weather.publisher.asked[-1] == (LIST, weather.poll.etag)
    assert weather.results == ["200", "304"]
    assert weather.unread() == []


def test_an_answer_is_a_sign_of_life_and_a_failure_is_none(weather: Weather) -> None:
    weather.pass_on()
    heard_us = weather.town.get(Heard, "feed/weather").heard_us
    weather.later()
    assert weather.town.get(Heard, "feed/weather").heard_us > heard_us
    heard_us = weather.town.get(Heard, "feed/weather").heard_us
    weather.publisher.failing[LIST] = 503
    weather.later()
    assert weather.town.get(Heard, "feed/weather").heard_us == heard_us
    assert weather.poll.reason == "http_503"


def test_a_new_alert_alone_is_fetched_when_the_list_grows(weather: Weather) -> None:
    weather.publisher.publish(a=RAIN)
    weather.pass_on()
    weather.publisher.publish(a=RAIN, b=GALE)
    assert weather.later() == [LIST, "/b.xml"]
    assert weather.incidents() == ["rain-1", "rain-2"]


def test_an_alert_that_is_not_there_yet_is_tried_again_with_the_whole_list(weather: Weather) -> None:
    weather.publisher.publish("b", a=RAIN)
    del weather.publisher.pages["/b.xml"]
    assert weather.pass_on() == [LIST, "/b.xml", "/a.xml"]
    assert (weather.poll.asked, weather.poll.etag, [n for _, n in weather.poll.tries]) == (False, "", [1])
    weather.publisher.pages["/b.xml"] = GALE
    assert weather.later() == [LIST, "/b.xml"]
    assert weather.incidents() == ["rain-1", "rain-2"]
    assert weather.poll.etag


def test_an_errand_that_died_after_its_signals_were_committed_makes_nothing_twice(
    weather: Weather, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dies(Exception):
        pass

    def die(*_: object) -> None:
        raise Dies

    with monkeypatch.context() as patched:
        patched.setattr("services.dispatcher.processes.poller.Settled", die)
        with pytest.raises(Dies):
            weather.pass_on()
    assert weather.incidents() == ["rain-1", "rain-2"]
    assert weather.poll.asked
    with weather.town.store.read() as read:
        before = len(read.log_of(None))
    weather.poller().poll("weather")
    assert not weather.poll.asked
    with weather.town.store.read() as read:
        assert len(read.log_of(None)) == before


def test_an_errand_nobody_waits_for_any_more_asks_nothing(weather: Weather) -> None:
    weather.pass_on()
    asked = len(weather.publisher.asked)
    weather.poller().poll("weather")
    weather.poller().poll("nobody")
    assert len(weather.publisher.asked) == asked
    assert weather.results[-2:] == ["not_wanted", "not_wanted"]


def test_a_feed_that_is_switched_off_is_not_asked_until_it_is_on_again(weather: Weather) -> None:
    with weather.town.store.write() as tx:
        tx.put(feed("x", format="atom", enabled=False))
    assert weather.pass_on() == []
    assert weather.later() == []
    with weather.town.store.write() as tx:
        tx.put(feed("x", format="atom"))
    assert weather.later() == [LIST, "/a.xml", "/b.xml"]


class SwitchedOffMeanwhile(HttpPoll):
    """Whoever looks after the feed switches it off while its first alert is on the way."""

    town: Town

    def get(self, url: str, headers: Mapping[str, str] | None = None, *, home: str | None = None) -> Answer:
        if url.endswith("/a.xml"):
            with self.town.store.write() as tx:
                tx.put(feed("x", format="atom", enabled=False))
        return super().get(url, headers, home=home)


def test_a_feed_that_is_switched_off_while_it_is_asked_says_nothing_more(weather: Weather) -> None:
    weather.town.pass_timers()
    http = SwitchedOffMeanwhile(loopback=True)
    http.town = weather.town
    Poller(weather.town.store, weather.town.engine, http, weather.results.append).poll("weather")
    assert weather.incidents() == []
    with weather.town.store.write() as tx:
        tx.put(feed("x", format="atom"))
    assert (weather.later(), weather.incidents()) == ([LIST, "/a.xml", "/b.xml"], ["rain-1", "rain-2"])


def test_an_alert_that_cannot_be_read_is_kept_as_unread_once(weather: Weather) -> None:
    weather.publisher.publish(a=RAIN, b=b"<alert")
    weather.pass_on()
    weather.later()
    assert [(wire, source) for wire, source, _ in weather.unread()] == [("poll", "feed/weather")]
    assert weather.incidents() == ["rain-1"]


def test_a_page_that_is_no_list_is_kept_once_for_each_outage(weather: Weather) -> None:
    weather.publisher.pages[LIST] = b"<html>maintenance</html>"
    weather.pass_on()
    weather.later(300)
    weather.later(600)
    assert len(weather.unread()) == 1
    assert weather.poll.failures == 3
    weather.publisher.publish(a=RAIN)
    weather.later(600)
    assert (weather.incidents(), weather.poll.failures) == (["rain-1"], 0)


def test_a_document_that_is_no_list_is_read_in_its_feeds_own_format() -> None:
    with Publisher() as publisher:
        publisher.pages[LIST] = RAIN
        weather = Weather(builders.town(), publisher)
        enrolled(weather.town, publisher, format="cap")
        assert weather.pass_on() == [LIST]
        assert weather.incidents() == ["rain-1"]
        assert weather.later() == [LIST]
        assert weather.results == ["200", "304"]


def test_a_list_that_came_safely_does_not_lead_into_the_clear(weather: Weather) -> None:
    with weather.town.store.write() as tx:
        poll = tx.get_locked(Poll, "weather")
        assert poll is not None
        tx.put(replace(poll, plain_http=False))
    assert weather.pass_on() == []
    assert weather.poll.reason == "plain_http_refused"


def test_a_feed_that_must_be_signed_takes_nothing_unsigned(weather: Weather) -> None:
    with weather.town.store.write() as tx:
        tx.put(feed("x", format="atom", signature_required=True))
    weather.pass_on()
    assert weather.incidents() == []
    assert weather.unread() == [("poll", "feed/weather", "signature_required")] * 2


def test_as_many_errands_run_on_a_machine_as_there_are_places(tmp_path: Path) -> None:
    with one_of(tmp_path, 2) as first, one_of(tmp_path, 2) as second:
        assert (first, second) == (True, True)
        with one_of(tmp_path, 2) as third:
            assert not third
    with one_of(tmp_path, 2) as again:
        assert again
