"""`tocsin feed` and `tocsin gb26875`: look at what a department or a fire panel sent, without a running system."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from services.dispatcher.feeds import FEEDS

from .feed_check import check_file
from .panel_frames import capture_rows, in_words

CAPTURE_BYTES_MAX = 16_777_216

feed_app = typer.Typer(no_args_is_help=True, add_completion=False, help="Check department feed files. 检查信源报文。")
gb26875_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Read fire panel frames (GB/T 26875.3). 检查消防传输帧。"
)


@feed_app.callback()
def _feed() -> None:
    """Check department feed files. 检查信源报文。"""


@gb26875_app.callback()
def _gb26875() -> None:
    """Read fire panel frames (GB/T 26875.3). 检查消防传输帧。"""


@feed_app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Files of department feeds.")],
    format: Annotated[str, typer.Option(help="The format of all of them; empty: told by how each begins.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON per file.")] = False,
) -> None:
    """Say of each file whether it is accepted, which signals it makes, and every problem.

    Exit code 0 when all files are accepted whole, else 1. Messages that say when they were sent are judged as of then,
    others as of now. In JSON a polygon is a closed list of points (lat, lon), a circle is lat, lon and radius in km.
    """
    if format and format not in FEEDS:
        raise typer.BadParameter(f"The format is one of {', '.join(FEEDS)}.")
    accepted = True
    for path in files:
        result = check_file(path, format)
        accepted = accepted and bool(result["accepted"])
        typer.echo(json.dumps(result, ensure_ascii=False) if as_json else _in_words(result))
    raise typer.Exit(0 if accepted else 1)


def _in_words(result: dict[str, Any]) -> str:
    verdict = "accepted" if result["accepted"] else "accepted in part" if result["signals"] else "refused"
    lines = [f"{result['file']}: {verdict}"]
    for row in result["signals"]:
        level = "no level" if row["level"] is None else f"level {row['level']}"
        lines.append(f"  {row['kind']} {row['hazard']} ({row['event']}), {level}, {row['status']}, sent {row['sent']}")
    lines += [f"  {p['severity']} {p['code']} at {p['where'] or 'file'}: {p['message']}" for p in result["problems"]]
    return "\n".join(lines)


@gb26875_app.command()
def decode(
    file: Annotated[Path, typer.Argument(help="A capture, binary or as hexadecimal text; - for standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, as docs/panels.md says.")] = False,
) -> None:
    """Say what the frames in a capture say, and which bytes are no frame.

    Exit code 0 when there is at least one frame and no damage, 1 when not, 2 when the capture can't be read.
    """
    frames = damaged = 0
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as capture:
            for row in capture_rows(capture, CAPTURE_BYTES_MAX):
                frames, damaged = frames + (row["kind"] == "frame"), damaged + (row["kind"] == "damaged")
                typer.echo(json.dumps(row, ensure_ascii=False) if as_json else in_words(row))
            cut = bool(capture.read(1))
    except BrokenPipeError:
        # Who reads what we say has seen enough, as `head` does; the capture is not to blame.
        raise
    except OSError as cause:
        typer.echo(f"The capture cannot be read: {cause.strerror or 'input error'}.", err=True)
        raise typer.Exit(2) from cause
    if cut:
        typer.echo(f"Only the first {CAPTURE_BYTES_MAX} bytes were read.", err=True)
    if not as_json:
        typer.echo(f"frames: {frames}, damaged stretches: {damaged}")
    raise typer.Exit(0 if frames and not damaged and not cut else 1)
