"""The Random Hierarchy Model: its rules, and the unique parse of a datum (section 3 of the paper)."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import torch
from torch import Tensor

from hierlib._numbers import Numbers, as_numbers
from hierlib._weights import GivenWeights, checked_prior, checked_weights, full_weights


@dataclass(frozen=True, eq=False)
class Grammar:
    """The production rules of one draw of the Random Hierarchy Model.

    Args:
        v: alphabet size of every level below the root, at least 2.
        m: production rules per symbol, 1 ≤ m ≤ v^(s-1).
        s: branching factor, the number of children of a node, at least 2.
        L: number of levels of rules, at least 1. Level 0 is the leaves, level L the root (the class).
        num_classes: symbols of the root, with num_classes·m ≤ v^s.
        rules: one int64 tensor a level; ``rules[l]``, of shape (symbols of level l+1, m, s), holds the tuples
            of level-l symbols that each symbol of level l+1 can be rewritten as. No tuple has two parents.
        weights: probability of each of a symbol's rules, ``weights[l]`` of shape (symbols of level l+1, m), float64;
            rows sum to one. A rule of weight zero never occurs. None, and weights that are all 1/m, are uniform rules.
        class_prior: probability of each class, (num_classes,) float64 that sum to one; None is uniform. A class_prior
            given to a function is used in its place.

    Raises:
        ValueError: a parameter is out of range, or the rules do not have these shapes and properties.
    """

    v: int
    m: int
    s: int
    L: int
    num_classes: int
    rules: tuple[Tensor, ...]
    weights: tuple[Tensor, ...] | None = None
    class_prior: Tensor | None = None

    def __post_init__(self) -> None:
        check_parameters(self.v, self.m, self.s, self.L, self.num_classes)
        object.__setattr__(self, "rules", tuple(self.rules))
        if len(self.rules) != self.L:
            raise ValueError(f"expected one rule tensor per level, L = {self.L}, got {len(self.rules)}")
        for level, rule in enumerate(self.rules):
            shape = (self.num_symbols(level + 1), self.m, self.s)
            if rule.is_meta:
                raise ValueError(f"rules[{level}]: expected rules on a device that holds numbers, as cpu, got meta")
            if tuple(rule.shape) != shape or rule.dtype != torch.int64:
                raise ValueError(
                    f"rules[{level}]: expected int64 of shape {shape}, got {rule.dtype} of shape {tuple(rule.shape)}"
                )
            if rule.min() < 0 or rule.max() >= self.v:
                raise ValueError(f"rules[{level}]: expected symbols in 0…{self.v - 1}, got {rule.min()}…{rule.max()}")
            codes = encode(rule.reshape(-1, self.s), self.v)
            if codes.unique().numel() != codes.numel():
                raise ValueError(f"rules[{level}]: a tuple stands twice; a datum must have only one parse")
        shapes = [(self.num_symbols(level + 1), self.m) for level in range(self.L)]
        object.__setattr__(self, "weights", checked_weights(self.weights, shapes, self.device))
        object.__setattr__(self, "class_prior", checked_prior(self.class_prior, self.num_classes, self.device))

    @property
    def d(self) -> int:
        """Number of leaves, s^L."""
        return self.s**self.L

    @property
    def device(self) -> torch.device:
        """Device of the rules."""
        return self.rules[0].device

    @property
    def written(self) -> tuple[int, ...]:
        """How often rules and weights were written to in place; what was made of them holds as long as this does."""
        try:
            return tuple([x._version for x in (*self.rules, *(self.weights or ()))])
        except RuntimeError:  # those made in inference mode do not count
            return ()

    def num_symbols(self, level: int) -> int:
        """Number of symbols at a level: v below the root, num_classes at the root."""
        return self.num_classes if level == self.L else self.v

    def num_nodes(self, level: int) -> int:
        """Number of nodes at a level, s^(L-level)."""
        return self.s ** (self.L - level)

    def to(self, device: torch.device | str) -> Grammar:
        """The same grammar with its rules, and their weights, on another device."""
        rules = tuple(rule.to(device) for rule in self.rules)
        weights = None if self.weights is None else tuple(weight.to(device) for weight in self.weights)
        prior = None if self.class_prior is None else self.class_prior.to(device)
        return Grammar(self.v, self.m, self.s, self.L, self.num_classes, rules, weights, prior)

    def __repr__(self) -> str:
        uneven = "".join(f", {name}=…" for name in ("weights", "class_prior") if getattr(self, name) is not None)
        return (
            f"Grammar(v={self.v}, m={self.m}, s={self.s}, L={self.L}, "
            f"num_classes={self.num_classes}, device={str(self.device)!r}{uneven})"
        )


def block_grammar(g: Grammar, level: int) -> Grammar:
    """The grammar of blocks of s^level leaves, below the nodes of a level, 1 … L: these are its classes.

    Below the root they are taken to be equally probable: what a place has is `hierlib.probability.prior_marginals`.
    """
    weights = None if g.weights is None else g.weights[:level]
    prior = g.class_prior if level == g.L else None
    return Grammar(g.v, g.m, g.s, level, g.num_symbols(level), g.rules[:level], weights, prior)


def check_parameters(v: int, m: int, s: int, L: int, num_classes: int) -> None:
    """Raise a ValueError unless a Random Hierarchy Model with these parameters exists."""
    for name, value, low in (
        ("v", v, 2),
        ("m", m, 1),
        ("s", s, 2),
        ("L", L, 1),
        ("num_classes", num_classes, 1),
    ):
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{name}: expected an int, got {value!r}")
        if value < low:
            raise ValueError(f"{name}: expected at least {low}, got {value}")
    if s > 63 or v**s >= 2**63:
        raise ValueError(f"expected v^s < 2^63 so that a tuple has an int64 code, got v = {v}, s = {s}: lower one")
    if m > v ** (s - 1):
        raise ValueError(f"expected m ≤ v^(s-1) = {v ** (s - 1)} rules per symbol, got m = {m}")
    if num_classes * m > v**s:
        raise ValueError(
            f"expected num_classes·m ≤ v^s = {v**s} distinct tuples at the root, got {num_classes}·{m}: "
            "lower num_classes or m"
        )
    if s**L >= 2**40:
        raise ValueError(f"expected fewer than 2^40 leaves, got s^L = {s}^{L}: lower L")


def whole(name: str, value: int, least: int) -> int:
    """A whole number of any type, as an int.

    Raises:
        ValueError: it is no whole number (2.0 is none), or below the least.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise ValueError(f"{name}: expected a whole number, got {value!r}")
    if number < least:
        raise ValueError(f"{name}: expected at least {least}, got {number}")
    return number


def check_generator(generator: torch.Generator) -> None:
    """Raise a ValueError unless this is a source of randomness."""
    if not isinstance(generator, torch.Generator):
        raise ValueError(
            f"generator: expected a torch.Generator, as torch.Generator().manual_seed(0), got {generator!r}"
        )


def check_device(name: str, device: torch.device, g: Grammar) -> None:
    """Raise a ValueError unless something is on the device of the grammar."""
    if device.type == "meta":
        raise ValueError(f"{name}: expected the grammar's device, {g.device}, got meta, which holds no numbers")
    if device.type != g.device.type:
        raise ValueError(f"{name}: expected the grammar's device, {g.device}, got {device}: use g.to({str(device)!r})")


def encode(tuples: Tensor, v: int) -> Tensor:
    """The tuple (x_1, …, x_s) in the last dimension as one int64 number in base v."""
    code = torch.zeros(tuples.shape[:-1], dtype=torch.int64, device=tuples.device)
    for i in range(tuples.shape[-1]):
        code = code * v + tuples[..., i]
    return code


def zipf(m: int, a: float) -> Tensor:
    """Weights of rules by Zipf's law, w_k ∝ k^-a.

    Args:
        m: number of rules, at least 1.
        a: exponent, finite; 0 is uniform.

    Returns:
        (m,) float64 that sum to one, falling if a > 0.

    Raises:
        ValueError: m or a is out of range.

    >>> zipf(4, 1.0).round(decimals=2).tolist()
    [0.48, 0.24, 0.16, 0.12]
    """
    m = whole("m", m, 1)
    exponent = as_numbers("a", a, torch.float64, torch.device("cpu"))
    if exponent.ndim or not exponent.isfinite():
        raise ValueError(f"a: expected a finite number, got {a!r}")
    return (-exponent * torch.arange(1, m + 1, dtype=torch.float64, device="cpu").log()).softmax(0)


def random_grammar(
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    num_classes: int | None = None,
    weights: GivenWeights = None,
    class_prior: Numbers | None = None,
    generator: torch.Generator,
) -> Grammar:
    """Draw a grammar: at each level the tuples are uniform among the v^s, without replacement (section 3).

    Args:
        v, m, s, L, num_classes: see `Grammar`; num_classes is v if not given.
        weights: of the rules, (m,) for all symbols as from `zipf`, or for each level (m,) or (symbols, m); the tuples
            that they fall on are random, and the same as without. Uniform if not given.
        class_prior: (num_classes,), uniform if not given.
        generator: source of randomness; the rules live on its device.

    Returns:
        A `Grammar`. The cost grows with v·m·L, not with v^s.

    Raises:
        ValueError: no such grammar exists, weights or prior are no distributions, or the generator is none.

    >>> g = random_grammar(v=32, m=8, s=2, L=10, generator=torch.Generator().manual_seed(0))
    >>> g, g.d, g.rules[0].shape
    (Grammar(v=32, m=8, s=2, L=10, num_classes=32, device='cpu'), 1024, torch.Size([32, 8, 2]))
    """
    num_classes = v if num_classes is None else num_classes
    check_generator(generator)
    check_parameters(v, m, s, L, num_classes)
    rules = []
    for level in range(L):
        parents = num_classes if level == L - 1 else v
        tuples = _distinct_tuples(v, s, parents * m, generator)
        rules.append(tuples.reshape(parents, m, s))
    on = generator.device
    uneven = full_weights(weights, [(len(rule), m) for rule in rules], on)
    prior = None if class_prior is None else as_numbers("class_prior", class_prior, torch.float64, on)
    return Grammar(v, m, s, L, num_classes, tuple(rules), uneven, prior)


def _distinct_tuples(v: int, s: int, k: int, generator: torch.Generator) -> Tensor:
    """k distinct s-tuples of 0…v-1, uniform among all ordered choices, as (k, s)."""
    device = generator.device
    if v**s <= 4 * k:  # dense: shuffle them all
        codes = torch.randperm(v**s, generator=generator, device=device)[:k]
        return torch.stack([codes // v ** (s - 1 - i) % v for i in range(s)], -1)
    tuples = torch.empty((0, s), dtype=torch.int64, device=device)
    while len(tuples) < k:  # sparse: draw, and drop what was drawn before; at least 3/4 of a draw is new
        draw = torch.randint(v, (2 * k, s), generator=generator, device=device)
        tuples = torch.cat([tuples, draw])
        _, which = encode(tuples, v).unique(return_inverse=True)
        first = torch.full((int(which.max()) + 1,), len(tuples), dtype=torch.int64, device=device)
        position = torch.arange(len(tuples), device=device)
        first.scatter_reduce_(0, which, position, "amin")
        tuples = tuples[first.sort().values]
    return tuples[:k]


def parse(g: Grammar, leaves: Tensor) -> tuple[Tensor, ...]:
    """Recover all latent symbols of data; the parse is unique because no tuple has two parents (section 3).

    Args:
        g: the grammar.
        leaves: (n, s^L) symbols 0…v-1; n may be 0.

    Returns:
        All levels as from `sample`, ``x[l]`` of shape (n, s^(L-l)), int64.

    Raises:
        ValueError: a datum is not produced by the grammar (it is named), or the shape is wrong.
    """
    try:
        leaves = torch.as_tensor(leaves, device=g.device)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"leaves: expected whole numbers 0…{g.v - 1} of shape (n, {g.d}), got something else ({error}); number "
            "the letters of strings by their place in an alphabet"
        ) from None
    if leaves.ndim != 2 or leaves.shape[1] != g.d:
        raise ValueError(f"leaves: expected shape (n, {g.d}), got {tuple(leaves.shape)}")
    if not of_integers(leaves):
        raise ValueError(f"leaves: expected integer symbols, got {leaves.dtype}")
    x = [leaves.to(torch.int64)]
    bad = ((x[0] < 0) | (x[0] >= g.v)).any(1)
    if bad.any():
        raise ValueError(f"leaves: expected symbols in 0…{g.v - 1}; {_name(bad)} has others")
    for level in range(g.L):
        parents, legal = parents_of(g, level, x[-1])
        bad = ~legal.all(1)
        if bad.any():
            raise ValueError(
                f"leaves: {_name(bad)} is not a string of this grammar "
                f"(a tuple at level {level} is the right-hand side of no rule)"
            )
        x.append(parents)
    return tuple(x)


def parents_of(g: Grammar, level: int, children: Tensor) -> tuple[Tensor, Tensor]:
    """The symbols of level + 1 that are rewritten as these tuples of a level, and whether a rule says so.

    Args:
        g: the grammar.
        level: 0 … L-1.
        children: (n, nodes of the level) symbols of it.

    Returns:
        (n, nodes of the level above) int64 parents, some symbol where there is none, and bool.
    """
    rules, legal = rules_of(g, level, children)
    return rules // g.m, legal


def rules_of(g: Grammar, level: int, children: Tensor) -> tuple[Tensor, Tensor]:
    """As `parents_of`, but of each tuple the number of its rule among all of the level, symbol·m + rule."""
    codes, order = encode(g.rules[level].reshape(-1, g.s), g.v).sort()
    seen = encode(children.unflatten(1, (-1, g.s)), g.v)
    place = torch.searchsorted(codes, seen).clamp_(max=len(codes) - 1)
    return order[place], codes[place] == seen


def of_integers(x: Tensor) -> bool:
    """Whether these are whole numbers by their type."""
    return not (x.dtype.is_floating_point or x.dtype.is_complex or x.dtype == torch.bool)


def _name(bad: Tensor) -> str:
    """Name the data for which ``bad``, of shape (n,), is true."""
    which = bad.nonzero()[:, 0].tolist()
    return f"datum {which[0]}" if len(which) == 1 else f"datum {which[0]} (and {len(which) - 1} more)"
