"""The live figure of a small grammar: its inference, noise and ways back, run in node, against hierlib."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from scipy import stats

import hierlib as hl
from hierlib.book.figures.small_grammar import draw_grammar, grammar_html
from hierlib.book.page.style import CHANGED
from hierlib.grammar import parse

from .engine import as_json, node

SCRIPT = "small-grammar.js"
HEAD = "const g = new Engine.Grammar(data.g);"


@pytest.fixture(scope="module")
def g():
    return hl.random_grammar(v=8, m=3, s=3, L=4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=[0.15, 0.35, 0.8])
def turn(request, g):
    """What the page computes of one datum at one noise, with 4000 ways back."""
    script = f"""{HEAD}
      const x = T.datum(g, 7), {{ seen, evidence, beliefs }} = T.look(g, x, 7, data.t);
      const ways = T.back(g, x, 7, evidence, 4000), plain = (levels) => levels.map((level) => [...level]);
      const marginals = beliefs.rows("marginals").map((nodes) => nodes.map((p) => [...p]));
      return {{ x: plain(x), seen: [...seen], marginals, ways: plain(ways) }};"""
    return request.param, node(script, {"g": as_json(g), "t": request.param}, SCRIPT)


def test_a_datum_of_the_page_is_one_of_the_grammar(g, turn):
    levels = parse(g, torch.tensor(turn[1]["x"][0])[None])
    assert turn[1]["x"] == [level[0].tolist() for level in levels]


def test_the_page_sees_the_leaves_through_gaussian_noise_and_infers_what_hierlib_does(g, turn):
    t, page = turn
    seen = torch.tensor(page["seen"], dtype=torch.float64).reshape(1, g.d, g.v)
    b = hl.infer(g, hl.GaussianNoise(8, dtype=torch.float64).evidence(seen, t))
    for mine, level in zip(page["marginals"], b.marginals, strict=True):
        torch.testing.assert_close(torch.tensor(mine, dtype=torch.float64), level[0], rtol=0, atol=1e-9)
    truth = torch.nn.functional.one_hot(torch.tensor(page["x"][0]), 8)
    eta = (seen[0] - np.exp(-t) * truth) / (1 - np.exp(-2 * t)) ** 0.5
    n = eta.numel()
    assert abs(eta.mean()) < 4 / n**0.5 and abs(eta.square().mean() - 1) < 4 * (2 / n) ** 0.5
    assert 2 < eta.abs().max() < 6


def test_every_way_back_is_a_datum_and_they_are_the_posterior(g, turn):
    page = turn[1]
    ways = [torch.tensor(level).reshape(4000, -1) for level in page["ways"]]
    for level, parsed in zip(ways, parse(g, ways[0]), strict=True):
        assert (level == parsed).all()
    n = len(ways[0])
    for drawn, marginal in zip(ways, page["marginals"], strict=True):
        p, counts = np.array(marginal), torch.nn.functional.one_hot(drawn, 8).sum(0).numpy()
        tail = np.minimum(stats.binom.cdf(counts, n, p), stats.binom.sf(counts - 1, n, p))
        assert tail.min() * tail.size > 1e-4  # of as many numbers


def test_the_same_numbers_keep_the_class_up_to_one_noise(g):
    script = f"""{HEAD}
      const x = T.datum(g, 7);
      return data.t.map((t) => {{
        const {{ evidence, beliefs }} = T.look(g, x, 7, t), root = T.back(g, x, 7, evidence, 50)[g.L];
        return [...root].map((y) => (y === x[g.L][0] ? 1 : 0)).concat(beliefs.rows("marginals")[g.L][0][x[g.L][0]]);
      }});"""
    rows = np.array(node(script, {"g": as_json(g), "t": np.geomspace(0.1, 1, 30).tolist()}, SCRIPT))
    kept, p = rows[:, :-1], rows[:, -1]
    falls = np.diff(p) <= 0
    assert kept[0].mean() > 0.5 > kept[-1].mean() and falls.sum() > 15
    assert (np.diff(kept, axis=0)[falls] <= 0).all(), "where the belief falls, no class may come back"


def test_the_markup_carries_the_grammar(g):
    t = np.geomspace(0.05, 1.2, 9)
    text = grammar_html(g, t, start=3)
    data = json.loads(re.search(r'application/json">(.*?)</script>', text, re.S)[1])
    assert data["rules"] == [rule.tolist() for rule in g.rules] and data["m"] == 3 and len(data["inks"]) == 5
    assert data["t"] == pytest.approx(t.tolist(), rel=5e-3) and data["ticks"] == [0.05, 0.1, 0.2, 0.5, 1]
    assert 'max="8" step="1" value="3"' in text and text.count("<div") == text.count("</div>")
    assert len(text) < 6000
    with pytest.raises(ValueError, match="evenly spaced in ln t"):
        grammar_html(g, np.linspace(0.1, 1, 9))
    with pytest.raises(ValueError, match="start"):
        grammar_html(g, t, start=9)


def test_the_still_rings_and_crosses_what_has_changed(g):
    rng = torch.Generator().manual_seed(0)
    x, y = hl.sample(g, 1, generator=rng), hl.sample(g, 1, generator=rng)
    changed = sum(int((a != b).sum()) for a, b in zip(x, y, strict=True))
    fig, ax = plt.subplots()
    draw_grammar(ax, x, [torch.full((level.shape[1],), 0.25) for level in x], y)
    assert sum(patch.get_edgecolor() == to_rgba(CHANGED) for patch in ax.patches) == changed > 50
    assert sum(line.get_marker() == "x" for line in ax.lines) == changed
    assert sum(patch.get_alpha() == 0.25 for patch in ax.patches) == 121
    plt.close(fig)
