"""The live figure of a small grammar: its inference, noise and ways back, run in node, against hierlib."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba

import hierlib as hl
from hierlib.book.figures.small_grammar import draw_grammar, grammar_html
from hierlib.book.page.style import CHANGED
from hierlib.grammar import parse

from .test_live_trees import JS, as_json, grammars, node

HEAD = f"const T = require({str(JS / 'tree-bp.js')!r}), S = require({str(JS / 'small-grammar.js')!r}), g = data.g;"


@pytest.fixture(scope="module")
def g():
    return hl.random_grammar(v=8, m=3, s=3, L=4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=[0.15, 0.35, 0.8])
def turn(request, g):
    """What the page computes of one datum at one noise, with 4000 ways back."""
    script = f"""{HEAD}
      const x = S.datum(g, S.random(7)), seen = S.seen(x[0], S.noise(g, S.random(8)), data.t);
      const evidence = S.evidence(seen, data.t), b = T.infer(g, evidence);
      const way = T.sampler(g, b.up, x), next = S.random(9);
      return {{...b, x, seen, evidence, ways: Array.from({{length: 4000}}, () => way(next))}};"""
    return request.param, node(script, {"g": as_json(g), "t": request.param})


def test_a_datum_of_the_page_is_one_of_the_grammar(g, turn):
    levels = parse(g, torch.tensor(turn[1]["x"][0])[None])
    assert turn[1]["x"] == [level[0].tolist() for level in levels]


def test_the_page_sees_the_leaves_through_gaussian_noise(turn):
    t, page = turn
    seen = torch.tensor(page["seen"], dtype=torch.float64)[None]
    evidence = hl.GaussianNoise(8, dtype=torch.float64).evidence(seen, t)
    mine = torch.tensor(page["evidence"], dtype=torch.float64)[None]
    torch.testing.assert_close(mine, evidence, rtol=0, atol=1e-12)
    truth = torch.nn.functional.one_hot(torch.tensor(page["x"][0]), 8)
    eta = (seen[0] - np.exp(-t) * truth) / (1 - np.exp(-2 * t)) ** 0.5
    n = eta.numel()
    assert abs(eta.mean()) < 4 / n**0.5 and abs(eta.square().mean() - 1) < 4 * (2 / n) ** 0.5
    assert 2 < eta.abs().max() < 6


def test_the_page_infers_what_hierlib_infers(g, turn):
    page = turn[1]
    b = hl.infer(g, torch.tensor(page["evidence"], dtype=torch.float64)[None])
    for mine, level in zip(page["marginals"], b.marginals, strict=True):
        torch.testing.assert_close(torch.tensor(mine, dtype=torch.float64), level[0], rtol=0, atol=1e-9)
    assert page["logEvidence"] == pytest.approx(float(b.log_evidence), abs=1e-9)


@pytest.mark.parametrize("scale", [1, 0.01])
def test_log_evidence_of_any_evidence(scale):
    for small, rng in grammars():
        evidence = scale * torch.rand(1, small.d, small.v, dtype=torch.float64, generator=rng)
        got = node(f"{HEAD} return T.infer(g, data.e).logEvidence;", {"g": as_json(small), "e": evidence[0].tolist()})
        assert got == pytest.approx(float(hl.infer(small, evidence).log_evidence), abs=1e-9)


def test_every_way_back_is_a_datum_and_they_are_the_posterior(g, turn):
    page = turn[1]
    ways = [torch.tensor(level) for level in zip(*page["ways"], strict=True)]
    for level, parsed in zip(ways, parse(g, ways[0]), strict=True):
        assert (level == parsed).all()
    n = len(ways[0])
    for level, (drawn, marginal) in enumerate(zip(ways, page["marginals"], strict=True)):
        p = torch.tensor(marginal, dtype=torch.float64)
        frequency = torch.nn.functional.one_hot(drawn, 8).double().mean(0)
        z = (frequency - p) / (p * (1 - p) / n).sqrt().clamp(min=1 / n)
        assert z.abs().max() < (4 if level == g.L else 5), level  # 968 numbers in all below the class


def test_the_same_numbers_keep_the_class_up_to_one_noise(g):
    script = f"""{HEAD}
      const x = S.datum(g, S.random(7)), eta = S.noise(g, S.random(8));
      return data.t.map((t) => {{
        const b = T.infer(g, S.evidence(S.seen(x[0], eta, t), t)), next = S.random(9), way = T.sampler(g, b.up, x);
        return Array.from({{length: 50}}, () => way(next)[g.L][0] === x[g.L][0] ? 1 : 0)
          .concat(b.marginals[g.L][0][x[g.L][0]]);
      }});"""
    rows = np.array(node(script, {"g": as_json(g), "t": np.geomspace(0.1, 1, 30).tolist()}))
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
