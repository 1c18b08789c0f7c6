"""A run depends on what is in the files that its parameters name; nothing is executed here but in one test."""

import json
import os
import shutil
import time
import warnings
from pathlib import Path

import pytest

from hierlib.book.runs import inputs as named
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.inputs import Inputs
from hierlib.book.runs.key import inputs_of
from hierlib.book.runs.params import describe, parse_parameters
from hierlib.book.runs.run import execute, prepare
from tests import sweeps, tiny

PARAMETERS = """\
data: str = "data"  # a file, a folder, a pattern, or words
keep: str = ""  # where it goes on; output
kind: str = "a"  # a choice; kind in ("a", "data", "data/c.txt", "data/deep", "c")
m: int = 2  # rules
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    root = tiny.make(
        tmp_path / "check [1] {out}", **{"02_data": tiny.page("Data", "print(data)", parameters=PARAMETERS)}
    )
    monkeypatch.chdir(root)
    data = root / "book" / "data"
    (data / "deep").mkdir(parents=True)
    for name in ("a.csv", "b.csv", "c.txt", "deep/d.csv"):
        (data / name).write_text(name)
    return root


def key(root, **given) -> str:
    return prepare(tiny.get(root, "data"), given).key


@pytest.mark.parametrize(
    "text, counts",
    [
        ("data", {"a.csv", "b.csv", "c.txt", "deep/d.csv", "new.csv"}),
        ("data/", {"a.csv", "b.csv", "c.txt", "deep/d.csv", "new.csv"}),
        ("data/*.csv", {"a.csv", "b.csv", "new.csv"}),
        ("data/**/*.csv", {"a.csv", "b.csv", "deep/d.csv", "new.csv"}),
        ("data/[b-z].*", {"b.csv", "c.txt"}),
        ("data/deep*", {"deep/d.csv"}),
        ("data/a.csv", {"a.csv"}),
        ("data/a.csv data/c.txt", {"a.csv", "c.txt"}),
        ("data/a.csv,data/deep", {"a.csv", "deep/d.csv"}),
        ("x=data/a.csv y=download", {"a.csv"}),
        ("elsewhere", set()),
        ("three [plain words", set()),
        ("x" * 900, set()),
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_contents_and_names_count_where_a_parameter_names_them(root, text, counts, absolute):
    """By each way of naming; from the chapter's folder, as the chapter opens them."""
    folder = root / "book" / "data"
    if absolute and text.startswith("data"):
        escaped = str(root / "book").replace("[", "[[]") if "*" in text or "[" in text else str(root / "book")
        text = " ".join(f"{escaped}/{word}" for word in text.split()) if "," not in text else text
        if " " in text:  # a path with spaces is no word of a list
            return
    before = key(root, data=text)
    for name in ("a.csv", "b.csv", "c.txt", "deep/d.csv", "new.csv"):
        was = (folder / name).read_text() if (folder / name).exists() else None
        (folder / name).write_text("other")
        assert (key(root, data=text) != before) == (name in counts), name
        (folder / name).write_text(was) if was else (folder / name).unlink()
        assert key(root, data=text) == before
    if "b.csv" in counts:
        (folder / "b.csv").rename(folder / "b2.csv")
        assert key(root, data=text) != before, "a name counts as well"


def test_what_is_no_input(root):
    """What a run writes to, a word of a choice, what Python leaves; and a copy elsewhere has the same digest."""
    data, before = root / "book" / "data", key(root, keep="data", data="none")
    (data / "a.csv").write_text("other")
    assert key(root, keep="data", data="none") == before and key(root, kind="data", data="none") != before
    with_kind = key(root, kind="data", data="none")
    (data / "a.csv").write_text("again")
    assert key(root, kind="data", data="none") == with_kind
    (data / "__pycache__").mkdir()
    before = key(root, data="data")
    (data / "__pycache__" / "x.pyc").write_text("x")
    assert key(root, data="data") == before
    shutil.copytree(data, root / "copy")
    here = tiny.get(root, "data")
    one, two = (inputs_of(here).of(here.parameters, {"data": text}) for text in ("data", str(root / "copy")))
    assert one == two and one["data"]["files"] == 4


def test_links_are_followed_and_circles_end(root, tmp_path):
    away = tmp_path / "away"
    away.mkdir()
    (away / "e.csv").write_text("e")
    (root / "book" / "data" / "linked").symlink_to(away)
    (away / "back").symlink_to(root / "book" / "data")
    (away / "nowhere").symlink_to(tmp_path / "nowhere")
    os.mkfifo(away / "pipe")
    before = key(root, data="data")
    (away / "e.csv").write_text("f")
    assert key(root, data="data") != before


@pytest.mark.parametrize(
    "word, path, counts",
    [
        ("data/c.txt", "data/c.txt", True),
        ("data/deep", "data/deep/d.csv", True),
        ("c", "c", True),
        ("data", "data/c.txt", False),
    ],
)
def test_a_choice_among_files_is_no_choice_of_words(root, word, path, counts):
    """A word that is a file, or has a folder in it; a word that only happens to be a folder's name is a word."""
    path, before = root / "book" / path, key(root, kind=word, data="none")
    path.write_text("other")
    assert (key(root, kind=word, data="none") != before) == counts


@pytest.mark.parametrize(
    "text", ["data/c.txt", "cnn=data/c.txt", "data/a.csv data/c.txt", "data/c.*", "data/c.txt,data/a.csv"]
)
def test_a_description_beside_a_file_counts_with_it(root, text):
    """Weights are read with the json of their stem, from which their network and its noise come."""
    about, bare = root / "book" / "data" / "c.json", key(root, data=text)
    about.write_text("1")
    before = key(root, data=text)
    about.write_text("2")
    assert len({bare, before, key(root, data=text)}) == 3
    about.rename(about.with_name("c.more.json"))
    assert "*" in text or key(root, data=text) == bare, "of another stem"


def test_each_name_of_a_folder_counts_and_its_contents_too(root, tmp_path):
    """Names of classes, say, of which two lead to one folder; it is read once, however many ways lead to it."""
    away, data = tmp_path / "away", root / "book" / "data"
    away.mkdir()
    (away / "e.csv").write_text("e")
    (data / "cat").symlink_to(away)
    (data / "dog").symlink_to(away)
    seen = {key(root, data="data")}
    for name in ("cat", "dog"):
        (data / name).rename(data / "zebra")
        seen.add(key(root, data="data"))
        (data / "zebra").unlink()
        seen.add(key(root, data="data"))
        (data / name).symlink_to(away)
        assert key(root, data="data") in seen
    (away / "e.csv").write_text("f")
    assert len(seen | {key(root, data="data")}) == 6
    for i in range(40):  # 2^40 ways
        (away / f"{i}").mkdir()
        (away / f"{i}" / "left").symlink_to(away / f"{i + 1}")
        (away / f"{i}" / "right").symlink_to(away / f"{i + 1}")
    (away / "40").symlink_to(away)
    assert key(root, data="data") not in seen


def test_a_folder_that_holds_the_checkout_is_not_looked_through(root):
    with pytest.warns(UserWarning, match="data: / holds this checkout, and is not looked through"):
        before = key(root, data="/")
    (root / "new").write_text("x")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert key(root, data="/") == before


def test_results_among_the_inputs_are_refused(root):
    here = tiny.get(root, "data")
    for text, out in (("data", "data/out"), ("data", "data"), ("data/*", "data/out"), ("data/**", "data/x/y")):
        with pytest.raises(BadRequest, match=r"data: the results would be in .* by --out"):
            prepare(here, {"data": text}, root / "book" / out)
    prepare(here, {"data": "data/*.csv"}, root / "book" / "data" / "out")
    prepare(here, {"data": "none/*"}, root / "book" / "none" / "out")


def test_a_folder_with_too_many_files(root, monkeypatch):
    monkeypatch.setattr(named, "LIMIT", 3)
    for text in ("data", "data/*", "data/**"):
        with pytest.raises(BadRequest, match=f"data: {text!r}".replace("*", "[*]") + " names more than 3 files"):
            key(root, data=text)


def test_large_folders_are_read_once_and_again_when_anything_has_changed(root, monkeypatch):
    """What stands in for the contents: sizes, times, places; a file that is put back with its old time is noticed."""
    folder, read = root / "book" / "data", []
    content = named._content
    monkeypatch.setattr(named, "KEEP_FROM", 1)
    monkeypatch.setattr(named, "YOUNG", 0.02)
    monkeypatch.setattr(named, "_content", lambda path, size: read.append(path) or content(path, size))
    time.sleep(0.05)
    first = key(root, data="data")
    assert len(read) == 4 and key(root, data="data") == first and len(read) == 4
    path = folder / "a.csv"
    status = path.stat()
    path.write_text("A.csv")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    time.sleep(0.05)
    assert key(root, data="data") != first and len(read) == 8
    path.write_text("a.csv")
    assert key(root, data="data") == first and len(read) == 12, "just written: not kept"
    (root / named.KEPT).write_text("{")
    time.sleep(0.05)
    assert key(root, data="data") == first and len(read) == 16
    assert key(root, data="data") == first and len(read) == 16


def test_files_that_are_being_written_to(root, monkeypatch):
    content = named._content

    def write(path, size):
        with Path(path).open("a") as file:
            file.write("x")
        return content(path, size)

    monkeypatch.setattr(named, "_content", write)
    with pytest.raises(BadRequest, match="data: files that 'data' names are being written to"):
        key(root, data="data")


COUNT = '''
import xarray as xr

COUNT = """\\
files: str = "none"  # a folder
"""


def count(*, files):
    from pathlib import Path

    if (Path(files) / "late").exists():
        (Path(files) / "later").touch()
    return xr.Dataset({"files": len(list(Path(files).iterdir()))})
'''


def test_a_run_says_what_it_read_and_none_is_filed_under_other_files(root):
    (root / "book" / "quantities.py").write_text(COUNT)
    data = root / "book" / "data"
    [job] = sweeps.jobs(root, "count", root / "out", files=str(data))
    assert execute(job).error is None
    facts = json.loads((job.folder / "run.json").read_text())
    assert facts["inputs"]["files"]["files"] == 4 and len(facts["inputs"]["files"]["sha256"]) == 64
    (data / "new").touch()
    [now] = sweeps.jobs(root, "count", root / "out", files=str(data))
    assert now.key != job.key
    (data / "late").touch()
    done = execute(now)
    assert done.halt and "have changed, or are others here" in done.error, "before it begins"
    [now] = sweeps.jobs(root, "count", root / "out", files=str(data))
    done = execute(now)
    assert done.halt and "have changed" in done.error, "while it runs"
    assert [p.name for p in (root / "out").iterdir()] == [job.folder.name]


def test_a_folder_of_a_run_of_these_parameters_is_renewed_and_no_other(root):
    (root / "book" / "quantities.py").write_text(COUNT)
    from hierlib.book.runs.run import jobs_of
    from hierlib.book.runs.targets import find_target

    def job(files):
        return jobs_of(find_target(root, "count"), [{"files": str(files)}], root, root / "out")[0]

    data = root / "book" / "data"
    for n in (4, 5):
        done = execute(job(data))
        assert done.error is None and not done.cached
        assert json.loads((root / "out" / "run.json").read_text())["inputs"]["files"]["files"] == n
        assert execute(job(data)).cached
        (data / "new").touch()
    with pytest.raises(BadRequest, match="holds another run"):
        job(data / "deep")


def test_files_that_the_code_names_by_a_path_count_wherever_they_lie(root):
    """Beside the checkout, in a folder, by a pattern; the default of a parameter counts by its value only."""
    page = root / "book" / "02_data.md"
    (root.parent / "more.csv").write_text("1")
    code = 'open("../../more.csv"); sorted(Path("data/deep").iterdir()); f"data/{m}.txt"; "data/b.csv" "."'
    page.write_text(page.read_text().replace("print(data)", code))
    before = key(root, data="x")
    counted = {"../more.csv": 1, "book/data/deep/d.csv": 1, "book/data/c.txt": 1, "book/data/a.csv": 0}
    for path, counts in counted.items():
        was = (root / path).read_text()
        (root / path).write_text("other")
        assert (key(root, data="x") != before) == counts, path
        (root / path).write_text(was)
    assert Inputs(root, root / "book").of_code(["/", ".", "..", "../..", "a b", "", "*", "*/*", str(root)]) == {}


def test_written_is_of_texts(root):
    assert "keep: str = ''  # where it goes on; output" in describe(tiny.get(root, "data").parameters)
    with pytest.raises(BadRequest, match="'output' is for texts, which name files"):
        parse_parameters("m: int = 1  # rules; output\n")
