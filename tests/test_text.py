"""Text: words and passages, the model and its training, U-turns against enumeration, and the command."""

import hashlib
import json
import re
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import chisquare
from typer.testing import CliRunner

from hierlib.book.figures import words
from hierlib.networks.fit import Schedule
from hierlib.text import measure
from hierlib.text.bound import bound, erase, train
from hierlib.text.corpus import MASK, RARE, Corpus, Vocabulary, join, read_passages, shuffled, spaced, split
from hierlib.text.model import MaskedModel, Size, TextModel
from hierlib.text.uturn import calibration, chances, draw, uturn
from hierlib.theory.changes import sampled_moments
from hierlib.train import app
from tests.test_live_trees import JS, node

SENTENCES = ("the cat sat on the mat.", "a dog ran to the door;", "the dog and the cat sat, and ran.")
FOLDER = Path(__file__).parents[1] / "book" / "_models" / "text"
LENGTH, SMALL = 8, dict(width=16, heads=2, blocks=1)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    g = np.random.default_rng(0)
    verses = ["\n".join(g.choice(SENTENCES, 4)) for _ in range(60)]
    path.write_text("\n\n".join(verses), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def corpus(file):
    return Corpus.read(file, length=LENGTH, vocabulary=40, every=5)


def trained(corpus, folder, minutes=float("inf"), examples=4000):
    size = Size(len(corpus.vocabulary), LENGTH, **SMALL)
    schedule = Schedule(examples, 16, 1e-2, warmup=5, ema=0.9, seed=3)
    return train(corpus, size, schedule, checkpoint=folder / "x.part", about={"made": "here"}, minutes=minutes)


# ---- words


@pytest.mark.parametrize("text", [*SENTENCES, "Is it so? “Aye,” said he (the king's man).", "Ἐν ἀρχῇ ἦν ὁ λόγος,", ""])
def test_words_make_the_text_again(text):
    vocabulary = Vocabulary.of(split(text) or ["a", "b"], 100)
    tokens = vocabulary.encode(text)
    assert tokens.dtype == torch.int64 and (tokens > RARE).all()
    words = vocabulary.decode(tokens)
    assert words == split(text) and split(join(words)) == words
    if "“" not in text:  # where quotation marks stick is not known from the marks alone
        assert join(words) == text


def test_rare_and_erased_words():
    vocabulary = Vocabulary.of(["a", "b", "b", "c", "c", "d"], 4)
    assert vocabulary.words[2:] == ("b", "c")  # the most frequent, then by the alphabet
    assert vocabulary.encode(["a", "b", "▒"]).tolist() == [RARE, 2, MASK]
    assert "".join(spaced(vocabulary.decode([2, RARE]))) == "b …"


def test_passages_are_paragraphs_or_lines(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\ufeffone two\nthree\n \n\nfour", encoding="utf-8")
    assert read_passages(path) == [[["one", "two"], ["three"]], [["four"]]]
    path.write_text("one two\nthree\n", encoding="utf-8")
    assert read_passages(path) == [[["one", "two"]], [["three"]]]


def test_shuffling_keeps_the_words_of_each_line(file):
    passages = read_passages(file)
    other = shuffled(passages, 1)
    assert other == shuffled(passages, 1) != passages
    for a, b in zip(passages, other, strict=True):
        assert [sorted(line) for line in a] == [sorted(line) for line in b]


def test_nothing_held_out_is_trained_on(file, corpus):
    assert len(corpus.train) == 48 and len(corpus.held_out) == 12 and not corpus.skipped
    x, passage = corpus.windows(20)
    assert x.shape == (20, LENGTH) and passage.unique().numel() == 12
    for row, p in zip(x, passage):
        assert any(torch.equal(row, w) for w in corpus.held_out[p].unfold(0, LENGTH, LENGTH))
    again = Corpus.read(file, length=LENGTH, vocabulary=40, every=5, shuffle=True)
    assert again.vocabulary == corpus.vocabulary and again.sha256 != corpus.sha256


@pytest.mark.parametrize(
    "content, options, why",
    [
        (None, {}, "nothing there; check the path"),
        (b"\xff\xfe\xfa", {}, "UTF-8 text.*iconv"),
        (b" \n\n ", {}, "expected words, got none"),
        (b"a b c\n\nd\0", {}, "a binary file"),
        (b"a b c\n\nd e", {}, "at least 20 passages of 8 words, got 0 of 2; .*shorten"),
        (b"a b c", dict(length=1), "length and every of at least 2"),
        (b"a b\n\nc d", dict(length=2, every=2, vocabulary=3), "size: expected at least 4"),
    ],
)
def test_bad_text(tmp_path, content, options, why):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=why):
        Corpus.read(path, **dict(length=8, vocabulary=40) | options)


@pytest.mark.parametrize(
    "call, why",
    [
        (lambda: Vocabulary(("a", "b", "c", "d")), "words: expected"),
        (lambda: Vocabulary.of("abcd", 9).decode([9]), "tokens: expected 0…5, got 9…9"),
        (lambda: Size(9, 8, width=10, heads=4), "multiple of 4 heads"),
        (lambda: Size(9, 8, blocks=0), "blocks: expected at least 1"),
        (lambda: MaskedModel(Size(9, 8, **SMALL)).hidden(torch.ones(1, 9, dtype=torch.int64)), "1 to 8 words"),
        (lambda: TextModel.load("/nowhere"), "got nothing there"),
        (lambda: chances(torch.ones(2, 3), 1, [0]), "a seed for each of 2 starts"),
        (lambda: turned(t=1.5), "t: expected a probability"),
        (lambda: turned(steps=0), "steps and batch of at least 1"),
        (lambda: turned(x0=torch.zeros(2, 3, dtype=torch.int64)), "x0: expected words only"),
        (lambda: turned(uniform=torch.rand(2, 4, 3, 5)), r"uniform: expected shape \(2, samples, 3, 3\)"),
        (lambda: measure.covariance(torch.ones(2, 1, 3), torch.ones(2, 3)), "at least 2 samples"),
        (lambda: measure.reach(np.ones(4), 1.0), "height: expected between 0 and 1"),
    ],
)
def test_bad_input(call, why):
    with pytest.raises(ValueError, match=why):
        call()


def turned(**change):
    x0 = torch.full((2, 3), 2)
    given = dict(denoiser=None, x0=x0, t=0.5, uniform=chances(x0, 4, [0, 1])) | change
    return uturn(**given)


# ---- U-turns


class Exact:
    """The exact denoiser of a distribution over all strings of three words of an alphabet of three."""

    def __init__(self, seed=0):
        self.x = torch.tensor(list(product((2, 3, 4), repeat=3)))
        self.p = torch.rand(len(self.x), generator=rng(seed), dtype=torch.float64) ** 3
        self.p /= self.p.sum()

    def posterior(self, seen):
        p = self.p * ((self.x == seen[:, None]) | (seen[:, None] == MASK)).all(2)
        return p / p.sum(1, keepdim=True)

    def __call__(self, tokens, where):
        p = self.posterior(tokens)[where[0]]
        is_word = self.x[:, where[1]].T[..., None] == torch.arange(5)
        return torch.einsum("kn,knv->kv", p, is_word.double()).log()


def expected(exact, x0, t):
    """Distribution of the end of a U-turn, by enumeration of all that may be erased."""
    out = torch.zeros(len(exact.x), dtype=torch.float64)
    for gone in product((False, True), repeat=3):
        gone = torch.tensor(gone)
        weight = t ** int(gone.sum()) * (1 - t) ** int((~gone).sum())
        out += weight * exact.posterior(x0.masked_fill(gone, MASK)[None])[0]
    return out


@pytest.mark.parametrize("t", [0.3, 0.8, 1.0])
def test_uturns_against_enumeration(t):
    exact, x0, n = Exact(), torch.tensor([[2, 4, 3]]), 20_000
    y = uturn(exact, x0, t, chances(x0, n, [5]), batch=n)[0]
    seen = (y[:, None] == exact.x).all(2).sum(0).double().numpy()
    want = n * expected(exact, x0[0], t).numpy()
    assert chisquare(seen, want).pvalue > 1e-3
    # words that return together are drawn on their own: another distribution, and this test sees it
    y = uturn(exact, x0, t, chances(x0, n, [6]), steps=1, batch=n)[0]
    seen = (y[:, None] == exact.x).all(2).sum(0).double().numpy()
    assert chisquare(seen, want).pvalue < 1e-6


def test_words_that_are_not_erased_stay_and_the_erased_are_nested():
    exact, x0 = Exact(), torch.tensor([[2, 4, 3], [3, 3, 2]])
    uniform = chances(x0, 300, [0, 1])
    for t in (0.0, 0.4, 1.0):
        y = uturn(exact, x0, t, uniform)
        assert (y > RARE).all()
        assert ((y == x0[:, None]) | (uniform[:, :, 0] < t)).all()
    assert torch.equal(uturn(exact, x0, 0.0, uniform), x0[:, None].expand(-1, 300, -1))


def test_nothing_depends_on_the_batch(corpus):
    network = MaskedModel(Size(len(corpus.vocabulary), LENGTH, **SMALL)).eval()
    x0, _ = corpus.windows(6)
    seeds = list(range(6))
    whole = uturn(network, x0, 0.7, chances(x0, 5, seeds), steps=3, batch=64)
    assert torch.equal(whole, uturn(network, x0, 0.7, chances(x0, 5, seeds), steps=3, batch=7))
    alone = uturn(network, x0[4:5], 0.7, chances(x0[4:5], 5, seeds[4:5]), steps=3)
    assert torch.equal(whole[4:5], alone)


def test_the_last_word_can_be_drawn_and_impossible_ones_are_not():
    p = torch.tensor([[0.0, 0.0, 0.25, 0.75]]).log().expand(4, 4)
    assert draw(p, torch.tensor([0.0, 0.2, 0.3, 1 - 1e-12], dtype=torch.float64)).tolist() == [2, 2, 3, 3]


def test_exact_beliefs_are_calibrated_and_others_are_not():
    exact = Exact()
    x0 = exact.x[torch.multinomial(exact.p, 20_000, replacement=True, generator=rng(1))]
    uniform = torch.rand(len(x0), 1, 3, 3, generator=rng(2), dtype=torch.float64)

    def gap(denoiser):
        belief, squared = calibration(denoiser, x0, 0.6, uniform, batch=5000)
        d = (belief - squared)[~belief.isnan()]
        return float(d.mean()), float(d.std() / len(d) ** 0.5)

    mean, error = gap(exact)
    assert abs(mean) < 4 * error
    mean, error = gap(lambda x, where: (2 * exact(x, where)).log_softmax(-1))  # too sure of itself
    assert mean < -10 * error


# ---- what is measured


def test_pairs_against_their_definition():
    y, x0 = torch.randint(2, 5, (3, 7, 6), generator=rng()), torch.randint(2, 5, (3, 6), generator=rng(1))
    pairs = measure.covariance(y, x0)
    sigma = 2.0 * (y == x0[:, None]).double() - 1
    for n in range(3):
        cov = np.cov(sigma[n].numpy().T)
        np.testing.assert_allclose(pairs[n], [np.trace(cov, r) for r in range(6)], atol=1e-12)
    variance, independent = sampled_moments(y, x0, x0.shape[1])[:2]
    np.testing.assert_allclose(measure.chi(pairs.numpy()), variance / independent)
    far = measure.far(pairs.numpy(), 1)
    np.testing.assert_allclose(1 + far, measure.chi(pairs.numpy()))


def test_reach_of_a_known_correlation():
    d = 32
    pairs = 0.5 ** np.arange(d) * (d - np.arange(d))
    assert measure.relative(pairs)[3] == pytest.approx(1 / 8)
    assert measure.reach(pairs, 0.1875) == pytest.approx(2.5)  # half-way between 1/4 and 1/8
    assert measure.reach(np.full(4, 1.0) * (4 - np.arange(4))) == 4


def test_independent_words_have_no_susceptibility():
    frequencies = torch.tensor([0, 0, 0.5, 0.3, 0.2]).log()
    x0 = torch.randint(2, 5, (40, 16), generator=rng())
    one = measure.study(
        lambda x, where: frequencies.expand(len(where[0]), 5), x0, 0.6, chances(x0, 64, list(range(40))), steps=None
    )
    chi = (one.variance / one.independent)[0].values
    assert abs(chi.mean() - 1) < 4 * chi.std() / 40**0.5


# ---- the model and its training


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


def test_training_learns_and_a_resumed_one_is_the_same(corpus, tmp_path):
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


def test_the_command(file, tmp_path):
    model, out = tmp_path / "m.safetensors", tmp_path / "u.nc"
    fit = ["text", "fit", "--data", file, "--out", model, "--length", LENGTH, "--vocabulary", 40, "--width", 16]
    fit += ["--blocks", 1, "--examples", 64]
    turn = ["text", "uturns", "--data", file, "--model", model, "--out", out, "--windows", 3, "--samples", 2]

    def run(words, code=0):
        done = CliRunner().invoke(app, list(map(str, words)))
        assert done.exit_code == code, done.output
        return done.output

    assert "nothing there" in run([*fit[:3], tmp_path / "none", *fit[4:]], 2)
    assert "is not finished" in run([*fit, "--minutes", 0], 3)
    assert "validation loss" in run(fit) and "is there" in run(fit)
    assert "numbers between 0 and 1" in run([*turn, "--times", "a"], 2)
    assert "for the control only" in run([*turn, "--shuffle"], 2)
    run([*turn, "--times", ".5,1"])
    with xr.open_dataset(out) as found:
        assert found.sizes == dict(t=2, window=3, distance=LENGTH, run=2, place=LENGTH)
        assert found.attrs["command"].startswith("python -m hierlib.train text uturns")
        assert np.isfinite(found.pairs).all() and found.kept.min() >= 0
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("end, best, worst", [("", 3.7, 4.2), ("-shuffled", 5.0, 5.5)])
def test_the_models_on_disk(end, best, worst):
    path = FOLDER / f"kjv{end}.safetensors"
    model, card = TextModel.load(path), (FOLDER / "README.md").read_text("utf-8")
    assert path.stat().st_size <= 4e6
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:16] in card
    assert f"{model.about['validation']:.3f}" in card and best < model.about["validation"] < worst
    with xr.open_dataset(FOLDER / f"uturns{end}.nc") as found:
        assert found.attrs["model_sha256"] == model.about["sha256"]
        x = torch.from_numpy(found.start.values.astype(np.int64))
    with torch.no_grad():  # float16 loses nothing, and the windows are those of the validation
        loss = torch.stack([bound(model.network, x, rng(i)) for i in range(4)]).mean(0)
    assert abs(float(loss.mean()) - model.about["validation"]) < 4 * float(loss.std()) / len(x) ** 0.5


# ---- its figure


def test_the_live_text_says_what_has_changed():
    texts, gone = [["In", "it", ",", "he"], ["In", "a", ",", "she"], ["An", "it", ".", "he"]], np.zeros((3, 4), bool)
    gone[1:, 1:] = gone[2, 0] = True
    assert words.states(texts, gone).tolist() == [[0, 0, 0, 0], [0, 2, 1, 2], [2, 1, 2, 1]]
    markup = words.words_html([0, 0.5, 1], texts, gone, start=1)
    data = json.loads(re.search(r'application/json">(.*?)</script>', markup, re.S)[1])
    assert data["words"][1] == ["In", " a", ",", " she"]
    said = node(f"const W = require({str(JS / 'words.js')!r}); return [0, 1].map((i) => W.sentence(data, i));", data)
    assert "4 words" in said[0] and said[1] == "3 of 4 were erased: 1 came back the same, 2 as others."
    fig = words.page([0, 0.5, 1], texts, gone, [0, 2])
    assert [x.get_text() for x in fig.texts] == ["start", "$t$ = 1", "In", "it", ",", "he", "An", "it", ".", "he"]
    plt.close(fig)


@pytest.mark.parametrize(
    "t, texts, gone, why",
    [
        ([0, 1], [["a", "b"], ["a"]], np.zeros((2, 2)), "equally long"),
        ([0, 1], [["a"], ["a"]], np.ones((2, 1)), "none in the first"),
        ([0, 1], [["a"], ["b"]], np.zeros((2, 1)), "not erased"),
        ([0, 0], [["a"], ["a"]], np.zeros((2, 1)), "increasing fractions"),
    ],
)
def test_texts_that_do_not_fit(t, texts, gone, why):
    with pytest.raises(ValueError, match=why):
        words.words_html(t, texts, gone)
