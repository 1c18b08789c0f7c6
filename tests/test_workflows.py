"""The workflows: what is published has passed the tests, nobody may write who need not, actions do not change."""

import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[1]
TEXTS = {path.stem: path.read_text("utf-8") for path in (ROOT / ".github" / "workflows").iterdir()}
# YAML 1.1 reads the word `on` as a truth value, here as everywhere in such files
FLOWS = {
    name: {("on" if key is True else key): value for key, value in yaml.safe_load(t).items()}
    for name, t in TEXTS.items()
}
JOBS = [(name, job) for name, flow in FLOWS.items() for job in flow["jobs"]]


def steps(name: str, job: str, key: str) -> list[str]:
    return [step[key] for step in FLOWS[name]["jobs"][job]["steps"] if key in step]


def test_the_tests_run_on_every_push_and_pull_request():
    assert {"push", "pull_request"} <= set(FLOWS["tests"]["on"]) and FLOWS["tests"]["on"]["push"] is None
    assert steps("tests", "test", "run") == [".ci/run"]
    for script in ("run", "package"):
        assert os.access(ROOT / ".ci" / script, os.X_OK)


def test_pages_are_published_of_what_passed_on_main_alone():
    pages = FLOWS["tests"]["jobs"]["pages"]
    assert pages["needs"] == "test" and pages["permissions"] == {"pages": "write", "id-token": "write"}
    kept = next(step for step in FLOWS["tests"]["jobs"]["test"]["steps"] if "upload-pages" in step.get("uses", ""))
    assert kept["with"] == {"path": "_build/html"}
    for place in (kept, pages):
        assert place["if"] == "github.ref == 'refs/heads/main' && github.event_name != 'pull_request'"
    others = [job for job in JOBS if job != ("tests", "pages")]
    assert not [job for job in others if any("deploy-pages" in action for action in steps(*job, "uses"))]


def test_a_release_is_of_what_passed_and_holds_library_site_and_book():
    assert FLOWS["release"]["on"] == {"push": {"tags": ["v*"]}}
    version, *run = steps("release", "build", "run")
    assert run == [".ci/run", ".ci/package", "make zip pdf"], "in this order: what fails stops the rest"
    assert "GITHUB_REF_NAME" in version and re.search(
        r'^__version__ = "\d', (ROOT / "hierlib/__init__.py").read_text(), re.M
    )
    publish = FLOWS["release"]["jobs"]["publish"]
    assert publish["needs"] == "build" and publish["permissions"] == {"contents": "write"}
    assert "dist/*" in steps("release", "publish", "run")[0]


@pytest.mark.parametrize("name, job", JOBS, ids="-".join)
def test_every_job_is_bounded_reads_only_and_uses_pinned_actions(name, job):
    flow, made = FLOWS[name], FLOWS[name]["jobs"][job]
    assert flow["permissions"] == {"contents": "read"}, "writing is for the job that publishes alone"
    assert made["timeout-minutes"] <= 180
    assert ("permissions" in made) == ("needs" in made)
    for action in steps(name, job, "uses"):
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action), "a commit: tags move"
        assert re.search(re.escape(action) + r" # v\d+\.\d+\.\d+$", TEXTS[name], re.M), "and which version that is"


def test_one_action_has_one_version_and_python_is_one_that_the_library_takes():
    pins = {action for job in JOBS for action in steps(*job, "uses")}
    assert len(pins) == len({pin.partition("@")[0] for pin in pins})
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
    pythons = [step["python-version"] for job in JOBS for step in steps(*job, "with") if "python-version" in step]
    assert pythons and all(Version(python) in SpecifierSet(wanted) for python in pythons)
