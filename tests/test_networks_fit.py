"""The loop that trains all networks: a kill loses nothing but time, another training is refused."""

import math
from dataclasses import replace

import pytest
import torch

from hierlib.networks import fit
from tests.images import rng
from tests.killed import Killed, killed_at


def test_schedule():
    s = fit.Schedule(1000, batch=10, learning_rate=0.1, warmup=4, decay=0.5)
    rates = [s.rate(i) for i in range(s.steps)]
    assert s.steps == 100 and rates[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1]) and rates[4:51] == [0.1] * 47
    assert rates[75] == pytest.approx(0.05) and 0 < rates[99] < 1e-3 and rates[50:] == sorted(rates[50:], reverse=True)


def quadratic(seed=0, **change):
    """Least squares; the loss draws noise, so that a resumed run shows if its randomness differs."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
    x = torch.randn(50, 3, generator=rng())

    def loss(index, generator):
        y = x[index].sum(1, keepdim=True) + 0.1 * torch.randn(len(index), 1, generator=generator)
        return (network(x[index]) - y).square().mean()

    schedule = fit.Schedule(600, batch=8, learning_rate=0.02, warmup=3, ema=0.9)
    return network, loss, len(x), schedule


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 7, 40, 74])
def test_training_that_is_killed_and_goes_on_is_the_same_training(tmp_path, at):
    whole = fit.fit(*quadratic(), checkpoint=tmp_path / "a", identity={})

    with pytest.raises(Killed):
        fit.fit(*quadratic(), checkpoint=tmp_path / "b", identity={}, every=0, report=killed_at(at * 8))
    seen = []
    again = fit.fit(*quadratic(), checkpoint=tmp_path / "b", identity={}, report=lambda n, _: seen.append(n))
    assert seen[0] == at * 8 and seen[-1] == 600, "one step is lost, with a checkpoint at every step"
    assert whole.keys() == again.keys() and all(torch.equal(whole[k], again[k]) for k in whole)
    assert whole["1.num_batches_tracked"] == 75


@pytest.mark.slow
def test_minutes_end_a_call_and_the_next_one_goes_on(tmp_path):
    whole = fit.fit(*quadratic(), checkpoint=tmp_path / "a", identity={})
    calls = 0
    while (out := fit.fit(*quadratic(), checkpoint=tmp_path / "b", identity={}, minutes=1e-9)) is None:
        calls += 1
    assert calls >= 1 and all(torch.equal(whole[k], out[k]) for k in whole)
    done = fit.fit(*quadratic(), checkpoint=tmp_path / "b", identity={}, report=pytest.fail)
    assert torch.equal(done["2.weight"], whole["2.weight"]), "a finished training is not trained on"


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    fit.fit(*quadratic(), checkpoint=tmp_path / "a", identity=dict(data="x"))
    with pytest.raises(ValueError, match=r"expected a result of data y, got one of data x; .* move this one away"):
        fit.fit(*quadratic(), checkpoint=tmp_path / "a", identity=dict(data="y"))
    network, loss, n, schedule = quadratic()
    with pytest.raises(ValueError, match=r"schedule\.batch 4, got one of schedule\.batch 8"):
        fit.fit(network, loss, n, replace(schedule, batch=4), checkpoint=tmp_path / "a", identity=dict(data="x"))
    with pytest.raises(ValueError, match="step 1: expected a finite loss, got nan"):
        fit.fit(
            network,
            lambda *_: network[0].weight.sum() * math.nan,
            n,
            schedule,
            checkpoint=tmp_path / "b",
            identity={},
        )


def test_average_of_weights_is_kept(tmp_path):
    network, loss, n, schedule = quadratic()
    seen = []
    kept = fit.fit(
        network,
        loss,
        n,
        schedule,
        checkpoint=tmp_path / "a",
        identity={},
        report=lambda *_: seen.append(network[2].bias.detach().clone()),
    )
    expected = quadratic()[0][2].bias.detach().clone()
    for step, w in enumerate(seen, start=1):
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * w
    torch.testing.assert_close(kept["2.bias"], expected)
    assert not torch.equal(kept["2.bias"], seen[-1])


def test_seed_0_starts_generators_as_it_did_when_the_models_of_the_book_were_made():
    for stream in (1, 2):
        got, expected = fit._generator("cpu", 0, 17, stream), torch.Generator().manual_seed(17)
        assert torch.rand((), generator=got) == torch.rand((), generator=expected)


@pytest.mark.parametrize("seed", [1, 2**22, 20240216, 2**32 - 2])
def test_other_seeds_start_generators_of_their_own(seed):
    drawn = {
        float(torch.rand((), generator=fit._generator("cpu", s, number, stream)))
        for s in (seed, seed + 1)
        for number in (0, 1)
        for stream in (1, 2)
    }
    assert len(drawn) == 8


def walk(folder, every=math.inf, stop=None, report=None, steps=60):
    """A loss that draws from a generator that goes on, a history, best weights: what trainings of networks carry."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = torch.nn.Linear(3, 1)
    state = fit.State(dict(history=[]), dict(total=torch.zeros(())), rng(5))

    def loss(step):
        if step % 7 == 0:
            state.tensors["data"] = torch.randn(4, 3, generator=state.rng)
        return (network(state.tensors["data"]) - torch.randn(4, 1, generator=state.rng)).square().mean()

    def after(step, value):
        state.tensors["total"] += value
        if step % 5 == 0:
            state.facts["history"].append(float(state.tensors["total"]))
            state.tensors["best"] = network.weight.detach().clone()
        return step == stop

    ended = fit.optimise(
        network,
        torch.optim.Adam(network.parameters(), lr=0.1),
        loss,
        steps=steps,
        state=state,
        after=after,
        checkpoint=None if folder is None else folder / "x.part",
        identity=dict(walk=1),
        every=every,
        report=report,
    )
    return ended, network.weight.detach(), state


@pytest.mark.parametrize("at", [1, 5, 13, 33, 59])
def test_what_a_training_carries_along_outlives_a_kill(tmp_path, at):
    with pytest.raises(Killed):
        walk(tmp_path, every=0, report=killed_at(at))
    seen = []
    (ended, again, state), (_, whole, expected) = walk(tmp_path, report=lambda n, _: seen.append(n)), walk(None)
    assert ended and seen == [*range(at, 61)] and torch.equal(again, whole)
    assert state.facts == expected.facts and torch.equal(state.tensors["best"], expected.tensors["best"])
    assert torch.equal(state.rng.get_state(), expected.rng.get_state())


def test_a_training_that_ended_early_is_ended(tmp_path):
    ended, weights, state = walk(tmp_path, stop=23)
    assert ended and len(state.facts["history"]) == 4
    ended, again, state = walk(tmp_path, stop=None, report=lambda *_: pytest.fail("it has ended"))
    assert ended and torch.equal(again, weights) and len(state.facts["history"]) == 4
