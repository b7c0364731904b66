"""Files that only their owner can read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path


def write_private(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON to a file of mode 0600."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=1)


def read_private(path: Path) -> dict[str, object]:
    """The JSON object in a file, an empty one when there is no file. Raises OSError or ValueError."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text("utf-8"))
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def add_private(path: Path, content: Mapping[str, object]) -> None:
    """Add members to the JSON object in a file of mode 0600, in one step. Raises OSError or ValueError."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    write_private(fresh, {**read_private(path), **content})
    fresh.replace(path)
