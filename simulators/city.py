"""A small city to simulate: one with towns and one community without, twelve speakers, panels, playbooks and keys.

Everything is made here, so that a seed means the same whatever the playbooks and city packs on disk say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from devices.protocols.documents import HelloAnswer, KeyDocument, KeyUse, LinkKey, Manifest, SpeakerConfig
from devices.protocols.jws import SigningKey
from devices.protocols.refusals import LinkRefused
from devices.protocols.speaker_link import parse_manifest_topic, read_keys, sign
from services.dispatcher.domain.places import Area, Office, OfficeKind, Speaker, Venue, VenueKind
from services.dispatcher.domain.playbook import (
    Corroboration,
    OnUnanswered,
    Playbook,
    Rung,
    Spoken,
    StandingOrder,
    Target,
)
from services.dispatcher.domain.refusals import NoKey
from services.dispatcher.domain.signals import Panel
from services.dispatcher.domain.signals import Use as SignalUse
from services.dispatcher.engine.rows import CitySettings

START_US = 1_800_000_000_000_000
YEARS_US = 20 * 365 * 86_400_000_000
CITY, HARBOUR, HILLS = "210200000000", "210211000000", "210213000000"
QUAY, MARKET, VILLAGE = "210211001000", "210211002000", "210213198001"
ISSUER = "city"
LEVELS = (1, 2, 3, 4)
KEY_LOST, KEY_EXPIRED = "lost", "expired"


def areas() -> tuple[Area, ...]:
    """A city, a district with two streets, and a district whose one community lies right under it."""
    since = "2020-01-01"
    return (
        Area(CITY, "滨海市", "city", None, since),
        Area(HARBOUR, "港湾区", "district", CITY, since),
        Area(HILLS, "山南区", "district", CITY, since),
        Area(QUAY, "码头街道", "street", HARBOUR, since),
        Area(MARKET, "集市街道", "street", HARBOUR, since),
        Area(VILLAGE, "山口社区", "community", HILLS, since),
    )


def venues() -> tuple[Venue, ...]:
    """Three underground places and hubs with panels, and two places under the open sky."""
    return (
        Venue("metro", "码头地铁站", VenueKind.UNDERGROUND, QUAY, 389_140_000, 1_216_147_000, 900, "made", 10),
        Venue("ferry", "客运码头", VenueKind.TRANSPORT_HUB, QUAY, 389_400_000, 1_216_500_000, 600, "made", 10),
        Venue("arcade", "集市地下街", VenueKind.UNDERGROUND, MARKET, 389_800_000, 1_217_000_000, 400, "made", 10),
        Venue("square", "集市广场", VenueKind.SQUARE, MARKET, 390_200_000, 1_217_400_000, 2_000, "made", 10),
        Venue("temple", "山口广场", VenueKind.SQUARE, VILLAGE, 391_000_000, 1_218_000_000, 150, "made", 10),
    )


def offices() -> tuple[Office, ...]:
    return (
        Office("quay", "码头街道值守", OfficeKind.TOWN, QUAY),
        Office("market", "集市街道值守", OfficeKind.TOWN, MARKET),
        Office("village", "山口社区值守", OfficeKind.COMMUNITY, VILLAGE),
        Office("harbour", "港湾区综治中心", OfficeKind.GOVERNANCE_CENTRE, HARBOUR),
        Office("duty", "市应急值班", OfficeKind.DUTY, CITY),
    )


_SPEAKERS_AT = {"metro": 3, "ferry": 2, "arcade": 3, "square": 2, "temple": 2}


def speakers() -> tuple[Speaker, ...]:
    """Two or three at each venue; the first of a venue has a microphone."""
    places = {venue.id: venue for venue in venues()}
    return tuple(
        Speaker(
            f"sp-{name}-{number}", name, places[name].area, f"{places[name].name}{number}号",
            places[name].lat_e7 + 100 * number, places[name].lon_e7, 90, number == 1,
        )
        for name, many in _SPEAKERS_AT.items()
        for number in range(1, many + 1)
    )  # fmt: skip


def panels() -> tuple[Panel, ...]:
    """A panel at each venue that has one, and two of them a second time for exercises."""
    actual, exercise = SignalUse.ACTUAL, SignalUse.EXERCISE
    return (
        Panel("p-metro", "地铁站消防主机", "010000000000", actual, "metro"),
        Panel("p-ferry", "客运码头消防主机", "020000000000", actual, "ferry"),
        Panel("p-arcade", "地下街消防主机", "030000000000", actual, "arcade", test_bit_meaningless=True),
        Panel("x-metro", "地铁站演练主机", "040000000000", exercise, "metro"),
        Panel("x-ferry", "客运码头演练主机", "050000000000", exercise, "ferry"),
    )


def settings() -> CitySettings:
    return CitySettings("city", CITY, "滨海市", ISSUER)


FRONTS = tuple(f"front-{number}" for number in range(12))
"""Hazards that come all at once and fill a stream."""


def playbooks() -> tuple[Playbook, ...]:
    """Fire that holds when nobody answers, fire that releases then, a red warning, a yellow one, a daily notice, and
    twelve wordy ones."""
    metro = Playbook(
        id="metro-fire", version="1", title={"zh": "地下火灾"}, hazard="fire",
        hazard_names={"zh": "火灾", "en": "fire"}, event_code="12B00", venue_kinds=("underground",),
        claimed_levels=None, join_within_s=1_200,
        level_suspected=3, level_corroborated=2,
        corroborated_by=(Corroboration.TWO_DETECTORS, Corroboration.DETECTOR_AND_CALL_POINT),
        verify=(Rung(0, 60), Rung(1, 90), Rung(-1, 120)), question={"zh": "{place}火警，是否属实？"},
        target=Target.VENUE, order_class="emergency",
        spoken=Spoken(
            {"zh": "{place}起火，请立即撤离到地面。", "en": "Fire at {place}. Leave at once."},
            {"zh": "更正：{place}没有起火。", "en": "Correction: there is no fire at {place}."},
            {"zh": "{place}火情解除。", "en": "The fire at {place} is over."},
        ),
        volume=100, repeat=3, gap_s=5, valid_s=1_500, prove_within_s=60,
        standing=StandingOrder(
            (Corroboration.TWO_DETECTORS, Corroboration.DETECTOR_AND_CALL_POINT), OnUnanswered.HOLD
        ),
    )  # fmt: skip
    assert metro.standing is not None
    hub = replace(
        metro, id="hub-fire", venue_kinds=("transport_hub",), repeat=2,
        standing=replace(metro.standing, on_unanswered=OnUnanswered.RELEASE),
    )  # fmt: skip
    rain = replace(
        metro, id="rain-red", hazard="rainstorm", hazard_names={"zh": "暴雨", "en": "rainstorm"}, event_code="11B03",
        venue_kinds=None, claimed_levels=(1,), level_suspected=1, level_corroborated=1,
        corroborated_by=(Corroboration.AUTHORITY,), target=Target.PLACES, repeat=3, gap_s=10, standing=None,
        spoken=Spoken(
            {"zh": "{place}暴雨红色预警，请到高处避险。"}, {"zh": "更正：{place}没有暴雨红色预警。"},
            {"zh": "{place}暴雨红色预警解除。"},
        ),
    )  # fmt: skip
    wind = replace(
        rain, id="gale", hazard="gale", hazard_names={"zh": "大风", "en": "gale"}, event_code="11B06",
        claimed_levels=None, level_suspected=4, level_corroborated=3, repeat=2,
        spoken=Spoken(
            {"zh": "{place}大风预警，请远离广告牌。"}, {"zh": "更正：{place}没有大风。"}, {"zh": "{place}大风解除。"}
        ),
    )  # fmt: skip
    notice = replace(
        wind, id="notice", hazard="notice", hazard_names={"zh": "通知", "en": "notice"}, event_code="99A01",
        level_suspected=4, level_corroborated=4, order_class="daily",
        spoken=Spoken(
            {"zh": "{place}今晚停水，请提前储水。"}, {"zh": "更正：{place}今晚不停水。"}, {"zh": "{place}已恢复供水。"}
        ),
    )  # fmt: skip
    advice = "请关好门窗，减少外出，远离水边和高处，听从现场人员安排。" * 5
    fronts = (
        replace(
            wind, id=hazard, hazard=hazard, hazard_names={"zh": "锋面", "en": hazard}, event_code="11B00",
            level_suspected=3, repeat=4, gap_s=60, prove_within_s=90,
            spoken=Spoken(
                {"zh": "{place}锋面预警。" + advice}, {"zh": "更正：{place}没有锋面。" + advice},
                {"zh": "{place}锋面解除。" + advice},
            ),
        )
        for hazard in FRONTS
    )  # fmt: skip
    return (metro, hub, rain, wind, notice, *fronts)


@dataclass(frozen=True, slots=True)
class Genuine:
    """A manifest that the dispatcher really signed."""

    raw: bytes
    manifest: Manifest


class Keys:
    """Every key of the city, made from the seed, and the signer that the dispatcher uses.

    It remembers each manifest that it signed, by its bytes. `district` is a real key of the harbour district, such as
    an attacker might have stolen; the dispatcher does not use it.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        names = ("root", "actual", "exercise", "config", "clock", "district", "stranger")
        self.private = {name: SigningKey.from_seed(f"{name}-1", rng.randbytes(32)) for name in names}
        self.root = self._public("root", KeyUse.ROOT)
        self.document = KeyDocument(
            START_US // 1_000,
            START_US,
            (
                self._public("actual", KeyUse.ACTUAL),
                self._public("exercise", KeyUse.EXERCISE),
                self._public("config", KeyUse.CONFIG),
                self._public("clock", KeyUse.CLOCK),
                self._public("district", KeyUse.ACTUAL, "district", HARBOUR, (3, 4)),
            ),
        )
        self.signed_document = sign(self.document, self.private["root"])
        self.genuine: dict[bytes, Genuine] = {}
        # What a thief signed with a key of the dispatcher's, by its bytes.
        self.stolen: dict[bytes, Genuine] = {}
        # The manifest keys that sign nothing now, by use: why, and since when.
        self.broken: dict[str, tuple[str, int]] = {}
        self.heads: list[str] = []

    def _public(
        self, name: str, use: KeyUse, issuer: str = ISSUER, area: str = CITY, levels: tuple[int, ...] = LEVELS
    ) -> LinkKey:
        return self.private[name].public_link_key(use, issuer, area, levels, START_US + YEARS_US)

    def revoke(self, use: str, now_us: int) -> None:
        """People make the successor of a use's key and take the key away: a new document says both."""
        old = self.private[use]
        number = int(old.kid.rpartition("-")[2]) + 1
        self.private[use] = SigningKey.from_seed(f"{use}-{number}", self._rng.randbytes(32))
        kept = tuple(key for key in self.document.keys if key.kid != old.kid)
        version = max(self.document.version + 1, now_us // 1_000)
        self.document = KeyDocument(version, now_us, (*kept, self._public(use, KeyUse(use))))
        self.signed_document = sign(self.document, self.private["root"])

    @property
    def own_kids(self) -> frozenset[str]:
        """The keys whose private half the dispatcher holds."""
        return frozenset(self.private[name].kid for name in ("actual", "exercise", "config", "clock"))

    def lost(self, use: str) -> bool:
        """Whether the private half of this use's key has gone."""
        return self.broken.get(str(use), ("", 0))[0] == KEY_LOST

    def not_after_us(self, listed: LinkKey, now_us: int) -> int:
        """When the dispatcher's key expires; a moment ago, where that is what is wrong with it."""
        expired = listed.kid in self.own_kids and self.broken.get(str(listed.use), ("", 0))[0] == KEY_EXPIRED
        return now_us - 1 if expired else listed.not_after

    def signs(self, use: str, area_chain: tuple[str, ...]) -> bool:
        return use in ("actual", "exercise") and use not in self.broken and CITY in area_chain

    def sign_manifest(self, manifest: Manifest, area_chain: tuple[str, ...]) -> bytes:
        """Sign with the key of the stream's use. Raises NoKey."""
        use = str(parse_manifest_topic(manifest.stream).use)
        if not self.signs(use, area_chain):
            raise NoKey(use)
        raw = sign(manifest, self.private[use])
        self.genuine[raw] = Genuine(raw, manifest)
        self.heads.append(manifest.chain_head)
        return raw

    def config_kid(self, area_chain: tuple[str, ...]) -> str:
        return self.private["config"].kid

    def outdated_by(self, raw: bytes) -> bool:
        """Whether these bytes are a newer key document of the same root."""
        try:
            return read_keys(raw, self.root).version > self.document.version
        except LinkRefused:
            return False

    def config_kids(self) -> tuple[str, ...]:
        return (self.private["config"].kid,)

    def sign_config(self, config: SpeakerConfig) -> bytes:
        return sign(config, self.private["config"])

    def sign_hello(self, answer: HelloAnswer) -> bytes:
        return sign(answer, self.private["clock"])


class SeededIds:
    """Ids that sort by time and look like UUIDv7, from a seeded source."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._last = START_US // 1_000

    def new(self) -> str:
        self._last += 1
        value = self._last << 80 | 0x7 << 76 | self._rng.getrandbits(12) << 64 | 0x2 << 62 | self._rng.getrandbits(62)
        return f"{value:032x}"
