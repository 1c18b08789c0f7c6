"""Texts by trigrams: their statistics are those of the source, and their ways back are draws from the posterior."""

from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from scipy import stats

from hierlib.text.corpus import MASK
from hierlib.text.trigram import Trigrams

TEXT = torch.tensor([2, 3, 4, 2, 3, 2, 4, 4, 3, 2, 3, 4, 4, 2])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def triples(row):
    return [tuple(row[i : i + 3]) for i in range(len(row) - 2)]


def test_texts_have_the_trigrams_of_the_source():
    around = TEXT.tolist() + TEXT[:2].tolist()
    source = Counter(triples(around))
    drawn = Counter(t for row in Trigrams(TEXT).draw(3000, 5, generator=rng()).tolist() for t in triples(row))
    assert set(drawn) == set(source)
    for key, count in source.items():
        assert abs(drawn[key] / drawn.total() - count / len(TEXT)) < 0.012


def law(chain, d):
    """Probability of every string of d words, from the definition of the chain alone."""
    around = TEXT.tolist() + TEXT[:2].tolist()
    three, two = Counter(triples(around)), Counter(pairwise(around[:-1]))
    found = {}
    for x in product((2, 3, 4), repeat=d):
        p = two[x[:2]] / len(TEXT)
        for t in triples(x):
            p *= three[t] / two[t[:2]] if p else 0
        if p:
            found[x] = p
    return found


@pytest.mark.slow
@pytest.mark.parametrize("gone", [[0, 1, 1, 0, 1, 0], [1, 1, 0, 0, 1, 1], [1] * 6])
def test_ways_back_are_draws_from_the_posterior(gone):
    chain, n = Trigrams(TEXT), 6000
    x0, gone = chain.draw(1, 6, generator=rng(3))[0], torch.tensor(gone).bool()
    y = chain.ways_back(x0, gone, torch.rand(n, 5, dtype=torch.float64, generator=rng(1)))
    assert (y[:, ~gone] == x0[~gone]).all()
    there = {x: p for x, p in law(chain, 6).items() if all(x[i] == x0[i] for i in range(6) if not gone[i])}
    total, counted = sum(there.values()), Counter(map(tuple, y.tolist()))
    assert set(counted) <= set(there)
    expected = np.array([n * p / total for p in there.values()])
    seen = np.array([counted[x] for x in there])
    large = expected >= 5
    if large.sum() > 1:
        rest = [seen[~large].sum()], [expected[~large].sum()]
        seen, expected = (np.concatenate([z[large], r]) for z, r in zip((seen, expected), rest, strict=True))
        keep = expected > 0
        assert stats.chisquare(seen[keep], expected[keep]).pvalue > 1e-4


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="at least 3 tokens in a row, none erased"):
        Trigrams(torch.tensor([2, MASK, 3]))
    chain, none = Trigrams(TEXT), torch.zeros(4).bool()
    with pytest.raises(ValueError, match="got one that they cannot at word 0"):
        chain.ways_back(torch.tensor([3, 3, 3, 3]), none, torch.rand(1, 3))
    with pytest.raises(ValueError, match=r"expected gone \(4,\) and uniform \(samples, 3\)"):
        chain.ways_back(TEXT[:4], none, torch.rand(1, 4))
