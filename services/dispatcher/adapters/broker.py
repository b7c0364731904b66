"""What Mosquitto reads: its configuration, its password file and its access list. Starting it is `processes/children`.

Two properties of Mosquitto 2.0 shape the access list. It holds users in one linked list and searches it for every
line, so every line a login has costs time that grows with the number of logins; therefore a speaker's own branches are
pattern lines that stand once for everyone, and a login lists only what its name does not say. It also grants every
subscription and tests the right when a message is about to be delivered, so a speaker that asks for another's branch
gets no refusal and no message. A publish without the right is acknowledged as not authorised and never passed on;
Debian 12's build then drops the connection, so a login needs the right to everything its owner may publish.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from devices.protocols import topics
from devices.protocols.canary import ALL_CANARIES

LOGINS_MAX = 50_000
TOPICS_PER_LOGIN_MAX = 64
TOPIC_BYTES_MAX = 200
SECRET_CHARS_MIN = 43
"""The length of 32 random bytes in unpadded base64url."""

HASH_ITERATIONS = 1
"""Stretching buys time against guessing; a secret of 256 random bits can't be guessed, and a city's speakers that all
reconnect at once are all checked by Mosquitto's one thread."""

MESSAGE_BYTES_MAX = 65_536
QUEUED_BYTES_MAX = 64 * 1024 * 1024
"""Per client: what a gateway that is away for a minute may find waiting, 10,000 speakers with several receipts each."""

CONNECTIONS_MAX = 60_000
AUTOSAVE_S = 30

CONFIG_FILE = "mosquitto.conf"
PASSWORD_FILE = "passwords"
ACCESS_FILE = "access"

OWN_READ = ("config", "hello/answer", "ask", "manifest/+/+")
OWN_WRITE = ("state", "receipt", "hello", "answer")
"""Branches below `tocsin/v1/speaker/<own name>/` that every login has."""

_NAME = re.compile(r"[a-z0-9-]{1,32}")
_HASH = re.compile(r"\$7\$[1-9][0-9]{0,6}\$[A-Za-z0-9+/]{16}\$[A-Za-z0-9+/]{86}==")
_TOPIC_LEVEL = re.compile(r"\+|[^+#%\x00-\x20\x7f/]+")
_PROBE_TIMEOUT_S = 2.0
_NOT_AUTHORIZED = 0x87


class LoginRefused(Exception):
    """A login that can't be written: `code` is bad_name, bad_topic, bad_hash, short_secret, duplicate or too_many."""

    def __init__(self, code: str, sentence: str) -> None:
        self.code = code
        super().__init__(sentence)


@dataclass(frozen=True, slots=True)
class BrokerLogin:
    """One client of the broker: its name, the hash of its own secret, and the topics beyond its own branches.

    `read` and `write` are topic filters. Raises LoginRefused when a field could change the meaning of a line in a file.
    """

    name: str
    password_hash: str
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise LoginRefused("bad_name", f"The login name {self.name[:40]!r} is not 1 to 32 of a-z, 0-9 and hyphen.")
        if not _HASH.fullmatch(self.password_hash):
            raise LoginRefused("bad_hash", f"The password hash of {self.name} is not one that hash_secret made.")
        if len(self.read) + len(self.write) > TOPICS_PER_LOGIN_MAX:
            raise LoginRefused("too_many", f"The login {self.name} lists more than {TOPICS_PER_LOGIN_MAX} topics.")
        for topic in (*self.read, *self.write):
            if not _may_stand_in_a_line(topic):
                raise LoginRefused("bad_topic", f"The login {self.name} lists {topic[:40]!r}, not a topic filter.")

    @staticmethod
    def with_secret(name: str, secret: str, read: tuple[str, ...] = (), write: tuple[str, ...] = ()) -> BrokerLogin:
        """The login for a secret from `new_secret`. Raises LoginRefused."""
        return BrokerLogin(name, hash_secret(secret), read, write)


def speaker_login(speaker: str, password_hash: str, areas: Iterable[str]) -> BrokerLogin:
    """The login of one speaker: its own branches, and manifests and live announcements of `areas`, its area chain."""
    return BrokerLogin(speaker, password_hash, read=tuple(f"{topics.ROOT}/area/{area}/#" for area in areas))


def gateway_login(name: str, password_hash: str) -> BrokerLogin:
    """The login of a gateway: hears everything, says only what the dispatcher says (SPEAKER-LINK, Topics)."""
    area, speaker = f"{topics.ROOT}/area/+", f"{topics.ROOT}/speaker/+"
    return BrokerLogin(
        name,
        password_hash,
        read=(f"{topics.ROOT}/#",),
        write=(
            topics.KEYS_TOPIC,
            f"{area}/manifest/+/+",
            f"{area}/live",
            f"{speaker}/manifest/+/+",
            f"{speaker}/config",
            f"{speaker}/hello/answer",
            f"{speaker}/ask",
            f"{topics.ROOT}/office/+/task",
            ALL_CANARIES,
        ),
    )


def sensor_gateway_login(name: str, password_hash: str) -> BrokerLogin:
    """The login of a gateway device: says what its own sensors say, and hears nothing of others."""
    return BrokerLogin(name, password_hash, write=(f"{topics.ROOT}/sensor/{name}/#",))


def new_secret() -> str:
    """A secret of 256 random bits as 43 characters of base64url."""
    return secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """Mosquitto's `$7$` form: PBKDF2-HMAC-SHA512, 12 bytes of salt. Raises LoginRefused for a secret a person chose."""
    if len(secret) < SECRET_CHARS_MIN:
        raise LoginRefused("short_secret", f"A broker secret has at least {SECRET_CHARS_MIN} random characters.")
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, HASH_ITERATIONS)
    return f"$7${HASH_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def password_lines(logins: Sequence[BrokerLogin]) -> str:
    """The password file. Raises LoginRefused when a name stands twice or the list is too long."""
    if len(logins) > LOGINS_MAX:
        raise LoginRefused("too_many", f"One broker takes at most {LOGINS_MAX} logins, not {len(logins)}.")
    seen: set[str] = set()
    for login in logins:
        if login.name in seen:
            raise LoginRefused("duplicate", f"The login name {login.name} stands twice.")
        seen.add(login.name)
    return "".join(f"{login.name}:{login.password_hash}\n" for login in logins)


def access_lines(logins: Sequence[BrokerLogin]) -> str:
    """The access list. Logins that may write stand first: they are few, and Mosquitto finds them at once.

    Every login's first line comes before anyone's second: the users then lie together in Mosquitto's memory, and its
    search among 10,000 of them takes half the time.
    """
    own = f"{topics.ROOT}/speaker/%u"
    lines = [f"pattern read {topics.KEYS_TOPIC}"]
    lines += [f"pattern read {own}/{branch}" for branch in OWN_READ]
    lines += [f"pattern write {own}/{branch}" for branch in OWN_WRITE]
    rights = [
        (
            login.name,
            [f"topic read {topic}" for topic in login.read] + [f"topic write {topic}" for topic in login.write],
        )
        for login in sorted(logins, key=lambda login: not login.write)
    ]
    for name, topic_lines in rights:
        if topic_lines:
            lines += [f"user {name}", topic_lines[0]]
    for name, topic_lines in rights:
        if len(topic_lines) > 1:
            lines += [f"user {name}", *topic_lines[1:]]
    return "\n".join(lines) + "\n"


def config_lines(port: int, *, queued_bytes_max: int = QUEUED_BYTES_MAX) -> str:
    """The configuration: loopback only, nobody anonymous, paths relative to the folder Mosquitto runs in.

    The name somebody logs in with is their client id, whatever id they ask for: nobody can take over a gateway's
    connection or session, and a name has one connection at a time.

    Nothing is limited by count, so that no receipt is dropped while there is room; `queued_bytes_max` is the room per
    client. Mosquitto reads 0 as "no limit".
    """
    return "\n".join(
        (
            f"listener {port} 127.0.0.1",
            "allow_anonymous false",
            f"password_file {PASSWORD_FILE}",
            f"acl_file {ACCESS_FILE}",
            "use_username_as_clientid true",
            "persistence true",
            "persistence_location ./",
            "persistence_file mosquitto.db",
            f"autosave_interval {AUTOSAVE_S}",
            "max_queued_messages 0",
            "max_inflight_messages 0",
            f"max_queued_bytes {queued_bytes_max}",
            f"message_size_limit {MESSAGE_BYTES_MAX}",
            f"max_connections {CONNECTIONS_MAX}",
            "persistent_client_expiration 14d",
            "set_tcp_nodelay true",
            "connection_messages false",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "",
        )
    )


def write_login_files(folder: Path, logins: Sequence[BrokerLogin], owner: tuple[int, int] | None) -> None:
    """Replace the password file and the access list; `owner` is (uid, gid), None for whoever runs this."""
    write_private(folder / PASSWORD_FILE, password_lines(logins), owner)
    write_private(folder / ACCESS_FILE, access_lines(logins), owner)


def write_private(path: Path, text: str, owner: tuple[int, int] | None) -> None:
    """Replace a file in one step, readable by its owner alone."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        if owner is not None:
            os.fchown(descriptor, *owner)
    fresh.replace(path)


def connects(port: int, name: str, secret: str) -> bool | None:
    """Whether the broker at 127.0.0.1 lets this login in; None when it gives no answer. An empty name is anonymous.

    It takes the place of whoever is connected under this login.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_PROBE_TIMEOUT_S) as link:
            link.sendall(_connect_packet(name, secret))
            answer = link.recv(4, socket.MSG_WAITALL)
    except OSError:
        return None
    # CONNACK (MQTT 5, 3.2): packet type, length, flags, reason code.
    if len(answer) < 4 or answer[0] != 0x20 or answer[3] not in (0, _NOT_AUTHORIZED):
        return None
    return answer[3] == 0


def _connect_packet(name: str, secret: str) -> bytes:
    """A CONNECT (MQTT 5, 3.1) with clean start and a keep-alive of 10 s."""
    who = _string(name) + _string(secret) if name else b""
    flags = 0xC2 if name else 0x02
    body = _string("MQTT") + bytes((5, flags, 0, 10, 0)) + _string(f"probe-{secrets.token_hex(8)}") + who
    assert len(body) < 128, "one byte of length"
    return bytes((0x10, len(body))) + body


def _string(text: str) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes(2) + raw


def _may_stand_in_a_line(topic: str) -> bool:
    """A topic filter (MQTT 5, 4.7) without blanks, control characters or Mosquitto's %c and %u."""
    if not 0 < len(topic.encode()) <= TOPIC_BYTES_MAX:
        return False
    *levels, last = topic.split("/")
    return all(_TOPIC_LEVEL.fullmatch(level) for level in levels) and bool(last == "#" or _TOPIC_LEVEL.fullmatch(last))
