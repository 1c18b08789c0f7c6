"""The parameters of a chapter: what a cell may declare, what a reader may set, and what no text can do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierlib.book.runs.constraints import compile_constraint
from hierlib.book.runs.errors import BadRequest
from hierlib.book.runs.params import describe, parse_parameters, resolve
from tests.tiny import PARAMETERS

TINY = parse_parameters(PARAMETERS)
HAS_PROFILE = 'profile: str = "quick"  # size; profile in ("quick", "full")\n'
SCALED = parse_parameters(HAS_PROFILE + "n: int = 8  # grammars; 2 <= n <= 40; full: 32\nm: int = 2  # rules; m <= n\n")


def test_reads_the_cell():
    m = TINY["m"]
    assert (m.name, m.type, m.default, m.meaning) == ("m", "int", 2, "rules per symbol")
    assert m.constraints == ("1 <= m <= v**(s-1)",)
    assert list(TINY) == ["v", "s", "m", "eps", "profile", "seed"]
    assert TINY["seed"].constraints == ()


@pytest.mark.parametrize(
    "line, why",
    [
        ("m = 8  # rules", "not a parameter"),
        ("import os", "not a parameter"),
        ("m: int  # rules", "not a parameter"),
        ("m: int | None = 8  # rules", "the type is one of"),
        ("m: list = 8  # rules", "the type is one of"),
        ("m: int = 2 * 4  # rules", "plain value"),
        ("m: int = open('x')  # rules", "plain value"),
        ("m: int = 8.0  # rules", "is no int"),
        ("m: int = True  # rules", "is no int"),
        ("m: float = 1  # noise", "is no float"),
        ("m: int = 8", "no meaning"),
        ("m: int = 8  # rules;", "empty part"),
        ("m: int = 8  # rules; 1 <= n", "unknown name"),
        ("m: int = 8  # rules; m", "no comparison"),
        ("m: int = 8  # rules; len(m) < 3", "has `len(m)`"),
        ("m: int = 8  # rules; m.__class__ == 3", "has `m.__class__`"),
        ("m: int = 8  # rules; [m for m in (1,)] == 3", "has `["),
        ("m: int = 8  # rules; m <", "syntax error"),
        ("m: int = 8  # rules; m in m", "without a list"),
        ("m: int = 8  # rules; m > 9", "defaults are refused"),
        ("m: int = 8  # rules; m / 0 > 1", "defaults are refused"),
        ('m: str = "a"  # word; m * 10**9 == "b"', "defaults are refused"),
        ("m: int = (", "not Python"),
        ("m: int = 8  # rules; full: 16", "there is no profile"),
        ('profile: str = "quick"  # size; full: "full"', "not at profile itself"),
        (f"{HAS_PROFILE}m: int = 8  # rules; full:", "a plain value"),
        (f"{HAS_PROFILE}m: int = 8  # rules; full: 2 * m", "a plain value"),
        (f"{HAS_PROFILE}m: int = 8  # rules; full: 16.0", "m: expected an integer"),
        (f"{HAS_PROFILE}m: int = 8  # rules; full: 16; full: 17", "stands once"),
        (f"{HAS_PROFILE}m: int = 8  # rules; m <= 9; full: 16", "defaults of profile=full are refused"),
    ],
)
def test_refuses_a_malformed_line(line, why):
    with pytest.raises(BadRequest, match=r"book/x\.md:") as error:
        parse_parameters(f"# parameters\n{line}\n", "book/x.md", 20)
    assert why in str(error.value)


def test_names_the_line():
    with pytest.raises(BadRequest, match=r"^book/x\.md:21: m has no meaning"):
        parse_parameters("a: int = 1  # a\nm: int = 8\n", "book/x.md", 20)


def test_declared_twice():
    with pytest.raises(BadRequest, match="declared twice"):
        parse_parameters("a: int = 1  # a\na: int = 2  # a\n")


@pytest.mark.parametrize("text, value", [("4", 4), ("+4", 4), ("1", 1)])
def test_integers(text, value):
    assert resolve(TINY, {"m": text})["m"] == value


@pytest.mark.parametrize("text", ["4.0", "1e0", "", " 4", "4 ", "0x4", "four", "nan", "1_0", "٤", "True", "1" * 400])
def test_what_is_no_integer(text):
    with pytest.raises(BadRequest, match="m: expected an integer"):
        resolve(TINY, {"m": text})


@pytest.mark.parametrize("text, value", [("1", 1.0), (".5", 0.5), ("1e-3", 1e-3), ("0.", 0.0), ("-0", 0.0)])
def test_floats(text, value):
    assert resolve(TINY, {"eps": text})["eps"] == value
    assert type(resolve(TINY, {"eps": text})["eps"]) is float


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "half", "", "1,5", "0x1p3", "1_0"])
def test_what_is_no_float(text):
    with pytest.raises(BadRequest, match="eps: expected a finite number"):
        resolve(TINY, {"eps": text})


def test_booleans_and_text():
    declared = parse_parameters('on: bool = False  # switch\nname: str = "a"  # word\n')
    assert resolve(declared, {"on": "true", "name": "<b>"}) == {"on": True, "name": "<b>"}
    for bad in ({"on": "1"}, {"on": "yes"}, {"name": "a\nb"}, {"name": "\x1b[31m"}, {"name": "a" * 1001}):
        with pytest.raises(BadRequest, match="expected"):
            resolve(declared, bad)


def test_values_that_are_not_text():
    assert resolve(TINY, {"m": 3, "eps": 1})["eps"] == 1.0
    for bad in ({"m": True}, {"m": 3.0}, {"m": None}, {"eps": float("nan")}, {"profile": 1}, {"m": 2**63}):
        with pytest.raises(BadRequest):
            resolve(TINY, bad)


def test_out_of_range_lists_what_the_chapter_takes():
    with pytest.raises(BadRequest) as error:
        resolve(TINY, {"m": "5"}, chapter="one")
    assert "m: 1 <= m <= v**(s-1) does not hold for v = 4, s = 2, m = 5" in str(error.value)
    assert "one takes:" in str(error.value) and "profile: str = 'quick'" in str(error.value)


def test_unknown_name_hints():
    with pytest.raises(BadRequest, match="takes no parameter 'sed' \\(did you mean 'seed'\\?\\)"):
        resolve(TINY, {"sed": "1"})


def test_the_other_case_hints():
    with pytest.raises(BadRequest, match="takes no parameter 'M' \\(did you mean 'm'\\?\\)"):
        resolve(TINY, {"M": "1"})


def test_choice():
    assert resolve(TINY, {"profile": "full"})["profile"] == "full"
    with pytest.raises(BadRequest, match="profile in"):
        resolve(TINY, {"profile": "slow"})


def test_a_profile_changes_defaults_and_nothing_that_is_given():
    assert resolve(SCALED, {}) == {"profile": "quick", "n": 8, "m": 2}
    assert resolve(SCALED, {"profile": "full"}) == {"profile": "full", "n": 32, "m": 2}
    assert resolve(SCALED, {"profile": "full", "n": "9"})["n"] == 9
    assert "n: int = 8  # grammars; 2 <= n <= 40; full: 32" in describe(SCALED)


def test_what_a_profile_sets_is_bound_like_any_value():
    assert resolve(SCALED, {"profile": "full", "m": "32"})["m"] == 32
    for bad in ({"m": "9"}, {"profile": "full", "m": "33"}, {"profile": "full", "n": "41"}):
        with pytest.raises(BadRequest, match="does not hold"):
            resolve(SCALED, bad)


@pytest.mark.timeout(120)  # a tower that is computed outlasts it
def test_huge_powers_are_refused_and_not_computed():
    declared = parse_parameters("s: int = 2  # s\nv: int = 2  # v\nm: int = 1  # m; m <= v**(s-1)\n")

    class Base(int):
        def __pow__(self, exponent, modulus=None):
            raise AssertionError(f"{int(self)}**{exponent} is computed")

    rule = compile_constraint("m <= v**(s-1)")
    with pytest.raises(AssertionError, match="2\\*\\*7 is computed"):
        rule.holds({"m": 1, "v": Base(2), "s": 8})
    for v, s in ((2, 10**15), (9**18, 9**18), (2, -(10**15))):
        with pytest.raises(OverflowError, match="too large"):
            rule.holds({"m": 1, "v": Base(v), "s": s})
    for bad in ({"s": 10**15}, {"s": 9**18, "v": 9**18}, {"s": -(10**15)}):
        with pytest.raises(BadRequest, match="cannot check"):
            resolve(declared, bad)
    tower = "1 <= 9**9**9**9"
    with pytest.raises(OverflowError):
        compile_constraint(tower).holds({})


def test_the_first_failure_is_told():
    with pytest.raises(BadRequest, match="v: 2 <= v <= 64"):
        resolve(TINY, {"v": "1", "s": "99999999"})


@given(st.text(max_size=60))
def test_no_text_is_run(text):
    """Whatever stands in a constraint, it compiles to a comparison or is refused; the names are those that it needs."""
    try:
        constraint = compile_constraint(text + " (__import__)")
    except BadRequest:
        return
    assert "__import__" in constraint.names


def test_a_constraint_is_read_once():
    before = compile_constraint("1 <= m <= v**(s-1)")
    resolve(TINY, {"m": "3"})
    assert compile_constraint("1 <= m <= v**(s-1)") is before and before.names == {"m", "v", "s"}


@given(st.dictionaries(st.text(max_size=8) | st.sampled_from(list(TINY)), st.text(max_size=30)))
def test_only_refusals(given_):
    try:
        values = resolve(TINY, given_)
    except BadRequest:
        return
    assert set(values) == set(TINY)
    assert 1 <= values["m"] <= values["v"] ** (values["s"] - 1)
