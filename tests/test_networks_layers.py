"""U-turns seen by the layers of a network, and the order of the layers on both sides of the transition (figure 8)."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import hierlib as hl
from hierlib.networks.classifier import Classifier, Training, TreeCNN, train_classifier
from hierlib.networks.layer_curves import above_chance, order_inverts, order_of_layers, student_interval
from hierlib.networks.layers import figure8, layer_uturns, read_levels, uturns

FIGURE8 = Path(__file__).parents[1] / "book" / "_models" / "tree-cnn" / "figure8.nc"
SMALL = dict(v=4, m=2, s=2, L=3)
TRAINING = Training(num_data=500, width=32, learning_rate=3e-3, batch=50, max_epochs=40, interpolation=1.0)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def trained():
    torch.set_num_threads(1)
    return train_classifier(**SMALL, training=TRAINING)


@pytest.fixture(scope="module")
def turns(trained):
    return uturns(trained.g, [0.0, 0.5, 1.0], n=400, generator=rng())


@pytest.fixture(scope="module")
def committed():
    with xr.open_dataset(FIGURE8) as data:
        return data.load()


@pytest.mark.slow
def test_uturns_without_noise_change_nothing_and_with_all_noise_everything(trained, turns):
    u = layer_uturns(trained.net, turns, generator=rng())
    assert u.layers == ["layer 1", "layer 2", "layer 3", "logits"]
    torch.testing.assert_close(u.cosine[0], torch.ones(4, dtype=torch.float64))
    assert (turns.kept[0] == 1).all() and (u.recognised > 0.95).all()
    error = u.standard_error[2] + 0.05  # the baseline is an estimate of the same number
    assert ((u.cosine[2] - u.baseline).abs() < 4 * error).all()
    assert abs(turns.kept[2, -1] - 0.25) < 4 * (0.1875 / 400) ** 0.5
    assert u.cosine_changed[0].isnan().all() and (u.cosine_changed[1] < u.cosine[1]).all()


def test_uturns_keep_what_the_posterior_says(turns):
    error = (0.25 / 400) ** 0.5  # of nodes of one datum alone: an upper bound
    assert ((turns.kept - turns.overlap).abs() < 4 * error).all()


def test_the_network_names_the_class_that_the_uturn_made(trained, turns):
    u = layer_uturns(trained.net, turns, generator=rng())
    assert ((u.same - turns.kept[:, -1]).abs() <= 2 * (1 - trained.history[-1]["test"]) + 0.02).all()


def test_what_does_not_fit_is_refused(trained, turns):
    with pytest.raises(ValueError, match="expected a network for"):
        layer_uturns(TreeCNN(4, 2, 2, 8, 4), turns, generator=rng())
    with pytest.raises(ValueError, match="at least 2 data"):
        uturns(trained.g, [0.5], n=1, generator=rng())
    with pytest.raises(ValueError, match="probe_eps"):
        figure8([trained], [0.5], n=10, seed=0, rows=10, probe_eps=[0.6])
    with pytest.raises(ValueError, match="at least 2 grammars"):
        student_interval(np.ones((1, 3)))


def test_probes_read_a_layer_that_holds_the_symbols_and_no_other():
    """A network whose first layer is the leaves, and whose second is blind to them."""
    g = hl.random_grammar(**{**SMALL, "L": 2}, generator=rng(3))
    net = TreeCNN(4, 2, 2, 8, 4).reset_parameters(rng())
    with torch.no_grad():
        net.layers[0].weight.copy_(torch.eye(8))
        net.layers[1].weight.zero_()
        net.layers[1].bias.fill_(1)
    turns = uturns(g, [0.0, 1.0], n=300, generator=rng(1))
    read = read_levels(net, turns, rows=2000, generator=rng(2))
    assert read["before"].shape == (3, 3) and read["own"].shape == read["start"].shape == (2, 3, 3)
    assert read["before"][0, 0] == 1 == read["own"][1, 0, 0]
    symbols = torch.bincount(turns.start[0].flatten(), minlength=4) / turns.start[0].numel()
    assert read["before"][1, 0] < symbols.max() + 0.1
    torch.testing.assert_close(read["start"][0, 0, 0], read["before"][0, 0])  # no noise: end and start are one
    kept = turns.kept[1]
    assert abs(read["start"][1, 0, 0] - kept[0]) < 0.05  # all symbols named are the end's own


def test_interval_is_students_over_grammars():
    values = np.array([[1.0, 3.0], [4.0, np.nan], [6.0, 6.0]])  # means 2, 4, 6: sd 2
    mean, lo, hi = student_interval(values)
    assert mean == pytest.approx(4)
    assert hi - mean == pytest.approx(4.302653 * 2 / 3**0.5) and mean - lo == pytest.approx(hi - mean)


EPS = np.array([0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0])


def artificial(first, logits, spread=0.0, baseline=0.0):
    """A result of three grammars with one network each, and a class lost at ε = 0.77."""
    fall = 1 / (1 + np.exp((EPS - 0.77) / 0.02))
    cosine = np.zeros((3, 1, 1, len(EPS), 2))
    cosine[..., 0], cosine[..., 1] = first, logits
    cosine[:, 0, 0, :, 0] += spread * np.array([-1, 0, 1])[:, None]
    return xr.Dataset(
        {
            "cosine": (("grammar", "seed", "weights", "eps", "layer"), cosine),
            "baseline": (("grammar", "seed", "weights", "layer"), np.full((3, 1, 1, 2), [0, baseline])),
            "overlap": (("grammar", "eps", "level"), np.stack([fall + (1 - fall) / 16] * 3)[..., None]),
        },
        {"weights": ["trained"], "eps": EPS, "layer": ["layer 1", "logits"]},
        {"v": 16},
    )


def test_the_rule_of_inversion():
    line = 1 - EPS
    crossed = line + 0.2 * (0.77 - EPS)
    order = order_of_layers(artificial(line, crossed))
    assert order.inverts and order.crossing[0] == pytest.approx(0.77, abs=0.003)
    assert order.transition == pytest.approx(0.77, abs=0.003)
    assert order.below[:, 0].tolist() == [0.5, 0.6, 0.7] and order.above[:, 0].tolist() == [0.85, 0.9]
    assert not order_inverts(artificial(crossed, line)), "the other way round is no inversion"
    assert not order_inverts(artificial(line, line - 0.05)), "a fixed order"
    assert not order_inverts(artificial(line, line + 0.05)), "the other fixed order"
    assert not order_inverts(artificial(line, crossed, spread=0.05)), "grammars differ too much to tell"
    late = np.where(EPS == 0.85, line + 0.01, crossed)
    assert not order_inverts(artificial(line, late)), "every noise counts"
    with pytest.raises(ValueError, match="both sides"):
        order_of_layers(artificial(line, crossed).isel(eps=slice(3, 6)))


def test_a_baseline_does_not_hide_or_make_an_inversion():
    """A similarity that unrelated data have as well counts for nothing."""
    line = 1 - EPS
    raised = 0.8 + 0.2 * (line - 0.02)
    assert above_chance(raised, 0.8) == pytest.approx(line - 0.02)
    assert not order_inverts(artificial(line, raised, baseline=0.8))
    assert order_inverts(artificial(line, 0.8 + 0.2 * (line + 0.2 * (0.77 - EPS)), baseline=0.8))


@pytest.mark.slow
def test_untrained_networks_keep_their_order():
    """The same measurement and the same rule, on networks as they are drawn."""
    torch.set_num_threads(1)
    nets = []
    for seed in range(3):
        g = hl.random_grammar(v=16, m=4, s=2, L=5, generator=rng(seed))
        net = TreeCNN(16, 2, 5, 128, 16).reset_parameters(rng(100 + seed))
        nets.append(Classifier(g, net, Training(grammar_seed=seed, seed=200 + seed), []))
    data = figure8(nets, [0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9], n=100, seed=5)
    for weights in ("trained", "untrained"):
        order = order_of_layers(data, weights)
        assert not order.inverts
        assert (order.below[:, 1] > 0).all(), "not for want of data: the first layer is ahead on both sides"


def test_the_order_inverts_in_the_committed_result(committed):
    """Chapter 8 says so: the first layer is the least alike below the transition, the most alike above it."""
    assert order_inverts(committed)
    assert not order_inverts(committed, "untrained")
    order = order_of_layers(committed)
    lo, hi = order.crossing[1:]
    assert order.below[-1, 0] < lo < hi < order.above[0, 0]
    eps = committed.eps.values
    alike = above_chance(committed.cosine, committed.baseline.expand_dims(eps=eps, axis=3))
    alike = np.nanmean(alike[:, :, 0], axis=(0, 1))  # (eps, layer), trained
    for row in alike[np.isin(eps, order.below[:, 0])]:
        assert row.argmin() == 0 and np.argsort(row)[-4:].min() >= 3, row
    for row in alike[np.isin(eps, order.above[:, 0])]:
        assert row.argmax() == 0 and (np.diff(row[:4]) < 0).all(), row
    assert (np.diff(alike[eps == 0.85][0, :7]) < 0).all(), "the order of depth, reversed"
    rising = alike[eps == 0.6][0]
    assert (np.diff(rising[:4]) > 0).all() and np.ptp(rising[3:]) < 0.005


def test_the_committed_result_is_of_the_size_that_it_says(committed):
    assert committed.sizes["grammar"] == 3 and committed.sizes["seed"] >= 2
    assert committed.attrs["n"] >= 1000 and len(committed.eps) >= 20
    assert float(committed.accuracy.sel(weights="trained").min()) > 0.99
    networks = {path.stem for path in FIGURE8.parent.glob("cnn-*.safetensors")}
    there = int(committed.passes.notnull().sum())
    assert len(networks) == there, "the result is of other networks than those that are there"
