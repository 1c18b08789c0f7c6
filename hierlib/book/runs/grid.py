"""The points of a sweep: which values each parameter takes, from the command line or a YAML file.

``2:20:2`` is 2, 4, … 18 (start:stop:step, stop excluded, step 1 if left out); commas join values and ranges. Ranges
are counted in decimals, so that 0:0.3:0.1 has three values. All that is wrong with a grid is said before it runs.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

import yaml

from hierlib.book.runs.constraints import Value, compile_constraint
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.params import PROFILE, Parameter, check_constraints, describe, filled, resolve

LIMIT = 200_000  # points of one sweep; each is a folder
_FILE_LIMIT = 1_000_000  # bytes of a YAML grid

Axes = dict[str, list[Value]]


def axis(parameter: Parameter, text: str) -> list[Value]:
    """The values that a reader has written for one parameter, in this order.

    Raises:
        BadRequest: no value, a wrong type, a value twice, a range that is empty or endless; says what would do.
    """
    out: list[Value] = []
    words = text.split(",")
    for word in words if parameter.type == "str" else map(str.strip, words):
        is_range = ":" in word and parameter.type in ("int", "float")
        out += _range(parameter, word, LIMIT - len(out)) if is_range else [parameter.parse(word)]
    return _distinct(parameter, out)


def _range(parameter: Parameter, word: str, room: int) -> list[Value]:
    name, parts = parameter.name, word.split(":")
    if len(parts) not in (2, 3):
        raise BadRequest(f"{name}: expected start:stop or start:stop:step, got {word!r}")
    for part in parts:
        parameter.parse(part)
    try:
        start, stop, step = (Decimal(part) for part in [*parts, "1"][:3])
        if step == 0:
            raise BadRequest(f"{name}: the step of {word!r} is 0")
        count = max(0, math.ceil((stop - start) / step))
    except (InvalidOperation, OverflowError):
        raise BadRequest(f"{name}: the range {word!r} cannot be counted") from None
    if count == 0:
        raise BadRequest(f"{name}: the range {word!r} is empty (the stop is excluded); swap its ends or widen it")
    if count > room:
        raise BadRequest(f"{name}: {word!r} has {count:,} values, a sweep at most {LIMIT:,} points; take larger steps")
    kind = int if parameter.type == "int" else float
    return [parameter.check(kind(start + i * step)) for i in range(count)]


def _distinct(parameter: Parameter, values: list[Value]) -> list[Value]:
    seen = set()
    for value in values:
        if value in seen:
            raise BadRequest(f"{parameter.name}: {value!r} stands twice; name every value once")
        seen.add(value)
    return values


def grids(
    parameters: Mapping[str, Parameter], given: Mapping[str, str], file: Path | None = None, *, chapter: str
) -> list[Axes]:
    """The grids of a sweep: that of the command line, or each of the file's with the command line's axes added.

    Args:
        given: by name, what the command line says (see `axis`).
        file: a YAML file: a mapping from names to a value, a list of values or a range, or a list of such mappings.
        chapter: its name, for messages.

    Raises:
        BadRequest: for all that is wrong: file, names, types, constraints at any point, number of points.
    """
    try:
        every = [{}] if file is None else _read(file)
        out: list[Axes] = []
        for one in every:
            if both := sorted(set(one) & set(given)):
                raise BadRequest(f"{both[0]}: set both in {file} and by -p; leave it out of one")
            unknown = [name for name in (*one, *given) if name not in parameters]
            if unknown:
                resolve(parameters, {unknown[0]: 0}, chapter=chapter)
            axes = {name: _values(parameters[name], value) for name, value in one.items()}
            axes |= {name: axis(parameters[name], text) for name, text in given.items()}
            _check(parameters, axes)
            out.append(axes)
    except BadRequest as error:
        text = str(error)
        raise BadRequest(text if "takes" in text else f"{text}\n{describe(parameters, chapter)}") from None
    _not_too_many(sum(math.prod(map(len, axes.values())) for axes in out))
    return out


def points(parameters: Mapping[str, Parameter], grids: Sequence[Axes]) -> Iterator[dict[str, Value]]:
    """A value for every parameter at every point, each point once; the last axis named runs fastest."""
    seen = set()
    for axes in grids:
        for values in itertools.product(*axes.values()):
            given = dict(zip(axes, values))
            point = filled(parameters, given)
            if (mark := tuple(point.values())) not in seen:
                seen.add(mark)
                yield point


def _not_too_many(count: int) -> None:
    if count > LIMIT:
        raise BadRequest(
            f"the grid has {count:,} points; a sweep takes at most {LIMIT:,}, for each is a folder with files.\n"
            "Take larger steps, or sweep in parts with folders of their own, say -p seed 0:10 and -p seed 10:20"
        )


def _check(parameters: Mapping[str, Parameter], axes: Axes) -> None:
    """Every constraint at every point, at the cost of the axes that it names."""
    _not_too_many(math.prod(map(len, axes.values())))
    for parameter in parameters.values():
        for constraint in parameter.constraints:
            read = compile_constraint(constraint)
            about = set(read.names)
            if any(parameters[name].full is not None for name in about if name in parameters):
                about.add(PROFILE)  # which may change their defaults
            names = [name for name in axes if name in about]
            for values in itertools.product(*(axes[name] for name in names)):
                point = filled(parameters, dict(zip(names, values)))
                try:
                    good = read.holds(point)
                except (ArithmeticError, TypeError):
                    good = False
                if not good:
                    check_constraints({parameter.name: parameter}, point)  # says it in full


class _OncePerKey(yaml.BaseLoader):
    """Words, lists and mappings only, and no key of a mapping twice.

    What a word means is said by the parameter's type: YAML would read the range 1:30 as ninety, and 010 as eight.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if not isinstance(key, str):
                raise BadRequest(f"the grid's names are words, not {type(key).__name__}; write `name: values`")
            if keys.count(key) > 1:
                raise BadRequest(f"{key}: stands twice in one grid of the file")
        return super().construct_mapping(node, deep)


def _read(file: Path) -> list[dict]:
    form = "write `name: value`, `name: [values]` or `name: start:stop:step`, one a line"
    try:
        with file.open("rb") as source:
            text = source.read(_FILE_LIMIT + 1)
        if len(text) > _FILE_LIMIT:
            raise BadRequest(f"{file} has more than {_FILE_LIMIT:,} bytes; {form}")
        data = yaml.load(text.decode("utf-8"), _OncePerKey)
    except BadRequest:
        raise
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        line = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise BadRequest(f"{file} is no YAML grid ({line}); {form}") from None
    every = data if isinstance(data, list) else [data]
    if not every or not all(isinstance(one, dict) and one for one in every):
        raise BadRequest(f"{file} holds no grid; {form}")
    return every


def _values(parameter: Parameter, value: object) -> list[Value]:
    """Of a YAML file: as on the command line, but that a text is one value, whatever commas it has."""
    items = value if isinstance(value, list) else [value]
    if not items:
        raise BadRequest(f"{parameter.name}: the list is empty; name a value, or leave the line out")
    words = [item for item in items if isinstance(item, str)]
    for item in items:
        if not isinstance(item, str):
            raise BadRequest(f"{parameter.name}: expected {parameter.type}s, got a {type(item).__name__}")
    if parameter.type == "str":
        return _distinct(parameter, [parameter.check(word) for word in words])
    return axis(parameter, ",".join(words))
