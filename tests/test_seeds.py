"""Seeds: those that are taken are told apart to the last digit, others are refused with the largest one."""

import hashlib
from pathlib import Path

import pytest
import torch

from hierlib import _seeds, book
from hierlib.book.runs.checkout import find_checkout
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.params import resolve
from hierlib.book.runs.targets import targets
from hierlib.images.data import LabelledImages
from hierlib.images.sampler import generator as noise_of
from hierlib.networks.classifier import Training
from hierlib.networks.denoiser import DenoiserTraining
from hierlib.networks.fit import Schedule, _generator
from hierlib.networks.layers import figure8
from hierlib.text.corpus import shuffled
from hierlib.text.uturn import chances

ROOT = find_checkout(Path(__file__).parent)
GOOD = [0, 1, 2**22, 20240216, 2**31, _seeds.LARGEST]
BAD = [-1, 2**32, 20240216123000, 2**63, 2**64, -(2**63) - 1, 1.0, True, "1", None]


def numbers(rng: torch.Generator) -> tuple:
    return tuple(torch.rand(3, generator=rng).tolist())


def test_torch_on_the_cpu_looks_at_32_bits():
    """Why there is a largest seed: beyond it other seeds would not be other numbers."""
    assert numbers(torch.Generator().manual_seed(2**32 + 5)) == numbers(torch.Generator().manual_seed(5))
    assert len({numbers(torch.Generator().manual_seed(seed)) for seed in GOOD}) == len(GOOD)


@pytest.mark.parametrize("seed", GOOD)
def test_good_ones(seed):
    assert _seeds.checked(seed) == _seeds.parse(f" {seed}") == _seeds.derived(seed) == seed
    assert numbers(book.setup(seed)) == numbers(torch.Generator().manual_seed(seed))
    assert Schedule(1, seed=seed).seed == Training(seed=seed).seed == seed
    training = DenoiserTraining(seed=seed, num_data=2)
    assert training.data().shape == (2, 8) and training.test_data(3)[0].shape == (3, 8)
    assert chances(torch.zeros(1, 2), 1, [1000 * seed + 7]).shape == (1, 1, 3, 2)


@pytest.mark.parametrize("seed", BAD)
@pytest.mark.parametrize(
    "take",
    [
        _seeds.checked,
        book.setup,
        lambda seed: Schedule(1, seed=seed),
        lambda seed: Training(seed=seed),
        lambda seed: Training(grammar_seed=seed),
        lambda seed: Training(data_seed=seed),
        lambda seed: DenoiserTraining(seed=seed),
        lambda seed: shuffled([[["a", "b"]]], seed),
        lambda seed: LabelledImages(torch.zeros(2, 1, 2, 2), torch.zeros(2).long(), ("a",), "x", "").choose(1, seed),
    ],
)
def test_bad_ones(seed, take):
    with pytest.raises(ValueError, match=r"seed: expected a whole number from 0 to 2\*\*32 - 1 = 4294967295, got "):
        take(seed)


@pytest.mark.parametrize("text", ["-1", "4294967296", "9" * 30, "1.0", "1e3", "", "one", "٣", "1_0", "0x1"])
def test_words_that_are_no_seeds(text):
    with pytest.raises(ValueError, match=r"--seed: expected a whole number from 0 to 2\*\*32 - 1"):
        _seeds.parse(text, "--seed")


def test_derived_ones_stay_apart():
    many = [1000 * seed + i for seed in (0, 1, 4_294_967, 4_294_968, 2**29, _seeds.LARGEST) for i in range(50)]
    found = [_seeds.derived(number) for number in many]
    assert len(set(found)) == len(many) and all(0 <= seed <= _seeds.LARGEST for seed in found)
    pair = chances(torch.zeros(2, 4), 1, [0, 1000 * 2**32])  # 2**32 divides it: torch's numbers would be those of 0
    assert not torch.equal(*pair)


def test_training_hears_of_seed_and_stream():
    """The order of the data and the noise of every step are others for other seeds, also on the CPU."""
    rows = [(seed, number, stream) for seed in (1, 2, 2**22, 20240216) for number in (0, 1, 9) for stream in (1, 2)]
    found = {numbers(_generator("cpu", seed, number, stream)) for seed, number, stream in rows}
    assert len(found) == len(rows)
    assert numbers(_generator("cpu", 0, 9, 2)) == numbers(torch.Generator().manual_seed(9)), (
        "as the book's were trained"
    )
    assert numbers(_generator("cpu", _seeds.LARGEST, 2**31, 1))


MANY = sorted({*GOOD, *range(300), *(2**bit for bit in range(32)), *(_seeds.LARGEST - i for i in range(300))})


@pytest.mark.parametrize("stream", [1, 2])
@pytest.mark.parametrize("number", [0, 1, 4687, 2**31])
def test_no_two_seeds_give_the_same_step(stream, number):
    """What torch looks at on the CPU is another number for each of all seeds: they are spread one to one."""
    assert len({_generator("cpu", seed, number, stream).initial_seed() for seed in MANY}) == len(MANY)
    odd = _seeds.spread(1, stream)
    assert odd % 2 and all(_seeds.spread(seed, stream) == seed * odd % 2**32 for seed in MANY)
    assert _seeds.spread(1, 1) != _seeds.spread(1, 2)


@pytest.mark.parametrize("k, image", [(2, 0), (100, 0), (100, 499), (250, 10**6)])
def test_no_two_seeds_give_the_same_noise_to_an_image(k, image):
    found = {noise_of("cpu", seed, k, image).initial_seed() % 2**32 for seed in MANY}
    assert len(found) == len(MANY)
    word = int.from_bytes(hashlib.sha256(f"0/{k}/{image}".encode()).digest()[:8], "big") >> 1
    assert numbers(noise_of("cpu", 0, k, image)) == numbers(torch.Generator().manual_seed(word)), (
        "as the book's were made"
    )


def test_figure_8_refuses_before_it_works():
    with pytest.raises(ValueError, match="seed: expected"):
        figure8([], [0.5], n=1, seed=2**32)


@pytest.mark.parametrize("each", targets(ROOT), ids=lambda each: each.slug)
def test_every_chapter_and_quantity(each):
    """What is declared allows what works, and no more."""
    if "seed" not in each.parameters:
        assert each.slug == "empty"
        return
    assert resolve(each.parameters, {"seed": _seeds.LARGEST})["seed"] == _seeds.LARGEST
    for seed in (-1, 2**32, 2**63 - 1):
        with pytest.raises(BadRequest, match=rf"<= seed < 2\*\*32 does not hold for seed = {seed}"):
            resolve(each.parameters, {"seed": seed})
