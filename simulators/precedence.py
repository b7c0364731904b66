"""Who may go first at a speaker, read from the sentences of the speaker link and not from its code.

Only what holds for two orders whatever else there is: what follows from a whole set is the speaker's own business.
"""

from __future__ import annotations

from devices.protocols.documents import Order, OrderClass, Phase


def must_wait(x: Order, y: Order) -> str:
    """Why `x` must not begin, nor go on, while `y` may sound; empty where it may. Followers have their original's
    class and level."""
    if x.order_class is not y.order_class:
        return "a daily item goes before an emergency" if x.order_class is OrderClass.DAILY else ""
    if x.status != y.status:
        return "an exercise goes before what is actual" if x.status == "exercise" else ""
    match x.phase, y.phase:
        case Phase.ALL_CLEAR, Phase.ALERT if x.order_class is OrderClass.EMERGENCY and y.start_at > x.start_at:
            return "an all-clear holds a newer alert back"
        case Phase.ALL_CLEAR, Phase.CORRECTION:
            return "an all-clear holds a correction back"
        case Phase.ALERT, Phase.CORRECTION if x.start_at > y.start_at:
            return "a correction gives way to a newer alert"
        case Phase.ALERT, Phase.ALERT if x.level > y.level:
            return "a lower level goes before a higher one"
        case _:
            return ""


def ends_drills(order: Order) -> bool:
    """Whether an exercise is over where this order sounds."""
    return order.status == "actual" and order.order_class is OrderClass.EMERGENCY
