"""Foreign XML in, a root element or a named refusal out. Pure.

Entities, document types and the network stay shut, whatever the file asks for.
"""

from __future__ import annotations

from functools import cache

from lxml import etree


class BadXml(Exception):
    """The file is no XML that may be read; `code`, `where` and `sentence` say why."""

    def __init__(self, code: str, where: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.where = where
        self.sentence = sentence


@cache
def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        huge_tree=False,
        load_dtd=False,
        dtd_validation=False,
        remove_comments=True,
        remove_pis=True,
    )


def open_root(raw: bytes, bytes_max: int) -> etree._Element:
    """The root element of at most `bytes_max` bytes; raises BadXml."""
    if not raw.strip():
        raise BadXml("empty", "", "The file is empty.")
    if len(raw) > bytes_max:
        raise BadXml("too_large", "", f"The file has {len(raw)} bytes; {bytes_max} are allowed.")
    try:
        root = etree.fromstring(raw, _parser())
    except (etree.XMLSyntaxError, ValueError, LookupError) as cause:
        line = getattr(cause, "lineno", None)
        raise BadXml("xml_malformed", f"line {line}" if line else "", "The file is not well-formed XML.") from cause
    if root.getroottree().docinfo.internalDTD is not None:
        raise BadXml("xml_doctype", "", "The file carries a document type, which messages have no use for.")
    return root
