"""What each layer of a network makes of a U-turn, and whether layers behave as the levels of the tree (figure 8)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import xarray as xr
from torch import Tensor

from hierlib._seeds import checked, derived
from hierlib.grammar import Grammar
from hierlib.inference import epsilon_overlap, posterior_sample
from hierlib.networks.classifier import Classifier, TreeCNN
from hierlib.networks.probe import fit_linear, moments, similarity
from hierlib.noise import epsilon_evidence
from hierlib.sampling import sample


class Uturns(NamedTuple):
    """Data of a grammar, and what exact posterior sampling makes of them at each noise."""

    g: Grammar
    eps: Tensor  #: (T,) float64
    start: tuple[Tensor, ...]  #: one tensor a level, (n, s^(L-l))
    end: list[tuple[Tensor, ...]]  #: the same for each noise
    kept: Tensor  #: (T, L+1) fraction of symbols kept, level 0 = leaves … L = class
    overlap: Tensor  #: (T, L+1) exact posterior probability of the starting symbols


@torch.no_grad()
def uturns(g: Grammar, eps: Sequence[float] | Tensor, *, n: int, generator: torch.Generator) -> Uturns:
    """Corrupt fresh data at noise ε and draw from the exact posterior (section 5).

    Args:
        g: the grammar.
        eps: (T,) noise levels of the ε-process, in [0, 1].
        n: number of data, at least 2; all noise levels use the same.
        generator: source of randomness.

    Raises:
        ValueError: an argument is out of range.
    """
    if n < 2:
        raise ValueError(f"n: expected at least 2 data, got {n}")
    eps, x = torch.as_tensor(eps, dtype=torch.float64, device="cpu"), sample(g, n, generator=generator)
    end, kept, overlap = [], [], []
    for noise in eps.tolist():
        evidence = epsilon_evidence(x[0], eps=noise, v=g.v)
        y = tuple(level[:, 0] for level in posterior_sample(g, evidence, generator=generator))
        end.append(y)
        kept.append(torch.stack([(a == b).double().mean() for a, b in zip(x, y, strict=True)]))
        overlap.append(epsilon_overlap(g, x, eps=noise).double())
    return Uturns(g, eps, x, end, torch.stack(kept), torch.stack(overlap))


class LayerUturns(NamedTuple):
    """What a network makes of U-turns, averaged over data; layers in order, then the logits."""

    layers: list[str]
    cosine: Tensor  #: (T, layers) mean cosine similarity of start and end
    standard_error: Tensor  #: (T, layers) over data
    cosine_changed: Tensor  #: (T, layers) mean over the data whose class the U-turn changed, nan where there is none
    baseline: Tensor  #: (layers,) mean cosine of two unrelated data
    recognised: Tensor  #: (T,) fraction of ends whose class the network names rightly
    same: Tensor  #: (T,) fraction of ends that the network puts into the class into which it puts their start


@torch.no_grad()
def layer_uturns(net: TreeCNN, turns: Uturns, *, generator: torch.Generator) -> LayerUturns:
    """Compare start and end of U-turns in every layer of a network (figure 8).

    Args:
        net: a network for this grammar, trained or not.
        turns: from `uturns`.
        generator: draws the 4000 data over which activations are standardised.

    Returns:
        `LayerUturns`, float64.

    Raises:
        ValueError: the network is for another grammar.
    """
    g = turns.g
    if (net.v, net.s, net.L, net.num_classes) != (g.v, g.s, g.L, g.num_classes):
        raise ValueError(f"expected a network for {g}, got one for v={net.v}, s={net.s}, L={net.L}")
    statistics = moments(net.activations, sample(g, 4000, generator=generator)[0].split(1000))
    start, classes = net.activations(turns.start[0]), turns.start[-1]
    unrelated = similarity(start, net.activations(turns.start[0].roll(1, 0)), statistics)
    rows = []
    for y in turns.end:
        end = net.activations(y[0])
        alike = similarity(start, end, statistics)
        changed = (y[-1] != classes)[:, 0]
        if_changed = torch.stack([c[changed].mean() for c in alike.cosine.values()])
        named = end["logits"].argmax(1)
        right = (named == y[-1][:, 0]).double().mean()
        same = (named == start["logits"].argmax(1)).double().mean()
        rows.append((alike.mean(), alike.standard_error(), if_changed, right, same))
    cosine, error, if_changed, right, same = (torch.stack(z) for z in zip(*rows, strict=True))
    return LayerUturns(list(start), cosine, error, if_changed, unrelated.mean(), right, same)


@torch.no_grad()
def read_levels(
    net: TreeCNN, turns: Uturns, *, rows: int, generator: torch.Generator, ridge: float = 1e-2
) -> dict[str, Tensor]:
    """How much of each level's latent symbols can be read linearly from each layer, before and after U-turns.

    For a layer k and a level l, the tree is cut into its subtrees of height max(k, l). The probe sees the
    activations of one of them in that layer and names its symbols of that level; it is the same for all subtrees,
    as rules are. Probes are fitted to fresh data and tested on the U-turns.

    Args:
        net: a network for this grammar, trained or not.
        turns: from `uturns`.
        rows: number of subtrees to which each probe is fitted, and on which it is tested at most.
        generator: draws the data that probes are fitted to, and the subtrees.
        ridge: see `fit_linear`.

    Returns:
        Fractions of symbols named rightly, float64, levels 0 … L on the last axis and layers, with the logits, on the
        one before: "before" (layers, L+1), on the starting data; "own" (T, layers, L+1), on the ends, of their own
        symbols; "start" (T, layers, L+1), on the ends, of the symbols that they started from.
    """
    g = turns.g
    fresh = sample(g, max(2, min(rows, 10_000)), generator=generator)
    fit_on = net.activations(fresh[0])
    seen = [net.activations(y[0]) for y in (turns.start, *turns.end)]
    pairs = [(0, turns.start), *((i, y) for i, y in enumerate(turns.end, 1))]  # of activations and the symbols asked
    pairs += [(i, turns.start) for i, _ in enumerate(turns.end, 1)]
    found = torch.zeros(len(pairs), len(fit_on), g.L + 1, dtype=torch.float64, device="cpu")
    for k, layer in enumerate(fit_on):
        for level in range(g.L + 1):
            x, y = _subtrees(fit_on[layer], fresh[level])
            some = torch.randperm(len(x), generator=generator, device=generator.device)[:rows]
            probe = fit_linear(x[some], y[some], g.num_symbols(level), ridge=ridge)
            asked = torch.empty(0, dtype=torch.int64, device=generator.device)
            for i, (j, latent) in enumerate(pairs):
                x, y = _subtrees(seen[j][layer], latent[level])
                if i == 0:
                    asked = torch.randperm(len(x), generator=generator, device=generator.device)[:rows]
                found[i, k, level] = (probe(x[asked]) == y[asked]).double().mean()
    T = len(turns.end)
    return dict(before=found[0], own=found[1 : T + 1], start=found[T + 1 :])


def _subtrees(activations: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
    """Activations and symbols, (rows, units) and (rows, symbols), of all subtrees that hold a position of both."""
    a = activations.transpose(1, 2) if activations.ndim > 2 else activations[:, None]
    rows = len(a) * min(a.shape[1], latent.shape[1])
    return a.reshape(rows, -1), latent.reshape(rows, -1)


def figure8(
    classifiers: Sequence[Classifier],
    eps: Sequence[float],
    *,
    n: int,
    seed: int,
    rows: int = 0,
    probe_eps: Sequence[float] = (),
    device: torch.device | str = "cpu",
    report: Callable[[str], None] | None = None,
) -> xr.Dataset:
    """U-turns seen by every layer of networks of several grammars, trained and with the weights they started from.

    Networks of one grammar look at the same U-turns.

    Args:
        classifiers: of one v, m, s, L; several may share a grammar, that is a `grammar_seed`.
        eps: (T,) noise levels, increasing.
        n: number of data for each grammar.
        seed: of data and noise, 0 to 2**32 - 1.
        rows: of `read_levels`; 0 for no linear probes.
        probe_eps: noises, among eps, after which probes read the layers.
        device: where data are drawn and networks look at them; the networks that are given stay where they are.
        report: called with one line for each network.

    Returns:
        The fields of `Uturns`, `LayerUturns` and `read_levels` (as read_before, read_own, read_start) over the
        dimensions grammar, seed, weights ("trained", "untrained"), eps, probe_eps, layer, level; accuracy on fresh
        data, and the passes of the training. nan where a grammar has fewer networks than another.

    Raises:
        ValueError: probe_eps are not among eps, or the seed is none.
    """
    eps, probe_eps = [float(x) for x in eps], [float(x) for x in probe_eps]
    if not set(probe_eps) <= set(eps):
        raise ValueError(f"probe_eps: expected some of {eps}, got {probe_eps}")
    checked(seed)
    grammars: dict[int, list[Classifier]] = {}
    for each in classifiers:
        grammars.setdefault(each.training.grammar_seed, []).append(each)
    rng, parts = torch.Generator(device), []
    for name, members in grammars.items():
        rng.manual_seed(derived(1000 * seed + name))
        turns = uturns(members[0].g.to(rng.device), eps, n=n, generator=rng)
        again = turns._replace(end=[turns.end[eps.index(x)] for x in probe_eps])
        nets = []
        for i, each in enumerate(members):
            fresh = TreeCNN(each.g.v, each.g.s, each.g.L, each.net.width, each.g.num_classes)
            fresh.reset_parameters(torch.Generator().manual_seed(each.training.seed))
            nets_here = (copy.deepcopy(net).to(rng.device) for net in (each.net, fresh))
            both = [_one_network(net, turns, again, rows, rng) for net in nets_here]
            pair = xr.concat(both, "weights").assign_coords(weights=["trained", "untrained"])
            nets.append(pair.assign(passes=len(each.history)).assign_coords(seed=i))
            if report is not None:
                accuracy = float(pair.accuracy.sel(weights="trained"))
                report(f"grammar {name}, network {i}: accuracy {accuracy:.4f}")
        of_data = {
            "kept": (("eps", "level"), turns.kept.cpu().numpy()),
            "overlap": (("eps", "level"), turns.overlap.cpu().numpy()),
        }
        parts.append(xr.concat(nets, "seed").assign(of_data).assign_coords(grammar=name))
    g = classifiers[0].g
    found = xr.concat(parts, "grammar", join="outer").assign_coords(eps=eps, level=range(g.L + 1))
    found = found.assign_coords(probe_eps=probe_eps) if rows else found
    return found.assign_attrs(v=g.v, m=g.m, s=g.s, L=g.L, n=n, rows=rows, data_seed=seed)


def _one_network(net: TreeCNN, turns: Uturns, again: Uturns, rows: int, rng: torch.Generator) -> xr.Dataset:
    seen = layer_uturns(net, turns, generator=rng)
    x = sample(turns.g, 4000, generator=rng)
    with torch.no_grad():
        accuracy = float((net(x[0]).argmax(1) == x[-1][:, 0]).double().mean())
    fields = {"accuracy": ((), accuracy), "baseline": ("layer", seen.baseline.cpu().numpy())}
    for name in ("cosine", "standard_error", "cosine_changed"):
        fields[name] = (("eps", "layer"), getattr(seen, name).cpu().numpy())
    for name in ("recognised", "same"):
        fields[name] = ("eps", getattr(seen, name).cpu().numpy())
    if rows:
        read = read_levels(net, again, rows=rows, generator=rng)
        fields["read_before"] = (("layer", "level"), read["before"].numpy())
        for name in ("own", "start"):
            fields[f"read_{name}"] = (("probe_eps", "layer", "level"), read[name].numpy())
    return xr.Dataset(fields, {"layer": seen.layers})
