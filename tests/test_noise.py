"""Noise processes: each evidence is the likelihood of what was seen, and bad input is refused."""

import pytest
import torch

import hierlib as hl
from hierlib.experiments import changes, heard, spectrum
from hierlib.experiments.messages import message_curves
from hierlib.experiments.redrawn import FewerRedrawn
from hierlib.experiments.uturns import class_curves, level_curves

X = torch.tensor([[0, 1, 2, 0], [2, 2, 1, 0]])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_epsilon_evidence_is_equation_10():
    e = hl.epsilon_evidence(X, eps=0.3, v=3, dtype=torch.float64)
    expected = torch.nn.functional.one_hot(X, 3).double() * 0.7 + 0.1
    torch.testing.assert_close(e, expected, rtol=0, atol=1e-15)
    each = hl.epsilon_evidence(X, eps=torch.tensor([0.0, 1.0]), v=3)
    torch.testing.assert_close(each[1], torch.full((4, 3), 1 / 3))
    assert torch.equal(each[0], torch.nn.functional.one_hot(X[0], 3).float())


def test_batch_is_innermost_in_memory():
    noise = hl.GaussianNoise(v=3)
    for e in (
        hl.epsilon_evidence(X, eps=0.3, v=3),
        noise.corrupt(X, 1.0, generator=rng()),
        noise.evidence(noise.corrupt(X, 1.0, generator=rng()), 1.0),
        hl.MaskNoise(v=3).evidence(X),
        hl.UniformNoise(v=3).evidence(X, 0.1),
    ):
        assert e.stride(0) == 1


def test_gaussian_noise_has_the_moments_of_equation_2():
    x0 = X[:1].expand(40_000, 4)
    noise = hl.GaussianNoise(v=3, dtype=torch.float64)
    x_t = noise.corrupt(x0, 0.4, generator=rng())
    mean = torch.nn.functional.one_hot(X[0], 3).double() * torch.exp(torch.tensor(-0.4))
    variance = 1 - torch.exp(torch.tensor(-0.8)).item()
    error = (variance / 40_000) ** 0.5
    assert ((x_t.mean(0) - mean).abs() < 4.5 * error).all()
    assert ((x_t.var(0) / variance - 1).abs() < 4.5 * (2 / 40_000) ** 0.5).all()


def test_gaussian_evidence_is_bayes_rule():
    """Softmax(x/Δ) against the normalised Gaussian densities of every symbol, eqs. (4) = (13)."""
    noise = hl.GaussianNoise(v=3, dtype=torch.float64)
    t = torch.tensor([0.05, 0.9])
    x_t = noise.corrupt(X, t, generator=rng())
    alpha_bar = noise.alpha_bar(t)[:, None, None, None]
    torch.testing.assert_close(noise.alpha_bar(t), torch.exp(-2 * t.double()))
    distance = (x_t[..., None, :] - alpha_bar.sqrt() * torch.eye(3).double()).square().sum(-1)
    density = (-distance / (2 * (1 - alpha_bar[..., 0]))).softmax(-1)
    torch.testing.assert_close(noise.evidence(x_t, t), density, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-6), (torch.float64, 1e-15)])
@pytest.mark.parametrize("n", [1, 31, 32, 33, 100])
def test_gaussian_evidence_is_a_softmax_whoever_computes_it(n, dtype, tolerance):
    """A compiled kernel does whole vectors of data, torch the rest; spread far enough that some terms vanish."""
    noise = hl.GaussianNoise(v=5, dtype=dtype)
    x_t = 3 * torch.randn(n, 7, 5, generator=rng(), dtype=dtype)
    t = 0.01 + torch.rand(n, generator=rng(), dtype=torch.float64)
    alpha_bar = noise.alpha_bar(t)[:, None, None]
    expected = (x_t.double() * alpha_bar.sqrt() / (1 - alpha_bar)).softmax(-1)
    for x in (x_t, x_t.permute(1, 2, 0).contiguous().permute(2, 0, 1)):
        torch.testing.assert_close(noise.evidence(x, t).double(), expected, rtol=20 * tolerance, atol=tolerance)
    for value in (torch.nan, torch.inf, -torch.inf):
        x_t[n // 2, 3, 1] = value
        with pytest.raises(ValueError, match="finite numbers"):
            noise.evidence(x_t, t)


def test_a_schedule_replaces_the_default():
    noise = hl.GaussianNoise(v=3, schedule=lambda t: 1 - t, dtype=torch.float64)
    assert noise.alpha_bar(0.25) == 0.75
    with pytest.raises(ValueError, match=r"expected ᾱ in \(0, 1\]"):
        noise.alpha_bar(1.0)


def test_mask_noise_hides_with_its_probability_and_reveals_the_rest():
    x0 = X[:1].expand(20_000, 4)
    noise = hl.MaskNoise(v=3)
    x_t = noise.corrupt(x0, 0.3, generator=rng())
    hidden = x_t == 3
    assert abs(hidden.double().mean() - 0.3) < 4 * (0.21 / 80_000) ** 0.5
    assert torch.equal(x_t[~hidden], x0[~hidden])
    e = noise.evidence(x_t)
    assert torch.equal(e[hidden], torch.full((int(hidden.sum()), 3), 1 / 3))
    assert torch.equal(e[~hidden], torch.nn.functional.one_hot(x0[~hidden], 3).float())


def test_uniform_noise_is_a_symmetric_channel():
    x0 = X[:1].expand(20_000, 4)
    noise = hl.UniformNoise(v=3, dtype=torch.float64)
    x_t = noise.corrupt(x0, 0.6, generator=rng())
    assert abs((x_t == x0).double().mean() - 0.6) < 4 * (0.24 / 80_000) ** 0.5
    torch.testing.assert_close(noise.evidence(x_t, 0.6), hl.epsilon_evidence(x_t, eps=0.6, v=3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hl.epsilon_evidence(X, eps=1.1, v=3), r"eps: expected in \[0, 1\], got 1.1"),
        (lambda: hl.epsilon_evidence(X, eps=float("nan"), v=3), "eps: expected in"),
        (lambda: hl.epsilon_evidence(X, eps=torch.zeros(3), v=3), r"shape \(2,\)"),
        (lambda: hl.epsilon_evidence(X, eps=0.1, v=2), "expected symbols in 0…1"),
        (lambda: hl.epsilon_evidence(X.float(), eps=0.1, v=3), "expected int64"),
        (lambda: hl.GaussianNoise(v=3).corrupt(X, -1.0, generator=rng()), "finite time t ≥ 0"),
        (lambda: hl.GaussianNoise(v=3).evidence(torch.zeros(2, 4, 2), 1.0), r"expected shape \(n, d, 3\)"),
        (lambda: hl.GaussianNoise(v=3).evidence(torch.zeros(2, 4, 3), 0.0), "no noise"),
        (lambda: hl.GaussianNoise(v=3).evidence(torch.full((2, 4, 3), torch.nan), 1.0), "finite numbers"),
        (lambda: hl.MaskNoise(v=3).corrupt(X, 2.0, generator=rng()), r"t: expected in \[0, 1\]"),
        (lambda: hl.MaskNoise(v=3).evidence(X + 2), "expected symbols in 0…3"),
        (lambda: hl.UniformNoise(v=3).evidence(X, -0.1), r"t: expected in \[0, 1\]"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def drawn_by(x: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    return x.view(torch.int32), generator.get_state()


@pytest.mark.parametrize("n", [4096, 4097, 5000, 70_001])
@pytest.mark.parametrize("drawn", [0, 1, 623, 624, 1000])
def test_fast_normal_noise_is_that_of_torch_to_the_last_bit(n, drawn):
    """Wherever in its block of words the generator stands, once and again; and it stands where torch would leave it."""
    from hierlib._kernels.compiled import normal

    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("not tested: on this processor torch computes normal numbers in another way, so torch is asked")
    assert normal.is_that_of_torch()
    for seed in range(3):
        fast, slow = rng(seed), rng(seed)
        for generator in (fast, slow):
            torch.empty(drawn).uniform_(generator=generator)
        for _ in range(2):
            x = torch.empty(n)
            normal.fill_normal(x, fast)
            y = torch.empty(n).normal_(generator=slow)
            for one, other in zip(drawn_by(x, fast), drawn_by(y, slow), strict=True):
                assert torch.equal(one, other)


def test_where_torch_computes_otherwise_torch_is_asked(monkeypatch):
    from hierlib._kernels.compiled import normal

    monkeypatch.setattr(normal, "run_normal", lambda x, state: x.fill(0.5))
    normal.is_that_of_torch.cache_clear()
    try:
        assert not normal.is_that_of_torch()
        x = torch.empty(5000)
        normal.fill_normal(x, rng())
        assert torch.equal(x, torch.empty(5000).normal_(generator=rng()))
    finally:
        normal.is_that_of_torch.cache_clear()


def test_gaussian_noise_draws_the_same_numbers_with_and_without_the_kernel(monkeypatch):
    from hierlib import noise as evidence

    x0 = torch.arange(3).repeat(200, 8)[:, :20]
    fast = hl.GaussianNoise(v=3).corrupt(x0, 0.4, generator=rng())
    monkeypatch.setattr(evidence, "_kernel", lambda x: None)
    torch.testing.assert_close(fast, hl.GaussianNoise(v=3).corrupt(x0, 0.4, generator=rng()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [hl.EpsilonNoise, hl.GaussianNoise, hl.MaskNoise, hl.UniformNoise, FewerRedrawn])
def test_an_alphabet_that_is_none_is_refused(kind):
    for v, message in (
        ("4", "a whole number, got '4'"),
        (4.0, "a whole number"),
        (None, "a whole"),
        (-1, "at least 1"),
    ):
        for call in (kind, lambda v: hl.epsilon_evidence(X, eps=0.1, v=v)):
            with pytest.raises(ValueError, match=f"v: expected {message}"):
                call(v=v)
    with pytest.raises(ValueError, match="dtype: expected one of the floating types"):
        kind(v=4, dtype=torch.int64)


@pytest.mark.parametrize("t", ["0.5", None, ["0.5"], [0.1, None]], ids=str)
def test_times_that_are_no_numbers_are_refused(t):
    size = dict(v=3, m=2, s=2, L=2, draws=1, data=2)
    for call in (
        *(lambda n=n: n(v=3).corrupt(X, t, generator=rng()) for n in (hl.EpsilonNoise, hl.GaussianNoise, hl.MaskNoise)),
        lambda: hl.UniformNoise(v=3).evidence(X, t),
        lambda: FewerRedrawn(v=3).corrupt(X, t, generator=rng()),
        lambda: level_curves(hl.MaskNoise(v=3), t, **size, generator=rng()),
        lambda: class_curves(hl.MaskNoise(v=3), t, **size, generator=rng()),
        lambda: message_curves(t, **size, generator=rng()),
        lambda: changes.curves(hl.MaskNoise(v=3), t, **size, generator=rng()),
        lambda: spectrum.forgetting(hl.MaskNoise(v=3), t, **size, generator=rng()),
        lambda: heard.heard(hl.MaskNoise(v=3), t, 0.5, v=3, m=2, s=2, L=2, draws=1, generator=rng()),
    ):
        with pytest.raises(ValueError, match=r"(t|eps): expected a number or a sequence of numbers, got"):
            call()
