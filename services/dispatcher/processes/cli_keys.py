"""`tocsin keys`: make and show the keys of this dispatcher. Nothing makes an actual key by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from devices.protocols.speaker_link import KeyUse, LinkKey

from ..adapters.keystore import DAY_US, KeyFolder, LastKey, Scope
from ..domain.refusals import Refused
from ..domain.signing_keys import EXPIRY_WARNED_US, KeyProblem, KeyTrouble, TriedKey, words
from .settings import Settings

keys_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Signing keys of this dispatcher. 本系统的签名密钥。"
)

Folder = Annotated[Path | None, typer.Option("--keys", help="Key folder; var/keys if not given. 密钥目录。")]


@keys_app.command()
def init(
    area: Annotated[str, typer.Option(help="12-digit code of the city. 城市区划代码。")],
    issuer: Annotated[str, typer.Option(help="Issuer name of the city pack. 签发方。")],
    folder: Folder = None,
) -> None:
    """A new root, config key and clock key; no actual and no exercise key. 新建根密钥、配置密钥与时钟密钥。"""
    try:
        _folder(folder).init(issuer, area, _now_us())
    except Refused as refused:
        raise _ended(refused) from refused
    typer.echo("Made the root, config and clock keys. Move root.pem offline once every key you need is made.")


@keys_app.command()
def make(
    use: Annotated[KeyUse, typer.Argument(help="actual, exercise, config or clock. 用途。")],
    area: Annotated[str, typer.Option(help="Top of the subtree that it may sign for. 管辖区划。")],
    issuer: Annotated[str, typer.Option(help="Issuer name of the city pack. 签发方。")],
    days: Annotated[int, typer.Option(min=1, max=3_650, help="How long it is valid. 有效天数。")] = 365,
    folder: Folder = None,
) -> None:
    """One more key, added to the signed key document. 增加一把密钥并重新签署密钥文件。"""
    try:
        key = _folder(folder).make(Scope(use, issuer, area, days), _now_us())
    except Refused as refused:
        raise _ended(refused) from refused
    typer.echo(f"Made {key.kid} for {use} in {area}. A running gateway loads it within a second.")


@keys_app.command()
def revoke(
    kid: Annotated[str, typer.Argument(help="Name of the key. 密钥名。")],
    yes: Annotated[bool, typer.Option("--yes", help="Also the last one of its kind. 确认撤销最后一把。")] = False,
    folder: Folder = None,
) -> None:
    """Take a key out of the key document; sign with its successor first. 撤销密钥。"""
    try:
        keys = _folder(folder)
        if not yes and keys.is_last(kid, _now_us()):
            raise LastKey(kid)
        keys.revoke(kid, _now_us())
    except Refused as refused:
        raise _ended(refused) from refused
    typer.echo(f"Revoked {kid}. A running gateway publishes it within a second.")


@keys_app.command("list")
def list_keys(
    folder: Folder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON. 输出 JSON。")] = False,
) -> None:
    """Every key of the document: use, scope, expiry, and whether it signs here. 列出密钥：用途、范围、到期与可用性。"""
    try:
        document, tried_keys = _folder(folder).document(), _folder(folder).tried()
    except Refused as refused:
        raise _ended(refused) from refused
    now_us = _now_us()
    if as_json:
        shown = asdict(document)
        for key, tried in zip(shown["keys"], tried_keys, strict=True):
            key["fault"] = str(tried.fault or "")
        typer.echo(json.dumps(shown))
        return
    for tried in tried_keys:
        key = tried.listed
        scope = f"{key.area} levels {','.join(map(str, key.levels))}"
        typer.echo(f"{key.kid:32} {key.use:9} {key.issuer:12} {scope} {key_line(tried, now_us)}")
    for line in expiry_lines(document.keys, now_us):
        typer.echo(line, err=True)


def expiry_lines(keys: Sequence[LinkKey], now_us: int) -> list[str]:
    """One line for each key that has expired or does so within 30 days while no newer one has its scope."""
    lines = []
    for key in keys:
        if any(other.not_after > key.not_after and _scope(other) == _scope(key) for other in keys):
            continue
        if now_us > key.not_after - EXPIRY_WARNED_US:
            trouble = KeyTrouble.EXPIRED if now_us > key.not_after else KeyTrouble.EXPIRES_SOON
            said = words(KeyProblem(trouble, key.kid, at_us=key.not_after))[0]
            lines.append(f"WARNING: {said}. Make its successor: tocsin keys make {key.use}")
    return lines


def key_line(tried: TriedKey, now_us: int) -> str:
    """Until when a key is valid, and whether it signs here."""
    return f"{_until(tried.listed, now_us)}, {_here(tried)}"


def _scope(key: LinkKey) -> tuple[object, ...]:
    return key.use, key.issuer, key.area, key.levels


def _until(key: LinkKey, now_us: int) -> str:
    day = datetime.fromtimestamp(key.not_after / 1_000_000, UTC)
    left = (key.not_after - now_us) // DAY_US
    return f"until {day:%Y-%m-%d} ({left} days)" if now_us <= key.not_after else f"EXPIRED on {day:%Y-%m-%d}"


def _here(tried: TriedKey) -> str:
    if tried.fault is None:
        return "signs here"
    if tried.fault is KeyTrouble.ABSENT:
        return "its private half is not here"
    return f"CAN'T SIGN: {words(KeyProblem(tried.fault, tried.listed.kid))[0]}"


def _folder(given: Path | None) -> KeyFolder:
    return KeyFolder(given or Settings().keys)


def _now_us() -> int:
    return time.time_ns() // 1_000


def _ended(refused: Refused) -> typer.Exit:
    typer.echo(f"{refused.code}: {refused.sentence}", err=True)
    return typer.Exit(1)
