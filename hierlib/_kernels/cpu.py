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


def infer(g: Grammar, evidence: Tensor, class_prior: Tensor, messages: bool):
    """Once up and once down the tree; the contract is that of `hierlib._kernels.torch.infer`."""
    job = _Job(g, evidence.dtype, evidence.shape[-1], evidence=evidence)
    job.demand_memory(1 + 2 * messages)
    marginals = [job.room(level) for level in range(g.L + 1)]
    up, down = ([job.room(level) for level in range(g.L + 1)] if messages else job.nothing() for _ in range(2))
    up[0] = None
    job.solve(class_prior, up, down, marginals)
    return (
        [evidence, *up[1:]] if messages else None,
        down if messages else None,
        marginals,
        job.log_evidence(),
    )


def root(g: Grammar, evidence: Tensor, class_prior: Tensor) -> tuple[Tensor, Tensor]:
    """The marginal of the class, (num_classes, batch), and log evidence: the way up alone, in little memory."""
    job = _Job(g, evidence.dtype, evidence.shape[-1], evidence=evidence)
    marginals = [*job.nothing()[1:], job.room(g.L)]
    job.solve(class_prior, job.nothing(), job.nothing(), marginals, downward=False)
    return marginals[-1][0], job.log_evidence()


def epsilon_overlap(g: Grammar, x: Sequence[Tensor], eps: Tensor, class_prior: Tensor) -> tuple[Tensor, Tensor]:
    """Marginal of the true symbol under ε evidence, summed over each level's nodes, (L+1, batch); log evidence."""
    job = _Job(g, eps.dtype, len(eps), x=[level.contiguous() for level in x], eps=eps.double().numpy())
    job.solve(class_prior, job.nothing(), job.nothing(), job.nothing())
    return torch.from_numpy(job.overlap), job.log_evidence()


def posterior_sample(g: Grammar, evidence: Tensor, class_prior: Tensor, num_samples: int, generator: torch.Generator):
    """Draw whole trees from the posterior; the contract is that of `hierlib._kernels.torch.posterior_sample`."""
    n = evidence.shape[-1]
    job = _Job(g, evidence.dtype, n, evidence=evidence)
    job.y = [torch.zeros(n, num_samples, g.num_nodes(level), dtype=torch.int64) for level in range(g.L + 1)]
    job.num_samples = num_samples
    job.seed = np.uint64(torch.randint(2**62, (), generator=generator).item())
    job.solve(class_prior, job.nothing(), job.nothing(), job.nothing())
    return job.y, job.log_evidence()


class _Job:
    """One call: its data, what is wanted, and what is gathered over the walks through the tree."""

    def __init__(self, g, dtype, n, *, evidence=None, x=None, eps=None):
        self.g, self.dtype, self.n, self.evidence, self.x, self.eps = g, dtype, n, evidence, x, eps
        self.y = None
        self.width = LANE_BYTES // dtype.itemsize
        self.cut = _cut(g, n, self.width)
        self.log_z, self.low, self.valid = np.zeros(n), np.full(n, np.inf), np.ones(n, bool)
        self.overlap = np.zeros((g.L + 1, n))

    def nothing(self) -> Levels:
        return [None] * (self.g.L + 1)

    def room(self, level: int) -> Tensor:
        """Room for a result at a level: (nodes, symbols, n), each row in whole cache lines if n is large."""
        line = memory.ALIGNMENT // self.dtype.itemsize
        row = self.n if self.n < self.width else -(-self.n // line) * line
        return memory.empty((self.g.num_nodes(level), self.g.num_symbols(level), row), self.dtype)[..., : self.n]

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
            self.walk(0, top, self.evidence, prior, up, down, marginals, downward)
            return
        for levels in (up, down):
            levels[cut] = self.room(cut) if levels[cut] is None else levels[cut]
        above, below = range(cut, top + 1), range(cut)
        self.walk(0, cut, self.evidence, None, _only(up, [cut]), self.nothing(), self.nothing(), downward=False)
        self.walk(
            cut,
            top,
            up[cut],
            prior,
            _only(up, above[1:]),
            _only(down, above),
            _only(marginals, above),
            downward,
        )
        if downward:
            sampling = self.y is not None  # then the roots of the subtrees have symbols already, not messages
            prior = None if sampling else down[cut].permute(1, 0, 2).reshape(self.g.v, -1)
            log_z = self.log_z
            self.walk(0, cut, self.evidence, prior, _only(up, below), _only(down, below), _only(marginals, below))
            self.log_z = log_z  # the subtrees' part was in it already

    def walk(self, lowest, top, evidence, prior, up, down, marginals, downward=True) -> None:
        """Run the kernel on the levels lowest … top of every tree, in as many threads as torch has.

        evidence: (nodes, symbols, n) at the lowest level, or None for ε evidence; prior: (symbols, lanes) at the top.
        """
        g, n, width = self.g, self.n, self.width
        subtrees = g.num_nodes(top)
        tiles = -(-n * subtrees // width)
        lanes = np.minimum(np.arange(tiles * width), n * subtrees - 1)  # lanes past the end repeat the last
        prior = torch.ones(g.num_symbols(top), n * subtrees) if prior is None else prior
        priors = memory.empty((tiles, len(prior), width), self.dtype)
        prior = priors.copy_(prior[:, lanes].unflatten(1, (tiles, width)).permute(1, 0, 2)).numpy()

        overlap = np.zeros((top + 1 - lowest, n * subtrees))
        mantissa, exponent = np.ones(tiles * width), np.zeros(tiles * width, np.int64)
        low, high = (memory.empty((tiles * width,), self.dtype).numpy() for _ in range(2))
        tree, workspace = _tree(g, lowest, top, downward)
        at, levels = _Addresses(), slice(lowest, top + 1)
        size = self.dtype.itemsize
        strides = [0, 0, 0] if evidence is None else [size * stride for stride in evidence.stride()]
        inputs = tile.Lanes(
            count=n * subtrees,
            data=n,
            subtrees=subtrees,
            evidence=at(evidence),
            per_datum=strides[2],
            per_leaf=strides[0],
            per_symbol=strides[1],
            eps=at(self.eps),
            x=at((self.x or self.nothing())[levels]),
            prior=at(prior),
        )
        rows = [size * t.stride(1) for t in (*up, *down, *marginals) if t is not None]
        results = tile.Out(
            row=rows[0] if rows else 0,
            up=at(up[levels]),
            down=at(down[levels]),
            marginals=at(marginals[levels]),
            overlap=at(list(overlap)),
            mantissa=at(mantissa),
            exponent=at(exponent),
            low=at(low),
            high=at(high),
        )
        real = prior.dtype.type(0)

        def work(first: int, last: int) -> None:
            ws = memory.empty((workspace,), torch.uint8)
            if downward and self.y is not None:
                weights = np.empty(max(g.m, g.num_classes))
                y = np.array([t.data_ptr() for t in self.y[levels]])
                draws = (self.seed, self.num_samples, int(top < g.L), y.ctypes.data, weights.ctypes.data)
                tile.run_sampling(real, first, last, ws.data_ptr(), tree, inputs, results, *draws)
            else:
                tile.run(real, first, last, ws.data_ptr(), tree, inputs, results, downward)

        _in_threads(work, tiles)

        def per_datum(x: np.ndarray) -> np.ndarray:
            return x[..., : n * subtrees].reshape(*x.shape[:-1], subtrees, n)

        self.log_z = self.log_z + per_datum(np.log(mantissa) + exponent * math.log(2)).sum(0)
        self.low = np.minimum(self.low, per_datum(low).min(0))
        if lowest == 0:
            self.valid &= per_datum((high >= 0) & (high < math.inf)).all(0)
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
        return x.data_ptr() if isinstance(x, Tensor) else x.ctypes.data


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
        blocks = np.concatenate([[symbols.max()], slots * symbols, g.s * symbols])
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
        children = (symbols + np.arange(g.s) * g.v) * LANE_BYTES
        parent = np.repeat(np.arange(len(rule)), g.m) * LANE_BYTES
        rules.append(children)
        for i in range(g.s):
            order = np.argsort(symbols[:, i], kind="stable")
            lists.append(np.column_stack([parent, np.delete(children, i, 1)])[order])
            uses.append(np.bincount(symbols[:, i], minlength=g.v))
    return tuple(np.concatenate([part.ravel() for part in parts]).astype(np.uint32) for parts in (rules, lists, uses))
