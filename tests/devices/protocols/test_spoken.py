"""Texts are written out as they are said: a wrong number in an evacuation is worse than none."""

from __future__ import annotations

import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.protocols.spoken import espeak_voice, readable


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("105室", "一百零五室"),
        ("3号楼10层", "三号楼十层"),
        ("1050米", "一千零五十米"),
        ("转移10500人", "转移一万零五百人"),
        ("转移120000人", "转移十二万人"),
        ("2026年7月3日", "二零二六年七月三日"),
        ("2026-07-03", "二零二六年七月三日"),
        ("18:30", "十八点三十分"),
        ("8:05前", "八点零五分前"),
        ("02:00", "两点整"),
        ("2小时内", "两小时内"),
        ("2号出口", "二号出口"),
        ("12.5毫米", "十二点五毫米"),
        ("雨量50mm", "雨量五十毫米"),
        ("风速20m/s", "风速二十米每秒"),
        ("38℃", "三十八摄氏度"),
        ("-5℃", "负五摄氏度"),
        ("80%", "百分之八十"),
        ("6-8级", "六至八级"),
        ("请拨打119", "请拨打幺幺九"),
        ("收治119人", "收治一百一十九人"),
        ("热线12345", "热线幺二三四五"),
        ("0411-12345678", "零四幺幺，幺二三四五六七八"),
        ("B1层", "B 一层"),
        ("３号门", "三号门"),
        ("发生火灾,请撤离!", "发生火灾，请撤离！"),
        ("[[a]]\n<b>", "a b"),
    ],
)
def test_chinese_numbers_times_and_units_are_spelled_out(written: str, said: str) -> None:
    assert readable(written, "zh-CN") == said


def test_english_is_left_to_the_engine_but_for_markup_and_control_characters() -> None:
    assert readable("Leave by 18:30,\x00 exit 3 [[x]]", "en") == "Leave by 18:30,  exit 3  x"


@given(st.text(max_size=500))
def test_no_text_keeps_a_digit_a_bracket_or_a_control_character(text: str) -> None:
    assert not re.search(r"[0-9\x00-\x1f\[\]<>]", readable(text, "zh"))


def test_languages_without_a_voice_have_none() -> None:
    assert [espeak_voice(lang) for lang in ("zh", "zh-CN", "cmn", "en-GB", "EN", "fr", "", "--help")] == [
        "cmn-latn-pinyin",
        "cmn-latn-pinyin",
        "cmn-latn-pinyin",
        "en",
        "en",
        None,
        None,
        None,
    ]


def test_the_mandarin_voice_reads_no_syllable_as_an_english_word() -> None:
    said = readable("您所在的区域发生火灾，请立即撤离到龙港广场，105室。", "zh").encode()
    argv = ["espeak-ng", "-v", str(espeak_voice("zh")), "-b", "1", "-q", "-x", "--stdin"]
    phonemes = subprocess.run(argv, input=said, capture_output=True, check=True).stdout.decode()
    assert "(en)" not in phonemes
    assert phonemes.split()[:2] == ["n'i35n_|", "s'uo21_|"]
