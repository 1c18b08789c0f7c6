"""Language models beside exact inference: no one is below the floor, and readers of few levels stand on their rungs."""

import numpy as np
import pytest
import torch

from hierlib.grammar import random_grammar
from hierlib.language import block_reader, last_leaf_entropies, place_entropies, window_entropies
from hierlib.networks.exact_floor import (
    last_leaf_losses,
    means_of_beginnings,
    place_losses,
    share_of_openings,
    standing,
)
from hierlib.networks.language_model import CausalTransformer
from hierlib.sampling import sample
from tests.pretend_cuda import pretend_cuda

SIZE = dict(v=4, m=2, s=2, L=3)


def rng(device="cpu", seed=0):
    return torch.Generator(device).manual_seed(seed)


class Exact(CausalTransformer):
    """Answers as a reader of some levels does, from whichever leaf on it sees."""

    def __init__(self, g, levels):
        super().__init__(g.v, g.d, 4, 1, 1)
        self.g, self.levels = g, levels

    def forward(self, leaves, first=0):
        found = block_reader(self.g, leaves, self.levels)
        if first:
            begin = self.g.d - 1 - first  # of the last leaf only: as many leaves as are seen before it
            level = [2**l - 1 for l in range(self.g.L + 1)].index(begin)
            found[:, -1] = block_reader(self.g, leaves, min(level, self.levels))[:, -1]
        return found.log()


@pytest.fixture(scope="module")
def world():
    g = random_grammar(**SIZE, generator=rng())
    return g, sample(g, 300, generator=rng(seed=1))[0]


def test_readers_of_all_levels_are_exact_and_each_level_helps(world):
    g, x = world
    learnt, readers = place_losses([Exact(g, 2)], g, x)
    assert learnt.shape == (1, 300, 8) and readers.shape == (4, 300, 8)
    torch.testing.assert_close(readers[-1], place_entropies(g, x))
    torch.testing.assert_close(learnt[0], readers[2])
    assert (readers >= readers[-1] - 1e-12).all(), "a divergence is not negative, at no place of no string"
    assert (readers.mean((1, 2)).diff() < 0).all()


def test_no_network_is_below_the_floor(world):
    g, x = world
    nets = [CausalTransformer(4, 8, 16, 2, 1).reset_parameters(rng(seed=k)).eval() for k in range(2)]
    for net in nets:
        net.readout.weight.data.normal_(generator=rng())
    learnt, readers = place_losses(nets, g, x)
    assert (learnt > readers[-1]).all() and not torch.equal(learnt[0], learnt[1])


def test_a_mean_of_losses_to_the_law_is_that_of_losses_to_the_leaf(world):
    """What is not drawn has the same mean: the place of a loss is that of its leaf."""
    g, _ = world
    x = sample(g, 20_000, generator=rng(seed=2))[0]
    for levels in (1, 3):
        drawn = -block_reader(g, x, levels).gather(2, x[..., None])[..., 0].log()
        gap = drawn - place_losses([Exact(g, 0)], g, x)[1][levels]
        assert (gap.mean(0).abs() < 5 * gap.std(0) / len(x) ** 0.5 + 1e-12).all()


def test_the_last_leaf_with_more_and_more_seen(world):
    g, x = world
    learnt, exact = last_leaf_losses(Exact(g, 1), g, x)
    assert learnt.shape == exact.shape == (300, 4)
    torch.testing.assert_close(exact[:, -1], place_entropies(g, x)[:, -1])
    many = sample(g, 4000, generator=rng(seed=3))[0]
    expected = window_entropies(g, many, [7], [0, 1, 3, 7])[:, 0].mean(0)
    torch.testing.assert_close(last_leaf_losses(Exact(g, 3), g, many)[1].mean(0), expected, atol=0.02, rtol=0)
    torch.testing.assert_close(learnt[:, :2], exact[:, :2])
    torch.testing.assert_close(learnt[:, 3], learnt[:, 1], msg="a reader of one level gains nothing more")
    assert float(last_leaf_entropies(g, many)[3].mean()) == pytest.approx(float(expected[-1]))


def test_bad_readers_are_refused(world):
    g, x = world
    for levels in (4, -1, 1.5):
        with pytest.raises(ValueError, match="levels: expected"):
            block_reader(g, x, levels)
    with pytest.raises(ValueError, match="leaves"):
        block_reader(g, x[:, :4], 1)


def test_standings():
    readers = np.array([[2.0, 2.0], [2.0, 1.0], [1.0, 1.0]])
    found = standing([2.0, 1.0], readers)
    assert found.level == 1 and found.apart == 0 and found.short == pytest.approx(0.5**0.5)
    found = standing([1.5, 1.5], readers)  # as good in the mean, elsewhere
    assert found.level == 1 and found.apart == 0.5 == found.short
    with pytest.raises(ValueError, match="steps: expected a falling loss"):
        standing([1.5, 1.5], readers[[0, 0]])
    assert share_of_openings([1, 0, 0, 0, 3, 0, 4, 0], 4) == 0.5
    np.testing.assert_allclose(means_of_beginnings([[3.0] * 3 + [0.0] * 6], 3), [[3.0, 3.0, 1.0]])


def test_it_measures_on_the_pretended_gpu():
    def found(device):
        g = random_grammar(**SIZE, generator=rng(device))
        x = sample(g, 20, generator=rng(device, 1))[0]
        net = CausalTransformer(4, 8, 16, 2, 1).reset_parameters(rng()).eval()
        return [*place_losses([net], g, x), *last_leaf_losses(net, g, x)]

    here = found("cpu")
    with pretend_cuda(kernels=False):
        for a, b in zip(here, found("cuda"), strict=True):
            assert b.device.type == "cuda"
            torch.testing.assert_close(a, b.cpu(), rtol=1e-4, atol=1e-5)
