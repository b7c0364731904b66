"""`tocsin audit`: show the log of a subject, and verify the chain over all of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from devices.protocols import speaker_link

from ..adapters.keystore import KeyFolder
from ..domain.refusals import NotFound, Refused
from ..engine.chain import verify as verify_chain
from ..engine.ports import Page, Read
from ..engine.rows import LogRow, Stream
from .commands import opened_store
from .settings import Settings

LINES_READ = 1_000

audit_app = typer.Typer(no_args_is_help=True, add_completion=False, help="The log of what happened and why. 审计日志。")


@audit_app.command()
def verify(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Find any altered or missing entry; ends with 1 when there is one. 校验日志链，发现任何篡改或缺失。"""
    settings = Settings()
    with opened_store() as store, store.read() as read:
        result = verify_chain(read, _witnessed(read, KeyFolder(settings.keys)))
    if as_json:
        typer.echo(json.dumps(asdict(result)))
    elif result.problem:
        typer.echo(f"NOT WHOLE: {result.problem} ({result.rows} entries verified before it).")
    else:
        typer.echo(f"Whole: {result.rows} entries, head {result.head[:16]}.")
    if result.problem:
        raise typer.Exit(1)


@audit_app.command()
def show(
    subject: Annotated[str, typer.Argument(help="An incident, task, broadcast, speaker or stream. 对象编号。")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Every log entry about a subject, oldest first. 按时间列出一个对象的全部记录。"""
    with opened_store() as store, store.read() as read:
        after_seq = 0
        while rows := read.log_of(subject, after_seq, LINES_READ):
            after_seq = rows[-1].seq
            for row in rows:
                typer.echo(_line(row, as_json=as_json))
        if not after_seq:
            raise NotFound(f"log entries of {subject}")


def _line(row: LogRow, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(asdict(row), ensure_ascii=False)
    at = datetime.fromtimestamp(row.at_us / 1e6, UTC).isoformat(timespec="milliseconds")
    person = f" by {row.person}" if row.person else ""
    return f"{at} {row.kind}{person}: {json.loads(row.body)['why']}"


def _witnessed(read: Read, folder: KeyFolder) -> tuple[str, ...]:
    """The chain heads that signed manifests carry: a log whose tail was cut no longer holds them."""
    heads = []
    for stream in read.find(Stream, Page(limit=10_000)):
        if stream.signed:
            try:
                manifest = speaker_link.read_manifest(stream.signed, stream.id, folder.document(), None, None)
            except (speaker_link.LinkRefused, Refused):
                continue
            heads.append(manifest.chain_head)
    return tuple(heads)
