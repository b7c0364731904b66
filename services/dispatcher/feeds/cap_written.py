"""How CAP 1.1 and 1.2 alerts are written where all is right: regular expressions of their parts. Data.

Each begins behind the < of an element and ends behind the next. Groups are the fields in the order of the schema; of
those that may stand again the group is the whole stretch. What is matched once matches in no other way, so that a
failure is quick. No group repeats possessively: up to Python 3.11.4 re loses its place when such a one fails in a
branch.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from services.dispatcher.feeds.cap_message import NAME_CHARS_MAX
from services.dispatcher.feeds.cap_tables import ENUMS, ORDER
from services.dispatcher.feeds.cap_times import WHOLE_TIME

# CAP 1.0 was never strict about its order, and is rare.
VERSIONS_WRITTEN = ("1.1", "1.2")
BLANKS = " \t\n"
"""What XML lets stand between elements, line ends made one."""

_ON = f">[{BLANKS}]*+<"
_ANY = "[^<]*+"
_FORMS: dict[str, str] = {
    **dict.fromkeys(("identifier", "sender"), rf"[^\s,<&]{{1,{NAME_CHARS_MAX}}}+"),
    "sent": WHOLE_TIME,
    **dict.fromkeys(("effective", "onset", "expires"), f"{WHOLE_TIME}|"),
    **{name: "|".join(sorted(values)) for name, values in ENUMS.items()},
}
"""What may stand between blanks in the elements that may not hold just any text."""
_GROUP, _NO_GROUP = "(", "(?:"
_PAIRS = ("eventCode", "parameter", "geocode")


class Written(NamedTuple):
    """The parts of an alert of one version and namespace prefix: the alert from the end of its opening to its info
    blocks, an info up to its resources, a resource, an area, and the end of an info; further, from its < on, a pair."""

    version: str
    alert: re.Pattern[str]
    info: re.Pattern[str]
    resource: re.Pattern[str]
    area: re.Pattern[str]
    info_end: re.Pattern[str]
    pair: re.Pattern[str]
    alert_end: str


@lru_cache(64)
def written_of(version: str, prefix: str) -> Written:
    """How the elements of a version are written with a namespace prefix; "" for none."""
    p = f"{re.escape(prefix)}:" if prefix else ""

    def texts(name: str, group: str) -> str:
        form = _FORMS.get(name)
        text = f"{group}{_ANY})" if form is None else rf"\s*+{group}{form})\s*+"
        return f">{text}</{p}{name}"

    def some(name: str, group: str) -> str:
        return f"{p}{name}(?:{texts(name, group)}| ?/)"

    def pair(group: str) -> str:
        return f"{some('valueName', group)}{_ON}{some('value', group)}>"

    def field(name: str) -> str:
        bare = name.rstrip("*+")
        if bare in _PAIRS:
            return f"((?:{p}{bare}{_ON}{pair(_NO_GROUP)}[{BLANKS}]*+</{p}{bare}{_ON})*)"
        if name.endswith("*"):
            return f"((?:{p}{bare}{texts(bare, _NO_GROUP)}{_ON})*)"
        return f"(?:{some(bare, _GROUP)}{_ON}|)"

    def fields(kind: str, without: str = "") -> str:
        return "".join(field(name) for name in ORDER[kind].split() if name.rstrip("*+") not in without.split())

    return Written(
        version,
        re.compile(f"{_ON}{fields('alert', 'password info')}"),
        re.compile(f"{p}info{_ON}{fields('info', 'resource area')}"),
        re.compile(f"{p}resource{_ON}{fields('resource')}/{p}resource{_ON}"),
        re.compile(f"{p}area{_ON}{fields('area')}/{p}area{_ON}"),
        re.compile(f"/{p}info{_ON}"),
        re.compile(f"<{pair(_GROUP)}"),
        f"/{prefix}:alert>" if prefix else "/alert>",
    )
