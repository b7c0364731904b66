"""The settings of a city pack: `city.yaml` read into `CitySettings`, with every problem's line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .city_pack_rows import CODE_PATTERN, ID_PATTERN, NAME_CHARS_MAX, Problems, YamlEntry, read_mapping, shown

SENTENCE_CHARS_MAX = 200
DEPTH_LABELS_MAX = 8
NAMES = ("code", "name", "names", "timezone", "issuer", "depth_labels", "kinds", "sources")


@dataclass(frozen=True, slots=True)
class PackSettings:
    """What the city is called and how it speaks of its levels.

    `issuer` names the city in the streams it signs. `depth_labels` names the visible levels from the city down;
    `kinds` gives each kind of area its label, `names` the city's name by language, `sources` a sentence by source id.
    """

    code: str
    name: str
    names: Mapping[str, str]
    timezone: str
    issuer: str
    depth_labels: tuple[str, ...]
    kinds: Mapping[str, str]
    sources: Mapping[str, str]


def read_settings(path: Path, problems: Problems) -> PackSettings | None:
    """Read and check the settings; None after reporting why there are none."""
    entries = read_mapping(path, problems)
    if entries is None:
        return None
    page = _Page(path.name, entries, problems)
    if not page.has_just(NAMES):
        return None
    before = len(problems.found) + problems.left_out
    settings = PackSettings(
        code=page.text("code", 12),
        name=page.text("name", NAME_CHARS_MAX),
        names=page.table("names", NAME_CHARS_MAX),
        timezone=page.text("timezone", NAME_CHARS_MAX),
        issuer=page.text("issuer", 32),
        depth_labels=page.labels("depth_labels", DEPTH_LABELS_MAX),
        kinds=page.table("kinds", NAME_CHARS_MAX),
        sources=page.table("sources", SENTENCE_CHARS_MAX),
    )
    if settings.code and not CODE_PATTERN.fullmatch(settings.code):
        page.refuse("code", "bad_code", f"The city's code {shown(settings.code)} is not a code of 12 digits.")
    if settings.issuer and not ID_PATTERN.fullmatch(settings.issuer):
        said = f"The issuer {shown(settings.issuer)} is no id of 1 to 32 characters a-z, 0-9 or hyphen."
        page.refuse("issuer", "bad_id", said)
    if settings.timezone and not _is_timezone(settings.timezone):
        page.refuse("timezone", "unknown_timezone", f"The time zone {shown(settings.timezone)} is not known here.")
    return settings if len(problems.found) + problems.left_out == before else None


@dataclass(frozen=True, slots=True)
class _Page:
    """The entries of the file; each reader gives an empty value after reporting why."""

    file: str
    entries: Mapping[str, YamlEntry]
    problems: Problems

    def refuse(self, name: str, code: str, message: str) -> None:
        self.problems.add(self.file, self.entries[name].line, code, message)

    def has_just(self, names: tuple[str, ...]) -> bool:
        missing = [name for name in names if name not in self.entries]
        for name in missing:
            self.problems.add(self.file, 0, "missing_name", f"The name {name} is missing.")
        for name in self.entries:
            if name not in names:
                self.refuse(name, "unknown_name", f"The name {shown(name)} is not one this file may have.")
        return not missing

    def text(self, name: str, chars_max: int) -> str:
        value = self.entries[name].value
        if isinstance(value, str) and _is_readable(value, chars_max):
            return value
        self.refuse(name, "bad_text", f"The value of {name} is not a printable text of 1 to {chars_max} characters.")
        return ""

    def labels(self, name: str, items_max: int) -> tuple[str, ...]:
        value = self.entries[name].value
        if isinstance(value, tuple) and 1 <= len(value) <= items_max:
            if all(_is_readable(label, NAME_CHARS_MAX) for label in value):
                return value
        self.refuse(name, "bad_list", f"The value of {name} is not a list of 1 to {items_max} printable labels.")
        return ()

    def table(self, name: str, chars_max: int) -> dict[str, str]:
        value = self.entries[name].value
        if isinstance(value, dict) and value:
            if all(_is_readable(k, NAME_CHARS_MAX) and _is_readable(v, chars_max) for k, v in value.items()):
                return value
        said = f"The value of {name} is not a mapping of names to printable texts of 1 to {chars_max} characters."
        self.refuse(name, "bad_mapping", said)
        return {}


def _is_readable(text: str, chars_max: int) -> bool:
    return bool(text.strip()) and len(text) <= chars_max and text.isprintable()


def _is_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
