"""Secrets sealed for the database: who has one without the key file has nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.dispatcher.adapters.feed_secrets import FeedKeyFileBroken, FeedSecrets


def test_a_sealed_secret_opens_for_its_own_feed_alone(tmp_path: Path) -> None:
    secrets = FeedSecrets(tmp_path / "feeds.key")
    sealed = secrets.seal("weather", "a secret")
    assert "a secret" not in sealed
    assert FeedSecrets(tmp_path / "feeds.key").opened("weather", sealed) == "a secret"
    with pytest.raises(FeedKeyFileBroken):
        secrets.opened("brigade", sealed)


def test_the_key_file_is_its_owners_and_is_not_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "feeds.key"
    first = FeedSecrets(path).seal("weather", "a secret")
    assert os.stat(path).st_mode & 0o777 == 0o600
    second = FeedSecrets(path).seal("weather", "a secret")
    assert first != second
    assert FeedSecrets(path).opened("weather", first) == FeedSecrets(path).opened("weather", second)


@pytest.mark.parametrize("sealed", ["", "x", "AAAA", "\u8b66", "A" * 400])
def test_what_was_never_sealed_does_not_open(tmp_path: Path, sealed: str) -> None:
    secrets = FeedSecrets(tmp_path / "feeds.key")
    secrets.seal("weather", "a secret")
    with pytest.raises(FeedKeyFileBroken):
        secrets.opened("weather", sealed)


@pytest.mark.parametrize("content", [None, "", "00", "no hexadecimal"])
def test_without_a_whole_key_file_nothing_opens(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "feeds.key"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FeedKeyFileBroken):
        FeedSecrets(path).opened("weather", "AAAA" * 20)
