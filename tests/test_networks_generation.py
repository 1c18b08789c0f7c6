"""Samplers against exact posteriors, and the measures of what is drawn on known cases."""

import pytest
import torch

import hierlib as hl
from hierlib.diffusion import ddpm, reverse_process
from hierlib.enumeration import all_data
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


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def grammar():
    return hl.random_grammar(v=4, m=2, s=2, L=3, generator=rng(1))


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
