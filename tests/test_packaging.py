"""What an installation rests on: the locks, the packages, the two files that say who may import whom."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PIN = re.compile(r"(?P<name>[a-z0-9][a-z0-9.-]*)==(?P<version>[0-9][0-9a-z.]*)(?: ; (?P<marker>[^\\]+))? \\")


def entries(lock: str) -> dict[str, tuple[str, str | None]]:
    """Version and marker by name; fails on a line that is neither comment, pin nor hash, and on a pin without hash."""
    found: dict[str, tuple[str, str | None]] = {}
    hashes: dict[str, int] = {}
    name = ""
    for line in (ROOT / lock).read_text(encoding="utf-8").splitlines():
        if pin := PIN.fullmatch(line):
            name = pin["name"]
            found[name] = (pin["version"], pin["marker"])
        elif re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line):
            hashes[name] = hashes.get(name, 0) + 1
        else:
            assert line.startswith("# "), line
    assert hashes.keys() == found.keys()
    return found


def normal(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement)[0]).lower()


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_holds_versions_and_hashes_and_names_no_host(lock: str) -> None:
    assert entries(lock)
    assert "://" not in (ROOT / lock).read_text(encoding="utf-8")


def test_every_dependency_is_locked() -> None:
    run, check = (set(entries(lock)) for lock in LOCKS)
    wanted = {normal(requirement) for requirement in PROJECT["dependencies"]} | {"setuptools"}
    assert wanted - run == set()
    assert {normal(requirement) for requirement in PROJECT["optional-dependencies"]["dev"]} - check == set()


LOAD_EVERYTHING = """
import importlib, pkgutil, sys
from importlib.metadata import packages_distributions
for root in ("services", "devices", "simulators"):
    for found in pkgutil.walk_packages(importlib.import_module(root).__path__, root + "."):
        importlib.import_module(found.name)
from services.dispatcher.adapters.celery_app import make_celery
make_celery("redis://127.0.0.1:1/0").connection_for_write().transport
loaded = {name.partition(".")[0] for name in sys.modules}
print(*sorted({d for top, found in packages_distributions().items() if top in loaded for d in found}))
"""


def test_what_tocsin_loads_comes_from_the_run_lock() -> None:
    """The tests' own packages would hide one that only they bring along."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD_EVERYTHING], check=True, capture_output=True, text=True, cwd=ROOT
    )
    loaded = {normal(name) for name in ended.stdout.split()}
    assert {"celery", "kombu", "redis", "fastapi"} <= loaded
    assert loaded - set(entries("requirements.lock")) - {"tocsin"} == set()


def test_tests_run_on_the_versions_that_run() -> None:
    run, check = (entries(lock) for lock in LOCKS)
    assert {name: check.get(name) for name in run} == run


def test_what_only_some_pythons_need_says_so() -> None:
    markers = {name: marker for name, (_, marker) in entries("requirements-dev.lock").items() if marker}
    assert markers == {
        "async-timeout": 'python_full_version < "3.11.3"',
        "audioop-lts": 'python_version >= "3.13"',
    }


def test_debian_packages_are_named_as_debian_names_them() -> None:
    lines = (ROOT / "deploy/packages.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"#.*|(run|test) [a-z0-9][a-z0-9.+-]+", line)] == []


@pytest.mark.parametrize("script", ["deploy/setup.sh", ".ci/run"])
def test_script_is_plain_shell(script: str) -> None:
    subprocess.run(["/bin/sh", "-n", str(ROOT / script)], check=True)


def test_setup_refuses_an_unknown_purpose() -> None:
    ended = subprocess.run([ROOT / "deploy/setup.sh", "fun"], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (2, "setup.sh takes run or test, not fun.\n")


def test_setup_refuses_when_no_python_is_new_enough() -> None:
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": "no-such-python"}
    ended = subprocess.run(
        [ROOT / "deploy/setup.sh", "run"], env=environment, check=False, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (
        1,
        "Tocsin needs Python 3.11 or newer; name one with PYTHON=/path/to/python3.\n",
    )
