from __future__ import annotations

import pytest

from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.adapters.passwords import Argon2Passwords
from services.dispatcher.domain.refusals import NotFound
from services.dispatcher.engine import people
from services.dispatcher.engine.people import (
    LOGINS_PER_PERSON_MAX,
    NameTaken,
    NotLoggedIn,
    PersonRefused,
    Role,
    WrongPassword,
)
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import Login, Person
from tests import builders
from tests.builders import NOON_US, PASSWORD, Town

HOUR_US = 3_600_000_000


@pytest.fixture
def town() -> Town:
    return builders.town()


def log_in(town: Town, name: str, password: str = PASSWORD) -> people.LoggedIn:
    return people.log_in(town.store, town.passwords, name=name, password=password, lifetime_us=HOUR_US)


def who(town: Town, token: str) -> Person:
    with town.store.read() as read:
        return people.who(read, token)[0]


def test_a_person_is_kept_with_a_hash_and_the_log_says_who_enrolled_them(town: Town) -> None:
    person = town.person("Wang", Role.DUTY_OFFICER, Role.APPROVER)
    assert (person.id, person.name, person.roles) == ("wang", "Wang", ("duty_officer", "approver"))
    assert person.password_hash.startswith("$argon2id$")
    with town.store.read() as read:
        line = read.log_of("wang")[-1]
    assert (line.kind, line.person) == ("person.enrolled", "test")
    assert PASSWORD not in line.body and "argon2" not in line.body


def test_a_token_speaks_for_its_person_until_it_expires(town: Town) -> None:
    person = town.person("王丽", Role.DUTY_OFFICER)
    done = log_in(town, "王丽")
    assert (done.person, done.expires_us) == (person, NOON_US + HOUR_US)
    assert who(town, done.token) == person
    town.clock.advance(3_600)
    with pytest.raises(NotLoggedIn):
        who(town, done.token)


def test_a_name_is_the_same_in_every_spelling_and_taken_once(town: Town) -> None:
    town.person("Wang", Role.DUTY_OFFICER)
    assert log_in(town, " ＷＡＮＧ ").person.name == "Wang"
    with pytest.raises(NameTaken):
        town.person("wang", Role.APPROVER)


@pytest.mark.parametrize("token", ["", "x", "x" * 129, "x" * 1_000_000])
def test_no_other_token_speaks_for_anybody(town: Town, token: str) -> None:
    with pytest.raises(NotLoggedIn):
        who(town, token)


def test_a_wrong_password_and_an_unknown_name_are_one_refusal(town: Town) -> None:
    town.person("wang", Role.DUTY_OFFICER)
    for name, password in (("wang", PASSWORD + " "), ("nobody", PASSWORD)):
        with pytest.raises(WrongPassword) as refused:
            log_in(town, name, password)
        assert refused.value.sentence == "The name or the password is not right."


@pytest.mark.parametrize(
    ("name", "password", "roles", "office"),
    [
        ("", PASSWORD, ["approver"], ""),
        ("   ", PASSWORD, ["approver"], ""),
        ("w" * 65, PASSWORD, ["approver"], ""),
        ("wa\nng", PASSWORD, ["approver"], ""),
        ("wang", "short", ["approver"], ""),
        ("wang", "x" * 257, ["approver"], ""),
        ("wang", "aaaaaaaaaaaaaaaa", ["approver"], ""),
        ("wang", "Wang-2024-secret", ["approver"], ""),
        ("wang", PASSWORD, [], ""),
        ("wang", PASSWORD, ["king"], ""),
        ("wang", PASSWORD, ["office"], ""),
    ],
)
def test_a_person_that_is_not_well_described_is_refused(
    town: Town, name: str, password: str, roles: list[str], office: str
) -> None:
    with pytest.raises(PersonRefused):
        people.create_person(
            town.store, town.passwords, name=name, password=password, roles=roles, office=office, by="test"
        )
    with town.store.read() as read:
        assert read.find(Person, Page()) == []


def test_an_office_that_the_city_does_not_have_is_refused(town: Town) -> None:
    with pytest.raises(NotFound):
        town.person("wang", Role.OFFICE, office="nowhere")


def test_who_is_switched_off_is_out_at_once_and_may_come_back(town: Town) -> None:
    town.person("wang", Role.DUTY_OFFICER)
    token = log_in(town, "wang").token
    people.set_enabled(town.store, name="Wang", enabled=False, by="test")
    with pytest.raises(NotLoggedIn):
        who(town, token)
    with pytest.raises(WrongPassword):
        log_in(town, "wang")
    people.set_enabled(town.store, name="wang", enabled=True, by="test")
    with pytest.raises(NotLoggedIn):
        who(town, token)
    assert log_in(town, "wang").person.enabled


def test_a_random_password_may_hold_a_short_name_by_chance(town: Town) -> None:
    password = "x7Qm-Li4kT_9vbRz2WcPd81yHn"
    people.create_person(
        town.store, town.passwords, name="li", password=password, roles=["approver"], office="", by="test"
    )
    assert log_in(town, "li", password).person.id == "li"


def test_a_new_password_ends_every_login(town: Town) -> None:
    town.person("wang", Role.DUTY_OFFICER)
    token = log_in(town, "wang").token
    people.change_password(town.store, town.passwords, name="wang", password="another long password", by="test")
    with pytest.raises(NotLoggedIn):
        who(town, token)
    with pytest.raises(WrongPassword):
        log_in(town, "wang")
    assert log_in(town, "wang", "another long password").person.id == "wang"


def test_an_unknown_person_can_be_neither_switched_nor_given_a_password(town: Town) -> None:
    with pytest.raises(NotFound):
        people.set_enabled(town.store, name="wang", enabled=False, by="test")
    with pytest.raises(NotFound):
        people.change_password(town.store, town.passwords, name="wang", password=PASSWORD, by="test")


def test_logging_out_twice_changes_nothing_the_second_time(town: Town) -> None:
    town.person("wang", Role.DUTY_OFFICER)
    token = log_in(town, "wang").token
    people.log_out(town.store, token)
    people.log_out(town.store, token)
    with pytest.raises(NotLoggedIn):
        who(town, token)
    with town.store.read() as read:
        assert [line.kind for line in read.log_of("wang")] == [
            "person.enrolled",
            "person.logged_in",
            "person.logged_out",
        ]


def test_the_oldest_login_gives_way_when_one_person_has_too_many(town: Town) -> None:
    town.person("wang", Role.DUTY_OFFICER)
    tokens = []
    for _ in range(LOGINS_PER_PERSON_MAX + 1):
        tokens.append(log_in(town, "wang").token)
        town.clock.advance(1)
    with pytest.raises(NotLoggedIn):
        who(town, tokens[0])
    assert [who(town, token).id for token in tokens[1:]] == ["wang"] * LOGINS_PER_PERSON_MAX


def test_expired_logins_are_swept_out_at_the_next_one(town: Town) -> None:
    town.person("wang", Role.DUTY_OFFICER)
    log_in(town, "wang")
    town.clock.advance(3_600)
    log_in(town, "wang")
    with town.store.read() as read:
        assert len(read.find(Login, Page())) == 1


def test_a_password_that_changes_while_it_is_checked_lets_nobody_in() -> None:
    town = builders.town()
    town.person("wang", Role.DUTY_OFFICER)

    class Meanwhile(Argon2Passwords):
        """Somebody gives the person a new password just after the old one was found right."""

        def matches(self, hashed: str, secret: str) -> bool:
            right = super().matches(hashed, secret)
            people.change_password(town.store, town.passwords, name="wang", password="another long password", by="test")
            return right

    passwords = Meanwhile(passes=1, memory_kib=8)
    with pytest.raises(WrongPassword):
        people.log_in(town.store, passwords, name="wang", password=PASSWORD, lifetime_us=HOUR_US)


def test_two_fresh_secrets_differ() -> None:
    assert people.fresh_secret() != people.fresh_secret()


def test_a_city_without_rows_knows_nobody() -> None:
    with MemoryStore(builders.StoppedClock()).read() as read, pytest.raises(NotLoggedIn):
        people.who(read, "token")
