"""EBD packages: what is taken, what is refused and with which code."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.feeds.ebd_tar import (
    BLOCK,
    MEMBERS_MAX,
    TAR_BYTES_MAX,
    Member,
    looks_like_tar,
    open_package,
    write_package,
)

BODY = Member("EBDB_1.xml", b"<EBD/>")
SIGNATURE = Member("EBDS_EBDB_1.xml", b"<Signature/>")
SOUND = Member("EBDR_rain.mp3", b"\x00" * 1_000)
NAMES = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=60)


def packed(*entries: tuple[tarfile.TarInfo, bytes], format: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for info, content in entries:
            if info.isreg():
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def file(name: str, content: bytes = b"x", type: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = type
    return info, content


def errors(raw: bytes) -> list[str]:
    found = open_package(raw)
    codes = [problem.code for problem in found.problems if problem.severity == "error"]
    assert found.refused == bool(codes)
    assert not (codes and found.members)
    return codes


def with_header(raw: bytes, at: int, field: bytes) -> bytes:
    """The first header with some bytes changed and its checksum made good again."""
    head = bytearray(raw[:BLOCK])
    head[at : at + len(field)] = field
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + raw[BLOCK:]


def test_a_package_gives_back_its_members_in_their_order() -> None:
    found = open_package(write_package((BODY, SIGNATURE, SOUND)))
    assert (found.members, found.problems) == ((BODY, SIGNATURE, SOUND), ())


def test_the_same_members_always_make_the_same_bytes() -> None:
    raw = write_package((BODY, SIGNATURE))
    assert raw == write_package((BODY, SIGNATURE))
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        assert [(each.name, each.mtime, each.uid, each.mode) for each in tar] == [
            ("EBDB_1.xml", 0, 0, 0o644),
            ("EBDS_EBDB_1.xml", 0, 0, 0o644),
        ]


@given(st.dictionaries(NAMES.map(str.casefold), st.binary(max_size=2_000), min_size=1, max_size=5))
def test_what_is_written_is_read_back(files: dict[str, bytes]) -> None:
    members = tuple(Member(name, content) for name, content in files.items())
    assert open_package(write_package(members)).members == members


def test_names_with_a_leading_dot_and_a_folder_entry_are_tolerated() -> None:
    found = open_package(packed(file("./", b"", tarfile.DIRTYPE), file("./EBDB_1.xml", b"<EBD/>")))
    assert found.members == (BODY,)
    assert [(p.severity, p.code) for p in found.problems] == [("warning", "tar_folder")]


def test_names_in_gb18030_are_read() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT, encoding="gb18030") as tar:
        tar.addfile(*_sized("EBDR_暴雨.mp3"))
    assert [member.name for member in open_package(out.getvalue()).members] == ["EBDR_暴雨.mp3"]


def _sized(name: str) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.size = 1
    return info, io.BytesIO(b"x")


@pytest.mark.parametrize(
    "name", ["../EBDB_1.xml", "/EBDB_1.xml", "a/../../EBDB_1.xml", "a/EBDB_1.xml", "..", "C:\\x", "a\\b", "EBDB\n"]
)
def test_names_that_lead_out_of_the_package_are_refused(name: str) -> None:
    assert errors(packed(file(name))) == ["tar_path"]


@pytest.mark.parametrize(
    "type",
    [
        tarfile.LNKTYPE,
        tarfile.SYMTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.CONTTYPE,
        tarfile.GNUTYPE_SPARSE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        b"Z",
    ],
)
def test_everything_but_plain_files_is_refused(type: bytes) -> None:
    assert errors(with_header(packed(file("EBDB_1.xml")), 156, type)) == ["tar_type"]


def test_extended_headers_are_refused_as_they_are_written_in_the_field() -> None:
    assert errors(packed(file("EBDR_" + "长" * 60), format=tarfile.PAX_FORMAT)) == ["tar_type"]
    assert errors(packed(file("EBDR_" + "x" * 200), format=tarfile.GNU_FORMAT)) == ["tar_type"]


def test_two_members_of_one_name_are_refused_whatever_their_case() -> None:
    assert errors(packed(file("EBDB_1.xml"), file("EBDB_1.xml"))) == ["tar_duplicate"]
    assert errors(packed(file("EBDB_1.xml"), file("./ebdb_1.XML"))) == ["tar_duplicate"]


def test_too_many_members_are_refused() -> None:
    assert errors(packed(*(file(f"EBDR_{n}") for n in range(MEMBERS_MAX + 1)))) == ["too_many"]


@pytest.mark.parametrize(
    "size", [b"77777777777\0", b"00000004000\0", b"\x80" + b"\x00" * 3 + b"\x7f" * 8, b"\xff" * 12]
)
def test_a_size_that_is_not_there_is_refused(size: bytes) -> None:
    assert errors(with_header(packed(file("EBDB_1.xml"))[: 2 * BLOCK], 124, size)) == ["tar_size"]


def test_compressed_packages_are_refused_unopened() -> None:
    bomb = write_package((Member("EBDB_1.xml", b"\0" * 1_000_000),))
    for raw in (gzip.compress(bomb), bz2.compress(bomb), lzma.compress(bomb)):
        assert looks_like_tar(raw)
        assert errors(raw) == ["tar_compressed"]


def test_a_package_that_is_too_large_is_refused() -> None:
    assert errors(write_package((BODY,)) + b"\0" * TAR_BYTES_MAX) == ["too_large"]


def test_a_damaged_header_is_refused() -> None:
    raw = bytearray(write_package((BODY,)))
    raw[5] ^= 1
    assert errors(bytes(raw)) == ["tar_malformed"]
    assert errors(b"x" * BLOCK) == ["tar_malformed"]


def test_a_cut_package_says_so_or_is_refused_at_every_length() -> None:
    raw = write_package((BODY, SIGNATURE))
    for length in range(2 * BLOCK + 1, 5 * BLOCK):
        found = open_package(raw[:length])
        assert found.problems, length
        assert found.refused or found.members in ((BODY,), (BODY, SIGNATURE))


def test_what_stands_behind_the_end_is_named() -> None:
    found = open_package(write_package((BODY,)) + b"more")
    assert (found.members, [p.code for p in found.problems]) == ((BODY,), ["tar_trailing"])


@given(st.data())
def test_no_damage_and_no_bytes_crash_it(data: st.DataObject) -> None:
    raw = bytearray(write_package((BODY, SIGNATURE)))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, 4 * BLOCK))] = data.draw(st.integers(0, 255))
    open_package(bytes(raw))
    open_package(data.draw(st.binary(max_size=1_500)))


@given(st.integers(0, BLOCK - 13), st.binary(max_size=12))
def test_a_header_with_a_good_checksum_and_any_field_never_crashes_it(at: int, field: bytes) -> None:
    for member in open_package(with_header(write_package((BODY,)), at, field)).members:
        assert "/" not in member.name and ".." != member.name
