"""Distances in memory from 2^31 on, in files that are mapped and never written but for what is read."""

import importlib.util
import itertools

import pytest
import torch

import hierlib as hl

TRITON = importlib.util.find_spec("triton") is not None
interpreted = pytest.mark.skipif(
    not TRITON or torch.cuda.is_available(), reason="Not tested: offsets of the GPU kernels; pip install triton"
)
FAR = 1_200_000_000  # twice this is more than 2^31


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def vast(tmp_path):
    """A function (numbers, dtype) → tensor of that many zeros, of which only what is touched takes memory."""
    names = itertools.count()

    def make(numbers, dtype=torch.float32):
        return torch.from_file(str(tmp_path / f"{next(names)}"), shared=True, size=numbers, dtype=dtype)

    return make


def spread_out(vast, e, per_leaf, per_symbol):
    """The same evidence, its leaves and symbols that far apart."""
    n, d, v = e.shape
    room = vast((d - 1) * per_leaf + (v - 1) * per_symbol + n)
    view = room.as_strided(e.shape, (1, per_leaf, per_symbol))
    return view.copy_(e)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "cpu", pytest.param("gpu", marks=interpreted)])
@pytest.mark.parametrize(("per_leaf", "per_symbol"), [(4, FAR), (FAR, 4)])
def test_evidence_whose_symbols_or_leaves_are_far_apart(vast, backend, per_leaf, per_symbol):
    g = hl.random_grammar(v=3, m=2, s=3, L=1, generator=rng())
    e = hl.epsilon_evidence(hl.sample(g, 4, generator=rng())[0], eps=0.4, v=3)  # four: read where they are
    far = spread_out(vast, e, per_leaf, per_symbol)
    for a, b in zip(hl.infer(g, far, backend=backend)[:3], hl.infer(g, e, backend=backend)[:3], strict=True):
        assert all(map(torch.equal, a, b))
    for call in (
        lambda e: hl.class_posterior(g, e, backend=backend),
        lambda e: hl.posterior_sample(g, e, num_samples=3, generator=rng(), backend=backend),
    ):
        assert all(map(torch.equal, call(far), call(e)))


def some(room, symbols, n, nodes=1):
    """The first two data of (nodes, symbols, n) numbers."""
    return room.as_strided((nodes, symbols, 2), (symbols * n, n, 1))


@interpreted
def test_kernels_where_a_symbol_has_more_than_a_thousand_million_data(vast):
    """One program each, of the first data: what stands behind them is zero, in files that take no room."""
    from hierlib._kernels import gpu, gpu_loops

    n, v = FAR, 3
    g = hl.random_grammar(v=v, m=2, s=2, L=1, generator=rng())
    tables = gpu._tables(g)
    rules, lists = (tables.rules[0], None), (tables.lists[0], None, tables.ends[0])
    x = torch.rand(2, v, 2, generator=rng()) + 0.1  # the messages of two children
    room = vast(2 * v * n)
    some(room, v, n, nodes=2).copy_(x)

    largest = torch.zeros(2)
    gpu_loops.largest[(1,)](room, largest, v * n, n, n, 2, v, 128)
    assert torch.equal(largest, x[0].amax(0))

    above, room_above = torch.zeros(v, 2), vast(v * n)
    gpu_loops.up[(1, 1)](room, room_above, *rules, v * n, n, n, 1, v, g.m, 2, 128, 8)
    for y, rule in enumerate(g.rules[0]):
        above[y] = sum(x[0, a] * x[1, b] for a, b in rule.tolist())
    torch.testing.assert_close(some(room_above, v, n)[0], above)

    totals = torch.zeros(2)
    gpu_loops.normalise[(1,)](room_above, totals, n, 2, v, 128)
    torch.testing.assert_close(totals, above.sum(0))
    torch.testing.assert_close(some(room_above, v, n)[0], above / above.sum(0))

    below, parent = vast(2 * v * n), some(room_above, v, n)[0].clone()
    gpu_loops.down[(1, 1, 2)](room, room_above, below, *lists, v * n, n, n, 1, v, v, g.m, 2, 128, 8)
    down = torch.zeros(2, v, 2)
    for y, rule in enumerate(g.rules[0]):
        for a, b in rule.tolist():
            down[0, a] += parent[y] * x[1, b]
            down[1, b] += parent[y] * x[0, a]
    torch.testing.assert_close(some(below, v, n, nodes=2), down)

    marginals = room_above  # no longer needed
    gpu_loops.marginals[(1,)](room, below, marginals, totals, v * n, n, n, 2, v, False, 128)
    both = x[0] * down[0]
    torch.testing.assert_close(some(marginals, v, n)[0], both / both.sum(0))
    torch.testing.assert_close(totals, both.sum(0) / down[0].sum(0))


@interpreted
def test_sampling_of_more_than_a_thousand_million_draws(vast):
    from hierlib._kernels import gpu, gpu_loops

    g = hl.random_grammar(v=3, m=1, s=2, L=1, generator=rng())  # one rule a symbol: nothing is left to chance
    samples, n = 50_000, 50_000
    assert 2 * n * samples > 2**31 and n * samples > 2**31
    below, above, random = (
        vast(k * n * samples, kind) for k, kind in ((2, torch.int64), (1, torch.int64), (1, torch.float64))
    )
    above[:128] = torch.arange(128) % 3
    up = torch.ones(2, 3, 1).expand(2, 3, n)
    gpu_loops.sample[(1,)](up, above, below, random, gpu._tables(g).rules[0], None, 3, 1, n, samples, 128, 1, 2, 128)
    for i in range(2):
        assert torch.equal(below[i * n * samples :][:128], g.rules[0][above[:128], 0, i])


def test_tables_that_32_bits_cannot_hold_are_refused():
    from hierlib._kernels import cpu

    v = 2**31 // cpu.LANE_BYTES
    g = object.__new__(hl.Grammar)
    for name, value in dict(v=v, m=1, s=2, L=1, num_classes=1, rules=(torch.tensor([[[0, v - 1]]]),)).items():
        object.__setattr__(g, name, value)
    with pytest.raises(ValueError, match=r'backend "cpu": .* too many symbols: use backend="torch"'):
        cpu._rule_tables(g)
