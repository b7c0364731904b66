"""A speaker's settings, from a TOML or JSON file. There is no default for an id, a secret or the root key."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from devices.protocols.documents import KeyUse, LinkKey
from devices.protocols.jws import ALGORITHM
from devices.protocols.topics import NAME

SECRET_CHARS_MIN = 16
SETTINGS_BYTES_MAX = 65_536
_FOR_EVER_US = 2**53 - 1


SETTINGS_TOLD = {
    "id": "the speaker's id, as enrolled",
    "secret": "its own secret, 16 characters or more",
    "root_kid": "name of the offline root",
    "root_key": "its public key, base64url",
    "broker_host": "host of the broker",
    "store": "folder for journal, recordings and phrases; one speaker each",
    "broker_port": "port of the broker [1883]",
    "tls_ca": "file of certificates; without it no TLS [none]",
    "player": "sound_card, wav (writes files) or null (makes no sound) [sound_card]",
    "volume": "0 to 100, before an order has set one [80]",
    "keepalive_s": "MQTT keep-alive, 5 to 600 [30]",
    "reconnect_spread_s": "in place of the signed config's [none]",
    "sound_card_command": 'list of words; plays the WAV file named after them [["aplay", "-q"]]',
    "audio_bytes_max": "room for recordings, bytes [268435456]",
    "wav_folder": "where the player wav writes [STORE/heard]",
    "wav_real_time": "false: the player wav writes at once [true]",
    "mic_db": "simulated microphone of wav and null, dB [none]",
}
"""Every member of the settings file in one line, the required ones first. The help of `tocsin speaker` prints it."""
REQUIRED = ("id", "secret", "root_kid", "root_key", "broker_host", "store")


def settings_told() -> str:
    """The members of the settings file as a list for a terminal."""
    width = max(map(len, SETTINGS_TOLD))
    lines = {name: f"  {name:<{width}}  {told}" for name, told in SETTINGS_TOLD.items()}
    needed = [lines[name] for name in REQUIRED]
    free = [line for name, line in lines.items() if name not in REQUIRED]
    return "\n".join(["Required 必填:", *needed, "Optional 选填, [default]:", *free])


class PlayerKind(StrEnum):
    """Which loudspeaker: none but its timing, WAV files, or the sound card."""

    NULL = "null"
    WAV = "wav"
    SOUND_CARD = "sound_card"


class SettingsRefused(Exception):
    """The settings cannot be used. `code` is for programs, the sentence for people."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True)
class SpeakerSettings:
    """What one speaker is told by the people who put it up.

    `root_kid` and `root_key` are the name and base64url public key of the offline root. `tls_ca` is a file of
    certificates; None is a connection without TLS. `reconnect_spread_s` overrides the signed config's.
    `mic_db` is a simulated microphone of the null and WAV players. `wav_real_time` False writes files at once.
    """

    id: str
    secret: str = field(repr=False)
    root_kid: str
    root_key: str
    broker_host: str
    store: Path
    broker_port: int = 1883
    tls_ca: str | None = None
    player: PlayerKind = PlayerKind.SOUND_CARD
    volume: int = 80
    keepalive_s: int = 30
    reconnect_spread_s: int | None = None
    mic_db: int | None = None
    wav_real_time: bool = True
    wav_folder: Path | None = None
    sound_card_command: tuple[str, ...] = ("aplay", "-q")
    audio_bytes_max: int = 268_435_456

    def __post_init__(self) -> None:
        """Raises SettingsRefused."""
        if not NAME.fullmatch(self.id):
            raise SettingsRefused("bad_id", "The id must have 1 to 32 characters a-z, 0-9 and hyphen.")
        if len(self.secret) < SECRET_CHARS_MIN:
            raise SettingsRefused("weak_secret", f"The secret must have at least {SECRET_CHARS_MIN} characters.")
        if self.secret == self.id:
            raise SettingsRefused("weak_secret", "The secret must not be the id.")
        if not 1 <= self.broker_port <= 65_535 or not 0 <= self.volume <= 100 or not 5 <= self.keepalive_s <= 600:
            raise SettingsRefused("out_of_range", "Broker port, volume or keepalive is out of range.")

    @property
    def root(self) -> LinkKey:
        """The root key that this speaker trusts."""
        return LinkKey(self.root_kid, ALGORITHM, self.root_key, KeyUse.ROOT, "root", "root", (), _FOR_EVER_US)


def read_settings(path: Path) -> SpeakerSettings:
    """The settings in a .toml or .json file. Raises SettingsRefused, never with the secret in its sentence."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SettingsRefused("unreadable", f"The settings file cannot be read: {error.strerror}.") from error
    if len(raw) > SETTINGS_BYTES_MAX:
        raise SettingsRefused("over_cap", f"The settings file is larger than {SETTINGS_BYTES_MAX} bytes.")
    try:
        members = json.loads(raw) if path.suffix == ".json" else tomllib.loads(raw.decode())
    except ValueError:
        raise SettingsRefused("malformed", "The settings file is neither TOML nor JSON.") from None
    if not isinstance(members, dict):
        raise SettingsRefused("malformed", "The settings must be one table.")
    return _settings(members)


def _settings(members: dict[str, Any]) -> SpeakerSettings:
    known = {each.name: each for each in fields(SpeakerSettings)}
    unknown = sorted(members.keys() - known.keys())
    if unknown:
        raise SettingsRefused("unknown_setting", f"There is no setting {unknown[0]!r}.")
    missing = [name for name in REQUIRED if name not in members]
    if missing:
        raise SettingsRefused("missing_setting", f"The setting {missing[0]!r} is missing.")
    for name, value in members.items():
        if not isinstance(value, _TYPES.get(name, str)) or (isinstance(value, bool) and name != "wav_real_time"):
            raise SettingsRefused("wrong_type", f"The setting {name!r} has the wrong type.")
    made = dict(members)
    for name in ("store", "wav_folder"):
        if name in made:
            made[name] = Path(made[name])
    if "player" in made:
        if made["player"] not in list(PlayerKind):
            raise SettingsRefused("unknown_player", "The player must be null, wav or sound_card.")
        made["player"] = PlayerKind(made["player"])
    if "sound_card_command" in made:
        made["sound_card_command"] = tuple(str(word) for word in made["sound_card_command"])
    return SpeakerSettings(**made)


_TYPES: dict[str, type] = {
    "broker_port": int,
    "volume": int,
    "keepalive_s": int,
    "reconnect_spread_s": int,
    "mic_db": int,
    "audio_bytes_max": int,
    "wav_real_time": bool,
    "sound_card_command": list,
}
