"""The shared samples of real alerts, read right to the last value: profiles of several countries, and a chain."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.protocols.selector import Circle, Polygon
from services.dispatcher.domain.signals import Evidence, Feed, Place, Signal, SignalKind, Use
from services.dispatcher.feeds.cap import read, reading, signals
from services.dispatcher.feeds.cap_message import CapArea, CapInfo, CapMessage, Reference

SAMPLES = Path(__file__).parents[3] / "shared" / "samples" / "cap"
FEED = Feed("met", "", "", "cap", Use.ACTUAL, "", "")
pytestmark = pytest.mark.skipif(not SAMPLES.exists(), reason="the shared samples are not here")

IRISH_SEA = "from Fair Head to Strangford Lough to Howth Head"
REFUSED = {
    "dt_sent_zulu.xml": [("time_malformed", "alert/sent")],
    "enum_severity_high.xml": [("value_unknown", "info[1]/severity")],
    "geo_unclosed.xml": [("polygon_open", "info[1]/area[1]/polygon")],
    "miss_identifier.xml": [("missing", "alert/identifier")],
    "ns_none.xml": [("namespace_unknown", "alert")],
    "truncated_mid_tag.xml": [("xml_malformed", "line 31")],
    "xml_billion_laughs.xml": [("xml_doctype", "")],
    "xml_xxe_file.xml": [("xml_doctype", "")],
}

# By file: its signal, the codes of its problems, and the size of its shapes (points of a ring, metres of a circle).
TOLD: dict[str, tuple[Signal, tuple[str, ...], tuple[int, ...]]] = {}


def told(
    file: str,
    key: str,
    hazard: tuple[str, str, int | None],
    headline: str,
    times: tuple[int, int | None],
    *,
    kind: SignalKind = SignalKind.ALERT,
    use: Use = Use.ACTUAL,
    areas: tuple[str, ...] = (),
    names: tuple[str, ...],
    references: tuple[str, ...] = (),
    problems: tuple[str, ...] = (),
    shapes: tuple[int, ...] = (),
) -> None:
    sent_us = times[0] * 1_000_000
    sender = key.split(",")[0]
    signal = Signal(
        key=f"cap/met/{key},{sent_us}",
        reporter="met",
        use=use,
        kind=kind,
        evidence=Evidence.AUTHORITY,
        hazard=hazard[0],
        event_code=hazard[1],
        place=Place(areas=areas, names=names),
        observed_us=sent_us,
        received_us=sent_us,
        claimed_level=hazard[2],
        device=sender,
        headline=headline,
        expires_us=None if times[1] is None else times[1] * 1_000_000,
        references=tuple(f"cap/met/{reference}000000" for reference in references),
    )
    TOLD[file] = (signal, problems, shapes)


told(
    "au_bushfire.xml",
    "webmaster@rfs.nsw.gov.au,tag:www.rfs.nsw.gov.au2011-10-06:40184",
    ("fire", "12B00", 4),
    "Yerong Creek Structure Fire",
    (1_317_819_840, 1_317_906_240),
    names=("Yerong Creek Structure Fire",),
    problems=("html_in_text", "html_in_text"),
    shapes=(25_000,),
)
told(
    "chain_1_alert.xml",
    "forecasts@met.ie,HOLDOUT-CHAIN-1",
    ("sea_gale", "11B23", 3),
    f"Small Craft warning {IRISH_SEA}",
    (1_744_586_208, 4_102_444_799),
    names=(IRISH_SEA,),
)
told(
    "chain_2_update.xml",
    "forecasts@met.ie,HOLDOUT-CHAIN-2",
    ("sea_gale", "11B23", 3),
    f"Small Craft warning {IRISH_SEA}",
    (1_744_592_400, 4_102_444_799),
    kind=SignalKind.UPDATE,
    names=(IRISH_SEA,),
    references=("forecasts@met.ie,HOLDOUT-CHAIN-1,1744586208",),
)
told(
    "chain_4_cancel.xml",
    "forecasts@met.ie,HOLDOUT-CHAIN-4",
    ("sea_gale", "11B23", 3),
    f"Small Craft warning {IRISH_SEA}",
    (1_744_610_400, 4_102_444_799),
    kind=SignalKind.CANCEL,
    names=(IRISH_SEA,),
    references=("forecasts@met.ie,HOLDOUT-CHAIN-3,1744599600",),
)
told(
    "enc_utf8_dalian.xml",
    "Dalian_Meteorological_Observatory,HOLDOUT-ENC-UTF8-DALIAN",
    ("rainstorm", "11B03", 2),
    "大连市气象台发布暴雨橙色预警信号",
    (1_787_731_753, 4_102_415_999),
    areas=("210202000000", "210211000000"),
    names=("大连市中山区", "大连市甘井子区"),
)
told(
    "exercise_fire.xml",
    "demo@screenly.io,DEMO-FIRE-DRILL-001",
    ("fire", "12B00", 4),
    "Scheduled Fire Drill in Progress",
    (1_705_329_000, 1_705_332_600),
    use=Use.EXERCISE,
    names=("Main Building - All Floors",),
)
told(
    "mo_macao_monsoon.xml",
    "meteo@smg.gov.mo,SMG-Weather_MS_2025_006_03",
    ("gale", "11B06", 3),
    "強烈季候風(即黑球)信號於 2025年04月13日06時00分 取消。",
    (1_744_494_732, None),
    kind=SignalKind.INFO,
    names=(
        "澳門特別行政區行政區域圖",
        "Mapa da Divisão Administrativa da RAEM",
        "Macao Special Administrative Region Administrative Area Map",
    ),
    problems=("reference_self", "all_clear"),
    shapes=(62,),
)
told(
    "mx_conagua_cyclone.xml",
    "smn.cna.gob.mx,avisossmn-ciclontropical-4063",
    ("typhoon", "11B01", None),
    'LA TORMENTA TROPICAL "VICENTE" SE LOCALIZA AL SUR DE CHIAPAS',
    (1_540_037_700, 1_540_048_500),
    kind=SignalKind.UPDATE,
    names=("Chis,Oax",),
    references=("smn.cna.gob.mx,avisossmn-ciclontropical-4061,1540026900",),
    shapes=(28,),
)
told(
    "oasis_v1.2_A2_thunderstorm.xml",
    "KSTO@NWS.NOAA.GOV,KSTO1055887203",
    ("thunderstorm_gale", "11B20", 2),
    "SEVERE THUNDERSTORM WARNING",
    (1_055_887_020, 1_055_890_800),
    names=(
        "EXTREME NORTH CENTRAL TUOLUMNE COUNTY IN CALIFORNIA, EXTREME NORTHEASTERN\n"
        "                CALAVERAS COUNTY IN CALIFORNIA, SOUTHWESTERN ALPINE COUNTY IN CALIFORNIA",
    ),
    shapes=(4,),
)
told(
    "oasis_v1.2_A4_amber.xml",
    "KARO@CLETS.DOJ.CA.GOV,KAR0-0306112239-SW",
    ("other", "", 2),
    "Amber Alert in Los Angeles County",
    (1_055_396_340, None),
    names=("Los Angeles County", "condado de Los Ángeles"),
    problems=("hazard_unknown",),
)
told(
    "us_nws_idp_2882593.xml",
    "obplayer@localhost,NWS-IDP-PROD-3296165-2882593",
    ("sea_gale", "11B23", 2),
    "Small Craft Advisory issued January 2 at 3:44PM EST expiring January 3 at 4:00PM EST by NWS Cleveland OH",
    (1_613_686_380, None),
    names=("Avon Point to Willowick OH; Vermilion to Avon Point OH; Willowick to Geneva-on-the Lake OH",),
)


def test_every_sample_that_something_is_expected_of_is_there() -> None:
    assert {path.name for path in SAMPLES.glob("valid/*")} >= set(TOLD)
    assert {path.name for path in SAMPLES.glob("invalid/*")} >= set(REFUSED)


@pytest.mark.parametrize("file", sorted(TOLD))
def test_a_valid_sample_is_told_in_full(file: str) -> None:
    expected, problems, shapes = TOLD[file]
    found = read((SAMPLES / "valid" / file).read_bytes())
    assert found.message is not None, found.problems
    judged = signals(found.message, FEED, found.message.sent_us)
    (signal,) = judged.signals
    assert [problem.code for problem in (*found.problems, *judged.problems)] == list(problems)
    assert [_size(shape) for shape in signal.place.shapes] == list(shapes)
    same = {name: getattr(signal, name) for name in Signal.__dataclass_fields__}
    told_too = {name: getattr(expected, name) for name in Signal.__dataclass_fields__}
    for left_out in ("description", "problems"):
        del same[left_out], told_too[left_out]
    same["place"] = Place(areas=signal.place.areas, names=signal.place.names)
    assert same == told_too


def _size(shape: Polygon | Circle) -> int:
    return shape.radius_m if isinstance(shape, Circle) else len(shape.ring)


@pytest.mark.parametrize("file", sorted(REFUSED))
def test_an_invalid_sample_is_refused_under_its_name(file: str) -> None:
    found = read((SAMPLES / "invalid" / file).read_bytes())
    assert found.message is None
    assert [(problem.code, problem.where) for problem in found.problems] == REFUSED[file]
    assert reading((SAMPLES / "invalid" / file).read_bytes(), FEED, 0).signals == ()


def test_every_value_of_a_sample_is_read() -> None:
    found = read((SAMPLES / "valid" / "chain_2_update.xml").read_bytes())
    reference = "forecasts@met.ie,HOLDOUT-CHAIN-1,2025-04-13T23:16:48+00:00"
    assert found.problems == ()
    assert found.message == CapMessage(
        version="1.2",
        identifier="HOLDOUT-CHAIN-2",
        sender="forecasts@met.ie",
        sent="2025-04-14T01:00:00+00:00",
        sent_us=1_744_592_400_000_000,
        status="Actual",
        msg_type="Update",
        scope="Public",
        references=(Reference("forecasts@met.ie", "HOLDOUT-CHAIN-1", 1_744_586_208_000_000, reference),),
        infos=(
            CapInfo(
                language="en-GB",
                categories=("Met",),
                event="Small Craft",
                responses=("Monitor",),
                urgency="Future",
                severity="Moderate",
                certainty="Likely",
                effective_us=1_744_586_208_000_000,
                onset_us=1_744_632_000_000_000,
                expires_us=4_102_444_799_000_000,
                sender_name="Met Éireann",
                headline=f"Small Craft warning {IRISH_SEA}",
                description="Southerly winds will reach force 6 at times.",
                parameters=(("awareness_type", "1; Wind"), ("awareness_level", "2; yellow; Moderate")),
                areas=(
                    CapArea(
                        name=IRISH_SEA,
                        codes=(("EMMA_ID", "EI807"), ("EMMA_ID", "EI809"), ("EMMA_ID", "EI806"), ("EMMA_ID", "EI808")),
                    ),
                ),
            ),
        ),
    )
