"""Foreign XML in, a root element or a named refusal out. Pure.

Entities, document types and the network stay shut, whatever the file asks for. Comments and processing instructions are
left out of the tree; a compact tree, which is cheaper, has no blank text between elements either. A signature is over
all of them: whoever checks one parses the bytes anew.
"""

from __future__ import annotations

import re
from functools import cache

from lxml import etree

_OLDER_GB = re.compile(
    rb"<[?]xml\s[^>]{0,64}encoding\s*=\s*[\"'](?:gb_?2312(?:-80)?|gbk)[\"'][^>]{0,64}[?]>", re.IGNORECASE
)

# libxml2's own limits: a name of 50,000 characters; 256 levels of nesting, and what entities would blow the text up to.
_ERR_NAME_TOO_LONG, _ERR_RESOURCE_LIMIT = 110, 114


class BadXml(Exception):
    """The file is no XML that may be read; `code`, `where` and `sentence` say why."""

    def __init__(self, code: str, where: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.where = where
        self.sentence = sentence


@cache
def _parser(*, compact: bool) -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        huge_tree=False,
        load_dtd=False,
        dtd_validation=False,
        remove_blank_text=compact,
        remove_comments=True,
        remove_pis=True,
    )


def open_root(raw: bytes, bytes_max: int, *, compact: bool = False) -> etree._Element:
    """The root element of at most `bytes_max` bytes; raises BadXml."""
    if len(raw) > bytes_max:
        raise BadXml("too_large", "", f"The file has {len(raw)} bytes; {bytes_max} are allowed.")
    try:
        root = etree.fromstring(raw, _parser(compact=compact))
    except (etree.XMLSyntaxError, ValueError, LookupError) as cause:
        wider = _from_wider_encoding(raw, compact=compact)
        if wider is None:
            raise _refusal(raw, cause) from cause
        root = wider
    if root.getroottree().docinfo.internalDTD is not None:
        raise _doctype()
    return root


def _from_wider_encoding(raw: bytes, *, compact: bool) -> etree._Element | None:
    """The root of a file that says GB 2312 or GBK and holds characters that only GB 18030 has, as Chinese senders often
    do; GB 18030 reads whatever the older ones do in the same way. None for any other file, UTF-8 above all."""
    declared = _OLDER_GB.match(raw)
    if declared is None or _is_utf_8(raw):
        return None
    try:
        return etree.fromstring(raw[declared.end() :].decode("gb18030").encode(), _parser(compact=compact))
    except (etree.XMLSyntaxError, ValueError):
        return None


def _is_utf_8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _doctype() -> BadXml:
    return BadXml("xml_doctype", "", "The file carries a document type, which messages have no use for.")


def _refusal(raw: bytes, cause: Exception) -> BadXml:
    if not raw.strip():
        return BadXml("empty", "", "The file is empty.")
    line = getattr(cause, "lineno", None)
    where = f"line {line}" if line else ""
    if getattr(cause, "code", None) in (_ERR_NAME_TOO_LONG, _ERR_RESOURCE_LIMIT):
        if b"<!DOCTYPE" in raw.replace(b"\0", b""):
            return _doctype()
        return BadXml("xml_too_large", where, "The file nests deeper or grows larger when read than any message does.")
    return BadXml("xml_malformed", where, "The file is not well-formed XML.")


def stray_text(element: etree._Element) -> str:
    """The first text that stands beside an element's children, where only elements may; empty when there is none."""
    for text in (element.text, *(child.tail for child in element)):
        if text and not text.isspace():
            return text.strip()
    return ""
