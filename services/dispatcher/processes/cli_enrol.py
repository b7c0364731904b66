"""The `tocsin enrol` commands: people, feeds, fire panels, speakers and gateways, each with a secret made for it alone.

A secret is printed once and kept as a hash; nobody chooses one and none is shared. Enrolling again makes a new secret,
and the old one stops working.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..adapters.city_pack import PackRefused, read_city_pack
from ..adapters.feed_secrets import FeedSecrets
from ..adapters.keystore import KeyFolder
from ..adapters.passwords import Argon2Passwords
from ..domain.places import Area, Speaker
from ..domain.refusals import NotFound, Refused
from ..domain.signals import REQUESTS_PER_MINUTE, SIGNALS_PER_MINUTE, Datum, Evidence, Feed, Panel, Sensor, Use
from ..engine import enrolment, people
from ..engine.leases import GATEWAY_PREFIX, gateway_client
from ..engine.people import Role, fresh_secret
from ..engine.ports import Page, Store, StoreUnavailable
from ..engine.rows import BrokerAccount, Person
from . import cli_enrol_sources as sources
from .cli_city import as_lines, feed_words
from .commands import in_line
from .commands import my_name as _me
from .commands import opened_store as _store
from .enrolment import (
    GATEWAYS_MAX,
    INTAKE_TOPICS,
    LIMIT_MAX,
    RHYTHM_S_MAX,
    BrokerAddress,
    FeedShare,
    FeedSignature,
    KeepOld,
    department_feeds,
    enrol_account,
    enrol_feed,
    enrol_panel,
    enrol_speakers,
    renew_feed_key,
    sign_requests,
    speaker_settings,
)
from .private import add_private, read_private, write_private
from .settings import Settings

LISTED_MAX = 200_000
PANEL_RHYTHM_S = 7_500
"""GB/T 26875.3 has a device check its line at least every two hours."""
PEM_BYTES_MAX = 65_536
KEEP_OLD_S_MAX = 90 * 86_400

enrol_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Enrol people, feeds, panels, sensors, speakers, gateways. 登记人员、信源、主机、传感器、终端与网关。",
)
enrol_app.command()(sources.poll)
enrol_app.command()(sources.sensor)
enrol_app.command("sensor-gateway")(sources.sensor_gateway)


class Kind(StrEnum):
    """What can be enrolled."""

    PERSON = "person"
    FEED = "feed"
    PANEL = "panel"
    SENSOR = "sensor"
    SPEAKER = "speaker"
    GATEWAY = "gateway"


Id = Annotated[str, typer.Argument(help="Its id. 编号。")]
UseOption = Annotated[Use, typer.Option("--use", help="Actual or exercise, for good. 实警或演练，登记后不由内容决定。")]
NameOption = Annotated[str, typer.Option("--name", help="What people call it. 名称。")]
SecretsFile = Annotated[
    Path | None,
    typer.Option("--file", help="Add them to this file of secrets, which only you can read. 写入此密钥文件。"),
]


@enrol_app.command()
def person(
    name: Annotated[str, typer.Argument(help="The name to log in with. 登录名。")],
    role: Annotated[list[Role], typer.Option(help="May be given more than once. 可多次给出。")],
    office: Annotated[str, typer.Option(help="The office somebody answers for. 所属值守单位。")] = "",
) -> None:
    """A person with a generated password, printed once. 登记一个人，生成的密码只显示一次。"""
    password = fresh_secret()
    with _store() as store:
        people.create_person(
            store, Argon2Passwords(), name=name, password=password, roles=role, office=office, by=_me()
        )
    _once("password", password)


@enrol_app.command()
def password(name: Annotated[str, typer.Argument(help="The name to log in with. 登录名。")]) -> None:
    """A new generated password; every login of theirs ends. 重新生成密码，此人的登录全部失效。"""
    fresh = fresh_secret()
    with _store() as store:
        people.change_password(store, Argon2Passwords(), name=name, password=fresh, by=_me())
    _once("password", fresh)


@enrol_app.command()
def feed(
    id: Id,
    name: NameOption,
    department: Annotated[str, typer.Option(help="Whose feed it is. 所属部门。")],
    area: Annotated[str, typer.Option(help="12-digit code of what it speaks for. 所辖区划代码。")],
    use: UseOption,
    format: Annotated[str, typer.Option(help="What it sends, as in the address it posts to. 报文格式。")] = "cap",
    hazard: Annotated[
        list[str] | None, typer.Option(help="Only this hazard; may be given more than once. 限定灾种，可多次给出。")
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="Another area it may speak for, more than once. 另外可报送的区划。")
    ] = None,
    datum: Annotated[Datum, typer.Option(help="The datum of its positions. 坐标系。")] = Datum.WGS84,
    rhythm: Annotated[
        int,
        typer.Option(
            min=0, max=RHYTHM_S_MAX, help="Seconds within which it should speak; 0: any. 应有报送间隔（秒）。"
        ),
    ] = 0,
    evidence: Annotated[Evidence, typer.Option(help="What kind of witness it is. 信源性质。")] = Evidence.AUTHORITY,
    alias: Annotated[
        list[str] | None, typer.Option(help="WORD=HAZARD for a word of its own, more than once. 自用词汇对应灾种。")
    ] = None,
    certificate: Annotated[
        list[Path] | None, typer.Option(help="PEM file of who signs its alerts, more than once. 签名证书，可多次给出。")
    ] = None,
    signature_required: Annotated[
        bool, typer.Option("--signature-required", help="Take only alerts signed so. 只接收有效签名的报文。")
    ] = False,
    weak_signatures: Annotated[
        bool, typer.Option("--weak-signatures", help="SHA-1 and short keys count, and show as weak. 接受弱签名并标明。")
    ] = False,
    requests_per_minute: Annotated[
        int, typer.Option(min=1, max=LIMIT_MAX, help="Requests it may send a minute. 每分钟请求上限。")
    ] = REQUESTS_PER_MINUTE,
    signals_per_minute: Annotated[
        int, typer.Option(min=1, max=LIMIT_MAX, help="Signals it may report a minute. 每分钟信号上限。")
    ] = SIGNALS_PER_MINUTE,
) -> None:
    """A department feed with a generated key, printed once. 登记一个信源，生成的密钥只显示一次。"""
    with _store() as store:
        with store.read() as read:
            if read.get(Area, area) is None:
                raise NotFound(f"area {area}")
        key = enrol_feed(
            store, id, name, department, use, area, _me(),
            format=format, hazards=tuple(hazard) if hazard else None, areas=tuple(also or ()), datum=datum,
            rhythm_s=rhythm, evidence=evidence, aliases=_aliases(alias or []),
            signed=FeedSignature(_pem_files(certificate or []), signature_required, weak_signatures),
            limits=FeedShare(requests_per_minute, signals_per_minute),
        )  # fmt: skip
    _once("key", key)


def _pem_files(paths: list[Path]) -> tuple[bytes, ...]:
    try:
        return tuple(path.read_bytes()[:PEM_BYTES_MAX] for path in paths)
    except OSError as cause:
        raise typer.BadParameter(f"The certificate can't be read: {cause.strerror or 'input error'}.") from cause


@enrol_app.command("feed-key")
def feed_key(
    id: Id,
    keep_old_for: Annotated[
        str, typer.Option(help="How long the old key still opens: 90s, 30m, 24h, 7d; 0 ends it now. 旧密钥保留时长。")
    ] = "24h",
    keep_old_until_used: Annotated[
        bool,
        typer.Option("--keep-old-until-used", help="The old one opens until the new one is used. 启用后旧密钥失效。"),
    ] = False,
) -> None:
    """A new key for a feed, printed once, without a gap. 更换信源密钥，报送不中断，新密钥只显示一次。"""
    kept = KeepOld(None if keep_old_until_used else _seconds(keep_old_for))
    with _store() as store:
        key = renew_feed_key(store, id, kept, _me())
    _once("key", key)
    typer.echo("The old key ends when the new one is first used." if keep_old_until_used else _old_key(keep_old_for))


@enrol_app.command("feed-signing")
def feed_signing(
    id: Id,
    required: Annotated[
        bool, typer.Option("--required", help="Take only requests that are signed. 只接收已签名的请求。")
    ] = False,
    off: Annotated[bool, typer.Option("--off", help="The feed signs no longer. 取消请求签名。")] = False,
) -> None:
    """A secret by which a feed signs its requests (HMAC-SHA256), printed once. 生成请求签名密钥，只显示一次。"""
    if required and off:
        raise typer.BadParameter("A feed either must sign or signs no longer.")
    with _store() as store:
        if off:
            enrolment.set_feed_secret(store, id, "", False, _me())
        else:
            secret = sign_requests(store, FeedSecrets(Settings().feed_key), id, required, _me())
    if off:
        typer.echo(f"{id} signs no longer.")
    else:
        _once("secret", secret)


def _old_key(kept_for: str) -> str:
    return "The old key has ended." if _seconds(kept_for) == 0 else f"The old key opens for another {kept_for}."


def _seconds(text: str) -> int:
    """Seconds in 90s, 30m, 24h, 7d or 0; at most KEEP_OLD_S_MAX."""
    form = re.fullmatch(r"(\d{1,7})([smhd])|0", text, re.ASCII)
    seconds = -1 if form is None else int(form[1] or 0) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[form[2] or "s"]
    if not 0 <= seconds <= KEEP_OLD_S_MAX:
        raise typer.BadParameter("A time is written 90s, 30m, 24h or 7d, at most 90 days, or 0.")
    return seconds


def _aliases(given: list[str]) -> dict[str, str]:
    pairs = {}
    for each in given:
        word, equals, hazard = each.rpartition("=")
        if not equals or not word.strip():
            raise typer.BadParameter("An alias is written WORD=HAZARD.")
        pairs[word.strip()] = hazard.strip()
    return pairs


@enrol_app.command()
def departments(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the city pack. 城市数据包文件夹。")],
    use: UseOption,
    file: Annotated[
        Path | None, typer.Option(help="Write the keys to this new file, which only you can read. 密钥写入此新文件。")
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="New keys for those enrolled already as well. 重新生成。")
    ] = False,
) -> None:
    """Every department of a city pack as a feed with a key of its own. 按城市数据包登记全部部门信源。"""
    pack = read_city_pack(folder, datetime.now(UTC).date(), feed_words())
    if isinstance(pack, PackRefused):
        typer.echo("\n".join(as_lines(pack)), err=True)
        raise typer.Exit(1)
    if file is not None and file.exists():
        raise typer.BadParameter("The file is there already; name a new one.")
    with _store() as store:
        with store.read() as read:
            there = {d.id for d in pack.departments if not renew and read.get(Feed, d.id) is not None}
        made = department_feeds([d for d in pack.departments if d.id not in there], use)
        keys = {id: {"format": feed.format, "key": key} for id, (feed, key) in made.items()}
        if file is not None and keys:
            # Before they are stored: keys that nobody holds would have to be made again.
            write_private(file, keys)
        try:
            feeds = [feed for feed, _ in made.values()]
            enrolment.enrol_feeds(store, feeds, _me(), [feed.area for feed in feeds])
        except (Refused, StoreUnavailable):
            if file is not None:
                file.unlink(missing_ok=True)
            raise
    for id in sorted(there):
        typer.echo(f"{id} is enrolled already; its key stays.")
    if file is None:
        for id, (_, key) in made.items():
            _once(f"key of {id}", key)
    typer.echo(f"Enrolled {len(made)} departments, {use}.")


@enrol_app.command()
def panel(
    id: Id,
    name: NameOption,
    address: Annotated[str, typer.Option(help="6-byte source address, 12 hex digits, wire order. 源地址。")],
    venue: Annotated[str, typer.Option(help="Where it hangs. 所在场所编号。")],
    use: UseOption,
    test_bit_meaningless: Annotated[
        bool, typer.Option("--test-bit-meaningless", help="Commissioned so: its real fires carry the test bit.")
    ] = False,
    rhythm: Annotated[
        int, typer.Option(min=0, max=RHYTHM_S_MAX, help="Seconds within which it speaks; 0: any. 应有报送间隔（秒）。")
    ] = PANEL_RHYTHM_S,
) -> None:
    """A fire panel; it has no secret, its protocol knows none. 登记一台消防主机。"""
    wire = address.lower()
    if len(wire) != 12 or set(wire) - set("0123456789abcdef"):
        raise typer.BadParameter("The address has 12 hex digits.")
    with _store() as store:
        enrol_panel(store, Panel(id, name, wire, use, venue, test_bit_meaningless, rhythm_s=rhythm), _me())
    typer.echo(f"Enrolled {id} at {venue}, {use}.")


@enrol_app.command()
def speaker(
    ids: Annotated[list[str], typer.Argument(help="Ids of speakers of the city pack. 城市数据包里的终端编号。")],
    folder: Annotated[Path | None, typer.Option(help="Write ID.json files here instead. 写入此文件夹。")] = None,
    host: Annotated[str, typer.Option(help="The broker as the speakers reach it. 消息服务器地址。")] = "",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: as in the settings. 0 为设置中的端口。")] = 0,
    journal: Annotated[Path, typer.Option(help="Where a speaker keeps its own store. 终端本地存储。")] = Path("tocsin"),
) -> None:
    """Settings files with a secret each, printed once. 生成终端设置文件，每台密钥不同，只显示一次。"""
    settings = Settings()
    broker = BrokerAddress(host or settings.mqtt_host, port or settings.mqtt_port)
    if folder is None and len(ids) > 1:
        raise typer.BadParameter("Several speakers need --folder.")
    with _store() as store:
        root = KeyFolder(settings.keys).root()
        secrets = enrol_speakers(store, ids, _me())
    for id, secret in secrets.items():
        made = speaker_settings(id, secret, root, broker, journal)
        if folder is None:
            typer.echo(json.dumps(made, ensure_ascii=False, indent=1))
        else:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(folder / f"{id}.json", made)
    if folder is not None:
        typer.echo(f"Wrote {len(secrets)} settings files to {folder}.")


@enrol_app.command()
def gateway(
    number: Annotated[
        int, typer.Argument(metavar="N", min=0, max=GATEWAYS_MAX - 1, help="The N of its client id gw-N. 网关编号。")
    ],
    file: SecretsFile = None,
) -> None:
    """A gateway's broker account with a secret, printed once. 登记一个网关，密钥只显示一次。

    A gateway reads it by name, gw-N, from the secrets.json of its folder; every gateway that may take the place of
    gw-N needs it, and those of `tocsin enrol intake`. The old one stops working once the broker has its new files.
    """
    _broker_accounts([gateway_client(number)], file)


@enrol_app.command()
def intake(file: SecretsFile = None) -> None:
    """The broker accounts by which the gateways take in what speakers and sensors say. 登记接收回执和传感器的账号。

    One of each serves the whole city: every gateway needs their secrets, gw-receipts and gw-sensors, in its
    secrets.json, and whichever has the duty connects. The old ones stop working once the broker has its new files.
    """
    _broker_accounts(list(INTAKE_TOPICS), file)


def _broker_accounts(names: list[str], file: Path | None) -> None:
    if file is not None:
        try:
            read_private(file)
        except (OSError, ValueError) as wrong:
            raise typer.BadParameter("The file is there already and holds no secrets; name another one.") from wrong
    with _store() as store:
        made = {name: enrol_account(store, name, _me()) for name in names}
    if file is None:
        for account, secret in made.items():
            _once(f"secret {account}", secret)
    else:
        add_private(file, made)
        typer.echo(f"Wrote the secrets {', '.join(made)} to {file}.")


@enrol_app.command()
def off(kind: Kind, id: Id) -> None:
    """Switch off: logins end, keys stop working; what was recorded stays. 停用。"""
    _switch(kind, id, enabled=False)


@enrol_app.command()
def on(kind: Kind, id: Id) -> None:
    """Switch on again. 重新启用。"""
    _switch(kind, id, enabled=True)


@enrol_app.command("list")
def listed(kind: Kind, as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False) -> None:
    """What is enrolled, without any secret. 列出已登记的对象。"""
    with _store() as store:
        rows = _rows(store, kind)
    for row in rows:
        typer.echo(json.dumps(row, ensure_ascii=False) if as_json else in_line(row))


def _rows(store: Store, kind: Kind) -> list[dict[str, object]]:
    everything = Page(limit=LISTED_MAX)
    with store.read() as read:
        match kind:
            case Kind.PERSON:
                return [
                    {"id": p.id, "name": p.name, "roles": ",".join(p.roles), "office": p.office, "enabled": p.enabled}
                    for p in read.find(Person, everything)
                ]
            case Kind.FEED:
                return [
                    {"id": f.id, "name": f.name, "department": f.department, "format": f.format, "use": f.use}
                    | {"area": f.area, "enabled": f.enabled, "signed": _signing_of(f)}
                    for f in read.find(Feed, everything)
                ]
            case Kind.PANEL:
                return [
                    {"id": p.id, "name": p.name, "address": p.address, "use": p.use, "venue": p.venue}
                    | {"enabled": p.enabled}
                    for p in read.find(Panel, everything)
                ]
            case Kind.SENSOR:
                return [
                    {"id": s.id, "name": s.name, "gateway": s.gateway, "device": s.device, "kind": s.kind}
                    | {"use": s.use, "venue": s.venue, "enabled": s.enabled}
                    for s in read.find(Sensor, everything)
                ]
            case Kind.SPEAKER:
                speakers = {speaker.id for speaker in read.find(Speaker, everything)}
                accounts = [a for a in read.find(BrokerAccount, everything) if a.id in speakers]
                return [{"id": a.id, "enabled": a.enabled} for a in accounts]
            case Kind.GATEWAY:
                accounts = [a for a in read.find(BrokerAccount, everything) if a.id.startswith(GATEWAY_PREFIX)]
                return [{"id": a.id, "enabled": a.enabled} for a in accounts]


def _signing_of(feed: Feed) -> str:
    """How a feed's messages are proved besides by its key, in a word or two."""
    said = []
    if feed.certificates:
        said.append("alerts required" if feed.signature_required else "alerts")
    if feed.hmac_secret:
        said.append("requests required" if feed.hmac_required else "requests")
    return ", ".join(said) or "no"


def _switch(kind: Kind, id: str, *, enabled: bool) -> None:
    switches: dict[Kind, Callable[[Store], object]] = {
        Kind.PERSON: partial(people.set_enabled, name=id, enabled=enabled, by=_me()),
        Kind.FEED: partial(enrolment.switch, kind=Feed, id=id, enabled=enabled, by=_me()),
        Kind.PANEL: partial(enrolment.switch, kind=Panel, id=id, enabled=enabled, by=_me()),
        Kind.SENSOR: partial(enrolment.switch, kind=Sensor, id=id, enabled=enabled, by=_me()),
        Kind.SPEAKER: partial(enrolment.switch, kind=BrokerAccount, id=id, enabled=enabled, by=_me()),
        Kind.GATEWAY: partial(enrolment.switch, kind=BrokerAccount, id=id, enabled=enabled, by=_me()),
    }
    with _store() as store:
        switches[kind](store)
    typer.echo(f"{kind} {id} is {'on' if enabled else 'off'}.")


def _once(what: str, secret: str) -> None:
    typer.echo(f"The {what}, shown this once: {secret}")
