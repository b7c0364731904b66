"""People and their logins: who may do what, and how a person shows who they are. Only hashes are kept.

A person's id is the name they log in with, in one spelling: the log then says in words who did what. Nobody is ever
struck off, only switched off, so that a name in an old line always means the same person.
Passwords are checked outside every transaction, because checking one is slow on purpose.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from ..domain.effects import Record
from ..domain.places import Office
from ..domain.refusals import NotFound, Refused
from .ports import Page, Read, Store, Tx
from .rows import Login, Person
from .writing import write

NAME_CHARS_MAX = 64
PASSWORD_CHARS_MIN = 12
PASSWORD_CHARS_MAX = 256
BESIDE_NAME_CHARS_MIN = 24
"""A random password holds a name of two letters once in fifty; so much beside it, and nobody guesses it by that."""
TOKEN_BYTES = 32
TOKEN_CHARS_MAX = 128
LOGINS_PER_PERSON_MAX = 16
PEOPLE_MAX = 10_000


class Role(StrEnum):
    """What a person may do: release, approve a second time, answer for an office, enrol."""

    DUTY_OFFICER = "duty_officer"
    APPROVER = "approver"
    OFFICE = "office"
    ADMINISTRATOR = "administrator"


class WrongPassword(Refused):
    """The name or the password is not right."""

    code = "wrong_password"


class NotLoggedIn(Refused):
    """This needs a login that has not expired."""

    code = "not_logged_in"


class PersonRefused(Refused):
    """This person can't be enrolled like that."""

    code = "person_refused"


class NameTaken(Refused):
    """Somebody else has this name already."""

    code = "name_taken"


class Passwords(Protocol):
    """Slow one-way hashes of secrets. `nobody` is the hash of a secret that nobody has."""

    @property
    def nobody(self) -> str: ...
    def hash(self, secret: str) -> str: ...
    def matches(self, hashed: str, secret: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A fresh login. `token` is known to its bearer alone; `expires_us` is µs UTC."""

    token: str
    person: Person
    expires_us: int


def fresh_secret() -> str:
    """A generated secret of 256 bits for one person, feed or device, in URL-safe letters."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def token_hash(token: str) -> str:
    """What is stored of a token: it is random and long, so that a plain SHA-256 can't be guessed back."""
    return hashlib.sha256(token.encode()).hexdigest()


def person_id(name: str) -> str:
    """The one spelling of a name: full width and half width, capital and small letters are the same person's."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def create_person(
    store: Store,
    passwords: Passwords,
    *,
    name: str,
    password: str,
    roles: Iterable[str],
    office: str = "",
    by: str,
) -> Person:
    """Enrol a person. `by` says who did it, for the log. Raises PersonRefused or NameTaken."""
    wanted = _checked_roles(roles)
    _check_form(name, password, wanted, office)
    hashed = passwords.hash(password)
    with write(store) as tx:
        tx.lock("people")
        if tx.get(Person, person_id(name)) is not None:
            raise NameTaken(name)
        if office and tx.get(Office, office) is None:
            raise NotFound(f"office {office}")
        if len(tx.find(Person, Page(limit=PEOPLE_MAX))) >= PEOPLE_MAX:
            raise PersonRefused(f"there are {PEOPLE_MAX} people already")
        person = Person(person_id(name), name, hashed, wanted, office)
        tx.put(person)
        facts: dict[str, object] = {"name": name, "roles": list(wanted), "office": office}
        tx.record(Record("person.enrolled", person.id, "enrolled with a password of their own", by, facts))
    return person


def change_password(store: Store, passwords: Passwords, *, name: str, password: str, by: str) -> Person:
    """Give a person a new password and end every login of theirs. Raises PersonRefused or NotFound."""
    _check_password(name, password)
    hashed = passwords.hash(password)
    with write(store) as tx:
        person = replace(_named(tx, name), password_hash=hashed)
        _end_logins(tx, person)
        tx.put(person)
        tx.record(Record("person.password_changed", person.id, "a new password; every login has ended", by))
    return person


def set_enabled(store: Store, *, name: str, enabled: bool, by: str) -> Person:
    """Let a person in or keep them out; keeping out ends every login of theirs at once. Raises NotFound."""
    with write(store) as tx:
        person = replace(_named(tx, name), enabled=enabled)
        if not enabled:
            _end_logins(tx, person)
        tx.put(person)
        kind, why = ("person.enabled", "may log in") if enabled else ("person.disabled", "may not log in; logins ended")
        tx.record(Record(kind, person.id, why, by))
    return person


def log_in(store: Store, passwords: Passwords, *, name: str, password: str, lifetime_us: int) -> LoggedIn:
    """A login for the right name and password. Raises WrongPassword, which never says which of the two was wrong."""
    with store.read() as read:
        person = read.get(Person, person_id(name))
    # An unknown name costs the same time as a known one, so that names can't be told apart by waiting.
    right = passwords.matches(person.password_hash if person else passwords.nobody, password)
    if person is None or not right:
        raise WrongPassword
    token = fresh_secret()
    with write(store) as tx:
        fresh = tx.get_locked(Person, person.id)
        if fresh is None or not fresh.enabled or fresh.password_hash != person.password_hash:
            raise WrongPassword
        now_us = tx.now_us()
        _make_room(tx, fresh, now_us)
        login = Login(token_hash(token), fresh.id, now_us + lifetime_us)
        tx.put(login)
        tx.record(Record("person.logged_in", fresh.id, "with name and password", fresh.id))
    return LoggedIn(token, fresh, login.expires_us)


def log_out(store: Store, token: str) -> None:
    """End one login; a token that is no longer known changes nothing."""
    with write(store) as tx:
        login = tx.get(Login, token_hash(token))
        if login is not None:
            tx.delete(Login, login.id)
            tx.record(Record("person.logged_out", login.person, "by themselves", login.person))


def who(read: Read, token: str) -> tuple[Person, Login]:
    """The person a token speaks for, with the login. Raises NotLoggedIn."""
    if not 0 < len(token) <= TOKEN_CHARS_MAX:
        raise NotLoggedIn
    login = read.get(Login, token_hash(token))
    if login is None or read.now_us() >= login.expires_us:
        raise NotLoggedIn
    person = read.get(Person, login.person)
    if person is None or not person.enabled:
        raise NotLoggedIn
    return person, login


def _named(tx: Tx, name: str) -> Person:
    person = tx.get_locked(Person, person_id(name))
    if person is None:
        raise NotFound(f"person {name}")
    return person


def _make_room(tx: Tx, person: Person, now_us: int) -> None:
    """Sweep out expired logins, and the oldest when one person has too many."""
    logins = sorted(tx.find(Login, Page(), person=person.id), key=lambda login: login.expires_us)
    live = [login for login in logins if login.expires_us > now_us]
    kept = live[-(LOGINS_PER_PERSON_MAX - 1) :]
    for login in logins:
        if login not in kept:
            tx.delete(Login, login.id)


def _end_logins(tx: Tx, person: Person) -> None:
    for login in tx.find(Login, Page(), person=person.id):
        tx.delete(Login, login.id)


def _checked_roles(roles: Iterable[str]) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(roles))
    unknown = [role for role in wanted if role not in set(Role)]
    if unknown or not wanted:
        raise PersonRefused(f"roles are one or more of {', '.join(Role)}")
    return wanted


def _check_form(name: str, password: str, roles: tuple[str, ...], office: str) -> None:
    if not 0 < len(person_id(name)) <= NAME_CHARS_MAX or len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise PersonRefused(f"a name has 1 to {NAME_CHARS_MAX} visible characters")
    _check_password(name, password)
    if Role.OFFICE in roles and not office:
        raise PersonRefused("somebody with the role office needs an office")


def _check_password(name: str, password: str) -> None:
    if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
        raise PersonRefused(f"a password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters")
    beside = password.casefold().replace(name.casefold(), "")
    named = beside != password.casefold() and len(beside) < BESIDE_NAME_CHARS_MIN
    if named or len(set(password)) < 5:
        raise PersonRefused("the password is too easy to guess")
