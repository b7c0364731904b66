"""Placeholders in words: which there are, what fills them, and what must never be spoken because nothing does."""

from __future__ import annotations

import re

PLACEHOLDERS = ("place",)
"""What may stand in braces in a playbook's words and questions."""
_BRACED = re.compile(r"[{｛][^{}｛｝]*[}｝]?|[}｝]")


def filled(texts: dict[str, str], places: dict[str, str]) -> dict[str, str]:
    """The texts with the place in each language's name of it, else in the Chinese one."""
    return {lang: text.replace("{place}", places.get(lang, places.get("zh", ""))) for lang, text in texts.items()}


def unfilled(text: str) -> str:
    """The first thing in braces of any width, or the first brace alone; empty where there is none. What is spoken has
    none: it would be read out."""
    found = _BRACED.search(text)
    return found.group() if found else ""


def unknown_placeholder(template: str) -> str:
    """The same for words that are still to be filled: what no placeholder of ours is."""
    for name in PLACEHOLDERS:
        template = template.replace(f"{{{name}}}", "")
    return unfilled(template)
