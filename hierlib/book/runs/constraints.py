"""Constraints on parameters: comparisons of arithmetic, read by a small evaluator of their own; no code is run."""

import ast
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from hierlib.book.runs.errors import BadRequest

Value = int | float | str | bool
PATH, PATHS, OUTPUT = "path", "paths", "output"  # what a text names: what is there, several of them, what is made

Evaluate = Callable[[Mapping[str, Value]], Value | tuple]  # a part of a constraint, from the values of the parameters


class Constraint(NamedTuple):
    """A constraint that has been read.

    Attributes:
        text: as it was written.
        names: of the parameters that it compares.
        holds: whether it does, from the values of these; ArithmeticError or TypeError where that cannot be said.
    """

    text: str
    names: frozenset[str]
    holds: Callable[[Mapping[str, Value]], bool]


def _power(a: int | float, b: int | float) -> int | float:
    """a**b, but never a number of more than 10^5 bits: v**(s-1) must not stop the machine."""
    if isinstance(a, int) and isinstance(b, int) and a.bit_length() * abs(b) > 100_000:
        raise OverflowError(f"{a}**{b} is too large")
    return a**b


_ARITHMETIC: dict[type, Callable[..., int | float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_COMPARISON: dict[type, Callable[..., bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


@lru_cache(maxsize=4096)
def compile_constraint(text: str) -> Constraint:
    """Reads a constraint; each text once a process.

    Raises:
        BadRequest: the text is more than comparisons of arithmetic over names.
    """
    if text in (PATH, PATHS, OUTPUT):
        return Constraint(text, frozenset(), lambda _: True)
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        raise refusal(text, "a syntax error") from None
    if not isinstance(tree, ast.Compare | ast.BoolOp | ast.UnaryOp):
        raise refusal(text, "no comparison")
    holds = _build(tree, text)
    names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    return Constraint(text, names, lambda values: bool(holds(values)))


def refusal(text: str, what: str) -> BadRequest:
    """The error that says what is wrong with a constraint."""
    return BadRequest(f"the constraint {text!r} has {what}; it may compare arithmetic over the parameters")


def _number(x: Value | tuple) -> int | float:
    if isinstance(x, (int, float)) and not isinstance(x, bool):
        return x
    raise TypeError(f"{x!r} is no number")


def _build(node: ast.expr, text: str) -> Evaluate:
    match node:
        case ast.Constant(value=int() | float() | str() as value):
            return lambda _: value
        case ast.Name(id=name):
            return lambda values: values[name]
        case ast.Tuple(elts=items):
            parts = [_build(item, text) for item in items]
            return lambda values: tuple(part(values) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=a):
            inner = _build(a, text)
            return lambda values: not inner(values)
        case ast.UnaryOp(op=op, operand=a) if type(op) in _ARITHMETIC:
            f, inner = _ARITHMETIC[type(op)], _build(a, text)
            return lambda values: f(_number(inner(values)))
        case ast.BinOp(left=a, op=op, right=b) if type(op) in _ARITHMETIC:
            f, left, right = _ARITHMETIC[type(op)], _build(a, text), _build(b, text)
            return lambda values: f(_number(left(values)), _number(right(values)))
        case ast.BoolOp(op=op, values=items):
            parts, join = [_build(item, text) for item in items], all if isinstance(op, ast.And) else any
            return lambda values: join(part(values) for part in parts)
        case ast.Compare(left=first, ops=ops, comparators=rest) if all(type(op) in _COMPARISON for op in ops):
            if any(isinstance(op, ast.In | ast.NotIn) != isinstance(b, ast.Tuple) for op, b in zip(ops, rest)):
                raise refusal(text, "`in` without a list of values, or a list without `in`")
            parts, tests = [_build(part, text) for part in (first, *rest)], [_COMPARISON[type(op)] for op in ops]

            def compare(values: Mapping[str, Value]) -> bool:
                terms = [part(values) for part in parts]
                return all(test(a, b) for test, a, b in zip(tests, terms, terms[1:]))

            return compare
    raise refusal(text, f"`{ast.unparse(node)}`")
