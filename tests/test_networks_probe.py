"""The probe of a network's layers, and the linear probe, against their definitions."""

import pytest
import torch

from hierlib.networks.probe import Comparison, Moments, fit_linear, moments, similarity


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("raw", [False, True])
def test_probe_is_its_definition(raw):
    """Streaming over uneven batches equals the plain formula on all data at once."""
    data = torch.randn(50, 3, 7, generator=rng()) * torch.tensor([1.0, 5, 0.1])[:, None] + 2
    vectors = torch.randn(50, 4, generator=rng()) + 1

    def activations(index):
        return {"map": data[index], "logits": vectors[index]}

    statistics = moments(activations, torch.arange(50).split(13))
    pair = similarity(activations(slice(0, 20)), activations(slice(20, 40)), statistics, raw_second_moment=raw)
    for name, full, axes in (("map", data, (0, 2)), ("logits", vectors, (0, 1))):
        full = full.double()
        mean = full.mean(axes, keepdim=True)
        scale = full.square().mean(axes, keepdim=True).sqrt() if raw else full.std(axes, keepdim=True, correction=0)
        z = ((full - mean) / scale).flatten(1)
        expected = torch.nn.functional.cosine_similarity(z[:20], z[20:40])
        torch.testing.assert_close(pair.cosine[name], expected, rtol=1e-9, atol=1e-12)
    assert pair.mean().shape == (2,) and (pair.standard_error() > 0).all()


@pytest.mark.parametrize("shape", [(6, 5, 7, 3), (6, 5, 33), (6, 13)])
def test_compiled_products_are_those_of_torch(shape):
    """Of floats that numba takes, in any layout; half precision goes the way that any device goes."""
    a, b = (10 + torch.randn(shape, generator=rng(i)).bfloat16() for i in (0, 1))
    statistics = moments(lambda x: {"layer": x}, [a, b])
    comparison = Comparison(statistics, raw_second_moment=True)
    plain = comparison.similarity({"layer": a}, {"layer": b}).cosine["layer"]
    strided = a.float().transpose(0, 1).contiguous().transpose(0, 1)
    for x, y in ((a.float(), b.float()), (a.double(), b.double()), (strided, b.float().requires_grad_())):
        squares = comparison.squares({"layer": x})
        for known in ((), (squares,), (squares, comparison.squares({"layer": y}))):
            found = comparison.similarity({"layer": x}, {"layer": y}, *known).cosine["layer"]
            torch.testing.assert_close(found, plain, rtol=1e-12, atol=1e-13)
    row = comparison.of_neighbours({"layer": b}).cosine["layer"]
    assert torch.equal(row, comparison.similarity({"layer": b[1:]}, {"layer": b[:-1]}).cosine["layer"])
    assert torch.equal(comparison.similarity({"layer": x}, {"layer": x}).cosine["layer"], torch.ones(6).double())


def test_probe_leaves_out_channels_that_never_vary_and_refuses_other_layers():
    a = torch.randn(5, 2, 3, generator=rng())
    a[:, 1] = 7.0
    statistics = moments(lambda x: {"map": x}, [a])
    full, first = similarity({"map": a}, {"map": a.roll(1, 0)}, statistics), a[:, :1]
    only = similarity(
        {"map": first},
        {"map": first.roll(1, 0)},
        {"map": Moments(statistics["map"].mean[:1], statistics["map"].second[:1])},
    )
    torch.testing.assert_close(full.cosine["map"], only.cosine["map"])
    with pytest.raises(ValueError, match="same layers"):
        similarity({"map": a}, {"other": a}, statistics)
    with pytest.raises(ValueError, match="layer map: expected equal shapes"):
        similarity({"map": a}, {"map": a[:, :, :2]}, statistics)
    with pytest.raises(ValueError, match="at least one batch"):
        moments(lambda x: {"map": x}, [])


def test_linear_probe_is_ridge_regression_whichever_way_it_is_solved():
    x, y = torch.randn(40, 12, generator=rng()).double() + 3, torch.randint(3, (40, 2), generator=rng())
    wide = torch.cat([x, torch.zeros(40, 60)], 1)  # more units than data, but nothing in them
    narrow, dual = fit_linear(x, y, 3, ridge=0.1), fit_linear(wide, y, 3, ridge=0.1 * 72 / 12)
    centred = x - x.mean(0)
    target = torch.nn.functional.one_hot(y, 3).double().flatten(1)
    penalty = 0.1 * centred.square().mean() * len(x) * torch.eye(12)
    weight = torch.linalg.solve(centred.T @ centred + penalty, centred.T @ (target - target.mean(0)))
    torch.testing.assert_close(narrow.weight, weight)
    torch.testing.assert_close(dual.weight, torch.cat([weight, torch.zeros(60, 6)]))
    scores = centred @ weight + target.mean(0)
    assert torch.equal(narrow(x), scores.reshape(40, 2, 3).argmax(-1))


def test_linear_probe_reads_what_is_linear_and_not_what_is_not():
    bits = torch.randint(2, (4000, 2), generator=rng())
    x = torch.nn.functional.one_hot(bits, 2).float().flatten(1)
    both = fit_linear(x[:2000], bits[:2000], 2)
    parity = fit_linear(x[:2000], bits[:2000].sum(1, keepdim=True) % 2, 2)
    assert torch.equal(both(x[2000:]), bits[2000:])
    right = (parity(x[2000:])[:, 0] == bits[2000:].sum(1) % 2).double().mean()
    assert right < 0.8  # it names one of the two for each of the four corners, and at best three are right


def test_linear_probe_survives_dead_units_and_refuses_what_does_not_fit():
    y = torch.randint(3, (20, 1), generator=rng())
    named = fit_linear(torch.zeros(20, 4), y, 3)(torch.zeros(2, 4))
    assert (named == y.flatten().bincount().argmax()).all()
    for x, symbols in ((torch.zeros(20, 4), y + 1), (torch.zeros(19, 4), y), (torch.zeros(20, 4), y[:, 0])):
        with pytest.raises(ValueError, match="expected"):
            fit_linear(x, symbols, 3)
