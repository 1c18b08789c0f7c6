"""The parameters of a chapter: what its `parameters` cell declares, and what a reader may set.

A line of that cell is ``name: type = default  # meaning, unit; constraint``. Constraints are comparisons of
arithmetic over the chapter's parameters (``1 <= m <= v**(s-1)``) or ``name in ("quick", "full")``. A part
``full: value`` is the default under profile="full"; it is put in place before anything is checked or run, so that a
chapter works with what its run says. The words ``path``, ``paths`` and ``output`` say that a text names files; see
`hierlib.book.runs.places`. Nothing here runs code of a chapter: see `hierlib.book.runs.constraints`.
"""

import ast
import difflib
import io
import math
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hierlib._devices import AUTO, chosen
from hierlib.book.runs.constraints import OUTPUT, PATH, PATHS, Value, compile_constraint, refusal
from hierlib.book.runs.errors import BadRequest

TYPES: dict[str, type[Value]] = {"int": int, "float": float, "str": str, "bool": bool}
PROFILE, FULL = "profile", "full"  # the parameter that may change the others' defaults, and its value that does
DEVICE = "device"  # the parameter that says where tensors are, in whose value "auto" stands for what is there


@dataclass(frozen=True)
class Parameter:
    """One declared parameter: its name, type name, default, meaning with unit, and constraints (maybe none).

    `full` is its default under profile="full", None where that is the same.
    """

    name: str
    type: str
    default: Value
    meaning: str
    constraints: tuple[str, ...] = ()
    full: Value | None = None

    def __str__(self) -> str:
        rules = [*self.constraints, *([] if self.full is None else [f"full: {self.full!r}"])]
        return f"{self.name}: {self.type} = {self.default!r}  # {'; '.join([self.meaning, *rules])}"

    @property
    def names(self) -> str | None:
        """`PATH`, `PATHS` or `OUTPUT` if that stands among the constraints: then its text names files."""
        return next((word for word in (PATH, PATHS, OUTPUT) if self.type == "str" and word in self.constraints), None)

    @property
    def written(self) -> bool:
        """Whether it names what the run itself writes to, so that its contents are none of its inputs."""
        return self.names == OUTPUT

    def parse(self, text: str) -> Value:
        """The value that a reader wrote on the command line, by the declared type and strictly."""
        number = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
        if self.type == "int" and re.fullmatch(r"[+-]?\d{1,19}", text, re.A):
            return self.check(int(text))
        if self.type == "float" and re.fullmatch(number, text, re.A):
            return self.check(float(text))
        if self.type == "bool" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if self.type == "str":
            return self.check(text)
        raise BadRequest(f"{self.name}: expected {_WANTED[self.type]}, got {text!r}")

    def check(self, value: object) -> Value:
        """`value` itself if it has the declared type (an int will do for a float), else an error. There is one zero."""
        if self.type == "float" and type(value) is int and abs(value) <= 2**53:
            value = float(value)
        if self.type == "float" and value == 0:
            value = 0.0  # -0.0 would be a run of its own, under the same label
        if type(value) is TYPES[self.type]:
            match value:
                case bool():
                    return value
                case int() if abs(value) < 2**63:
                    return value
                case float() if math.isfinite(value):
                    return value
                case str() if len(value) <= 1000 and value.isprintable():
                    return value
        raise BadRequest(f"{self.name}: expected {_WANTED[self.type]}, got {value!r}")


_WANTED = {
    "int": "an integer below 2**63",
    "float": "a finite number",
    "bool": "true or false",
    "str": "printable text of at most 1000 characters",
}


def parse_parameters(source: str, where: str = "parameters", first_line: int = 1) -> dict[str, Parameter]:
    """The parameters that a cell declares, by name, in order.

    Args:
        source: the cell's code.
        where, first_line: file and line of its first line, for messages.

    Raises:
        BadRequest: a line is not of the form, or the defaults break a constraint; names file and line.
    """

    def wrong(line: int, why: str) -> BadRequest:
        form = "write `name: type = default  # meaning, unit; constraint`, one a line"
        return BadRequest(f"{where}:{first_line + line - 1}: {why}; {form}")

    try:
        tree = ast.parse(source)
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (SyntaxError, tokenize.TokenError) as error:
        raise wrong(getattr(error, "lineno", 1) or 1, f"the parameters cell is not Python ({error})") from None
    comments = {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}
    found: dict[str, Parameter] = {}
    lines: dict[str, int] = {}
    for node in tree.body:
        line = node.lineno
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value):
            raise wrong(line, f"not a parameter: {ast.unparse(node).splitlines()[0]!r}")
        name, kind = node.target.id, ast.unparse(node.annotation)
        if name in found:
            raise wrong(line, f"{name} is declared twice")
        lines[name] = line
        if kind not in TYPES:
            raise wrong(line, f"{name}: the type is one of {', '.join(TYPES)}, not {kind}")
        try:
            default = ast.literal_eval(node.value)
        except ValueError:
            raise wrong(line, f"{name}: the default must be a plain value, not {ast.unparse(node.value)}") from None
        if type(default) is not TYPES[kind]:
            raise wrong(line, f"{name}: the default {default!r} is no {kind}")
        meaning, *rules = (part.strip() for part in comments.get(node.end_lineno or line, "").split(";"))
        if not meaning or not all(rules):
            raise wrong(line, f"{name}: the comment has an empty part" if meaning else f"{name} has no meaning")
        if kind != "str" and (word := next((word for word in (PATH, PATHS, OUTPUT) if word in rules), None)):
            raise wrong(line, f"{name}: {word!r} is for texts, which name files")
        constraints = tuple(rule for rule in rules if not rule.startswith("full:"))
        scaled = [rule.removeprefix("full:").strip() for rule in rules if rule.startswith("full:")]
        try:
            found[name] = _in_full(Parameter(name, kind, default, meaning, constraints), scaled)
        except BadRequest as error:
            raise wrong(line, str(error)) from None
    for name, parameter in found.items():
        if parameter.full is not None and PROFILE not in found:
            raise BadRequest(f"{where}:{first_line}: {name} has a value for `full:`, but there is no {PROFILE}")
        for constraint in parameter.constraints:
            try:
                if unknown := sorted(compile_constraint(constraint).names - found.keys()):
                    raise refusal(constraint, f"an unknown name {unknown[0]!r}")
            except BadRequest as error:
                raise wrong(lines[name], f"{name}: {error}") from None
    for profile in ({}, {PROFILE: FULL}) if any(p.full is not None for p in found.values()) else ({},):
        try:
            values = filled(found, profile)
            check_constraints(found, {p.name: p.check(values[p.name]) for p in found.values()})
        except BadRequest as error:
            of = f" of {PROFILE}={FULL}" if profile else ""
            raise BadRequest(f"{where}:{first_line}: the defaults{of} are refused: {error}") from None
    return found


def _in_full(parameter: Parameter, values: list[str]) -> Parameter:
    """The parameter with what stands after its `full:`, if there is one."""
    if not values:
        return parameter
    if len(values) > 1 or parameter.name == PROFILE:
        raise BadRequest(f"{parameter.name}: `full:` stands once, and not at {PROFILE} itself")
    try:
        value = ast.literal_eval(values[0])
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise BadRequest(f"{parameter.name}: expected a plain value after `full:`, got {values[0]!r}") from None
    return replace(parameter, full=parameter.check(value))


def filled(parameters: Mapping[str, Parameter], given: Mapping[str, Value]) -> dict[str, Value]:
    """A value for every parameter: what is given, else its default, which profile="full" may change."""
    profile = given.get(PROFILE, parameters[PROFILE].default if PROFILE in parameters else "")
    defaults = {p.name: p.default if p.full is None or profile != FULL else p.full for p in parameters.values()}
    return {name: given.get(name, default) for name, default in defaults.items()}


def placed(values: Mapping[str, Value], *, here: bool = True) -> dict[str, Value]:
    """The values with the device that "auto" stands for on this machine: a run is of that, and named by it.

    Args:
        here: whether the run is to be on this machine, so that a device which it lacks is refused.

    Raises:
        BadRequest: it is refused.
    """
    out = dict(values)
    if isinstance(device := out.get(DEVICE), str) and (device == AUTO or (here and device == "cuda")):
        try:
            out[DEVICE] = chosen(device).type
        except ValueError as error:
            raise BadRequest(str(error)) from None
    return out


def resolve(
    parameters: Mapping[str, Parameter], given: Mapping[str, Value | str], *, chapter: str = "the chapter"
) -> dict[str, Value]:
    """The defaults with what is `given` put over them, checked.

    Args:
        given: by name, values of the declared type, or text as it was written on a command line.

    Returns:
        dict: a value for every declared parameter.

    Raises:
        BadRequest: unknown name, wrong type or broken constraint; the message lists what the chapter takes.
    """
    try:
        values = {}
        for name, value in given.items():
            if name not in parameters:
                near = [n for n in parameters if n.lower() == name.lower()]
                near += difflib.get_close_matches(name, parameters, 1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                raise BadRequest(f"{chapter} takes no parameter {name!r}{hint}")
            parameter = parameters[name]
            values[name] = parameter.parse(value) if isinstance(value, str) else parameter.check(value)
        values = filled(parameters, values)
        check_constraints(parameters, values)
        return values
    except BadRequest as error:
        raise BadRequest(f"{error}\n{describe(parameters, chapter)}") from None


def describe(parameters: Mapping[str, Parameter], chapter: str = "the chapter") -> str:
    """What a chapter takes, one parameter a line."""
    if not parameters:
        return f"{chapter} takes no parameters."
    return f"{chapter} takes:\n" + "\n".join(f"  {p}" for p in parameters.values())


def check_constraints(parameters: Mapping[str, Parameter], values: Mapping[str, Value]) -> None:
    """Raises at the first constraint, in the order of declaration, that `values` break."""
    for parameter in parameters.values():
        for constraint in parameter.constraints:
            try:
                holds = compile_constraint(constraint).holds(values)
            except (ArithmeticError, TypeError) as error:
                why = f"{parameter.name}: cannot check {constraint} ({error}){_used(constraint, values)}"
                raise BadRequest(why) from None
            if not holds:
                raise BadRequest(f"{parameter.name}: {constraint} does not hold{_used(constraint, values)}")


def _used(constraint: str, values: Mapping[str, Value]) -> str:
    names = compile_constraint(constraint).names
    return f" for {', '.join(f'{n} = {values[n]!r}' for n in values if n in names)}"
