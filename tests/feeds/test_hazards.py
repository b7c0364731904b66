"""The hazard table: words and codes of foreign messages, and that the table does not contradict itself."""

from __future__ import annotations

import pytest

from services.dispatcher.feeds.hazards import (
    AWARENESS_TYPES,
    BY_CODE,
    BY_NAME,
    EVENT_CODE,
    HAZARDS,
    SAME,
    by_code,
    by_humps,
    by_words,
)
from services.dispatcher.feeds.hazards_words import WORDS


@pytest.mark.parametrize(
    ("text", "hazard"),
    [
        ("暴雨", "rainstorm"),
        ("大连市气象台发布台风红色预警信号", "typhoon"),
        ("高温中暑", "heat_stroke"),
        ("雷雨大风", "thunderstorm_gale"),
        ("SEVERE THUNDERSTORM", "thunderstorm_gale"),
        ("Structure fires", "fire"),
        ("wildfire", "wildfire"),
        ("Firefighter parade", None),
        ("火灾 flood", "fire"),
        ("", None),
    ],
)
def test_the_longest_word_names_the_hazard(text: str, hazard: str | None) -> None:
    found = by_words(text)
    assert (found.name if found else None) == hazard


# Event texts as warning offices of the world word them.
EVENTS = {
    "typhoon": [
        "熱帶氣旋警告信號",
        "颱風",
        "Aviso de Ciclón Tropical en el Pacífico",
        "Tropical Cyclone Alert",
        "태풍주의보",
    ],
    "rainstorm": ["Chuvas Intensas", "Lluvias fuertes", "DAUERREGEN", "Hujan Lebat", "豪雨特報", "黑色暴雨警告信號"],
    "flood": ["Hochwasser", "Inundación", "Crues", "洩洪警戒", "淹水", "Flash Flood Watch", "Banjir", "Översvämning"],
    "gale": [
        "STURMBÖEN",
        "schwere Sturmböen",
        "Vendaval",
        "Vindkast",
        "強烈季候風信號",
        "Wind Advisory",
        "Vent violent",
    ],
    "thunderstorm_gale": ["STARKES GEWITTER", "Tormentas", "Trovoada", "Temporali", "雷暴警告", "Orages", "Гроза"],
    "heavy_snow": ["SCHNEEFALL", "Nevada", "Neige", "Snöfall", "大雪", "Сильный снег"],
    "heat_wave": ["Onda de Calor", "Canicule", "Ola de calor"],
    "heat": ["酷熱天氣警告", "EXTREME HITZE", "Höga temperaturer", "Excessive Heat Warning"],
    "low_temperature": ["寒冷天氣警告", "Wind Chill Warning", "Frío extremo"],
    "fog": ["NEBEL", "濃霧", "Niebla", "Brouillard", "Freezing Fog Advisory"],
    "road_icing": ["GLATTEIS", "Verglas", "道路結冰"],
    "freezing": ["Freezing Rain Warning", "Pluie verglaçante"],
    "geological": ["土石流警戒", "山泥傾瀉警告", "Deslizamiento", "Frana", "Landslide"],
    "earthquake": ["Sismo", "Gempabumi", "Erdbeben", "地震報告", "Σεισμός", "زلزال", "แผ่นดินไหว"],
    "tsunami": ["海嘯警告", "Tsunami Warning", "津波警報", "Цунами"],
    "storm_surge": ["風暴潮", "Sturmflut", "Høy vannstand"],
    "wildfire": ["Incendio forestal", "Feu de forêt", "Waldbrand", "Bush Fire", "Incêndio Florestal"],
    "forest_fire_risk": ["Red Flag Warning", "Skogbrannfare", "Fire Weather Watch", "火災危險警告"],
    "fire": ["Großbrand", "Structure Fire", "Incêndio"],
    "sandstorm": ["Dust Storm Warning", "Calima", "沙塵暴"],
    "avalanche": ["Lawinengefahr", "Avalanches", "Snøskredfare"],
    "sea_wave": ["Fuerte oleaje", "Ressaca", "長浪即時訊息"],
    "sea_gale": ["Small Craft Advisory", "Special Marine Warning"],
    "tornado": ["Tornado Watch", "Tornade", "竜巻注意情報"],
    "public_utility": ["停水", "Stromausfall"],
}


@pytest.mark.parametrize(("hazard", "text"), [(hazard, text) for hazard, texts in EVENTS.items() for text in texts])
def test_events_are_understood_in_many_languages(hazard: str, text: str) -> None:
    found = by_words(text)
    assert (found.name if found else None) == hazard


@pytest.mark.parametrize(
    "text",
    ["This is a test of the public warning system", "Child Abduction", "停班停課", "Warntag 2026", "Take shelter now"],
)
def test_what_is_none_of_the_hazards_is_not_guessed(text: str) -> None:
    assert by_words(text) is None


@pytest.mark.parametrize(
    ("code", "hazard"),
    [("flashFlood", "flood"), ("freezeRain", "freezing"), ("bushFire", "wildfire"), ("testMessage", None)],
)
def test_codes_of_words_written_together_name_hazards(code: str, hazard: str | None) -> None:
    found = by_humps(code)
    assert (found.name if found else None) == hazard


@pytest.mark.parametrize(
    ("code", "scheme", "hazard"),
    [
        ("11B03", "", "rainstorm"),
        ("12B07", "", "fire"),
        ("11B99", "", None),
        ("SVR", "SAME", "thunderstorm_gale"),
        ("SVR", "other", None),
        ("CAE", "SAME", None),
    ],
)
def test_codes_name_hazards(code: str, scheme: str, hazard: str | None) -> None:
    found = by_code(code, scheme)
    assert (found.name if found else None) == hazard


def test_the_table_says_each_thing_once() -> None:
    assert len(BY_NAME) == len(BY_CODE) == len(HAZARDS)
    words = [word for hazard in HAZARDS for word in hazard.words]
    assert len(words) == len(set(words))
    assert all(word == word.lower() for word in words)
    assert all(EVENT_CODE.fullmatch(hazard.code) for hazard in HAZARDS)
    assert set(SAME.values()) | set(AWARENESS_TYPES.values()) <= set(BY_NAME)
    assert set(WORDS) == set(BY_NAME)
