"""The `tocsin enrol` commands for what is polled, for MQTT sensors and for the gateway devices that they hang on."""

from __future__ import annotations

from typing import Annotated

import typer

from devices.protocols.sensor_mqtt import SensorKind

from ..domain.polling import EVERY_S_MIN
from ..domain.signals import Sensor, Use
from ..engine import enrolment
from .commands import my_name, opened_store
from .enrolment import RHYTHM_S_MAX
from .enrolment_sources import EVERY_S_MAX, enrol_poll, enrol_sensor, renew_gateway_device
from .settings import Settings


def poll(
    feed: Annotated[str, typer.Argument(help="The enrolled feed. 已登记的信源编号。")],
    url: Annotated[str, typer.Option(help="Where its list or document lies. 列表或报文地址。")] = "",
    every: Annotated[
        int, typer.Option(min=EVERY_S_MIN, max=EVERY_S_MAX, help="Seconds between two polls. 轮询间隔（秒）。")
    ] = 60,
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="Also over http, which others can change on the way. 允许明文 HTTP。")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Poll it no more. 停止轮询。")] = False,
) -> None:
    """Have a feed fetched from where it is published. 定时抓取一个信源。"""
    if stop == bool(url):
        raise typer.BadParameter("Give either --url or --stop.")
    loopback = Settings().poll_loopback
    with opened_store() as store:
        if stop:
            enrolment.stop_poll(store, feed, my_name())
        else:
            enrol_poll(store, feed, url, every, my_name(), plain_http=plain_http, loopback=loopback)
    typer.echo(f"{feed} is polled no more." if stop else f"{feed} is polled every {every} s.")


def sensor(
    id: Annotated[str, typer.Argument(help="Its id. 编号。")],
    gateway: Annotated[str, typer.Option(help="The gateway device it hangs on. 所属网关设备。")],
    device: Annotated[str, typer.Option(help="What that calls it, as in its topic. 网关内设备名。")],
    kind: Annotated[SensorKind, typer.Option(help="What it measures. 传感器类型。")],
    venue: Annotated[str, typer.Option(help="Where it hangs. 所在场所编号。")],
    use: Annotated[Use, typer.Option("--use", help="Actual or exercise, for good. 实警或演练，登记后不由内容决定。")],
    name: Annotated[str, typer.Option(help="What people call it. 名称。")] = "",
    hazard: Annotated[str, typer.Option(help="What its alarm means, if not what its kind says. 报警对应灾种。")] = "",
    rhythm: Annotated[
        int, typer.Option(min=0, max=RHYTHM_S_MAX, help="Seconds within which it speaks; 0: any. 应有报送间隔（秒）。")
    ] = 3_600,
    test_bit_meaningless: Annotated[
        bool, typer.Option("--test-bit-meaningless", help="Commissioned so: its real alarms carry the test flag.")
    ] = False,
) -> None:
    """An MQTT sensor; its gateway device gets an account with the first one. 登记一个传感器。"""
    made = Sensor(id, gateway, device, str(kind), venue, use, name, hazard, rhythm, test_bit_meaningless)
    with opened_store() as store:
        secret = enrol_sensor(store, made, my_name())
    typer.echo(f"Enrolled {id} at {venue}, {use}.")
    if secret is not None:
        typer.echo(f"The broker secret of {gateway}, shown this once: {secret}")


def sensor_gateway(name: Annotated[str, typer.Argument(help="The gateway device. 网关设备名。")]) -> None:
    """A new secret for a gateway device; the old one stops working. 重新生成网关设备密钥。"""
    with opened_store() as store:
        secret = renew_gateway_device(store, name, my_name())
    typer.echo(f"The broker secret of {name}, shown this once: {secret}")
