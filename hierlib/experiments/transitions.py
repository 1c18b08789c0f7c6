"""The exact chain of U-turns of a small grammar: its transition matrix between all strings, its spectrum, its modes.

With z what noise leaves to be seen, p(x) K(x, y) = Σ_z p(z) p(x|z) p(y|z) =: J(x, y): symmetric and positive, for any
noise. Three ways to sum over z:

- *listed*: `MaskNoise` (all sets of erased leaves), `UniformNoise` (all strings), `EpsilonNoise` (one z), and
  `erasure_kernel`. Exact to rounding.
- *integrated*: `GaussianNoise` in a very small grammar, of d(v-1) up to about 6, right to 1e-7.
- *drawn*: any noise, `sampled_kernel`. Its entries have statistical errors; rows that sum to one, reversibility and
  positivity are exact there, too, with respect to the law that comes with it.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from hierlib._weights import refuse_uneven
from hierlib.enumeration import all_data, data_per_class
from hierlib.experiments.chains import above_chance
from hierlib.grammar import Grammar, check_device, check_generator, whole
from hierlib.noise import EpsilonNoise, GaussianNoise, MaskNoise, Noise, UniformNoise, evidence_of

STRINGS = 4096  # a matrix of so many rows has 128 MiB
WORK = 2**35  # multiplications, half a minute of one core
TOLERANCE = 1e-8  # of integrals
LOOP = 128  # smaller matrices take no less time than those of so many rows
CHUNK = 2**22  # numbers at once


class Transitions(NamedTuple):
    """A chain between all strings of a grammar, in the order of `hierlib.enumeration.all_data`."""

    x: tuple[Tensor, ...]  #: the strings with their latent symbols, (N, s^(L-l)) a level, leaves first
    matrix: Tensor  #: (N, N) float64, probability of going from the string of the row to that of the column
    law: Tensor  #: (N,) float64, with respect to which it is reversible; 1/N for what is a channel


def kernel(g: Grammar, noise: Noise, t: float) -> Transitions:
    """The probabilities of all ends of a U-turn from each string, exact to rounding; Gaussian noise as said above.

    The ε-process is no channel. Its chain draws y with weight Π_i (belief in y_i), is reversible with respect to the
    sum of these weights, which is the `law` here, and positive, too.

    Args:
        g: a small grammar, of at most 4096 strings; fewer where more than 2^35 multiplications are needed.
        noise: `MaskNoise`, `UniformNoise`, `EpsilonNoise` or `GaussianNoise`.
        t: its level.

    Returns:
        `Transitions`, on the device of the grammar.

    Raises:
        ValueError: the grammar is too large, the noise is another or for another v, t is out of range, or Gaussian
            noise has too many nodes.

    >>> from hierlib import MaskNoise, random_grammar
    >>> g = random_grammar(v=3, m=2, s=2, L=1, generator=torch.Generator().manual_seed(0))
    >>> blind = kernel(g, MaskNoise(v=3), 1.0)  # all is erased, any string comes back
    >>> bool((blind.matrix - 1 / 6).abs().max() < 1e-15)
    True
    """
    x = _strings(g, noise)
    if type(noise) is GaussianNoise:
        return _reversible(x, _listed(g, x[0], _gaussian_leaf(g, noise, _number(t), len(x[0]))))
    if type(noise) not in (MaskNoise, UniformNoise, EpsilonNoise):
        raise ValueError(
            "noise: expected MaskNoise, UniformNoise, EpsilonNoise or GaussianNoise, whose channels can be summed "
            f"over, got {noise}: use sampled_kernel"
        )
    t = _number(t)
    if not 0 <= t <= 1:
        raise ValueError(f"t: expected in [0, 1], got {t:g}")
    if type(noise) is MaskNoise:
        _refuse_work("g", 2**g.d * max(len(x[0]), LOOP) ** 2)
        parts = (t**n * (1 - t) ** (g.d - n) * _erased(g, x[0], n) for n in range(g.d + 1))
        return _reversible(x, sum(parts, torch.zeros((), dtype=torch.float64, device=g.device)))
    blurred = torch.full((g.v, g.v), t / g.v, dtype=torch.float64, device=g.device)
    blurred += (1 - t) * torch.eye(g.v, dtype=torch.float64, device=g.device)
    if type(noise) is UniformNoise:
        return _reversible(x, _listed(g, x[0], blurred))
    same = (x[0][:, None] == x[0]).sum(2).double()
    return _reversible(x, (1 - t + t / g.v) ** same * (t / g.v) ** (g.d - same))


def erasure_kernel(g: Grammar, erased: int) -> Transitions:
    """The U-turn that erases exactly so many leaves, drawn at random, and redraws them from their exact posterior.

    With one it is the smallest of all, and never leaves the piece of `hierlib.experiments.fragments` it is in.

    Args:
        g: a small grammar, as for `kernel`.
        erased: number of leaves, 0 … s^L.

    Raises:
        ValueError: the grammar is too large, or the number is out of range.
    """
    x = _strings(g, None)
    if whole("erased", erased, 0) > g.d:
        raise ValueError(f"erased: expected at most the {g.d} leaves, got {erased}")
    _refuse_work("erased", math.comb(g.d, erased) * max(len(x[0]), LOOP) ** 2)
    return _reversible(x, _erased(g, x[0], erased))


def sampled_kernel(g: Grammar, noise: Noise, t: float, draws: int, *, generator: torch.Generator) -> Transitions:
    """`kernel` for any noise, one's own included, with z drawn: each string is corrupted the same number of times.

    J is the mean over draws of the posterior of z times itself, which is symmetric and positive at any number of draws.
    Dividing by its rows makes it a chain that is reversible with respect to them; they are 1/N but for errors of the
    size 1/√draws, and so are the entries.

    Args:
        g: a small grammar, of at most 4096 strings.
        noise: a noise process whose evidence is Bayes' rule for what it does.
        t: its level, above 0 where it says so.
        draws: of each string, at least 1.
        generator: source of randomness, on the grammar's device.

    Returns:
        `Transitions`.

    Raises:
        ValueError: the grammar is too large, draws or t are out of range, the noise is for another v, or it excludes
            the very string that it was given, so that it is no channel.
    """
    x, draws = _strings(g, noise), whole("draws", draws, 1)
    if isinstance(noise, EpsilonNoise):
        raise ValueError("noise: expected a channel, got the ε-process, which corrupts nothing: use kernel")
    check_generator(generator)
    check_device("generator", generator.device, g)
    n, t = len(x[0]), _number(t)
    _refuse_work("draws", draws * n**3)
    joint = torch.zeros(n, n, dtype=torch.float64, device=g.device)
    for start in torch.arange(n, device=g.device).repeat(draws).split(max(1, CHUNK // n)):
        evidence = evidence_of(noise, x[0][start], t, generator=generator).double()
        weight = torch.ones(len(start), n, dtype=torch.float64, device=g.device)
        for i in range(g.d):
            weight *= evidence[:, i, x[0][:, i]]
        likely = weight.sum(1, keepdim=True)
        own = weight.gather(1, start[:, None])
        if not ((own > 0) & likely.isfinite()).all():
            raise ValueError(
                f"noise: expected evidence that leaves the truth possible, got {noise} at t = {t:g}, which excludes a "
                "string that it was given, or numbers out of the range of float64"
            )
        joint += (weight / likely).T @ (weight / likely)
    return _reversible(x, joint)


class Spectrum(NamedTuple):
    """What a reversible chain multiplies by itself: f with K f = λ f."""

    values: Tensor  #: (N,) float64, λ from 1 down; of a U-turn none below 0
    functions: Tensor  #: (N, N) float64, a column each, orthonormal under the law of the chain


def spectrum(chain: Transitions) -> Spectrum:
    """All eigenvalues of a chain and their functions of the string.

    Args:
        chain: from `kernel`, `erasure_kernel` or `sampled_kernel`, or one's own.

    Returns:
        `Spectrum`. As many values are 1 as there are pieces that the chain never leaves; the next one is the slowest
        mode, which relaxes in -1/ln λ turns.

    Raises:
        ValueError: rows do not sum to one, or the chain is not reversible with respect to its law.

    >>> from hierlib import MaskNoise, random_grammar
    >>> g = random_grammar(v=2, m=1, s=2, L=1, generator=torch.Generator().manual_seed(0))
    >>> g.rules[0].tolist()  # two strings; the second leaf tells them apart, and forgets what it was with 0.3
    [[[0, 0]], [[0, 1]]]
    >>> spectrum(kernel(g, MaskNoise(v=2), 0.3)).values.round(decimals=6)
    tensor([1.0000, 0.7000], dtype=torch.float64)
    """
    _check(chain)
    root = chain.law.sqrt()
    symmetric = root[:, None] * chain.matrix / root
    values, vectors = torch.linalg.eigh((symmetric + symmetric.T) / 2)
    return Spectrum(values.flip(0), vectors.flip(1) / root[:, None])


def correlations(chain: Transitions, lags: int) -> Tensor:
    """The exact C_l(k) of `hierlib.experiments.chains.autocorrelation`, under the chain's own law.

    Args:
        chain: as for `spectrum`.
        lags: the largest k, 0 or more.

    Returns:
        (lags+1, L+1) float64, a column a level, leaves first.

    Raises:
        ValueError: as `spectrum` does, or lags is out of range.
    """
    lags = whole("lags", lags, 0)
    _check(chain)
    levels = []
    for symbols in chain.x:
        start = _one_hot(symbols)
        now, kept = start, []
        for k in range(lags + 1):
            now = (chain.matrix @ now.flatten(1)).reshape(start.shape) if k else now
            kept.append((chain.law[:, None] * (start * now).sum(2)).sum(0).mean())
        chance = (chain.law[:, None, None] * start).sum(0).square().sum(1).mean()
        levels.append(above_chance(torch.stack(kept), float(chance)))
    return torch.stack(levels, 1)


def best_of_one_symbol(chain: Transitions) -> tuple[Tensor, ...]:
    """The largest autocorrelation after one U-turn that any function of the symbol of one node has.

    Where `spectrum` has a larger λ, the slowest mode is no symbol.

    Args:
        chain: as for `spectrum`.

    Returns:
        One float64 tensor a level, (s^(L-l),), leaves first; 0 at a node that has one symbol only.

    Raises:
        ValueError: as `spectrum` does.
    """
    _check(chain)
    out = []
    for symbols in chain.x:
        start = _one_hot(symbols)
        flow = (chain.matrix @ start.flatten(1)).reshape(start.shape)
        joint = torch.einsum("n,nia,nib->iab", chain.law, start, flow)
        own = joint.sum(2)
        root = torch.where(own > 0, own, torch.inf).sqrt()
        symmetric = torch.nn.functional.pad(joint / (root[:, :, None] * root[:, None]), (0, 1, 0, 1))  # two at least
        out.append(torch.linalg.eigvalsh((symmetric + symmetric.mT) / 2)[:, -2].clamp_min(0))
    return tuple(out)


def explained(function: Tensor, labels: Tensor, law: Tensor) -> float:
    """The fraction of the variance of a function of strings that is told by their labels, as of their fragments.

    Args:
        function: (N,), as a column of `Spectrum`.
        labels: (N,) int64 from 0 on.
        law: (N,) probabilities of the strings.

    Raises:
        ValueError: the shapes differ, or the function does not vary.
    """
    if function.ndim != 1 or labels.shape != function.shape or law.shape != function.shape:
        raise ValueError(
            f"function, labels, law: expected one shape (N,), got {tuple(function.shape)}, {tuple(labels.shape)} and "
            f"{tuple(law.shape)}"
        )
    f = function.double() - (law * function).sum()
    total = (law * f.square()).sum()
    if not total > 1e-24:
        raise ValueError("function: expected one that varies, got a constant: the first of a spectrum is")
    mass, mean = (torch.zeros_like(f).index_add_(0, labels, y) for y in (law, law * f))
    return float((mean.square() / torch.where(mass > 0, mass, 1)).sum() / total)


def _strings(g: Grammar, noise: Noise | None) -> tuple[Tensor, ...]:
    refuse_uneven(g, "a matrix of transitions", "walk with hierlib.experiments.chains")
    total = g.num_classes * data_per_class(g.m, g.s, g.L)
    if total > STRINGS:
        raise ValueError(
            f"expected a grammar of at most {STRINGS} strings, got {total:.3e}: lower m, L or s, or use "
            "hierlib.experiments.chains"
        )
    if noise is not None and getattr(noise, "v", g.v) != g.v:
        raise ValueError(f"noise: expected one of the {g.v} symbols of the grammar, got {noise}")
    return all_data(g, limit=STRINGS)


def _number(t: float) -> float:
    try:
        return float(t)
    except (TypeError, ValueError):
        raise ValueError(f"t: expected one noise level, got {t!r}") from None


def _refuse_work(name: str, work: int) -> None:
    if work > WORK:
        raise ValueError(
            f"{name}: expected at most {WORK:.1e} multiplications, got {work:.1e}: lower it, or m, L, s or v of the "
            "grammar, or use hierlib.experiments.chains"
        )


def _reversible(x: tuple[Tensor, ...], joint: Tensor) -> Transitions:
    """The chain of which joint is proportional to law · matrix."""
    law = joint.sum(1)
    return Transitions(x, joint / law[:, None], law / law.sum())


def _erased(g: Grammar, leaves: Tensor, erased: int) -> Tensor:
    """N·J for all sets of so many erased leaves, summed; their mean is the chain of `erasure_kernel`."""
    n = len(leaves)
    joint = torch.zeros(n, n, dtype=torch.float64, device=g.device)
    for hidden in itertools.combinations(range(g.d), erased):
        seen = grouped(leaves[:, [i for i in range(g.d) if i not in hidden]], g.v)
        size = torch.bincount(seen).double()[seen]
        joint += (seen[:, None] == seen) / size[:, None]
    return joint


def grouped(symbols: Tensor, v: int) -> Tensor:
    """Numbers from 0 on of strings, (N, k), that are the same for the same ones: (N,) int64."""
    number, most = torch.zeros(len(symbols), dtype=torch.int64, device=symbols.device), 1
    for column in symbols.T:
        if most * v >= 2**62:
            number = number.unique(return_inverse=True)[1]
            most = len(symbols)
        number, most = number * v + column, most * v
    return number.unique(return_inverse=True)[1]


def _of_all_seen(leaves: Tensor, channel: Tensor) -> Tensor:
    """Π_i channel[z_i, x_i] of all z for strings, (N, k): (kinds^k, N)."""
    out = torch.ones(1, len(leaves), dtype=torch.float64, device=leaves.device)
    for column in leaves.T:
        out = (out[:, None] * channel[:, column]).flatten(0, 1)
    return out


def _listed(g: Grammar, leaves: Tensor, channel: Tensor) -> Tensor:
    """Σ_z Π q(z|x) Π q(z|y) / Σ_x Π q(z|x) over all z; channel[z, a] is the probability of z at a leaf that is a."""
    kinds, n = len(channel), len(leaves)
    _refuse_work("g", kinds**g.d * n * max(n, 16))
    joint = torch.zeros(n, n, dtype=torch.float64, device=g.device)
    left, right = (_of_all_seen(half, channel) for half in (leaves[:, : g.d // 2], leaves[:, g.d // 2 :]))
    for part in left.split(max(1, CHUNK // right.numel())):
        weight = (part[:, None] * right).flatten(0, 1)
        total = weight.sum(1, keepdim=True)
        scaled = weight / torch.where(total > 0, total, torch.inf).sqrt()
        joint += scaled.T @ scaled
    return joint


def _gaussian_leaf(g: Grammar, noise: GaussianNoise, t: float, n: int) -> Tensor:
    """The channel of one leaf on equally spaced nodes: (nodes, v), each column a probability up to TOLERANCE.

    What is added to all components of x_t tells nothing of the leaf; v-1 dimensions are left. Sums over equal steps err
    by e^-2πb/h times what is summed at any distance b from the real axis up to which it is smooth, e^(b²/2σ²) here.
    Beliefs have Σ_a c_a e^(u·μ_a/σ²) in their denominators, c_a ≥ 0, which is not 0 where its phases differ by less
    than π: b < πσ²/√(2ᾱ).
    """
    alpha = float(noise.alpha_bar(t))
    if alpha == 1:
        raise ValueError("t: expected ᾱ_t < 1, got ᾱ_t = 1 (no noise), at which no string changes")
    variance, digits = 1 - alpha, -math.log(TOLERANCE)
    smooth = min(math.pi * variance / (2 * alpha) ** 0.5, (2 * digits * variance) ** 0.5)
    step = 2 * math.pi * smooth / (digits + smooth**2 / (2 * variance))
    far = alpha**0.5 + (2 * digits * variance) ** 0.5
    nodes, dimension = 2 * math.ceil(far / step) + 1, g.d * (g.v - 1)
    if dimension * math.log(nodes) + math.log(n * max(n, 16)) > math.log(WORK):
        raise ValueError(
            f"noise: expected a grammar and a time for which all nodes can be summed over, got {nodes}^{dimension} of "
            f"them (Gaussian noise shows d(v-1) numbers) at t = {t:g}: use sampled_kernel, or more noise"
        )
    axis = torch.linspace(-far, far, nodes, dtype=torch.float64, device="cpu")
    u = torch.cartesian_prod(*[axis] * (g.v - 1)).reshape(-1, g.v - 1)
    distance = (u[:, None] - alpha**0.5 * _simplex(g.v)).square().sum(2) / variance
    volume = (float(axis[1] - axis[0]) / (2 * math.pi * variance) ** 0.5) ** (g.v - 1)
    return (volume * (-distance / 2).exp()).to(g.device)


def _simplex(v: int) -> Tensor:
    """The one-hot vectors seen in v-1 orthonormal directions across (1, …, 1): (v, v-1) float64."""
    first = torch.ones(v, 1, dtype=torch.float64, device="cpu")
    corner = torch.cat([first, torch.eye(v, v - 1, dtype=torch.float64, device="cpu")], 1)
    return torch.linalg.qr(corner)[0][:, 1:]


def _one_hot(symbols: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(symbols).double()


def _check(chain: Transitions) -> None:
    n, matrix, law = len(chain.law), chain.matrix, chain.law
    if matrix.shape != (n, n) or any(len(level) != n for level in chain.x):
        raise ValueError(f"chain: expected a matrix ({n}, {n}) and {n} strings, as many as its law has, got others")
    if not ((matrix >= -1e-12).all() and (law > 0).all() and abs(float(law.sum()) - 1) < 1e-9):
        raise ValueError("chain: expected probabilities, and a law above 0 that sums to one, got others")
    if not (matrix.sum(1) - 1).abs().max() < 1e-9:
        raise ValueError("chain: expected rows that sum to one, got others")
    flow = law[:, None] * matrix
    if not (flow - flow.T).abs().max() * n < 1e-9:
        raise ValueError("chain: expected one that is reversible with respect to its law, got one with a current")
