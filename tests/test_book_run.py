"""Real runs of tiny chapters: what is executed again, what a kill, a failure or a second build leaves."""

import json
import os
import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from hierlib import _process
from hierlib.book.runs.run import execute, finished, prepare, prune
from hierlib.book.runs.sweep import execute_all
from hierlib.book.site.build import SiteError, build_site, zip_site
from hierlib.book.site.sphinxext import sources
from tests import tiny
from tests.test_locks import ended


def run(root, *slugs, **options):
    done = execute_all([prepare(tiny.get(root, slug), **options) for slug in slugs or ("one",)], workers=2)
    assert not [each.error for each in done if each.error]
    return done


def outputs(notebook: Path) -> str:
    cells = nbformat.read(notebook, as_version=4).cells
    return "".join(o.get("text", "") for c in cells if c.cell_type == "code" for o in c.outputs)


def until(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A tiny checkout with its chapter run and its site built."""
    root = tiny.make(tmp_path_factory.mktemp("site"))
    done = run(root)
    assert build_site(root, done)
    return root


def test_a_run_holds_everything(site):
    [folder] = (site / "_build" / "runs").iterdir()
    facts = json.loads((folder / "run.json").read_text())
    assert facts["parameters"] == {"v": 4, "s": 2, "m": 2, "eps": 0.5, "profile": "quick", "seed": 0}
    assert set(facts["files"]) == {"one.ipynb", "records.json", "data/numbers.json"}
    assert outputs(folder / "one.ipynb") == "near 20\n"
    [row] = json.loads((folder / "records.json").read_text())
    assert row["value"] == 20
    assert json.loads((folder / "data" / "numbers.json").read_text())["data"] == {"deep": 3}
    html = (site / "_build" / "html" / "book" / "01_one.html").read_text()
    assert "near 20" in html and "What made this page" in html


def test_prose_reaches_the_site_without_a_run_and_code_with_one(site):
    page, library = site / "book/01_one.md", site / "tinylib/base.py"
    html = site / "_build" / "html" / "book" / "01_one.html"
    page.write_text(page.read_text().replace("Some prose.", "New words."))
    done = run(site)
    assert [o.cached for o in done] == [True]
    assert build_site(site, done)
    assert "New words." in html.read_text() and "near 20" in html.read_text()
    assert "Executing notebook" not in (site / "_build" / "site.log").read_text()
    assert "Using cached notebook" in (site / "_build" / "site.log").read_text()

    assert not build_site(site, run(site)), "nothing has changed: Sphinx is skipped"

    library.write_text("FACTOR = 30\n")
    done = run(site)
    assert [o.cached for o in done] == [False]
    assert build_site(site, done)
    assert "near 60" in html.read_text()


def test_a_warning_fails_the_build_and_leaves_the_site(site):
    html, page = site / "_build" / "html" / "book" / "01_one.html", site / "book/01_one.md"
    before, text = html.read_bytes(), page.read_text()
    page.write_text(text.replace("# One", "# One\n\n{ref}`nowhere`"))
    with pytest.raises(SiteError, match=r"(?s)_build/site\.log.*nowhere"):
        build_site(site, run(site))
    page.write_text(text)
    assert html.read_bytes() == before


def test_what_jupyter_and_editors_leave_beside_a_chapter_is_no_page(site):
    done = run(site)
    build_site(site, done)
    book, before = site / "book", sources(site)
    notebook = nbformat.writes(done[0].job.chapter.notebook, version=4)
    (book / ".ipynb_checkpoints").mkdir()
    left = [book / name for name in ("01_one.ipynb", "index.ipynb", "Untitled.ipynb", ".ipynb_checkpoints/01_one.md")]
    left += [
        book / name
        for name in (".~01_one.md", "._01_one.md", ".01_one.md.swp", "01_one.md~", "#01_one.md#", ".#01_one.md")
    ]
    for path in left[:-1]:
        path.write_text(notebook)
    left[-1].symlink_to("somebody@elsewhere.1234")  # as Emacs marks a file that it edits
    assert not build_site(site, run(site)) and sources(site) == before, "the site is made of none of them"
    assert build_site(site, run(site), force=True)
    assert sorted(p.name for p in (site / "_build" / "html" / "book").glob("*.html")) == ["01_one.html", "index.html"]
    code, out = tiny.finish(tiny.hierlib(site, "run", "two"))
    assert code == 2 and "no chapter 'two'" in out
    for path in left:
        path.unlink()


def test_a_cache_that_does_not_serve_is_noticed(site, monkeypatch):
    """Jupyter Book would execute what the cache lacks; the build must not pass."""
    monkeypatch.setattr("hierlib.book.site.build._fill_cache", lambda *_: None)
    with pytest.raises(SiteError, match="executed a notebook itself"):
        build_site(site, run(site), force=True)


def test_a_renamed_claim_is_noticed(site):
    claims = site / "book" / "claims.yaml"
    text = claims.read_text()
    claims.write_text(text.replace("near-is-far", "near-is-near"))
    done = run(site)
    assert done[0].cached, "the ledger is prose"
    with pytest.raises(SiteError, match=r"one answers near-is-far: not in book/claims\.yaml"):
        build_site(site, done)
    claims.write_text(text)


def test_zip(site):
    first = zip_site(site, site / "dist" / "tiny.zip").read_bytes()
    assert zip_site(site, site / "dist" / "tiny.zip").read_bytes() == first
    import zipfile

    with zipfile.ZipFile(site / "dist" / "tiny.zip") as archive:
        names = set(archive.namelist())
    assert {"tiny/index.html", "tiny/book/01_one.html"} <= names
    assert "tiny/.nojekyll" in names, "GitHub Pages would leave out _static"


def test_parameters_reach_the_notebook_as_values(site, tmp_path):
    job = prepare(tiny.get(site), {"m": "4", "seed": 7}, tmp_path / "out")
    done = execute(job)
    assert done.error is None and done.folder == tmp_path / "out"
    assert re.fullmatch(r"near \d+0\n", outputs(done.notebook))
    [row] = json.loads((done.folder / "records.json").read_text())
    assert row["parameters"]["m"] == 4 and row["parameters"]["seed"] == 7
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"], "nothing else is left"


def test_a_corrupt_run_is_run_again(tmp_path):
    root = tiny.make(tmp_path, **{"02_light": tiny.page("Light", 'print("light", m)')})
    job = prepare(tiny.get(root, "light"))
    first = execute(job)
    assert first.error is None and execute(job).cached
    text = first.notebook.read_text()
    for damage in (text[:100], text.replace("light 2", "light 3"), None):
        first.notebook.unlink() if damage is None else first.notebook.write_text(damage)
        assert not finished(job)
    again = execute(job)
    assert not again.cached and outputs(again.notebook) == "light 2\n" and finished(job)
    assert not execute(replace(job, force=True)).cached


BAD = 'print("so far")\nraise ValueError("<deliberate>")'


def test_a_failure_leaves_its_notebook_and_the_others_run(tmp_path):
    root = tiny.make(tmp_path, **{"02_bad": tiny.page("Bad", BAD), "03_killer": tiny.page("Killer", KILLER)})
    code, out = tiny.finish(tiny.hierlib(root, "build", "--jobs", "2"))
    assert code == 1
    assert "02_bad.md failed: ValueError: <deliberate>" in out and "the site was not built" in out
    assert "03_killer.md failed: its process died" in out
    notebook = root / re.search(r"_build/runs/bad-\w+-failed/bad\.ipynb", out)[0]
    text = notebook.read_text()
    assert "so far" in text and "<deliberate>" in text and "Traceback" in text
    assert "ValueError" in (notebook.parent / "traceback.txt").read_text()
    assert finished(prepare(tiny.get(root, "one")))
    assert not finished(prepare(tiny.get(root, "bad")))
    assert not (root / "_build" / "html").exists()

    code, out = tiny.finish(tiny.hierlib(root, "build", "--only", "one"))
    assert code == 0 and "cached" in out


KILLER = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nimport time\ntime.sleep(60)"
SLOW = """\
import os, time
from pathlib import Path
Path("../pid").write_text(str(os.getpid()))
while not Path("../go").exists():
    time.sleep(0.05)
print("went")"""


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")  # ended, but nobody has asked for its exit status yet
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_build_resumes(tmp_path, how):
    pages = {"01_one": tiny.page("Light", 'print("light", m)'), "02_slow": tiny.page("Slow", SLOW)}
    root = tiny.make(tmp_path, **pages)
    one, slow = (prepare(tiny.get(root, slug)) for slug in ("one", "slow"))
    process = tiny.hierlib(root, "build", "--jobs", "2", start_new_session=True)
    until(lambda: finished(one) and (root / "pid").exists() and (root / "pid").read_text())
    kernel = int((root / "pid").read_text())
    process.send_signal(how)
    code, out = tiny.finish(process, 60)
    assert code == (-9 if how == signal.SIGKILL else 130), out
    until(lambda: gone(kernel), 60)
    assert not slow.folder.exists()

    (root / "go").touch()
    slow = prepare(tiny.get(root, "slow"))  # whose code names files that are there by now: they count
    code, out = tiny.finish(tiny.hierlib(root, "build", "--jobs", "2"))
    assert code == 0, out
    assert re.search(r"cached +one", out) and re.search(r"run +\S+ s +slow", out)
    assert "went" in (root / "_build/html/book/02_slow.html").read_text()
    left = [p.name for p in (root / "_build" / "runs").iterdir()]
    assert sorted(left) == sorted([one.folder.name, slow.folder.name]), "what the killed build left is removed"


def test_two_builds_at_once(tmp_path):
    root = tiny.make(tmp_path, **{"01_one": tiny.page("Light", 'print("light", m)')})
    builds = [tiny.hierlib(root, "build", "--jobs", "1") for _ in range(2)]
    ends = [tiny.finish(build) for build in builds]
    assert [code for code, _ in ends] == [0, 0], ends
    assert "light 2" in (root / "_build/html/book/01_one.html").read_text()
    assert [p.name for p in (root / "_build" / "runs").iterdir()] == [prepare(tiny.get(root)).folder.name]
    assert all("The book is in _build/html/index.html" in out for _, out in ends)


def test_prune_keeps_the_newest(tmp_path):
    root = tiny.make(tmp_path)
    job = prepare(tiny.get(root))
    runs = root / "_build" / "runs"
    for i in range(12):
        (runs / f"one-{i:016x}").mkdir(parents=True)
        os.utime(runs / f"one-{i:016x}", (i, i))
    other = f".one-{0:016x}.{_process.name().replace(_process.world(), '00000000')}.part"  # of a container, say
    for name in ("other-0000000000000000", "one-0000000000000001-failed", other, f".one-{0:016x}.{ended()}.part"):
        (runs / name).mkdir()
    used = execute_outcome(job, runs / "one-0000000000000000")
    prune(runs, [used])
    left = sorted(p.name for p in runs.iterdir())
    newest = [f"one-{i:016x}" for i in range(6, 12)]
    assert left == sorted([other, "one-0000000000000000", *newest, "other-0000000000000000"])


def execute_outcome(job, folder):
    from hierlib.book.runs.run import Outcome

    return Outcome(job, folder, 0.0)
