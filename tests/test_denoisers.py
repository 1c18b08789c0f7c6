"""Denoisers that learn: the samplers against exact posteriors, the measures on known cases, training and the study."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

import hierlib as hl
from hierlib.diffusion import ddpm, reverse_process
from hierlib.enumeration import all_data, data_per_class
from hierlib.networks.denoiser import DenoiserTraining, TrainedDenoiser, TreeUNet, train_denoiser
from hierlib.networks.generation import (
    Diffusion,
    Masking,
    chance_validity,
    denoiser_by_heart,
    exact_denoiser,
    found_in,
    gap_to_exact,
    generate,
    process,
    read_class,
    turn,
    validity,
)
from hierlib.networks.learning import (
    Sizes,
    learnt_in_order,
    measure,
    runs,
    strings_needed,
    study,
    training_of,
    whole_seeds,
)
from hierlib.train import PROFILES, app

SMALL = DenoiserTraining(v=4, m=2, s=2, L=2, num_data=64, width=24, batch=64, steps=150, checks=5)
RESULTS = Path(__file__).parents[1] / "book" / "_models" / "denoisers" / "v8-m3-s2-L3.nc"
FEW = Sizes(generated=60, gap=30, turned=20)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def grammar():
    return hl.random_grammar(v=4, m=2, s=2, L=3, generator=rng(1))


@pytest.fixture(scope="module")
def trained():
    torch.set_num_threads(1)
    return {name: train_denoiser(replace(SMALL, process=name)) for name in ("mask", "gaussian")}


@pytest.mark.parametrize("name", ["mask", "gaussian"])
def test_the_way_back_with_the_exact_denoiser_draws_from_the_posterior(grammar, name):
    """Level by level, paired by datum: both start from the same x_t."""
    how, n = process(name, grammar.v), 6000
    t = {"mask": 0.6, "gaussian": 200}[name]
    x = hl.sample(grammar, n, generator=rng(2))
    x_t = how.noise.corrupt(x[0], t, generator=rng(3))
    back = hl.parse(grammar, how.back(exact_denoiser(grammar), x_t, t, generator=rng(4)))  # all legal
    direct = hl.posterior_sample(grammar, how.noise.evidence(x_t, t), generator=rng(5))
    for level in range(grammar.L + 1):
        kept = [(y == x[level]).double().mean(1) for y in (back[level], direct[level][:, 0])]
        difference = kept[0] - kept[1]
        assert abs(difference.mean()) < 3.5 * difference.std() / n**0.5, f"level {level}"
        assert difference.abs().max() > 0, "two random draws must not be the same draw"


@pytest.mark.parametrize("name", ["mask", "gaussian"])
def test_from_nothing_the_exact_denoiser_draws_every_string_equally(name):
    g = hl.random_grammar(v=3, m=2, s=2, L=2, generator=rng(1))
    listed, n = all_data(g)[0], 4000
    drawn = generate(exact_denoiser(g), process(name, g.v), n, g.d, generator=rng(2))
    codes, order = (listed * 3 ** torch.arange(g.d)).sum(1).sort()
    counts = torch.bincount(torch.searchsorted(codes, (drawn * 3 ** torch.arange(g.d)).sum(1)), minlength=len(codes))
    assert validity(g, drawn).strings.all() and len(order) == 24
    chi2 = ((counts - n / 24) ** 2 / (n / 24)).sum()
    assert chi2 < 23 + 4 * 46**0.5  # 23 degrees of freedom


def test_a_denoiser_that_knows_no_context_is_noticed(grammar):
    """The single leaf's posterior alone: the strings are as random strings are."""
    drawn = generate(lambda evidence: evidence, Masking(4), 20_000, grammar.d, generator=rng())
    found = validity(grammar, drawn)
    nodes, rule = chance_validity(grammar)
    assert nodes[0] == 0.5 and nodes[1] == 0.5**3 and rule[-1] == 0.5
    error = found.nodes.std(0) / len(drawn) ** 0.5
    assert ((found.nodes.mean(0) - nodes).abs() < 4 * error).all()
    assert ((found.rule() - rule).abs() < 4 * (rule * (1 - rule) / found.asked.sum(0)).sqrt()).all()


def test_validity_of_data_and_of_data_with_one_wrong_leaf(grammar):
    x = hl.sample(grammar, 500, generator=rng())[0]
    assert (validity(grammar, x).nodes == 1).all() and (validity(grammar, x).rule() == 1).all()
    y = x.clone()
    y[:, 5] = (y[:, 5] + 1) % 4
    found = validity(grammar, y)
    wrong = ~found.strings[:, 0]
    assert 0.1 < wrong.double().mean() < 0.9
    assert (found.nodes[wrong] == torch.tensor([3 / 4, 1 / 2, 0.0]).double()).all()
    assert (found.asked[wrong] == torch.tensor([4.0, 1.0, 0.0]).double()).all()
    with pytest.raises(ValueError, match=r"expected \(n, 8\) symbols in 0…3"):
        validity(grammar, y[:, :4])


def test_copies_are_counted():
    training = torch.tensor([[0, 1, 2], [3, 3, 3], [0, 1, 2]])
    leaves = torch.tensor([[0, 1, 2], [2, 1, 0], [3, 3, 3], [3, 3, 2]])
    assert found_in(leaves, training).tolist() == [True, False, True, False]


@pytest.mark.parametrize("name", ["mask", "gaussian"])
def test_by_heart_makes_copies_only_and_all_strings_by_heart_is_exact(grammar, name):
    how, data = process(name, 4), hl.sample(grammar, 10, generator=rng())[0]
    drawn = generate(denoiser_by_heart(data), how, 500, grammar.d, generator=rng())
    assert found_in(drawn, data).all() and found_in(data, drawn).all()
    x = hl.sample(grammar, 200, generator=rng())[0]
    everything = denoiser_by_heart(all_data(grammar)[0])
    gap = gap_to_exact(grammar, everything, how, x, {"mask": 0.5, "gaussian": 150}[name], generator=rng())
    assert gap.kl.abs().max() < 1e-5


def test_the_exact_sampler_copies_as_often_as_chance_says(grammar):
    training = hl.sample(grammar, 300, generator=rng(1))[0]
    listed = all_data(grammar)[0]
    chance = found_in(listed, training).double().mean()  # 512 strings, all equally likely
    assert chance == len(training.unique(dim=0)) / 512
    drawn = generate(exact_denoiser(grammar), Masking(4), 4000, grammar.d, generator=rng(2))
    assert abs(found_in(drawn, training).double().mean() - chance) < 4 * (chance * (1 - chance) / 4000) ** 0.5


def test_the_class_of_a_legal_string_is_its_own_and_of_a_misprint_that_of_a_nearest_string(grammar):
    listed = all_data(grammar)
    assert (read_class(grammar, listed[0]) == listed[-1][:, 0]).all()
    random = torch.randint(4, (200, 8), generator=rng())
    distance = (random[:, None] != listed[0]).sum(-1)
    nearest = distance == distance.min(1, keepdim=True).values
    votes = torch.stack([(nearest & (listed[-1][:, 0] == c)).sum(1) for c in range(4)], 1)
    chosen = votes.gather(1, read_class(grammar, random)[:, None])[:, 0]
    assert (chosen > 0).all()


@pytest.mark.parametrize("name", ["mask", "gaussian"])
def test_gap_of_the_exact_denoiser_is_zero_and_of_another_its_excess_loss(grammar, name):
    how, t = process(name, 4), {"mask": 0.5, "gaussian": 150}[name]
    x = hl.sample(grammar, 3000, generator=rng())[0]
    exact = gap_to_exact(grammar, exact_denoiser(grammar), how, x, t, generator=rng(1))
    assert exact.kl.abs().max() < 1e-5
    alone = gap_to_exact(grammar, lambda evidence: evidence, how, x, t, generator=rng(1))
    difference = alone.loss - alone.exact_loss - alone.kl
    assert alone.kl.min() >= 0 and alone.kl.mean() > 0.1
    assert abs(difference.mean()) < 4 * difference.std() / 3000**0.5
    assert torch.equal(alone.exact_loss, exact.exact_loss)


def test_longer_turns_start_from_the_same_noise(grammar):
    x = hl.sample(grammar, 2000, generator=rng())
    ends = turn(exact_denoiser(grammar), Masking(4), x[0], [0.0, 0.3, 1.0], generator=rng(1))
    kept = [(hl.parse(grammar, end)[-1] == x[-1]).double().mean() for end in ends]
    assert kept[0] == 1 and kept[1] > kept[2] and torch.equal(ends[0], x[0])
    assert abs(kept[2] - 0.25) < 4 * (0.1875 / 2000) ** 0.5


def test_processes_out_of_range_are_refused(grammar):
    with pytest.raises(ValueError, match="'mask' or 'gaussian'"):
        process("rain", 4)
    with pytest.raises(ValueError, match="divisor of 1000"):
        Diffusion(4, steps=300)
    scheduler = ddpm()
    scheduler.set_timesteps(100)
    with pytest.raises(ValueError, match="one of the scheduler's steps"):
        reverse_process(exact_denoiser(grammar), torch.zeros(1, 8, 4), 55, generator=rng(), scheduler=scheduler)


def test_the_network_starts_as_the_single_leaf_and_mirrors_the_tree():
    net = TreeUNet(v=3, s=3, L=2, width=8).reset_parameters(rng())
    evidence = torch.rand(5, 9, 3, generator=rng())
    evidence = evidence / evidence.sum(-1, keepdim=True)
    torch.testing.assert_close(net.marginals(evidence), evidence)
    with torch.no_grad():
        net.readout.weight.normal_(generator=rng())
    other = evidence.clone()
    other[:, 8] = 1 / 3
    assert (net(other) != net(evidence)).any(-1).all(), "every leaf hears of every other"
    with pytest.raises(ValueError, match=r"expected shape \(n, 9, 3\)"):
        net(evidence[:, :8])


@pytest.mark.parametrize("name", ["mask", "gaussian"])
def test_it_learns_and_never_beats_the_exact_denoiser(trained, name):
    done = trained[name]
    history = done.history
    assert history[-1]["step"] == SMALL.steps and len(history) == SMALL.checks
    assert history[-1]["loss"] < history[0]["loss"]
    blind = train_denoiser(replace(SMALL, process=name, steps=1, checks=1, learning_rate=0.0))
    lowest = min(h["validation"] for h in history)
    assert done.exact < lowest < done.exact + 0.5 * (blind.history[0]["validation"] - done.exact)


def test_few_data_are_memorised_in_the_end_and_not_at_the_best_checkpoint():
    done = train_denoiser(replace(SMALL, L=3, num_data=8, width=48, steps=500, checks=25))
    data, how = done.training.data(), Masking(4)
    copied = [
        found_in(generate(net.marginals, how, 300, 8, generator=rng()), data).double().mean()
        for net in (done.best, done.last)
    ]
    assert copied[1] > 0.7 > copied[0] + 0.3


def test_saved_and_loaded_is_the_same_denoiser(trained, tmp_path):
    done = trained["mask"]
    done.save(tmp_path / "net.safetensors", torch.float32)
    training, g, net = TrainedDenoiser.load(tmp_path / "net.safetensors")
    evidence = torch.full((1, 4, 4), 0.25)
    assert training == done.training and torch.equal(net(evidence), done.best(evidence))
    assert all(torch.equal(a, b) for a, b in zip(g.rules, training.grammar().rules, strict=True))
    (tmp_path / "bad").write_bytes(b"")
    with pytest.raises(ValueError, match="expected a safetensors file"):
        TrainedDenoiser.load(tmp_path / "bad")


def test_measure_shows_the_network_between_chance_and_exact(trained):
    found = measure(trained["mask"], FEW)
    assert (found.legal_exact == 1).all() and 0 <= found.copied_chance <= 1
    assert (found.kl >= 0).all() and found.kl.sizes == {"checkpoint": 2, "noise": 8}
    assert (found.kept[0] > found.kept[-1].mean()).any()
    assert (found.legal.diff("level") <= 0).all()
    assert set(found.data_vars) >= {"copied", "rule", "asked", "kept_exact", "excess", "valid_loss", "exact_loss"}


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
    with pytest.raises(ValueError, match="expected a study of"):
        study(tmp_path / "part.nc", [replace(wanted[0], width=8)], sizes=FEW)
    assert sorted(path.name for path in tmp_path.glob("*.part")) == ["part.nc.lock.part", "whole.nc.lock.part"]


def test_the_command_trains_measures_keeps_weights_and_then_has_nothing_to_do(tmp_path):
    words = ["denoisers", "--out", str(tmp_path), "--process", "mask", "--num-data", "8", "--keep", "8", "--seeds", "0"]
    words += ["--levels", "2", "--steps", "3", "--width", "8"]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0 and "mask P=8 seed=0" in first.output, first.output
    training, _, _ = TrainedDenoiser.load(tmp_path / "v8-m3-s2-L2-mask-8.safetensors")
    with xr.open_dataset(tmp_path / "v8-m3-s2-L2.nc") as file:
        assert training_of(file, "mask", 8, 0) == training
        assert whole_seeds(file).kept.shape == (12, 10, 1, 1, 1)
        assert "--levels 2" in file.attrs["command"] and "torch" in file.attrs["versions"]
    for same in (words, [*words, "--profile", "full"]):  # an option that is given goes before the profile
        again = CliRunner().invoke(app, same)
        assert again.exit_code == 0 and "P=8" not in again.output
    for wrong in (["--profile", "rain"], ["--process", "rain"], ["--width", "9"], ["--num-data", "few"]):
        refused = CliRunner().invoke(app, words + wrong)
        assert refused.exit_code == 2


def test_the_full_profile_is_larger_and_can_be_drawn():
    quick, full = (PROFILES[name] for name in ("quick", "full"))
    assert full["levels"] > quick["levels"] and full["steps"] > quick["steps"] and full["width"] > quick["width"]
    training = DenoiserTraining(L=full["levels"], steps=full["steps"], width=full["width"])
    largest = max(map(int, full["num_data"].split(",")))
    assert set(full["keep"].split(",")) <= set(full["num_data"].split(","))
    assert largest < training.v * data_per_class(3, 2, full["levels"]), "there are so many strings"


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
