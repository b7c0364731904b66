"""Lists of alerts: which entries they hold, where they lead, and that nothing else ever leaves them."""

from __future__ import annotations

import html
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.signals import Feed, Use
from services.dispatcher.feeds import FEEDS, cap
from services.dispatcher.feeds.atom import (
    EMBEDDED_BYTES_MAX,
    ENTRIES_MAX,
    LIST_BYTES_MAX,
    PROBLEMS_MAX,
    SIGNALS_MAX,
    AtomEntries,
    ListEntry,
    read_list,
    reading,
)

DATA = Path(__file__).parents[1] / "data"
SAMPLES = Path(__file__).parents[3] / "shared" / "samples" / "feeds"
LINKS = (DATA / "feeds" / "links.atom").read_text(encoding="utf-8")
RSS = (DATA / "feeds" / "list.rss").read_text(encoding="utf-8")
ALERT = (DATA / "cap" / "rainstorm.xml").read_text(encoding="utf-8").partition("?>")[2].strip()
FEED = Feed("met", "示例气象台", "气象局", "atom", Use.ACTUAL, "", "210200000000")
AT_8_US = 1_782_864_000_000_000
ATOM = "http://www.w3.org/2005/Atom"


def atom(*entries: str, attributes: str = "") -> bytes:
    head = "<id>list</id><title>list</title><updated>2026-07-01T00:00:00Z</updated>"
    return f'<feed xmlns="{ATOM}" {attributes}>{head}{"".join(entries)}</feed>'.encode()


def entry(inside: str, id: str = "one") -> str:
    return f"<entry><id>{id}</id><title>t</title><updated>2026-07-01T00:00:00Z</updated>{inside}</entry>"


def link(href: str, type: str = "application/cap+xml") -> str:
    return entry(f'<link type="{type}" href="{html.escape(href)}"/>')


def urls(raw: bytes, base: str = "https://alerts.example.cn/list") -> list[str | None]:
    return [each.cap_url for each in read_list(raw, base).entries]


def codes(raw: bytes, base: str = "") -> list[str]:
    return [problem.code for problem in read_list(raw, base).problems]


def alert_numbered(number: int) -> str:
    return ALERT.replace("rain-0001", f"rain-{number}")


def test_an_atom_list_gives_its_entries_with_absolute_links_and_cap_fields() -> None:
    assert read_list(LINKS.encode()) == AtomEntries(
        (
            ListEntry(
                "urn:example:rain-0001",
                "示例气象台发布暴雨橙色预警信号",
                AT_8_US,
                "https://alerts.example.cn/cap/rain-0001.xml",
                None,
                (("event", "暴雨"), ("severity", "Severe"), ("areaDesc", "港口区")),
            ),
            ListEntry(
                "urn:example:gale-0002",
                "示例气象台发布大风蓝色预警信号",
                AT_8_US + 240_000_000,
                "http://mirror.example.cn/gale-0002.xml",
                None,
            ),
        ),
        (),
    )


def test_an_rss_list_gives_its_items_and_names_what_they_lack() -> None:
    assert read_list(RSS.encode(), "https://alerts.example.cn/rss") == AtomEntries(
        (
            ListEntry("rain-0001", "暴雨橙色预警", AT_8_US, "https://alerts.example.cn/cap/rain-0001.xml", None),
            ListEntry(
                "https://alerts.example.cn/cap/gale-0002.xml",
                "大风蓝色预警",
                None,
                "https://alerts.example.cn/cap/gale-0002.xml",
                None,
            ),
        ),
        read_list(RSS.encode(), "https://alerts.example.cn/rss").problems,
    )
    assert codes(RSS.encode(), "https://alerts.example.cn/rss") == ["missing", "missing"]


@pytest.mark.skipif(not SAMPLES.exists(), reason="the sample files are not here")
def test_lists_of_real_services_are_read() -> None:
    indexed = read_list((SAMPLES / "google_ny_index.rss").read_bytes())
    assert [(each.id, each.cap_url is not None, each.embedded) for each in indexed.entries] == [
        ("NYAlert-ALLHAZALERT-3167113", True, None),
        ("NYAlert-ALLHAZALERT-3162202", True, None),
    ]
    held = read_list((SAMPLES / "google_weather.atom").read_bytes())
    assert (len(held.entries), held.problems) == (1, ())
    found = cap.read(held.entries[0].embedded or b"")
    assert found.message is not None
    assert found.message.identifier.startswith("NOAA-NWS-ALERTS-MT20120830100700")


@pytest.mark.parametrize(
    "content",
    [
        f'<content type="text/xml">{ALERT}</content>',
        f'<content type="application/cap+xml">{ALERT}</content>',
        f'<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">{ALERT}</div></content>',
        f'<content type="text">{html.escape(ALERT)}</content>',
        f'<content type="html">&lt;?xml version="1.0" encoding="GBK"?&gt;{html.escape(ALERT)}</content>',
        ALERT,
        f"<summary>rain</summary><content>text</content>{ALERT}",
    ],
)
def test_an_alert_inside_an_entry_is_taken_out_in_every_form_of_content(content: str) -> None:
    (found,) = read_list(atom(entry(content))).entries
    assert found.embedded is not None
    message = cap.read(found.embedded).message
    assert message is not None
    assert message == cap.read(ALERT.encode()).message


def test_an_alert_inside_an_rss_item_is_taken_out() -> None:
    raw = f"<rss><channel><item><title>t</title><guid>1</guid><description>{html.escape(ALERT)}</description></item>"
    (found,) = read_list(f"{raw}</channel></rss>".encode()).entries
    assert cap.read(found.embedded or b"").message == cap.read(ALERT.encode()).message


def test_a_list_that_is_sent_here_makes_the_signals_of_the_alerts_inside_it() -> None:
    raw = atom(entry(ALERT, "1"), link("/cap/2.xml"), entry(alert_numbered(2), "3"), entry(ALERT, "4"))
    found = FEEDS["atom"](raw, FEED, AT_8_US)
    alone = cap.reading(ALERT.encode(), FEED, AT_8_US).signals
    assert found.signals[: len(alone)] == alone
    assert [signal.key.split(",")[1] for signal in found.signals] == ["rain-0001", "rain-2"]
    linked = [(p.severity, p.code, p.where) for p in found.problems if p.code.startswith(("entry", "link"))]
    assert linked == [("warning", "link_refused", "entry[2]/link"), ("warning", "entry_empty", "entry[2]")]


def test_a_link_in_a_list_that_is_sent_here_is_named() -> None:
    found = reading(LINKS.encode(), FEED, AT_8_US)
    assert found.signals == ()
    assert [p.code for p in found.problems] == ["entry_linked", "entry_linked"]


def test_the_problems_of_an_alert_inside_say_in_which_entry() -> None:
    found = reading(atom(entry(ALERT.replace("<severity>Severe", "<severity>High"))), FEED, AT_8_US)
    assert found.signals == ()
    assert ("value_unknown", "entry[1]/info[1]/severity") in [(p.code, p.where) for p in found.problems]


@pytest.mark.parametrize(
    ("href", "resolved"),
    [
        ("a.xml", "https://alerts.example.cn/a.xml"),
        ("/x/a.xml?q=1#part", "https://alerts.example.cn/x/a.xml?q=1"),
        ("//other.example.cn/a.xml", "https://other.example.cn/a.xml"),
        ("http://[::1]:8080/a.xml", "http://[::1]:8080/a.xml"),
        (" a.xml ", "https://alerts.example.cn/a.xml"),
    ],
)
def test_relative_links_are_resolved(href: str, resolved: str) -> None:
    assert urls(atom(link(href))) == [resolved]


@pytest.mark.parametrize(
    "href",
    [
        "file:///etc/passwd",
        "ftp://example.cn/a.xml",
        "javascript:alert(1)",
        "data:text/xml,x",
        "http://user:word@example.cn/a.xml",
        "http:///a.xml",
        "http://[::1/a.xml",
        "http://example.cn:99999/a.xml",
        "http://example.cn/a b.xml",
        "http://example.cn\\@other/a.xml",
        "https://example.cn/" + "x" * 3_000,
    ],
)
def test_links_to_anything_but_http_are_refused(href: str) -> None:
    assert urls(atom(link(href))) == []
    assert codes(atom(link(href)), "https://alerts.example.cn/") == ["link_refused", "entry_empty"]


def test_a_relative_link_without_a_base_leads_nowhere() -> None:
    assert read_list(atom(link("a.xml"))).entries == ()


def test_the_link_that_says_it_is_cap_is_taken_before_all_others() -> None:
    links = '<link href="/any"/><link type="text/xml" href="/xml"/><link type="text/html" href="/html"/>'
    assert urls(atom(entry(links))) == ["https://alerts.example.cn/xml"]
    typed = links + '<link type="Application/CAP+xml; charset=utf-8" href="/cap"/>'
    assert urls(atom(entry(typed))) == ["https://alerts.example.cn/cap"]
    assert urls(atom(entry('<link type="text/html" href="/html"/>'))) == []
    assert urls(atom(entry('<link rel="self" href="/self"/>'))) == []
    assert urls(atom(entry('<content type="application/cap+xml" src="/cap"/>'))) == ["https://alerts.example.cn/cap"]


def test_an_updated_entry_is_a_new_one_and_a_repeated_one_is_not() -> None:
    (first,) = read_list(atom(link("http://example.cn/a"))).entries
    (later,) = read_list(atom(link("http://example.cn/a")).replace(b"00:00:00Z", b"00:05:00Z")).entries
    assert first.id == later.id
    assert first.token != later.token
    assert len(read_list(atom(link("http://example.cn/a"), link("http://example.cn/a"))).entries) == 1


def test_an_alert_is_told_from_a_list_of_alerts() -> None:
    assert codes(ALERT.encode()) == ["alert_not_list"]
    assert codes(b"<html/>") == ["not_a_list"]
    assert codes(b"<feed/>") == ["not_a_list"]
    assert codes(b"<rss/>") == ["missing"]
    for raw in (LINKS, RSS):
        refused = cap.read(raw.encode())
        assert refused.message is None
        assert refused.problems


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "empty"),
        (b"<feed", "xml_malformed"),
        (b"x" * (LIST_BYTES_MAX + 1), "too_large"),
        (b'<!DOCTYPE feed [<!ENTITY x SYSTEM "file:///etc/passwd">]><feed>&x;</feed>', "xml_doctype"),
        (b'<!DOCTYPE feed [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><feed>&b;</feed>', "xml_doctype"),
    ],
)
def test_what_is_no_list_is_refused_with_its_reason(raw: bytes, code: str) -> None:
    assert read_list(raw).entries == ()
    assert codes(raw) == [code]


def test_nesting_without_end_is_refused() -> None:
    assert len(codes(f'<feed xmlns="{ATOM}">'.encode() * 10_000)) == 1


def test_entries_are_capped() -> None:
    raw = atom(*(entry('<link href="http://example.cn/a"/>', str(n)) for n in range(ENTRIES_MAX + 1)))
    assert len(read_list(raw).entries) == ENTRIES_MAX
    assert codes(raw) == ["too_many"]


def test_problems_are_capped() -> None:
    found = read_list(atom(*(entry("", str(n)) for n in range(ENTRIES_MAX))))
    assert (len(found.entries), len(found.problems)) == (0, PROBLEMS_MAX)


def test_alerts_that_take_the_lists_namespaces_along_cannot_outgrow_the_cap() -> None:
    spaces = " ".join(f'xmlns:n{n}="urn:{n}{"x" * 3_000}"' for n in range(100))
    found = read_list(atom(*(entry(alert_numbered(n), str(n)) for n in range(100)), attributes=spaces))
    assert sum(len(each.embedded or b"") for each in found.entries) <= EMBEDDED_BYTES_MAX
    assert (found.problems[0].severity, found.problems[0].code) == ("error", "too_large")
    assert found.entries


def test_namespaces_without_number_are_refused_on_the_list_and_left_out_on_an_entry() -> None:
    spaces = " ".join(f'xmlns:n{n}="urn:{n}"' for n in range(20_000))
    assert codes(atom(entry(ALERT), attributes=spaces)) == ["too_many"]
    assert codes(atom(entry(ALERT).replace("<entry>", f"<entry {spaces}>"))) == ["too_many", "entry_empty"]


def test_signals_of_one_list_are_capped_and_the_cut_is_an_error() -> None:
    raw = atom(*(entry(alert_numbered(n), str(n)) for n in range(SIGNALS_MAX + 10)))
    found = reading(raw, FEED, AT_8_US)
    assert len(found.signals) == SIGNALS_MAX
    assert (found.problems[0].severity, found.problems[0].code) == ("error", "too_many")


@pytest.mark.parametrize("time", ["yesterday", "2026-13-01T00:00:00Z", "Wed, 99 Jul 2026 08:00:00 +0800", "9" * 100])
def test_a_time_that_is_none_is_named(time: str) -> None:
    raw = atom(link("http://example.cn/a")).replace(
        b"<updated>2026-07-01T00:00:00Z</updated><link", f"<updated>{time}</updated><link".encode()
    )
    (found,) = read_list(raw).entries
    assert found.updated_us is None
    assert codes(raw) == ["time_malformed"]


@given(st.integers(0, len(LINKS)), st.integers(0, 40), st.text(max_size=12))
def test_no_change_of_a_list_crashes_it_or_gets_another_scheme_out(at: int, length: int, put: str) -> None:
    changed = (LINKS[:at] + put + LINKS[at + length :]).encode("utf-8", "surrogatepass")
    for each in read_list(changed, "https://alerts.example.cn/").entries:
        assert each.token
        assert each.cap_url is None or urlsplit(each.cap_url).scheme in ("http", "https")


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_link_and_no_time_crash_it(href: str, time: str) -> None:
    characters = [c for c in html.escape(href + "|" + time) if c.isprintable()]
    href, _, time = "".join(characters).partition("|")
    read_list(atom(f'<entry><updated>{time}</updated><link href="{href}"/></entry>'), "http://example.cn/")
    item = f"<item><pubDate>{time}</pubDate><link>{href}</link></item>"
    read_list(f"<rss><channel>{item}</channel></rss>".encode("utf-8", "surrogatepass"), href)


@given(st.binary(max_size=300))
def test_no_bytes_crash_it(raw: bytes) -> None:
    assert read_list(raw).entries == ()
    reading(raw, FEED, AT_8_US)
