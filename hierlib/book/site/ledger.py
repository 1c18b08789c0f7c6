"""The verdict on each claim: computed from what book/claims.yaml expects and what the chapters have recorded."""

import math
from collections.abc import Mapping

from hierlib.book.page.results import is_number, plain

Z95 = 1.959963984540054  # half the width of a 95 % interval in standard errors


def verdict(claim: Mapping, answer: Mapping, *, condition: bool | None = None) -> str:
    """ "reproduced", "qualified" or "differs": computed from the claim's `expect` and the recorded answer.

    Args:
        claim: a row of book/claims.yaml.
        answer: with `value` and `interval` (or None), as `record` stores it.
        condition: whether the claim's condition, itself a claim, holds; needed if it has one.

    Raises:
        ValueError: `expect` is not one of the forms that book/claims.yaml describes, or the answer does not
            fit it (a wrong type, no interval where `se` asks for one).
    """
    if not holds(claim, answer):
        return "differs"
    if "condition" not in claim:
        return "reproduced"
    if condition is None:
        raise ValueError(f"claim {claim['id']!r}: say whether its condition {claim['condition']['check']!r} holds")
    return "qualified" if condition else "reproduced"


def verdicts(rows: Mapping[str, Mapping], answers: Mapping[str, Mapping]) -> dict[str, str]:
    """The verdict of every claim, by id: of those not decided here what `status_if_not_run` says, of those
    without an answer "not answered yet"."""
    found = {}
    for id, claim in rows.items():
        check = claim.get("condition", {}).get("check")
        if "status_if_not_run" in claim:
            found[id] = claim["status_if_not_run"].partition(":")[0]
        elif id not in answers or (check and check not in answers):
            found[id] = "not answered yet"
        else:
            condition = holds(rows[check], answers[check]) if check else None
            found[id] = verdict(claim, answers[id], condition=condition)
    return found


def holds(claim: Mapping, answer: Mapping) -> bool:
    """Whether the answer is what the claim expects. Raises as `verdict` does."""
    expect, value, interval = claim.get("expect"), answer["value"], answer.get("interval")

    def wrong(why: str) -> ValueError:
        return ValueError(f"claim {claim.get('id')!r}: {why}; expect is {expect!r}, the answer {value!r} {interval}")

    if not isinstance(expect, Mapping):
        raise wrong("no `expect`")
    form = set(expect) - {"se", "abs"}
    if form == {"holds"} and expect == {"holds": True}:
        if not isinstance(value, bool):
            raise wrong("expected True or False")
        return value
    if form == {"equals"} and len(expect) == 1:
        return plain(expect["equals"]) == plain(value)
    if len(form) != 1 or not form <= {"at_most", "at_least", "near"} or ("abs" in expect) != (form == {"near"}):
        raise wrong("not a form that the head of book/claims.yaml describes")
    if not all(is_number(x) for x in expect.values()) or min(expect.get("se", 0), expect.get("abs", 0)) < 0:
        raise wrong("its numbers must be finite, `se` and `abs` not negative")
    if not is_number(value):
        raise wrong("expected a finite number")
    slack = 0.0
    if "se" in expect:
        if interval is None:
            raise wrong("`se` needs the answer's interval")
        slack = expect["se"] * (interval[1] - interval[0]) / (2 * Z95)
    if "at_most" in expect:
        return value + slack <= expect["at_most"]
    if "at_least" in expect:
        return value - slack >= expect["at_least"]
    return abs(value - expect["near"]) <= expect["abs"] + slack


def expected(claim: Mapping) -> str:
    """What the check of a claim asks for, in words."""
    if "status_if_not_run" in claim:
        return claim["status_if_not_run"].partition(":")[2].strip()
    expect = dict(claim["expect"])
    errors = f" with {expect['se']:g} standard errors allowed" if expect.get("se") else ""
    if "holds" in expect:
        return "it holds"
    if "equals" in expect:
        return f"{_shown(expect['equals'])}, exactly"
    if "near" in expect and not expect["abs"]:
        return f"{expect['near']:g} within {expect['se']:g} standard errors"
    if "near" in expect:
        return f"{expect['near']:g} within {expect['abs']:g}{errors}"
    if "se" in expect:
        errors = f" by {expect['se']:g} standard errors or more"
    return (
        f"at most {expect['at_most']:g}{errors}" if "at_most" in expect else f"at least {expect['at_least']:g}{errors}"
    )


def measured(answer: Mapping) -> str:
    """A recorded answer in words: the value, and its 95 % interval if it has one."""
    interval = answer.get("interval")
    if not interval or interval[0] == interval[1]:
        return _shown(answer["value"])
    digits = max(0, 1 - math.floor(math.log10((interval[1] - interval[0]) / 2)))
    value, low, high = (f"{x + 0.0:.{digits}f}".replace("-", "−") for x in (answer["value"], *interval))
    return f"{value} [{low}, {high}]"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value:.4g}".replace("-", "−") if is_number(value) else str(value)
