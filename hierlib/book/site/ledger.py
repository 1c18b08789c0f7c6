"""The verdict on each claim: computed from what book/claims.yaml expects and what the chapters have recorded."""

import math
from collections.abc import Mapping

from hierlib.book.page.results import is_number, plain

Z95 = 1.959963984540054  # half the width of a 95 % interval in standard errors
_WORDS = {"at_most": "at most", "at_least": "at least"}


def verdict(claim: Mapping, answer: Mapping, *, condition: str | None = None) -> str:
    """ "reproduced", "qualified", "differs" or "not resolved": from the claim's `expect` and the recorded answer.

    Args:
        claim: a row of book/claims.yaml.
        answer: with `value` and `interval` (or None), as `record` stores it.
        condition: what `outcome` says of the claim's condition, itself a claim; needed if it has one.

    Raises:
        ValueError: `expect` is not one of the forms that book/claims.yaml describes, or the answer does not
            fit it (a wrong type, no interval where `se` asks for one).
    """
    found = outcome(claim, answer)
    if "condition" not in claim or found != "reproduced":
        return found
    if condition is None:
        raise ValueError(f"claim {claim['id']!r}: say what its condition {claim['condition']['check']!r} came to")
    return {"reproduced": "qualified", "differs": "reproduced"}.get(condition, condition)


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
            condition = outcome(rows[check], answers[check]) if check else None
            found[id] = verdict(claim, answers[id], condition=condition)
    return found


def outcome(claim: Mapping, answer: Mapping) -> str:
    """Whether the answer is what the claim expects: "reproduced", "differs", or "not resolved".

    An answer with an interval is what is expected if its whole 95 % interval is, and differs if no part of it is;
    imprecision thus never helps. Where `se` asks for a margin in standard errors, it has to be kept as well. An
    answer without an interval is taken as exact. Raises as `verdict` does.
    """
    expect, value, interval = claim.get("expect"), answer["value"], answer.get("interval")

    def wrong(why: str) -> ValueError:
        return ValueError(f"claim {claim.get('id')!r}: {why}; expect is {expect!r}, the answer {value!r} {interval}")

    if not isinstance(expect, Mapping):
        raise wrong("no `expect`")
    form = set(expect) - {"se", "abs"}
    if form == {"holds"} and expect == {"holds": True}:
        if not isinstance(value, bool):
            raise wrong("expected True or False")
        return "reproduced" if value else "differs"
    if form == {"equals"} and len(expect) == 1:
        return "reproduced" if plain(expect["equals"]) == plain(value) else "differs"
    if len(form) != 1 or not form <= {"at_most", "at_least", "near"} or ("abs" in expect) != (form == {"near"}):
        raise wrong("not a form that the head of book/claims.yaml describes")
    if not all(is_number(x) for x in expect.values()) or min(expect.get("se", 0), expect.get("abs", 0)) < 0:
        raise wrong("its numbers must be finite, `se` and `abs` not negative")
    if not is_number(value):
        raise wrong("expected a finite number")
    if "se" in expect and interval is None:
        raise wrong("`se` needs the answer's interval")
    lo, hi = interval or (value, value)
    error = (hi - lo) / (2 * Z95)
    low, high = _region(expect)
    margin = 0.0 if "near" in expect else expect.get("se", 0) * error
    if low <= min(lo, value - margin) and max(hi, value + margin) <= high:
        return "reproduced"
    if low == high:  # no tolerance was written down: such a row can be refuted only
        return "differs" if abs(value - low) > expect["se"] * error else "not resolved"
    return "differs" if hi < low or high < lo else "not resolved"


def would_take(claim: Mapping, answer: Mapping) -> str:
    """What would decide a claim that is not resolved, in words.

    Its interval shrinks as one over the square root of the amount of data; if the value stayed where it is, so many
    times as many would put all of the interval, and the margin in standard errors, on one side of the nearest limit.
    """
    value, (lo, hi) = answer["value"], answer["interval"]
    low, high = _region(claim["expect"])
    if low == high:
        return "No data can confirm this row, since it has no tolerance; they could refute it"
    margin = claim["expect"].get("se", 0) * (hi - lo) / (2 * Z95) if "near" not in claim["expect"] else 0.0
    reach = max(hi - value, value - lo, margin if low <= value <= high else 0.0)
    gap = min(abs(value - limit) for limit in (low, high))
    if reach > 10 * gap:
        return "The value is so near to the limit of what is expected that a hundred times as many data need not decide"
    return f"If the value stayed, about {max(1.1, (reach / gap) ** 2):.2g} times as many data would decide"


def _region(expect: Mapping) -> tuple[float, float]:
    """The least and the largest value that a claim expects."""
    if "near" in expect:
        return expect["near"] - expect["abs"], expect["near"] + expect["abs"]
    return expect.get("at_least", -math.inf), expect.get("at_most", math.inf)


def expected(claim: Mapping) -> str:
    """What the check of a claim asks for, in words."""
    if "status_if_not_run" in claim:
        return claim["status_if_not_run"].partition(":")[2].strip()
    expect = dict(claim["expect"])
    if "holds" in expect:
        return "it holds"
    if "equals" in expect:
        return f"{_shown(expect['equals'])}, exactly"
    if "near" in expect and not expect["abs"]:
        return f"{expect['near']:g} within {expect['se']:g} standard errors; no tolerance was written down"
    if "near" in expect:
        return f"{expect['near']:g} within {expect['abs']:g}"
    margin = f" by {expect['se']:g} standard errors or more" if expect.get("se") else ""
    return "; ".join(f"{word} {expect[form]:g}{margin}" for form, word in _WORDS.items() if form in expect)


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
