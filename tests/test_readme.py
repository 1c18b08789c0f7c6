"""README.md says nothing that is not so: its example runs, its files, targets and commands exist."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.S)
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines() if line.strip()]
TREE = next(text for kind, text in BLOCKS if not kind)


def rooms() -> dict[str, str]:
    """The paths of the tree, and what is said of each."""
    found: dict[str, str] = {}
    above, path = [], ""
    for line in TREE.splitlines():
        depth, names = (len(line) - len(line.lstrip())) // 2, line[:26].split()
        if depth > 6:  # goes on
            found[path] += " " + line.strip()
            continue
        for name in names:
            above = [*above[:depth], name]
            path = "".join(above)
            found[path] = line[26:].strip()
    return found


def run(command, cwd):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=env, text=True, capture_output=True, timeout=120)


def test_python_example_runs_anywhere(tmp_path):
    code = "\n".join(text for kind, text in BLOCKS if kind == "python")
    done = run([sys.executable, "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    kept = {k: float(v) for k, v in re.findall(r"(class|leaves) kept:\s+(\S+)", done.stdout)}
    assert kept["class"] < 0.5 < kept["leaves"], f"the comments say `few` and `most`: {kept}"


def test_files_exist():
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    book_source = re.findall(r"\bbook/\S+\.md\b", README)
    locked = re.findall(r"`([\w.]+\.(?:lock|yml))`", README)
    assert len(rooms()) >= 25 and links and book_source and locked
    missing = [name for name in [*links, *book_source, *locked, *rooms()] if not (ROOT / name).exists()]
    assert not missing


def test_the_map_names_every_module():
    """One whose name begins with _ serves several rooms, and has a line in none."""
    unnamed = {}
    for folder in sorted({path.parent for path in (ROOT / "hierlib").rglob("*.py")}):
        room = f"{folder.relative_to(ROOT).as_posix()}/"
        there = {path.stem for path in folder.glob("*.py") if not path.name.startswith("_")}
        named = set(re.findall(r"\w+", rooms()[room])) | {Path(name).stem for name in rooms() if name.endswith(".py")}
        unnamed |= {room: sorted(there - named)} if there - named else {}
    assert not unnamed, "README.md, Where to find what"


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(COMMANDS) + " ".join(re.findall(r"`[^`]+`", README))))
    assert {"book", "test", "run"} <= named <= targets


def test_chapter_and_parameters_exist():
    pytest.importorskip("myst_nb")
    from hierlib.book.runs.checkout import chapter

    called = re.findall(r"hierlib run (\S+) -p (\S+) (\S+)", README)
    called += [(ch, *p.split("=")) for ch, p in re.findall(r'make run CH=(\S+) P="([^"]+)"', README)]
    called += re.findall(r"(book/\S+\.md).* -p (\S+) (\S+)", README)
    assert len(called) == 3
    for slug, name, value in called:
        chapter(ROOT, slug).parameters[name].parse(value)


def test_command_line_understands():
    from typer.main import get_command

    from hierlib.book.cli import joined
    from hierlib.book.commands import commands

    called = [joined(shlex.split(c)[1:]) for c in COMMANDS if re.match(r"\S*hierlib ", c)]
    assert len(called) == 4
    for words in called:
        if words != ["--help"]:
            command = get_command(commands).commands[words[0]]
            command.make_context(words[0], words[1:])  # raises on an option that it does not have


def test_no_paths_of_a_machine():
    assert not re.search(r"(?<![\w.])/(home|root|work|tmp|Users|usr)/", README)


def test_what_is_called_tested_is_what_the_workflow_runs_on():
    """And what is said of other systems is what the commands say there."""
    said = re.search(r"- \*\*Systems\*\*: (.*?)\n- ", README, re.S)[1]
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
    systems = {*re.findall(r"runs-on: (\S+)", workflow)}
    [version] = re.findall(r'python-version: "([\d.]+)"', workflow)
    assert (
        systems == {"ubuntu-latest"}
        and f"Linux on x86-64 with Python {version} is what is tested, on each push" in said
    )
    refused = (ROOT / "hierlib" / "book" / "cli.py").read_text()
    assert "on Windows use WSL" in refused and "use WSL" in said
    assert (
        "macOS take the same commands and are not tested" in said.replace("\n  ", " ")
        and "run on Linux and macOS" in refused
    )
    assert "install -q --disable-pip-version-check triton" in (ROOT / ".ci" / "run").read_text()
