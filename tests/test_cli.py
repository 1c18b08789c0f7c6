"""The command line: what it refuses before anything runs, and what it says then."""

import subprocess
import sys

import pytest

from hierlib.book.cli import app, joined
from tests import tiny


@pytest.fixture
def root(tmp_path, monkeypatch):
    root = tiny.make(tmp_path / "checkout")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def call(capsys, monkeypatch):
    """Calls the command line without executing a chapter; returns exit code, what it prints, and the jobs."""

    def call(*words):
        jobs = []
        monkeypatch.setattr("hierlib.book.commands.execute_all", lambda todo, *_: jobs.extend(todo) or stop())
        with pytest.raises(SystemExit) as end:
            app(words)
        out = capsys.readouterr()
        return end.value.code, out.out + out.err, jobs

    def stop():
        raise SystemExit("ran")

    return call


def test_parameters_by_two_words_or_one():
    assert joined(["run", "x", "-p", "m", "4", "-p", "eps=-1", "--parameter", "a", "-1"]) == [
        *["run", "x", "-p", "m=4", "-p", "eps=-1", "--parameter", "a=-1"]
    ]


@pytest.mark.parametrize(
    "words, why",
    [
        (["run", "on"], "there is no chapter 'on'; the chapters are:\n  one"),
        (["run", "../one"], "there is no chapter"),
        (["run", "one", "-p", "n", "1"], "one takes no parameter 'n'"),
        (["run", "one", "-p", "m", "4.0"], "m: expected an integer"),
        (["run", "one", "-p", "m", "5"], "does not hold for v = 4, s = 2, m = 5"),
        (["run", "one", "-p", "eps", "nan"], "eps: expected a finite number"),
        (["run", "one", "-p", "m", "3", "-p", "m", "4"], "given twice"),
        (["run", "one", "-p", "m"], "needs a name and a value"),
        (["run", "one", "--out", "book"], "holds no run"),
        (["run", "one", "--out", "_toc.yml"], "holds no run"),
        (["run", "one", "--out", "book", "--force"], "holds no run"),
        (["build", "--only", "two"], "there is no chapter 'two'"),
        (["build", "--jobs", "0"], "Invalid value"),
        (["run"], "Missing argument"),
        (["walk"], "walk"),
    ],
)
def test_refused_before_anything_runs(root, call, words, why):
    code, out, jobs = call(*words)
    assert code == 2 and not jobs
    assert why in out
    if "-p" in words and "two" not in why and "given twice" not in why and "needs" not in why:
        assert "one takes:\n  v: int = 4" in out


def test_another_run_is_not_replaced(root, call, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text('{"key": "0", "chapter": "two", "parameters": {}}')
    code, out, jobs = call("run", "one", "--out", str(tmp_path / "out"))
    assert code == 2 and "holds another run" in out and not jobs
    _, _, jobs = call("run", "one", "--out", str(tmp_path / "out"), "--force")
    assert len(jobs) == 1


def test_a_run_that_is_allowed(root, call):
    _, _, [job] = call("run", "one", "-p", "m", "4", "-p", "profile", "full")
    assert job.given == {"m": 4, "profile": "full"} and job.values["v"] == 4
    assert job.folder == root / "results" / f"one-{job.key}"


def test_list(root, call):
    code, out, _ = call("list")
    assert code == 0 and "m: int = 2  # rules per symbol; 1 <= m <= v**(s-1)" in out


@pytest.mark.parametrize(
    "words", [["--help"], ["build", "--help"], ["run", "-h"], ["list", "--help"], ["zip", "--help"]]
)
def test_help(words, call):
    code, out, _ = call(*words)
    assert code == 0 and "Usage: hierlib" in out


@pytest.mark.parametrize("words", [["list"], ["build"], ["run", "one"], ["zip"]])
def test_outside_a_checkout(tmp_path, monkeypatch, call, words):
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(*words)
    assert code == 2 and "needs the book's sources" in out and "git clone" in out


def test_library_alone(tmp_path, call, monkeypatch):
    """A wheel without its extras: the command says what is missing."""
    monkeypatch.delitem(sys.modules, "hierlib.book.commands", raising=False)
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit) as end:
        app(["list"])
    assert end.value.code == 2


def test_systems_without_fcntl():
    """Where there is none, nothing of it is needed to say what there is."""
    program = "import sys; sys.modules['fcntl'] = None; from hierlib.book.cli import app; app(['--help'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and "Usage: hierlib" in done.stdout, done.stderr


def test_windows(capsys, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "platform", "win32")
        app(["list"])
    out = capsys.readouterr().err
    assert end.value.code == 2 and "run on Linux and macOS; on Windows use WSL" in out


def test_a_malformed_chapter_is_named(root, call):
    path = root / "book" / "01_one.md"
    path.write_text(path.read_text().replace("m: int = 2", "m = 2"))
    code, out, _ = call("list")
    assert code == 2 and "book/01_one.md:13: not a parameter: 'm = 2'" in out


def test_zip_without_a_site(root, call):
    code, out, _ = call("zip")
    assert code == 2 and "make book" in out
