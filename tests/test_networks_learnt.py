"""What a study of denoisers says, on tables whose answers are known, and of a small denoiser by heart."""

import numpy as np
import pytest
import torch
import xarray as xr

from hierlib.networks import learnt
from hierlib.networks.denoiser import DenoiserTraining
from hierlib.networks.generation import Validity

P = 2.0 ** np.arange(3, 13)


def table(half, seeds=2, chance=0.4):
    """A study in which level l of every grammar is half-way from chance to 1 at half[process][l] strings."""
    rule = np.array([[chance + (1 - chance) / (1 + (at / P) ** 4) for at in levels] for levels in half])
    rule = np.broadcast_to(rule[:, None, None], (len(half), seeds, 1, *rule.shape[1:]))
    names = ("process", "seed", "checkpoint", "level", "num_data")
    places = dict(process=["gaussian", "mask"][: len(half)], checkpoint=["best"], level=[1, 2, 3], num_data=P)
    return xr.Dataset({"rule": (names, rule)}, places | {"seed": np.arange(seeds)})


def test_each_level_needs_three_times_the_strings_of_the_one_below():
    found = learnt.needed_by_level(table([[30, 90, 270], [60, 180, 540]]), chance=0.4, m=3)
    assert found.mean == pytest.approx(np.array([[30, 90, 270], [60, 180, 540]]), rel=0.05)
    assert found.each.shape == (2, 2, 3) and found.each[:, 1] == pytest.approx(found.mean)
    assert found.slope.value == pytest.approx(1, abs=0.03) and found.slope.lo <= found.slope.value <= found.slope.hi


def test_the_slope_of_a_few_grammars_has_students_interval():
    apart = table([[30, 90, 270], [30, 180, 1080]], seeds=1)
    found = learnt.needed_by_level(apart, chance=0.4, m=3).slope
    one, two = 1.0, np.log(6) / np.log(3)
    half = 12.706 * abs(two - one) / 2  # t of one degree of freedom; sd / sqrt(2) is half the distance
    assert found.value == pytest.approx((one + two) / 2, abs=0.03)
    assert found.hi - found.value == pytest.approx(half, rel=0.05)


def test_rules_of_few_pairs_have_long_bars():
    names = ("process", "seed", "checkpoint", "level", "num_data")
    asked = np.array([[4000, 4000], [2000, 2000], [8, 800]])[None, None, None].repeat(2, 1)
    rule = np.full(asked.shape, 0.5)
    rule[0, 0, 0, 2, 0] = np.nan  # of one grammar nothing could be judged
    asked[0, 0, 0, 2, 0] = 0
    places = dict(process=["mask"], checkpoint=["best"], level=[1, 2, 3], num_data=[8, 64], seed=[0, 1])
    study = xr.Dataset({"rule": (names, rule), "asked": (names, asked)}, places)
    found = learnt.rule_interval(study, s=2)
    width = (found.hi - found.lo)[0]
    assert found.value == pytest.approx(np.full((1, 3, 2), 0.5))
    assert width[2, 0] == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 8 + 1.96**2 / 256) / (1 + 1.96**2 / 8))  # Wilson, 8
    assert width[0, 0] == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 2000), rel=0.01)  # 8000 pairs in 2000 strings
    assert (found.lo >= 0).all() and (found.hi <= 1).all()


def test_a_level_that_is_not_learnt_takes_no_part_in_the_slope():
    found = learnt.needed_by_level(table([[30, 90, 1e6]]), chance=0.4, m=3)
    assert np.isinf(found.mean[0, 2]) and found.slope.value == pytest.approx(1, abs=0.03)
    none = learnt.needed_by_level(table([[1e6, 1e6, 1e6]], seeds=1), chance=0.4, m=3)
    assert np.isnan(none.slope.value)


def test_the_denoiser_by_heart_is_nearer_to_exact_the_more_it_has_seen():
    small = DenoiserTraining(v=4, m=2, s=2, L=2, process="mask", num_data=2)
    few, many = (
        learnt.gap_by_heart(each, each.grammar(), data=40, generator=torch.Generator().manual_seed(0))
        for each in (small, DenoiserTraining(v=4, m=2, s=2, L=2, process="mask", num_data=400))
    )
    assert 0 <= many < 0.02 < few < 1


def test_turns_of_one_process_are_rows_of_seeds_and_blocks():
    kept = np.arange(2 * 2 * 3 * 4).reshape(1, 2, 2, 3, 4) / 48.0
    names = ("process", "seed", "num_data", "turn", "block")
    study = xr.Dataset(
        {"kept": (names, kept), "kept_exact": (names, kept), "turn_t": (names[:4], kept[..., 0])},
        {"process": ["mask"], "num_data": [8, 16]},
    )
    found = learnt.turns_of(study, "mask")
    assert list(found.learnt) == [8, 16] and found.learnt[16].shape == found.exact.shape == (8, 3)
    assert (
        found.learnt[8][5].tolist() == kept[0, 1, 0, :, 1].tolist() and found.t.tolist() == kept[0, 0, 0, :, 0].tolist()
    )


def test_the_shift_is_that_of_the_half_heights():
    t = np.geomspace(0.05, 2, 80)
    early, late = (np.tile(1 / 8 + (1 - 1 / 8) / (1 + (t / at) ** 5), (6, 1)) for at in (0.3, 0.6))
    found = learnt.half_height_shift(t, late, early, chance=1 / 8)
    assert found.value == pytest.approx(np.log(2), abs=0.02) and found.bounds == pytest.approx([found.value] * 2)


def test_differences_are_in_standard_errors():
    asked = torch.full((400, 2), 2.0).double()
    parsed = Validity(asked * 0, asked, asked * torch.tensor([0.5, 0.5]))
    row = xr.Dataset(
        {
            "rule": ("level", [0.5, 0.6]),
            "asked": ("level", [800.0, 800.0]),
            "kl": ("noise", [0.2]),
            "kl_se": ("noise", [0.01]),
        },
        {"level": [1, 2]},
    )
    kl = torch.linspace(0.1, 0.3, 101).double()
    found = learnt.differences(row, parsed, kl, noise=0, s=2)
    assert found[0] == pytest.approx(0) and found[1] == pytest.approx(-0.1 / (0.55 * 0.45 * 2 / 800) ** 0.5)
    assert abs(found[2]) < 1e-6
    asked[:, 1] = 0  # no legal parts: nothing to be said of level 2
    assert len(learnt.differences(row, Validity(asked, asked, asked), kl, noise=0, s=2)) == 2
