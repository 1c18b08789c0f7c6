"""The CPU backend: lays out work for the kernels of `_kernels.compiled.tile`, which read and write torch's memory."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from hierlib._kernels import memory, precision
from hierlib._kernels.compiled import layout
from hierlib._kernels.compiled.sampling import Draws, run_sampling
from hierlib._kernels.compiled.simd import LANE_BYTES
from hierlib._kernels.compiled.tile import run
from hierlib._kernels.torch import Inferred
from hierlib.grammar import Grammar

SHARED = 2**16  # results of a level with fewer numbers than this share their memory with those of other levels


def infer(g: Grammar, evidence: Tensor, class_prior: Tensor, messages: bool) -> Inferred:
    """Once up and once down the tree; the contract is that of `hierlib._kernels.torch.infer`."""
    job = _Job(g, evidence.dtype, class_prior, evidence=evidence)
    wanted = job.rooms(marginals=0, up=1, down=0) if messages else job.rooms(marginals=0)
    log_evidence = job.propagate(wanted)
    if not messages:
        return None, None, tuple(wanted.marginals), log_evidence
    return (evidence.permute(2, 0, 1), *wanted.up), tuple(wanted.down), tuple(wanted.marginals), log_evidence


def class_posterior(g: Grammar, evidence: Tensor, class_prior: Tensor) -> tuple[Tensor, Tensor]:
    """The marginal of the class, (batch, num_classes), and log evidence: the way up alone, in little memory."""
    job = _Job(g, evidence.dtype, class_prior, evidence=evidence)
    wanted = job.rooms(marginals=g.L)
    log_evidence = job.propagate(wanted, downward=False)
    return wanted.marginals[-1][:, 0], log_evidence


def epsilon_overlap(g: Grammar, x: Sequence[Tensor], eps: Tensor, class_prior: Tensor) -> tuple[Tensor, Tensor]:
    """Marginal of the true symbol under ε evidence, summed over each level's nodes, (L+1, batch); log evidence."""
    x = [memory.readable(level.T.contiguous()) for level in x]
    job = _Job(g, eps.dtype, class_prior, x=x, eps=memory.readable(eps.contiguous()))
    overlap = torch.zeros(g.L + 1, job.n, dtype=torch.float64, device="cpu")
    log_evidence = job.propagate(_Wanted(overlap=list(overlap)))
    return overlap, log_evidence


def posterior_sample(
    g: Grammar, evidence: Tensor, class_prior: Tensor, num_samples: int, generator: torch.Generator
) -> tuple[list[Tensor], Tensor]:
    """Draw whole trees from the posterior; the contract is that of `hierlib._kernels.torch.posterior_sample`."""
    job = _Job(g, evidence.dtype, class_prior, evidence=evidence)
    keys = torch.randint(-(2**63), 2**63 - 1, (job.n, num_samples), generator=generator, device="cpu")
    y = [memory.empty((g.num_nodes(level), job.n, num_samples), torch.int64) for level in range(g.L + 1)]
    log_evidence = job.sample(keys, y)
    return [level.permute(1, 2, 0) for level in y], log_evidence


Levels = Sequence[Tensor]  # of the levels from some level on, up to the root; empty if of none


class _Wanted(NamedTuple):
    """What is to be computed: room for it, from the lowest level on where it is wanted."""

    up: Levels = ()
    down: Levels = ()
    marginals: Levels = ()
    overlap: Levels = ()


class _Job:
    """One call: what it is given, as the kernels read it."""

    def __init__(
        self,
        g: Grammar,
        dtype: torch.dtype,
        prior: Tensor,
        *,
        evidence: Tensor | None = None,
        x: Levels = (),
        eps: Tensor | None = None,
    ):
        self.g, self.grammar, self.dtype, self.n = g, _grammar(g), dtype, prior.shape[1]
        self.prior, self.x, self.eps = memory.readable(prior), x, eps
        self.evidence = None if evidence is None else memory.readable(evidence)
        self.real = np.float32(0) if dtype == torch.float32 else np.float64(0)
        self.width, line = LANE_BYTES // dtype.itemsize, memory.ALIGNMENT // dtype.itemsize
        self.row = self.n if self.n < self.width else -(-self.n // line) * line  # whole cache lines if n is large

    def rooms(self, **lowest: int) -> _Wanted:
        """Room for results of some kinds at the levels from a lowest one on, (n, nodes, symbols).

        Small levels share memory; a large one goes when its tensor goes.
        """
        g, row, shapes = self.g, self.row, self.grammar.shapes
        sizes = [nodes * symbols * row for nodes, symbols in shapes]
        small = sum([size for start in lowest.values() for size in sizes[start:] if size < SHARED])
        large = sum([size for start in lowest.values() for size in sizes[start:] if size >= SHARED])
        memory.demand((small + large) * self.dtype.itemsize // self.n, self.n, 0, g.device)
        shared, offset = memory.empty((small,), self.dtype).numpy(), 0
        size, real = self.dtype.itemsize, self.real.dtype
        found: dict[str, list[Tensor]] = {}
        for kind, start in lowest.items():
            found[kind] = []
            for (nodes, symbols), numbers in zip(shapes[start:], sizes[start:], strict=True):
                if numbers < SHARED:
                    room, first = shared, size * offset
                    offset += numbers
                else:
                    room, first = memory.empty((numbers,), self.dtype).numpy(), 0
                strides = (size, size * symbols * row, size * row)
                level = np.ndarray((self.n, nodes, symbols), real, room, first, strides)  # quicker than as_strided
                found[kind].append(torch.from_numpy(level))
        return _Wanted(**found)

    def propagate(self, wanted: _Wanted, *, downward: bool = True) -> Tensor:
        """Belief propagation; returns the log evidence, (n,)."""
        at, log_evidence = _Addresses(), self.empty_log_evidence()
        io = self.data(at, wanted, log_evidence)

        def work(part: _Part, ws: int) -> None:
            run(self.real, part.begin, part.end, part.data, ws, part.tree, io, downward)

        _in_threads(work, self.parts(downward), 0)
        return log_evidence

    def sample(self, keys: Tensor, y: list[Tensor]) -> Tensor:
        """Posterior samples, written to y; returns the log evidence, (n,)."""
        at, log_evidence = _Addresses(), self.empty_log_evidence()
        io, draws = self.data(at, _Wanted(), log_evidence), (at(keys), keys.shape[1], at(y))

        def work(part: _Part, ws: int) -> None:
            weights = Draws(*draws, ws + part.workspace)
            run_sampling(self.real, part.begin, part.end, part.data, ws, part.tree, io, weights)

        _in_threads(work, self.parts(True), 8 * max(self.g.m, self.g.num_classes))
        return log_evidence

    def parts(self, downward: bool) -> list[_Part]:
        """What the threads are to do one part after the other: whole tiles, then what is left of the data."""
        tiles, found = self.n // self.width, []
        threads = min(torch.get_num_threads(), tiles)
        count = min(tiles, 4 * threads if threads > 1 else 1)  # several a thread: the last one is waited for less
        for begin, end in pairwise([self.width * (i * tiles // count) for i in range(count + 1)] if count else ()):
            found.append(_Part(begin, end, self.width, *self.grammar.tree(self.g.L, downward)))
        begin = tiles * self.width
        for data, cut in self.grammar.rest(self.n - begin, self.width):
            found.append(_Part(begin, begin + data, data, *self.grammar.tree(cut, downward)))
            begin += data
        return found

    def empty_log_evidence(self) -> Tensor:
        return torch.empty(self.n, dtype=self.dtype, device="cpu")

    def data(self, at: _Addresses, wanted: _Wanted, log_evidence: Tensor) -> layout.Data:
        """The kernels' view of the data and of the room for results."""
        g, size = self.g, self.dtype.itemsize

        def table(levels: Levels) -> int:
            unwanted = [None] * (g.L + 1 - len(levels))
            return at([*unwanted, *levels]) if levels else self.grammar.nothing

        per_leaf, per_symbol, per_datum = (0, 0, 0) if self.evidence is None else self.evidence.stride()
        if self.n == 1 and self.evidence is not None:
            per_datum = 1  # torch leaves it open
        return layout.Data(
            n=self.n,
            evidence=at(self.evidence),
            per_datum=size * per_datum,
            per_leaf=size * per_leaf,
            per_symbol=size * per_symbol,
            eps=at(self.eps),
            x=table(self.x),
            prior=at(self.prior),
            prior_per_symbol=size * self.prior.stride(0),
            prior_per_datum=size * self.prior.stride(1),
            row=size * self.row,
            up=table(wanted.up),
            down=table(wanted.down),
            marginals=table(wanted.marginals),
            overlap=table(wanted.overlap),
            log_evidence=at(log_evidence),
            constant=-(g.d - 1) // (g.s - 1) * math.log(g.m) if g.weights is None else 0.0,
            least=precision.least(self.dtype),
        )


class _Part(NamedTuple):
    """Data that are done one tile after the other, all tiles alike."""

    begin: int
    end: int
    data: int  # in a tile
    tree: layout.Tree
    workspace: int  # bytes


def _in_threads(work: Callable[[_Part, int], None], parts: list[_Part], more: int) -> None:
    """Do all parts in as many threads as torch has: work(part, address of its workspace and of `more` bytes)."""
    threads, waiting = min(torch.get_num_threads(), len(parts)), iter(parts)
    workspace = max([part.workspace for part in parts]) + more

    def several() -> None:
        ws = memory.scratch(workspace)
        for part in waiting:
            work(part, ws.data_ptr())

    others = [_pool(threads).submit(several) for _ in range(threads - 1)]
    try:
        several()
    finally:
        if others:
            wait(others)  # they write to memory that is this call's
    for other in others:
        other.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that help the one that calls."""
    return ThreadPoolExecutor(threads - 1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not live on in the child


class _Addresses:
    """Addresses of arrays, and of lists of them; keeps alive what it was asked for.

    What was not made here has to be `memory.readable`.
    """

    def __init__(self) -> None:
        self.kept: list[np.ndarray | array | Tensor | list] = []

    def __call__(self, x: np.ndarray | Tensor | list | None) -> int:
        if x is None:
            return 0
        self.kept.append(x)
        if isinstance(x, Tensor):
            return x.data_ptr()
        if isinstance(x, list):
            addresses = array("q", [one.data_ptr() if isinstance(one, Tensor) else self(one) for one in x])
            self.kept.append(addresses)
            return addresses.buffer_info()[0]
        return x.__array_interface__["data"][0]


class _Grammar:
    """What the kernels need of a grammar, made once."""

    def __init__(self, g: Grammar):
        g.to(g.device)  # checks the rules again: offsets are made of them
        self.at, self.written = _Addresses(), g.written
        self.trees: dict[tuple[int, bool], tuple[layout.Tree, int]] = {}
        self.rests: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self.shapes = [(g.num_nodes(level), g.num_symbols(level)) for level in range(g.L + 1)]
        self.tables = [self.at(table) for table in _rule_tables(g)]
        self.nothing = self.at(np.zeros(g.L + 1, np.int64))
        self.s, self.m, self.L, self.weighted = g.s, g.m, g.L, g.weights is not None

    def rest(self, n: int, width: int) -> list[tuple[int, int]]:
        """How fewer data than a vector has lanes are best done: how many at once, and the level of their trees' cut.

        A cut gives each datum as many lanes as the level has nodes. The work is that of the parents in a lane's
        subtree, those above the cut, and about one more for what is done once a tile.
        """
        if (n, width) not in self.rests:
            ways: list[tuple[int, list[tuple[int, int]]]] = [(0, [])]
            for k in range(1, n + 1):
                found = []
                for cut in range(1, self.L + 1):
                    data = min(k, width // self.s ** (self.L - cut))
                    if data:
                        work, others = ways[k - data]
                        work += (self.s**cut - 1) // (self.s - 1) + self.L - cut + 1
                        found.append((work, [(data, cut), *others]))
                ways.append(min(found))
            self.rests[n, width] = ways[n][1]
        return self.rests[n, width]

    def tree(self, cut: int, downward: bool) -> tuple[layout.Tree, int]:
        """The kernels' view of the grammar, and the bytes of workspace that they need."""
        if (cut, downward) not in self.trees:
            self.trees[cut, downward] = self.lay_out(cut, downward)
        return self.trees[cut, downward]

    def lay_out(self, cut: int, downward: bool) -> tuple[layout.Tree, int]:
        at, s, levels = self.at, self.s, np.arange(self.L + 1)
        all_nodes, symbols = np.array(self.shapes).T.copy()
        nodes = np.maximum(1, all_nodes // all_nodes[cut])
        block = (symbols + 1) * LANE_BYTES
        slots = nodes.copy() if downward else np.minimum(nodes, s)
        if cut == self.L:
            # Leaves are read again on the way down, unless that is lane by lane: two families of them, for of the one
            # before a leaf may still have to be written.
            slots[0] = min(2 * s, slots[0])
        order = [np.zeros(1, np.int64)]  # from the root to the cut: child i of column c is column i·len(order) + c
        for _ in range(self.L - cut):
            order.append(np.concatenate([order[-1] * s + i for i in range(s)]))
        order = [order[self.L - max(level, cut)] for level in range(self.L + 1)]
        split = np.where((levels >= cut) & (levels < self.L), s + 1, 0)
        sizes = np.array([slots, np.where(nodes > 1, s, 1), split]) * block
        headroom = int(layout.PRODUCTS + block.max())
        totals = headroom + len(levels) * LANE_BYTES
        sums, rows = int(nodes[1:].sum()) if cut < self.L else 0, nodes if cut < self.L and downward else 0 * nodes
        truths = totals + sums * LANE_BYTES + (np.cumsum(rows) - rows) * LANE_BYTES
        begin = totals + (sums + int(rows.sum())) * LANE_BYTES
        up, down, split = (begin + np.cumsum(sizes) - sizes.ravel()).reshape(sizes.shape)
        rules, lists, uses, weights, list_weights = self.tables
        tree = layout.Tree(
            family=(0,) * s,
            weighted=(0, 0) if self.weighted else (0,),
            m=self.m,
            top=self.L,
            cut=cut,
            nodes=at(nodes),
            columns=at(np.array([len(part) for part in order])),
            order=at(order),
            symbols=at(symbols),
            slots=at(slots),
            up=at(up),
            down=at(down),
            split=at(split),
            totals=totals,
            truths=at(truths),
            headroom=headroom,
            rules=rules,
            lists=lists,
            uses=uses,
            weights=weights - 2 * rules,
            list_weights=list_weights - 2 * lists,
        )
        return tree, int(begin + sizes.sum())


_grammars: WeakKeyDictionary[Grammar, _Grammar] = WeakKeyDictionary()


def _grammar(g: Grammar) -> _Grammar:
    found = _grammars.get(g)
    if found is None or found.written != g.written:  # two threads may both make it; either will do
        found = _grammars[g] = _Grammar(g)
    return found


def _rule_tables(g: Grammar) -> tuple[np.ndarray, ...]:
    """Rules, the rules listed by child, how many each list has; and, if there are any, the weights of both.

    A weight is written s times, so that it stands at twice the distance of its rule; see `layout.Tree`.
    """
    rules, lists, uses = [], [], []
    weights, list_weights = [np.zeros(0)], [np.zeros(0)]
    for level, rule in enumerate(g.rules):
        symbols = rule.reshape(-1, g.s).numpy()
        if max(g.s * (g.v + 1), len(rule) + 1) * LANE_BYTES > 2**32:  # offsets in the tables have 32 bits
            raise ValueError(f'backend "cpu": {g} has too many symbols: use backend="torch"')
        children = (symbols + np.arange(g.s) * (g.v + 1)) * LANE_BYTES
        parent = np.repeat(np.arange(len(rule)), g.m) * LANE_BYTES
        rules.append(children)
        weight = np.zeros(0) if g.weights is None else g.weights[level].reshape(-1, 1).expand(-1, g.s).numpy()
        weights.append(weight.ravel())
        for i in range(g.s):
            order = np.argsort(symbols[:, i], kind="stable")
            lists.append(np.column_stack([parent, np.delete(children, i, 1)])[order])
            list_weights.append(weight[order].ravel() if len(weight) else weight)
            uses.append(np.bincount(symbols[:, i], minlength=g.v))
    offsets = (np.concatenate([part.ravel() for part in parts]).astype(np.uint32) for parts in (rules, lists, uses))
    return *offsets, np.concatenate(weights), np.concatenate(list_weights)
