"""Signing keys as the dispatcher knows them: which can sign, whose canary came home, and whether a use works. Pure.

A key *works* at a gateway when its private half was tried there and signs, it has not expired, and its canary came home
there lately. A release asks less: that some gateway can sign for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from devices.protocols.documents import LinkKey

CANARY_EVERY_US = 30_000_000
CANARY_AGE_US_MAX = 90_000_000
CANARY_AHEAD_US_MAX = 5_000_000
"""A canary whose time lies further in the future is an error: one of two clocks is wrong."""
EXPIRY_WARNED_US = 30 * 86_400_000_000


class KeyTrouble(StrEnum):
    """Why a key can't be relied on. The first six are of its file, and keep it from signing."""

    EMPTY = "empty"
    DAMAGED = "damaged"
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"
    MISSING = "missing"
    NO_DOCUMENT = "no_document"
    OLDER_DOCUMENT = "older_document"
    ABSENT = "absent"
    EXPIRED = "expired"
    NEVER_HOME = "never_home"
    LATE = "late"
    AHEAD = "ahead"
    REFUSED = "refused"
    NO_KEY = "no_key"
    NO_GATEWAY = "no_gateway"
    EXPIRES_SOON = "expires_soon"
    ENDS_EARLY = "ends_early"


@dataclass(frozen=True, slots=True)
class TriedKey:
    """A listed key and why its private half can't sign here; None when it was tried and what it signed was verified."""

    listed: LinkKey
    fault: KeyTrouble | None


@dataclass(frozen=True, slots=True)
class KeyAtGateway:
    """What one gateway knows of a key: `fault` is why its private half can't sign there ("" when it was tried and
    signs), `home_us` when its canary last came home and `took_us` how long that took by the sender's monotonic clock,
    `failed` why a canary was last refused there. `document` is the version of the key document that lists the key
    there. Times µs UTC of the database, 0 for never."""

    fault: str
    tried_us: int
    home_us: int = 0
    took_us: int = 0
    failed: str = ""
    failed_us: int = 0
    document: int = 0


@dataclass(frozen=True, slots=True)
class KeyState:
    """One key of the key document, under its kid, and what each gateway knows of it; `x` is its public half."""

    id: str
    use: str
    issuer: str
    area: str
    levels: tuple[int, ...]
    not_after_us: int
    gateways: dict[str, KeyAtGateway] = field(default_factory=dict)
    x: str = ""

    def may_sign(self, use: str, there: bool, levels: Collection[int] = ()) -> bool:
        """Whether its limits allow orders of these levels where its area reaches `there`."""
        return there and self.use == use and set(levels) <= set(self.levels)

    def covers(self, older: KeyState, there: bool) -> bool:
        """Whether it may sign all that another could whose area reaches `there`: it is the same key, or a wider one."""
        return (self.issuer, self.x) == (older.issuer, older.x) and self.may_sign(older.use, there, older.levels)

    def signs(self, now_us: int) -> bool:
        """Whether it signs at some gateway now."""
        return now_us <= self.not_after_us and any(not view.fault for view in self.gateways.values())


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """One thing that is wrong with a key, "" for none in particular, at a gateway, "" for at every one. `detail` is the
    speaker link's code where a canary was refused; `at_us` the time that the trouble is about."""

    trouble: KeyTrouble
    kid: str = ""
    gateway: str = ""
    detail: str = ""
    at_us: int = 0


@dataclass(frozen=True, slots=True)
class UseHealth:
    """Whether one use of keys works: well without problems; `expires` are keys that end soon with no successor."""

    use: str
    home_us: int
    problems: tuple[KeyProblem, ...] = ()
    expires: tuple[KeyProblem, ...] = ()

    @property
    def well(self) -> bool:
        return not self.problems


def unusable_for(
    keys: Iterable[KeyState], use: str, area_chain: Collection[str], level: int, now_us: int
) -> tuple[KeyProblem, ...]:
    """Why no gateway can sign an order of this level for an area; empty when one can."""
    fitting = [k for k in keys if k.may_sign(use, k.area in area_chain, {level})]
    if any(k.signs(now_us) for k in fitting):
        return ()
    problems = [p for key in fitting for p in _at_rest(key, now_us)]
    return tuple(problems) or (KeyProblem(KeyTrouble.NO_KEY),)


def ending_before(
    keys: Iterable[KeyState], use: str, area_chain: Collection[str], level: int, now_us: int, until_us: int
) -> KeyProblem | None:
    """The key that can sign an order of this level for an area longest, where it ends before `until_us`; None where one
    signs until then, and where none signs now."""
    signing = [k for k in keys if k.may_sign(use, k.area in area_chain, {level}) and k.signs(now_us)]
    last = max(signing, key=lambda k: k.not_after_us, default=None)
    if last is None or until_us <= last.not_after_us:
        return None
    return KeyProblem(KeyTrouble.ENDS_EARLY, last.id, at_us=last.not_after_us)


def judge_use(use: str, keys: Iterable[KeyState], gateways: Sequence[str], now_us: int) -> UseHealth:
    """Whether the keys of one use work at each of the gateways that run.

    Keys of the same scope stand in for each other, an expired one for none. A scope whose keys are all kept elsewhere
    or over is left out where another scope of this use works: its successor has other limits.
    """
    keys = list(keys)
    mine = [key for key in keys if key.use == use]
    scopes: dict[tuple[str, str, tuple[int, ...]], list[KeyState]] = {}
    for key in mine:
        scopes.setdefault((key.issuer, key.area, key.levels), []).append(key)
    problems: list[KeyProblem] = []
    if not mine:
        problems.append(KeyProblem(KeyTrouble.NO_KEY))
    if not gateways:
        problems.append(KeyProblem(KeyTrouble.NO_GATEWAY))
    behind = behind_newest(keys)
    problems += [KeyProblem(KeyTrouble.OLDER_DOCUMENT, gateway=name) for name in gateways if name in behind]
    for gateway in gateways:
        works = {key.id for key in mine if _problem_at(key, gateway, now_us) is None}
        for scope in scopes.values():
            problems += _of_scope(scope, gateway, works, now_us)
    homes = [view.home_us for key in mine for name, view in key.gateways.items() if name in gateways]
    return UseHealth(use, max(homes, default=0), tuple(problems), _expiring(scopes.values(), now_us))


def behind_newest(keys: Iterable[KeyState], document: int = 0) -> frozenset[str]:
    """The gateways whose key document is older than this version of it, or than the newest that any has reported."""
    views = [(name, view.document) for key in keys for name, view in key.gateways.items()]
    newest = max((held for _, held in views), default=0)
    return frozenset({name for name, held in views if held < max(newest, document)})


def _of_scope(scope: Sequence[KeyState], gateway: str, works: Collection[str], now_us: int) -> list[KeyProblem]:
    found = [p for key in scope if (p := _problem_at(key, gateway, now_us)) is not None]
    over = (KeyTrouble.ABSENT, KeyTrouble.EXPIRED)
    if all(p.trouble in over for p in found) and works:
        return []
    if any(key.id in works for key in scope):
        # An older key may be kept elsewhere or be over when its successor works; a broken one is mended or revoked.
        return [p for p in found if p.trouble not in over]
    return found


def _problem_at(key: KeyState, gateway: str, now_us: int) -> KeyProblem | None:
    """What keeps this key from working at this gateway."""
    view = key.gateways.get(gateway)
    if now_us > key.not_after_us:
        return KeyProblem(KeyTrouble.EXPIRED, key.id, gateway, at_us=key.not_after_us)
    if view is None:
        return KeyProblem(KeyTrouble.ABSENT, key.id, gateway)
    if view.fault:
        return KeyProblem(KeyTrouble(view.fault), key.id, gateway, at_us=view.tried_us)
    if view.failed and now_us - view.failed_us <= CANARY_AGE_US_MAX:
        trouble = KeyTrouble.AHEAD if view.failed == KeyTrouble.AHEAD else KeyTrouble.REFUSED
        return KeyProblem(trouble, key.id, gateway, view.failed, view.failed_us)
    if not view.home_us:
        return KeyProblem(KeyTrouble.NEVER_HOME, key.id, gateway)
    if now_us - view.home_us < -CANARY_AHEAD_US_MAX:
        return KeyProblem(KeyTrouble.AHEAD, key.id, gateway, at_us=view.home_us)
    if now_us - view.home_us > CANARY_AGE_US_MAX:
        return KeyProblem(KeyTrouble.LATE, key.id, gateway, at_us=view.home_us)
    return None


def _at_rest(key: KeyState, now_us: int) -> list[KeyProblem]:
    """Why a key can't sign anywhere, whatever its canary does."""
    if now_us > key.not_after_us:
        return [KeyProblem(KeyTrouble.EXPIRED, key.id, at_us=key.not_after_us)]
    faults = [
        KeyProblem(KeyTrouble(view.fault), key.id, name, at_us=view.tried_us)
        for name, view in sorted(key.gateways.items())
        if view.fault
    ]
    return faults or [KeyProblem(KeyTrouble.ABSENT, key.id)]


def _expiring(scopes: Iterable[Sequence[KeyState]], now_us: int) -> tuple[KeyProblem, ...]:
    """The last key of each scope, where it ends within the time that people are warned."""
    last = [max(scope, key=lambda key: key.not_after_us) for scope in scopes]
    return tuple(
        KeyProblem(KeyTrouble.EXPIRES_SOON, key.id, at_us=key.not_after_us)
        for key in last
        if now_us <= key.not_after_us < now_us + EXPIRY_WARNED_US
    )


_WORDS: dict[KeyTrouble, tuple[str, str]] = {
    KeyTrouble.EMPTY: ("the file of {kid} is empty{at}", "{kid}的密钥文件为空{at}"),
    KeyTrouble.DAMAGED: ("the file of {kid} is no key{at}", "{kid}的密钥文件已损坏{at}"),
    KeyTrouble.FOREIGN: (
        "the file of {kid} holds another key than the key document lists{at}",
        "{kid}的密钥文件与密钥清单所列公钥不符{at}",
    ),
    KeyTrouble.UNREADABLE: ("the file of {kid} can't be read{at}", "{kid}的密钥文件无法读取{at}"),
    KeyTrouble.MISSING: ("the file of {kid} has gone{at}", "{kid}的密钥文件已不在{at}"),
    KeyTrouble.NO_DOCUMENT: (
        "the key document that lists {kid} can't be read{at}",
        "列有{kid}的密钥清单无法读取{at}",
    ),
    KeyTrouble.OLDER_DOCUMENT: (
        "a newer key document than this gateway's was seen, and while another gateway has it this one signs nothing: "
        "copy the folder of keys there{at}",
        "该网关的密钥清单不是最新的，其他网关持有最新清单期间它不签名：请把密钥文件夹复制过去{at}",
    ),
    KeyTrouble.ABSENT: ("the private half of {kid} is not here{at}", "{kid}的私钥不在此处{at}"),
    KeyTrouble.EXPIRED: ("{kid} expired on {day}", "{kid}已于{day}到期"),
    KeyTrouble.NEVER_HOME: ("the canary of {kid} has never come home{at}", "{kid}的探测报文从未返回{at}"),
    KeyTrouble.LATE: ("the canary of {kid} last came home at {time}{at}", "{kid}的探测报文最后一次返回于{time}{at}"),
    KeyTrouble.AHEAD: (
        "a canary of {kid} came from the future: a clock is wrong{at}",
        "{kid}的探测报文时间超前，有时钟错误{at}",
    ),
    KeyTrouble.REFUSED: (
        "a speaker would refuse what {kid} signs: {detail}{at}",
        "终端将拒绝{kid}的签名：{detail}{at}",
    ),
    KeyTrouble.NO_KEY: ("no key of this use may speak there", "没有可用于此处的该用途密钥"),
    KeyTrouble.NO_GATEWAY: ("no gateway runs", "没有网关在运行"),
    KeyTrouble.EXPIRES_SOON: (
        "{kid} expires on {day} and has no successor",
        "{kid}将于{day}到期，尚无后继密钥",
    ),
    KeyTrouble.ENDS_EARLY: (
        "{kid} ends on {day} at {time}, and no key that signs lasts longer",
        "{kid}将于{day} {time}到期，尚无更长效的可用密钥",
    ),
}


def words(problem: KeyProblem) -> tuple[str, str]:
    """One problem in words, English and Chinese, without a full stop."""
    moment = datetime.fromtimestamp(problem.at_us / 1_000_000, UTC)
    english, chinese = _WORDS[problem.trouble]
    filled = {"kid": problem.kid, "detail": problem.detail, "day": f"{moment:%Y-%m-%d}"} | {
        "time": f"{moment:%H:%M:%S} UTC"
    }
    return (
        english.format(**filled, at=f" ({problem.gateway})" if problem.gateway else ""),
        chinese.format(**filled, at=f"（{problem.gateway}）" if problem.gateway else ""),
    )
