"""Alerts in the forms of many countries' services, worded here: each is accepted and told right."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from devices.protocols.selector import Circle, Polygon
from services.dispatcher.domain.signals import Feed, SignalKind, Use
from services.dispatcher.feeds.cap import groups, read, signals

FEED = Feed("met", "", "", "cap", Use.ACTUAL, "", "")
RING = "10.5,-70.25 10.5,-69.75 11.0,-69.75 10.5,-70.25"
POLYGON = Polygon(((105_000_000, -702_500_000), (105_000_000, -697_500_000), (110_000_000, -697_500_000)))
SENT = "2026-07-01T08:00:00+00:00"
EARLIER = "office@warn.example,m-1,2026-07-01T07:00:00-00:00"


@dataclass(frozen=True)
class Form:
    """What a service writes: (language, event) of its info blocks, pairs, and the rest as elements."""

    infos: tuple[tuple[str, str], ...]
    hazard: str
    level: int | None = 2
    kind: SignalKind = SignalKind.ALERT
    msg_type: str = "Alert"
    category: str = "Met"
    severity: str = "Severe"
    codes: tuple[str, ...] = ()
    event_codes: tuple[tuple[str, str], ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    geocodes: tuple[tuple[str, str], ...] = ()
    shape: str = ""
    references: str = ""
    response: str = ""


FORMS = {
    "United States, broadcast": Form(
        (("en-US", "Flash Flood Warning"),),
        "flood",
        codes=("IPAWSv1.0",),
        event_codes=(("SAME", "FFW"), ("NationalWeatherService", "FFW")),
        parameters=(("EAS-ORG", "WXR"), ("VTEC", "/O.NEW.KABC.FF.W.0001.260701T0800Z-260701T1100Z/")),
        geocodes=(("SAME", "006037"), ("UGC", "CAC037")),
        shape=f"<polygon>{RING}</polygon>",
    ),
    "Canada, two languages": Form(
        (("en-CA", "wind"), ("fr-CA", "vent")),
        "gale",
        3,
        severity="Moderate",
        codes=("profile:CAP-CP:0.4", "layer:SOREM:1.0"),
        event_codes=(("profile:CAP-CP:Event:0.4", "wind"), ("SAME", "HWW")),
        parameters=(("layer:SOREM:1.0:Broadcast_Immediately", "No"), ("profile:CAP-CP:0.4:MinorChange", "none")),
        geocodes=(("profile:CAP-CP:Location:0.3", "5915022"), ("layer:EC-MSC-SMC:1.0:CLC", "081100")),
        shape=f"<polygon>{RING}</polygon>",
    ),
    "Canada, over": Form(
        (("en-CA", "thunderstorm"),),
        "thunderstorm_gale",
        4,
        SignalKind.INFO,
        "Update",
        severity="Minor",
        references=EARLIER,
        response="AllClear",
    ),
    "Australia": Form(
        (("en-AU", "Bushfire"),),
        "wildfire",
        category="Fire",
        codes=("urn:oasis:names:tc:emergency:cap:1.2:profile:CAP-AU:1.0",),
        event_codes=(("https://govshare.gov.au/xmlui/handle/10772/6495", "bushFire"),),
        shape="<circle>-35.1,147.3 25.0</circle>",
    ),
    "Italy": Form((("it-IT", "Rischio temporali"),), "thunderstorm_gale", event_codes=(("EVC", "TS"),)),
    "Germany, weather": Form(
        (("de-DE", "STURMBÖEN"), ("en-US", "gale-force gusts")),
        "gale",
        3,
        severity="Moderate",
        event_codes=(("PROFILE_VERSION", "2.1.11"), ("II", "52"), ("GROUP", "WIND"), ("AREA_COLOR", "250 150 0")),
        geocodes=(("WARNCELLID", "809162000"), ("STATE", "BY")),
    ),
    "Germany, civil protection": Form(
        (("DE", "Gefahreninformation: Großbrand mit Rauchentwicklung"),),
        "fire",
        category="Safety",
        event_codes=(("profile:DE-BBK-EVENTCODE:01.00", "BBK-EVC-040"),),
        parameters=(("warnVerwaltungsbereiche", "091620000000"), ("instructionCode", "BBK-ISC-019")),
        geocodes=(("AGS", "09162000"),),
    ),
    "Norway": Form(
        (("no", "Kraftig vindkast"), ("en-GB", "Strong wind gusts")),
        "gale",
        3,
        severity="Moderate",
        parameters=(("awareness_level", "2; yellow; Moderate"), ("awareness_type", "1; Wind")),
        geocodes=(("MunicipalityId", "1103"),),
        shape=f"<polygon>{RING}</polygon><altitude>0</altitude><ceiling>914.4</ceiling>",
    ),
    "Sweden": Form((("sv-SE", "Snöfall"), ("en-GB", "Snow")), "heavy_snow", 4, severity="Minor"),
    "European list, colour only": Form(
        (("es-ES", "Aviso de nivel rojo"),),
        "heat",
        1,
        severity="Unknown",
        parameters=(("awareness_level", "4; red; Extreme"), ("awareness_type", "5; high-temperature")),
        geocodes=(("EMMA_ID", "ES611"),),
    ),
    "Mexico": Form((("es-MX", "Sismo"),), "earthquake", category="Geo", shape="<circle>16.2,-98.5 0</circle>"),
    "Brazil": Form(
        (("pt-BR", "Chuvas Intensas"),), "rainstorm", parameters=(("ColorRisk", "#FF9900"), ("Municipios", "A, B"))
    ),
    "Argentina": Form((("es-AR", "Viento Zonda"),), "dry_hot_wind"),
    "Philippines": Form((("en-PH", "Tropical Cyclone Alert"),), "typhoon", event_codes=(("OET:v1.0", "OET-192"),)),
    "Indonesia": Form((("id-ID", "Hujan Lebat dan Petir"), ("en", "Heavy Rain")), "thunderstorm_gale"),
    "Macao": Form((("zh-MO", "風暴潮警告"), ("pt-PT", "Storm surge"), ("en-US", "Storm surge")), "storm_surge"),
    "Hong Kong": Form((("zh-HK", "強烈季候風信號"), ("en-US", "Strong Monsoon Signal")), "gale"),
    "Taiwan": Form((("zh-TW", "土石流"),), "geological", event_codes=(("profile:CAP-TWP:Event:1.0", "debrisFlow"),)),
    "China, the colour counts": Form(
        (("zh-CN", "市气象台发布台风蓝色预警"),), "typhoon", 4, geocodes=(("CPEAS Geographic Code", "210200000000"),)
    ),
    "India": Form((("en-IN", "Thunderstorm & Lightning"), ("hi-IN", "भारी वर्षा")), "thunderstorm_gale"),
    "New Zealand": Form((("en-NZ", "rain"),), "rainstorm", parameters=(("ColourCode", "Orange"),)),
    "An end of it all": Form(
        (("en", "Tsunami Warning"),), "tsunami", 2, SignalKind.CANCEL, "Cancel", references=EARLIER
    ),
}


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def pairs(name: str, found: tuple[tuple[str, str], ...]) -> str:
    return "".join(
        f"<{name}><valueName>{escaped(one)}</valueName><value>{escaped(two)}</value></{name}>" for one, two in found
    )


def written(form: Form, *, prefix: str = "") -> bytes:
    infos = "".join(
        f"<info><language>{language}</language><category>{form.category}</category><event>{escaped(event)}</event>"
        + (f"<responseType>{form.response}</responseType>" if form.response else "")
        + f"<urgency>Expected</urgency><severity>{form.severity}</severity><certainty>Likely</certainty>"
        f"{pairs('eventCode', form.event_codes)}<expires>2026-07-01T20:00:00-03:00</expires>"
        f"<description>{language}</description>{pairs('parameter', form.parameters)}"
        f"<area><areaDesc>Region</areaDesc>{form.shape.partition('<altitude>')[0]}{pairs('geocode', form.geocodes)}"
        f"{''.join(form.shape.partition('<altitude>')[1:])}</area></info>"
        for language, event in form.infos
    )
    body = (
        f"<alert><identifier>m-2</identifier><sender>office@warn.example</sender><sent>{SENT}</sent>"
        f"<status>Actual</status><msgType>{form.msg_type}</msgType><scope>Public</scope>"
        f"{''.join(f'<code>{code}</code>' for code in form.codes)}"
        + (f"<references>{form.references}</references>" if form.references else "")
        + f"{infos}</alert>"
    )
    space = "urn:oasis:names:tc:emergency:cap:1.2"
    if prefix:
        body = body.replace("</", "\0").replace("<", f"<{prefix}:").replace("\0", f"</{prefix}:")
    return body.replace("alert>", f"alert xmlns{':' if prefix else ''}{prefix}='{space}'>", 1).encode()


@pytest.mark.parametrize("prefix", ["", "cap"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_alert_of_a_country_is_one_signal_told_right(form: Form, prefix: str) -> None:
    found = read(written(form, prefix=prefix))
    assert found.message is not None, found.problems
    (group,) = groups(found.message)
    (signal,) = signals(found.message, FEED, found.message.sent_us).signals
    assert (signal.hazard, signal.claimed_level, signal.kind) == (form.hazard, form.level, form.kind)
    assert {info.language for info in group.infos} == {language for language, _ in form.infos}
    assert signal.references == (
        (f"cap/met/office@warn.example,m-1,{1_782_889_200_000_000}",) if form.references else ()
    )
    if "polygon" in form.shape:
        assert signal.place.shapes == (POLYGON,)
    if "circle" in form.shape:
        assert [type(shape) for shape in signal.place.shapes] == [Circle]
