from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from devices.protocols.documents import SpeakerState
from devices.speaker.settings import read_settings
from services.dispatcher.adapters.keystore import KeyFolder
from services.dispatcher.adapters.passwords import Argon2Passwords
from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.signals import Feed, Panel, Use
from services.dispatcher.engine import people
from services.dispatcher.engine.air import receipts
from services.dispatcher.engine.cities import CityInMemory, import_city
from services.dispatcher.engine.people import WrongPassword
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import BrokerAccount, Live
from services.dispatcher.processes.cli_enrol import enrol_app
from services.dispatcher.processes.enrolment import broker_logins
from services.dispatcher.processes.private import write_private
from services.dispatcher.processes.settings import Settings
from tests import builders


@pytest.fixture
def store(store: SqlStore) -> SqlStore:
    """With a city and its keys."""
    KeyFolder(Settings().keys).init("city", builders.CITY, time.time_ns() // 1_000)
    with store.write() as tx:
        import_city(tx, builders.city_settings(), builders.city_rows(), "test")
    return store


def run(*words: str) -> str:
    result = CliRunner().invoke(enrol_app, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def refused(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(enrol_app, list(words))
    return result.exit_code, result.output.split(":")[0]


def secret_of(output: str) -> str:
    return output.strip().rpartition(" ")[2]


def log_in(store: SqlStore, name: str, password: str) -> people.LoggedIn:
    return people.log_in(store, Argon2Passwords(), name=name, password=password, lifetime_us=1_000_000)


def test_a_person_logs_in_with_the_password_that_was_printed_once(store: SqlStore) -> None:
    password = secret_of(run("person", "wang", "--role", "duty_officer", "--role", "approver"))
    assert log_in(store, "wang", password).person.roles == ("duty_officer", "approver")
    assert password not in run("list", "person", "--json")


def test_a_new_password_replaces_the_old_one(store: SqlStore) -> None:
    old = secret_of(run("person", "wang", "--role", "approver"))
    new = secret_of(run("password", "wang"))
    with pytest.raises(WrongPassword):
        log_in(store, "wang", old)
    assert log_in(store, "wang", new).person.id == "wang"


def test_people_that_may_not_be_enrolled_are_refused_with_a_code(store: SqlStore) -> None:
    run("person", "wang", "--role", "approver")
    assert refused("person", "WANG", "--role", "approver") == (1, "name_taken")
    assert refused("person", "li", "--role", "office") == (1, "person_refused")
    assert refused("person", "li", "--role", "office", "--office", "nowhere") == (1, "not_found")
    assert refused("password", "nobody") == (1, "not_found")
    assert refused("person", "li", "--role", "king")[0] == 2
    assert refused("person", "li")[0] == 2


def feed_words(id: str, area: str = builders.CITY) -> tuple[str, ...]:
    return ("feed", id, "--name", "气象台", "--department", "气象局", "--area", area, "--use", "exercise")


def test_each_feed_gets_a_key_of_its_own(store: SqlStore) -> None:
    keys = [secret_of(run(*feed_words(id))) for id in ("weather", "flood")]
    assert keys[0] != keys[1]
    with store.read() as read:
        feeds = read.find(Feed, Page())
    assert [(f.id, f.use) for f in feeds] == [("flood", Use.EXERCISE), ("weather", Use.EXERCISE)]
    passwords = Argon2Passwords()
    assert [passwords.matches(f.key_hash, key) for f, key in zip(feeds, reversed(keys), strict=True)] == [True, True]


def test_a_feed_for_an_unknown_area_or_without_a_use_is_refused(store: SqlStore) -> None:
    assert refused(*feed_words("weather", "999999999999")) == (1, "not_found")
    assert refused(*feed_words("weather")[:-2])[0] == 2


def test_a_panel_is_enrolled_by_its_address_on_the_wire(store: SqlStore) -> None:
    words = (
        "panel",
        "mall-panel",
        "--name",
        "商场主机",
        "--address",
        "0102030405FF",
        "--venue",
        "mall",
        "--use",
        "actual",
    )
    assert run(*words) == "Enrolled mall-panel at mall, actual.\n"
    with store.read() as read:
        assert read.find(Panel, Page()) == [builders.panel(rhythm_s=7_500)]
    assert refused(*words[:5], "01020304", *words[6:])[0] == 2
    assert refused(*words[:7], "nowhere", *words[8:]) == (1, "not_found")


def test_the_settings_of_a_speaker_are_what_its_agent_reads(store: SqlStore, tmp_path: Path) -> None:
    file = tmp_path / "speaker.json"
    file.write_text(run("speaker", "mall-1", "--host", "broker.example", "--port", "8883"), "utf-8")
    settings = read_settings(file)
    assert (settings.id, settings.broker_host, settings.broker_port) == ("mall-1", "broker.example", 8883)
    assert settings.root_key == KeyFolder(Settings().keys).root().x
    with store.read() as read:
        account = read.get(BrokerAccount, "mall-1")
    assert account is not None and account.enabled and settings.secret not in account.password_hash


def test_many_speakers_get_a_file_and_a_secret_each_that_only_the_owner_reads(store: SqlStore, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    run("speaker", "mall-1", "square-1", "--folder", str(folder))
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == ["mall-1.json", "square-1.json"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert len({json.loads(file.read_text("utf-8"))["secret"] for file in files}) == 2


def test_a_new_secret_heals_a_speaker_whose_connection_number_jumped(store: SqlStore) -> None:
    with store.write() as tx:
        tx.heard([builders.live("mall-1", connection=2**53 - 1, cloned=4, jumped=1, oddity="cloned", journal="old")])
    run("speaker", "mall-1")
    state = SpeakerState(True, 1, {}, 1, 1, "fresh", 0, 80, "mains", (), "")
    receipts.hear_speakers(store, [("mall-1", state)])
    with store.read() as read:
        live = read.get(Live, "mall-1")
    assert live is not None
    assert (live.online, live.connection, live.cloned, live.jumped, live.oddity) == (True, 1, 0, 0, "")


def test_speakers_that_the_city_does_not_have_are_refused(store: SqlStore) -> None:
    assert refused("speaker", "nowhere-1") == (1, "not_found")
    assert refused("speaker", "mall-1", "square-1")[0] == 2


def test_a_gateway_and_the_intakes_that_all_gateways_share_get_a_secret_each(store: SqlStore) -> None:
    lines = run("gateway", "3").splitlines() + run("intake").splitlines()
    secrets = {line.split(",")[0].removeprefix("The secret "): secret_of(line) for line in lines}
    assert list(secrets) == ["gw-3", "gw-receipts", "gw-sensors"]
    assert len(set(secrets.values())) == 3
    with store.read() as read:
        city = CityInMemory().get(read)
    logins = broker_logins(store, city)
    assert sorted((login.name, bool(login.write)) for login in logins) == [
        ("gw-3", True),
        ("gw-receipts", False),
        ("gw-sensors", False),
    ]
    assert not any(secret in run("list", "gateway", "--json") for secret in secrets.values())


def test_a_gateways_secrets_are_added_to_the_file_its_settings_read(store: SqlStore) -> None:
    file = Settings().secrets
    write_private(file, {"redis_url": "redis://elsewhere", "gw-0": "old"})
    said = "".join(run(*words, "--file", str(file)) for words in (["gateway", "0"], ["gateway", "1"], ["intake"]))
    assert Settings().secret("redis_url") == "redis://elsewhere"
    secrets = [Settings().secret(name) for name in ("gw-0", "gw-1", "gw-receipts", "gw-sensors")]
    assert len({*secrets, "old"}) == 5
    assert not any(secret in said for secret in secrets)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["[]", "{", "\xff"])
def test_a_file_that_holds_no_secrets_is_left_alone(store: SqlStore, tmp_path: Path, content: str) -> None:
    file = tmp_path / "notes"
    file.write_text(content, "latin-1")
    assert refused("gateway", "0", "--file", str(file))[0] == 2
    assert file.read_text("latin-1") == content
    assert run("list", "gateway") == ""


def test_a_gateway_that_no_client_id_is_for_is_refused(store: SqlStore) -> None:
    assert [refused("gateway", number)[0] for number in ("-1", "100", "gw-0")] == [2, 2, 2]


def test_an_account_of_a_gateway_is_switched_off_and_on(store: SqlStore) -> None:
    run("gateway", "0")
    run("speaker", "mall-1")
    for word, enabled in (("off", False), ("on", True)):
        run(word, "gateway", "gw-0")
        listed = [json.loads(line) for line in run("list", "gateway", "--json").splitlines()]
        assert listed == [{"id": "gw-0", "enabled": enabled}]
    assert run("list", "speaker") == "mall-1  enabled=yes\n"
    assert refused("off", "gateway", "gw-7") == (1, "not_found")


def test_no_speaker_gets_the_account_of_a_gateway(store: SqlStore) -> None:
    with store.write() as tx:
        tx.put(builders.speaker("gw-0", builders.venue("mall", builders.OTHER_STREET)))
    assert refused("speaker", "gw-0") == (1, "speaker_refused")
    assert run("list", "gateway") == ""


@pytest.mark.parametrize("kind", ["person", "feed", "panel", "speaker"])
def test_everything_enrolled_can_be_switched_off_and_on(store: SqlStore, kind: str) -> None:
    run("person", "mall-1", "--role", "approver")
    run(*feed_words("mall-1"))
    run("panel", "mall-1", "--name", "主机", "--address", "0102030405ff", "--venue", "mall", "--use", "actual")
    run("speaker", "mall-1")
    for word, enabled in (("off", False), ("on", True)):
        run(word, kind, "mall-1")
        listed = [json.loads(line) for line in run("list", kind, "--json").splitlines()]
        assert [(row["id"], row["enabled"]) for row in listed] == [("mall-1", enabled)]
    assert refused("off", kind, "unknown") == (1, "not_found")


def test_without_tables_the_command_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_VAR", str(tmp_path))
    monkeypatch.delenv("TOCSIN_DATABASE_URL", raising=False)
    assert refused("list", "person") == (1, "store_unavailable")


def panel_words(id: str, **changes: str) -> list[str]:
    options = {"name": "主机", "address": "0102030405ff", "venue": "mall", "use": "exercise"} | changes
    return ["panel", id, *(word for name, value in options.items() for word in (f"--{name}", value))]


def test_an_address_belongs_to_one_panel_alone(store: SqlStore) -> None:
    run(*panel_words("mall-1"))
    assert refused(*panel_words("mall-2")) == (1, "panel_refused")
    run(*panel_words("mall-1", name="新主机"))
    run(*panel_words("mall-2", address="0102030405fe"))


def test_the_use_of_what_is_enrolled_stays_for_good(store: SqlStore) -> None:
    run(*panel_words("mall-1"))
    run(*feed_words("weather"))
    assert refused(*panel_words("mall-1", use="actual")) == (1, "use_differs")
    assert refused(*feed_words("weather")[:-1], "actual") == (1, "use_differs")
    with store.read() as read:
        assert [feed.use for feed in read.find(Feed, Page())] == [Use.EXERCISE]


@pytest.mark.parametrize("id", ["bad!", "Weather", "a/b", "x" * 33, ""])
def test_an_id_that_no_address_could_hold_is_refused(store: SqlStore, id: str) -> None:
    assert refused(*feed_words(id)) == (1, "feed_refused")
    assert refused(*panel_words(id)) == (1, "panel_refused")


def test_a_list_for_people_names_what_it_says(store: SqlStore) -> None:
    run(*panel_words("mall-1", name="east wing"))
    assert run("list", "panel") == (
        'mall-1  name="east wing"  address=0102030405ff  use=exercise  venue=mall  enabled=yes\n'
    )


def test_a_new_key_says_how_long_the_old_one_opens(store: SqlStore) -> None:
    run(*feed_words("weather"))
    assert run("feed-key", "weather", "--keep-old-for", "90s").splitlines()[1] == ("The old key opens for another 90s.")
    assert run("feed-key", "weather", "--keep-old-for", "0").splitlines()[1] == "The old key has ended."


def test_a_folder_without_a_database_is_refused_and_stays_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOCSIN_DATABASE_URL", raising=False)
    monkeypatch.setenv("TOCSIN_VAR", str(tmp_path))
    result = CliRunner().invoke(enrol_app, ["list", "feed"])
    assert (result.exit_code, result.output) == (
        1,
        f"store_unavailable: There is no database {tmp_path / 'tocsin.db'}: "
        "TOCSIN_VAR names the folder that `tocsin up` keeps it in.\n",
    )
    assert list(tmp_path.iterdir()) == []
