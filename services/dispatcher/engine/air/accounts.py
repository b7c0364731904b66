"""Gateways' accounts at the broker that somebody else uses: a red incident at once, and red health while it goes on.

A broker may say with which reason it ends a connection: "session taken over" (MQTT 5, 3.14.2.1, 0x8E) means that a
client with the same id has connected. A gateway that takes up the id of one that was frozen does so too, and by then it
has the lease of that id, which this transaction sees.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...domain.effects import Record
from ...domain.incidents import Incident
from ...domain.taken_accounts import ACCOUNT_TAKEN, LEVEL_TAKEN, WHAT_TO_DO, headline
from ..events import AccountTaken
from ..ports import Page, Read
from ..rows import Lease, TakenAccount
from ..tasks.own_incidents import OPEN, join_own, open_own, own_signal
from ..transaction import Work

ACCOUNTS_MAX = 1_000
RED_US = 600_000_000
"""How long after its last loss an account is red, also where people are done with the incident."""
LINE_EVERY_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class AccountsHealth:
    """The accounts that somebody else uses now, and when one was last lost."""

    taken: tuple[TakenAccount, ...] = ()
    last_us: int = 0


def taken(work: Work, event: AccountTaken) -> None:
    """Take in that a connection was taken over; an incident, unless a gateway of ours took up the client id."""
    tx = work.tx
    now_us = tx.now_us()
    tx.lock(f"join/{ACCOUNT_TAKEN}")
    if not holds(tx, event.gateway, event.owner):
        # Whoever holds the lease connects under this id; this gateway ends as soon as it wants to renew it.
        tx.record(Record("gateway.succeeded", event.account, "another gateway of ours has taken its id up"))
        return
    before = tx.get_locked(TakenAccount, event.account) or TakenAccount(event.account, event.gateway, now_us, 0, 0)
    after = replace(
        before, gateway=event.gateway, last_us=now_us, times=before.times + 1, said=before.said or event.said
    )
    incident = tx.get_locked(Incident, before.incident) if before.incident else None
    if incident is None or incident.state not in OPEN:
        after = replace(after, incident=_told(work, after, now_us).id)
    if now_us - before.last_us >= LINE_EVERY_US or after.incident != before.incident:
        facts: dict[str, object] = {"gateway": event.gateway, "times": after.times}
        tx.record(Record("gateway.account_taken", event.account, headline(event.account, after.said)[0], facts=facts))
    tx.put(after)


def holds(read: Read, gateway: str, owner: str) -> bool:
    """Whether nobody of ours has taken the client id up from this process, also where its lease has just run out."""
    lease = read.get(Lease, gateway)
    return lease is not None and lease.holder == owner


def _told(work: Work, row: TakenAccount, now_us: int) -> Incident:
    """The incident that people see: one that is open, for whichever account, joined in this one's own words; or a new
    one."""
    city = work.city
    english, chinese = headline(row.id, row.said)
    do, do_zh = WHAT_TO_DO
    signal = own_signal(f"account/{row.id}/{now_us}", ACCOUNT_TAKEN, LEVEL_TAKEN, city.code, chinese, english, now_us)
    question = {"zh": f"{chinese}。{do_zh}", "en": f"{english}. {do}"}
    joined = join_own(work, signal, 1, lambda incident: True)
    return joined or open_own(work, signal, question, {"account": row.id})


def health(read: Read) -> AccountsHealth:
    """Accounts that were lost to somebody lately, or whose incident nobody has answered yet."""
    now_us = read.now_us()
    rows = read.find(TakenAccount, Page(limit=ACCOUNTS_MAX))
    red = [row for row in rows if now_us - row.last_us < RED_US or _open(read, row.incident)]
    return AccountsHealth(tuple(red), max((row.last_us for row in red), default=0))


def _open(read: Read, id: str) -> bool:
    incident = read.get(Incident, id)
    return incident is not None and incident.state in OPEN
