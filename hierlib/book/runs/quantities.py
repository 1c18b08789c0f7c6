"""What a sweep can measure by one library call a point, without a notebook.

A quantity is a function of keyword arguments that returns an xarray.Dataset, and, before it, a string of the same
name in capitals that declares its parameters as a chapter's `parameters` cell does. Its randomness comes from
`seed` alone, so a point is the same wherever and whenever it is run. A checkout may add its own in
book/quantities.py. Dimensions are called by what they count (level, criterion), never like a parameter.
"""

import numpy as np
import torch
import xarray as xr

from hierlib._devices import chosen
from hierlib.experiments import curves
from hierlib.experiments.messages import message_curves as _message_curves
from hierlib.experiments.uturns import class_curves
from hierlib.experiments.uturns import level_curves as _level_curves
from hierlib.noise import EpsilonNoise, GaussianNoise, MaskNoise, UniformNoise
from hierlib.theory import meanfield

PHASE_DIAGRAM = """\
v: int = 32  # alphabet size; 2 <= v <= 64
m: int = 8  # rules per symbol; 1 <= m <= v**(s-1)
s: int = 2  # children per node; 2 <= s <= 4; v**s <= 2**17
L: int = 8  # levels of the tree; 1 <= L; s**L <= 2**12
draws: int = 12  # grammars; 1 <= draws <= 10**4
data: int = 2  # data from each grammar; 1 <= data <= 10**4
reach: float = 0.08  # how far around the mean field's value the noise is scanned; 0 < reach <= 0.5
seed: int = 0  # of every random number; 0 <= seed < 2**32
device: str = "auto"  # where the tensors are; device in ("auto", "cpu", "cuda")
"""


def phase_diagram(
    *, v: int, m: int, s: int, L: int, draws: int, data: int, reach: float, seed: int, device: str
) -> xr.Dataset:
    """The noise at which the class is lost, by exact inference and by the mean field (figure 11).

    Two criteria: the paper's, that the class is believed as much as a leaf before inference, and half height.

    Returns:
        threshold, low, high: of exact inference with a 95 % interval over grammars (nan for one grammar), nan where the
        curve does not cross within reach; mean_field: its value for the same size, 0 or 1 where the class is never or
        always kept.
    """
    fine = np.linspace(0.001, 0.999, 999)
    half = (1 + 1 / v) / 2
    expected = [float(meanfield.critical_noise(v, m, s)), _last(fine, meanfield.solve(fine, v, m, s, L).p[:, -1], half)]
    steps = np.linspace(-reach, reach, 9)
    eps = np.unique(np.clip([x + steps for x in expected], 0.003, 0.997).round(5))
    rng = _generator(seed, device)
    found = class_curves(EpsilonNoise(v), eps.tolist(), v=v, m=m, s=s, L=L, draws=draws, data=data, generator=rng)
    out = []
    for line in (meanfield.leaf_belief(eps, v), np.full_like(eps, half)):

        def crossing(y: np.ndarray, line: np.ndarray = line) -> float:
            return curves.crossing(eps, y, line)

        out.append((crossing(found.mean(0).numpy()), *map(float, curves.bootstrap(crossing, found.numpy(), num=400))))
    threshold, low, high = np.array(out).T
    low[np.isnan(threshold)] = high[np.isnan(threshold)] = (
        np.nan
    )  # some resampled curves may cross, their mean does not
    columns = {"threshold": threshold, "low": low, "high": high, "mean_field": expected}
    return xr.Dataset({k: ("criterion", y) for k, y in columns.items()}, {"criterion": ["paper", "half height"]})


LEVEL_CURVES = """\
v: int = 32  # alphabet size; 2 <= v <= 64
m: int = 8  # rules per symbol; 1 <= m <= v**(s-1)
s: int = 2  # children per node; 2 <= s <= 4; v**s <= 2**17
L: int = 8  # levels of the tree; 1 <= L; s**L <= 2**12
noise: str = "gaussian"  # kind of noise; noise in ("gaussian", "mask", "uniform", "epsilon")
t: float = 0.07  # length of the U-turn, in the noise's own time; t > 0; t <= 1 or noise in ("gaussian",)
draws: int = 12  # grammars; 1 <= draws <= 10**4
data: int = 2  # data from each grammar; 1 <= data <= 10**4
seed: int = 0  # of every random number; 0 <= seed < 2**32
device: str = "auto"  # where the tensors are; device in ("auto", "cpu", "cuda")
"""


def level_curves(
    *, v: int, m: int, s: int, L: int, noise: str, t: float, draws: int, data: int, seed: int, device: str
) -> xr.Dataset:
    """The probability that each level survives a U-turn of length t, by exact inference (figure 5).

    Returns:
        truth, its standard error over grammars (nan for one grammar) and chance, each of the levels 0 = leaves … L.
    """
    kinds: dict[str, type[EpsilonNoise | GaussianNoise | MaskNoise | UniformNoise]]
    kinds = {"epsilon": EpsilonNoise, "gaussian": GaussianNoise, "mask": MaskNoise, "uniform": UniformNoise}
    rng = _generator(seed, device)
    found = _level_curves(kinds[noise](v=v), [t], v=v, m=m, s=s, L=L, draws=draws, data=data, generator=rng)
    truth = found.truth[:, 0].numpy()
    error = truth.std(0, ddof=1) / draws**0.5 if draws > 1 else np.full(L + 1, np.nan)
    columns = {"truth": truth.mean(0), "standard_error": error, "chance": found.chance.mean(0).numpy()}
    return xr.Dataset({k: ("level", y) for k, y in columns.items()}, {"level": np.arange(L + 1)})


MESSAGE_CURVES = """\
v: int = 32  # alphabet size; 2 <= v <= 64
m: int = 8  # rules per symbol; 1 <= m <= v**(s-1)
s: int = 2  # children per node; 2 <= s <= 4; v**s <= 2**17
L: int = 8  # levels of the tree; 1 <= L; s**L <= 2**12
eps: float = 0.5  # noise of the leaves; 0 <= eps <= 1
draws: int = 12  # grammars; 1 <= draws <= 10**4
data: int = 2  # data from each grammar; 1 <= data <= 10**4
seed: int = 0  # of every random number; 0 <= seed < 2**32
device: str = "auto"  # where the tensors are; device in ("auto", "cpu", "cuda")
"""


def message_curves(
    *, v: int, m: int, s: int, L: int, eps: float, draws: int, data: int, seed: int, device: str
) -> xr.Dataset:
    """Upward, downward and posterior belief in the truth at each level, by exact inference (figures 12-14).

    Returns:
        up, down, marginal: means over nodes, data and grammars; mean_field_up, …: what the mean field says.
    """
    rng = _generator(seed, device)
    found = _message_curves([eps], v=v, m=m, s=s, L=L, draws=draws, data=data, generator=rng)
    kinds = ("up", "down", "marginal")
    columns = {k: getattr(found, k)[:, 0].mean(0).numpy() for k in kinds}
    columns |= {f"mean_field_{k}": y for k, y in zip(kinds, meanfield.solve(eps, v, m, s, L), strict=True)}
    return xr.Dataset({k: ("level", y) for k, y in columns.items()}, {"level": np.arange(L + 1)})


EMPTY = """\
point: int = 0  # a label; point >= 0
"""


def empty(*, point: int) -> xr.Dataset:
    """Nothing: a sweep of it times what a sweep itself costs."""
    return xr.Dataset({"label": point})


def _last(t: np.ndarray, curve: np.ndarray, height: float) -> float:
    """Where a falling curve goes below a height, 0 or 1 where it always or never is."""
    if not (curve > height).any():
        return 0.0
    found = curves.crossing(t, curve, np.full_like(t, height))
    return 1.0 if np.isnan(found) else found


def _generator(seed: int, device: str) -> torch.Generator:
    return torch.Generator(chosen(device)).manual_seed(seed)
