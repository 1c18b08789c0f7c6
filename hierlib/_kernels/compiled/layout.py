"""What the compiled CPU kernels share: their arguments, their workspace, and where their machine code is kept.

Every field below that is not said to be something else is the address of an array of int64, one element a level.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numba
import numpy as np
from numba import njit

from hierlib._kernels import precision
from hierlib._kernels.compiled.simd import LANE_BYTES, LINE, int_at

Function = TypeVar("Function", bound=Callable)
Int = int | np.int64  # the same once compiled

# The workspace begins with rows for the whole tile, then a block for products, then the messages.
SCRATCH, LOW, HIGH, REST, TRUTH, MANTISSA, EXPONENT, EVIDENCE, PRODUCTS = (
    i * LANE_BYTES for i in (0, 1, 2, 3, 4, 5, 7, 9, 10)
)


class Tree(NamedTuple):
    """A grammar and a cut: below it a lane is a subtree, of which there are columns[cut] a datum."""

    family: tuple[int, ...]  # s zeros: s is part of the type, so that loops over children are unrolled
    weighted: tuple[int, ...]  # one zero, and one more if rules have weights: part of the type, as s is
    m: int
    top: int  # number: the level of the root
    cut: int  # number: the level of the cut; the root's where there are data enough for all lanes
    nodes: int  # of a subtree; 1 from the cut on
    columns: int  # how many nodes stand side by side in the lanes of a block, for each datum
    order: int  # addresses of int64: which subtree, or from the cut on which node, each column is
    symbols: int
    slots: int  # how many upward messages of the level the workspace holds
    up: int  # where in the workspace these stand, in bytes
    down: int  # where the downward messages of one family stand
    split: int  # from the cut on: where blocks stand that were split, one for each child, and one more
    totals: int  # number: where the sums of all nodes stand as they are computed, if the tree is cut
    truths: int  # where the marginals of the true symbols stand, if it is cut
    headroom: int  # number: where in the workspace rows stand, one a level, of the least headroom of siblings
    rules: int  # address of uint32 (parents, m, s): offsets of the children's rows, in bytes
    lists: int  # address of uint32, s times (parents·m, s): by symbol of the i-th child, the parent's row, the others'
    uses: int  # address of uint32 (s, v): how many rules have symbol a as their i-th child
    weights: int  # number: what twice the address of one of the rules has to be added to for that of its weight
    list_weights: int  # number: the same of the rules in the lists


class Data(NamedTuple):
    """What is known of the data, and where results go: addresses of (nodes, symbols, data), 0 where not wanted."""

    n: int  # number of data
    evidence: int  # address, and numbers of bytes to add per datum, leaf and symbol; 0: ε evidence of x
    per_datum: int
    per_leaf: int
    per_symbol: int
    eps: int  # address of (n,)
    x: int  # addresses of int64 (nodes, data): true symbols; 0 where no overlap is wanted
    prior: int  # address, and numbers of bytes to add per symbol and datum
    prior_per_symbol: int
    prior_per_datum: int
    row: int  # number of bytes from symbol to symbol of a result
    up: int
    down: int
    marginals: int
    overlap: int  # addresses of float64 (n,): sums over the nodes
    log_evidence: int  # address of (n,)
    constant: float  # number: what is added to all log evidence
    least: float  # number: the smallest evidence and headroom that do not count as a zero


class Tile(NamedTuple):
    """As many data as a vector has lanes, or fewer where there are no more."""

    ws: int  # address of the workspace
    tree: Tree
    io: Data
    first: int  # which of the data is the first
    data: int  # how many there are, each in as many lanes as it has columns


class Rows(NamedTuple):
    """Vectors that stand in memory at equal distances."""

    address: Int  # of the first; 0: there are none
    step: int  # bytes from one to the next


def compiled(function: Function) -> Function:
    """Compile what other compiled code alone calls."""
    return _compiled(function, no_cpython_wrapper=True)


def entry(function: Function) -> Function:
    """Compile what Python calls."""
    return _compiled(function, no_cpython_wrapper=False)


def summing(function: Function) -> Function:
    """Compile what Python calls, and let its sums be taken in any order: in as many lanes as the machine has."""
    return _compiled(function, no_cpython_wrapper=False, fastmath={"reassoc", "nsz"})


def _compiled(function: Function, *, no_cpython_wrapper: bool, fastmath: bool | set[str] = False) -> Function:
    """Compile, and keep the machine code on disk where a folder can be written.

    numba renews stored code when the file of the function changes, but not when another does that is compiled into
    it: code that was made from other sources would corrupt memory. So each state of the sources has its own folder.
    """
    options = dict(nogil=True, error_model="numpy", no_cfunc_wrapper=True, no_cpython_wrapper=no_cpython_wrapper)
    options |= dict(fastmath=fastmath)
    before = numba.config.CACHE_DIR
    try:
        numba.config.CACHE_DIR = str(_code_folder())
        return njit(cache=True, **options)(function)
    except (RuntimeError, OSError):  # no such folder
        return njit(**options)(function)
    finally:
        numba.config.CACHE_DIR = before


def _code_folder() -> Path:
    """Under $NUMBA_CACHE_DIR or the user's cache folder, named by the sources and all else that is compiled in."""
    files = [*sorted(Path(__file__).parent.glob("*.py")), Path(precision.__file__)]
    sources = b"".join(file.read_bytes() for file in files)
    digest = hashlib.sha256(sources + f"{LANE_BYTES} {LINE} {numba.__version__}".encode()).hexdigest()[:16]
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(numba.config.CACHE_DIR or user / "hierlib") / f"kernels-{digest}"


@compiled
def block_bytes(tree: Tree, level: Int) -> int:
    return (int_at(tree.symbols, level) + 1) * LANE_BYTES


@compiled
def block(tree: Tree, level: Int, node: Int) -> int:
    """Where in the workspace the upward message of a node stands."""
    return int_at(tree.up, level) + node % int_at(tree.slots, level) * block_bytes(tree, level)


@compiled
def table(tree: Tree, address: int, level: Int, copies: int) -> int:
    """Where a level's part of the rules begins; the root's rules are the last."""
    return address + 4 * level * int_at(tree.symbols, 0) * tree.m * len(tree.family) * copies


@compiled
def name_of(tree: Tree, level: Int, column: int, node: Int) -> int:
    """The number, in the whole tree, of a node of a subtree or column."""
    return int_at(int_at(tree.order, level), column) * int_at(tree.nodes, level) + node
