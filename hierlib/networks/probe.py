"""Probes of a network: how alike two inputs look to each layer (figures 2, 8, 16), and what can be read from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from hierlib._finite import all_finite, finite

Activations = Mapping[str, Tensor]
Squares = Mapping[str, Tensor]
ADVICE = "look at the network's weights and inputs, or run it in float32"


class Moments(NamedTuple):
    """Mean and second moment of each channel of one layer, float64, (channels,) or () for a vector layer."""

    mean: Tensor
    second: Tensor

    def scale(self, raw_second_moment: bool) -> Tensor:
        """What activations are divided by: the standard deviation, or the root of the second moment."""
        variance = self.second if raw_second_moment else self.second - self.mean**2
        return variance.clamp_min(0).sqrt()


class Similarity(NamedTuple):
    """Cosine similarity of each pair in each layer; the keys are the layers in order."""

    cosine: dict[str, Tensor]  #: layer → (n,) float64

    def mean(self) -> Tensor:
        """(layers,) mean over the pairs."""
        return torch.stack([c.mean() for c in self.cosine.values()])

    def standard_error(self) -> Tensor:
        """(layers,) standard error of the mean."""
        return torch.stack([c.std() / len(c) ** 0.5 for c in self.cosine.values()])


def moments(activations: Callable[[Tensor], Activations], batches: Iterable[Tensor]) -> dict[str, Moments]:
    """Streaming statistics of every layer over a set of inputs.

    Args:
        activations: from a batch of inputs to one tensor a layer: (n, channels, …) for maps, whose statistics are
            taken per channel over inputs and positions, or (n, units) for vectors (logits), which get one number.
        batches: the inputs.

    Returns:
        Layer → `Moments`, accumulated in float64.

    Raises:
        ValueError: there are no inputs, or a layer is not finite; it is named.
    """
    sums: dict[str, list] = {}
    for batch in batches:
        for name, a in activations(batch).items():
            a = a.detach().double()
            axes = [i for i in range(a.ndim) if i != 1] if a.ndim > 2 else [0, 1]
            total = sums.setdefault(name, [0, 0, 0])
            total[0] += a.numel() // (a.shape[1] if a.ndim > 2 else 1)
            total[1] = total[1] + a.sum(axes)
            total[2] = total[2] + (a * a).sum(axes)
    if not sums:
        raise ValueError("batches: expected at least one batch of inputs, got none")
    found = {name: Moments(total / n, square / n) for name, (n, total, square) in sums.items()}
    all_finite({f"layer {name}": each.second for name, each in found.items()}, ADVICE)  # nan and infinity stay in sums
    return found


class Comparison:
    """How alike two inputs are to each layer: the cosine of their activations, standardised over a set of inputs.

    Standardised activations are never written down. With w = 1/scale² of each channel, which is 0 where the channel
    never varies, the cosine is <a, b> / √(<a, a> <b, b>), where <a, b> = Σ_c w_c Σ_p (a_cp - mean_c) (b_cp - mean_c).

    Args:
        statistics: from `moments`, over a set of inputs that stands for the data.
        raw_second_moment: divide by √E[a²] as the authors' code does, instead of by the standard deviation.
    """

    def __init__(self, statistics: Mapping[str, Moments], *, raw_second_moment: bool = False):
        self._mean = {name: moment.mean.reshape(-1) for name, moment in statistics.items()}
        self._weight = {name: _weight(moment, raw_second_moment) for name, moment in statistics.items()}

    def squares(self, a: Activations) -> Squares:
        """<a, a> of each input, layer → (n,) float64: what `similarity` need not compute again of the same inputs.

        Raises:
            ValueError: a layer has no statistics.
        """
        self._check(a, a)
        return {name: self._product(name, x, x) for name, x in a.items()}

    def similarity(
        self, a: Activations, b: Activations, squares_a: Squares | None = None, squares_b: Squares | None = None
    ) -> Similarity:
        """Cosine similarity of pairs of inputs, layer by layer; a pair of which one vanishes has cosine 0.

        Args:
            a, b: activations of the two inputs of each pair, layer → (n, …).
            squares_a, squares_b: `squares` of a and of b, if they are known.

        Raises:
            ValueError: the layers or shapes differ, or activations are not finite; the layer is named.
        """
        self._check(a, b)
        squares_a, squares_b = squares_a or self.squares(a), squares_b or self.squares(b)
        cosine = {}
        for name in a:
            norm = (squares_a[name] * squares_b[name]).sqrt()
            cosine[name] = self._product(name, a[name], b[name]) / torch.where(norm > 0, norm, 1)
        all_finite({f"layer {name}": c for name, c in cosine.items()}, ADVICE)
        return Similarity(cosine)

    def of_neighbours(self, a: Activations) -> Similarity:
        """Of inputs that stand in a row, each with the one before it; as `similarity`, but of one pair less."""
        squares = self.squares(a)
        x, xx = ({name: z[1:] for name, z in each.items()} for each in (a, squares))
        y, yy = ({name: z[:-1] for name, z in each.items()} for each in (a, squares))
        return self.similarity(x, y, xx, yy)

    def _check(self, a: Activations, b: Activations) -> None:
        if list(a) != list(b) or not set(a) <= set(self._mean):
            raise ValueError(f"expected the same layers, got {list(a)}, {list(b)} and statistics of {list(self._mean)}")
        for name in a:
            if a[name].shape != b[name].shape:
                shapes = f"{tuple(a[name].shape)}, {tuple(b[name].shape)}"
                raise ValueError(f"layer {name}: expected equal shapes, got {shapes}")

    def _product(self, name: str, a: Tensor, b: Tensor) -> Tensor:
        """<a, b> of each pair, (n,) float64."""
        mean, weight = self._mean[name], self._weight[name]
        x, y = ((z.flatten(2) if z.ndim > 2 else z[:, None]).detach() for z in (a, b))  # (n, channels, places)
        if a.device.type == "cpu" and a.dtype == b.dtype and a.dtype in (torch.float32, torch.float64):
            from hierlib._kernels.compiled.products import centred_products  # numba takes its time to import

            sums = mean.new_empty(x.shape[:2])
            centred_products(x.contiguous().numpy(), y.contiguous().numpy(), mean.numpy(), sums.numpy())
        else:
            sums = torch.linalg.vecdot(*(z.double() - mean[:, None] for z in (x, y)))
        return sums @ weight


def similarity(
    a: Activations, b: Activations, statistics: Mapping[str, Moments], *, raw_second_moment: bool = False
) -> Similarity:
    """Cosine similarity of the standardised activations of pairs of inputs, layer by layer: `Comparison`, used once.

    Args:
        a, b: activations of the two inputs of each pair, layer → (n, …).
        statistics, raw_second_moment: as for `Comparison`.

    Raises:
        ValueError: the layers or shapes differ, or activations are not finite; the layer is named.
    """
    return Comparison(statistics, raw_second_moment=raw_second_moment).similarity(a, b)


def _weight(moment: Moments, raw_second_moment: bool) -> Tensor:
    """(channels,) what products of centred activations are multiplied by."""
    scale = moment.scale(raw_second_moment)
    constant = scale <= 1e-7 * moment.second.sqrt()
    return torch.where(constant, 0, 1 / scale**2).reshape(-1)


class LinearProbe(NamedTuple):
    """A linear map from activations to scores of the symbols at some places; called, it names the symbols."""

    weight: Tensor  #: (units, places * symbols)
    bias: Tensor  #: (places * symbols,)
    symbols: int

    def __call__(self, x: Tensor) -> Tensor:
        """(n, places) int64, the symbols named from activations (n, units)."""
        return (x @ self.weight + self.bias).reshape(len(x), -1, self.symbols).argmax(-1)


def fit_linear(x: Tensor, y: Tensor, symbols: int, *, ridge: float = 1e-3) -> LinearProbe:
    """Ridge regression of one-hot symbols on activations: can they be read off linearly?

    Args:
        x: (n, units) activations, floating point.
        y: (n, places) int64 symbols.
        symbols: size of the alphabet.
        ridge: penalty, in units of the mean variance of an activation.

    Returns:
        A `LinearProbe`.

    Raises:
        ValueError: shapes or symbols do not fit, or activations are not finite.

    >>> x = torch.eye(3).repeat(5, 1)
    >>> fit_linear(x, x.argmax(1, keepdim=True), 3)(torch.eye(3)).flatten().tolist()
    [0, 1, 2]
    """
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x):
        raise ValueError(f"expected (n, units) and (n, places), got {tuple(x.shape)} and {tuple(y.shape)}")
    if y.min() < 0 or y.max() >= symbols:
        raise ValueError(f"y: expected symbols in 0…{symbols - 1}, got {int(y.min())}…{int(y.max())}")
    finite(x, "x", ADVICE)
    target = torch.nn.functional.one_hot(y, symbols).to(x.dtype).flatten(1)
    centre, rate = x.mean(0), target.mean(0)
    x, target = x - centre, target - rate
    penalty = ridge * len(x) * x.square().mean().clamp_min(torch.finfo(x.dtype).tiny ** 0.5)  # of dead units, too
    if x.shape[1] <= len(x):
        gram = x.T @ x
        gram.diagonal().add_(penalty)
        weight = torch.cholesky_solve(x.T @ target, torch.linalg.cholesky(gram))
    else:  # the same solution by a smaller system
        gram = x @ x.T
        gram.diagonal().add_(penalty)
        weight = x.T @ torch.cholesky_solve(target, torch.linalg.cholesky(gram))
    return LinearProbe(weight, rate - centre @ weight, symbols)
