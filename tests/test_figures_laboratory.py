"""The laboratory in a browser, opened from a file: two presets against hierlib, the hands on it, its data."""

import json
import math
import re

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.experiments.curves import half_height
from hierlib.experiments.uturns import level_curves
from hierlib.theory import population

from . import laboratory
from .engine import node
from .laboratory import DONE

SETTING, CURVES = "laboratory/setting.js", "laboratory/curves.js"
JOBS = ("levelCurves", "classPoints", "meanField", "halfHeights")
COMPUTES = ("infer", "classPosterior", "posteriorSample", "randomGrammar", "sample", "poolOfBeliefs", "path", *JOBS)
# From then on `calls` counts, by name, what the page's own thread calls: of the engine, the laboratory, the browser.
COUNTED = """() => {
  globalThis.calls = {};
  const count = (owner, ...names) => {
    for (const name of names) {
      const whole = owner[name];
      calls[name] = 0;
      owner[name] = function (...all) {
        calls[name]++;
        return whole.apply(this, all);
      };
    }
  };
  count(Engine, "infer", "classPosterior", "posteriorSample", "randomGrammar", "sample", "start");
  count(Engine.population, "poolOfBeliefs");
  count(Engine.jobs, ...Object.keys(Engine.jobs));
  count(Engine.GaussianNoise.prototype, "path");
  count(Laboratory, "picture", "summary", "resultsInParts", "datumState", "datumWords");
  count(history, "replaceState");
}"""
# Moves a slider of a figure through values, all in one task; gives the calls of that task.
SLID = """([name, values, figure = ".laboratory"]) => {
  const [slider, before] = [document.querySelector(`${figure} [name=${name}]`), { ...calls }];
  for (const value of values) {
    slider.value = value;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  }
  return Object.fromEntries(Object.entries(calls).map(([name, often]) => [name, often - before[name]]));
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A page with the laboratory and nothing else, as a file."""
    return laboratory.page(tmp_path_factory.mktemp("lab")).as_uri()


def opened(browser, address: str, width: int = 1280, **options):
    """The page, once its first curves are there; what went wrong is raised by `close`."""
    context = browser.new_context(viewport={"width": width, "height": 740}, **options)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.goto(address)
    page.wait_for_function(DONE)
    return page


def saved(page, kind: str = "json") -> str:
    """What the button for that kind of data saves."""
    with page.expect_download() as found:
        page.locator(f".lab-{kind}").evaluate("(button) => button.click()")
    return found.value.path().read_text("utf-8")


SIZE = "v=16&m=4&s=2&L=6&grammars=60&data=2"
PRESETS = {  # the address, and the noise and the exponent of the weights in hierlib
    "diffusion": (f"noise=GaussianNoise&{SIZE}", hl.GaussianNoise(16), 0.0),
    "figure 7": (f"noise=EpsilonNoise&{SIZE}", hl.EpsilonNoise(16), 0.0),
    "uneven rules": (f"noise=MaskNoise&{SIZE}&a=1.5", hl.MaskNoise(16), 1.5),
}


@pytest.mark.parametrize("name", PRESETS)
def test_curves_are_those_of_hierlib_within_their_errors(browser, lab, name):
    address, noise, a = PRESETS[name]
    page = opened(browser, f"{lab}?{address}")
    found = json.loads(saved(page))
    t, mean, half = (np.array(found[key]) for key in ("t", "mean", "half"))
    rng = torch.Generator().manual_seed(1)
    size = dict(v=16, m=4, s=2, L=6, draws=60, data=2, weights=hl.zipf(4, a), generator=rng)
    again = level_curves(noise, t, **size).truth.numpy()
    error = np.hypot(half / 2, again.std(0, ddof=1).T / 60**0.5)
    far = np.abs(mean - again.mean(0).T) / (error + 2e-4)
    assert found["n"] == 60 and far.max() < 5 and (far > 2.5).mean() < 0.1
    assert 0.001 < np.median(half) < 0.05  # the errors are none that forgive all
    assert found["top"]["lo"] <= found["top"]["value"] <= found["top"]["hi"]
    said = page.locator(".lab-said").text_content()
    assert f"{found['top']['value']:.3g}" in said and "60 grammars" in said
    rows = page.locator(".laboratory .lab-table tbody tr")
    assert rows.count() == len(t) and f"{mean[6][20]:.3f}" in rows.nth(20).text_content()
    lines = saved(page, "csv").splitlines()
    assert len([line for line in lines if line[0] != "#"]) == 1 + len(t) * 7 and "# v = 16" in lines
    assert f"# a = {a:g}" in lines and found["setting"]["a"] == a
    assert not page.complaints
    page.context.close()


@pytest.mark.parametrize("noise, a", [("GaussianNoise", 0), ("MaskNoise", 1.5), ("UniformNoise", 0)])
def test_a_pool_of_beliefs_stands_beside_the_class_under_any_noise(browser, lab, noise, a):
    """Where it is told to lose half, hierlib's density evolution has more just before and less just after."""
    page = opened(browser, f"{lab}?noise={noise}&v=16&m=4&s=2&L=6&a={a}&grammars=40")
    said = page.locator(".lab-said").text_content()
    told = float(re.search(r"pool of beliefs, .* loses half of it at t = (\d\.\d+)", said)[1])
    rng, process = torch.Generator().manual_seed(3), getattr(hl, noise)(16)
    how = dict(m=4, s=2, L=6, weights=hl.zipf(4, a), downward=False, generator=rng)
    near = [population.leaf_sampler(process, told * factor) for factor in (0.9, 1.1)]
    before, after = (float(population.density_evolution(leaves, **how).up[:, -1].mean()) for leaves in near)
    assert before > (1 + 1 / 16) / 2 > after > 1 / 16
    found = json.loads(saved(page))
    assert told == pytest.approx(found["top"]["value"], rel=0.2), "the class of drawn grammars is lost elsewhere"
    dotted = page.locator(".lab-picture polyline[stroke-dasharray]")
    assert dotted.count() == 1 and len(dotted.get_attribute("points").split()) == 31
    height = [float(point.split(",")[1]) for point in dotted.get_attribute("points").split()]
    assert (266 - height[0]) / 222 > 0.99 and (266 - height[-1]) / 222 < 0.12
    assert "pool" in page.locator(".lab-picture").text_content() and not page.complaints
    page.context.close()


def test_the_preset_of_uneven_rules_is_chapter_18s(browser, lab):
    """Its curves are hierlib's within their errors, its dotted line and what it says of it are hierlib's pool."""
    page = opened(browser, f"{lab}?grammars=2&L=2")
    page.locator("[name=preset]").select_option("uneven rules keep the class")
    page.wait_for_function("location.search.includes('a=2&') && " + DONE)
    found = json.loads(saved(page))
    setting, t, mean, half = (found[key] for key in ("setting", "t", "mean", "half"))
    shape = {name: setting[name] for name in ("v", "s", "L")}
    assert (setting["noise"], setting["m"], setting["a"], shape) == ("EpsilonNoise", 32, 2, dict(v=32, s=2, L=10))
    rng, law = torch.Generator().manual_seed(2), hl.zipf(32, 2.0)
    some = slice(5, 60, 6)  # noises; there are none at which the class cannot be lost
    size = dict(draws=24, data=1, weights=law, generator=rng)
    again = level_curves(hl.EpsilonNoise(32), t[some], **shape, m=32, **size).truth.numpy()
    mean, half = np.array(mean)[:, some].T, np.array(half)[:, some].T
    error = np.hypot(half / 2, again.std(0, ddof=1) / 24**0.5)
    assert (np.abs(mean - again.mean(0)) < 4 * error + 1e-3).all() and np.median(error) < 0.05
    assert np.interp(0.4, t, found["mean"][10]) > 0.75, "the class is rescued"
    pool = population.pool_of_beliefs(t, law, **shape, size=2**14, generator=rng)
    said = page.locator(".lab-said").text_content()
    told = float(re.search(r"pool of beliefs, .* loses half of it at ε = (\d\.\d+)", said)[1])
    assert told == pytest.approx(half_height(t[1:], pool.up[1:, -1].numpy(), chance=1 / 32).t, abs=0.01)
    assert "infinite" not in said and "# a = 2" in saved(page, "csv")
    dotted = page.locator(".lab-picture polyline[stroke-dasharray]").first.get_attribute("points")
    height = np.array(
        [point.split(",")[1] for point in dotted.split()], float
    )  # of the class: one at 44, nothing at 266
    assert np.abs((266 - height) / 222 - pool.marginal[:, -1].numpy()).max() < 0.05
    assert not page.complaints
    page.context.close()


def test_keys_make_rules_uneven_and_an_address_without_them_is_even(browser, lab):
    page = opened(browser, f"{lab}?noise=EpsilonNoise&v=16&m=16&grammars=2&L=4", width=360, color_scheme="dark")
    stage, said = page.locator(".laboratory"), page.locator(".lab-said")
    slider, even = stage.locator("[name=a]"), json.loads(saved(page))
    assert slider.get_attribute("aria-valuetext") == "0, even" and even["setting"]["a"] == 0
    assert "at any noise, as it does from m_c = 8.50" in said.text_content() and said.get_attribute("role") == "status"
    tall = stage.bounding_box()["height"]
    for _ in range(15):
        slider.press("ArrowRight")
    page.wait_for_function("location.search.includes('a=1.5&') && " + DONE)
    assert slider.get_attribute("aria-valuetext") == "1.5" and "pool of beliefs" in said.text_content()
    assert "weights=hl.zipf(16, 1.5)" in stage.locator(".lab-python code").text_content()
    drawn = page.locator(".lab-picture").inner_html()
    page.goto(page.url)
    page.wait_for_function(DONE)
    assert page.locator(".lab-picture").inner_html() == drawn, "one address is one experiment"
    for _ in range(15):
        slider.press("ArrowLeft")
    page.wait_for_function("location.search.includes('a=0&') && " + DONE)
    assert json.loads(saved(page)) == even, "what was there before there were weights"
    assert stage.bounding_box()["height"] == tall and page.evaluate("document.documentElement.scrollWidth") <= 360
    assert not page.complaints
    page.context.close()


def test_while_a_slider_moves_the_page_computes_nothing_and_draws_once_a_pause(browser, lab):
    """Rules become uneven in ten steps of one task: one run is begun, all of it in workers."""
    page = opened(browser, f"{lab}?noise=EpsilonNoise&grammars=2&L=6&m=16&a=0.1")
    page.evaluate(COUNTED)
    moved = page.evaluate(SLID, ["a", [0.2 + step / 10 for step in range(10)]])
    page.wait_for_function("location.search.includes('a=1.1&') && " + DONE)
    calls = page.evaluate("calls")
    assert not any(moved.values()), "the hand still moves"
    assert (calls["start"], calls["replaceState"]) == (2, 1), "one run, of curves and of the pool"
    assert not any(calls[name] for name in COMPUTES), calls
    assert 0 < calls["picture"] <= 5 and calls["resultsInParts"] == 1  # begun, two grammars, the pool, the end
    computed = page.evaluate("[...Engine.jobs.levelCurves({ v: 4, m: 2, s: 2, L: 2, noise: 'MaskNoise', t: [0.5], "
                             "grammars: 1 })].length && calls")  # fmt: skip
    assert computed["levelCurves"] == computed["infer"] == 1, "what a page computes is counted"
    page.context.close()


def test_many_reports_at_once_are_one_drawing(browser, lab):
    page = opened(browser, f"{lab}?noise=MaskNoise&grammars=2&L=2")
    page.evaluate(COUNTED)
    page.evaluate("""() => {
      Engine.start = (name, options, report) => {
        if (name === "levelCurves") window.report = report;
        return { done: new Promise(() => {}), stop() {} };
      };
    }""")
    page.evaluate(SLID, ["grammars", [60]])
    page.wait_for_function("window.report && calls.picture === 1")
    drawn = page.evaluate("""() => {
      for (let grammar = 0; grammar < 50; grammar++) report({ grammar, overlap: new Float64Array(61 * 3).fill(0.5) });
      return calls.picture;
    }""")
    assert drawn == 1, "a report is drawn before the next one is heard"
    page.wait_for_function("document.querySelector('.lab-progress').textContent === '50 of 60'")
    page.wait_for_timeout(300)
    assert page.evaluate("[calls.picture, calls.summary]") == [2, 2]
    page.context.close()


def test_every_preset_can_be_computed_and_is_kept_by_the_address(browser, lab):
    page = opened(browser, f"{lab}?grammars=2&L=3")
    presets = [
        name for name in page.locator("[name=preset] option").evaluate_all("(all) => all.map((o) => o.value)") if name
    ]
    for name in presets:
        page.locator("[name=preset]").select_option(name)
        page.locator(".laboratory [name=grammars]").evaluate(
            "(el) => { el.value = 3; el.dispatchEvent(new Event('input', { bubbles: true })); }"
        )
        page.wait_for_function("document.querySelector('.lab-progress').textContent === '3 of 3' && " + DONE)
        assert "3 grammars" in page.locator(".lab-said").text_content(), name
    before = page.locator(".lab-picture").inner_html()
    page.goto(page.url)
    page.wait_for_function(DONE)
    assert page.locator(".lab-picture").inner_html() == before, "one address is one experiment"
    assert len(presets) > 6 and not page.complaints
    page.context.close()


def test_it_stops_at_once_and_keeps_what_is_there(browser, lab):
    page = opened(browser, f"{lab}?grammars=2&L=2")
    page.goto(f"{lab}?v=64&m=64&L=11&grammars=400&data=8")
    page.wait_for_selector(".lab-picture svg", state="attached")
    page.locator(".lab-stop").click()
    page.wait_for_function(DONE)
    assert (
        "topped" in page.locator(".lab-said").text_content()
        and "stopped" in page.locator(".lab-progress").text_content()
    )
    assert not page.complaints
    page.context.close()


def test_a_phone_shows_the_sliders_with_the_plot_and_keys_move_them(browser, lab):
    page = opened(browser, f"{lab}?grammars=2&L=4", width=360, color_scheme="dark")
    top, bottom = (page.locator(name).bounding_box() for name in (".lab-picture", ".laboratory .lab-sliders"))
    assert bottom["y"] + bottom["height"] - top["y"] < 560
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    tall = page.locator(".laboratory").bounding_box()["height"]
    page.locator(".laboratory [name=m]").press("ArrowLeft")
    page.wait_for_function("location.search.includes('m=7') && " + DONE)
    assert page.locator(".laboratory [name=m]").get_attribute("aria-valuetext") == "7 of 32"
    assert page.locator(".laboratory").bounding_box()["height"] == tall
    assert not page.complaints
    page.context.close()


def test_a_bad_address_is_put_right_in_a_sentence():
    script = "return data.map((text) => { const { setting, said } = T.fromAddress(text); return [setting, said]; });"
    addresses = [
        "",
        "v=99",
        "m=x&L=4",
        "noise=pink",
        "v=64&L=12",
        "v=4&s=3&m=16",
        "v=4&s=2&m=5&data=0.4",
        "seed=-1",
        "a=1.26",
        "a=-3",
    ]
    got = node(script, addresses, SETTING)
    assert got[0][1] == [] and got[0][0]["m"] == 8 and got[5][1] == [] and got[5][0]["m"] == 16
    for setting, _ in got:
        assert (
            setting["m"] <= setting["v"] ** (setting["s"] - 1) and setting["s"] ** setting["L"] * setting["v"] <= 2**17
        )
    told = [" ".join(said) for _, said in got]
    assert "v is from 2 to 64 here: 99 became 64." in told[1] and "m is from 1 to 32 here: x became 8." in told[2]
    assert "There is no noise" in told[3] and "L is from 1 to 11 here: 12 became 11." in told[4]
    assert "m is from 1 to 4" in told[6] and "data is from 1 to 32" in told[6] and "seed" in told[7]
    assert [setting["a"] for setting, _ in got] == [0] * 8 + [1.3, 0]
    assert "a is from 0 to 2 in steps of 0.1 here: 1.26 became 1.3." in told[8] and "-3 became 0." in told[9]


def test_the_lines_of_python_compute_the_curves():
    script = """return Object.keys(T.NOISES).flatMap((noise) => [0, 1.5].map((a) => {
      const setting = { ...T.FIRST, noise, v: 4, m: 2, L: 2, a, grammars: 2 };
      return [T.python(setting), T.grid(noise), a];
    }));"""
    for code, grid, a in node(script, None, SETTING):
        names: dict = {}
        exec(code, names)
        law = names["size"].get("weights")
        assert (law is None) if a == 0 else torch.equal(law, hl.zipf(2, a))
        assert names["kept"].value.shape == (61, 3)
        assert names["found"].t.tolist() == pytest.approx(grid, rel=1e-5)


@pytest.mark.parametrize(
    "address, told",
    [
        (
            "noise=MaskNoise&v=8&m=3&L=3&grammars=2&seed=1",
            ("these data do not tell", "more data of each, would. The pool of beliefs"),
        ),
        (
            "noise=EpsilonNoise&v=8&m=1&L=9&grammars=4",
            ("when next to nothing is seen", "The mean field of 9 levels loses"),
        ),
        (
            "noise=EpsilonNoise&m=4&L=6&grammars=40",
            ("is kept better than the leaves, by", "ε* = 0.922, and from m_c = 16.5"),
        ),
    ],
)
def test_words_claim_no_more_than_the_data_show(browser, lab, address, told):
    page = opened(browser, f"{lab}?{address}")
    said = page.locator(".lab-said").text_content()
    assert all(words in said for words in told), said
    page.context.close()


def test_numbers_read_off_curves():
    script = """
      const t = [1, 2, 4, 8], row = (top, leaves) => Float64Array.from(top.flatMap((p, k) => [leaves[k], p]));
      const [top, leaves] = [[1, 0.9, 0.3, 0.1], [0.95, 0.8, 0.7, 0.3]];
      const pieces = [0, 0.02, 0.04].map((shift) => ({ overlap: row(top.map((p) => p - shift), leaves) }));
      const r = T.results({ v: 10, L: 1, seed: 3 }, t, pieces, true);
      return [r.mean, r.half, r.lead, r.top, r.cross, r.best, T.falls(t, [0.3, 0.2, 0.1, 0], 0.5, false),
        T.crossing(t, [1, 1, 1, 1], [0, 0, 0, 0], 0.1, true),
        T.crossing(t, [0.9999, 0.9, 0.2, 0.1], [0.9998, 0.95, 0.5, 0.2], 0.1, true), [2, 4, 5, 30].map(T.quantile)];"""
    mean, half, lead, top, cross, best, none, never, hardly, quantiles = node(script, None, CURVES)
    assert mean[1] == pytest.approx([0.98, 0.88, 0.28, 0.08]) and mean[0] == pytest.approx([0.95, 0.8, 0.7, 0.3])
    assert lead == pytest.approx({"value": 0.08, "half": 4.303 * 0.02 / 3**0.5, "most": 0.08 + 4.303 * 0.02 / 3**0.5})
    assert half[1] == pytest.approx([4.303 * 0.02 / 3**0.5] * 4) and half[0] == pytest.approx([0] * 4)
    assert top["value"] == pytest.approx(2 * 2 ** ((0.88 - 0.55) / 0.6)) and top["lo"] < top["value"] < top["hi"]
    assert cross["value"] == pytest.approx(2 * 2 ** (0.08 / (0.08 + 0.42)))
    assert best["level"] in (0, 1) and best["at"] == cross["value"] and none is never is hardly is None
    script = """
      const pieces = Array.from({ length: 30 }, () => ({ overlap: Float64Array.of(1, 1, 0.9, 0.8, 0.5, 0.4) }));
      return [...T.resultsInParts({ v: 10, L: 1, seed: 3 }, [1, 2, 4], pieces, true)].length;"""
    parts = node(script, None, CURVES)
    assert parts == 10, "twenty draws at a time, or a task is long where grammars are many"
    assert quantiles == pytest.approx([12.706, 3.182, 2.776, 2.045], rel=1e-2)
    assert math.isfinite(best["kept"])
