"""Which leaf the others correct, and what a node hears from where, against belief propagation one datum at a time."""

import torch

import hierlib as hl
from hierlib.experiments.heard import corrected_leaves, heard


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def noisy(m, n=400):
    g = hl.random_grammar(v=4, m=m, s=2, L=3, generator=rng())
    x, noise = hl.sample(g, n, generator=rng(1)), hl.GaussianNoise(v=4, dtype=torch.float64)
    return g, x, noise.evidence(noise.corrupt(x[0], 0.3, generator=rng(2)), 0.3)


def test_a_corrected_leaf_is_wrong_alone_and_right_with_the_others():
    g, x, evidence = noisy(2)
    count, best = corrected_leaves(g, x, evidence)
    k, leaf, one = best.datum, best.leaf, evidence[best.datum : best.datum + 1]
    b = hl.infer(g, evidence)
    alone, after = evidence.argmax(-1) != x[0], b.marginals[0].argmax(-1) != x[0]
    assert count == int((alone & ~after).any(1).sum()) > 0
    assert alone[k].sum() == 1 and alone[k, leaf] and not after[k].any()
    deaf = one.clone()
    deaf[:, leaf ^ 1] = 1 / 4  # its sibling
    assert best.by_siblings == bool(hl.infer(g, deaf).marginals[0][0, leaf].argmax() != x[0][k, leaf])
    assert not corrected_leaves(g, x, evidence, tried=0)[1].by_siblings


def test_where_all_tuples_are_rules_no_leaf_can_be_corrected():
    assert corrected_leaves(*noisy(4)) == (0, None)


def test_what_is_heard_is_what_infer_says():
    noise, size = hl.GaussianNoise(v=4, dtype=torch.float64), {"v": 4, "m": 2, "s": 2, "L": 3}
    found = heard(noise, [0.1, 0.5], 0.2, **size, draws=3, several=2, generator=rng())
    assert found.alone.shape == found.together.shape == (3, 2) and found.halves.shape == (3, 3, 4)
    assert (found.together > found.alone).all() and found.no_noise < 1e-12 and found.all_noise < 1e-12
    gen = rng()
    g, t = hl.random_grammar(**size, generator=gen), torch.tensor([0.1, 0.5, 0.2, 0.2])
    x = hl.sample(g, 4, generator=gen)
    evidence = noise.evidence(noise.corrupt(x[0], t, generator=gen), t)
    b = hl.infer(g, evidence)
    truth = b.marginals[0].gather(2, x[0][..., None])[..., 0].mean(1)
    torch.testing.assert_close(found.together[0], truth[:2])
    up = b.up[2] / b.up[2].sum(-1, keepdim=True)
    torch.testing.assert_close(found.halves[0, 0, 2], up[2:].gather(2, x[2][2:, :, None]).mean())
    torch.testing.assert_close(found.halves[:, 2, 3], found.halves[:, 0, 3])  # nobody is above the class
    assert (found.prior > 1 / 4).all()  # inside the tree the prior is not flat
