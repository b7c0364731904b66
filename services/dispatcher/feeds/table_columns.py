"""The columns a department's table may have: what each is called, in Chinese and English, and which the template shows.

Earlier names of a column win over later ones where a table has both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HEADER_ROWS_MAX = 10


@dataclass(frozen=True, slots=True)
class Column:
    """One column. The first name is the template's; `note` tells people there what to write."""

    field: str
    names: tuple[str, ...]
    note: str


COLUMNS: tuple[Column, ...] = (
    Column(
        "id",
        ("编号", "id", "事件编号", "信号编号"),
        "本部门自己的编号；同一编号只算一次。没有编号时必须填写时间。",
    ),
    Column(
        "kind",
        ("类型", "kind", "信息类型", "报送类型", "type"),
        "预警、更新、解除、通报；空为预警。更新和解除沿用原编号，或在关联编号中写明原编号。",
    ),
    Column(
        "hazard",
        ("灾种", "hazard", "风险类型", "风险类别", "事件类型", "预警类型", "event", "eventtype"),
        "如 暴雨、火灾，或五位事件代码。必填。",
    ),
    Column(
        "level",
        ("级别", "level", "预警级别", "风险等级", "等级", "severity", "colour", "color"),
        "红橙黄蓝或一至四级。",
    ),
    Column(
        "observed",
        ("时间", "time", "发生时间", "发布时间", "上报时间", "发现时间", "observed", "date"),
        "北京时间，如 2026-07-01 08:30。",
    ),
    Column(
        "expires",
        ("失效时间", "expires", "截止时间", "结束时间", "有效期至", "end"),
        "北京时间；空则 24 小时内有效。",
    ),
    Column(
        "areas",
        ("区划代码", "areas", "行政区划代码", "行政区划", "区划", "area", "areacode"),
        "6、9、12 或 14 位，多个用分号。",
    ),
    Column("venue", ("场所编号", "venue", "场所"), "城市数据包中的场所编号。"),
    Column("place", ("地点", "place", "地址", "位置", "发生地点", "address", "location"), "给人看的地点。"),
    Column("lat", ("纬度", "lat", "latitude"), "度，小数。"),
    Column("lon", ("经度", "lon", "longitude", "lng"), "度，小数。"),
    Column("radius_m", ("半径", "radius_m", "影响半径", "radius"), "米；空为 100。"),
    Column("headline", ("标题", "headline", "事件名称", "名称", "title"), "一句话。"),
    Column(
        "description", ("内容", "description", "描述", "情况说明", "详情", "备注", "content", "details"), "情况说明。"
    ),
    Column("references", ("关联编号", "references", "原编号", "reference"), "更新或解除的原编号，多个用分号。"),
    Column("device", ("点位", "device", "点位编号", "设备编号", "监测点"), "报告来自哪个点位。"),
    Column("status", ("状态", "status", "性质"), "实际、演练、测试；空为实际。"),
)

_PLAIN = re.compile(r"[（(\[【].*?[)）\]】]|[\s*＊_:：\-]+")
_FIELDS = {
    _PLAIN.sub("", name).lower(): (column.field, rank) for column in COLUMNS for rank, name in enumerate(column.names)
}


def field_of(header: str) -> tuple[str, int] | None:
    """(field, rank among its names) that a header cell means, whatever its brackets, stars, spaces and case."""
    return _FIELDS.get(_PLAIN.sub("", header).lower())
