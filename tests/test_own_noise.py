"""Noises of anyone's own: what is described by `hl.Noise` does everywhere, what is not is refused with what to do."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

import hierlib as hl
from hierlib.experiments import changes, heard, leaf_noise, spectrum
from hierlib.experiments.uturns import class_curves, level_curves, survivors, uturn
from hierlib.noise import evidence_of
from hierlib.theory import population

F64 = torch.float64
SIZE = dict(v=4, m=2, s=2, L=3, draws=2, data=3)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True)
class Fading:
    """Symbol a is erased with probability t·(a + 1)/v: what is erased was probably one of the last ones."""

    v: int

    def corrupt(self, x0: Tensor, t: float | Tensor, *, generator: torch.Generator) -> Tensor:
        chance = torch.rand(x0.shape, generator=generator, dtype=F64)
        return torch.where(chance < torch.as_tensor(t, dtype=F64).reshape(-1, 1) * (x0 + 1) / self.v, self.v, x0)

    def evidence(self, x_t: Tensor, t: float | Tensor) -> Tensor:
        gone = torch.arange(1, self.v + 1, dtype=F64) * 2 / (self.v * (self.v + 1))
        seen = torch.nn.functional.one_hot(x_t.clamp_max(self.v - 1), self.v).to(F64)
        return torch.where((x_t == self.v)[..., None], gone, seen)


def test_all_of_the_librarys_own_are_such():
    for kind in (hl.EpsilonNoise, hl.GaussianNoise, hl.MaskNoise, hl.UniformNoise):
        assert isinstance(kind(v=4), hl.Noise) and kind.symmetric
    assert isinstance(Fading(4), hl.Noise) and not isinstance(object(), hl.Noise)


def test_the_noise_of_the_epsilon_process_assigns_what_it_says():
    x = hl.sample(hl.random_grammar(v=4, m=2, s=2, L=3, generator=rng()), 3, generator=rng())[0]
    before = rng()
    for t in (0.3, torch.tensor([0.0, 0.4, 1.0])):
        found = evidence_of(hl.EpsilonNoise(4), x, t, generator=before)
        assert torch.equal(found, hl.epsilon_evidence(x, eps=t, v=4))
    assert torch.equal(before.get_state(), rng().get_state())  # nothing is drawn
    assert hl.EpsilonNoise(4, F64).evidence(x, 0.3).dtype == F64
    with pytest.raises(ValueError, match="symbols in 0…2"):
        hl.EpsilonNoise(3).corrupt(torch.tensor([[3]]), 0.1, generator=rng())
    with pytest.raises(ValueError, match=r"eps: expected in \[0, 1\], got 2"):
        hl.EpsilonNoise(4).evidence(x, 2.0)
    with pytest.raises(ValueError, match=r"t: expected in \[0, 1\], got 2"):
        class_curves(hl.EpsilonNoise(4), [0.2, 2.0], **SIZE, generator=rng())


def test_ones_own_noise_does_in_every_experiment():
    noise, t = Fading(4), [0.2, 0.9]
    found = level_curves(noise, t, **SIZE, generator=rng())
    assert found.truth.shape == (2, 2, 4) and (found.truth[:, 0] >= found.truth[:, 1] - 1e-9).all()
    assert torch.allclose(class_curves(noise, t, **SIZE, generator=rng()), found.truth[..., -1], atol=1e-6)
    assert changes.curves(noise, t, **SIZE, generator=rng()).exact.C.shape == (2, 2, 4)
    assert survivors(noise, 0.5, **SIZE, generator=rng()).kept.shape == (2, 3, 4)
    assert heard.heard(noise, [0.1], 0.5, v=4, m=2, s=2, L=3, draws=1, generator=rng()).halves.shape == (1, 3, 4)
    assert spectrum.forgetting(noise, t, **SIZE, generator=rng()).known.shape == (2, 2, 4)


def test_one_noise_level_may_be_a_number():
    one, many = (level_curves(hl.MaskNoise(4), t, **SIZE, generator=rng()).truth for t in (0.4, [0.4]))
    assert torch.equal(one, many)
    one, many = (class_curves(Fading(4), t, **SIZE, generator=rng()) for t in (torch.tensor(0.4), [0.4]))
    assert torch.equal(one, many)


class Scalar(Fading):
    def evidence(self, x_t, t):
        return super().evidence(x_t, t) * float(t)


class Transposed(Fading):
    def evidence(self, x_t, t):
        return super().evidence(x_t, t).mT


class Whole(Fading):
    def evidence(self, x_t, t):
        return super().evidence(x_t, t).long()


class Flat(Fading):
    def corrupt(self, x0, t, *, generator):
        return super().corrupt(x0, t, generator=generator).flatten()


class Numpy(Fading):
    def corrupt(self, x0, t, *, generator):
        return super().corrupt(x0, t, generator=generator).numpy()


@pytest.mark.parametrize(
    "noise, message",
    [
        (None, "expected a noise process as EpsilonNoise.*got None"),
        (hl.MaskNoise, "expected a noise process as EpsilonNoise.*got <class"),
        (Fading(5), "expected one of the 4 symbols of the grammars, got Fading"),
        (Scalar(4), r"Scalar.evidence to take t of shape \(6,\), one noise level a datum.*t\[:, None, None\]"),
        (Transposed(4), r"Transposed.evidence to return floating numbers of shape \(6, 8, 4\).*got .*\(6, 4, 8\)"),
        (Whole(4), r"Whole.evidence to return floating numbers.*got torch.int64"),
        (Flat(4), r"Flat.corrupt to return a tensor \(3, …\) for leaves \(3, 8\), got torch.int64 of shape \(24,\)"),
        (Numpy(4), r"Numpy.corrupt to return a tensor"),
    ],
    ids=str,
)
def test_what_is_no_noise_is_refused_with_what_to_do(noise, message):
    for measure in (level_curves, class_curves):
        with pytest.raises(ValueError, match=f"noise: {message}|noise: expected {message}"):
            measure(noise, [0.2, 0.4], **SIZE, generator=rng())


def test_a_uturn_under_a_noise_of_other_shapes_is_refused():
    g = hl.random_grammar(v=4, m=2, s=2, L=3, generator=rng())
    with pytest.raises(ValueError, match=r"Transposed\.evidence"):
        uturn(g, hl.sample(g, 3, generator=rng())[0], Transposed(4), [0.2], generator=rng())
    with pytest.raises(ValueError, match=r"Transposed\.evidence"):
        population.leaf_sampler(Transposed(4), 0.5)(3, rng())


def test_symbols_that_are_not_treated_alike_count_in_population_dynamics_as_in_trees():
    noise, t, size = Fading(6), 0.8, dict(v=6, m=3, s=2, L=4)
    draws = []
    for _ in range(150):
        g = hl.random_grammar(**size, generator=(generator := rng(len(draws))))
        x = hl.sample(g, 4, generator=generator)
        b = hl.infer(g, evidence_of(noise, x[0], t, generator=generator))
        draws.append([z.gather(-1, y[..., None]).mean() for z, y in zip(b.up, x)])
    trees = torch.tensor(draws, dtype=F64)
    sampler = population.leaf_sampler(noise, t)
    pools = population.density_evolution(sampler, m=3, s=2, L=4, size=1000, pools=16, generator=rng()).up
    error = (trees.var(0) / len(trees) + pools.var(0) / len(pools)).sqrt()
    assert ((trees.mean(0) - pools.mean(0)).abs() < 4 * error).all() and error.max() < 0.02
    first = noise.evidence(noise.corrupt(torch.zeros(4000, 1).long(), t, generator=rng()), t)[:, 0, 0].mean()
    assert abs(first - pools[:, 0].mean()) > 0.1  # what leaves of the symbol 0 alone would give


def test_what_looks_at_one_symbol_refuses_noises_that_treat_them_otherwise():
    for call in (
        lambda noise: leaf_noise.mean_doubt(noise, [0.3], leaves=80, generator=rng()),
        lambda noise: leaf_noise.leaf_numbers(noise, [0.3], leaves=80, generator=rng()),
    ):
        with pytest.raises(ValueError, match=r"treats all symbols alike \(symmetric = True\), got Fading"):
            call(Fading(4))
    with pytest.raises(ValueError, match="MaskNoise or UniformNoise, whose Z is known, got EpsilonNoise"):
        leaf_noise.bhattacharyya(hl.EpsilonNoise(4), 0.3)


class InPlace(Fading):
    def corrupt(self, x0, t, *, generator):
        return x0.copy_(super().corrupt(x0, t, generator=generator))


class InPlaceOfOurs(hl.MaskNoise):
    """One's own too, though it is made from one of the library."""

    def corrupt(self, x0, t, *, generator):
        return x0.copy_(super().corrupt(x0, t, generator=generator))


@pytest.mark.parametrize(("working", "apart"), [(InPlace(4), Fading(4)), (InPlaceOfOurs(4), hl.MaskNoise(4))], ids=str)
def test_a_noise_that_works_in_place_does_not_touch_the_truth(working, apart):
    t = [0.4, 0.8]
    for measure in (
        lambda noise: level_curves(noise, t, **SIZE, generator=rng()).truth,
        lambda noise: class_curves(noise, t, **SIZE, generator=rng()),
        lambda noise: survivors(noise, 0.5, **SIZE, generator=rng()).kept,
        lambda noise: changes.curves(noise, t, **SIZE, generator=rng()).exact.C,
        lambda noise: spectrum.forgetting(noise, t, **SIZE, generator=rng()).known,
    ):
        assert np.array_equal(measure(working), measure(apart), equal_nan=True)
