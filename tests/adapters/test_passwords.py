from __future__ import annotations

import pytest

from services.dispatcher.adapters.passwords import MEMORY_KIB, PASSES, Argon2Passwords


@pytest.fixture(scope="module")
def passwords() -> Argon2Passwords:
    return Argon2Passwords()


def test_a_hash_is_argon2id_with_its_own_salt_and_matches_its_secret_alone(passwords: Argon2Passwords) -> None:
    one, other = passwords.hash("correct horse"), passwords.hash("correct horse")
    assert one.startswith(f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1$")
    assert one != other
    assert (passwords.matches(one, "correct horse"), passwords.matches(one, "correct Horse")) == (True, False)


def test_nobody_has_the_secret_of_nobody(passwords: Argon2Passwords) -> None:
    assert not passwords.matches(passwords.nobody, "")


@pytest.mark.parametrize("hashed", ["", "x", "$argon2id$", "$7$1$abc"])
def test_what_is_no_hash_matches_nothing(passwords: Argon2Passwords, hashed: str) -> None:
    assert not passwords.matches(hashed, "correct horse")
