"""Figures of layers, from a result that is made up: two grammars, two networks each, three layers and logits."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from hierlib.book.figures import layers
from hierlib.networks import layer_curves
from hierlib.networks.layer_curves import Order

EPS = np.array([0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0])
NAMES = ["layer 1", "layer 2", "layer 3", "logits"]


def falling(middle, steep):
    return 1 / (1 + np.exp((EPS - middle) * steep))


@pytest.fixture(scope="module")
def result():
    """Layer k falls like level k - 1, steeper the higher; untrained layers fall together, the first one least."""
    rng = np.random.default_rng(0)
    levels = np.stack([falling(0.75, steep) for steep in (10, 20, 30, 60)], 1)  # (eps, level)
    cosine = np.stack([levels, np.stack([falling(0.75, 10) - 0.03 * k for k in range(4)], 1)])
    cosine = cosine[None, None] + 1e-3 * rng.standard_normal((2, 2, 2, len(EPS), 4))
    tables = np.tri(4)[None, None, None] * np.ones((2, 2, 2, 1, 1))
    five = ("grammar", "seed", "weights", "probe_eps", "layer", "level")
    return xr.Dataset(
        {
            "cosine": (("grammar", "seed", "weights", "eps", "layer"), cosine),
            "baseline": (("grammar", "seed", "weights", "layer"), np.zeros((2, 2, 2, 4))),
            "same": (("grammar", "seed", "weights", "eps"), np.broadcast_to(levels[:, 3], (2, 2, 2, len(EPS)))),
            "overlap": (("grammar", "eps", "level"), np.stack([levels, levels + 1e-3])),
            "read_before": (("grammar", "seed", "weights", "layer", "level"), tables),
            "read_own": (five, tables[:, :, :, None]),
            "read_start": (five, tables[:, :, :, None] / 2),
        },
        {"eps": EPS, "layer": NAMES, "weights": ["trained", "untrained"], "probe_eps": [0.9]},
        {"v": 1000, "L": 3},
    )


@pytest.fixture
def order(result):
    return layer_curves.order_of_layers(result)


def test_one_curve_a_layer_trained_and_untrained(result, order):
    drawing = layers.orders(result, order)
    trained, untrained = drawing.fig.axes
    assert [line.get_label() for line in trained.lines if line.get_label() in NAMES] == NAMES
    assert trained.get_title() == "trained" and untrained.get_title() == "untrained"
    assert f"{order.crossing[0]:.2f}" in drawing.alt and 'data-live="layers"' in drawing.live


def test_figure_8_has_bands_squares_and_both_thresholds(result, order):
    again = result.sel(eps=[0.6, 0.85])
    drawing = layers.figure8(result, again, {"trained": order}, mean_field=0.76, infinite=0.8)
    ax, right = drawing.fig.axes[:2]
    assert len(ax.collections) == 4  # a band for each layer
    markers = {line.get_marker(): line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1}
    assert markers["v"] == 0.76 and markers["*"] == 0.8
    trained, untrained = (line.get_ydata() for line in right.lines[:2])
    assert trained.min() < 0 < trained.max() and untrained[:-1].min() > 0


def test_each_layer_stands_beside_the_level_below_it(result):
    drawing = layers.beside_levels(result)
    titles = [ax.get_title() for ax in drawing.fig.axes]
    assert titles == ["layer 1 | leaves", "layer 2 | level 1", "layer 3 | level 2", "logits | class"]
    for k, ax in enumerate(drawing.fig.axes):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), result.overlap.values.mean(0)[:, k])


def test_tables_of_probes_are_in_per_cent(result):
    tables = layer_curves.read(result)
    drawing = layers.probes(tables)
    words = [[text.get_text() for text in ax.texts] for ax in drawing.fig.axes]
    assert words[0][:5] == ["100", "0", "0", "0", "100"] and words[3][:2] == ["50", "0"]
    assert tables.diagonal("trained", below=1).tolist() == [1, 1, 1] and tables.diagonal("trained").tolist() == [
        0,
        0,
        0,
    ]


def test_training_shows_every_network_and_no_error_as_half_of_one():
    drawing = layers.training([[0.9, 0.0], [0.9, 0.5, 1e-3]], [0, 1], chance=0.75)
    first, second, chance = drawing.fig.axes[0].lines
    assert first.get_ydata().tolist() == [0.9, 5e-5] and len(second.get_xdata()) == 3
    assert chance.get_ydata()[0] == 0.75 and first.get_color() != second.get_color()


def test_what_the_result_says(result):
    half, fall = layer_curves.half_heights(result), layer_curves.falls(result)
    assert half.logits.value == pytest.approx(0.75, abs=0.01) and half.same.value == pytest.approx(0.75, abs=0.01)
    lo, hi = half.logits_over_networks
    assert lo <= half.logits.value <= hi and half.logits.lo < half.logits.value < half.logits.hi
    assert fall.ratio.value == pytest.approx(10 / 60, abs=0.06) and fall.first.value > fall.logits.value
    shifted = result.assign(overlap=result.overlap - 0.1)
    near, far = (layer_curves.followed(each) for each in (result, shifted))
    assert near.hidden.value < 0.01 and far.hidden.value == pytest.approx(0.1, abs=0.01)
    assert 0 < far.first.lo < far.first.value < far.first.hi  # a magnitude, whatever the sign of the gap


def test_networks_that_are_not_there_are_left_out(result):
    holed = result.copy(deep=True)
    holed.cosine[0, 1] = np.nan
    assert np.isfinite(layer_curves.half_heights(holed).logits).all()
    assert isinstance(layer_curves.order_of_layers(holed), Order)


def test_the_live_figure_says_which_layer_leads():
    eps, names = [0.3, 0.6, 0.9], ["layer 1", "layer 2", "logits"]
    trained = np.array([[0.97, 0.98, 0.99], [0.8, 0.9, 0.95], [0.3, 0.2, -0.01]])
    markup = layers.layers_html(
        eps, names, {"trained": trained, "untrained": trained[:, ::-1]}, [1, 0.95, 0.1], start=1
    )
    data = json.loads(re.search(r'application/json">(.*?)</script>', markup, re.S)[1])
    assert data["curves"]["trained"] == trained.T.tolist() and len(data["colours"]) == 3 and data["start"] == 1
    with pytest.raises(ValueError, match=r"untrained: expected finite \(3, 3\)"):
        layers.layers_html(eps, names, {"trained": trained, "untrained": trained[:2]}, [1, 1, 0])
    with pytest.raises(ValueError, match="evenly spaced"):
        layers.layers_html([0.3, 0.5, 0.9], names, {"trained": trained, "untrained": trained}, [1, 1, 0])
    with pytest.raises(ValueError, match="start among its stops"):
        layers.layers_html(eps, names, {"trained": trained, "untrained": trained}, [1, 1, 0], start=3)
    if shutil.which("node") is None and not os.environ.get("CI"):
        pytest.skip("not tested: the live figures (install node)")
    script = Path(__file__).parents[1] / "book" / "_assets" / "js" / "layers.js"
    program = f"const T = require({json.dumps(str(script))}); const data = JSON.parse(require('fs').readFileSync(0));"
    program += "console.log(T.sentence(data, 'trained', 2) + '|' + T.sentence(data, 'untrained', 1))"
    said = subprocess.run(["node", "-e", program], input=json.dumps(data), capture_output=True, text=True, timeout=60)
    kept = "Class kept with probability"
    assert said.stdout.strip().split("|") == [
        f"Noise ε = 0.9, trained: most alike in layer 1 (0.30), least in logits (−0.01). {kept} 0.10",
        f"Noise ε = 0.6, untrained: most alike in layer 1 (0.95), least in logits (0.80). {kept} 0.95",
    ], said.stderr
