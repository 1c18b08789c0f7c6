"""pyproject.toml, requirements.lock and environment.yml describe one environment."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCK = [line for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines() if not line.startswith("#")]


def name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


LOCKED = {name(r.name): r for r in map(Requirement, LOCK)}
# triton comes with the CUDA build of torch, which pins it; without CUDA there is none.
WANTED = [
    (extra, requirement)
    for extra, rows in {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}.items()
    for requirement in rows
    if extra != "gpu"
]


def test_lock_is_exact_and_tells_nothing_of_a_machine():
    assert len(LOCKED) == len(LOCK) > 100
    for line in LOCK:
        assert re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*(; sys_platform == \"darwin\")?", line), line
    assert sorted(LOCK, key=str.lower) == LOCK
    assert "hierlib" not in LOCKED


@pytest.mark.parametrize("extra, text", WANTED, ids=lambda x: x or "core")
def test_every_requirement_is_met_by_the_lock(extra, text):
    wanted = Requirement(text)
    assert name(wanted.name) in LOCKED, f"run `make lock`: {text} is not in requirements.lock"
    [pin] = LOCKED[name(wanted.name)].specifier
    assert wanted.specifier.contains(Version(pin.version), prereleases=True)


def test_conda_installs_the_lock():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    *packages, pip = conda["dependencies"]
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}
    python = next(p for p in packages if p.startswith("python "))
    allowed, conda_allows = SpecifierSet(PROJECT["requires-python"]), SpecifierSet(python.removeprefix("python "))
    versions = [Version(f"3.{minor}") for minor in range(8, 20)]
    assert any(v in conda_allows for v in versions)
    assert all(v in allowed for v in versions if v in conda_allows)
    assert "pip" in packages and conda["name"] == "hierlib"


def test_what_is_installed_is_the_lock():
    """The tests speak of the locked versions only if these are what runs them."""
    from importlib.metadata import version

    for key, requirement in LOCKED.items():
        if requirement.marker is None or requirement.marker.evaluate():
            [pin] = requirement.specifier
            assert version(key).partition("+")[0] == pin.version, key
