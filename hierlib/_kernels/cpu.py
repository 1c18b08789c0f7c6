"""The CPU backend: lays out work for the kernels of `hierlib._kernels.tile`, which read and write torch's memory.

Where there are fewer data than a vector has lanes, each tree is cut: the subtrees below the cut are the lanes, and
what they say to their roots is the evidence of the small tree above.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from hierlib._kernels import memory, tile
from hierlib._kernels.simd import LANE_BYTES
from hierlib.grammar import Grammar

Levels = list[Tensor | None]  # one entry a level; None where not wanted
_TORCH = {np.float32: torch.float32, np.float64: torch.float64, np.int64: torch.int64}
SHARED = 2**16  # results of a level with fewer numbers than this share their memory with those of other levels


def infer(g: Grammar, evidence: Tensor, class_prior: Tensor, messages: bool):
    """Once up and once down the tree; the contract is that of `hierlib._kernels.torch.infer`."""
    job = _Job(g, evidence.dtype, evidence.shape[-1], evidence=evidence)
    job.demand_memory(1 + 2 * messages)
    marginals = job.rooms()
    up, down = (job.rooms() if messages else job.nothing() for _ in range(2))
    up[0] = None
    job.solve(class_prior, up, down, marginals)
    return (
        [evidence, *up[1:]] if messages else None,
        down if messages else None,
        marginals,
        job.log_evidence(),
    )


def class_posterior(g: Grammar, evidence: Tensor, class_prior: Tensor) -> tuple[Tensor, Tensor]:
    """The marginal of the class, (num_classes, batch), and log evidence: the way up alone, in little memory."""
    job = _Job(g, evidence.dtype, evidence.shape[-1], evidence=evidence)
    marginals = [*job.nothing()[1:], job.room(g.L)]
    job.solve(class_prior, job.nothing(), job.nothing(), marginals, downward=False)
    return marginals[-1][0], job.log_evidence()


def epsilon_overlap(g: Grammar, x: Sequence[Tensor], eps: Tensor, class_prior: Tensor) -> tuple[Tensor, Tensor]:
    """Marginal of the true symbol under ε evidence, summed over each level's nodes, (L+1, batch); log evidence."""
    job = _Job(g, eps.dtype, len(eps), x=[level.T.contiguous() for level in x], eps=eps)
    job.solve(class_prior, job.nothing(), job.nothing(), job.nothing())
    return torch.from_numpy(job.overlap), job.log_evidence()


def posterior_sample(g: Grammar, evidence: Tensor, class_prior: Tensor, num_samples: int, generator: torch.Generator):
    """Draw whole trees from the posterior; the contract is that of `hierlib._kernels.torch.posterior_sample`."""
    n = evidence.shape[-1]
    job = _Job(g, evidence.dtype, n, evidence=evidence)
    job.keys = torch.randint(-(2**63), 2**63 - 1, (n, num_samples), generator=generator)
    job.y = [torch.zeros(g.num_nodes(level), n, num_samples, dtype=torch.int64) for level in range(g.L + 1)]
    job.solve(class_prior, job.nothing(), job.nothing(), job.nothing())
    return [level.permute(1, 2, 0) for level in job.y], job.log_evidence()


class _Job:
    """One call: its data, what is wanted, and what is gathered over the walks through the tree."""

    def __init__(self, g, dtype, n, *, evidence=None, x=None, eps=None):
        self.g, self.dtype, self.n, self.evidence, self.x = g, dtype, n, evidence, x
        self.y = None
        self.real = np.float32 if dtype == torch.float32 else np.float64
        self.width = LANE_BYTES // dtype.itemsize
        self.cut = _cut(g, n, self.width)
        self.log_z, self.low, self.valid = np.zeros(n), np.full(n, np.inf), np.ones(n, bool)
        self.eps = None if eps is None else eps.numpy()
        self.overlap = np.zeros((g.L + 1, n))

    def nothing(self) -> Levels:
        return [None] * (self.g.L + 1)

    def room(self, level: int) -> Tensor:
        """Room for a result at a level: (nodes, symbols, n), each row in whole cache lines if n is large."""
        return memory.empty(self.shape(level), self.dtype)[..., : self.n]

    def rooms(self) -> Levels:
        """Room at every level. Small levels share memory; a large one goes when its tensor goes."""
        shapes = [self.shape(level) for level in range(self.g.L + 1)]
        sizes = [math.prod(shape) if math.prod(shape) < SHARED else 0 for shape in shapes]
        shared = memory.empty((sum(sizes),), self.dtype).split(sizes)
        return [
            part.view(shape)[..., : self.n] if size else self.room(level)
            for level, (shape, size, part) in enumerate(zip(shapes, sizes, shared, strict=True))
        ]

    def shape(self, level: int) -> tuple[int, int, int]:
        line = memory.ALIGNMENT // self.dtype.itemsize
        row = self.n if self.n < self.width else -(-self.n // line) * line
        return self.g.num_nodes(level), self.g.num_symbols(level), row

    def demand_memory(self, results: int) -> None:
        g = self.g
        numbers = sum(g.num_nodes(level) * g.num_symbols(level) for level in range(g.L + 1))
        workspace = torch.get_num_threads() * numbers * LANE_BYTES
        memory.demand(results * numbers * self.dtype.itemsize, self.n, workspace, g.device)

    def log_evidence(self) -> Tensor:
        """(batch,): -inf where a normaliser (nearly) vanished, NaN where the evidence is negative or not finite."""
        log_z = self.log_z - (self.g.d - 1) // (self.g.s - 1) * math.log(self.g.m)
        log_z[~(self.low >= torch.finfo(self.dtype).tiny)] = -math.inf
        log_z[~self.valid] = math.nan
        return torch.from_numpy(log_z).to(self.dtype)

    def solve(self, prior: Tensor, up: Levels, down: Levels, marginals: Levels, downward: bool = True) -> None:
        """Upward, and downward if wanted, writing the levels for which there is room."""
        cut, top = self.cut, self.g.L
        if cut == top:
            self.walk(range(top + 1), self.evidence, prior, up, down, marginals, downward)
            return
        for levels in (up, down):
            levels[cut] = self.room(cut) if levels[cut] is None else levels[cut]
        whole, above, below = range(cut + 1), range(cut, top + 1), range(cut)
        nothing = self.nothing()
        self.walk(whole, self.evidence, None, _only(up, [cut]), nothing, nothing, downward=False)
        parts = (_only(up, above[1:]), _only(down, above), _only(marginals, above))
        self.walk(above, up[cut], prior, *parts, downward)
        if downward:
            sampling = self.y is not None  # then the roots of the subtrees have symbols already, not messages
            prior = None if sampling else down[cut].permute(1, 0, 2).reshape(self.g.v, -1)
            log_z = self.log_z
            self.walk(whole, self.evidence, prior, *(_only(levels, below) for levels in (up, down, marginals)))
            self.log_z = log_z  # the subtrees' part was in it already

    def walk(self, levels: range, evidence, prior, up, down, marginals, downward=True) -> None:
        """Run the kernel on some levels of every tree, in as many threads as torch has.

        evidence: (nodes, symbols, n) at the lowest level, or None for ε evidence; prior: (symbols, lanes) at the top,
        none for the roots of cut-off subtrees, whose own results are those of the tree above.
        """
        lowest, top = levels[0], levels[-1]
        g, n, width, real = self.g, self.n, self.width, self.real
        subtrees = g.num_nodes(top)
        count, tiles = n * subtrees, -(-n * subtrees // width)
        lanes = np.minimum(np.arange(tiles * width), count - 1)  # lanes past the end repeat the last
        tree, workspace = _tree(g, lowest, top, downward)
        own = range(lowest, top + (top == g.L))  # the root of a cut-off subtree belongs to the tree above
        levels, keep = slice(lowest, top + 1), _Addresses()

        def per_lane(dtype=real, shape=(), fill=0.0) -> np.ndarray:
            return memory.empty((*shape, tiles * width), _TORCH[dtype]).fill_(fill).numpy()

        prior = np.ones((g.num_symbols(top), 1), real) if prior is None else prior.numpy()
        priors = per_lane(shape=(len(prior),)).reshape(tiles, len(prior), width)
        lane_of = lanes % prior.shape[1] if prior.shape[1] < count else lanes
        priors[:] = prior[:, lane_of].reshape(-1, tiles, width).swapaxes(0, 1)
        mantissa, exponent = per_lane(np.float64, fill=1.0), per_lane(np.int64)
        low, high = per_lane(), per_lane()
        overlap = None if self.x is None else per_lane(np.float64, (top + 1 - lowest,))
        rest = truth = None
        if evidence is None:
            rest, truth = per_lane(), per_lane()
            rest[:] = self.eps[lanes % n] / g.v
            truth[:] = 1 - self.eps[lanes % n] + rest
        size = self.dtype.itemsize
        strides = (0, 0, 0) if evidence is None else [size * stride for stride in evidence.stride()]
        inputs = tile.Lanes(
            count=count,
            data=n,
            subtrees=subtrees,
            evidence=keep(evidence),
            per_datum=strides[2] if n > 1 else size,
            per_leaf=strides[0],
            per_symbol=strides[1],
            rest=keep(rest),
            truth=keep(truth),
            x=keep(_only(self.x or self.nothing(), own)[levels]),
            prior=keep(priors),
        )
        results = tile.Out(
            row=self.shape(0)[-1] * size,
            up=keep(up[levels]),
            down=keep(down[levels]),
            marginals=keep(marginals[levels]),
            overlap=keep(self.nothing()[levels] if overlap is None else list(overlap)),
            mantissa=keep(mantissa),
            exponent=keep(exponent),
            low=keep(low),
            high=keep(high),
        )

        def work(first: int, last: int) -> None:
            ws = memory.empty((workspace,), torch.uint8)
            if downward and self.y is not None:
                weights = torch.empty(max(g.m, g.num_classes), dtype=torch.float64)
                draws = (
                    self.keys.data_ptr(),
                    self.keys.shape[1],
                    int(top < g.L),
                    keep(self.y[levels]),
                    weights.data_ptr(),
                )
                tile.run_sampling(real(0), first, last, ws.data_ptr(), tree, inputs, results, *draws)
            else:
                tile.run(real(0), first, last, ws.data_ptr(), tree, inputs, results, downward)

        _in_threads(work, tiles)

        def per_datum(x: np.ndarray) -> np.ndarray:
            return x[..., :count].reshape(*x.shape[:-1], subtrees, n)

        self.log_z = self.log_z + per_datum(np.log(mantissa) + exponent * math.log(2)).sum(0)
        self.low = np.minimum(self.low, per_datum(low).min(0))
        if lowest == 0:
            self.valid &= per_datum((high >= 0) & (high < math.inf)).all(0)
        if overlap is not None:
            self.overlap[levels] += per_datum(overlap).sum(-2)


class _Addresses:
    """Addresses of arrays, and of lists of them; keeps alive what it was asked for."""

    def __init__(self):
        self.kept = []

    def __call__(self, x: np.ndarray | Tensor | list | None) -> int:
        if x is None:
            return 0
        x = np.array([self(part) for part in x], np.int64) if isinstance(x, list) else x
        self.kept.append(x)
        return x.data_ptr() if isinstance(x, Tensor) else x.__array_interface__["data"][0]


def _only(tensors: Levels, levels: Sequence[int]) -> Levels:
    return [t if level in levels else None for level, t in enumerate(tensors)]


def _in_threads(work: Callable[[int, int], None], tiles: int) -> None:
    threads = min(torch.get_num_threads(), tiles)
    if threads == 1:
        work(0, tiles)
        return
    ends = np.linspace(0, tiles, min(tiles, 4 * threads) + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:  # several parts a thread: the last to finish is waited for less
        list(pool.map(work, ends[:-1], ends[1:]))


def _cut(g: Grammar, n: int, width: int) -> int:
    """The level at which to cut the trees so that the fewest blocks are computed; L leaves them whole."""

    def blocks(cut: int) -> int:
        subtrees = g.num_nodes(cut)
        return -(-n * subtrees // width) * (g.d // subtrees) + -(-n // width) * (subtrees - 1)

    return min(range(g.L, max(0, g.L - 8), -1), key=blocks) if n < width else g.L


_tables: WeakKeyDictionary[Grammar, dict] = WeakKeyDictionary()


def _tree(g: Grammar, lowest: int, top: int, keep: bool) -> tuple[tile.Tree, int]:
    """The kernel's view of the levels lowest … top, and the bytes of workspace it needs; made once a grammar."""
    cache = _tables.setdefault(g, {})
    if "rules" not in cache:
        cache["at"] = _Addresses()
        cache["rules"] = [cache["at"](table) for table in _rule_tables(g)]
    key = (lowest, top, keep)
    if key not in cache:
        at, levels = cache["at"], range(lowest, top + 1)
        symbols = np.array([g.num_symbols(level) for level in levels])
        nodes = np.array([g.num_nodes(level) // g.num_nodes(top) for level in levels])
        slots = nodes.copy() if keep else np.minimum(nodes, g.s)
        slots[0] = g.s  # leaves are read again on the way down
        blocks = np.concatenate([[1], slots * (symbols + 1), g.s * (symbols + 1)])
        ends = np.cumsum(blocks) * LANE_BYTES
        rules, lists, uses = cache["rules"]
        up, down = np.split(ends[:-1], 2)
        places = dict(up=at(up), down=at(down), nodes=at(nodes), symbols=at(symbols), slots=at(slots))
        tree = tile.Tree((0,) * g.s, g.m, lowest, top - lowest, rules=rules, lists=lists, uses=uses, **places)
        cache[key] = tree, int(ends[-1])
    return cache[key]


def _rule_tables(g: Grammar) -> tuple[np.ndarray, ...]:
    """Rules, the rules listed by child, how many each list has; see `tile.Tree`."""
    rules, lists, uses = [], [], []
    for rule in g.rules:
        symbols = rule.reshape(-1, g.s).numpy()
        children = (symbols + np.arange(g.s) * (g.v + 1)) * LANE_BYTES
        parent = np.repeat(np.arange(len(rule)), g.m) * LANE_BYTES
        rules.append(children)
        for i in range(g.s):
            order = np.argsort(symbols[:, i], kind="stable")
            lists.append(np.column_stack([parent, np.delete(children, i, 1)])[order])
            uses.append(np.bincount(symbols[:, i], minlength=g.v))
    return tuple(np.concatenate([part.ravel() for part in parts]).astype(np.uint32) for parts in (rules, lists, uses))
