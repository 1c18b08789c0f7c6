"""Averages of messages against a computation by hand, one datum at a time."""

import pytest
import torch

import hierlib as hl
from hierlib.experiments import messages
from hierlib.experiments.messages import belief_in, message_curves


@pytest.mark.parametrize("chunk", [1, 2**22])
def test_means_are_those_of_single_data(chunk, monkeypatch):
    monkeypatch.setattr(messages, "CHUNK", chunk)
    size, eps = {"v": 6, "m": 3, "s": 2, "L": 3}, [0.1, 0.5, 0.9]
    found = message_curves(eps, **size, draws=2, data=3, generator=torch.Generator().manual_seed(5))
    rng = torch.Generator().manual_seed(5)
    for draw in range(2):
        g = hl.random_grammar(**size, generator=rng)
        x = hl.sample(g, 3, generator=rng)
        for i, noise in enumerate(eps):
            b = hl.infer(g, hl.epsilon_evidence(x[0], eps=noise, v=g.v, dtype=torch.float64))
            for kind, name in zip(b[:3], ("up", "down", "marginal")):
                expected = [
                    sum(float(kind[l][n, j, x[l][n, j]]) for n in range(3) for j in range(2 ** (3 - l)))
                    / (3 * 2 ** (3 - l))
                    for l in range(4)
                ]
                assert getattr(found, name)[draw, i].tolist() == pytest.approx(expected, abs=2e-6)


def test_scatter_is_over_all_nodes():
    size = {"v": 5, "m": 3, "s": 2, "L": 3}
    found = message_curves([0.4], **size, draws=2, data=3, generator=torch.Generator().manual_seed(1))
    rng, nodes = torch.Generator().manual_seed(1), []
    for _ in range(2):
        g = hl.random_grammar(**size, generator=rng)
        x = hl.sample(g, 3, generator=rng)
        b = hl.infer(g, hl.epsilon_evidence(x[0], eps=0.4, v=g.v, dtype=torch.float64))
        nodes.append(torch.stack([belief_in(kind[1], x[1]).flatten() for kind in b[:3]]))
    assert found.sd[:, 0, 1].tolist() == pytest.approx(torch.cat(nodes, 1).std(1, correction=0).tolist(), abs=1e-6)


def test_noiseless_messages_are_certain():
    found = message_curves([0.0], v=8, m=2, s=3, L=2, draws=3, data=2, generator=torch.Generator().manual_seed(0))
    assert (found.up == 1).all() and found.marginal == pytest.approx(torch.ones(3, 1, 3).double())
    assert (found.down[..., :-1] < 1).any()  # synonyms: the parent does not fix the child


def test_belief_in_picks_the_symbol():
    belief = torch.arange(24.0).reshape(2, 3, 4)
    assert belief_in(belief, torch.tensor([[0, 1, 2], [3, 0, 1]])).tolist() == [[0, 5, 10], [15, 16, 21]]
