"""Guards of the engine of the live figures, for mutations.py; each row as in results.py."""

JS = "book/_assets/js/engine/"
LABORATORY, OF_LABORATORY = "book/_assets/js/laboratory/", "tests/test_figures_laboratory.py::test_"
ENGINE, WORKER = "tests/test_engine.py::test_", "tests/test_engine_worker.py::test_"
BAD = f"{ENGINE}bad_input_is_refused_in_a_sentence"
AGAIN = f"{ENGINE}what_leaves_the_range_of_float32_is_done_again"

ENGINES = [
    ("a page's grammar of two parses", f"{JS}model.js", "if (used[code] === l + 1)", "if (false)", BAD),
    ("a page's weights that add up to two", f"{JS}weights.js", "if (Math.abs(total - 1) > SUM)", "if (false)", BAD),
    (
        "a page's weights that are negative",
        f"{JS}weights.js",
        "E.within(`weights[${l}]`, flat[k], 0, 1 + SUM)",
        "flat[k]",
        BAD,
    ),
    ("a page's impossible evidence", f"{JS}float64.js", "if (!(headroom * total >= LEAST))", "if (false)", BAD),
    (
        "a page's evidence that is no number",
        f"{JS}float64.js",
        "if (!(up[0][k] >= 0 && up[0][k] < Infinity))",
        "if (false)",
        BAD,
    ),
    (
        "a page's messages near the end of float32",
        f"{JS}float32.js",
        "headroom[b] * total >= least",
        "total > 0",
        AGAIN,
    ),
    (
        "a page's evidence near the end of float32",
        f"{JS}float32.js",
        "total >= SMALL && total <= LARGE",
        "total > 0",
        AGAIN,
    ),
    (
        "a page's small numbers that count as zero",
        f"{JS}float32.js",
        "floor: 2 ** -63, least: 2 ** (-63 + 35)",
        "floor: 2 ** -63, least: 2 ** -126",
        f"{ENGINE}numbers_below_the_floor_count_where_they_matter",
    ),
    (
        "a page's numbers that are slow to multiply",
        f"{JS}float32.js",
        "floor: 2 ** -63,",
        "floor: 0,",
        f"{ENGINE}no_message_has_numbers_that_are_slow_to_multiply",
    ),
    (
        "a browser without the instructions",
        f"{JS}simd.js",
        "if (!globalThis.WebAssembly?.validate(bytes)) return null;",
        "if (!WebAssembly.validate(bytes)) throw new Error();",
        f"{ENGINE}without_the_instructions_all_is_done_in_float64",
    ),
    (
        "whole numbers that are even",
        f"{JS}random.js",
        "while (r >= end) r = this.bits();",
        "",
        f"{ENGINE}whole_numbers_are_even",
    ),
    (
        "workers that have been stopped",
        f"{JS}worker.js",
        "crew.forEach((worker) => worker.terminate());",
        "",
        f"{WORKER}a_job_stops_at_once_and_the_page_stays_at_hand",
    ),
    (
        "jobs that there are not",
        f"{JS}worker.js",
        "if (!Object.hasOwn(E.jobs, name))",
        "if (!E.jobs[name])",
        f"{WORKER}only_jobs_are_started",
    ),
    (
        "noises that there are not",
        f"{JS}jobs.js",
        "of = 1 }) {\n    if (!NOISES.includes(noise))",
        "of = 1 }) {\n    if (!E[noise])",
        f"{WORKER}a_job_refuses_in_a_sentence",
    ),
    (
        "an address that asks the laboratory for too much",
        f"{LABORATORY}setting.js",
        "Math.min(most, Math.max(least, near))",
        "near",
        f"{OF_LABORATORY}a_bad_address_is_put_right_in_a_sentence",
    ),
    (
        "a lead of the class that is none",
        f"{LABORATORY}curves.js",
        "lead > LEAD && ",
        "",
        f"{OF_LABORATORY}numbers_read_off_curves",
    ),
    (
        "leaves of an address that the datum has not",
        f"{LABORATORY}datum.js",
        "+leaf >= 1 && +leaf <= s ** L && ",
        "",
        "tests/test_live_datum.py::test_what_cannot_be_is_put_right",
    ),
    (
        "symbols that the grammar of a typed string has not",
        f"{LABORATORY}strings.js",
        " || +c >= g.v",
        "",
        "tests/test_live_strings.py::test_what_is_no_string_is_said",
    ),
]
