"""Keys on disk: one PEM file per private key, the signed key document, and the public root that speakers are given.

The root's private key belongs offline: once the key document is signed, move `root.pem` away until the next change.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.protocols import speaker_link
from devices.protocols.canary import Canary, canary_topic, read_canary, sign_canary
from devices.protocols.speaker_link import (
    HelloAnswer,
    KeyDocument,
    KeyUse,
    LinkKey,
    Manifest,
    SigningKey,
    SpeakerConfig,
)

from ..domain.refusals import NoKey, Refused
from ..domain.signing_keys import KeyTrouble, TriedKey

log = structlog.get_logger(__name__)

DOCUMENT = "keys.jws"
ROOT_PUBLIC = "root.json"
ROOT_PRIVATE = "root.pem"
LEVELS = (1, 2, 3, 4)
KID_CHARS_MAX = 32
KIDS_MAX = 1_000
DAY_US = 86_400_000_000


class KeysMissing(Refused):
    """This folder holds no readable signed key document; make one with `tocsin keys init`."""

    code = "keys_missing"


class KeysExist(Refused):
    """There are keys in this folder already; nothing was overwritten."""

    code = "keys_exist"


class KeyFileBroken(Refused):
    """A private key file is no Ed25519 key, or not the one whose public half the key document lists."""

    code = "key_file_broken"

    def __init__(self, detail: str, trouble: KeyTrouble = KeyTrouble.DAMAGED) -> None:
        super().__init__(detail)
        self.trouble = trouble


class RootOffline(Refused):
    """The root's private key is not here; bring it back for this change."""

    code = "root_offline"


class LastKey(Refused):
    """Without this key nothing of its use could be signed, not even a stop: make its successor first, or add --yes."""

    code = "last_key"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a new key may do, and for how long."""

    use: KeyUse
    issuer: str
    area: str
    days: int
    levels: tuple[int, ...] = LEVELS


class KeyFolder:
    """The key folder of one dispatcher; every private file is readable by its owner alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def init(self, issuer: str, area: str, now_us: int, days: int = 365) -> None:
        """A root, a key document, and the config and clock keys; no actual and no exercise key. Raises KeysExist."""
        if (self.folder / DOCUMENT).exists() or (self.folder / ROOT_PUBLIC).exists():
            raise KeysExist(str(self.folder))
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        root = SigningKey.generate(f"root-{now_us // DAY_US}")
        self._keep(ROOT_PRIVATE, root)
        public = root.public_link_key(KeyUse.ROOT, issuer, area, LEVELS, now_us + 20 * 365 * DAY_US)
        _write(self.folder / ROOT_PUBLIC, json.dumps(asdict(public), indent=1).encode(), 0o644)
        self._publish(KeyDocument(now_us // 1_000, now_us, ()), root)
        for use in (KeyUse.CONFIG, KeyUse.CLOCK):
            self.make(Scope(use, issuer, area, days), now_us)

    def make(self, scope: Scope, now_us: int) -> LinkKey:
        """A new key of one use, added to the key document. Raises KeysMissing or RootOffline."""
        document, root = self.document(), self._root_private()
        kid = self._free_kid(scope, {key.kid for key in document.keys})
        key = SigningKey.generate(kid)
        self._keep(f"{kid}.pem", key)
        public = key.public_link_key(scope.use, scope.issuer, scope.area, scope.levels, now_us + scope.days * DAY_US)
        version = max(document.version + 1, now_us // 1_000)
        self._publish(replace(document, version=version, issued=now_us, keys=(*document.keys, public)), root)
        return public

    def _free_kid(self, scope: Scope, taken: set[str]) -> str:
        """A name that no key has, nor had here: a revoked key's file is never written over."""
        for number in range(1, KIDS_MAX):
            kid = f"{scope.use}-{scope.issuer}"[: KID_CHARS_MAX - len(f"-{number}")] + f"-{number}"
            if kid not in taken and not (self.folder / f"{kid}.pem").exists():
                return kid
        raise KeysExist(f"{KIDS_MAX} keys for {scope.use} of {scope.issuer}")

    def is_last(self, kid: str, now_us: int) -> bool:
        """Whether this key signs here and no other does with its use, issuer, area and at least its levels."""
        good = [key.listed for key in self.tried() if key.fault is None and now_us <= key.listed.not_after]
        mine = next((key for key in good if key.kid == kid), None)
        return mine is not None and not any(
            other.kid != kid
            and (other.use, other.issuer, other.area) == (mine.use, mine.issuer, mine.area)
            and set(mine.levels) <= set(other.levels)
            for other in good
        )

    def revoke(self, kid: str, now_us: int) -> None:
        """Take a key out of the document. Raises NoKey for one that is not in it."""
        document, root = self.document(), self._root_private()
        kept = tuple(key for key in document.keys if key.kid != kid)
        if len(kept) == len(document.keys):
            raise NoKey(kid)
        version = max(document.version + 1, now_us // 1_000)
        self._publish(replace(document, version=version, issued=now_us, keys=kept), root)

    def root(self) -> LinkKey:
        """The public root, as speakers hold it."""
        try:
            fields = json.loads((self.folder / ROOT_PUBLIC).read_bytes())
            return LinkKey(**{**fields, "use": KeyUse(fields["use"]), "levels": tuple(fields["levels"])})
        except (OSError, ValueError, TypeError, KeyError) as broken:
            raise KeysMissing(str(self.folder)) from broken

    def signed_document(self) -> bytes:
        """The key document as it goes to the broker."""
        try:
            return (self.folder / DOCUMENT).read_bytes()
        except OSError as broken:
            raise KeysMissing(str(self.folder)) from broken

    def document(self) -> KeyDocument:
        """The key document, verified against the root."""
        try:
            return speaker_link.read_keys(self.signed_document(), self.root())
        except speaker_link.LinkRefused as refused:
            raise KeysMissing(f"{self.folder}: {refused}") from refused

    def private(self, listed: LinkKey) -> SigningKey | None:
        """The private half of a listed key, or None when it is kept elsewhere. Raises KeyFileBroken."""
        return self._load(f"{listed.kid}.pem", listed)

    def tried(self) -> tuple[TriedKey, ...]:
        """Every key of the document, and why it can't sign here. Raises KeysMissing."""
        return tuple(TriedKey(listed, self.load_and_try(listed)[1]) for listed in self.document().keys)

    def load_and_try(self, listed: LinkKey) -> tuple[SigningKey | None, KeyTrouble | None]:
        """The private half of a listed key, and what is wrong with it; None for nothing."""
        try:
            own = self.private(listed)
        except KeyFileBroken as broken:
            return None, broken.trouble
        if own is None:
            return None, KeyTrouble.ABSENT
        return (own, None) if _signs(own, listed) else (None, KeyTrouble.FOREIGN)

    def stamp(self) -> tuple[tuple[str, int, int, int], ...]:
        """What tells a changed folder from the same one, without reading a file; empty when it can't be listed."""
        try:
            with os.scandir(self.folder) as entries:
                found = [(entry.name, entry.stat()) for entry in entries]
        except OSError:
            return ()
        return tuple(sorted((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in found))

    def _root_private(self) -> SigningKey:
        root = self._load(ROOT_PRIVATE, self.root())
        if root is None:
            raise RootOffline(str(self.folder))
        return root

    def _load(self, name: str, public: LinkKey) -> SigningKey | None:
        try:
            pem = (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as broken:
            raise KeyFileBroken(f"{name}: {broken.strerror}", KeyTrouble.UNREADABLE) from broken
        if not pem.strip():
            raise KeyFileBroken(f"{name} is empty", KeyTrouble.EMPTY)
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as broken:
            raise KeyFileBroken(name) from broken
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileBroken(name)
        own = SigningKey(public.kid, key)
        # A key of the same name from elsewhere would sign what every speaker refuses.
        if own.public_link_key(public.use, public.issuer, public.area, public.levels, public.not_after) != public:
            raise KeyFileBroken(name, KeyTrouble.FOREIGN)
        return own

    def _keep(self, name: str, key: SigningKey) -> None:
        pem = key.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(self.folder / name, pem, 0o600)

    def _publish(self, document: KeyDocument, root: SigningKey) -> None:
        _write(self.folder / DOCUMENT, speaker_link.sign(document, root), 0o644)


class KeySigner:
    """The gateway's signer: the private keys whose public half the key document lists, by use, area and levels. A key
    that has expired signs nothing, because no speaker would obey it.

    A key whose file breaks while the process runs is shown as broken, and its private half, still in memory, goes on
    signing: what is on air can be stopped and corrected. Nothing else counts on it, since a restart would lose it.
    """

    def __init__(self, folder: KeyFolder, now_us: Callable[[], int]) -> None:
        self._folder = folder
        self._now_us = now_us
        self._keys: list[tuple[LinkKey, SigningKey]] = []
        self._stamp: object = None
        self.tried: tuple[TriedKey, ...] = ()
        self.reload()

    def reload(self) -> None:
        """Read the folder again and try every key. A broken key file is left aside, loudly: the others still sign.
        Raises KeysMissing."""
        # Taken first: a file that changes while it is read is read once more.
        self._stamp = self._folder.stamp()
        document = self._folder.document()
        self.root = self._folder.root()
        in_memory = dict(self._keys)
        loaded = [(listed, *self._tried(listed, in_memory)) for listed in document.keys]
        self._keys = [(listed, own) for listed, own, _ in loaded if own is not None]
        # Last: nothing is signed with an older key in the name of a newer document.
        self.document, self.signed_document = document, self._folder.signed_document()
        self._now_tried(tuple(TriedKey(listed, fault) for listed, _, fault in loaded))

    def look_again(self) -> None:
        """The same while running: without a readable key document every key is shown as broken, and what was loaded
        before still signs."""
        try:
            self.reload()
        except KeysMissing:
            self._now_tried(tuple(TriedKey(key.listed, KeyTrouble.NO_DOCUMENT) for key in self.tried))

    def outdated_by(self, raw: bytes) -> bool:
        """Whether these bytes are a newer key document of the same root."""
        try:
            return speaker_link.read_keys(raw, self.root).version > self.document.version
        except speaker_link.LinkRefused:
            return False

    def changed(self) -> bool:
        """Whether a file of the folder is not as it was when it was last read."""
        return self._folder.stamp() != self._stamp

    def _tried(
        self, listed: LinkKey, in_memory: dict[LinkKey, SigningKey]
    ) -> tuple[SigningKey | None, KeyTrouble | None]:
        """The private half to sign with, and what is wrong with its file."""
        held = in_memory.get(listed)
        own, fault = self._folder.load_and_try(listed)
        if fault is KeyTrouble.ABSENT and held is not None:
            fault = KeyTrouble.MISSING
        return own or held, fault

    def _now_tried(self, tried: tuple[TriedKey, ...]) -> None:
        before = {key.listed.kid: key.fault for key in self.tried}
        for key in tried:
            if key.fault not in (None, KeyTrouble.ABSENT) and before.get(key.listed.kid) is not key.fault:
                log.critical("a key can't be used", key=key.listed.kid, reason=str(key.fault))
            elif key.fault is None and before.get(key.listed.kid) is not None:
                log.info("a key can be used again", key=key.listed.kid)
        self.tried = tried

    def uses(self) -> tuple[str, ...]:
        """The uses for which a key is here, signs and is valid, for the line that says what is loaded."""
        now_us = self._now_us()
        good = (key.listed for key in self.tried if key.fault is None)
        return tuple(sorted({str(listed.use) for listed in good if now_us <= listed.not_after}))

    def sign_canary(self, kid: str, gateway: str, nonce: str) -> bytes:
        """A canary by this very key. Raises NoKey when it is not here, does not sign or has expired."""
        now_us = self._now_us()
        good = {key.listed.kid for key in self.tried if key.fault is None and now_us <= key.listed.not_after}
        for listed, own in self._keys:
            if listed.kid == kid and kid in good:
                return sign_canary(Canary(kid, listed.use, gateway, nonce, now_us), own)
        raise NoKey(kid)

    def signs(self, use: str, area_chain: tuple[str, ...]) -> bool:
        """Whether a key for this use reaches an area with this chain."""
        return self._find(use, area_chain) is not None

    def sign_manifest(self, manifest: Manifest, area_chain: tuple[str, ...]) -> bytes:
        """Sign with the key of the stream's use that may speak for every order's level. Raises NoKey, and the link's
        Refused for a manifest that speakers would refuse."""
        use = speaker_link.parse_manifest_topic(manifest.stream).use
        levels = {order.level for order in manifest.orders}
        return speaker_link.sign(manifest, self._need(str(use), area_chain, levels))

    def config_kid(self, area_chain: tuple[str, ...]) -> str:
        """The key that signs a config of this chain now. Raises NoKey."""
        return self._need("config", area_chain).kid

    def config_kids(self) -> tuple[str, ...]:
        """The keys that may sign configs now."""
        now_us = self._now_us()
        return tuple(x.kid for x, _ in self._keys if x.use is KeyUse.CONFIG and now_us <= x.not_after)

    def sign_config(self, config: SpeakerConfig) -> bytes:
        """Raises NoKey."""
        return speaker_link.sign(config, self._need("config", config.area_chain))

    def sign_hello(self, answer: HelloAnswer) -> bytes:
        """Raises NoKey."""
        return speaker_link.sign(answer, self._need("clock", None))

    def _need(self, use: str, area_chain: tuple[str, ...] | None, levels: Iterable[int] = ()) -> SigningKey:
        key = self._find(use, area_chain, levels)
        if key is None:
            raise NoKey(use)
        return key

    def _find(self, use: str, area_chain: tuple[str, ...] | None, levels: Iterable[int] = ()) -> SigningKey | None:
        now_us, wanted = self._now_us(), set(levels)
        fitting = [
            (listed, own)
            for listed, own in self._keys
            if listed.use == use
            and now_us <= listed.not_after
            and wanted <= set(listed.levels)
            and (area_chain is None or listed.area in area_chain)
        ]
        # The newest key signs, however soon it ends: an older one stays listed only until every speaker holds its
        # successor. A new key is added at the end of the document.
        return fitting[-1][1] if fitting else None


def _signs(own: SigningKey, listed: LinkKey) -> bool:
    """Whether a small document that the private half signs is verified with the public half that is listed."""
    canary = Canary(listed.kid, listed.use, "trial", secrets.token_urlsafe(16), 0)
    try:
        raw = sign_canary(canary, own)
        return read_canary(raw, canary_topic(listed.kid), KeyDocument(0, 0, (listed,)), None) == canary
    except speaker_link.LinkRefused:
        return False


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a whole file durably: a crash leaves the old one or the new one."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
