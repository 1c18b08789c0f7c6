"""Guards of verdicts: what keeps imprecision from helping a claim, and longer runs from answering something else."""

from tests.guards import Guard

LEDGER, LONGER = "hierlib/book/site/ledger.py", "hierlib/book/site/longer.py"
DECIDES = "tests/test_results.py::test_an_interval_decides_by_all_of_it"
KEPT = "tests/test_longer.py"

OF_VERDICTS = [
    Guard(
        "the whole interval",
        LEDGER,
        "    if low <= min(lo, value - margin) and max(hi, value + margin) <= high:\n",
        "    if low <= value - margin and value + margin <= high:\n",
        DECIDES,
    ),
    Guard(
        "the old slack of near",
        LEDGER,
        "    low, high = _region(expect)\n",
        '    slack = expect.get("se", 0) * error if expect.get("abs") else 0\n'
        "    low, high = (x + sign * slack for x, sign in zip(_region(expect), (-1, 1)))\n",
        DECIDES,
    ),
    Guard(
        "a margin in standard errors",
        LEDGER,
        '    margin = 0.0 if "near" in expect else expect.get("se", 0) * error\n',
        "    margin = 0.0\n",
        DECIDES,
    ),
    Guard(
        "differs by all of it",
        LEDGER,
        '    return "differs" if hi < low or high < lo else "not resolved"\n',
        '    return "differs" if value < low or high < value else "not resolved"\n',
        DECIDES,
    ),
    Guard(
        "no tolerance, no proof",
        LEDGER,
        '        return "differs" if abs(value - low) > expect["se"] * error else "not resolved"\n',
        '        return "differs" if abs(value - low) > expect["se"] * error else "reproduced"\n',
        DECIDES,
    ),
    Guard(
        "a condition that is not resolved",
        LEDGER,
        '    return {"reproduced": "qualified", "differs": "reproduced"}.get(condition, condition)\n',
        '    return "qualified" if condition == "reproduced" else "reproduced"\n',
        "tests/test_results.py::test_condition",
    ),
    Guard(
        "longer runs of something else",
        LONGER,
        "    if other := sorted(given.keys() - SIZES - {DEVICE}):\n",
        "    if other := []:\n",
        f"{KEPT}::test_runs_that_answer_something_else_are_not_kept",
    ),
    Guard(
        "longer runs that failed",
        LONGER,
        '    if facts.get("files") != checksums(folder):\n',
        "    if False:\n",
        f"{KEPT}::test_a_run_that_failed_or_was_edited_is_not_kept",
    ),
    Guard(
        "longer runs that are blunter",
        LONGER,
        '    if not _counts(longer, longer["made"]["drawn"], answer, _drawn(answer.get("parameters", {}))):\n',
        "    if False:\n",
        f"{KEPT}::test_the_sharper_answer_counts_and_the_other_one_is_told",
    ),
    Guard(
        "longer runs that are kept beside sharper ones",
        LONGER,
        '            if rival is run or _counts(answer, run["made"]["drawn"], other, rival["made"]["drawn"]):\n',
        "            if True:\n",
        f"{KEPT}::test_of_several_runs_each_answer_is_the_sharpest",
    ),
    Guard(
        "longer runs that drew more",
        LONGER,
        "        if all(drew[name] >= other_drew[name] for name in drew):\n",
        "        if False:\n",
        f"{KEPT}::test_a_run_that_drew_more_counts_though_its_interval_is_wider",
    ),
    Guard(
        "longer runs that contradict",
        LONGER,
        '    if abs(longer["value"] - answer["value"]) > APART * error:\n',
        "    if False:\n",
        f"{KEPT}::test_answers_that_contradict_each_other_end_the_build",
    ),
]
