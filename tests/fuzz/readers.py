"""Coverage-guided search for bytes that make a reader of a feed format raise, hang or grow. Run by `make fuzz`.

    python tests/fuzz/readers.py FORMAT [options of libFuzzer] [folders of samples]

Needs atheris, which is no dependency of the product. A finding is kept as a test under tests/feeds.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

NOW_US = 1_782_864_000_000_000


def main(format: str, options: list[str]) -> None:
    """Never returns; libFuzzer ends the process, with status 0 when nothing was found in its time."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["services.dispatcher.feeds"]):
        from services.dispatcher.domain.signals import Datum, Feed, Use
        from services.dispatcher.feeds import FEEDS, cap
        from services.dispatcher.feeds.cap_faultless import plain_alert
        from services.dispatcher.feeds.cap_read import thorough_alert
        from services.dispatcher.feeds.cap_rules import shape_warnings
        from services.dispatcher.feeds.cap_signals import signals
        from services.dispatcher.feeds.detect import detect
        from services.dispatcher.feeds.ebd_signature import read_signature
        from services.dispatcher.feeds.report import FUTURE_ALLOWED_US
        from services.dispatcher.feeds.xml_edge import open_root
    feed = Feed("fuzz", "", "", format, Use.ACTUAL, "", "210200000000", datum=Datum.GCJ02)

    def one(raw: bytes) -> None:
        if format == "signature":
            read_signature(raw)
            return
        found = FEEDS[format](raw, feed, NOW_US)
        assert detect(raw) in FEEDS
        assert len({signal.key for signal in found.signals}) == len(found.signals)
        for signal in found.signals:
            assert 0 <= signal.observed_us <= NOW_US + FUTURE_ALLOWED_US
        if format == "cap":
            plain = plain_alert(raw)
            if plain is not None:
                # What is taken without a parser is what the parser and the thorough reader make of it.
                assert thorough_alert(open_root(raw, len(raw), compact=True), plain.version).message == plain
            for message in cap.read(raw).messages:
                signals(message, feed, message.sent_us)
                list(shape_warnings(message))

    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
