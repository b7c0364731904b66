"""Which format a file has, by how it begins and what its JSON holds. Pure; a guess for people, never for enrolment."""

from __future__ import annotations

from lxml import etree

from services.dispatcher.feeds import alert12379, alertmanager, atom, cap, ebd, plain, table
from services.dispatcher.feeds.ebd_tar import looks_like_tar
from services.dispatcher.feeds.json_edge import BadJson, open_json
from services.dispatcher.feeds.table_columns import field_of
from services.dispatcher.feeds.xml_edge import BadXml, open_root

HEAD_BYTES = 64
_ROWS = ("rows", "data", "records")
_ALERTS = ("alerts", "labels", "ruleName", "ruleId")


def detect(raw: bytes) -> str:
    """The format's name in FEEDS; what begins like XML is told by its root, what has no sign of any for a table."""
    head = raw[:HEAD_BYTES].replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf").lstrip(b"\xff\xfe \t\r\n")
    if looks_like_tar(raw):
        return ebd.FORMAT
    if not head or head.startswith(b"<"):
        return _of_root(raw)
    if not head.startswith((b"{", b"[")):
        return table.FORMAT
    try:
        value = open_json(raw, table.TABLE_BYTES_MAX)
    except BadJson:
        return plain.FORMAT
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, dict):
        return plain.FORMAT
    if any(name in first for name in _ALERTS):
        return alertmanager.FORMAT
    if any(isinstance(first.get(name), list) for name in _ROWS):
        return table.FORMAT
    published = plain.REPORT_SCHEMA["properties"]
    assert isinstance(published, dict)
    foreign = [name for name in first if name not in published]
    return table.FORMAT if any(field_of(name) for name in foreign) else plain.FORMAT


def _of_root(raw: bytes) -> str:
    """The format of XML by its root; what cannot be read is CAP's to refuse."""
    try:
        root = open_root(raw, atom.LIST_BYTES_MAX)
    except BadXml:
        return cap.FORMAT
    if etree.QName(root).localname == "EBD":
        return ebd.FORMAT
    if alert12379.belongs(root):
        return alert12379.FORMAT
    return atom.FORMAT if atom.list_kind(root) else cap.FORMAT
