"""One datum at the reader's hands, in a browser from a file: its beliefs are hierlib's; leaves, messages, address."""

import json
import re

import numpy as np
import pytest
import torch

import hierlib as hl

from . import axe
from .engine import node
from .laboratory import DONE, slide
from .test_figures_laboratory import COMPUTES, COUNTED, SLID, lab, opened  # noqa: F401  (a fixture)

SCRIPTS = ("laboratory/setting.js", "laboratory/datum.js")
FIRST = "grammars=2&L=2"  # of the curves above, so that they are soon there
LARGE = "datum_v=32&datum_m=8&datum_s=2&datum_L=10"


def datum(browser, lab, more="", **options):  # noqa: F811
    """The page, and the figure on it."""
    page = opened(browser, f"{lab}?{FIRST}&{more}", **options)
    page.wait_for_function("document.querySelector('.datum-said').textContent")
    return page, page.locator(".one-datum")


def saved(page, name: str = "json") -> dict:
    with page.expect_download() as found:
        page.locator(f".datum-{name}").evaluate("(button) => button.click()")
    return json.loads(found.value.path().read_text("utf-8"))


def of_hierlib(facts: dict) -> tuple[hl.Grammar, torch.Tensor]:
    """The grammar and the evidence of what the page has saved."""
    g = facts["grammar"]
    weights = [torch.tensor(level, dtype=torch.float64) for level in g["weights"]] if "weights" in g else None
    g = hl.Grammar(**g | {"rules": [torch.tensor(level) for level in g["rules"]], "weights": weights})
    return g, torch.tensor([facts["evidence"]])


@pytest.mark.parametrize(
    "address",
    [
        f"{LARGE}&datum_noise=GaussianNoise&datum_stop=30&datum_own=500.x~501.3~502.31",
        "datum_v=12&datum_m=4&datum_s=3&datum_L=6&datum_noise=EpsilonNoise&datum_stop=20",
        "datum_v=5&datum_m=9&datum_s=4&datum_L=3&datum_noise=UniformNoise&datum_stop=25&datum_own=64.1",
        "datum_noise=MaskNoise&datum_stop=30&datum_own=7.x~8.15",
        f"{LARGE}&datum_m=32&datum_noise=EpsilonNoise&datum_stop=20&datum_a=2",
    ],
)
def test_every_belief_of_the_tree_is_that_of_hierlib(browser, lab, address):  # noqa: F811
    page, _ = datum(browser, lab, address)
    facts = saved(page)
    g, evidence = of_hierlib(facts)
    assert (g.weights is None) == ("datum_a" not in address)
    beliefs = hl.infer(g, evidence.double())
    for mine, theirs in zip(facts["marginals"], beliefs.marginals, strict=True):
        np.testing.assert_allclose(np.array(mine), theirs[0].numpy(), atol=1e-5)
    parsed = hl.parse(g, torch.tensor([facts["x"][0], facts["way_back"][0]]))
    for level, x, y in zip(parsed, facts["x"], facts["way_back"], strict=True):
        assert level.tolist() == [x, y], "a way back is a string of the grammar, and so is the datum"
    told = page.locator(".datum-said").text_content()
    believed = beliefs.marginals[g.L][0, 0, facts["x"][g.L][0]]
    assert float(re.search(r"true class: (\d\.\d+)", told)[1]) == pytest.approx(float(believed), abs=6e-4)
    assert not page.complaints
    page.context.close()


@pytest.mark.parametrize("a", [0, 1.5])
def test_the_lines_of_python_read_what_is_saved(browser, lab, tmp_path, monkeypatch, a):  # noqa: F811
    page, stage = datum(browser, lab, f"datum_L=3&datum_a={a}")
    (tmp_path / "one-datum.json").write_text(json.dumps(saved(page)), "utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(stage.locator(".lab-python code").text_content(), names)
    assert names["beliefs"].marginals[3].shape == (1, 1, 16) and names["way_back"][0].shape == (1, 1, 8)
    rules = [torch.tensor(level) for level in saved(page, "rules").pop("rules")]
    assert all(map(torch.equal, rules, names["g"].rules))
    assert names["g"].weights is None if not a else torch.allclose(names["g"].weights[2][3], hl.zipf(4, a), rtol=1e-12)
    page.context.close()


def test_messages_come_level_by_level_and_are_those_of_hierlib(browser, lab):  # noqa: F811
    page, stage = datum(browser, lab, "datum_L=4&datum_noise=UniformNoise&datum_stop=25&datum_step=0")
    facts = saved(page)
    g, evidence = of_hierlib(facts)
    beliefs = hl.infer(g, evidence.double())
    for step in range(2 * g.L + 2):
        if step:
            stage.locator(".datum-more").press("Enter")
        page.wait_for_function(f"location.search.includes('datum_step={step}') || !{step}")
        page.wait_for_timeout(150)
        rows = stage.locator("tbody tr").all_text_contents()
        for l in range(g.L + 1):
            row = rows[g.L - l]
            if l > step:
                assert "—" in row, (step, l)
                continue
            kind = beliefs.marginals if step >= 2 * g.L + 1 - l else beliefs.up
            p = kind[l][0].gather(-1, torch.tensor(facts["x"][l])[:, None]) / kind[l][0].sum(-1, keepdim=True)
            name = "class" if l == g.L else f"level {l}" if l else "leaves"
            assert row.startswith(f"{name}{float(p.mean()):.3f}"), (step, l)
    assert stage.locator(".datum-more").is_disabled()
    stage.locator(".datum-fewer").press("Enter")
    assert "Downward, 3 of 4" in stage.locator("[name=step]").get_attribute("aria-valuetext")
    assert not page.complaints
    page.context.close()


def test_a_leaf_is_erased_shown_and_changed_by_keyboard_and_the_tree_repairs_it(browser, lab):  # noqa: F811
    page, stage = datum(browser, lab, "datum_noise=EpsilonNoise&datum_stop=9")
    tall, believed = stage.bounding_box()["height"], []
    for button in ("change", "flip", "flip", "undo", "back"):
        stage.locator(f".datum-{button}").press("Enter")
        page.wait_for_timeout(200)
        told = stage.locator(".datum-said").text_content()
        believed.append(float(re.search(r"in leaf 6: (\d\.\d+)", told)[1]))
    changed, erased, shown, undone, again = believed
    assert 0.05 / 16 < changed < erased < undone == again and shown == pytest.approx(undone, abs=2e-3)
    assert "32 show their symbol, 0 another one, 0 nothing" in told
    assert stage.locator(".datum-undo").is_disabled() and stage.bounding_box()["height"] == tall
    assert not page.complaints
    page.context.close()


def test_what_a_leaf_that_is_erased_moves_is_said_and_framed(browser, lab):  # noqa: F811
    page, stage = datum(browser, lab, "datum_stop=26")
    of_hierlib_before = hl.infer(*of_hierlib(saved(page)))
    truth = saved(page)["x"]
    assert stage.locator(".datum-flip").text_content() == "Erase this leaf"
    stage.locator(".datum-flip").press("Enter")
    page.wait_for_function("document.querySelector('.datum-said').textContent.includes('What was done')")
    after = hl.infer(*of_hierlib(saved(page)))
    moved = []
    for level, (a, b) in enumerate(zip(of_hierlib_before.marginals, after.marginals, strict=True)):
        at = torch.tensor(truth[level])[:, None]
        moved.append([i for i, by in enumerate((b[0] - a[0]).gather(1, at).abs()[:, 0] >= 0.01) if by])
    told = stage.locator(".datum-said").text_content()
    assert f"{len(set(moved[0]) - {5})} of 31 other leaves" in told
    for level in (1, 2, 3, 4):
        assert (f"{len(moved[level])} of {2 ** (5 - level)} nodes of level {level}" in told) == bool(moved[level])
    assert ("the class from" in told) == bool(moved[5]) and moved[0] and moved[1]
    near = sum(i // 2 ** (4 - l) == 0 for l in range(5) for i in moved[l])  # of the first sixteen leaves, drawn large
    assert stage.locator(".datum-near path[fill=none]").count() == near
    stage.locator(".datum-back").press("Enter")
    page.wait_for_function("!document.querySelector('.datum-said').textContent.includes('What was done')")
    assert not stage.locator(".datum-near path[fill=none]").count() and not page.complaints
    page.context.close()


def test_a_finger_finds_one_of_a_thousand_leaves_on_a_phone(browser, lab):  # noqa: F811
    page, stage = datum(browser, lab, f"{LARGE}&datum_stop=0", width=360, color_scheme="dark", has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    whole, near = stage.locator(".datum-picture"), stage.locator(".datum-near")
    sliders = stage.locator(".lab-sliders").first.bounding_box()
    assert sliders["y"] + sliders["height"] - whole.bounding_box()["y"] < 560, "not on one screen"
    tall, (left, wide) = stage.bounding_box()["height"], (46, whole.bounding_box()["width"] - 48)
    whole.tap(position={"x": left + wide * 0.7505, "y": 200})
    assert stage.locator("[name=leaf]").get_attribute("aria-valuetext").startswith("769 of 1024: ")
    near.tap(position={"x": left + wide * (2.5 / 8), "y": 150})  # the third leaf of the stretch of eight
    page.wait_for_function("location.search.includes('datum_leaf=771&')")
    assert "datum_own=771.x" in page.url and stage.locator(".datum-flip").text_content() == "Show this leaf"
    page.wait_for_timeout(200)
    assert "1 nothing" in stage.locator(".datum-said").text_content()
    cells = near.locator("rect[stroke]").evaluate_all("(all) => all.map((el) => +el.getAttribute('width') / 0.7)")
    assert len(cells) == 8 and min(cells) > 24, "too narrow for a finger"
    assert stage.bounding_box()["height"] == tall and not page.complaints
    page.context.close()


def test_the_address_keeps_one_datum_and_all_presets_can_be_computed(browser, lab):  # noqa: F811
    page, stage = datum(browser, lab)
    names = stage.locator("[name=size] option").evaluate_all("(all) => all.map((o) => o.value)")
    for name in filter(None, names):
        stage.locator("[name=size]").select_option(name)
        page.wait_for_timeout(250)
        assert stage.locator("[name=size]").input_value() == name and stage.locator("tbody tr").count() > 5
    stage.locator("[name=shade]").select_option("best")
    stage.locator("[name=shade]").select_option("truth")
    slide(stage, "L", 4)
    for press in ("other", "change", "back"):
        stage.locator(f".datum-{press}").press("Enter")
    page.wait_for_function("location.search.includes('datum_own=6.') && location.search.includes('datum_L=4')")
    facts = saved(page)
    drawn = "document.querySelector('.one-datum canvas').toDataURL()"
    before = page.evaluate(drawn)
    page.goto(page.url)
    page.wait_for_function("document.querySelector('.datum-said').textContent")
    assert saved(page) == facts and page.evaluate(drawn) == before, "one address is one datum"
    assert FIRST in page.url and not page.complaints
    page.context.close()


def test_a_step_is_one_inference_and_one_drawing_while_workers_compute(browser, lab):  # noqa: F811
    """Curves fill in by workers while a slider goes through twenty stops: of them the page itself computes nothing."""
    page, _ = datum(browser, lab, f"{LARGE}&datum_noise=GaussianNoise")
    page.evaluate(COUNTED)
    slide(page.locator(".laboratory"), "grammars", 400)
    slide(page.locator(".laboratory"), "data", 32)
    slide(page.locator(".laboratory"), "L", 8)
    page.wait_for_function("/^[1-9]/.test(document.querySelector('.lab-progress').textContent)")
    told = page.evaluate("calls.datumWords")
    page.evaluate("""() => {
      globalThis.drawn = 0;
      const near = document.querySelector(".datum-near");
      new MutationObserver((all) => (drawn += all.length)).observe(near, { childList: true });
    }""")
    steps = page.evaluate(SLID, ["stop", [*range(21, 41)], ".one-datum"])
    assert steps["datumState"] == steps["infer"] == steps["posteriorSample"] == page.evaluate("drawn") == 20
    assert not any(steps[name] for name in COMPUTES if name not in ("infer", "posteriorSample")), steps
    assert steps["datumWords"] == steps["replaceState"] == steps["picture"] == 0, "told before the hand rests"
    page.wait_for_function(f"calls.datumWords === {told + 1} && location.search.includes('stop=40')")
    assert "lab-busy" in page.locator(".laboratory").get_attribute("class"), "the curves were there already"
    page.locator(".lab-stop").click()
    page.wait_for_function(DONE)
    calls = page.evaluate("calls")
    assert calls["infer"] == calls["datumState"] == 20 and calls["levelCurves"] == 0, "curves are inferred by the page"
    assert not page.complaints
    page.context.close()


def test_it_is_accessible_in_both_modes(browser, lab):  # noqa: F811
    of_a_page = ("region:", "landmark-one-main:", "page-has-heading-one:")  # this one has no frame
    for scheme in ("light", "dark"):
        page, _ = datum(browser, lab, LARGE, color_scheme=scheme)
        page.locator("details").evaluate_all("(all) => all.forEach((each) => (each.open = true))")
        assert [each for each in axe.findings(page) if not each.startswith(of_a_page)] == []
        page.context.close()


def test_what_cannot_be_is_put_right():
    script = """return data.map((search) => {
      const setting = T.datumFromAddress(search);
      return [setting, T.ownText(T.ownLeaves(setting)), T.datumLimits("m", setting)[1]];
    });"""
    searches = [
        "",
        "datum_v=999&datum_L=99&datum_m=999",
        "datum_s=3&datum_L=x&datum_step=4",
        "datum_leaf=99&datum_own=33.1~7.x~8.16~9.15~junk",
        "datum_noise=constructor&datum_seed=-1&L=3",
    ]
    found = node(script, searches, *SCRIPTS)
    for setting, own, most in found:
        assert 2 <= setting["v"] <= 32 and setting["s"] ** setting["L"] <= 1024 and 1 <= setting["m"] <= most
        assert 1 <= setting["leaf"] <= setting["s"] ** setting["L"] and setting["step"] <= 2 * setting["L"] + 1
        assert setting["noise"] == "MaskNoise" and setting["own"] == own
    assert [setting["step"] for setting, *_ in found] == [11, 21, 4, 11, 11] and found[1][0]["m"] == 32
    assert found[3][1] == "7.x~9.15" and found[3][0]["leaf"] == 32 and found[4][0]["L"] == 5
