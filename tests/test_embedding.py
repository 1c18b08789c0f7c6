"""Leaves that are points: what a noisy point tells is Bayes' rule, and all that takes a noise takes this one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import hierlib as hl
from hierlib import embedding
from hierlib.enumeration import all_data, brute_force
from hierlib.experiments import leaf_noise
from hierlib.experiments.uturns import level_curves
from hierlib.filtered import infer_filtered
from hierlib.noise import treats_symbols_alike
from hierlib.theory import population

F64 = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def points(v, p, seed=0):
    """Of very different lengths, and far from the origin."""
    x = torch.randn(v, p, dtype=F64, generator=rng(seed))
    return x * torch.linspace(0.2, 2, v, dtype=F64)[:, None] + 3


def densities(phi, x_t, alpha_bar):
    """Bayes' rule by the normalised Gaussian densities around each point; alpha_bar (n,)."""
    apart = (x_t[:, :, None] - alpha_bar.sqrt()[:, None, None, None] * phi).square().sum(3)
    return (-apart / (2 * (1 - alpha_bar[:, None, None]))).softmax(2)


@pytest.mark.parametrize("p", [1, 3, 7])
@pytest.mark.parametrize("n", [3, 40])  # torch alone, and the compiled softmax
def test_evidence_is_bayes_rule(n, p):
    phi = points(5, p)
    noise = hl.GaussianNoise(5, dtype=F64, embedding=phi)
    t = 0.05 + torch.rand(n, generator=rng(1), dtype=F64)
    x_t = noise.corrupt(torch.randint(5, (n, 4), generator=rng(2)), t, generator=rng())
    assert x_t.shape == (n, 4, p) and x_t.stride(0) == 1
    found, exact = noise.evidence(x_t, t), densities(phi, x_t, noise.alpha_bar(t))
    torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-12)
    assert found.stride(0) == 1
    single = replace(noise, dtype=torch.float32).evidence(x_t.float(), t)
    assert single.dtype == torch.float32
    torch.testing.assert_close(
        single.double(), densities(phi, x_t.float().double(), noise.alpha_bar(t)), rtol=0, atol=1e-6
    )


def test_what_is_seen_has_the_moments_of_the_channel():
    phi, n = points(3, 2), 40_000
    noise = hl.GaussianNoise(3, dtype=F64, embedding=phi)
    x_t = noise.corrupt(torch.tensor([[0, 2]]).expand(n, 2), 0.4, generator=rng())
    alpha_bar = float(noise.alpha_bar(0.4))
    error = ((1 - alpha_bar) / n) ** 0.5
    assert ((x_t.mean(0) - alpha_bar**0.5 * phi[[0, 2]]).abs() < 4.5 * error).all()
    assert ((x_t.var(0) / (1 - alpha_bar) - 1).abs() < 4.5 * (2 / n) ** 0.5).all()


def test_one_hot_is_the_embedding_that_is_not_given():
    x0, t = torch.randint(4, (50, 6), generator=rng()), 0.3
    plain, told = hl.GaussianNoise(4), hl.GaussianNoise(4, embedding=torch.eye(4))
    seen = plain.corrupt(x0, t, generator=rng())
    torch.testing.assert_close(told.corrupt(x0, t, generator=rng()), seen, rtol=0, atol=1e-6)
    torch.testing.assert_close(told.evidence(seen, t), plain.evidence(seen, t), rtol=0, atol=2e-6)


def test_a_shift_tells_nothing_and_a_turn_changes_nothing():
    phi, x0 = points(4, 3), torch.randint(4, (40, 5), generator=rng())
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=F64, generator=rng(1))).Q
    noise = hl.GaussianNoise(4, dtype=F64, embedding=phi)
    seen = noise.corrupt(x0, 0.5, generator=rng())
    e, shift = noise.evidence(seen, 0.5), float(noise.alpha_bar(0.5)) ** 0.5 * 1e6
    torch.testing.assert_close(
        replace(noise, embedding=phi @ turn).evidence(seen @ turn, 0.5), e, rtol=1e-9, atol=1e-12
    )
    torch.testing.assert_close(replace(noise, embedding=phi + 1e6).evidence(seen + shift, 0.5), e, rtol=0, atol=1e-7)


def test_symbols_that_look_the_same_are_told_apart_by_the_grammar_alone():
    phi = points(4, 3)
    phi[2] = phi[1]
    noise = hl.GaussianNoise(4, dtype=F64, embedding=phi)
    g = hl.random_grammar(v=4, m=2, s=2, L=2, generator=rng())
    e = noise.evidence(noise.corrupt(hl.sample(g, 30, generator=rng())[0], 0.05, generator=rng()), 0.05)
    torch.testing.assert_close(e[..., 1], e[..., 2], rtol=1e-12, atol=0)
    belief = hl.infer(g, e).marginals[0]
    assert ((belief[..., 1] - belief[..., 2]).abs().amax(1) > 0.4).any()


def test_beliefs_and_draws_against_enumeration():
    """p(x) times the densities of all points, over every datum; and inference that knows some levels only."""
    g = hl.random_grammar(v=3, m=2, s=2, L=2, generator=rng(3))
    phi, t, n = points(3, 2, 5), 0.7, 4
    noise = hl.GaussianNoise(3, dtype=F64, embedding=phi)
    x = hl.sample(g, n, generator=rng())[0]
    x_t = noise.corrupt(x, t, generator=rng())
    e = noise.evidence(x_t, t)
    data, alpha_bar = all_data(g), noise.alpha_bar(t)
    weight = (-(x_t[:, None] - alpha_bar.sqrt() * phi[data[0]]).square().sum((2, 3)) / (2 * (1 - alpha_bar))).softmax(1)
    found, (counted, log_evidence) = hl.infer(g, e), brute_force(g, e)
    for level, belief in enumerate(found.marginals):
        by_hand = torch.einsum("nx,xia->nia", weight, torch.nn.functional.one_hot(data[level], belief.shape[2]).to(F64))
        torch.testing.assert_close(belief, by_hand, rtol=0, atol=1e-10)
        torch.testing.assert_close(belief, counted[level], rtol=0, atol=1e-10)
    torch.testing.assert_close(found.log_evidence, log_evidence, rtol=0, atol=1e-10)
    draws = 40_000
    y = hl.posterior_sample(g, e, num_samples=draws, generator=rng())[0]
    share = torch.nn.functional.one_hot(y, 3).double().mean(1)
    assert ((share - found.marginals[0]).abs() < 4.5 * (found.marginals[0] / draws).sqrt() + 1e-9).all()
    blocks = torch.cartesian_prod(*[torch.arange(3)] * 2)  # with one level known: pairs of leaves, each by itself
    common = (
        (data[0][:, :2, None] == blocks.T).all(1).double().mean(0),
        (data[0][:, 2:, None] == blocks.T).all(1).double().mean(0),
    )
    for pair, prior in enumerate(common):
        like = densities(phi, x_t, alpha_bar.expand(n))[:, 2 * pair : 2 * pair + 2]
        joint = prior * like[:, 0, blocks[:, 0]] * like[:, 1, blocks[:, 1]]
        first = torch.einsum("nb,ba->na", joint / joint.sum(1, keepdim=True), torch.eye(3, dtype=F64)[blocks[:, 0]])
        known = infer_filtered(g, e, levels=1).marginals[0][:, 2 * pair]
        torch.testing.assert_close(known, first, rtol=0, atol=1e-10)


def test_who_asks_whether_symbols_are_treated_alike():
    turned = torch.linalg.qr(torch.randn(6, 4, dtype=F64, generator=rng())).Q.T * 3 + 1  # 4 orthogonal points, moved
    alike, other = hl.GaussianNoise(4, embedding=turned), hl.GaussianNoise(4, embedding=points(4, 2))
    assert treats_symbols_alike(hl.GaussianNoise(4)) and treats_symbols_alike(alike) and not treats_symbols_alike(other)
    assert treats_symbols_alike(hl.GaussianNoise(4, embedding=torch.zeros(4, 2)))
    found = leaf_noise.leaf_numbers(alike, [0.2, 1.0], leaves=20_000, generator=rng())
    assert (np.abs(found.counted - found.bhattacharyya) < 6 * found.error).all() and found.bhattacharyya[0] < 0.5
    for refused in (
        lambda: leaf_noise.mean_doubt(other, [0.2], leaves=80, generator=rng()),
        lambda: leaf_noise.leaf_numbers(other, [0.2], leaves=80, generator=rng()),
        lambda: leaf_noise.bhattacharyya(other, 0.2),
    ):
        with pytest.raises(ValueError, match="treats all symbols alike"):
            refused()


def test_population_dynamics_draws_each_symbol():
    """A leaf's mean belief in the truth, over true symbols, by the pools and by leaves drawn here."""
    noise, t, n = hl.GaussianNoise(4, embedding=points(4, 2)), 0.8, 40_000
    belief = population.leaf_sampler(noise, t)(n, rng())[:, 0]
    x0 = torch.arange(4).repeat(n // 4)[:, None]
    direct = noise.evidence(noise.corrupt(x0, t, generator=rng(1)), t)[:, 0].double().gather(1, x0)[:, 0]
    error = ((belief.var() + direct.var()) / n).sqrt()
    assert (belief.mean() - direct.mean()).abs() < 4 * error
    assert (direct[x0[:, 0] == 0].mean() - direct.mean()).abs() > 20 * error  # one symbol would not do
    run = population.density_evolution(population.leaf_sampler(noise, t), m=2, s=2, L=2, size=200, generator=rng())
    assert (run.up.diff() != 0).any() and run.up.isfinite().all()


def test_curves_of_u_turns():
    noise = hl.GaussianNoise(4, embedding=points(4, 2))
    truth = level_curves(noise, [0.02, 4.0], v=4, m=2, s=2, L=2, draws=2, data=8, generator=rng()).truth.mean(0)
    assert (truth[0] > 0.8).all() and (truth[1, 1:] < 0.5).all()


def test_two_noises_are_the_same_if_their_points_are():
    one = hl.GaussianNoise(4, embedding=points(4, 2))
    assert one == hl.GaussianNoise(4, embedding=points(4, 2).tolist()) and hash(one) == hash(replace(one))
    assert (
        one != hl.GaussianNoise(4)
        and one != replace(one, embedding=points(4, 2, 1))
        and one != replace(one, v=4, dtype=F64)
    )
    assert one != "noise" and hl.GaussianNoise(4) == hl.GaussianNoise(4)
    given = points(4, 2)
    kept = hl.GaussianNoise(4, embedding=given)
    given.zero_()
    assert kept == one  # a table of its own


def test_the_nearest_point():
    phi = points(4, 3)
    assert embedding.nearest(phi, phi[None] + 1e-3).tolist() == [[0, 1, 2, 3]]
    x = torch.randn(5, 6, 3, generator=rng()) + 3
    assert torch.equal(embedding.nearest(phi, x), (x[:, :, None] - phi).square().sum(3).argmin(2))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.zeros(3, 2), r"a table \(4, p\) of finite numbers, .* got shape \(3, 2\)"),
        (torch.zeros(4), r"got shape \(4,\)"),
        (torch.zeros(4, 0), r"got shape \(4, 0\)"),
        (torch.zeros(4, 3, 2, 2), r"got shape \(4, 3, 2, 2\); flatten tiles"),
        (torch.eye(4).index_fill(0, torch.tensor(2), torch.nan), "NaN or infinity in row 2"),
        (np.diag([1, 1, 1, np.inf]), "NaN or infinity in row 3"),
        (torch.eye(4) * 1j, "got torch.complex64"),
        (torch.eye(4).bool(), "got torch.bool"),
        ("tiles", "got "),
        ([[1, 2], [3]], "got "),
        (torch.eye(4, dtype=F64) * 1e60, "numbers up to 1e.60, which torch.float32 cannot hold"),
    ],
    ids=str,
)
def test_what_is_no_table_is_refused(bad, message):
    with pytest.raises(ValueError, match=f"embedding: expected .*{message}"):
        hl.GaussianNoise(4, embedding=bad)


def test_what_is_no_noisy_point_is_refused():
    noise = hl.GaussianNoise(4, embedding=points(4, 2))
    for bad, message in (
        (torch.zeros(2, 5, 4), r"x_t: expected shape \(n, d, 2\)"),
        (torch.full((2, 5, 2), torch.nan), "x_t: expected finite numbers"),
        (torch.full((40, 5, 2), torch.inf), "x_t: expected finite numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            noise.evidence(bad, 0.3)
    with pytest.raises(ValueError, match="symbols in 0…3"):
        noise.corrupt(torch.tensor([[4]]), 0.3, generator=rng())
