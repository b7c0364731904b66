"""City packs: the packs of this repository hold, and every way to break one is named with file and line."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.dispatcher.adapters import city_pack_rows
from services.dispatcher.adapters.city_pack import (
    AREA_COLUMNS,
    CityPack,
    PackProblem,
    PackRefused,
    read_city_pack,
)
from services.dispatcher.domain.places import AreaTree, Speaker, Venue, VenueKind, offices_above
from services.dispatcher.processes.cli_city import city_app

CITIES = Path(__file__).parents[2] / "deploy" / "cities"
TODAY = date(2025, 6, 1)

SETTINGS = """\
code: "210200000000"
name: 大连市
names: {zh: 大连市, en: Dalian}
timezone: Asia/Shanghai
issuer: dalian
depth_labels: [市, 区, 街道]
kinds: {city: 市, district: 区, street: 街道, zone: 功能区}
sources: {map: 公开地图常识}
"""
AREAS = """\
code,name,kind,parent,valid_from,valid_to,overlay,members,synthetic,sample,centre_lat_e7,centre_lon_e7,radius_km,source
210200000000,大连市,city,,2023-01-01,,,,,,393000000,1221000000,160,map
210202000000,中山区,district,210200000000,2023-01-01,,,,,,389050000,1216500000,12,map
210202008000,青泥洼桥街道,street,210202000000,2023-01-01,,,,,,,,,map
210200901000,功能区,zone,210200000000,2023-01-01,,1,210202008000,,,,,,map
"""
VENUES = """\
id,name,kind,area,lat_e7,lon_e7,people,precision_m,sample,source
dl-dlz,大连站,transport_hub,210202008000,389220000,1216280000,8000,300,,map
"""
OFFICES = """\
id,name,kind,area,answers,sample
dl-duty,市值班室,duty,210200000000,verify;ground,
"""
SPEAKERS = """\
id,venue,name,lat_e7,lon_e7,volume_max,microphone
dl-dlz-01,dl-dlz,大连站1号终端,,,90,1
dl-dlz-02,dl-dlz,大连站2号终端,389221000,1216281000,,
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    texts = {
        "city.yaml": SETTINGS,
        "areas.csv": AREAS,
        "venues.csv": VENUES,
        "offices.csv": OFFICES,
        "speakers.csv": SPEAKERS,
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def sound(folder: Path, on: date = TODAY) -> CityPack:
    pack = read_city_pack(folder, on)
    assert isinstance(pack, CityPack), pack
    return pack


def problems(folder: Path, on: date = TODAY) -> list[PackProblem]:
    refused = read_city_pack(folder, on)
    assert isinstance(refused, PackRefused)
    return list(refused.problems)


def named(folder: Path) -> list[tuple[str, int, str]]:
    return [(problem.file, problem.line, problem.code) for problem in problems(folder)]


def change(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")


def append(folder: Path, file: str, line: str) -> None:
    with (folder / file).open("a", encoding="utf-8") as opened:
        opened.write(line + "\n")


def test_a_sound_pack_gives_whole_rows_in_import_order(folder: Path) -> None:
    pack = sound(folder)
    assert pack.venues == (
        Venue(
            id="dl-dlz",
            name="大连站",
            kind=VenueKind.TRANSPORT_HUB,
            area="210202008000",
            lat_e7=389220000,
            lon_e7=1216280000,
            people=8000,
            source="公开地图常识",
            precision_m=300,
        ),
    )
    assert pack.speakers == (
        Speaker("dl-dlz-01", "dl-dlz", "210202008000", "大连站1号终端", 389220000, 1216280000, 90, True),
        Speaker("dl-dlz-02", "dl-dlz", "210202008000", "大连站2号终端", 389221000, 1216281000, 100, False),
    )
    assert [type(row).__name__ for row in pack.rows()] == ["Area"] * 4 + ["Venue", "Office", "Speaker", "Speaker"]


def test_areas_come_parents_first_and_zones_last_whatever_the_file_says(folder: Path) -> None:
    header, *rows = AREAS.splitlines()
    (folder / "areas.csv").write_text("\n".join([header, *reversed(rows)]) + "\n", encoding="utf-8")
    assert [area.code for area in sound(folder).areas] == [
        "210200000000",
        "210202000000",
        "210202008000",
        "210200901000",
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_spreadsheet_s_encodings_and_line_ends_are_read(folder: Path, encoding: str, ending: str) -> None:
    plain = sound(folder)
    for name in ("areas.csv", "venues.csv", "offices.csv", "speakers.csv"):
        text = (folder / name).read_text(encoding="utf-8").replace("\n", ending)
        (folder / name).write_bytes(text.encode(encoding))
    assert sound(folder) == plain


def test_a_file_in_neither_encoding_is_refused(folder: Path) -> None:
    (folder / "venues.csv").write_bytes(b"\xff\xfe" + VENUES.encode("utf-16-le"))
    assert ("venues.csv", 0, "bad_encoding") in named(folder)


BREAKS = [
    ("city.yaml", "issuer: dalian", "issuer: Da Lian", 5, "bad_id"),
    ("city.yaml", "Asia/Shanghai", "Asia/Nowhere", 4, "unknown_timezone"),
    ("city.yaml", "Asia/Shanghai", "../../etc/passwd", 4, "unknown_timezone"),
    ("city.yaml", "name: 大连市", "name: [大连市]", 2, "bad_text"),
    ("city.yaml", "[市, 区, 街道]", "市", 6, "bad_list"),
    ("city.yaml", "sources: {map: 公开地图常识}", "sources: x", 8, "bad_mapping"),
    ("city.yaml", "issuer: dalian", "issuer: dalian\nissuer: other", 6, "duplicate_name"),
    ("city.yaml", "issuer: dalian", "issuer: dalian\ncolour: red", 6, "unknown_name"),
    ("city.yaml", "issuer: dalian\n", "", 0, "missing_name"),
    ("city.yaml", "{zh: 大连市, en: Dalian}", "{zh: {en: {}}}", 3, "broken_yaml"),
    ("city.yaml", "name: 大连市", "name: '大连市", 9, "broken_yaml"),
    ("city.yaml", '"210200000000"', '"2102"', 1, "bad_code"),
    ("areas.csv", "210202008000,青", "21020200800,青", 4, "bad_code"),
    ("areas.csv", "青泥洼桥街道", "", 4, "empty_cell"),
    ("areas.csv", "青泥洼桥街道", "青泥\u202e洼桥", 4, "bad_text"),
    ("areas.csv", "青泥洼桥街道", "{street}街道", 4, "placeholder_left"),
    ("areas.csv", "street,210202000000", "street,210203000000", 4, "unknown_parent"),
    ("areas.csv", "street,210202000000", "street,210202008000", 4, "cycle"),
    ("areas.csv", ",street,", ",hamlet,", 4, "unknown_kind"),
    ("areas.csv", "210202000000,2023-01-01", "210202000000,2023/1/1", 4, "bad_date"),
    ("areas.csv", "210202000000,2023-01-01", "210202000000,20230101", 4, "bad_date"),
    ("areas.csv", "210202000000,2023-01-01,", "210202000000,2023-01-01,2022-01-01", 4, "dates_reversed"),
    ("areas.csv", "389050000,1216500000,12", "389050000,1216500000,", 3, "centre_incomplete"),
    ("areas.csv", "389050000,1216500000,12", "389050000,1216500000,0", 3, "out_of_range"),
    ("areas.csv", "1,210202008000", "yes,210202008000", 5, "bad_flag"),
    ("areas.csv", "1,210202008000", "1,210202008000;210202008000", 5, "duplicate_item"),
    ("areas.csv", "1,210202008000", "1,2102", 5, "bad_code"),
    ("areas.csv", "1,210202008000", "1,210213000000", 5, "unknown_member"),
    ("areas.csv", "code,name", "code,title", 1, "missing_column"),
    ("areas.csv", "parent,valid_from", "parent,name", 1, "duplicate_column"),
    ("venues.csv", "dl-dlz,", "DL_dlz,", 2, "bad_id"),
    ("venues.csv", "dl-dlz,", "d" * 33 + ",", 2, "bad_id"),
    ("venues.csv", "transport_hub", "harbour", 2, "unknown_word"),
    ("venues.csv", "210202008000", "210203001000", 2, "unknown_area"),
    ("venues.csv", "210202008000", "210200901000", 2, "area_is_zone"),
    ("venues.csv", "389220000", "38.922", 2, "bad_number"),
    ("venues.csv", "389220000", "３８９２２００００", 2, "bad_number"),
    ("venues.csv", "389220000", "989220000", 2, "out_of_range"),
    ("venues.csv", "8000,300", "-1,300", 2, "out_of_range"),
    ("venues.csv", "8000,300", "8000,0", 2, "out_of_range"),
    ("venues.csv", "389220000", "398220000", 2, "outside_area"),
    ("venues.csv", "389220000,1216280000", "1216280000,389220000", 2, "out_of_range"),
    ("venues.csv", ",map", ",hearsay", 2, "unknown_source"),
    ("venues.csv", ",,map", ",map", 2, "broken_row"),
    ("venues.csv", "sample", "samples", 1, "unknown_column"),
    ("offices.csv", "verify;ground", "verify;sing", 2, "unknown_word"),
    ("offices.csv", "duty,2102", "boss,2102", 2, "unknown_word"),
    ("offices.csv", "市值班室", '"市值班室', 2, "broken_csv"),
    ("speakers.csv", "dl-dlz-02,dl-dlz", "dl-dlz-02,dl-gone", 3, "unknown_venue"),
    ("speakers.csv", "dl-dlz-02", "dl-dlz-01", 3, "duplicate_id"),
    ("speakers.csv", "389221000", "389921000", 3, "outside_venue"),
    ("speakers.csv", "389221000", "", 3, "bad_number"),
    ("speakers.csv", ",90,", ",101,", 2, "out_of_range"),
]


@pytest.mark.parametrize(("file", "old", "new", "line", "code"), BREAKS)
def test_each_mistake_is_named_with_its_file_and_line(
    folder: Path, file: str, old: str, new: str, line: int, code: str
) -> None:
    change(folder, file, old, new)
    assert (file, line, code) in named(folder)


def test_every_problem_of_every_file_is_reported_at_once_in_order(folder: Path) -> None:
    change(folder, "speakers.csv", "dl-dlz-01", "DL-01")
    change(folder, "venues.csv", ",8000,", ",many,")
    change(folder, "offices.csv", "210200000000", "210299000000")
    assert problems(folder) == [
        PackProblem("venues.csv", 2, "bad_number", "The people is “many”, not a whole number."),
        PackProblem("offices.csv", 2, "unknown_area", "The area 210299000000 is not in areas.csv."),
        PackProblem("speakers.csv", 2, "bad_id", "The id “DL-01” is no id of 1 to 32 characters a-z, 0-9 or hyphen."),
    ]


def test_one_mistake_is_not_repeated_by_the_rows_that_refer_to_it(folder: Path) -> None:
    change(folder, "venues.csv", "389220000", "north")
    change(folder, "areas.csv", "青泥洼桥街道", "")
    assert named(folder) == [("areas.csv", 4, "empty_cell"), ("venues.csv", 2, "bad_number")]


def test_a_venue_far_outside_its_district_is_told_how_far(folder: Path) -> None:
    change(folder, "venues.csv", "389220000", "393220000")
    assert [problem.message for problem in problems(folder)] == [
        "The venue lies 46 km from the middle of 中山区, radius 12 km.",
        "The speaker lies 44 km from its venue dl-dlz.",
    ]


def test_a_duplicate_is_refused_in_every_table(folder: Path) -> None:
    append(folder, "areas.csv", AREAS.splitlines()[2])
    append(folder, "venues.csv", VENUES.splitlines()[1])
    append(folder, "offices.csv", OFFICES.splitlines()[1])
    append(folder, "speakers.csv", SPEAKERS.splitlines()[1])
    assert named(folder) == [
        ("areas.csv", 6, "duplicate_id"),
        ("venues.csv", 3, "duplicate_id"),
        ("offices.csv", 3, "duplicate_id"),
        ("speakers.csv", 4, "duplicate_id"),
    ]


def test_an_expired_area_may_stand_in_the_list_but_nothing_may_stand_in_it(folder: Path) -> None:
    change(folder, "areas.csv", "210202000000,2023-01-01,", "210202000000,2023-01-01,2024-12-31")
    assert len(sound(folder, date(2024, 12, 31)).areas) == 4
    assert problems(folder, date(2025, 1, 1)) == [
        PackProblem(
            "venues.csv",
            2,
            "area_not_in_force",
            "The area 210202008000, or one above it, is not in force on 2025-01-01.",
        )
    ]


def test_nothing_may_stand_in_a_synthetic_area(folder: Path) -> None:
    row = "210202198000,直辖,street,210202000000,2023-01-01,,,,1,,,,,map"
    append(folder, "areas.csv", row)
    append(folder, "offices.csv", "dl-x,值守,town,210202198000,,")
    assert named(folder) == [("offices.csv", 3, "area_synthetic")]


def test_a_pack_about_another_city_or_deeper_than_its_labels_is_refused(folder: Path) -> None:
    change(folder, "city.yaml", "210200000000", "210100000000")
    change(folder, "city.yaml", "[市, 区, 街道]", "[市, 区]")
    assert named(folder) == [("areas.csv", 2, "city_code_differs"), ("areas.csv", 4, "depth_unlabelled")]


def test_missing_files_and_folders_are_problems_not_errors(folder: Path, tmp_path: Path) -> None:
    (folder / "venues.csv").unlink()
    (folder / "venues.csv").mkdir()
    (folder / "offices.csv").write_text("", encoding="utf-8")
    assert named(folder)[:2] == [("venues.csv", 0, "file_missing"), ("offices.csv", 0, "empty_file")]
    assert [code for _, _, code in named(tmp_path / "nowhere")] == [
        "file_missing",
        "file_missing",
        "no_areas",
        "file_missing",
        "file_missing",
        "file_missing",
    ]


def test_a_file_over_its_cap_is_not_read(folder: Path) -> None:
    with (folder / "speakers.csv").open("r+b") as opened:
        opened.truncate(city_pack_rows.CSV_BYTES_MAX + 1)
    (folder / "city.yaml").write_text("x: " + "y" * city_pack_rows.YAML_BYTES_MAX, encoding="utf-8")
    assert named(folder) == [("city.yaml", 0, "file_too_large"), ("speakers.csv", 0, "file_too_large")]


def test_rows_over_the_cap_end_the_file(folder: Path) -> None:
    (folder / "areas.csv").write_text(AREAS + "x,,,,,,,,,,,,,\n" * AREA_COLUMNS.rows_max, encoding="utf-8")
    refused = read_city_pack(folder, TODAY)
    assert isinstance(refused, PackRefused)
    assert len(refused.problems) == city_pack_rows.PROBLEMS_MAX
    assert len(refused.problems) + refused.left_out == AREA_COLUMNS.rows_max - 4 + 1


def test_an_overlong_cell_and_a_runaway_quote_are_bounded(folder: Path) -> None:
    change(folder, "venues.csv", "大连站", "站" * (city_pack_rows.CELL_CHARS_MAX + 1))
    change(folder, "offices.csv", "市值班室", '"' + "室" * 140_000)
    found = named(folder)
    assert ("venues.csv", 2, "cell_too_long") in found
    assert ("offices.csv", 2, "broken_csv") in found


@pytest.mark.parametrize(
    "hostile",
    [
        "[" * 2_000,
        "a: &a [*a]\n",
        "a: &a {x: y}\nb: &b {<<: [*a, *a]}\nc: {<<: [*b, *b]}\n",
        "code: !!python/object/apply:os.getcwd []\n",
        "\x00",
        "- 1\n",
        "",
        "{[a]: b}",
    ],
)
def test_hostile_settings_end_in_problems(folder: Path, hostile: str) -> None:
    (folder / "city.yaml").write_text(hostile, encoding="utf-8")
    assert {problem.file for problem in problems(folder)} == {"city.yaml"}


def test_foreign_text_in_a_sentence_is_short_and_printable(folder: Path) -> None:
    change(folder, "venues.csv", ",8000,", ",\x1b[31m" + "8" * 200 + ",")
    (problem,) = problems(folder)
    assert problem.message == "The people is “\\x1b[31m" + "8" * 31 + "…”, not a whole number."


def test_dalian_has_its_ten_county_units_and_152_town_units() -> None:
    pack = sound(CITIES / "dalian")
    units = Counter(area.parent for area in pack.areas if area.kind in {"street", "town", "township", "farm"})
    assert units == {
        "210202000000": 6,
        "210203000000": 5,
        "210204000000": 7,
        "210211000000": 16,
        "210212000000": 12,
        "210213000000": 25,
        "210214000000": 18,
        "210224000000": 5,
        "210281000000": 32,
        "210283000000": 26,
    }
    names = {area.code: area.name for area in pack.areas}
    assert (names["210212003000"], names["210213025000"]) == ("得胜街道", "得胜街道")
    assert (names["210211007000"], names["210281210000"]) == ("泡崖街道", "泡崖乡")
    assert [area.code for area in pack.areas if area.kind == "farm"] == [
        "210211400000",
        "210212401000",
        "210212402000",
    ]


def test_dalian_s_zones_lie_beside_the_tree() -> None:
    tree = AreaTree.of(sound(CITIES / "dalian").areas)
    zones = {area.name: area.members for area in tree.areas.values() if area.overlay}
    assert zones == {
        "金普新区": ("210213000000",),
        "高新区": ("210211016000", "210211021000", "210212006000"),
        "长兴岛经济区": ("210281009000", "210281011000"),
        "花园口经济区": ("210283005000",),
    }
    assert tree.chain("210211016000").all == ("210200000000", "210211000000", "210211016000", "210200902000")


def test_every_town_unit_of_dalian_has_an_office_and_a_way_up_to_the_city() -> None:
    pack = sound(CITIES / "dalian")
    tree = AreaTree.of(pack.areas)
    for area in pack.areas:
        ladder = [office.id for office in offices_above(tree, pack.offices, area.code)]
        assert ladder[-8:-6] == ["dl-gov", "dl-duty"]
        if area.kind in {"street", "town", "township", "farm"}:
            assert f"dl-town-{area.code[:9]}" in ladder
            assert f"dl-gov-{area.code[:6]}" in ladder


def test_dalian_s_300_speakers_reach_every_county_unit_and_underground_space() -> None:
    pack = sound(CITIES / "dalian")
    at = Counter(speaker.venue for speaker in pack.speakers)
    underground = [venue for venue in pack.venues if venue.kind is VenueKind.UNDERGROUND]
    assert len(pack.speakers) == 300
    assert set(at) == {venue.id for venue in pack.venues}
    assert len({venue.area[:6] for venue in pack.venues}) == 10
    assert sum(at[venue.id] >= 4 for venue in underground) >= 8
    assert any(speaker.microphone for speaker in pack.speakers)


def test_positions_say_no_more_than_is_known() -> None:
    for city in ("dalian", "longgang"):
        pack = sound(CITIES / city)
        assert all(venue.lat_e7 % 10_000 == venue.lon_e7 % 10_000 == 0 for venue in pack.venues)
        assert all(venue.precision_m >= 200 and venue.source for venue in pack.venues)


def test_longgang_has_communities_right_below_the_city() -> None:
    pack = sound(CITIES / "longgang")
    tree = AreaTree.of(pack.areas)
    communities = tree.children("330383000000")
    assert len(communities) == 10
    assert all(tree.chain(code).codes == ("330383000000", code) for code in communities)
    assert all(tree.area(code).sample for code in communities)
    assert [office.id for office in offices_above(tree, pack.offices, "330383198002")] == [
        "lg-com-002",
        "lg-gov",
        "lg-duty",
    ]


def test_the_command_says_a_sound_pack_in_one_line(folder: Path) -> None:
    answer = CliRunner().invoke(city_app, ["check", str(folder)])
    assert (answer.exit_code, answer.stdout) == (
        0,
        "大连市 (210200000000) is sound: 4 areas, 1 venues, 1 offices, 2 speakers, 0 departments, 0 samples.\n",
    )


def test_the_command_ends_with_one_and_names_each_problem(folder: Path) -> None:
    change(folder, "venues.csv", ",8000,", ",many,")
    answer = CliRunner().invoke(city_app, ["check", str(folder)])
    assert (answer.exit_code, answer.stdout) == (
        1,
        "venues.csv:2: bad_number: The people is “many”, not a whole number.\nThe pack can't be used: 1 problem.\n",
    )


def test_the_command_speaks_json_to_programs(folder: Path) -> None:
    runner = CliRunner()
    good = runner.invoke(city_app, ["check", str(folder), "--json"])
    assert json.loads(good.stdout) == {
        "ok": True,
        "city": "210200000000",
        "name": "大连市",
        "counts": {"areas": 4, "venues": 1, "offices": 1, "speakers": 2, "departments": 0, "samples": 0},
    }
    change(folder, "venues.csv", ",8000,", ",many,")
    bad = runner.invoke(city_app, ["check", str(folder), "--json"])
    assert bad.exit_code == 1
    assert json.loads(bad.stdout) == {
        "ok": False,
        "problems": [
            {
                "file": "venues.csv",
                "line": 2,
                "code": "bad_number",
                "message": "The people is “many”, not a whole number.",
            }
        ],
        "left_out": 0,
    }
