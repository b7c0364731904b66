"""What the recorded phrases say out of the box, and for which events (GB/T 35561 codes). Data; a city edits its copy.

Each phrase says the hazard, that it is here, and what to do: where the speaker stands is the place. A correction says
no more than is certain without its text.
"""

from __future__ import annotations

CLIPS: dict[str, dict[str, str]] = {
    "fire": {
        "zh": "请注意，您所在的区域发生火灾。",
        "en": "Attention. There is a fire in this area.",
    },
    "leave-building": {
        "zh": "请立即从最近的安全出口撤离，不要乘坐电梯，听从现场工作人员指挥。",
        "en": "Leave now by the nearest exit. Do not use the lifts. Follow the staff.",
    },
    "forest-fire": {
        "zh": "请注意，附近发生森林火灾。请立即离开山林，向逆风方向或已经烧过的地方转移，听从现场工作人员指挥。",
        "en": "Attention. There is a forest fire nearby. Leave the woods now, move against the wind, follow the staff.",
    },
    "rainstorm": {
        "zh": "请注意，您所在的区域有暴雨危险。请远离低洼处、地下空间、涵洞和河边，转移到高处。",
        "en": "Attention. Dangerous rain here. Leave low ground, underground places and river banks. Go higher.",
    },
    "typhoon": {
        "zh": "请注意，台风即将影响本地。请留在坚固的室内，关好门窗，远离海边、树木和广告牌。",
        "en": "Attention. A typhoon is coming. Stay in a solid building, away from windows, the sea, trees and signs.",
    },
    "flood": {
        "zh": "请注意，您所在的区域有洪水危险。请立即向高处转移，不要涉水通行。",
        "en": "Attention. Flood danger in this area. Go to higher ground now. Do not walk or drive through water.",
    },
    "surge": {
        "zh": "请注意，海边有风暴潮和大浪危险。请立即离开海边、码头和堤岸，向高处转移。",
        "en": "Attention. Danger from the sea. Leave the shore, piers and sea walls now and go to higher ground.",
    },
    "earthquake": {
        "zh": "请注意，本地有地震危险。请保护头部，远离玻璃和悬挂物，震动停止后到空旷处避险。",
        "en": "Attention. Earthquake. Protect your head, keep away from glass. When it stops, go to open ground.",
    },
    "landslide": {
        "zh": "请注意，您所在的区域有山体滑坡和泥石流危险。请立即离开沟谷和陡坡，向两侧高处转移。",
        "en": "Attention. Landslide danger in this area. Leave valleys and slopes now, move sideways to higher ground.",
    },
    "danger": {
        "zh": "请注意，您所在的区域有紧急危险。",
        "en": "Attention. There is an emergency in this area.",
    },
    "follow-staff": {
        "zh": "请保持镇静，听从现场工作人员指挥，注意后续通知。",
        "en": "Stay calm, follow the staff and listen for further announcements.",
    },
    "correction": {
        "zh": "更正通知。刚才的广播内容有误，现予更正。请以现场工作人员的指挥和后续通知为准。",
        "en": "Correction. The earlier announcement was wrong. Follow the staff and further announcements instead.",
    },
    "fire-over": {
        "zh": "请注意，火灾警报现已解除。请听从现场工作人员安排。",
        "en": "Attention. The fire alarm is over. Please follow the staff.",
    },
    "all-clear": {
        "zh": "请注意，警报现已解除。请听从现场工作人员安排。",
        "en": "Attention. The alert is over. Please follow the staff.",
    },
}

RULES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("", "alert", ("danger", "follow-staff")),
    ("", "correction", ("correction",)),
    ("", "all_clear", ("all-clear",)),
    ("12B", "alert", ("fire", "leave-building")),
    ("12B", "all_clear", ("fire-over",)),
    ("11G", "alert", ("forest-fire",)),
    ("11A", "alert", ("flood",)),
    ("11B01", "alert", ("typhoon",)),
    ("11B03", "alert", ("rainstorm",)),
    ("11C", "alert", ("earthquake",)),
    ("11D", "alert", ("landslide",)),
    ("11E02", "alert", ("surge",)),
    ("11E06", "alert", ("surge",)),
)
