"""The hazard table: words and codes of foreign messages, and that the table does not contradict itself."""

from __future__ import annotations

import pytest

from services.dispatcher.feeds.hazards import BY_CODE, BY_NAME, EVENT_CODE, HAZARDS, SAME, by_code, by_words


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
    assert set(SAME.values()) <= set(BY_NAME)
