"""The arithmetic of the live tree of rules, run in node, against hierlib."""

import torch

import hierlib as hl
from hierlib.enumeration import all_data

from .engine import as_json, node


def grammars():
    rng = torch.Generator().manual_seed(0)
    for v, m, s, L in [(4, 2, 2, 3), (3, 3, 2, 2), (4, 1, 2, 3), (3, 2, 3, 2)]:
        yield hl.random_grammar(v=v, m=m, s=s, L=L, generator=rng), rng


def test_every_datum_of_the_live_tree_is_that_of_the_enumeration():
    script = """
      const g = data.g;
      return data.indices.map((i) => {
        const choices = T.choicesOf(g, i);
        return [T.indexOf(g, choices), T.derive(g, data.root, choices)];
      });"""
    for g, _ in grammars():
        x = all_data(g)
        per_class = len(x[0]) // g.num_classes
        got = node(script, {"g": as_json(g), "root": 1, "indices": list(range(per_class))}, "tree-rules.js")
        for index, (back, levels) in enumerate(got):
            assert back == index
            assert levels == [level[per_class + index].tolist() for level in x]
