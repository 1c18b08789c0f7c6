"""Relaxation over grammars: against single chains, exact spectra, and single walks."""

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib.experiments import relaxation, transitions
from hierlib.experiments.chains import autocorrelation, chain
from hierlib.experiments.fragments import fragments, reach


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


SMALL = dict(v=4, m=2, s=2, L=3)


def test_correlations_are_those_of_one_chain_after_the_other():
    found = relaxation.correlations_of_chains(
        hl.MaskNoise(4), [0.2, 0.5], **SMALL, draws=2, chains=3, steps=5, generator=rng(1)
    )
    assert found.shape == (2, 2, 6, 4) and (found[:, :, 0] == 1).all()
    again = rng(1)
    for each in found:
        g = hl.random_grammar(**SMALL, generator=again)
        x = hl.sample(g, 3, generator=again)[0]
        t = torch.tensor([0.2] * 3 + [0.5] * 3, dtype=torch.float64)
        c = autocorrelation(g, chain(g, x.repeat(2, 1), hl.MaskNoise(4), t, 5, generator=again))
        np.testing.assert_allclose(each, [c[:, :3].mean(1), c[:, 3:].mean(1)], atol=1e-12)


def test_times_are_cut_at_the_longest_lag():
    lags = np.arange(9.0)
    c = np.stack([np.exp(-lags / 3), np.exp(-lags / 30)], 1)[None]
    np.testing.assert_allclose(relaxation.times(c), [[3, 8]])


@pytest.mark.slow
def test_modes_are_of_grammars_in_pieces_and_the_slowest_is_no_symbol():
    found = relaxation.slowest_modes(0.3, **SMALL, draws=2, generator=rng(2))
    assert (found.pieces >= 2).all() and (found.ratio >= 1).all()
    again, seen = rng(2), 0
    while seen < 2:
        g = hl.random_grammar(**SMALL, generator=again)
        hl.sample(g, 1, generator=again)
        pieces = fragments(g)
        if pieces.max() == 0:
            continue
        here = transitions.kernel(g, hl.MaskNoise(4), 0.3)
        found_here = transitions.spectrum(here)
        assert found.slowest[seen] == pytest.approx(float(found_here.values[1]), abs=1e-12)
        told = transitions.explained(found_here.functions[:, 1], pieces, here.law)
        assert found.told[seen] == pytest.approx(told, abs=1e-9) and found.pieces[seen] == pieces.max() + 1
        best = max(float(level.max()) for level in transitions.best_of_one_symbol(here))
        assert found.symbol[seen] == pytest.approx(best, abs=1e-12)
        seen += 1


def test_reach_is_from_one_string_of_each():
    found = relaxation.mean_reach(8, 3, 2, 2, draws=3, generator=rng(4))
    again = rng(4)
    for each in found:
        g = hl.random_grammar(v=8, m=3, s=2, L=2, generator=again)
        assert each == float(reach(g, hl.sample(g, 1, generator=again)[0]).fraction[0])


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: relaxation.slowest_modes(0.0, **SMALL, draws=1, generator=rng()), "t: expected between 0 and 1"),
        (lambda: relaxation.slowest_modes(0.3, **SMALL, draws=0, generator=rng()), "draws: expected at least 1"),
        (
            lambda: relaxation.slowest_modes(0.3, v=2, m=2, s=2, L=1, draws=1, generator=rng()),
            "two fragments or more, got 200 of one",
        ),
        (
            lambda: relaxation.correlations_of_chains(
                hl.MaskNoise(4), 0.2, **SMALL, draws=1, chains=1, steps=0, generator=rng()
            ),
            "steps: expected at least 1",
        ),
    ],
)
def test_bad_input_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
