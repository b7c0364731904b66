"""Sets of orders that may sound at the published speaker, and the sequence in which they go; written out by hand."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

CITY, DISTRICT, STREET, ZONE = "210200000000", "210202000000", "210202001000", "zone-port"
NOW = 1_800_000_000_000_000
MINUTE = 60_000_000
RED, ORANGE, YELLOW, BLUE = 1, 2, 3, 4


def _alert(id: str, level: int, minute: int = 0, area: str = CITY, use: str = "actual", daily: bool = False) -> Json:
    return {
        "id": id,
        "stream": f"tocsin/v1/area/{area}/manifest/{use}/city",
        "status": use,
        "order_class": "daily" if daily else "emergency",
        "level": level,
        "phase": "alert",
        "start_at": NOW + minute * MINUTE,
    }


def _drill(id: str, level: int, minute: int = 0, daily: bool = False) -> Json:
    return _alert(id, level, minute, use="exercise", daily=daily)


def _own(id: str, level: int, minute: int = 0) -> Json:
    return _alert(id, level, minute) | {"stream": "tocsin/v1/speaker/sp-0001/manifest/actual/city"}


def _after(original: Json, id: str, phase: str, minute: int, **changes: object) -> Json:
    named = {"id": id, "phase": phase, "corrects": original["id"], "start_at": NOW + minute * MINUTE}
    return original | named | changes


def _correction(original: Json, id: str, minute: int, **changes: object) -> Json:
    return _after(original, id, "correction", minute, **changes)


def _all_clear(original: Json, id: str, minute: int, **changes: object) -> Json:
    return _after(original, id, "all_clear", minute, **changes)


def cases() -> list[Json]:
    """Each case: what may sound, what is known but over, and the sequence as `status/id`, who goes first in front."""
    red, orange, blue = _alert("red", RED), _alert("orange", ORANGE), _alert("blue", BLUE)
    news, drill = _alert("news", RED, 20, daily=True), _drill("drill", RED, 20)

    def case(name: str, may_sound: list[Json], sequence: str, over: tuple[Json, ...] = ()) -> Json:
        use = {order["id"]: order["status"] for order in may_sound}
        return {
            "name": name,
            "may_sound": may_sound,
            "over": list(over),
            "sequence": [f"{use[id]}/{id}" for id in sequence.split()],
        }

    return [
        case("emergency before daily, then actual before exercise",
             [_drill("rehearsal", RED, 9, daily=True), news, drill, blue], "blue drill news rehearsal"),
        case("level, red first", [blue, orange, red, _alert("yellow", YELLOW)], "red orange yellow blue"),
        case("height of the stream's area",
             [_own("own", RED, 9), _alert("zone", RED, 2, ZONE), _alert("street", RED, 1, STREET),
              _alert("district", RED, 0, DISTRICT), red], "red district zone street own"),
        case("newer, then the greater id",
             [_alert("a", RED, 1), _alert("b", RED, 1), red], "b a red"),
        case("an all-clear and a correction just above their originals",
             [_alert("later", RED, 1), red, orange, _all_clear(red, "over", 5), _correction(orange, "sorry", 5), blue],
             "later sorry over red orange blue"),
        case("a correction just above its original",
             [_alert("later", ORANGE, 1), orange, _correction(orange, "sorry", 5), red, blue],
             "red later sorry orange blue"),
        case("the level of a follower is that of its original",
             [_all_clear(red, "over", 5, level=BLUE), orange], "over orange", (red,)),
        case("an all-clear of an unknown original goes by its own members",
             [_all_clear(_alert("gone", ORANGE), "over", 5), red, blue], "red over blue"),
        case("an all-clear gives way to a newer alert of lower level",
             [_all_clear(red, "over", 5), _alert("fire", BLUE, 6)], "fire over", (red,)),
        case("an alert of the same moment is not newer",
             [_all_clear(red, "over", 5), _alert("fire", BLUE, 5)], "over fire", (red,)),
        case("no circle: older orange, newer blue, red all-clear",
             [_all_clear(red, "over", 5), _alert("older", ORANGE, 1), _alert("newer", BLUE, 6)],
             "older newer over", (red,)),
        case("below the lowest of the newer alerts and no further",
             [_all_clear(red, "over", 5), _alert("a", ORANGE, 6), _alert("b", YELLOW, 7), blue],
             "a b over blue", (red,)),
        case("two all-clears below one newer alert",
             [_all_clear(orange, "over-orange", 5), _all_clear(red, "over-red", 4), _alert("newer", BLUE, 6)],
             "newer over-red over-orange", (red, orange)),
        case("the all-clear of an alert that begins later", [_alert("red", RED, 30), _all_clear(red, "over", 5)],
             "over red"),
        case("the all-clear of a higher area for an alert that begins later",
             [_alert("red", RED, 30, STREET), _all_clear(red, "over", 5)], "over red"),
        case("newer daily items and drills hold no actual all-clear back",
             [_all_clear(blue, "over", 5), news, drill, _correction(drill, "sorry", 30)],
             "over sorry drill news", (blue,)),
        case("an all-clear of a daily item goes by its class alone",
             [_all_clear(news, "over", 30), _alert("late", BLUE, 40), _alert("later", BLUE, 50, daily=True)],
             "late over later", (news,)),
        case("a correction gives way to nothing newer",
             [_correction(blue, "sorry", 5), _alert("fire", RED, 6)], "sorry fire", (blue,)),
        case("a correction waits for a graver alert that was there before",
             [_correction(blue, "sorry", 5), _alert("fire", RED, 4)], "fire sorry", (blue,)),
        case("a correction goes before all-clears, older and newer",
             [_all_clear(red, "old", 4), _all_clear(orange, "new", 6), _correction(blue, "sorry", 5)],
             "sorry old new", (red, orange, blue)),
        case("corrections above one newer alert",
             [_correction(blue, "sorry-blue", 5), _correction(orange, "sorry-orange", 4), _alert("fire", RED, 6)],
             "sorry-orange sorry-blue fire", (blue, orange)),
        case("a correction above an all-clear that gave way",
             [_all_clear(red, "over", 3), _alert("yellow", YELLOW, 4), _correction(blue, "sorry", 5)],
             "yellow sorry over", (red, blue)),
        case("a correction of a drill gives way to an actual emergency, one of a daily item to both",
             [_correction(drill, "sorry-drill", 30), _correction(news, "sorry-news", 30), _alert("rain", BLUE, 40)],
             "rain sorry-drill sorry-news", (drill, news)),
    ]  # fmt: skip
