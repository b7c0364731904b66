"""Documents of ours that speakers refuse (拒收): which refusals stand, when they are many, and what to do. Pure.

A speaker says once that it refuses a document, and its state says what it holds. So a refusal stands until the state
names the version that was refused, and it is no trouble before the time is over in which things mend by themselves. It
says a reason once, too: after somebody's forgery it has no word left for the same reason against ours. So who stays
behind what was given out counts in any case, and its receipt only gives the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from devices.protocols.documents import KeyUse
from devices.protocols.refusals import SENTENCES, Refusal

DOCUMENTS_REFUSED = "documents_refused"
"""The hazard of an incident that refusals make. No feed may name it, and no playbook may answer it."""
LEVEL_REFUSED = 1

SETTLES_US = 15_000_000
"""How long after a refusal a speaker's state may take to say that it holds our version all the same: it is published
2 to 10 s after the change."""
MENDS_US = 30_000_000
"""The same where the speaker mends the cause by itself: it says hello, which is answered once in 5 s, or the document
that it lacks is on its way."""
BEHIND_US = 90_000_000
"""The same where a speaker gives no reason and only stays behind: it tells its state every 60 to 68 s, so that two say
so by then."""
MENDS_ITSELF = frozenset(
    {
        Refusal.STALE,
        Refusal.VERSION_BACK,
        Refusal.VERSION_AHEAD,
        Refusal.NO_CLOCK,
        Refusal.NO_CONFIG,
        Refusal.NO_KEYS,
        Refusal.UNKNOWN_KEY,
        Refusal.KEY_AREA,
        Refusal.AREA_NOT_MINE,
    }
)
HELD_ALL_THE_SAME = frozenset({Refusal.VERSION_CONFLICT, Refusal.NOT_ISSUER})
"""Refusals that the held version does not answer: other bytes are held under this number, or one order of a manifest
that was taken is not obeyed. A newer version answers them."""
MANY_PERCENT = 5
MANY_MIN = 2
OTHER = "other"
"""The kind of a reason that the speaker link does not know."""
NONE_GIVEN = "none_given"
"""The kind of a refusal of which no receipt tells: the speaker's state stays behind."""
AWAY_US = 300_000_000
"""Who was offline for longer has the time to mend anew. A link that comes and goes more often puts nothing off."""

ALL_CONFIGS = "tocsin/v1/speaker/+/config"
"""Stands for every speaker's own configuration, which are counted together."""


@dataclass(frozen=True, slots=True)
class RefusedDocument:
    """What one speaker refuses on one topic: `version` as it says, 0 where the bytes were refused before their version
    could be believed; `ours` is the newest version that had been given out here, `since_us` since when it refuses.
    `from_us` is since when it has had the time to mend, 0 for as long as it refuses."""

    reason: str
    version: int
    ours: int
    since_us: int
    from_us: int = 0

    def answered(self, held: int, ours: int) -> bool:
        """Whether the speaker holds what it refused, now that it says that it holds version `held` of this topic, of
        which `ours` is the newest one given out. A version above ours is not obedience."""
        if held > ours:
            return False
        if self.version and self.reason in HELD_ALL_THE_SAME:
            return held > self.version
        return held >= self.ours

    def stands(self, now_us: int, heard_us: int) -> bool:
        """Whether the time is over in which it could have mended by itself. Where it gives no reason, its state must
        have said after that time, `heard_us`, that it is behind."""
        return (heard_us if self.reason == NONE_GIVEN else now_us) >= self.stands_us

    @property
    def stands_us(self) -> int:
        """When the time to mend is over."""
        return (self.from_us or self.since_us) + waits_us(self.reason)


@dataclass(frozen=True, slots=True)
class RefusedTopic:
    """How many speakers refuse what is on one topic: `speakers` of the `meant` ones that are in service, by reason;
    `said_by` are a few of them, `version` is the newest of ours that one of them refuses, `since_us` since when they
    are many, or while they are few the last of them does."""

    topic: str
    use: str
    version: int
    meant: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    said_by: tuple[str, ...] = ()
    since_us: int = field(default=0, compare=False)

    @property
    def speakers(self) -> int:
        return sum(self.reasons.values())

    @property
    def reason(self) -> str:
        """The reason that most of them give."""
        return max(sorted(self.reasons), key=lambda reason: self.reasons[reason])

    @property
    def many(self) -> bool:
        """Whether it is more than a few poles that are broken: a twentieth of those that it is meant for, and two at
        least. A single one is never many, also where it is the only one: one stolen account raises no red."""
        return self.speakers >= many_of(self.meant)


def many_of(meant: int) -> int:
    """How many of the speakers that a topic is meant for are many."""
    return max(MANY_MIN, -(-meant * MANY_PERCENT // 100))


def waits_us(reason: str) -> int:
    """How long a refusal for this reason is no trouble yet."""
    if reason == NONE_GIVEN:
        return BEHIND_US
    return MENDS_US if reason in MENDS_ITSELF else SETTLES_US


def kind_of(reason: str) -> str:
    """The reason where the speaker link knows it, `other` where a speaker made it up."""
    return reason if reason in SENTENCES else OTHER


def use_of(topic: str) -> str:
    """Which use of the service suffers: of keys and configs the actual one."""
    return str(KeyUse.EXERCISE) if f"/manifest/{KeyUse.EXERCISE}/" in topic else str(KeyUse.ACTUAL)


_KEYS = (
    "They lack the key or may not obey it: compare `tocsin keys list` with the key document, and wait until speakers "
    "report the newest one before signing with a new key.",
    "终端没有该密钥或不得服从：请用 tocsin keys list 核对密钥清单；新密钥须待终端报告最新清单后再用于签名。",
)
_TIME = (
    "Their time and ours differ, or ours was put back: look at the part `clock`, and set the clock right.",
    "终端时间与本系统不一致，或本系统时间曾被调回：请查看 clock 部分并校正时钟。",
)
_FORGED = (
    "What arrives there is not what was signed here: somebody else publishes on this topic, or a part on the way "
    "changes it. Look at `streams`, and give the broker accounts new secrets.",
    "终端收到的并非本系统所签：有人在此频道发布，或途中被改动。请查看 streams 部分，并更换消息代理账号的密钥。",
)
_PLACE = (
    "Those speakers hold an older configuration than they should: look at their configuration, and at their area.",
    "这些终端的配置已过时：请核对其配置与所属区划。",
)
_VERSION = (
    "Those speakers hold something else under this number, so somebody else has a key: look at what is on air, revoke "
    "the key, and make another.",
    "终端在同一版本号下持有其他内容，可能有人盗用密钥：请核对正在播出的内容，吊销密钥并重新生成。",
)
_BEHIND = (
    "They stay behind what was given out and give no reason, or gave it before for something else: compare their "
    "configuration and `tocsin keys list`, and look at what they last refused in their log.",
    "终端一直未持有最新内容且未说明原因（或此前已因其他内容报过同一原因）：请核对其配置与 tocsin keys list，"
    "并查看其日志中最近的拒收记录。",
)
_OURS = (
    "What is signed here is not in the form that they take: they may run another release of the link. Report it to the "
    "maker.",
    "本系统所签的格式终端不接受，可能协议版本不一致：请联系厂家。",
)
_DO: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        (
            Refusal.UNKNOWN_KEY, Refusal.KEY_EXPIRED, Refusal.KEY_USE, Refusal.KEY_AREA, Refusal.KEY_LEVEL,
            Refusal.NOT_ISSUER, Refusal.NO_KEYS,
        ),
        _KEYS,
    ),
    **dict.fromkeys((Refusal.STALE, Refusal.VERSION_BACK, Refusal.VERSION_AHEAD, Refusal.NO_CLOCK), _TIME),
    **dict.fromkeys(
        (
            Refusal.EMPTY_PAYLOAD, Refusal.BAD_SIGNATURE, Refusal.HEADER, Refusal.WRONG_TYPE, Refusal.STREAM_MISMATCH,
            Refusal.STATUS_MISMATCH,
        ),
        _FORGED,
    ),
    **dict.fromkeys((Refusal.AREA_NOT_MINE, Refusal.NO_CONFIG), _PLACE),
    Refusal.VERSION_CONFLICT: _VERSION,
    NONE_GIVEN: _BEHIND,
}  # fmt: skip


def headline(refused: RefusedTopic) -> tuple[str, str]:
    """What people read, English and Chinese, without a full stop."""
    few = ", ".join(f"{n} {reason}" for reason, n in sorted(refused.reasons.items()))
    few_zh = "、".join(f"{reason} {n}个" for reason, n in sorted(refused.reasons.items()))
    version = f" (version {refused.version})" if refused.version else ""
    version_zh = f"版本{refused.version}" if refused.version else ""
    return (
        f"{refused.speakers} of {refused.meant} speakers refuse what is on {refused.topic}{version}: {few}",
        f"{begins_zh(refused)}{version_zh}被{refused.meant}个终端中的{refused.speakers}个拒收：{few_zh}",
    )


def begins_zh(refused: RefusedTopic) -> str:
    """How the Chinese headline of this topic begins."""
    return f"频道{refused.topic}的内容"


def what_to_do(refused: RefusedTopic) -> tuple[str, str]:
    """What a person does about the reason that most of them give."""
    english, chinese = _DO.get(refused.reason, _OURS)
    return (
        f"{english} Until they obey, announce by hand-held loudspeaker where they stand.",
        f"{chinese}恢复之前请在现场用手持喇叭播报。",
    )
