"""Feeds with their scope and rhythm, and all departments of a city pack at once, each with a key of its own."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner

from services.dispatcher.adapters.city_pack import CityPack, read_city_pack
from services.dispatcher.adapters.feed_secrets import FeedSecrets
from services.dispatcher.adapters.passwords import Argon2Passwords
from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.signals import REQUESTS_PER_MINUTE, Datum, Evidence, Feed, Use
from services.dispatcher.engine.cities import import_city
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import CitySettings
from services.dispatcher.feeds import FEEDS
from services.dispatcher.processes import cli_city
from services.dispatcher.processes.cli_enrol import enrol_app
from services.dispatcher.processes.settings import Settings
from tests.adapters.test_city_pack import CITIES, TODAY
from tests.signing import certified

LONGGANG = CITIES / "longgang"
CITY = "330383000000"
PASSWORDS = Argon2Passwords()


@pytest.fixture
def city(store: SqlStore) -> CityPack:
    pack = read_city_pack(LONGGANG, TODAY, cli_city.feed_words())
    assert isinstance(pack, CityPack)
    settings = CitySettings("city", pack.settings.code, pack.settings.name, pack.settings.issuer)
    with store.write() as tx:
        import_city(tx, settings, list(pack.rows()), "test")
    return pack


def run(*words: str) -> str:
    result = CliRunner().invoke(enrol_app, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def refused(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(enrol_app, list(words))
    return result.exit_code, result.output.split(":")[0]


def feeds(store: SqlStore) -> dict[str, Feed]:
    with store.read() as read:
        return {feed.id: feed for feed in read.find(Feed, Page(limit=100))}


def words(*more: str) -> tuple[str, ...]:
    name = ("--name", "水务", "--department", "水务部门", "--area", CITY, "--use", "actual")
    return ("feed", "water", *name, *more)


def test_a_feed_is_enrolled_with_all_that_it_may_say(store: SqlStore, city: CityPack) -> None:
    options: tuple[str, ...] = (
        "--format",
        "alertmanager",
        "--hazard",
        "flood",
        "--hazard",
        "storm_surge",
        "--datum",
        "gcj02",
    )
    options += ("--also", "330383198001", "--rhythm", "3600", "--evidence", "detector", "--alias", "GaugeOver=flood")
    key = run(*words(*options)).strip().rpartition(" ")[2]
    feed = feeds(store)["water"]
    assert PASSWORDS.matches(feed.key_hash, key)
    assert feed == Feed(
        id="water",
        name="水务",
        department="水务部门",
        format="alertmanager",
        use=Use.ACTUAL,
        key_hash=feed.key_hash,
        area=CITY,
        hazards=("flood", "storm_surge"),
        areas=("330383198001",),
        datum=Datum.GCJ02,
        rhythm_s=3_600,
        evidence=Evidence.DETECTOR,
        aliases=(("GaugeOver", "flood"),),
    )


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--format", "fax"), (1, "feed_refused")),
        (("--hazard", "dragons"), (1, "feed_refused")),
        (("--alias", "词=dragons"), (1, "feed_refused")),
        (("--also", "999999999999"), (1, "feed_refused")),
    ],
)
def test_a_feed_for_what_there_is_not_is_refused(
    store: SqlStore, city: CityPack, options: tuple[str, ...], found: tuple[int, str]
) -> None:
    assert refused(*words(*options)) == found
    assert feeds(store) == {}


@pytest.mark.parametrize(
    "options", [("--alias", "flood"), ("--rhythm", "-1"), ("--datum", "bd09"), ("--evidence", "rumour")]
)
def test_an_option_of_the_wrong_form_is_refused(city: CityPack, options: tuple[str, ...]) -> None:
    assert refused(*words(*options))[0] == 2


def test_every_department_gets_a_key_of_its_own_in_a_private_file(
    store: SqlStore, city: CityPack, tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    assert run("departments", str(LONGGANG), "--use", "exercise", "--file", str(file)) == (
        f"Enrolled {len(city.departments)} departments, exercise.\n"
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    keys = json.loads(file.read_text("utf-8"))
    enrolled = feeds(store)
    assert keys.keys() == enrolled.keys() == {department.id for department in city.departments}
    assert len({row["key"] for row in keys.values()}) == len(keys)
    assert {row["format"] for row in keys.values()} <= FEEDS.keys()
    for department in city.departments[:2]:
        feed = enrolled[department.id]
        assert PASSWORDS.matches(feed.key_hash, keys[department.id]["key"])
        assert (feed.use, feed.area, feed.hazards, feed.rhythm_s, feed.evidence) == (
            Use.EXERCISE,
            CITY,
            department.hazards,
            department.rhythm_s,
            department.evidence,
        )
    assert enrolled["lg-hotline"].evidence is Evidence.PERSON


def test_departments_that_are_enrolled_keep_their_keys_unless_renewed(store: SqlStore, city: CityPack) -> None:
    printed = run("departments", str(LONGGANG), "--use", "actual")
    assert printed.count("shown this once") == len(city.departments)
    first = {id: feed.key_hash for id, feed in feeds(store).items()}
    assert run("departments", str(LONGGANG), "--use", "actual").count("its key stays") == len(first)
    assert {id: feed.key_hash for id, feed in feeds(store).items()} == first
    run("departments", str(LONGGANG), "--use", "actual", "--renew")
    assert not set(first.values()) & {feed.key_hash for feed in feeds(store).values()}


def test_departments_of_a_city_that_is_not_imported_are_refused_and_leave_no_keys(
    store: SqlStore, tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    assert refused("departments", str(LONGGANG), "--use", "actual", "--file", str(file)) == (1, "feed_refused")
    assert (feeds(store), file.exists()) == ({}, False)


def test_a_file_that_is_there_is_not_written_over(city: CityPack, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text("mine", "utf-8")
    assert refused("departments", str(LONGGANG), "--use", "actual", "--file", str(file))[0] == 2
    assert file.read_text("utf-8") == "mine"


def test_a_broken_pack_enrols_nobody(store: SqlStore, city: CityPack, tmp_path: Path) -> None:
    assert refused("departments", str(tmp_path), "--use", "actual")[0] == 1
    assert feeds(store) == {}


def test_a_feed_is_enrolled_with_the_certificates_that_count(store: SqlStore, city: CityPack, tmp_path: Path) -> None:
    pem = tmp_path / "met.pem"
    pem.write_bytes(certified("met").public_bytes(Encoding.PEM))
    run(*words("--certificate", str(pem), "--signature-required", "--weak-signatures", "--signals-per-minute", "60"))
    feed = feeds(store)["water"]
    assert feed.certificates == (pem.read_text(),)
    assert (feed.signature_required, feed.weak_signatures) == (True, True)
    assert (feed.requests_per_minute, feed.signals_per_minute) == (REQUESTS_PER_MINUTE, 60)
    assert json.loads(run("list", "feed", "--json"))["signed"] == "alerts required"


def test_what_is_no_certificate_or_lacks_one_is_refused(store: SqlStore, city: CityPack, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_bytes(b"x")
    assert refused(*words("--certificate", str(bad))) == (1, "feed_refused")
    assert refused(*words("--signature-required")) == (1, "feed_refused")
    assert refused(*words("--weak-signatures")) == (1, "feed_refused")
    assert refused(*words("--certificate", str(tmp_path / "none.pem")))[0] == 2
    assert feeds(store) == {}


def key_of(output: str) -> str:
    return output.splitlines()[0].rpartition(" ")[2]


@pytest.mark.parametrize(
    ("options", "kept_s"),
    [
        ((), 86_400),
        (("--keep-old-for", "90s"), 90),
        (("--keep-old-for", "30m"), 1_800),
        (("--keep-old-for", "7d"), 604_800),
        (("--keep-old-for", "0"), 0),
        (("--keep-old-until-used",), None),
    ],
)
def test_a_new_key_leaves_the_old_one_its_time(
    store: SqlStore, city: CityPack, options: tuple[str, ...], kept_s: int | None
) -> None:
    old = key_of(run(*words()))
    with store.read() as read:
        before_us = read.now_us()
    new = key_of(run("feed-key", "water", *options))
    with store.read() as read:
        after_us = read.now_us()
    feed = feeds(store)["water"]
    assert PASSWORDS.matches(feed.key_hash, new) and PASSWORDS.matches(feed.old_key_hash, old)
    until_us = feed.old_key_until_us
    if kept_s is None:
        assert until_us is None
    else:
        assert until_us is not None and before_us <= until_us - kept_s * 1_000_000 <= after_us


@pytest.mark.parametrize("text", ["", "x", "-1s", "1w", "91d", "1.5h", "99999999s"])
def test_a_time_that_is_none_or_too_long_is_refused(store: SqlStore, city: CityPack, text: str) -> None:
    run(*words())
    assert refused("feed-key", "water", "--keep-old-for", text)[0] == 2


def test_a_secret_to_sign_with_is_sealed_in_the_database_and_may_be_taken_away(
    store: SqlStore, city: CityPack, tmp_path: Path
) -> None:
    run(*words())
    secret = key_of(run("feed-signing", "water", "--required"))
    feed = feeds(store)["water"]
    assert feed.hmac_required and secret not in feed.hmac_secret
    assert FeedSecrets(Settings().feed_key).opened("water", feed.hmac_secret) == secret
    assert json.loads(run("list", "feed", "--json"))["signed"] == "requests required"
    run("feed-signing", "water", "--off")
    assert (feeds(store)["water"].hmac_secret, feeds(store)["water"].hmac_required) == ("", False)
    assert refused("feed-signing", "water", "--off", "--required")[0] == 2
    assert refused("feed-signing", "unknown") == (1, "not_found")
    assert refused("feed-key", "unknown") == (1, "not_found")
