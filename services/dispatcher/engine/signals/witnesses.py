"""The devices behind an incident's witnesses: which panel or sensor said it, and whether it may still act by itself."""

from __future__ import annotations

from ...domain.incidents import DevicesUntrusted, Incident
from ...domain.risk import Witness
from ...domain.signals import Panel, Sensor, Signal, witness_name
from ..ports import Read
from .joining import FROM_DEVICES, SENSOR_KEYS, of_panel

SIGNALS_MAX = 64


def said_by(read: Read, incident: Incident, device: Panel | Sensor) -> tuple[tuple[str, str], ...]:
    """The witnesses of an incident that are this panel or sensor, as (reporter, device), and count without people."""
    return tuple(
        (w.reporter, w.device)
        for w in incident.witnesses
        if w.automatic and w.evidence in FROM_DEVICES and w.reporter == device.id
        and type(device) in {_kind(signal) for signal in _signals(read, incident, w)}
    )  # fmt: skip


def untrusted_now(read: Read, incident: Incident) -> DevicesUntrusted | None:
    """The witnesses whose device has been switched off or put under maintenance since they spoke; None without any."""
    now_us = read.now_us()
    gone: list[tuple[str, str]] = []
    whys: list[str] = []
    for w in incident.witnesses:
        kinds = {_kind(s) for s in _signals(read, incident, w)} if w.automatic and w.evidence in FROM_DEVICES else set()
        devices: list[Panel | Sensor | None] = []
        if Panel in kinds:
            devices.append(read.get(Panel, w.reporter))
        if Sensor in kinds:
            devices.append(read.get(Sensor, w.reporter))
        found = [why for device in devices if (why := _why_not(device, w.reporter, now_us))]
        if found:
            gone.append((w.reporter, w.device))
            whys += found
    return DevicesUntrusted(tuple(gone), "; ".join(dict.fromkeys(whys)), "") if gone else None


def _signals(read: Read, incident: Incident, w: Witness) -> list[Signal]:
    return read.signals_standing(incident.id, witness_name(w.reporter, w.device), SIGNALS_MAX)


def _kind(signal: Signal) -> type[Panel] | type[Sensor] | None:
    """Panels, sensors and feeds may share a name; the wire says which of them spoke."""
    if of_panel(signal):
        return Panel
    return Sensor if signal.key.startswith(SENSOR_KEYS) else None


def _why_not(device: Panel | Sensor | None, name: str, now_us: int) -> str:
    if device is None:
        return f"{name} is enrolled no longer"
    if not device.enabled:
        return f"{name} was switched off after its alarm"
    if device.maintenance_until_us is not None and now_us < device.maintenance_until_us:
        return under_maintenance(device)
    return ""


def under_maintenance(device: Panel | Sensor) -> str:
    """Why a device under maintenance no longer acts by what it said before, in words for the log."""
    said = f" ({device.maintenance_reason})" if device.maintenance_reason else ""
    return f"{device.maintenance_author or 'somebody'} put {device.id} under maintenance after its alarm{said}"
