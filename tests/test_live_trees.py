"""The arithmetic of the two live trees of the book, run in node, against hierlib."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import hierlib as hl
from hierlib.enumeration import all_data

JS = Path(__file__).parents[1] / "book" / "_assets" / "js"

if shutil.which("node") is None and not os.environ.get("CI"):
    pytest.skip("not tested: the live figures (install node)", allow_module_level=True)


def node(script: str, data) -> object:
    """Run a script in node; it sees the JSON `data` and returns JSON."""
    program = (
        f"const data = JSON.parse(require('fs').readFileSync(0)); console.log(JSON.stringify((() => {{{script}}})()))"
    )
    done = subprocess.run(["node", "-e", program], input=json.dumps(data), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def grammars():
    rng = torch.Generator().manual_seed(0)
    for v, m, s, L in [(4, 2, 2, 3), (3, 3, 2, 2), (4, 1, 2, 3), (3, 2, 3, 2)]:
        yield hl.random_grammar(v=v, m=m, s=s, L=L, generator=rng), rng


def as_json(g):
    return {"v": g.v, "m": g.m, "s": g.s, "L": g.L, "rules": [r.tolist() for r in g.rules]}


def test_every_datum_of_the_live_tree_is_that_of_the_enumeration():
    script = f"""
      const T = require({str(JS / "tree-rules.js")!r}), g = data.g;
      return data.indices.map((i) => {{
        const choices = T.choicesOf(g, i);
        return [T.indexOf(g, choices), T.derive(g, data.root, choices)];
      }});"""
    for g, _ in grammars():
        x = all_data(g)
        per_class = len(x[0]) // g.num_classes
        got = node(script, {"g": as_json(g), "root": 1, "indices": list(range(per_class))})
        for index, (back, levels) in enumerate(got):
            assert back == index
            assert levels == [level[per_class + index].tolist() for level in x]


def test_messages_of_the_live_tree_are_those_of_infer():
    script = f"return require({str(JS / 'tree-bp.js')!r}).infer(data.g, data.evidence);"
    for g, rng in grammars():
        evidence = torch.rand(1, g.d, g.v, dtype=torch.float64, generator=rng)
        got, wanted = node(script, {"g": as_json(g), "evidence": evidence[0].tolist()}), hl.infer(g, evidence)
        ups = [up / up.sum(-1, keepdim=True) for up in wanted.up]
        for name, levels in [("up", ups), ("down", wanted.down), ("marginals", wanted.marginals)]:
            for mine, level in zip(got[name], levels, strict=True):
                torch.testing.assert_close(torch.tensor(mine, dtype=torch.float64), level[0], rtol=0, atol=1e-12)


def test_the_live_tree_refuses_impossible_evidence():
    g = hl.random_grammar(v=4, m=1, s=2, L=1, generator=torch.Generator().manual_seed(0))
    absent = next(t for t in [[a, b] for a in range(4) for b in range(4)] if t not in g.rules[0][:, 0].tolist())
    evidence = torch.nn.functional.one_hot(torch.tensor(absent), 4).tolist()
    script = f"""
      try {{ require({str(JS / "tree-bp.js")!r}).infer(data.g, data.evidence); }}
      catch (error) {{ return error.message; }}"""
    assert "impossible" in node(script, {"g": as_json(g), "evidence": evidence})
