"""What denoisers have learnt: the study, killed and resumed, and the committed results."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from hierlib.networks.denoiser import DenoiserTraining, TrainedDenoiser, train_denoiser
from hierlib.networks.learning import Sizes, learnt_in_order, measure, runs, strings_needed, study, whole_seeds

SMALL = DenoiserTraining(v=4, m=2, s=2, L=2, num_data=64, width=24, batch=64, steps=150, checks=5)
RESULTS = Path(__file__).parents[1] / "book" / "_models" / "denoisers" / "v8-m3-s2-L3.nc"
FEW = Sizes(generated=60, gap=30, turned=20)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def trained():
    torch.set_num_threads(1)
    return {name: train_denoiser(replace(SMALL, process=name)) for name in ("mask", "gaussian")}


@pytest.mark.slow
def test_measure_shows_the_network_between_chance_and_exact(trained):
    found = measure(trained["mask"], FEW)
    assert (found.legal_exact == 1).all() and 0 <= found.copied_chance <= 1
    assert (found.kl >= 0).all() and found.kl.sizes == {"checkpoint": 2, "noise": 8}
    assert (found.kept[0] > found.kept[-1].mean()).any()
    assert (found.legal.diff("level") <= 0).all()
    assert set(found.data_vars) >= {"copied", "rule", "asked", "kept_exact", "excess", "valid_loss", "exact_loss"}


@pytest.mark.slow
def test_a_study_killed_and_resumed_is_the_same_study(tmp_path):
    wanted = [replace(SMALL, process=p, num_data=n, steps=20) for p, n in (("mask", 8), ("mask", 16), ("gaussian", 8))]
    assert study(tmp_path / "whole.nc", wanted, sizes=FEW, facts={"command": "test"}) == wanted

    def killer(training):
        if training == wanted[1]:
            raise KeyboardInterrupt
        return None

    with pytest.raises(KeyboardInterrupt):
        study(tmp_path / "part.nc", wanted, sizes=FEW, report=killer)
    started = []
    again = study(tmp_path / "part.nc", wanted, sizes=FEW, facts={"command": "test"}, report=started.append)
    assert again == started == wanted[1:], "what is there is not trained again"
    with xr.open_dataset(tmp_path / "part.nc") as file, xr.open_dataset(tmp_path / "whole.nc") as whole:
        xr.testing.assert_identical(file, whole)
        assert runs(file) == [(t.process, t.num_data, t.seed) for t in (wanted[2], *wanted[:2])]
        assert "parameters" in file.attrs and file.attrs["command"] == '"test"'
    more = [replace(wanted[0], seed=wanted[0].seed + 1)]
    study(tmp_path / "part.nc", more, sizes=FEW, facts={"command": "test --seeds 1"})
    with xr.open_dataset(tmp_path / "part.nc") as file:
        assert file.attrs["command"] == '"test && test --seeds 1"', "what made its rows"
    with pytest.raises(ValueError, match=r"part\.nc: expected a result of width 8, got one of width 24"):
        study(tmp_path / "part.nc", [replace(wanted[0], width=8)], sizes=FEW)
    with pytest.raises(ValueError, match="expected a result of gap 31, got one of gap 30"):
        study(tmp_path / "part.nc", wanted, sizes=FEW._replace(gap=31))
    assert sorted(path.name for path in tmp_path.glob("*.part")) == ["part.nc.lock.part", "whole.nc.lock.part"]


def test_weights_that_are_asked_for_are_there_and_are_those_of_the_study(tmp_path):
    training = replace(SMALL, num_data=8, steps=20)
    path, weights = tmp_path / "study.nc", tmp_path / "kept.safetensors"
    study(path, [training], sizes=FEW)
    before = path.read_bytes()
    assert study(path, [training], sizes=FEW, keep=lambda _: weights) == [training], "measured, but not kept"
    assert TrainedDenoiser.load(weights)[0] == training and path.read_bytes() == before
    assert study(path, [training], sizes=FEW, keep=lambda _: weights) == []
    with pytest.raises(ValueError, match=r"kept\.safetensors: expected a result of num_data 16, got one of num_data 8"):
        study(path, [replace(training, num_data=16)], sizes=FEW, keep=lambda _: weights)


def test_minutes_end_a_study_in_a_training_from_which_it_goes_on(tmp_path):
    training, path = replace(SMALL, num_data=8, steps=20), tmp_path / "study.nc"
    assert study(path, [training], sizes=FEW, minutes=0) is None and not path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["study-mask-8-0.part"]
    assert study(path, [training], sizes=FEW) == [training]
    study(tmp_path / "whole.nc", [training], sizes=FEW)
    with xr.open_dataset(path) as file, xr.open_dataset(tmp_path / "whole.nc") as whole:
        xr.testing.assert_identical(file, whole)


def test_half_way_is_found_where_a_curve_passes_it_for_good():
    P = 2.0 ** np.arange(3, 13)
    rise = 0.4 + 0.6 / (1 + (100 / P) ** 2)
    assert strings_needed(P, rise, 0.4) == pytest.approx(100, rel=0.03)
    assert strings_needed(P, np.where(P == 16, 0.9, rise), 0.4) == pytest.approx(100, rel=0.03)
    assert strings_needed(P, rise - 0.4, 0.4) == np.inf and np.isnan(strings_needed(P, rise + 0.4, 0.4))


def test_the_committed_networks_learn_the_levels_in_order():
    """The title of the chapter; of the same numbers with the levels exchanged, or of random strings, it is not true."""
    with xr.open_dataset(RESULTS) as file:
        table = whole_seeds(file.load())
    assert len(table.seed) and learnt_in_order(table, 3 / 8)
    assert not learnt_in_order(table.assign_coords(level=[1, 3, 2]).sortby("level"), 3 / 8)
    assert not learnt_in_order(table.assign(rule=table.rule * 0 + 3 / 8), 3 / 8)
