"""The loss of masked diffusion is the bound that it says, and training makes it small, killed or not."""

import pytest
import torch

from hierlib.text.bound import bound, erase
from hierlib.text.corpus import MASK
from hierlib.text.model import TextModel
from tests import texts
from tests.texts import rng, trained


def test_the_bound_is_the_entropy_for_words_drawn_independently():
    class Frequencies(torch.nn.Module):
        p = torch.tensor([0, 0, 0.7, 0.2, 0.1])

        def forward(self, tokens, where):
            assert (tokens[where] == MASK).all()
            return self.p.log().expand(len(where[0]), 5)

    x = torch.multinomial(Frequencies.p, 4000 * 10, replacement=True, generator=rng()).reshape(4000, 10)
    loss = bound(Frequencies(), x, rng(1))
    entropy = -float(torch.special.xlogy(Frequencies.p, Frequencies.p).sum())
    assert abs(float(loss.mean()) - entropy) < 4 * float(loss.std()) / 4000**0.5


def test_as_many_words_are_erased_as_asked():
    count = torch.tensor([0, 3, 5])
    assert torch.equal(erase(torch.zeros(3, 5), count, rng()).sum(1), count)


@pytest.mark.slow
def test_training_learns_and_a_resumed_one_is_the_same(tmp_path):
    corpus = texts.corpus()
    first = trained(corpus, tmp_path)
    words = torch.cat(corpus.train)
    f = words.bincount(minlength=len(corpus.vocabulary)).double() / len(words)
    assert first.about["validation"] < -float(torch.special.xlogy(f, f).sum()) - 0.5  # better than frequencies alone
    (tmp_path / "again").mkdir()
    assert trained(corpus, tmp_path / "again", minutes=1e-9) is None  # stopped after one step
    second = trained(corpus, tmp_path / "again")
    for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)
    first.save(tmp_path / "m.safetensors", torch.float32)
    loaded = TextModel.load(tmp_path / "m.safetensors")
    where = torch.tensor([0, 1]), torch.tensor([2, 0])
    x, _ = corpus.windows(2)
    assert torch.equal(loaded.network(x, where), first.network(x, where))
    assert loaded.vocabulary == corpus.vocabulary and loaded.about["made"] == "here"
    assert first.network(x, where)[:, MASK].eq(-torch.inf).all()
