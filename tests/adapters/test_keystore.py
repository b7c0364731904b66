from __future__ import annotations

import stat
from pathlib import Path

import pytest

from devices.protocols import jws, speaker_link
from devices.protocols.documents import HelloAnswer, KeyUse, Manifest
from devices.protocols.topics import manifest_topic
from services.dispatcher.adapters.keystore import (
    DAY_US,
    DOCUMENT,
    ROOT_PRIVATE,
    KeyFileBroken,
    KeyFolder,
    KeysExist,
    KeySigner,
    KeysMissing,
    RootOffline,
    Scope,
)
from services.dispatcher.domain.refusals import NoKey
from tests.builders import CITY, DISTRICT, NOON_US, STREET

CHAIN = (CITY, DISTRICT, STREET)


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    made = KeyFolder(tmp_path / "keys")
    made.init("city", CITY, NOON_US)
    return made


def scope(use: KeyUse, area: str = CITY, days: int = 365, levels: tuple[int, ...] = (1, 2, 3, 4)) -> Scope:
    return Scope(use, "city", area, days, levels)


def signer(folder: KeyFolder, now_us: int = NOON_US) -> KeySigner:
    return KeySigner(folder, lambda: now_us)


def manifest(use: str = "actual", area: str = STREET) -> Manifest:
    return Manifest(manifest_topic(area, use, "city"), 1, NOON_US, NOON_US + 1, "", ())


def kids(folder: KeyFolder) -> list[str]:
    return [key.kid for key in folder.document().keys]


def test_a_new_folder_holds_no_key_that_could_make_a_sound(folder: KeyFolder) -> None:
    assert [key.use for key in folder.document().keys] == [KeyUse.CONFIG, KeyUse.CLOCK]
    assert signer(folder).uses() == ("clock", "config")
    assert not any(signer(folder).signs(use, CHAIN) for use in ("actual", "exercise"))
    for use in ("actual", "exercise"):
        with pytest.raises(NoKey):
            signer(folder).sign_manifest(manifest(use), CHAIN)


def test_an_exercise_key_makes_no_actual_sound(folder: KeyFolder) -> None:
    folder.make(scope(KeyUse.EXERCISE), NOON_US)
    assert signer(folder).signs("exercise", CHAIN)
    with pytest.raises(NoKey):
        signer(folder).sign_manifest(manifest("actual"), CHAIN)


def test_private_files_are_their_owners_alone(folder: KeyFolder) -> None:
    folder.make(scope(KeyUse.ACTUAL), NOON_US)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.folder.iterdir()}
    assert {mode for name, mode in modes.items() if name.endswith(".pem")} == {0o600}
    assert stat.S_IMODE(folder.folder.stat().st_mode) == 0o700
    assert sorted(modes) == [
        "actual-city-1.pem",
        "clock-city-1.pem",
        "config-city-1.pem",
        "keys.jws",
        "root.json",
        "root.pem",
    ]


def test_a_file_left_over_by_somebody_else_does_not_open_a_private_one(folder: KeyFolder) -> None:
    planted = folder.folder / "actual-city-1.pem.new"
    planted.write_bytes(b"")
    planted.chmod(0o666)
    folder.make(scope(KeyUse.ACTUAL), NOON_US)
    assert stat.S_IMODE((folder.folder / "actual-city-1.pem").stat().st_mode) == 0o600


def test_keys_are_never_made_over_others(folder: KeyFolder) -> None:
    with pytest.raises(KeysExist):
        folder.init("city", CITY, NOON_US)


def test_an_empty_folder_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(KeysMissing):
        KeySigner(KeyFolder(tmp_path), lambda: NOON_US)


@pytest.mark.parametrize("damaged", [b"", b"not a document", b"a.b.c"])
def test_a_damaged_document_is_not_read(folder: KeyFolder, damaged: bytes) -> None:
    (folder.folder / DOCUMENT).write_bytes(damaged)
    with pytest.raises(KeysMissing):
        signer(folder)


def test_a_document_of_another_root_is_not_read(folder: KeyFolder, tmp_path: Path) -> None:
    other = KeyFolder(tmp_path / "other")
    other.init("city", CITY, NOON_US)
    (folder.folder / DOCUMENT).write_bytes(other.signed_document())
    with pytest.raises(KeysMissing):
        signer(folder)


def test_with_the_root_offline_nothing_changes_and_everything_signs_on(folder: KeyFolder) -> None:
    folder.make(scope(KeyUse.ACTUAL), NOON_US)
    (folder.folder / ROOT_PRIVATE).unlink()
    with pytest.raises(RootOffline):
        folder.make(scope(KeyUse.EXERCISE), NOON_US)
    with pytest.raises(RootOffline):
        folder.revoke("actual-city-1", NOON_US)
    assert signer(folder).signs("actual", CHAIN)
    assert kids(folder) == ["config-city-1", "clock-city-1", "actual-city-1"]


def test_what_is_signed_is_read_with_the_document(folder: KeyFolder) -> None:
    folder.make(scope(KeyUse.ACTUAL), NOON_US)
    raw = signer(folder).sign_manifest(manifest(), CHAIN)
    assert speaker_link.read_manifest(raw, manifest().stream, folder.document(), None, NOON_US) == manifest()


def test_an_expired_key_signs_nothing(folder: KeyFolder) -> None:
    folder.make(scope(KeyUse.ACTUAL, days=1), NOON_US)
    assert signer(folder, NOON_US + DAY_US).signs("actual", CHAIN)
    late = signer(folder, NOON_US + DAY_US + 1)
    assert (late.signs("actual", CHAIN), late.uses()) == (False, ("clock", "config"))
    with pytest.raises(NoKey):
        late.sign_manifest(manifest(), CHAIN)


def test_a_key_signs_only_below_its_own_area(folder: KeyFolder) -> None:
    folder.make(scope(KeyUse.ACTUAL, area=DISTRICT), NOON_US)
    assert signer(folder).signs("actual", CHAIN)
    assert not signer(folder).signs("actual", (CITY,))


@pytest.mark.parametrize("days", [7, 365, 730], ids=["sooner", "same", "later"])
def test_the_newest_key_signs_whenever_it_ends_and_the_older_one_again_once_it_has_ended(
    folder: KeyFolder, days: int
) -> None:
    for use in (KeyUse.ACTUAL, KeyUse.CONFIG, KeyUse.CLOCK):
        folder.make(scope(use), NOON_US)
        folder.make(scope(use, days=days), NOON_US)
    at = signer(folder)
    hello = at.sign_hello(HelloAnswer("n" * 22, NOON_US, {}))
    signed = [jws.header(at.sign_manifest(manifest(), CHAIN)).kid, at.config_kid(CHAIN), jws.header(hello).kid]
    assert signed == ["actual-city-2", "config-city-3", "clock-city-3"]
    if days < 365:
        later = signer(folder, NOON_US + (days + 1) * DAY_US)
        assert jws.header(later.sign_manifest(manifest(), CHAIN)).kid == "actual-city-1"


def test_rotation_adds_signs_with_the_newest_and_then_removes(folder: KeyFolder) -> None:
    folder.make(scope(KeyUse.ACTUAL, days=30), NOON_US)
    folder.make(scope(KeyUse.ACTUAL, days=365), NOON_US)
    both = folder.document()
    raw = signer(folder).sign_manifest(manifest(), CHAIN)
    folder.revoke("actual-city-1", NOON_US + 5_000_000)
    after = folder.document()
    assert after.version > both.version
    assert kids(folder) == ["config-city-1", "clock-city-1", "actual-city-2"]
    assert speaker_link.read_manifest(raw, manifest().stream, after, None, NOON_US) == manifest()


def test_the_last_key_that_signs_for_its_scope_is_known(folder: KeyFolder) -> None:
    folder.make(scope(KeyUse.ACTUAL), NOON_US)
    assert folder.is_last("actual-city-1", NOON_US)
    folder.make(scope(KeyUse.ACTUAL, area=DISTRICT), NOON_US)
    folder.make(scope(KeyUse.ACTUAL, levels=(3, 4)), NOON_US)
    folder.make(scope(KeyUse.EXERCISE), NOON_US)
    assert folder.is_last("actual-city-1", NOON_US)
    assert not folder.is_last("actual-city-3", NOON_US)
    folder.make(scope(KeyUse.ACTUAL, days=1), NOON_US)
    assert not folder.is_last("actual-city-1", NOON_US)
    assert folder.is_last("actual-city-1", NOON_US + DAY_US + 1)
    (folder.folder / "actual-city-4.pem").write_bytes(b"")
    assert folder.is_last("actual-city-1", NOON_US)
    assert not folder.is_last("actual-city-4", NOON_US)
    assert not folder.is_last("nobody-1", NOON_US)


def test_a_revoked_key_signs_nothing_and_its_name_never_comes_back(folder: KeyFolder) -> None:
    folder.make(scope(KeyUse.ACTUAL), NOON_US)
    folder.revoke("actual-city-1", NOON_US)
    assert not signer(folder).signs("actual", CHAIN)
    assert folder.make(scope(KeyUse.ACTUAL), NOON_US).kid == "actual-city-2"
    with pytest.raises(NoKey):
        folder.revoke("actual-city-1", NOON_US)


def test_the_documents_version_never_goes_back(folder: KeyFolder) -> None:
    first = folder.document().version
    folder.make(scope(KeyUse.ACTUAL), NOON_US - 365 * DAY_US)
    assert folder.document().version == first + 1


def test_names_stay_apart_for_an_issuer_with_a_long_one(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "keys")
    issuer = "a" * 32
    folder.init(issuer, CITY, NOON_US)
    made = [folder.make(Scope(KeyUse.EXERCISE, issuer, CITY, 1), NOON_US).kid for _ in range(2)]
    assert made == [f"exercise-{'a' * 21}-1", f"exercise-{'a' * 21}-2"]


BROKEN = {
    "nothing": b"",
    "text": b"not a key",
    "damaged": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
}


@pytest.mark.parametrize("damage", list(BROKEN))
def test_a_broken_key_file_is_left_aside_and_the_others_sign_on(folder: KeyFolder, damage: str) -> None:
    folder.make(scope(KeyUse.ACTUAL), NOON_US)
    folder.make(scope(KeyUse.EXERCISE), NOON_US)
    (folder.folder / "actual-city-1.pem").write_bytes(BROKEN[damage])
    assert signer(folder).uses() == ("clock", "config", "exercise")
    with pytest.raises(KeyFileBroken) as broken:
        folder.private(folder.document().keys[2])
    assert broken.value.trouble == ("empty" if damage == "nothing" else "damaged")


def test_a_key_of_the_same_name_from_elsewhere_is_not_taken_for_ours(folder: KeyFolder, tmp_path: Path) -> None:
    folder.make(scope(KeyUse.ACTUAL), NOON_US)
    other = KeyFolder(tmp_path / "other")
    other.init("city", CITY, NOON_US)
    other.make(scope(KeyUse.ACTUAL), NOON_US)
    pem = (other.folder / "actual-city-1.pem").read_bytes()
    (folder.folder / "actual-city-1.pem").write_bytes(pem)
    assert not signer(folder).signs("actual", CHAIN)


def test_a_private_key_kept_elsewhere_is_no_fault(folder: KeyFolder) -> None:
    folder.make(scope(KeyUse.ACTUAL), NOON_US)
    (folder.folder / "actual-city-1.pem").unlink()
    assert signer(folder).uses() == ("clock", "config")


def faults(signing: KeySigner) -> dict[str, str]:
    return {str(key.listed.use): str(key.fault or "") for key in signing.tried}


def test_every_key_is_tried_when_the_folder_is_read(folder: KeyFolder, tmp_path: Path) -> None:
    folder.make(scope(KeyUse.ACTUAL), NOON_US)
    folder.make(scope(KeyUse.EXERCISE), NOON_US)
    (folder.folder / "exercise-city-1.pem").unlink()
    (folder.folder / "clock-city-1.pem").write_bytes((folder.folder / "config-city-1.pem").read_bytes())
    assert faults(signer(folder)) == {"config": "", "clock": "foreign", "actual": "", "exercise": "absent"}


def test_a_folder_that_has_not_changed_is_not_read_again(folder: KeyFolder) -> None:
    signing = signer(folder)
    assert not signing.changed()
    folder.make(scope(KeyUse.ACTUAL), NOON_US)
    assert signing.changed()
    signing.look_again()
    assert not signing.changed()
    assert signing.signs("actual", CHAIN)


def test_a_folder_that_can_not_be_read_is_looked_at_once_for_each_change(folder: KeyFolder) -> None:
    signing = signer(folder)
    (folder.folder / DOCUMENT).write_bytes(b"")
    assert signing.changed()
    signing.look_again()
    assert not signing.changed()
    assert set(faults(signing).values()) == {"no_document"}


def test_a_key_whose_file_breaks_while_it_is_in_memory_signs_manifests_and_no_canary(folder: KeyFolder) -> None:
    folder.make(scope(KeyUse.ACTUAL), NOON_US)
    signing = signer(folder)
    assert signing.sign_canary("actual-city-1", "gw-0", "n" * 22)
    (folder.folder / "actual-city-1.pem").write_bytes(b"")
    signing.look_again()
    raw = signing.sign_manifest(manifest(), CHAIN)
    assert speaker_link.read_manifest(raw, manifest().stream, folder.document(), None, NOON_US) == manifest()
    assert signing.uses() == ("clock", "config")
    with pytest.raises(NoKey):
        signing.sign_canary("actual-city-1", "gw-0", "n" * 22)


def test_a_revoked_key_does_not_stay_in_memory(folder: KeyFolder) -> None:
    folder.make(scope(KeyUse.ACTUAL), NOON_US)
    signing = signer(folder)
    folder.revoke("actual-city-1", NOON_US)
    signing.look_again()
    assert not signing.signs("actual", CHAIN)


def test_an_expired_key_signs_no_canary(folder: KeyFolder) -> None:
    folder.make(scope(KeyUse.ACTUAL, days=1), NOON_US)
    with pytest.raises(NoKey):
        signer(folder, NOON_US + DAY_US + 1).sign_canary("actual-city-1", "gw-0", "n" * 22)
