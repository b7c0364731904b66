"""EBD packages: an uncompressed tar in, its members out, and back. Pure.

The headers are walked one by one and only plain files are taken; nothing is ever unpacked to a disk. Whatever could
make a name, a size or a type mean two things (links, devices, sparse files, extended headers, names that leave the
package, two members of one name) refuses the whole package.
"""

from __future__ import annotations

import io
import re
import tarfile
from dataclasses import dataclass

from services.dispatcher.domain.signals import Problem

TAR_BYTES_MAX = 33_554_432
MEMBERS_MAX = 64
NAME_CHARS_MAX = 100
BLOCK = tarfile.BLOCKSIZE

_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
_MAGIC_AT = slice(257, 262)
_FILE_TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE)
_FORBIDDEN_IN_NAME = re.compile(r"[\x00-\x1f\x7f\\:]")
_TYPE_WORDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.GNUTYPE_LONGNAME: "an extended header",
    tarfile.GNUTYPE_LONGLINK: "an extended header",
    tarfile.XHDTYPE: "an extended header",
    tarfile.XGLTYPE: "an extended header",
    tarfile.SOLARIS_XHDTYPE: "an extended header",
}


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a package; the name has no folder in it."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Package:
    """The members of a package in their order, or none where an error refuses it."""

    members: tuple[Member, ...]
    problems: tuple[Problem, ...]

    @property
    def refused(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)


class _Refused(Exception):
    def __init__(self, code: str, where: str, sentence: str) -> None:
        super().__init__(sentence)
        self.problem = Problem("error", code, where, sentence)


def looks_like_tar(raw: bytes) -> bool:
    """Whether these bytes are a package, or a compressed one, rather than XML."""
    return raw.startswith(_COMPRESSED) or raw[_MAGIC_AT] == b"ustar"


def open_package(raw: bytes) -> Package:
    """The members of a package of at most 32 MB; never raises."""
    notes: list[Problem] = []
    try:
        if raw.startswith(_COMPRESSED):
            raise _Refused("tar_compressed", "", "The package is compressed, which an EBD package never is.")
        if len(raw) > TAR_BYTES_MAX:
            raise _Refused("too_large", "", f"The package has {len(raw)} bytes; {TAR_BYTES_MAX} are allowed.")
        members = _members(raw, notes)
    except _Refused as refused:
        return Package((), (refused.problem, *notes))
    return Package(members, tuple(notes))


def _members(raw: bytes, notes: list[Problem]) -> tuple[Member, ...]:
    found: dict[str, Member] = {}
    at = headers = 0
    while at + BLOCK <= len(raw):
        block = raw[at : at + BLOCK]
        at += BLOCK
        if not block.strip(b"\0"):
            if raw[at:].strip(b"\0"):
                notes.append(_warning("tar_trailing", "", "What stands behind the end of the package was left out."))
            return tuple(found.values())
        headers += 1
        where = f"member[{headers}]"
        if headers > MEMBERS_MAX:
            raise _Refused("too_many", where, f"The package has more than {MEMBERS_MAX} members.")
        info = _header(block, where)
        member = _member(info, raw, at, where)
        at += -(-info.size // BLOCK) * BLOCK
        if member is None:
            notes.append(_warning("tar_folder", where, "A folder in the package was left out."))
            continue
        # Two names that one file system takes for one must not be two members.
        if member.name.casefold() in found:
            raise _Refused("tar_duplicate", where, f"Two members are called {member.name}.")
        found[member.name.casefold()] = member
    if not found:
        raise _Refused("tar_malformed", "", "This is no package: there is no member in it.")
    notes.append(_warning("tar_unended", "", "The package has no end mark; it may have been cut."))
    return tuple(found.values())


def _header(block: bytes, where: str) -> tarfile.TarInfo:
    # Names come as UTF-8, or as GB 18030 from older desks.
    for encoding in ("utf-8", "gb18030"):
        try:
            return tarfile.TarInfo.frombuf(block, encoding, "strict")
        except UnicodeDecodeError:
            continue
        except tarfile.HeaderError as cause:
            raise _Refused("tar_malformed", where, "The header of a member is damaged.") from cause
    raise _Refused("tar_name", where, "The name of a member is in no encoding known here.")


def _member(info: tarfile.TarInfo, raw: bytes, at: int, where: str) -> Member | None:
    """The file behind a header, None for a folder without content."""
    if info.type == tarfile.DIRTYPE and info.size == 0:
        _safe_name(info.name, where)
        return None
    if info.type not in _FILE_TYPES:
        what = _TYPE_WORDS.get(info.type, "no plain file")
        raise _Refused("tar_type", where, f"A member is {what}; only plain files are taken.")
    if not 0 <= info.size <= len(raw) - at:
        raise _Refused("tar_size", where, f"A member claims {info.size} bytes, which are not there.")
    return Member(_safe_name(info.name, where), raw[at : at + info.size])


def _safe_name(name: str, where: str) -> str:
    """The name without a leading ./ that some packers write; refuses names that lead anywhere."""
    plain = name.removeprefix("./").removesuffix("/")
    if plain.startswith("/") or ".." in plain.split("/") or _FORBIDDEN_IN_NAME.search(plain):
        raise _Refused("tar_path", where, "The name of a member leads out of the package.")
    if "/" in plain:
        raise _Refused("tar_path", where, "A member lies in a folder; a package has none.")
    if len(plain) > NAME_CHARS_MAX:
        raise _Refused("tar_name", where, f"The name of a member has more than {NAME_CHARS_MAX} characters.")
    if not plain and name not in (".", "./"):
        raise _Refused("tar_name", where, "A member has no name.")
    return plain


def write_package(members: tuple[Member, ...]) -> bytes:
    """A package of these members in this order; the same members always give the same bytes."""
    assert len({member.name.casefold() for member in members}) == len(members) <= MEMBERS_MAX
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member in members:
            assert member.name and _safe_name(member.name, "") == member.name
            info = tarfile.TarInfo(member.name)
            info.size = len(member.content)
            info.mode = 0o644
            tar.addfile(info, io.BytesIO(member.content))
    raw = out.getvalue()
    assert len(raw) <= TAR_BYTES_MAX
    return raw


def _warning(code: str, where: str, message: str) -> Problem:
    return Problem("warning", code, where, message)
