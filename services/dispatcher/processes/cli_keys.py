"""`tocsin keys`: make and show the keys of this dispatcher. Nothing makes an actual key by itself."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from devices.protocols.speaker_link import Use

from ..adapters.keystore import KeyFolder, Scope
from ..domain.refusals import Refused
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
    use: Annotated[Use, typer.Argument(help="actual, exercise, config or clock. 用途。")],
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
    typer.echo(f"Made {key.kid} for {use} in {area}. Restart the gateway to load it.")


@keys_app.command()
def revoke(kid: Annotated[str, typer.Argument(help="Name of the key. 密钥名。")], folder: Folder = None) -> None:
    """Take a key out of the key document; sign with its successor first. 撤销密钥。"""
    try:
        _folder(folder).revoke(kid, _now_us())
    except Refused as refused:
        raise _ended(refused) from refused
    typer.echo(f"Revoked {kid}. Restart the gateway to publish it.")


@keys_app.command()
def show(
    folder: Folder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The key document, verified against the root. 显示密钥文件。"""
    try:
        document = _folder(folder).document()
    except Refused as refused:
        raise _ended(refused) from refused
    if as_json:
        typer.echo(json.dumps(asdict(document)))
        return
    for key in document.keys:
        typer.echo(f"{key.kid:32} {key.use:9} {key.issuer:12} {key.area} levels {','.join(map(str, key.levels))}")


def _folder(given: Path | None) -> KeyFolder:
    return KeyFolder(given or Settings().keys)


def _now_us() -> int:
    return time.time_ns() // 1_000


def _ended(refused: Refused) -> typer.Exit:
    typer.echo(f"{refused.code}: {refused.sentence}", err=True)
    return typer.Exit(1)
