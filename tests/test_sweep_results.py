"""What lies in a folder of results: damaged runs, runs of older code, hostile names, pickles."""

import contextlib
import hashlib
import json
import os
import pickle
import random
import re
from pathlib import Path

import pytest

from hierlib.book.page.results import save
from hierlib.book.page.stamp import Stamp
from hierlib.book.runs import collect as collecting
from hierlib.book.runs import sweep as sweeping
from hierlib.book.runs.pool import pool
from hierlib.book.runs.run import _code_here, execute
from hierlib.book.runs.sweep import plan, run
from tests import sweeps


class Damage:
    def truncated(folder):
        path = folder / "data" / "noise.nc"
        os.truncate(path, path.stat().st_size // 2)
        return "data/noise.nc is damaged"

    def flipped(folder):
        path = folder / "data" / "noise.nc"
        data = bytearray(path.read_bytes())
        data[random.Random(0).randrange(len(data))] ^= 1
        path.write_bytes(data)
        return "data/noise.nc is damaged"

    def lost(folder):
        (folder / "data" / "noise.nc").unlink()
        return "data/noise.nc is missing"

    def added(folder):
        (folder / "data" / "more.nc").write_text("x")
        return "data/more.nc is not of the run"

    def entry(folder):
        (folder / "run.json").write_text('{"key": ')
        return "Expecting value"

    def nonsense(folder):
        (folder / "run.json").write_text('{"files": {}, "parameters": 3}')
        return "data/noise.nc is not of the run"

    def labels(folder):
        text = (folder / "run.json").read_text()
        (folder / "run.json").write_text(re.sub(r'"a": \d', '"a": 7', text))
        return "run.json has other parameters than the data"

    def link(folder):
        (folder / "data" / "noise.nc").rename(folder.parents[1] / "elsewhere.nc")
        (folder / "data" / "noise.nc").symlink_to(folder.parents[1] / "elsewhere.nc")
        return "a file of it is a link"


@pytest.mark.parametrize("damage", [k for k in vars(Damage) if not k.startswith("_")])
def test_damaged_runs_are_named_left_out_and_run_again(root, call, damage):
    words = ("sweep", "noise", "-p", "a", "1:4", "--out", "out")
    assert call(*words)[0] == 0
    whole = sweeps.arrays(root / "out")
    folder = sorted((root / "out").iterdir())[1]
    why = vars(Damage)[damage](folder)
    code, out = call("collect", "out")
    assert code == 1 and f"left out, damaged: {folder.name}: {why}" in out and "a: 2" in out
    code, out = call(*words)
    assert code == 0 and "1 run, 2 there already" in out
    assert sweeps.arrays(root / "out") == whole and call("collect", "out")[0] == 0


def test_collect_refuses_what_it_cannot_label(root, call):
    for slug in ("noise", "big"):
        assert call("sweep", slug, "--out", "out")[0] == 0
    code, out = call("collect", "out")
    assert code == 2 and "holds runs of big, noise; say which by --of big" in out
    assert call("collect", "out", "--of", "big")[0] == 0
    (root / "no").touch()
    code, out = call("collect", "out", "--of", "big", "--out", "no/where.nc")
    assert code == 2 and "cannot be written" in out
    code, out = call("collect", "out", "--of", "other")
    assert code == 2 and "no finished run of other" in out


def test_runs_of_older_code_are_left_out_and_counted(root, call):
    assert call("sweep", "noise", "-p", "a", "1:3", "--out", "out")[0] == 0
    path = root / "book" / "quantities.py"
    path.write_text(path.read_text().replace(") + b", ") - b"))
    _code_here.cache_clear()
    run(plan(sweeps.jobs(root, "noise", root / "out", a="2")), lambda most: own_process())
    found = collecting.collect(root / "out")
    assert (found.runs, found.older) == (1, 2)


@contextlib.contextmanager
def own_process():
    """This process has imported the older code."""
    with pool(1) as executor:
        yield sweeping.Workers(executor, 1, ahead=1)


HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ x }} `a` $b$ [c](d) |", "</td></table>"]


def test_html_in_a_parameter_is_text_on_the_page(root):
    """From the command line through the run to the stamp that a page shows."""
    for word in HOSTILE:
        [job] = sweeps.jobs(root, "noise", root / "out", word=word.replace(",", ""))
        assert execute(job).error is None
        facts = json.loads((job.folder / "run.json").read_text())
        shown = Stamp({"Parameters": ", ".join(f"{k} = {v}" for k, v in facts["parameters"].items())})
        assert "<script" not in shown._repr_html_() and "<img" not in shown._repr_html_()
        assert shown._repr_html_().count("<table") == shown._repr_html_().count("</table>") == 1
        assert not re.search(r"(?<!\\)[<`$|\[{]", shown._repr_markdown_().splitlines()[2][15:-2])
    html = collecting.collect(root / "out").data._repr_html_()
    assert "<script>alert" not in html and "<img src=x" not in html


@pytest.mark.parametrize("name", ["../up", "a/b", "/abs", "a\x00", "", ".", "A", "a" * 10 + "/../../x"])
def test_no_name_leads_out_of_a_runs_folder(tmp_path, monkeypatch, name):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"chapter": "x", "parameters": {}}')
    monkeypatch.setenv("HIERLIB_RUN_DIR", str(tmp_path / "run"))
    with pytest.raises(ValueError, match="lower-case letters, digits and hyphens"):
        save(name, {"x": 1})
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["run", "run.json"]


class Owned:
    def __reduce__(self):
        return os.system, ("touch OWNED",)


def test_weights_that_are_pickles_run_nothing(tmp_path, monkeypatch):
    """Every loader refuses them, under any name, even with a description that names their checksum."""
    import torch

    from hierlib.images.adm import load_adm
    from hierlib.images.models import load_weights

    monkeypatch.chdir(tmp_path)
    for name in ("a.safetensors", "a.pt", "256x256_diffusion_uncond.pt"):
        Path(name).write_bytes(pickle.dumps(Owned()))
        torch.save({"weight": Owned()}, f"zip-{name}")
        for file in (Path(name), Path(f"zip-{name}")):
            with pytest.raises(ValueError, match="expected a whole file of weights"):
                load_adm(file)
            about = {"kind": "diffusion model", "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
            file.with_suffix(".json").write_text(json.dumps(about))
            with pytest.raises(ValueError, match="expected a diffusion model"):
                load_weights(file, "diffusion model")
    assert not Path("OWNED").exists()
