"""The parameter `device` of chapters and quantities: what auto stands for, what is refused, what a run is called."""

import re

import pytest
import torch

from hierlib import _devices, book
from hierlib.book.cli import app
from hierlib.book.runs.checkout import chapters
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.params import DEVICE, placed, resolve
from hierlib.book.runs.run import jobs_of, prepare
from hierlib.book.runs.targets import find_target, targets
from tests.browser import ROOT
from tests.test_pretend_cuda import BY_HAND, CHAPTERS

DECLARED = [each for each in targets(ROOT) if DEVICE in each.parameters]
GPU = torch.cuda.is_available()


@pytest.fixture(params=[False, True], ids=["without a GPU", "with one"])
def has_cuda(request, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param)
    return request.param


def test_auto_is_the_gpu_if_there_is_one(has_cuda):
    best = "cuda" if has_cuda else "cpu"
    assert {_devices.chosen(name).type for name in ("auto", None)} == {best}
    assert _devices.chosen("cpu") == _devices.chosen(torch.device("cpu")) == torch.device("cpu")
    assert placed({"device": "auto", "m": 2}) == {"device": best, "m": 2} and placed({"m": 2}) == {"m": 2}
    assert placed({"device": 3}) == {"device": 3} and placed({"device": "phone"}) == {"device": "phone"}


@pytest.mark.parametrize("name", ["gpu", "", 1.5])
def test_what_is_no_device(name):
    with pytest.raises(ValueError, match=r'device: expected "auto", "cpu" or "cuda", got'):
        _devices.chosen(name)


def test_a_gpu_that_is_not_there_is_refused_unless_it_is_elsewhere(has_cuda):
    if has_cuda:
        assert _devices.chosen("cuda:1") == torch.device("cuda:1") and placed({"device": "cuda"}) == {"device": "cuda"}
        return
    why = 'device: expected one that is here, "cpu" or "auto", got "cuda"; torch sees no GPU'
    with pytest.raises(ValueError, match=why):
        _devices.chosen("cuda")
    with pytest.raises(BadRequest, match=why):
        placed({"device": "cuda"})
    assert placed({"device": "cuda"}, here=False) == {"device": "cuda"}
    with pytest.raises(ValueError, match="device: expected one that is here"):
        book.setup(0, device="cuda")


@pytest.mark.parametrize("slug", ["hierlib-in-ten-minutes", "level-curves"])
def test_a_run_is_named_by_the_device_that_it_had(slug, monkeypatch, tmp_path):
    """Auto and the device that it stands for are one run; that of another device is another."""
    each = find_target(ROOT, slug)
    key = {}
    for has_cuda in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_cuda=has_cuda: has_cuda)
        for name in ("auto", "cpu", *["cuda"] * has_cuda):
            job = prepare(each, {DEVICE: name})
            key[has_cuda, name] = job.key
            assert job.values[DEVICE] == ("cuda" if has_cuda and name != "cpu" else "cpu")
    assert key[False, "auto"] == key[False, "cpu"] == key[True, "cpu"] != key[True, "cuda"] == key[True, "auto"]
    points = [resolve(each.parameters, {DEVICE: name}) for name in ("auto", "cuda")]
    assert len(jobs_of(each, points, tmp_path)) == 1


@pytest.mark.parametrize("each", DECLARED, ids=lambda each: each.slug)
def test_what_declares_it_goes_there(each):
    """All randomness of a chapter is of the generator of its set-up, or says on which device it is."""
    assert each.parameters[DEVICE].default == "auto"
    code = "\n".join(source for source, _ in each.code)
    if each.slug not in {"phase-diagram", "level-curves", "message-curves"}:
        assert "book.setup(seed, profile, device)" in code
    assert "torch.Generator()" not in code
    with pytest.raises(BadRequest, match="device in"):
        resolve(each.parameters, {DEVICE: "gpu"})


def test_chapters_that_draw_grammars_and_infer_declare_it():
    named = {each.slug for each in DECLARED}
    for each in targets(ROOT):
        code = "\n".join(source for source, _ in each.code)
        if re.search(r"\b(level_curves|message_curves|class_curves)\(", code):
            assert each.slug in named


def test_each_chapter_that_has_a_device_has_sizes_for_the_pretended_gpu():
    declared = {slug: each for slug, each in chapters(ROOT).items() if DEVICE in each.parameters}
    assert sorted([*CHAPTERS, *BY_HAND]) == sorted(declared)
    for slug, sizes in (CHAPTERS | BY_HAND).items():
        resolve(declared[slug].parameters, sizes, chapter=slug)  # or it says which size is none


@pytest.mark.skipif(GPU, reason="there is a GPU here")
@pytest.mark.parametrize("command", ["run", "sweep"])
def test_it_is_refused_before_anything_runs(command, tmp_path, capfd):
    with pytest.raises(SystemExit) as ended:
        app([command, "level-curves", "-p", "device=cuda", "--out", str(tmp_path / "out")])
    assert ended.value.code == 2 and "device: expected one that is here" in "".join(capfd.readouterr())
    assert not list(tmp_path.glob("out/*"))


def test_what_measures_makes_no_generator_of_the_processor():
    """A device is given with every generator that the rooms below the book make."""
    for room in ("experiments", "theory"):
        for path in (ROOT / "hierlib" / room).glob("*.py"):
            made = [line for line in path.read_text("utf-8").splitlines() if "torch.Generator()" in line]
            assert not [line for line in made if ">>>" not in line], path.name


def test_numbers_come_back_in_one_place():
    x = torch.ones(2, requires_grad=True)
    assert _devices.array(x * 2).tolist() == [2, 2] and _devices.array([1, 2], float).dtype == float
