"""Bytes of a city pack to checked rows: CSV tables and the small YAML mapping, with every problem's file and line.

It knows encodings, columns and cell types; what the rows mean is `city_pack`'s business. Nothing here trusts the
files: sizes, rows, cells and the list of problems are capped, and YAML is read as plain nodes, never constructed.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import yaml

from services.dispatcher.domain.wordings import unfilled

CSV_BYTES_MAX = 32 * 1024 * 1024
YAML_BYTES_MAX = 64 * 1024
CELL_CHARS_MAX = 8192
NAME_CHARS_MAX = 64
LIST_ITEMS_MAX = 500
PROBLEMS_MAX = 500
ID_PATTERN = re.compile(r"[a-z0-9-]{1,32}")
CODE_PATTERN = re.compile(r"[0-9]{12}")
INTEGER_PATTERN = re.compile(r"-?[0-9]{1,10}")

Word = TypeVar("Word", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class PackProblem:
    """One thing wrong in a pack: `line` counts from 1, 0 means the whole file; `message` is one sentence."""

    file: str
    line: int
    code: str
    message: str


@dataclass(slots=True)
class Problems:
    """Every problem found so far, at most `PROBLEMS_MAX` of them; the rest are counted in `left_out`."""

    found: list[PackProblem] = field(default_factory=list)
    left_out: int = 0

    def add(self, file: str, line: int, code: str, message: str) -> None:
        if len(self.found) < PROBLEMS_MAX:
            self.found.append(PackProblem(file, line, code, message))
        else:
            self.left_out += 1

    def __bool__(self) -> bool:
        return bool(self.found)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table. Each reader returns the cell's value, or None after reporting why there is none."""

    file: str
    line: int
    cells: dict[str, str]
    problems: Problems

    def refuse(self, code: str, message: str) -> None:
        self.problems.add(self.file, self.line, code, message)

    def given(self, column: str) -> bool:
        """Whether the cell holds anything."""
        return bool(self.cells.get(column))

    def name(self, column: str = "name") -> str | None:
        """Text that people read: 1 to `NAME_CHARS_MAX` printable characters."""
        text = self.cells[column]
        if not text:
            self.refuse("empty_cell", f"The column {column} is empty.")
        elif len(text) > NAME_CHARS_MAX or not text.isprintable():
            self.refuse("bad_text", f"The {column} is longer than {NAME_CHARS_MAX} characters or is not printable.")
        elif left := unfilled(text):
            self.refuse("placeholder_left", f"The {column} holds {left}, which would be read out: nothing fills it.")
        else:
            return text
        return None

    def id(self, column: str = "id") -> str | None:
        """An id of 1 to 32 lower-case letters, digits and hyphens."""
        return self._matching(column, ID_PATTERN, "bad_id", "is no id of 1 to 32 characters a-z, 0-9 or hyphen")

    def area_code(self, column: str) -> str | None:
        """A 12-digit area code (统计用区划代码)."""
        return self._matching(column, CODE_PATTERN, "bad_code", "is not a code of 12 digits")

    def area_codes(self, column: str) -> tuple[str, ...]:
        """Area codes between semicolons; an empty cell is none."""
        codes = self.words(column)
        for code in codes:
            if not CODE_PATTERN.fullmatch(code):
                self.refuse("bad_code", f"The {column} holds {shown(code)}, which is not a code of 12 digits.")
        return tuple(code for code in codes if CODE_PATTERN.fullmatch(code))

    def words(self, column: str) -> tuple[str, ...]:
        """Words between semicolons, at most `LIST_ITEMS_MAX`, none twice; an empty cell is none."""
        text = self.cells.get(column, "")
        words = tuple(word.strip() for word in text.split(";")) if text else ()
        if len(words) > LIST_ITEMS_MAX:
            self.refuse("too_many_items", f"The {column} lists {len(words)} items, more than {LIST_ITEMS_MAX}.")
            return ()
        if len(set(words)) < len(words):
            self.refuse("duplicate_item", f"The {column} lists something twice.")
        return words

    def integer(self, column: str, least: int, most: int) -> int | None:
        """A whole number from `least` to `most`."""
        text = self.cells.get(column, "")
        value = int(text) if INTEGER_PATTERN.fullmatch(text) else None
        if value is None:
            self.refuse("bad_number", f"The {column} is {shown(text)}, not a whole number.")
        elif not least <= value <= most:
            self.refuse("out_of_range", f"The {column} is {value}, outside {least} to {most}.")
        else:
            return value
        return None

    def flag(self, column: str) -> bool:
        """1 is yes; 0 or an empty cell is no."""
        text = self.cells.get(column, "")
        if text not in ("", "0", "1"):
            self.refuse("bad_flag", f"The {column} is {shown(text)}, neither 0 nor 1.")
        return text == "1"

    def day(self, column: str) -> str | None:
        """A day as YYYY-MM-DD."""
        text = self.cells.get(column, "")
        if _is_day(text):
            return text
        self.refuse("bad_date", f"The {column} is {shown(text)}, not a day written YYYY-MM-DD.")
        return None

    def word_of(self, column: str, words: type[Word]) -> Word | None:
        """One word of a fixed vocabulary."""
        text = self.cells[column]
        if text in list(words):
            return words(text)
        self.refuse("unknown_word", f"The {column} is {shown(text)}, not one of {', '.join(words)}.")
        return None

    def _matching(self, column: str, pattern: re.Pattern[str], code: str, what: str) -> str | None:
        text = self.cells[column]
        if pattern.fullmatch(text):
            return text
        self.refuse(code, f"The {column} {shown(text)} {what}.")
        return None


@dataclass(frozen=True, slots=True)
class Columns:
    """What a table must have and may have, in any order, and how many rows it may hold."""

    required: tuple[str, ...]
    optional: tuple[str, ...]
    rows_max: int


def read_text(path: Path, bytes_max: int, problems: Problems) -> str | None:
    """A file as text: UTF-8 with or without a byte order mark, or GB18030. None after reporting why not."""
    file = path.name
    try:
        if not path.is_file():
            problems.add(file, 0, "file_missing", "This file is missing or is not a plain file.")
            return None
        with path.open("rb") as opened:
            content = opened.read(bytes_max + 1)
    except OSError as error:
        problems.add(file, 0, "file_unreadable", f"This file can't be read: {error.strerror or 'input error'}.")
        return None
    if len(content) > bytes_max:
        problems.add(file, 0, "file_too_large", f"This file is larger than {bytes_max} bytes.")
        return None
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    problems.add(file, 0, "bad_encoding", "This file is neither UTF-8 nor GB18030.")
    return None


def read_table(path: Path, columns: Columns, problems: Problems) -> list[Row]:
    """The rows of a CSV file that have the shape of its header; everything else is reported."""
    text = read_text(path, CSV_BYTES_MAX, problems)
    if text is None:
        return []
    lines = _csv_lines(path.name, text, problems)
    header = next(lines, None)
    if header is None:
        problems.add(path.name, 0, "empty_file", "This file has no header line.")
        return []
    names = [cell.strip() for cell in header[1]]
    if not _header_fits(path.name, header[0], names, columns, problems):
        return []
    rows: list[Row] = []
    for line, cells in lines:
        if len(rows) >= columns.rows_max:
            problems.add(path.name, line, "too_many_rows", f"This file has more than {columns.rows_max} rows.")
            break
        if len(cells) != len(names):
            said = f"This line has {len(cells)} cells where the header has {len(names)}."
            problems.add(path.name, line, "broken_row", said)
        elif max(map(len, cells)) > CELL_CHARS_MAX:
            problems.add(path.name, line, "cell_too_long", f"A cell holds more than {CELL_CHARS_MAX} characters.")
        else:
            stripped = dict(zip(names, (cell.strip() for cell in cells), strict=True))
            rows.append(Row(path.name, line, stripped, problems))
    return rows


def _csv_lines(file: str, text: str, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        problems.add(file, line, "broken_csv", f"From this line on the file is not readable as CSV: {error}.")


def _header_fits(file: str, line: int, names: Sequence[str], columns: Columns, problems: Problems) -> bool:
    missing = [name for name in columns.required if name not in names]
    known = {*columns.required, *columns.optional}
    unknown = [name for name in names if name not in known]
    for name in missing:
        problems.add(file, line, "missing_column", f"The column {name} is missing.")
    for name in unknown[:LIST_ITEMS_MAX]:
        problems.add(file, line, "unknown_column", f"The column {shown(name)} is not one this file may have.")
    twice = len(set(names)) < len(names)
    if twice:
        problems.add(file, line, "duplicate_column", "A column stands in the header twice.")
    return not (missing or unknown or twice)


@dataclass(frozen=True, slots=True)
class YamlEntry:
    """One value of a YAML mapping with its line: a scalar's text, a list of texts, or a mapping of text to text."""

    line: int
    value: str | tuple[str, ...] | dict[str, str]


def read_mapping(path: Path, problems: Problems) -> dict[str, YamlEntry] | None:
    """A YAML mapping two levels deep at most, every scalar as its text. None after reporting why not."""
    text = read_text(path, YAML_BYTES_MAX, problems)
    if text is None:
        return None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        problems.add(path.name, line, "broken_yaml", f"This is not readable as YAML: {error.problem}.")
        return None
    except (yaml.YAMLError, RecursionError):
        problems.add(path.name, 0, "broken_yaml", "This is not readable as YAML.")
        return None
    if not isinstance(root, yaml.MappingNode):
        problems.add(path.name, 1, "broken_yaml", "This file is not a mapping of names to values.")
        return None
    entries: dict[str, YamlEntry] = {}
    for name, node in _pairs(path.name, root, problems):
        value = _value(path.name, name, node, problems)
        if value is not None:
            entries[name] = YamlEntry(node.start_mark.line + 1, value)
    return entries


def _pairs(file: str, mapping: yaml.MappingNode, problems: Problems) -> Iterator[tuple[str, yaml.Node]]:
    seen: set[str] = set()
    for key, node in mapping.value[:LIST_ITEMS_MAX]:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            problems.add(file, line, "broken_yaml", "A name here is not plain text.")
        elif key.value in seen:
            problems.add(file, line, "duplicate_name", f"The name {shown(key.value)} stands here twice.")
        else:
            seen.add(key.value)
            yield key.value, node


def _value(file: str, name: str, node: yaml.Node, problems: Problems) -> str | tuple[str, ...] | dict[str, str] | None:
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    if isinstance(node, yaml.SequenceNode) and len(node.value) <= LIST_ITEMS_MAX:
        if all(isinstance(item, yaml.ScalarNode) for item in node.value):
            return tuple(str(item.value) for item in node.value)
    if isinstance(node, yaml.MappingNode) and len(node.value) <= LIST_ITEMS_MAX:
        pairs = list(_pairs(file, node, problems))
        if all(isinstance(item, yaml.ScalarNode) for _, item in pairs):
            return {key: str(item.value) for key, item in pairs}
    said = f"The value of {shown(name)} is too long or nested too deep."
    problems.add(file, node.start_mark.line + 1, "broken_yaml", said)
    return None


def _is_day(text: str) -> bool:
    try:
        # Python also reads other ISO notations; they would not compare as text with the days in the store.
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def shown(text: str) -> str:
    """Foreign text made safe to repeat in a sentence: quoted, escaped where not printable, at most 40 characters."""
    plain = text if text.isprintable() else ascii(text)[1:-1]
    return f"“{plain}”" if len(plain) <= 40 else f"“{plain[:39]}…”"
