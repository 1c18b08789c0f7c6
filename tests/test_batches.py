"""What the compiled kernels make of a datum does not depend on the data beside it, to the last bit."""

import pytest
import torch

import hierlib as hl
from hierlib._kernels import cpu
from hierlib._kernels.compiled.simd import LANE_BYTES

MOST = 130  # two tiles of float32, and a little
SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 21, 24, 31, 32, 33, 47, 48, 63, 64, 65, 96, 100, 127, 128]
GRAMMARS = {2: dict(v=19, m=4, s=2, L=8), 3: dict(v=16, m=8, s=3, L=4), 5: dict(v=5, m=3, s=5, L=2)}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(s):
    g = hl.random_grammar(**GRAMMARS[s], generator=rng())
    return g, hl.sample(g, MOST, generator=rng(1))


def evidence(kind, g, x, dtype):
    e = torch.rand(MOST, g.d, g.v, generator=rng(2), dtype=torch.float64)
    if kind == "sharp":  # so that many sums, but not those of all data, are far from 1
        e = e * hl.epsilon_evidence(x, eps=torch.logspace(-8, 0, MOST, dtype=torch.float64), v=g.v, dtype=e.dtype)
    if kind == "of all scales":
        e = e * 10 ** (20 * torch.rand(MOST, g.d, 1, generator=rng(3), dtype=torch.float64) - 10)
    return e.to(dtype)


def all_of(beliefs):
    return [*beliefs.up, *beliefs.down, *beliefs.marginals, beliefs.log_evidence]


@pytest.mark.slow
@pytest.mark.parametrize("s", GRAMMARS)
@pytest.mark.parametrize("kind", ["mild", "sharp", "of all scales"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_datum_comes_to_the_same_bits_in_every_batch(s, kind, dtype):
    g, x = drawn(s)
    e = evidence(kind, g, x[0], dtype)
    rowwise = e.permute(1, 2, 0).contiguous().permute(2, 0, 1)  # the layout that noises make
    prior = torch.rand(MOST, g.num_classes, generator=rng(4), dtype=torch.float64) + 0.1
    expected = all_of(hl.infer(g, e, class_prior=prior, backend="cpu"))
    draws = hl.posterior_sample(g, e, class_prior=prior, generator=rng(5), backend="cpu")
    for n in SIZES:
        for start in {0, MOST - n}:
            part = slice(start, start + n)
            packed = e[part].permute(1, 2, 0).contiguous().permute(2, 0, 1)
            for seen in (e[part], rowwise[part], packed) if start == 0 else (packed,):
                found = all_of(hl.infer(g, seen, class_prior=prior[part], backend="cpu"))
                assert all(torch.equal(a, b[part]) for a, b in zip(found, expected, strict=True)), (n, start)
            p, log_evidence = hl.class_posterior(g, e[part], class_prior=prior[part], backend="cpu")
            assert torch.equal(p, expected[-2][part, 0]) and torch.equal(log_evidence, expected[-1][part])
        some = hl.posterior_sample(g, e[:n], class_prior=prior[:n], generator=rng(5), backend="cpu")
        assert all(torch.equal(a, b[:n]) for a, b in zip(some, draws, strict=True)), n


@pytest.mark.parametrize("s", GRAMMARS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_overlaps_are_added_up_in_the_same_order_in_every_batch(s, dtype):
    g, x = drawn(s)
    eps, prior = torch.rand(MOST, generator=rng(1), dtype=dtype), torch.full((g.num_classes, MOST), 1 / 7, dtype=dtype)
    expected, _ = cpu.epsilon_overlap(g, x, eps, prior)
    for n in SIZES:
        for part in (slice(0, n), slice(MOST - n, MOST)):
            found, _ = cpu.epsilon_overlap(g, [level[part] for level in x], eps[part], prior[:, part])
            assert torch.equal(found, expected[:, part]), part


@pytest.mark.parametrize("s", [2, 3, 4, 7])
def test_what_is_left_of_a_batch_is_done_in_few_and_full_tiles(s):
    """No tile has more lanes than a vector, and the work of no batch jumps above that of the next larger power of s."""
    g = hl.random_grammar(v=8, m=2, s=s, L=6, generator=rng())
    laid_out, width = cpu._Grammar(g), LANE_BYTES // 4
    works = [0.0]
    for n in range(1, width):
        parts = laid_out.rest(n, width)
        assert sum(data for data, _ in parts) == n
        assert all(data * s ** (g.L - cut) <= width for data, cut in parts)
        works.append(sum((s**cut - 1) // (s - 1) + g.L - cut + 1 for _, cut in parts))
    assert works == sorted(works)  # more data are never less work, for less could be had by adding some
    whole = (g.d - 1) // (s - 1) + 1
    assert max(works) <= whole
