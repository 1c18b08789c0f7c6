"""Drawn grammars, and the answer by enumerating every derivation: what every backend is held against."""

import itertools

import torch
from hypothesis import strategies as st

import hierlib as hl


@st.composite
def grammars(draw, max_data=3000):
    """Small grammars with all corners: s = 2…5, m = 1, m = v^(s-1), L = 1, num_classes ≠ v."""
    s = draw(st.integers(2, 5))
    L = draw(st.integers(1, {2: 3, 3: 2, 4: 2, 5: 1}[s]))
    v = draw(st.integers(2, {2: 5, 3: 3, 4: 2, 5: 2}[s]))
    derivations = (s**L - 1) // (s - 1)
    largest = max(m for m in range(1, v ** (s - 1) + 1) if v * m**derivations <= max_data)
    m = draw(st.one_of(st.just(1), st.just(largest), st.integers(1, largest)))
    num_classes = draw(st.integers(1, min(v**s // m, v + 2)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return hl.random_grammar(v=v, m=m, s=s, L=L, num_classes=num_classes, generator=generator)


def derivations(g):
    """Every derivation: one int64 tensor a level, (number, nodes), and the probability of each, (number,)."""
    x = [torch.arange(g.num_classes)[:, None]]
    for rule in reversed(g.rules):
        nodes = x[-1].shape[1]
        choices = torch.tensor(list(itertools.product(range(g.m), repeat=nodes)))
        x = [level.repeat_interleave(len(choices), 0) for level in x]
        which = choices.repeat(len(x[-1]) // len(choices), 1)
        x.append(rule[x[-1], which].flatten(1))
    return x[::-1], torch.full((len(x[0]),), 1 / len(x[0]), dtype=torch.float64)


def enumerate_posterior(g, evidence, class_prior=None):
    """Posterior weight of every derivation and the log evidence, by summing over all of them."""
    x, p = derivations(g)
    if class_prior is not None:
        p = p * g.num_classes * class_prior[x[-1][:, 0]]
    leaves = torch.arange(g.d)
    weight = p * evidence[:, leaves, x[0]].prod(-1)  # (batch, derivations)
    total = weight.sum(1)
    return x, weight / total[:, None], total.log()


def marginals_by_enumeration(g, evidence, class_prior=None):
    x, weight, log_evidence = enumerate_posterior(g, evidence, class_prior)
    marginals = []
    for level, symbols in enumerate(x):
        one_hot = torch.nn.functional.one_hot(symbols, g.num_symbols(level)).to(weight.dtype)
        marginals.append(torch.einsum("bd,dnv->bnv", weight, one_hot))
    return marginals, log_evidence
