"""The `tocsin` command: finds the command that was asked for among the installed entry points and loads that one alone.

It imports nothing of the project, so that `tocsin speaker` never loads the dispatcher. A package adds a command by an
entry point in the group `tocsin.commands` that names a Typer app.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

GROUP = "tocsin.commands"

ABOUT = {
    "up": ("Run the whole system on this machine", "在本机运行整套系统"),
    "web": ("Console interface, department feeds, audio", "控制台接口、信源接入、音频"),
    "gateway": ("Speakers, fire sensors, deadlines, signing", "终端、消防传感、时限与签名"),
    "worker": ("Render speech, poll feeds, tell people", "语音合成、信源轮询、人员通知"),
    "city": ("Look at a city pack", "检查城市数据包"),
    "feed": ("Look at a message of a feed", "检查信源报文"),
    "gb26875": ("Look at fire-sensor frames", "检查消防传输帧"),
    "risk": ("Try changed rules on recorded signals", "用已记录的信号试算规则"),
    "audit": ("Read and prove the audit log", "查阅与校验审计日志"),
    "keys": ("Make, rotate and revoke keys", "生成、轮换、吊销密钥"),
    "panel": ("Check duty, set clocks and maintain fire panels", "消防主机查岗、校时与检修"),
    "sensor": ("List and maintain MQTT sensors", "传感器查看与检修"),
    "enrol": ("Enrol people, feeds, panels, sensors, speakers", "登记人员、信源、主机、传感器与终端"),
    "migrate": ("Bring the database to this version", "升级数据库结构"),
    "speaker": ("Run one loudspeaker endpoint", "运行一个播发终端"),
    "conformance": ("Try another maker's speaker", "检验其他厂商的终端"),
    "fleet": ("Run many simulated speakers", "运行模拟终端群"),
    "drill": ("Run a drill against a running system", "对运行中的系统开展演练"),
    "simulate": ("Play a city on a clock of its own", "在独立时钟上推演城市"),
    "bench": ("Measure against the budgets", "按性能指标实测"),
}
"""One line per command for people, English and Chinese. An entry point has no room for a sentence."""

_USAGE = "Usage: tocsin COMMAND [ARGUMENT …]"
_TITLE = "Tocsin: emergency broadcast and public-safety alerting for a city. 警钟：城市应急广播与公共安全预警。"
_MORE = "tocsin COMMAND --help tells more about one command."
_WRONG_USE = 2


def commands() -> dict[str, metadata.EntryPoint]:
    """The installed commands by name, in the order of `ABOUT`, those of other packages after them."""
    found = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    order = {name: place for place, name in enumerate(ABOUT)}
    return {name: found[name] for name in sorted(found, key=lambda name: (order.get(name, len(order)), name))}


def overview() -> str:
    """The help text; nothing is imported for it."""
    installed = commands()
    width = max((len(name) for name in installed), default=0)
    english = max((len(ABOUT[name][0]) for name in installed if name in ABOUT), default=0)
    lines = [_USAGE, "", _TITLE, ""]
    for name, entry in installed.items():
        first, second = ABOUT.get(name, (f"From {entry.value}", ""))
        lines.append(f"  {name:<{width}}  {first:<{english}}  {second}".rstrip())
    return "\n".join([*lines, "", _MORE])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `tocsin`; ends by SystemExit as Typer does, with 2 for a command that does not exist."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("--help", "-h", "help"):
        print(overview())
        return
    name, *rest = given
    if name in ("--version", "-V"):
        print(f"tocsin {metadata.version('tocsin')}")
        return
    app = _load(name)
    app(args=rest, prog_name=f"tocsin {name}")


def _load(name: str) -> Callable[..., Any]:
    installed = commands()
    if name not in installed:
        near = difflib.get_close_matches(name, installed, n=1)
        hint = f"did you mean {near[0]}?" if near else "tocsin --help lists what there is."
        print(f"There is no command {name[:40]!r}; {hint}", file=sys.stderr)
        raise SystemExit(_WRONG_USE)
    app: Callable[..., Any] = installed[name].load()
    return app


if __name__ == "__main__":
    main()
