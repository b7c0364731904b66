"""Topics of the speaker link, version 1: built and taken apart here, and nowhere spelled out again."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from devices.protocols.documents import KeyUse
from devices.protocols.refusals import LinkRefused, Refusal

ROOT = "tocsin/v1"
KEYS_TOPIC = f"{ROOT}/keys"

NAME = re.compile(r"[a-z0-9-]{1,32}")
"""Every name that stands in a topic: speakers, areas, issuers, keys."""

ALL_AREA_MANIFESTS = f"{ROOT}/area/+/manifest/+/+"
ALL_SPEAKER_MANIFESTS = f"{ROOT}/speaker/+/manifest/+/+"
ALL_STATES = f"{ROOT}/speaker/+/state"
ALL_RECEIPTS = f"{ROOT}/speaker/+/receipt"
ALL_HELLOS = f"{ROOT}/speaker/+/hello"
ALL_ANSWERS = f"{ROOT}/speaker/+/answer"


class StreamKind(StrEnum):
    """Whether a manifest is for everyone in an area or for one speaker."""

    AREA = "area"
    SPEAKER = "speaker"


class StreamName(NamedTuple):
    """A manifest topic taken apart; `name` is the area code or the speaker's id."""

    kind: StreamKind
    name: str
    use: KeyUse
    issuer: str

    @property
    def topic(self) -> str:
        """The topic again, character for character."""
        return f"{ROOT}/{self.kind}/{self.name}/manifest/{self.use}/{self.issuer}"


def manifest_topic(area: str, use: KeyUse | str, issuer: str) -> str:
    """The stream for everyone in an area. Raises ValueError for a name or a use that no topic may carry."""
    return StreamName(StreamKind.AREA, _name(area), _stream_use(use), _name(issuer)).topic


def speaker_manifest_topic(speaker: str, use: KeyUse | str, issuer: str) -> str:
    """The stream for one speaker. Raises ValueError for a name or a use that no topic may carry."""
    return StreamName(StreamKind.SPEAKER, _name(speaker), _stream_use(use), _name(issuer)).topic


def area_manifests(area: str) -> str:
    """The filter for every use and issuer of an area."""
    return f"{ROOT}/area/{_name(area)}/manifest/+/+"


def speaker_manifests(speaker: str) -> str:
    """The filter for every use and issuer of the orders for one speaker."""
    return f"{ROOT}/speaker/{_name(speaker)}/manifest/+/+"


def config_topic(speaker: str) -> str:
    return _speaker_topic(speaker, "config")


def state_topic(speaker: str) -> str:
    return _speaker_topic(speaker, "state")


def receipt_topic(speaker: str) -> str:
    return _speaker_topic(speaker, "receipt")


def hello_topic(speaker: str) -> str:
    return _speaker_topic(speaker, "hello")


def hello_answer_topic(speaker: str) -> str:
    return _speaker_topic(speaker, "hello/answer")


def ask_topic(speaker: str) -> str:
    return _speaker_topic(speaker, "ask")


def answer_topic(speaker: str) -> str:
    return _speaker_topic(speaker, "answer")


def parse_manifest_topic(topic: str) -> StreamName:
    """The stream that a manifest topic names. Raises LinkRefused(MALFORMED) for any other topic."""
    match topic.split("/"):
        case ["tocsin", "v1", ("area" | "speaker") as kind, name, "manifest", ("actual" | "exercise") as use, issuer]:
            if NAME.fullmatch(name) and NAME.fullmatch(issuer):
                return StreamName(StreamKind(kind), name, KeyUse(use), issuer)
    raise LinkRefused(Refusal.MALFORMED, "not a manifest topic")


def parse_speaker_topic(topic: str) -> tuple[str, str]:
    """(speaker, branch) of a topic below one speaker, such as ("sp-1", "receipt") or ("sp-1", "hello/answer").

    Raises LinkRefused(MALFORMED) for any other topic.
    """
    parts = topic.split("/", 4)
    if len(parts) == 5 and parts[:3] == ["tocsin", "v1", "speaker"] and NAME.fullmatch(parts[3]):
        return parts[3], parts[4]
    raise LinkRefused(Refusal.MALFORMED, "not a topic of a speaker")


def _speaker_topic(speaker: str, branch: str) -> str:
    return f"{ROOT}/speaker/{_name(speaker)}/{branch}"


def _name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name of 1 to 32 characters a-z, 0-9 and hyphen")
    return name


def _stream_use(use: KeyUse | str) -> KeyUse:
    if use not in (KeyUse.ACTUAL, KeyUse.EXERCISE):
        raise ValueError(f"{use!r} is not the use of a stream")
    return KeyUse(use)
