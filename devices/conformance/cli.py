"""`tocsin conformance`: try another maker's device against the published speaker link, and say what holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from devices.conformance.bench import Bench, BenchAccount, NoBroker
from devices.conformance.checks import CHECKS, Finding, connects
from devices.conformance.papers import BenchPapers, root_in, root_x
from devices.protocols.topics import NAME

WHOLE_S_MAX = 1_800.0
DEVICE_S_MAX = 300.0
"""How long the runner waits for the device to come, while somebody installs the root and switches it on."""
NOT_ALL = 1
WRONG_USE = 2

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
    host, _, port = broker.rpartition(":")
    if not host or not port.isdigit() or not NAME.fullmatch(speaker):
        raise typer.BadParameter("--broker is HOST:PORT, and --speaker 1 to 32 characters a-z, 0-9 and hyphen.")
    try:
        root = root_in(root_out)
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        raise typer.BadParameter("The root file can be neither read nor made.") from wrong
    papers = BenchPapers(speaker, root)
    bench = Bench(host, int(port), _login(login), papers, WHOLE_S_MAX)
    try:
        bench.open()
    except NoBroker as refused:
        typer.echo(str(refused), err=True)
        raise typer.Exit(WRONG_USE) from refused
    typer.echo(f"Install in {speaker}: root_kid {root.kid}, root_key {root_x(root)}. Waiting for it to connect.")
    typer.echo(row("result", "check", "section", "what was seen"))
    try:
        findings = trial(bench, DEVICE_S_MAX, lambda finding: typer.echo(line(finding)))
    finally:
        bench.close()
    failed = [finding for finding in findings if finding.required and finding.holds is False]
    untried = [finding for finding in findings if finding.required and finding.holds is None]
    typer.echo(f"\n{len(findings)} checks: {len(failed)} required ones do not hold, {len(untried)} were not tried.")
    raise typer.Exit(NOT_ALL if failed or untried else 0)


def trial(bench: Bench, device_s_max: float, found: Callable[[Finding], None]) -> list[Finding]:
    """Make every check in turn, giving each finding to `found` as it comes."""
    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        findings.append(finding)
        found(finding)

    if not connects(bench, device_s_max):
        note(Finding("connects and says so in a retained state", "1, 5", False, "no state came"))
        return findings
    for check in CHECKS:
        for finding in check(bench):
            note(finding)
    return findings


def line(finding: Finding) -> str:
    """One row of the table: result, check, section of the page, what was seen."""
    result = {True: "holds", False: "FAILS", None: "not tried"}[finding.holds]
    if not finding.required and finding.holds is False:
        result = "differs"
    return row(result, finding.check, finding.section, finding.seen)


def row(result: str, check: str, section: str, seen: str) -> str:
    return f"{result:<9}  {check:<54}  {section:<10}  {seen}"


def _login(file: Path) -> BenchAccount:
    try:
        given = json.loads(file.read_text("utf-8"))
        return BenchAccount(str(given["name"]), str(given["secret"]), str(given.get("speaker_secret", "")))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as wrong:
        raise typer.BadParameter("The login file must be JSON with name and secret.") from wrong
