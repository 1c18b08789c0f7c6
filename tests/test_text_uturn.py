"""U-turns of text against enumeration: what is erased, what comes back, what is believed."""

from itertools import product

import pytest
import torch
from scipy.stats import chisquare

from hierlib.text.corpus import MASK, RARE
from hierlib.text.model import MaskedModel, Size
from hierlib.text.uturn import calibration, chances, draw, independent_words, seeds_of, uturn
from tests import texts
from tests.texts import LENGTH, SMALL, rng


class Exact:
    """The exact denoiser of a distribution over all strings of three words of an alphabet of three."""

    def __init__(self, seed=0):
        self.x = torch.tensor(list(product((2, 3, 4), repeat=3)))
        self.p = torch.rand(len(self.x), generator=rng(seed), dtype=torch.float64) ** 3
        self.p /= self.p.sum()

    def posterior(self, seen):
        p = self.p * ((self.x == seen[:, None]) | (seen[:, None] == MASK)).all(2)
        return p / p.sum(1, keepdim=True)

    def __call__(self, tokens, where):
        p = self.posterior(tokens)[where[0]]
        is_word = self.x[:, where[1]].T[..., None] == torch.arange(5)
        return torch.einsum("kn,knv->kv", p, is_word.double()).log()


def expected(exact, x0, t):
    """Distribution of the end of a U-turn, by enumeration of all that may be erased."""
    out = torch.zeros(len(exact.x), dtype=torch.float64)
    for gone in product((False, True), repeat=3):
        gone = torch.tensor(gone)
        weight = t ** int(gone.sum()) * (1 - t) ** int((~gone).sum())
        out += weight * exact.posterior(x0.masked_fill(gone, MASK)[None])[0]
    return out


@pytest.mark.parametrize("t", [0.3, 0.8, 1.0])
def test_uturns_against_enumeration(t):
    exact, x0, n = Exact(), torch.tensor([[2, 4, 3]]), 20_000
    y = uturn(exact, x0, t, chances(x0, n, [5]), batch=n)[0]
    seen = (y[:, None] == exact.x).all(2).sum(0).double().numpy()
    want = n * expected(exact, x0[0], t).numpy()
    assert chisquare(seen, want).pvalue > 1e-3
    # words that return together are drawn on their own: another distribution, and this test sees it
    y = uturn(exact, x0, t, chances(x0, n, [6]), steps=1, batch=n)[0]
    seen = (y[:, None] == exact.x).all(2).sum(0).double().numpy()
    assert chisquare(seen, want).pvalue < 1e-6


def test_words_that_are_not_erased_stay_and_the_erased_are_nested():
    exact, x0 = Exact(), torch.tensor([[2, 4, 3], [3, 3, 2]])
    uniform = chances(x0, 300, [0, 1])
    for t in (0.0, 0.4, 1.0):
        y = uturn(exact, x0, t, uniform)
        assert (y > RARE).all()
        assert ((y == x0[:, None]) | (uniform[:, :, 0] < t)).all()
    assert torch.equal(uturn(exact, x0, 0.0, uniform), x0[:, None].expand(-1, 300, -1))


def test_nothing_depends_on_the_batch():
    corpus = texts.corpus()
    network = MaskedModel(Size(len(corpus.vocabulary), LENGTH, **SMALL)).eval()
    x0, _ = corpus.windows(6)
    seeds = list(range(6))
    whole = uturn(network, x0, 0.7, chances(x0, 5, seeds), steps=3, batch=64)
    assert torch.equal(whole, uturn(network, x0, 0.7, chances(x0, 5, seeds), steps=3, batch=7))
    alone = uturn(network, x0[4:5], 0.7, chances(x0[4:5], 5, seeds[4:5]), steps=3)
    assert torch.equal(whole[4:5], alone)


def test_the_last_word_can_be_drawn_and_impossible_ones_are_not():
    p = torch.tensor([[0.0, 0.0, 0.25, 0.75]]).log().expand(4, 4)
    assert draw(p, torch.tensor([0.0, 0.2, 0.3, 1 - 1e-12], dtype=torch.float64)).tolist() == [2, 2, 3, 3]


def test_exact_beliefs_are_calibrated_and_others_are_not():
    exact = Exact()
    x0 = exact.x[torch.multinomial(exact.p, 20_000, replacement=True, generator=rng(1))]
    uniform = torch.rand(len(x0), 1, 3, 3, generator=rng(2), dtype=torch.float64)

    def gap(denoiser):
        belief, squared = calibration(denoiser, x0, 0.6, uniform, batch=5000)
        d = (belief - squared)[~belief.isnan()]
        return float(d.mean()), float(d.std() / len(d) ** 0.5)

    mean, error = gap(exact)
    assert abs(mean) < 4 * error
    mean, error = gap(lambda x, where: (2 * exact(x, where)).log_softmax(-1))  # too sure of itself
    assert mean < -10 * error


def test_words_drawn_one_by_one_have_the_frequencies_of_the_text_and_of_their_denoiser():
    text = torch.tensor([[2, 2, 2, 3], [2, 2, 4, 3]])
    drawn, denoiser = independent_words(text, 6, 3000, generator=rng())
    share = torch.bincount(drawn.ravel(), minlength=6).double() / drawn.numel()
    expected_share = torch.tensor([0, 0, 5, 2, 1, 0]).double() / 8
    assert drawn.shape == (3000, 4) and (share - expected_share).abs().max() < 4 * 0.5 / 12_000**0.5
    said = denoiser(drawn, (torch.tensor([0, 7]), torch.tensor([1, 1])))
    torch.testing.assert_close(said.exp(), expected_share.expand(2, 6))


def test_every_window_of_a_study_has_a_seed_of_its_own():
    assert seeds_of(2, [0, 1, 5]) == [2000, 2001, 2005]
    assert not {*seeds_of(0, range(96))} & {*seeds_of(1, range(96))}
