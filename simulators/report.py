"""The drill report for people: every expectation with its time, the four counts of each broadcast, and a time line."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

CITY_TIME = ZoneInfo("Asia/Shanghai")
COUNTS = ("targeted", "in_service", "online", "playing", "proved", "finished")
TOLD = ("incident.", "task.", "broadcast.", "stream.")


def as_lines(told: dict[str, Any]) -> list[str]:
    """The report as lines of text, English with the Chinese sentence of each step."""
    lines = [f"DRILL 演练 — {told['title']['en']} · {told['title']['zh']}", ""]
    for step in told["steps"]:
        mark = "ok " if step["held"] else "NOT"
        limit = f" of {step['within_s']} s" if step["within_s"] else ""
        lines.append(
            f"  {mark} {step['number']:2}. {step['say']['en']} · {step['say']['zh']} [{step['seconds']:.1f} s{limit}]"
        )
        if step["seen"]:
            lines.append(f"          {step['seen']}")
    lines += ["", "COVERAGE 覆盖 (targeted / in service / online / playing / proved / finished)"]
    for story in told["broadcasts"]:
        b, c = story["detail"]["broadcast"], story["detail"]["coverage"]
        counts = " / ".join(
            str(c[name]) for name in ("targeted", "in_service", "online", "playing", "proved", "finished")
        )
        lines.append(f"  {b['hazard']} {b['phase']}: {counts}   {b['sentences']['zh']}")
    lines += ["", "TIME LINE 时间线"]
    seen: set[int] = set()
    for row in sorted((row for story in told["broadcasts"] for row in story["log"]), key=lambda row: int(row["seq"])):
        if row["seq"] not in seen and row["kind"].startswith(TOLD):
            seen.add(row["seq"])
            at = datetime.fromtimestamp(row["at_us"] / 1e6, CITY_TIME).strftime("%H:%M:%S.%f")[:-3]
            lines.append(f"  {at} {row['kind']}: {row['why']}")
    lines += [
        "",
        "Every expectation held. 全部预期成立。" if told["held"] else "NOT every expectation held. 有预期未成立。",
    ]
    return lines
