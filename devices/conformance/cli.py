"""`tocsin conformance`: try another maker's device against the published speaker link, and say what holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from devices.conformance.bench import Bench, BenchAccount, NoBroker
from devices.conformance.checks import RUN_STOPPED, Trial, trial
from devices.conformance.finding import Finding
from devices.conformance.link_checks import own_login_refused
from devices.conformance.papers import BenchPapers, root_in, root_x
from devices.protocols.topics import NAME

WHOLE_S_MAX = 1_800.0
DEVICE_S_MAX = 300.0
"""How long the runner waits for the device to come, while somebody installs the root and switches it on."""
NOT_ALL = 1
WRONG_USE = 2
RESULTS = {True: ("holds", "符合"), False: ("FAILS", "不符合"), None: ("not tried", "未检验")}
DIFFERS = ("differs", "有差异")
HEADINGS = (("result", "结果"), "check 检验项", "section 章节", "what was seen 所见")

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Try a device against the speaker link. 检验终端是否符合协议。",
)


@app.command()
def conformance(
    broker: Annotated[str, typer.Option(help="HOST:PORT of a broker for this trial. 试验用消息服务器。")],
    speaker: Annotated[str, typer.Option(help="Id of the device. 终端编号。")],
    login: Annotated[
        Path, typer.Option(help="JSON: name, secret, and speaker_secret to take its line. 登录文件（JSON）。")
    ],
    root_out: Annotated[Path, typer.Option(help="The root to install is here, or is made here. 根密钥文件。")],
) -> None:
    """Play the dispatcher's part against one device and print what holds. 模拟调度端检验一台终端，并列出结果。

    Ends with 0 only if everything required held. 全部必需项符合才返回 0。
    """
    host, port = _address(broker)
    if not NAME.fullmatch(speaker):
        raise typer.BadParameter("--speaker is an id of 1 to 32 characters a-z, 0-9 and hyphen. 终端编号有误。")
    try:
        root = root_in(root_out)
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        raise typer.BadParameter(f"The root file {root_out} can be neither read nor made. 根密钥文件有误。") from wrong
    bench = Bench(host, port, _login(login), BenchPapers(speaker, root), WHOLE_S_MAX, waits)
    try:
        bench.open()
    except NoBroker as refused:
        typer.echo(str(refused), err=True)
        raise typer.Exit(WRONG_USE) from refused
    typer.echo(f"Install in {speaker}: root_kid {root.kid}, root_key {root_x(root)}. Waiting for it to connect.")
    raise typer.Exit(run(bench, DEVICE_S_MAX))


def run(bench: Bench, device_s_max: float) -> int:
    """Try the device on an open bench, print the table, and close the bench. How the command ends."""
    try:
        if refused := own_login_refused(bench):
            typer.echo(refused)
        typer.echo(row(*HEADINGS))
        ended = trial(bench, device_s_max, lambda finding: typer.echo(line(finding)))
    except KeyboardInterrupt:
        typer.echo("STOPPED 中止  by hand.")
        return NOT_ALL
    finally:
        bench.close()
    if ended.stopped is not None:
        typer.echo(f"STOPPED 中止  {ended.stopped} {left(ended)}")
    typer.echo(f"\n{summary(ended)}")
    if ended.stopped is not None and not ended.stopped.by_device:
        return WRONG_USE
    return 0 if ended.all_held else NOT_ALL


def waits(sentence: str) -> None:
    """A sign of life while a check waits."""
    typer.echo(f"… {sentence}")


def left(ended: Trial) -> str:
    """How many checks were not made because the run stopped."""
    count = sum(finding.seen == RUN_STOPPED for finding in ended.findings)
    return f"The {count} checks from here on are not tried."


def summary(ended: Trial) -> str:
    """How many checks came out how, in English and Chinese."""
    whole, hold = len(ended.findings), ended.count(True)
    fail, differ, not_tried = ended.count(False, required=True), ended.count(False, required=False), ended.count(None)
    return (
        f"{whole} checks: {hold} hold, {fail} required ones fail, {differ} differ, {not_tried} not tried.\n"
        f"共 {whole} 项：符合 {hold} 项，必需项不符合 {fail} 项，有差异 {differ} 项，未检验 {not_tried} 项。"
    )


def line(finding: Finding) -> str:
    """One row of the table: result, check, section of the page, what was seen."""
    result = DIFFERS if finding.holds is False and not finding.check.required else RESULTS[finding.holds]
    return row(result, finding.check.text, finding.check.section, finding.seen)


def row(result: tuple[str, str], check: str, section: str, seen: str) -> str:
    """The columns stand under each other on a terminal, where a Chinese character is two wide."""
    said = f"{result[0]} {result[1]}"
    return "  ".join((_padded(said, 16), _padded(check, 64), _padded(section, 12), seen))


def _padded(text: str, columns: int) -> str:
    wide = len(text) + sum("\u2e80" <= char <= "\uffee" for char in text)
    return text + " " * (columns - wide)


def _address(broker: str) -> tuple[str, int]:
    host, _, port = broker.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
        raise typer.BadParameter(f"--broker is HOST:PORT, not {broker!r}. 消息服务器地址有误。")
    return host, int(port)


def _login(file: Path) -> BenchAccount:
    """Every refusal names the file, and none tells a secret."""
    try:
        given = json.loads(file.read_text("utf-8"))
    except OSError as wrong:
        raise typer.BadParameter(
            f"The login file {file} can't be read: {wrong.strerror}. 登录文件无法读取。"
        ) from wrong
    except ValueError as wrong:
        raise typer.BadParameter(f"The login file {file} is not JSON. 登录文件不是 JSON。") from wrong
    if not isinstance(given, dict):
        raise typer.BadParameter(f"The login file {file} is not one object. 登录文件有误。")
    for name in ("name", "secret", "speaker_secret"):
        if not isinstance(given.get(name, "" if name == "speaker_secret" else None), str):
            raise typer.BadParameter(f"The login file {file} has no text as its member {name!r}. 登录文件有误。")
    return BenchAccount(given["name"], given["secret"], given.get("speaker_secret", ""), str(file))
