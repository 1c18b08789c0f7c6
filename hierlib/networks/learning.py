"""What denoisers have learnt from P data: the runs and measurements behind the chapter on learning by denoising."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from hierlib._locks import locked
from hierlib._provenance import plain, same_inputs
from hierlib._seeds import derived
from hierlib._storage import write_dataset
from hierlib.enumeration import data_per_class
from hierlib.grammar import Grammar
from hierlib.networks.denoiser import DenoiserTraining, TrainedDenoiser, train_denoiser
from hierlib.networks.fit import Report
from hierlib.networks.generation import (
    Denoiser,
    Process,
    exact_denoiser,
    found_in,
    gap_to_exact,
    generate,
    process,
    read_class,
    turn,
    validity,
)

# Noise levels, in the process's own time: where marginals are compared, and how long the U-turns are.
GAPS = dict(
    mask=(0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0),
    gaussian=(30, 60, 90, 120, 160, 210, 280, 400),
)
TURNS = dict(
    mask=(0.1, 0.2, 0.3, 0.4, 0.5, 0.58, 0.66, 0.74, 0.82, 0.9, 0.96, 1.0),
    gaussian=(40, 60, 80, 100, 120, 140, 160, 190, 220, 260, 320, 400),
)
BLOCKS = 10  # the data of the U-turns, in blocks for the bootstrap
CHECKPOINTS = ("best", "last")


class Sizes(NamedTuple):
    """How many strings each measurement takes."""

    generated: int = 1000
    gap: int = 500  #: at each noise
    turned: int = 500  #: at each noise; a multiple of BLOCKS


BOOK = Sizes()  # those of the committed results


def measure(done: TrainedDenoiser, sizes: Sizes = BOOK) -> xr.Dataset:
    """All that the chapter shows of one trained denoiser, the network at its best and at its last checkpoint.

    Args:
        done: from `train_denoiser`.
        sizes: see `Sizes`.

    Returns:
        A dataset without a run dimension; its variables' attributes say what they are.
    """
    training = done.training
    g, how, data = training.grammar(), process(training.process, training.v), training.data()
    control = _control(replace(training, num_data=1), sizes)
    rows = [_of_network(net.marginals, g, how, data, training, sizes) for net in (done.best, done.last)]
    start = training.test_data(sizes.turned)
    out: dict[str, tuple[tuple[str, ...], ArrayLike, dict[str, str]]]
    out = {name: (("checkpoint", *dims), torch.stack([row[name][1] for row in rows]).numpy(), about)
           for name, (dims, _, about) in rows[0].items()}  # fmt: skip
    kept = _kept(done.best.marginals, g, how, start, training.seed)
    distinct = len(data.unique(dim=0))
    out |= {
        "kept": (("turn", "block"), kept.numpy(), {"about": "class kept after a U-turn of the best network"}),
        "kept_exact": (("turn", "block"), control["kept"].numpy(), {"about": "the same for the exact denoiser"}),
        "legal_exact": (("level",), control["legal"].numpy(), {"about": "legal, for the exact denoiser"}),
        "copied_exact": ((), found_in(control["drawn"], data).double().mean().item(), {"about": "copied, exact"}),
        "copied_chance": ((), distinct / (g.num_classes * data_per_class(g.m, g.s, g.L)),
                          {"about": "different training strings / legal strings"}),
        "gap_t": (("noise",), _shown(how, GAPS[how.name]), {"about": "noise of kl"}),
        "turn_t": (("turn",), _shown(how, TURNS[how.name]), {"about": "noise of kept"}),
        "step": (("check",), _history(done, "step"), {"about": "training steps done; nan after the end"}),
        "train_loss": (("check",), _history(done, "loss"), {"about": "nats a leaf"}),
        "valid_loss": (("check",), _history(done, "validation"), {"about": "nats a leaf"}),
        "exact_loss": ((), done.exact, {"about": "of the exact denoiser on the validation data"}),
    }  # fmt: skip
    coordinates = dict(checkpoint=list(CHECKPOINTS), level=list(range(1, g.L + 1)))
    return xr.Dataset(out, coords=coordinates)


def _shown(how: Process, t: Sequence[float]) -> np.ndarray:
    """Noise levels as the book's figures show them."""
    return how.scale(torch.tensor(t, dtype=torch.float32, device="cpu")).double().numpy()


def _history(done: TrainedDenoiser, what: str) -> list[float]:
    found = [float(entry[what]) for entry in done.history]
    return found + [float("nan")] * (done.training.checks - len(found))


def _of_network(
    denoise: Denoiser, g: Grammar, how: Process, data: Tensor, training: DenoiserTraining, sizes: Sizes
) -> dict:
    rng = torch.Generator().manual_seed(derived(40_000 + training.seed))
    drawn = generate(denoise, how, sizes.generated, g.d, generator=rng)
    parsed = validity(g, drawn)
    test = training.test_data(sizes.gap)[0]
    gaps = [gap_to_exact(g, denoise, how, test, t, generator=rng) for t in GAPS[how.name]]
    kl = torch.stack([gap.kl for gap in gaps])
    excess = torch.stack([gap.loss - gap.exact_loss for gap in gaps])
    return {
        "nodes": (("level",), parsed.nodes.mean(0), {"about": "fraction of nodes that are legal"}),
        "legal": (("level",), parsed.strings.double().mean(0), {"about": "fraction of strings legal up to a level"}),
        "rule": (("level",), parsed.rule(), {"about": "fraction legal of the tuples made of legal parts"}),
        "asked": (("level",), parsed.asked.sum(0), {"about": "number of these tuples"}),
        "copied": ((), found_in(drawn, data).double().mean(), {"about": "generated strings in the training set"}),
        "kl": (("noise",), kl.mean(1), {"about": "KL of exact from learnt marginals, nats a leaf"}),
        "kl_se": (("noise",), kl.std(1) / sizes.gap**0.5, {"about": "standard error of kl over data"}),
        "excess": (("noise",), excess.mean(1), {"about": "loss minus that of the exact denoiser, nats a leaf"}),
        "excess_se": (("noise",), excess.std(1) / sizes.gap**0.5, {"about": "standard error of excess over data"}),
    }


def _kept(denoise: Denoiser, g: Grammar, how: Process, start: tuple[Tensor, ...], seed: int) -> Tensor:
    """Fraction that keeps its class, (turns, blocks)."""
    rng = torch.Generator().manual_seed(derived(50_000 + seed))
    ends = turn(denoise, how, start[0], TURNS[how.name], generator=rng)
    found = torch.stack([read_class(g, end) for end in ends])
    return (found == start[-1][:, 0]).double().unflatten(1, (BLOCKS, -1)).mean(-1)


@lru_cache(maxsize=8)
def _control(training: DenoiserTraining, sizes: Sizes) -> dict[str, Tensor]:
    """The exact denoiser through the same samplers; the same for every size of the training set."""
    g, how = training.grammar(), process(training.process, training.v)
    denoise = exact_denoiser(g)
    rng = torch.Generator().manual_seed(derived(40_000 + training.seed))
    drawn = generate(denoise, how, sizes.generated, g.d, generator=rng)
    kept = _kept(denoise, g, how, training.test_data(sizes.turned), training.seed)
    return dict(drawn=drawn, kept=kept, legal=validity(g, drawn).strings.double().mean(0))


def study(
    path: Path,
    trainings: Iterable[DenoiserTraining],
    *,
    facts: dict[str, Any] | None = None,
    keep: Callable[[DenoiserTraining], Path | None] | None = None,
    sizes: Sizes = BOOK,
    minutes: float = math.inf,
    every: float = 120.0,
    report: Callable[[DenoiserTraining], Report | None] | None = None,
) -> list[DenoiserTraining] | None:
    """Train and measure what is not yet in a netCDF file, and write the file anew after each network.

    Args:
        path: the file; runs that it has, with the same parameters, are skipped. A training that is killed goes on from
            a checkpoint beside it.
        trainings: what to train; all but process, num_data and seed are the same.
        facts: what made it, kept as attributes: command, versions, commit.
        keep: gives for a training where to save its weights, or None for nowhere; where they are missing, a training
            whose measurements are there is made again for them.
        sizes: see `Sizes`.
        minutes, every: as for `hierlib.networks.fit.optimise`, for each training.
        report: gives for a training what `train_denoiser` reports to.

    Returns:
        Those that were trained now; None if the minutes ran out in one. The file has a dimension `run` with
        coordinates process, num_data and seed.

    Raises:
        ValueError: the file is of another study, weights are there of another training, or the trainings are not of
            one study.
    """
    trained = []
    for training in trainings:
        found, fixed = _opened(path), _fixed(training, sizes)
        if found is not None:
            same_inputs(path, json.loads(found.attrs["parameters"]), fixed)
        key = (training.process, training.num_data, training.seed)
        where = None if keep is None else keep(training)
        kept = where is None or _kept_already(where, training)
        measured = found is not None and key in runs(found)
        if measured and kept:
            continue
        words = f"{path.stem}-{training.process}-{training.num_data}-{training.seed}.part"
        checkpoint = path.with_name(words)
        done = train_denoiser(
            training,
            checkpoint=checkpoint,
            minutes=minutes,
            every=every,
            report=None if report is None else report(training),
        )
        if done is None:
            return None
        if not kept and where is not None:
            done.save(where)
        if not measured:
            row = measure(done, sizes).expand_dims("run")
            row = row.assign_coords({name: ("run", [x]) for name, x in zip(("process", "num_data", "seed"), key)})
            _append(path, row, {"parameters": fixed, **(facts or {})})
        checkpoint.unlink(missing_ok=True)
        trained.append(training)
    return trained


def _kept_already(path: Path, training: DenoiserTraining) -> bool:
    """Whether the weights of this training are there.

    Raises:
        ValueError: those of another one are.
    """
    if not path.exists():
        return False
    same_inputs(path, plain(asdict(TrainedDenoiser.load(path)[0])), asdict(training))
    return True


def runs(found: xr.Dataset) -> list[tuple[str, int, int]]:
    """(process, num_data, seed) of each run of a study."""
    columns = (found[name].values.tolist() for name in ("process", "num_data", "seed"))
    return list(zip(*columns, strict=True))


def _append(path: Path, row: xr.Dataset, facts: dict) -> None:
    """Add a run to the file, which another command may be adding to as well; the file names all of them."""
    with locked(path.with_name(path.name + ".lock.part"), waiting=lambda _: None):  # the other one needs no second
        found = _opened(path)
        if found is not None and runs(row)[0] in runs(found):
            return  # the other command was faster
        if found is not None and "command" in facts:
            before = json.loads(found.attrs.get("command", '""'))
            commands = dict.fromkeys([*filter(None, before.split(" && ")), facts["command"]])
            facts = facts | {"command": " && ".join(commands)}
        found = row if found is None else xr.concat([found, row], "run", combine_attrs="drop")
        found = found.sortby(["process", "seed", "num_data"])
        found.attrs = {k: json.dumps(v) for k, v in facts.items()}
        write_dataset(path, found)


def _opened(path: Path) -> xr.Dataset | None:
    if not path.exists():
        return None
    with xr.open_dataset(path, engine="netcdf4") as file:
        return file.load().drop_encoding()  # which would cut later names to the length of the first


def _fixed(training: DenoiserTraining, sizes: Sizes) -> dict:
    own = ("process", "num_data", "seed")
    return {f.name: asdict(training)[f.name] for f in fields(training) if f.name not in own} | sizes._asdict()


def training_of(found: xr.Dataset, process: str, num_data: int, seed: int) -> DenoiserTraining:
    """The training behind one run of a study, from which grammar, training set and weights can be made again."""
    known = json.loads(found.attrs["parameters"])
    own = {f.name: known[f.name] for f in fields(DenoiserTraining) if f.name in known}
    return DenoiserTraining(**own, process=process, num_data=num_data, seed=seed)


def whole_seeds(found: xr.Dataset) -> xr.Dataset:
    """The study as a table process × num_data × seed, without the seeds of which a run is missing."""
    table = found.set_index(run=["process", "num_data", "seed"]).unstack("run")
    return table.dropna("seed", how="any", subset=["copied_chance"])


def strings_needed(num_data: ArrayLike, curve: ArrayLike, chance: float) -> float:
    """P at which a curve over the number of training data is for good half-way from chance to 1, linear in ln P.

    inf where it ends below, nan where it begins above.

    Raises:
        ValueError: the curve is not finite somewhere, as where no tuple had legal parts that could be judged.
    """
    x, y, half = np.log(np.asarray(num_data, float)), np.asarray(curve, float), (1 + chance) / 2
    if not np.isfinite(y).all():
        at = np.asarray(num_data)[~np.isfinite(y)][0]
        raise ValueError(
            f"curve: expected finite fractions, got {y[~np.isfinite(y)][0]} at {at} data; draw more strings"
        )
    if y[-1] <= half or y[0] > half:
        return np.inf if y[-1] <= half else np.nan
    i = int(np.flatnonzero(y <= half)[-1])
    return float(np.exp(np.interp(half, y[i : i + 2], x[i : i + 2])))


def learnt_in_order(table: xr.Dataset, chance: float) -> bool:
    """Whether, for every noise process, each level needs more training data than the one below it.

    The top level may need more than there are, no other.

    Args:
        table: from `whole_seeds`; the mean over its seeds is looked at, at the lowest validation loss.
        chance: f, the fraction of tuples that the grammar allows.

    Raises:
        ValueError: a curve is not finite somewhere, so that nothing can be decided.
    """
    rule = table.rule.sel(checkpoint="best").mean("seed").transpose("process", "level", "num_data").values
    needed = np.array([[strings_needed(table.num_data, curve, chance) for curve in of] for of in rule])
    return bool(np.isfinite(needed[:, :-1]).all() and (np.diff(needed, axis=1) > 0).all())
