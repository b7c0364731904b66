"""How a text is read out: the engine's voice for a language, and numbers, times and units written as they are said.

Pure, and used by both ends, so that a speaker reading a text itself says what the dispatcher's rendering says.
Speech engines read digits in Chinese text unreliably (105 may come out as the word for 150), therefore no digit
reaches one: quantities, years, clock times and telephone numbers are spelled out here.
"""

from __future__ import annotations

import re

# espeak-ng's plain "cmn" voice reads a looked-up syllable back as an English word; the pinyin voice does not.
ESPEAK_VOICES = {"zh": "cmn-latn-pinyin", "cmn": "cmn-latn-pinyin", "en": "en"}

_DIGITS = "零一二三四五六七八九"
_PHONE_DIGITS = "零幺二三四五六七八九"
_QUANTITY_DIGITS_MAX = 8

_FULL_WIDTH = {code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}
_UNREADABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\[\]<>{}|\\^`_*#\u200b-\u200f\u2028-\u202f\ufeff]+")
_PAUSES = str.maketrans(",;!?:()（）-", "，；！？：，，，， ")

_DATE = re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)")
_YEAR = re.compile(r"(?<!\d)(\d{4})(?=年)")
_CLOCK = re.compile(r"(?<!\d)([01]?\d|2[0-4])[:：]([0-5]\d)(?!\d)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*[%％]")
_HOTLINE = re.compile(r"((?:拨打|电话|热线|致电|报警)[^\d，。；]{0,4})(\d{3,})")
_AREA_CODE = re.compile(r"(?<!\d)(0\d{2,3})[-–—](\d{7,8})(?!\d)")
_RANGE = re.compile(r"(?<=\d)\s*(?:[-–—~～]|至|到)\s*(?=\d)")
_MINUS = re.compile(r"(?<![\w-])[-−](?=\d)")
_NUMBER = re.compile(r"(\d+)(?:\.(\d+))?")
_PAIR = re.compile(r"(?<![\d点])2(?=[个名人米万千]|小时|公里)")
_UNITS = (
    (re.compile(r"(?<=\d)\s*(?:℃|°C)"), "摄氏度"),
    (re.compile(r"(?<=\d)\s*m/s(?![A-Za-z])"), "米每秒"),
    (re.compile(r"(?<=\d)\s*km/h(?![A-Za-z])"), "公里每小时"),
    (re.compile(r"(?<=\d)\s*km(?![A-Za-z])"), "公里"),
    (re.compile(r"(?<=\d)\s*mm(?![A-Za-z])"), "毫米"),
    (re.compile(r"(?<=\d)\s*cm(?![A-Za-z])"), "厘米"),
    (re.compile(r"(?<=\d)\s*m(?![A-Za-z])"), "米"),
)
_LETTERS = re.compile(r"[A-Z]{2,5}(?![A-Za-z])|[A-Z](?=[零一二三四五六七八九十百])")


def espeak_voice(lang: str) -> str | None:
    """The espeak-ng voice for a BCP 47 language tag such as "zh-CN", by its first part; None when there is none."""
    return ESPEAK_VOICES.get(lang.split("-")[0].lower())


def readable(text: str, lang: str) -> str:
    """The text as it is to be given to a speech engine: no markup, no control characters, in Chinese no digits."""
    plain = _UNREADABLE.sub(" ", text).strip()
    if lang.split("-")[0].lower() not in ("zh", "cmn"):
        return plain
    return _chinese(plain.translate(_FULL_WIDTH))


def _chinese(text: str) -> str:
    text = _DATE.sub(lambda m: f"{_one_by_one(m[1])}年{_quantity(m[2])}月{_quantity(m[3])}日", text)
    text = _YEAR.sub(lambda m: _one_by_one(m[1]), text)
    text = _CLOCK.sub(lambda m: _clock(int(m[1]), int(m[2])), text)
    text = _PERCENT.sub(lambda m: f"百分之{_number(m[1])}", text)
    text = _AREA_CODE.sub(lambda m: f"{_one_by_one(m[1], _PHONE_DIGITS)}，{_one_by_one(m[2], _PHONE_DIGITS)}", text)
    text = _HOTLINE.sub(lambda m: m[1] + _one_by_one(m[2], _PHONE_DIGITS), text)
    for unit, name in _UNITS:
        text = unit.sub(name, text)
    text = _RANGE.sub("至", text)
    text = _MINUS.sub("负", text)
    text = _PAIR.sub("两", text)
    text = _NUMBER.sub(lambda m: _number(m[0]), text)
    text = _LETTERS.sub(lambda m: " ".join(m[0]) + " ", text)
    return text.translate(_PAUSES)


def _clock(hour: int, minute: int) -> str:
    said = "两" if hour == 2 else _quantity(str(hour))
    if minute == 0:
        return f"{said}点整"
    return f"{said}点{'零' if minute < 10 else ''}{_quantity(str(minute))}分"


def _number(digits: str) -> str:
    whole, _, part = digits.partition(".")
    said = _quantity(whole) if _is_quantity(whole) else _one_by_one(whole, _PHONE_DIGITS)
    return f"{said}点{_one_by_one(part)}" if part else said


def _is_quantity(digits: str) -> bool:
    """Five digits and more are a quantity only when round (50000 people), otherwise a number to call (12379)."""
    if digits.startswith("0") and len(digits) > 1:
        return False
    return len(digits) <= 4 or (digits.endswith("00") and len(digits) <= _QUANTITY_DIGITS_MAX)


def _one_by_one(digits: str, names: str = _DIGITS) -> str:
    return "".join(names[int(digit)] for digit in digits)


def _quantity(digits: str) -> str:
    """A whole number below 10^8 in Chinese numerals: 105 is 一百零五, 10500 is 一万零五百."""
    number = int(digits)
    if number >= 10_000:
        rest = number % 10_000
        gap = "零" if 0 < rest < 1_000 else ""
        return f"{_quantity(str(number // 10_000))}万{gap}{_quantity(str(rest)) if rest else ''}"
    said = ""
    skipped = False
    for unit, name in ((1_000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = number // unit % 10
        if digit:
            said += ("零" if skipped else "") + _DIGITS[digit] + name
            skipped = False
        elif said:
            skipped = True
    if said.startswith("一十"):
        return said[1:]
    return said or "零"
