"""A string of the reader's own, in a browser from a file: its parse and its U-turn against hierlib, and by hand."""

import re

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.book.figures import laboratory as figures
from hierlib.grammar import parents_of

from .engine import node
from .test_figures_laboratory import lab, opened  # noqa: F401  (a fixture)

SCRIPTS = ("laboratory/setting.js", "laboratory/datum.js", "laboratory/strings.js")
SIZES = [(4, 2, 2, 3), (6, 3, 2, 3), (3, 4, 3, 2), (8, 4, 2, 2), (2, 1, 2, 1)]

# Of each setting its rules, and of each text the parse, who has no parent, what is believed, a way back, and the words.
RUN = """return data.map(([setting, texts]) => {
  const full = T.settleString(setting), g = T.stringGrammar(full);
  return [g.toJSON(), texts.map((text) => {
    const string = text ?? T.drawnString(g, new Engine.Generator(7, 0));
    const { x, orphans, evidence, beliefs, y, error, ...state } = T.stringState({ ...full, string }, g);
    const lists = (all) => all?.map((level) => [...level]) ?? null;
    return { string, x: x && lists(x), orphans, evidence: evidence && [...evidence], y: lists(y), error,
      beliefs: beliefs?.map((nodes) => nodes.map((p) => [...p])) ?? null,
      said: T.stringWords({ ...state, x, orphans, evidence, beliefs, y, error }) };
  })];
});"""


def grammar(facts: dict) -> hl.Grammar:
    return hl.Grammar(**facts | {"rules": [torch.tensor(level) for level in facts["rules"]]})


def partial(g: hl.Grammar, leaves: list[int]) -> tuple[list[list[int]], list[list[int]]]:
    """The parse as far as there is one, -1 elsewhere, and the nodes without a parent whose children are all known."""
    x, orphans = [leaves], []
    for level in range(g.L):
        below = torch.tensor([x[-1]])
        parents, legal = parents_of(g, level, below.clamp(min=0))
        known = (below >= 0).unflatten(1, (-1, g.s)).all(-1)
        orphans += [[level + 1, i] for i in (~legal & known)[0].nonzero().flatten().tolist()]
        x.append(torch.where(legal & known, parents, -1)[0].tolist())
    return x, orphans


@pytest.mark.parametrize("noise", ["UniformNoise", "EpsilonNoise", "GaussianNoise", "MaskNoise"])
def test_parse_and_posterior_are_those_of_hierlib(noise):
    rng = np.random.default_rng(1)
    data = []
    for v, m, s, L in SIZES:
        setting = {"v": v, "m": m, "s": s, "L": L, "noise": noise, "stop": 30, "seed": 5}
        data.append([setting, [None, *("".join(map(str, rng.integers(v, size=s**L))) for _ in range(6))]])
    legal = 0
    for facts, found in node(RUN, data, *SCRIPTS):
        g = grammar(facts)
        for each in found:
            leaves = [int(a) for a in each["string"]]
            x, orphans = partial(g, leaves)
            assert each["x"] == x and each["orphans"] == orphans
            if not orphans:
                legal += 1
                assert x == [level[0].tolist() for level in hl.parse(g, torch.tensor([leaves]))]
                assert f"a string of this grammar, of class {x[g.L][0]}." in each["said"]
            else:
                assert "no string of this grammar" in each["said"] and "no parent" in each["said"]
            evidence = torch.tensor(each["evidence"], dtype=torch.float64).reshape(1, g.d, g.v)
            if each["beliefs"] is None:
                with pytest.raises(ValueError, match="impossible"):
                    hl.infer(g, evidence)
                assert "fits no string of the grammar" in each["said"]
                continue
            for mine, theirs in zip(each["beliefs"], hl.infer(g, evidence).marginals, strict=True):
                np.testing.assert_allclose(np.array(mine), theirs[0].numpy(), atol=1e-5)
            assert each["y"] == [level[0].tolist() for level in hl.parse(g, torch.tensor([each["y"][0]]))]
    assert legal >= len(SIZES)


def test_what_is_no_string_is_said():
    texts = ["012", "0123 4567", "0a230123", "01, 23, 01, 23"]
    ((_, found),) = node(RUN, [[{"v": 4, "m": 2, "s": 2, "L": 3}, texts]], *SCRIPTS)
    few, symbol, letter, blanks = (each["said"] for each in found)
    assert few == "A string has 8 leaves; 3 came."
    assert "“4” is no symbol of this grammar, which has 0 to 3." in symbol and "“a” is no symbol" in letter
    assert blanks.startswith("01230123 is ")


def test_the_reader_types_a_string_and_sees_where_it_is_none(browser, lab):  # noqa: F811
    page = opened(browser, f"{lab}?grammars=2&L=2", width=360, color_scheme="dark", has_touch=True)
    stage, said = page.locator(".own-string"), page.locator(".own-said")
    page.wait_for_function("document.querySelector('.own-said').textContent.includes(' is a string of')")
    text, tall = stage.locator("[name=string]").input_value(), stage.bounding_box()["height"]
    assert re.fullmatch("[0-3]{8}", text) and page.evaluate("document.documentElement.scrollWidth") <= 360
    assert stage.locator(".own-rules tbody tr").count() == 4 and stage.locator("[data-orphan]").count() == 0
    rules = stage.locator(".own-rules td").all_text_contents()
    pairs = {pair for cell in rules[2::3] for pair in cell.split(" | ")}
    bad = next(f"{a}{b}" for a in range(4) for b in range(4) if f"{a} {b}" not in pairs)
    stage.locator("[name=string]").fill(bad + text[2:])
    page.wait_for_function("location.search.includes('own_string=')")
    assert f"leaves 1–2 ({bad[0]} {bad[1]}) have no parent" in said.text_content()
    assert stage.locator("[data-orphan]").count() == 1
    stage.locator("details summary").click()
    table = stage.locator(".own-posterior tbody tr")
    assert table.count() == 15
    for row in table.all_text_contents():
        assert sum(map(float, re.findall(r"\d\.\d{3}", row))) == pytest.approx(1, abs=2.1e-3)
    stage.locator("details summary").click()
    page.goto(page.url)
    page.wait_for_function("document.querySelector('.own-said').textContent")
    assert f"({bad[0]} {bad[1]}) have no parent" in said.text_content(), "the address keeps it"
    stage.locator("[name=string]").fill("0")
    page.wait_for_timeout(250)
    assert said.text_content() == "A string has 8 leaves; 1 came."
    assert stage.locator("[name=string]").get_attribute("aria-invalid") == "true"
    stage.locator(".own-one").press("Enter")
    page.wait_for_timeout(250)
    assert " is a string of this grammar" in said.text_content()
    before = stage.locator("[name=string]").input_value()
    box = stage.locator(".own-picture").bounding_box()
    stage.locator(".own-picture").tap(position={"x": box["width"] - 10, "y": 3 * 86 + 30})
    after = stage.locator("[name=string]").input_value()
    assert after[:7] == before[:7] and int(after[7]) == (int(before[7]) + 1) % 4
    for name in ("back", "other"):
        drawn = stage.locator(".own-picture").inner_html()
        stage.locator(f".own-{name}").press("Enter")
        assert stage.locator(".own-picture").inner_html() != drawn or name == "back"
    assert stage.bounding_box()["height"] == tall and not page.complaints
    page.context.close()


def test_the_still_has_the_string_its_way_back_and_the_rules():
    g = hl.random_grammar(v=4, m=2, s=2, L=3, generator=torch.Generator().manual_seed(1))
    x = hl.sample(g, 1, generator=torch.Generator().manual_seed(2))
    drawing = figures.own_string(g, x, [torch.ones(level.shape) for level in x], x)
    text = "".join(map(str, x[0][0].tolist()))
    assert text in drawing.alt and 'data-live="own-string"' in drawing.live
    words = [each.get_text() for each in drawing.fig.axes[1].texts]
    assert [each.split("\n")[0] for each in words] == ["class", "level 2", "level 1", f"string {text}"]
    a, b = g.rules[0][3].tolist()
    assert words[2].split("\n")[4] == f"3 → {a[0]}{a[1]} | {b[0]}{b[1]}"
