"""The text of an XML file that needs no parser to be understood: bytes in, characters out, and escapes undone. Pure.

Of a whole XML document only elements are left to be read in what leaves here: declaration, comments and stylesheets
before the first are cut off, every character is one that XML has, and every & begins an escape that has a name.
"""

from __future__ import annotations

import re

CHARS_MAX = 150_000
_UTF_8_BYTES_MAX = 4
# The declaration, and what senders put between it and the alert: comments, and how a browser should show it.
_PROLOGUE = re.compile(
    rb"(?:\xef\xbb\xbf)?"
    rb"""(?:<\?xml version ?= ?(?:"1\.0"|'1\.0')(?: encoding ?= ?(?:"(?i:utf-8)"|'(?i:utf-8)'))?"""
    rb"""(?: standalone ?= ?(?:"(?:yes|no)"|'(?:yes|no)'))? ?\?>)?[ \t\r\n]*+"""
    rb"(?:(?:<!--[^-]*+(?:-[^-]++)*-->|<\?xml-stylesheet [^?<]*+\?>)[ \t\r\n]*+)*(?=<[^!?])"
)
_CONTROLS = bytes({*range(32)} - {*b"\t\n\r"})
_NAMED = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&"))
# lxml writes a carriage return by its number. & comes last, so that no escape is made of what it then stands before.
_ESCAPES = (("&#13;", "\r"), *_NAMED)


def plain_text(raw: bytes) -> str:
    """The text of a file from its first element on, with one kind of line ends; empty when it is not in UTF-8, holds
    what no text of an XML document may, or is surely longer than CHARS_MAX."""
    if len(raw) > _UTF_8_BYTES_MAX * CHARS_MAX or len(raw.translate(None, _CONTROLS)) != len(raw):
        return ""
    prologue = _PROLOGUE.match(raw)
    if prologue is None:
        return ""
    try:
        whole = raw.decode()
    except UnicodeDecodeError:
        return ""
    if not whole.isascii() and ("\ufffe" in whole or "\uffff" in whole):
        return ""
    text = whole[len(raw[: prologue.end()].decode()) :]
    if "]" in text and "]]>" in text:
        return ""
    if "&" in text and text.count("&") != sum([text.count(written) for written, _ in _NAMED]):
        return ""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def unescaped(text: str) -> str:
    """What a text means that is written with escapes, as senders and lxml write them."""
    if "&" not in text:
        return text
    for written, meant in _ESCAPES:
        text = text.replace(written, meant)
    return text
