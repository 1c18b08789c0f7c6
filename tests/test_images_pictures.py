"""Pictures made of parts: the layout, tiles that anyone can tell apart, and the way back against enumeration."""

import pytest
import torch

import hierlib as hl
from hierlib.diffusion import ddpm, ddpm_noise, reverse_diffusion
from hierlib.enumeration import all_data
from hierlib.filtered import infer_filtered, posterior_sample_filtered
from hierlib.images.pictures import (
    Alphabet,
    as_picture,
    assemble,
    cut,
    draw,
    read,
    shapes,
    signs,
    standardised,
    uturn,
)

F64 = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def tiny(v=3, p=2, channels=1):
    """Tiles of noise, small enough to enumerate what is drawn with them."""
    return Alphabet(torch.randint(256, (v, channels, p, p), generator=rng(v), dtype=torch.uint8))


@pytest.mark.parametrize(("s", "L"), [(4, 1), (4, 3), (9, 2)])
def test_each_leaf_stands_where_its_ancestors_say(s, L):
    """Digit by digit: of a leaf's number in base s, each digit is a child's number, row by row."""
    k, p = round(s**0.5), 2
    parts = torch.arange(2 * s**L * 3 * p * p).reshape(2, s**L, 3, p, p)
    picture = assemble(parts, s=s)
    assert picture.shape == (2, 3, k**L * p, k**L * p)
    for leaf in range(s**L):
        row = column = 0
        for level in reversed(range(L)):
            child = leaf // s**level % s
            row, column = k * row + child // k, k * column + child % k
        assert torch.equal(picture[:, :, row * p : row * p + p, column * p : column * p + p], parts[:, leaf])
    assert torch.equal(cut(picture, p, s=s), parts)


def test_a_node_is_a_square():
    """The leaves below any node of any level fill one square, and no others are in it."""
    for level in (1, 2):
        below = torch.arange(64) // 4**level
        side = 2**level
        picture = assemble(below[None, :, None, None, None])[0, 0]
        blocks = picture.unfold(0, side, side).unfold(1, side, side).flatten(2)
        assert (blocks == blocks[..., :1]).all()


@pytest.mark.parametrize("make", [shapes, signs])
@pytest.mark.parametrize("p", [4, 8])
def test_what_is_drawn_is_read(make, p):
    alphabet = make(16, p)
    leaves = torch.randint(16, (20, 64), generator=rng())
    picture = draw(alphabet, leaves)
    assert picture.dtype == torch.uint8 and picture.shape == (20, 3, 8 * p, 8 * p)
    assert torch.equal(picture[0, :, :p, :p], alphabet.tiles[leaves[0, 0]])
    assert torch.equal(read(alphabet, picture), leaves)
    x = standardised(alphabet, picture)
    assert torch.equal(as_picture(alphabet, x), picture)
    torch.testing.assert_close(cut(x, p).flatten(2).double(), alphabet.embedding[leaves], rtol=0, atol=1e-5)
    noisy = as_picture(alphabet, x + 0.2 * torch.randn(x.shape, generator=rng()))
    assert torch.equal(read(alphabet, noisy), leaves)  # each the tile that is most like it


def test_the_embedding_is_in_units_of_its_own():
    e = shapes(12, 4).embedding
    assert e.shape == (12, 48) and e.mean(0).abs().max() < 1e-12 and abs(e.square().mean() - 1) < 1e-12


# Machado, Oliveira and Fernandes (2009), without one kind of cone, on linear RGB; and what is left without colour.
EYES = {
    "three kinds of cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no long": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no middle": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no short": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "no colour": [[0.2126, 0.7152, 0.0722]] * 3,
}


def lab(tiles, eye):
    """CIE L*a*b* of uint8 sRGB, as an eye sees it: of this space a distance of 2.3 is one that can just be seen."""
    x = tiles.double() / 255
    linear = torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    linear = torch.einsum("ij,vjab->viab", torch.tensor(EYES[eye], dtype=F64), linear).clamp(0, 1)
    to_xyz = torch.tensor([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], dtype=F64)
    xyz = torch.einsum("ij,vjab->viab", to_xyz / to_xyz.sum(1, keepdim=True), linear)
    f = torch.where(xyz > 0.008856, xyz.clamp_min(1e-9) ** (1 / 3), 7.787 * xyz + 16 / 116)
    return torch.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


@pytest.mark.parametrize("make", [shapes, signs])
@pytest.mark.parametrize("eye", EYES)
def test_every_eye_tells_tiles_apart(make, eye):
    """By the root mean square over pixels of the difference that is seen."""
    x = lab(make(16, 4).tiles, eye)
    apart = (x[:, None] - x).square().sum(2).mean((2, 3)).sqrt() + 99 * torch.eye(16)
    assert apart.min() > (10 if eye == "no colour" and make is shapes else 20)


@pytest.mark.parametrize("make", [shapes, signs])
def test_tiles_stand_out_from_a_light_page_and_from_a_dark_one(make):
    for ground in (255, 18):
        page = torch.full((1, 3, 1, 1), ground, dtype=torch.uint8)
        tiles, paper = (lab(x, "three kinds of cones") for x in (make(16, 8).tiles, page))
        apart = (tiles - paper).square().sum(1).sqrt()
        assert apart.mean((1, 2)).min() > 25


def small():
    """A grammar of one level, and tiles for it."""
    return hl.random_grammar(v=3, m=2, s=4, L=1, generator=rng(1)), tiny()


def test_a_turn_is_a_draw_from_the_posterior_given_the_pixels():
    """Each of the pictures that can be, weighed by the density of what is seen."""
    g, alphabet = small()
    n, t = 30_000, 0.5
    start = draw(alphabet, hl.sample(g, 1, generator=rng())[0]).repeat(n, 1, 1, 1)
    found = uturn(g, alphabet, start, t, generator=rng())
    assert torch.equal(found.end, draw(alphabet, found.symbols[0])) and found.seen.shape == start.shape
    assert all(torch.equal(a, b) for a, b in zip(found.symbols, hl.parse(g, found.symbols[0]), strict=True))
    alpha_bar = torch.tensor(-2 * t, dtype=F64).exp()
    every = all_data(g)
    x = standardised(alphabet, draw(alphabet, every[0])).double().flatten(1)
    clean, seen = standardised(alphabet, start[:1]).double().flatten(1), found.seen.double().flatten(1)
    spread = (1 - alpha_bar).sqrt()
    assert ((seen.mean(0) - alpha_bar.sqrt() * clean[0]).abs() < 4.5 * spread / n**0.5).all()
    assert abs((seen - alpha_bar.sqrt() * clean).var() / spread**2 - 1) < 0.01
    posterior = (-(torch.cdist(seen, alpha_bar.sqrt() * x) ** 2) / (2 * spread**2)).softmax(1)
    for level, symbols in enumerate(found.symbols):
        there = torch.nn.functional.one_hot(every[level], g.num_symbols(level)).double()
        belief = torch.einsum("nx,xia->nia", posterior, there)
        drawn = torch.nn.functional.one_hot(symbols, g.num_symbols(level)).double()
        gap = drawn - belief  # of mean zero, for each datum by itself
        assert (gap.mean(0).abs() < 4 * gap.std(0) / n**0.5 + 1e-9).all()
    assert 0.02 < (found.symbols[0] != read(alphabet, start[:1])).double().mean() < 0.6


def test_without_noise_it_is_the_start_and_with_all_of_it_another():
    g = hl.random_grammar(v=12, m=12, s=4, L=2, generator=rng())
    alphabet = shapes(12, 4)
    start = draw(alphabet, hl.sample(g, 50, generator=rng())[0])
    assert torch.equal(uturn(g, alphabet, start, 0.02, generator=rng()).end, start)
    far = uturn(g, alphabet, start, 9.0, generator=rng())
    assert (read(alphabet, start) == far.symbols[0]).double().mean() < 0.15
    assert hl.parse(g, far.symbols[0]) is not None  # all are strings of the grammar
    twice = uturn(g, alphabet, start, 9.0, generator=rng())
    assert torch.equal(twice.end, far.end)


@pytest.mark.slow
@pytest.mark.parametrize("levels", [0, 1, 2])
def test_who_knows_some_levels_draws_by_them_alone(levels):
    g = hl.random_grammar(v=4, m=3, s=4, L=2, num_classes=3, generator=rng())
    alphabet, n = tiny(4), 8000
    start = draw(alphabet, hl.sample(g, 1, generator=rng())[0]).repeat(n, 1, 1, 1)
    found = uturn(g, alphabet, start, 0.6, generator=rng(), levels=levels)
    assert [x.shape for x in found.symbols] == [(n, 4 ** (2 - l)) for l in range(levels + 1)]
    e = alphabet.noise().evidence(cut(found.seen, 2).flatten(2), 0.6)
    known = infer_filtered(g, e, levels=levels)
    for symbols, belief in zip(found.symbols, known.marginals, strict=True):
        gap = torch.nn.functional.one_hot(symbols, belief.shape[2]).double() - belief.double()
        assert (gap.mean(0).abs() < 4.5 * gap.std(0) / n**0.5 + 1e-6).all()
    if levels:  # each block is one that the rules of its levels give
        pairs = zip(found.symbols[1].flatten().tolist(), found.symbols[0].reshape(-1, 4).tolist(), strict=True)
        assert {(a, *b) for a, b in pairs} <= {(a, *b) for a, rules in enumerate(g.rules[0].tolist()) for b in rules}
    with pytest.raises(ValueError, match="levels: expected at most L = 2, got 3"):
        posterior_sample_filtered(g, e, levels=3, generator=rng())


@pytest.mark.slow
def test_pixel_by_pixel_step_by_step_it_is_the_same_draw():
    """Diffusion of the pixels, with the mean that belief propagation makes, against a draw at once."""
    generator = rng(4)
    g, alphabet, scheduler, n, k = hl.random_grammar(v=3, m=2, s=4, L=2, generator=generator), tiny(), ddpm(), 4000, 350
    noise = ddpm_noise(3, scheduler, embedding=alphabet.embedding)
    x = hl.sample(g, n, generator=generator)
    x_k = noise.corrupt(x[0], k, generator=generator)
    stepwise = reverse_diffusion(g, x_k, k, generator=generator, scheduler=scheduler, embedding=alphabet.embedding)
    stepwise = hl.parse(g, stepwise)  # all grammatical
    direct = [y[:, 0] for y in hl.posterior_sample(g, noise.evidence(x_k, k), generator=generator)]
    for level in range(3):
        gap = (stepwise[level] == x[level]).double().mean(1) - (direct[level] == x[level]).double().mean(1)
        error = gap.std() / n**0.5
        assert 0.0005 < error < 0.01 and abs(gap.mean()) < 3 * error, f"level {level}"


def turn(start, t, alphabet=None):
    return uturn(small()[0], alphabet or tiny(), start, t, generator=rng())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Alphabet(torch.zeros(3, 1, 2, 2)), r"tiles: expected uint8 \(v, channels, p, p\), got torch.float32"),
        (lambda: Alphabet(torch.zeros(3, 1, 2, 3).byte()), "tiles: expected uint8"),
        (lambda: Alphabet("tiles"), "got 'tiles'"),
        (lambda: Alphabet(torch.full((3, 1, 2, 2), 7).byte()), "got all the same"),
        (lambda: shapes(17, 4), "v: expected 2 … 16"),
        (lambda: signs(8, 3), "p: expected .*at least 4"),
        (lambda: draw(tiny(), torch.full((1, 4), 3)), "symbols in 0…2"),
        (lambda: draw(tiny(), torch.zeros(1, 5).long()), "a power of s = 4, got 5"),
        (lambda: draw(tiny(), torch.zeros(1, 8).long(), s=8), "s: expected a square, 4, 9, 16"),
        (lambda: assemble(torch.zeros(1, 4, 2, 2)), r"parts: expected \(n, s\^L, channels, h, w\)"),
        (lambda: cut(torch.zeros(1, 3, 12, 12), 2), r"side = p·2\^L, p = 2, got \(1, 3, 12, 12\)"),
        (lambda: cut(torch.zeros(1, 3, 8, 4), 2), "pictures: expected"),
        (lambda: read(tiny(), torch.zeros(1, 4, 4).byte()), "pictures: expected"),
        (
            lambda: turn(torch.zeros(1, 1, 4, 4).byte(), 0.5, tiny(4)),
            "alphabet: expected",
        ),
        (
            lambda: turn(torch.zeros(1, 1, 4, 4), 0.5),
            r"start: expected uint8 \(n, 1, 4, 4\)",
        ),
        (lambda: turn(torch.zeros(1, 1, 8, 8).byte(), 0.5), "start: expected uint8"),
        (lambda: turn(torch.zeros(1, 1, 4, 4).byte(), -1.0), "finite time t ≥ 0"),
        (lambda: turn(torch.zeros(1, 1, 4, 4).byte(), 0.0), "no noise"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
