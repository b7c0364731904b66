"""The departments of a city pack: who reports what, checked with the pack and in its own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.dispatcher.adapters.city_pack import CityPack, Department, FeedWords, PackRefused, read_city_pack
from services.dispatcher.domain.signals import Datum, Evidence
from services.dispatcher.processes.cli_city import as_fields, as_lines, feed_words
from tests.adapters.test_city_pack import CITIES, TODAY, folder

__all__ = ["folder"]

HEADER = "id,name,hazards,contact,format,rhythm_s,evidence,area,datum,sample\n"
WORDS = FeedWords(frozenset(("flood", "fire", "other")), frozenset(("cap", "table")))
# The ordinance's departments and those who report beside them, by the part of the id behind the city's.
ORDINANCE = {
    "market", "civil", "health", "labour", "justice", "veterans", "housing", "communications", "ocean",
    "emergency", "meteorology", "fire", "police", "grid", "hotline",
}  # fmt: skip


def with_departments(folder: Path, *rows: str) -> CityPack | PackRefused:
    (folder / "departments.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return read_city_pack(folder, TODAY, WORDS)


def test_a_pack_without_departments_is_sound(folder: Path) -> None:
    pack = read_city_pack(folder, TODAY, WORDS)
    assert isinstance(pack, CityPack) and pack.departments == ()


def test_departments_are_read_whole(folder: Path) -> None:
    pack = with_departments(
        folder,
        "water,水务部门,flood;other,水务值班室,table,3600,,210202000000,gcj02,1",
        "grid,网格,*,网格中心,cap,0,person,,,",
    )
    assert isinstance(pack, CityPack)
    assert pack.departments == (
        Department(
            "water",
            "水务部门",
            ("flood", "other"),
            "水务值班室",
            "table",
            3_600,
            Evidence.AUTHORITY,
            "210202000000",
            Datum.GCJ02,
            True,
        ),
        Department("grid", "网格", None, "网格中心", "cap", 0, Evidence.PERSON, "210200000000"),
    )
    assert as_fields(pack)["counts"] == {
        "areas": 4,
        "venues": 1,
        "offices": 1,
        "speakers": 2,
        "departments": 2,
        "samples": 1,
    }
    assert "2 departments" in as_lines(pack)[0]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("Water,水务,flood,值班室,table,0,,,,", "bad_id"),
        ("water,,flood,值班室,table,0,,,,", "empty_cell"),
        ("water,水务,,值班室,table,0,,,,", "empty_cell"),
        ("water,水务,dragons,值班室,table,0,,,,", "unknown_hazard"),
        ("water,水务,*;flood,值班室,table,0,,,,", "unknown_hazard"),
        ("water,水务,flood,,table,0,,,,", "empty_cell"),
        ("water,水务,flood,值班室,fax,0,,,,", "unknown_format"),
        ("water,水务,flood,值班室,table,-1,,,,", "out_of_range"),
        ("water,水务,flood,值班室,table,daily,,,,", "bad_number"),
        ("water,水务,flood,值班室,table,0,rumour,,,", "unknown_word"),
        ("water,水务,flood,值班室,table,0,,999999999999,,", "unknown_area"),
        ("water,水务,flood,值班室,table,0,,,bd09,", "unknown_word"),
        ("water,水务,flood,值班室,table,0,,,,yes", "bad_flag"),
    ],
)
def test_a_bad_row_refuses_the_pack_with_file_and_line(folder: Path, row: str, code: str) -> None:
    refused = with_departments(folder, row)
    assert isinstance(refused, PackRefused)
    assert [(p.file, p.line, p.code) for p in refused.problems] == [("departments.csv", 2, code)]


def test_an_id_stands_once(folder: Path) -> None:
    row = "water,水务,flood,值班室,table,0,,,,"
    refused = with_departments(folder, row, row)
    assert isinstance(refused, PackRefused) and [p.code for p in refused.problems] == ["duplicate_id"]


@pytest.mark.parametrize("city", ["dalian", "longgang"])
def test_the_packs_hold_every_department_of_the_ordinance_as_samples_with_roles_for_contacts(city: str) -> None:
    pack = read_city_pack(CITIES / city, TODAY, feed_words())
    assert isinstance(pack, CityPack)
    assert {department.id.partition("-")[2] for department in pack.departments} == ORDINANCE
    assert all(department.sample and department.area == pack.settings.code for department in pack.departments)
    people = [d.id.partition("-")[2] for d in pack.departments if d.evidence is Evidence.PERSON]
    assert sorted(people) == ["grid", "hotline"]
