from __future__ import annotations

import pytest

from services.dispatcher.domain.wordings import PLACEHOLDERS, filled, unfilled, unknown_placeholder


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("青泥洼桥地下商场发生火情。", ""),
        ("", ""),
        ("{venue}起火", "{venue}"),
        ("起火：{venue", "{venue"),
        ("起火：venue}", "}"),
        ("｛place｝起火", "｛place｝"),
        ("{a}和{b}", "{a}"),
        ("{}", "{}"),
        ("{{place}}", "{"),
    ],
)
def test_what_is_left_in_braces_is_found(text: str, left: str) -> None:
    assert unfilled(text) == left


@pytest.mark.parametrize("template", ["{place}起火", "起火：{place}，{place}", "火"])
def test_our_own_placeholders_are_known(template: str) -> None:
    assert unknown_placeholder(template) == ""
    assert unfilled(filled({"zh": template}, {"zh": "广场"})["zh"]) == ""


@pytest.mark.parametrize(
    "template", ["{venue}", "{Place}", "{ place }", "{{place}}", "{place", "place}", "｛place｝", "{}"]
)
def test_nothing_else_in_braces_is(template: str) -> None:
    assert unknown_placeholder(template)


def test_each_language_names_the_place_in_its_own_words_where_it_has_some() -> None:
    texts = {"zh": "{place}起火", "en": "Fire at {place}", "ru": "Пожар: {place}"}
    assert filled(texts, {"zh": "广场", "en": "the square"}) == {
        "zh": "广场起火", "en": "Fire at the square", "ru": "Пожар: 广场",
    }  # fmt: skip


def test_every_placeholder_that_may_stand_in_a_playbook_is_filled() -> None:
    for name in PLACEHOLDERS:
        assert unfilled(filled({"zh": f"{{{name}}}"}, {"zh": "广场"})["zh"]) == ""
