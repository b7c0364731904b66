"""Any message on the speaker link held against the published AsyncAPI document: its channel, its size, its content."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from devices.protocols import jws, speaker_link

Json = dict[str, Any]
API: Json = yaml.safe_load(Path(speaker_link.__file__).with_name("asyncapi.yaml").read_text("utf-8"))
COMPONENTS: Json = API["components"]
MESSAGES: Json = COMPONENTS["messages"]


def _validator(schema: Json) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": COMPONENTS})


PAYLOADS = {name: _validator(message["payload"]) for name, message in MESSAGES.items()}
SIGNED = {name: _validator(message["x-signed"]) for name, message in MESSAGES.items() if "x-signed" in message}


def _form(address: str) -> re.Pattern[str]:
    address = address.replace("{use}", "(actual|exercise)")
    return re.compile(re.sub(r"\{\w+\}", "[a-z0-9-]{1,32}", address))


def _addresses() -> list[tuple[re.Pattern[str], str, str]]:
    """(form of the topic, channel, message) of every channel."""
    channels = API["channels"].items()
    return [(_form(channel["address"]), name, next(iter(channel["messages"]))) for name, channel in channels]


ADDRESSES = _addresses()


def channel_of(topic: str) -> str:
    """The channel that a topic belongs to, "" for a topic of no channel."""
    return next((name for form, name, _ in ADDRESSES if form.fullmatch(topic)), "")


def fault(topic: str, raw: bytes) -> str:
    """What is wrong with a message on its topic, "" when it is as published."""
    message = next((message for form, _, message in ADDRESSES if form.fullmatch(topic)), None)
    if message is None:
        return "no channel has this topic"
    if len(raw) > MESSAGES[message]["x-bytes-max"]:
        return f"{len(raw)} bytes"
    if message not in SIGNED:
        return _first(PAYLOADS[message], json.loads(raw))
    if wrong := _first(PAYLOADS[message], raw.decode("ascii")):
        return wrong
    head, body, _ = (jws.decode_base64url(part) if n < 2 else b"" for n, part in enumerate(raw.decode().split(".")))
    if json.loads(head)["typ"] != MESSAGES[message]["x-typ"]:
        return "another typ"
    return _first(SIGNED[message], json.loads(body))


def _first(validator: Draft202012Validator, value: object) -> str:
    return next((f"{error.json_path}: {error.message}"[:300] for error in validator.iter_errors(value)), "")
