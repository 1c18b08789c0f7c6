"""Removes each guard of the sweeps and of the runner in turn and shows that its test fails.

    python tests/mutations.py               # all, some minutes
    python tests/mutations.py "full disk"   # those whose name holds this

Works on a copy of the library and the tests; the checkout is not touched.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Guard(NamedTuple):
    """A piece of code, what stands there without the guard, and the test that must notice."""

    name: str
    file: str
    old: str
    new: str
    test: str


GRID, SWEEP, RUN, COLLECT = (f"hierlib/book/runs/{name}.py" for name in ("grid", "sweep", "run", "collect"))
PRECISION = "hierlib/_kernels/precision.py"
REFUSED = "tests/test_grid.py::test_refused_with_what_would_do"
DAMAGED = "tests/test_sweep_results.py::test_damaged_runs_are_named_left_out_and_run_again"
HERE = "tests/test_sweep.py::test_"
RESULTS = "tests/test_sweep_results.py::test_"
FAULTS = "tests/faults/test_faults.py::test_"

GUARDS = [
    Guard(
        "too many points",
        GRID,
        "    if count > LIMIT:",
        "    if False:",
        "tests/test_grid.py::test_ten_million_points_are_refused_at_once",
    ),
    Guard(
        "too long an axis",
        GRID,
        "    if count > room:",
        "    if False:",
        f"{REFUSED}[seed-0:150000,200000:350000-a sweep at most]",
    ),
    Guard("empty range", GRID, "    if count == 0:", "    if False:", REFUSED),
    Guard("value twice", GRID, "        if value in seen:", "        if False:", REFUSED),
    Guard("unknown parameter", GRID, "            if unknown:", "            if False:", REFUSED),
    Guard(
        "constraints",
        GRID,
        "                if not good:",
        "                if False:",
        "tests/test_grid.py::test_a_constraint_is_checked_at_every_point",
    ),
    Guard(
        "plain YAML",
        GRID,
        "_OncePerKey(yaml.BaseLoader)",
        "_OncePerKey(yaml.UnsafeLoader)",
        "tests/test_grid.py::test_a_bad_file",
    ),
    Guard(
        "key twice",
        GRID,
        "            if keys.count(key) > 1:",
        "            if False:",
        "tests/test_grid.py::test_a_bad_file",
    ),
    Guard(
        "skip what is there", SWEEP, "        if finished(job):", "        if False:", f"{HERE}a_sweep_and_its_dataset"
    ),
    Guard(
        "checksums when resuming",
        RUN,
        'return facts["files"] == checksums(job.folder)',
        "return True",
        f"{DAMAGED}[truncated]",
    ),
    Guard("labels when resuming", RUN, ' or facts["parameters"] != dict(job.values)', "", f"{DAMAGED}[labels]"),
    Guard("labels when collecting", COLLECT, "    if parameters != values:", "    if False:", f"{DAMAGED}[labels]"),
    Guard(
        "the library of another checkout",
        "hierlib/book/runs/targets.py",
        '        if (own / "__init__.py").is_file() and own.resolve() != here:',
        "        if False:",
        f"{HERE}the_library_of_another_checkout_is_refused",
    ),
    Guard(
        "a folder that goes away",
        RUN,
        '        return f"nothing can be written to {folder.parent} ({why.strerror})"\n',
        "        return None\n",
        f"{HERE}a_folder_that_goes_away_stops_the_sweep",
    ),
    Guard(
        "checksums when collecting",
        COLLECT,
        "            if wanted.get(name) != here.get(name):",
        "            if False:",
        f"{DAMAGED}[flipped]",
    ),
    Guard("links", RUN, "    if any(path.is_symlink() for path in paths):", "    if False:", f"{DAMAGED}[link]"),
    Guard(
        "damaged: exit code", "hierlib/book/commands.py", "    if found.damaged:", "    if False:", f"{DAMAGED}[lost]"
    ),
    Guard(
        "older code",
        COLLECT,
        'if run.facts.get("code") == newest]',
        "]",
        f"{RESULTS}runs_of_older_code_are_left_out_and_counted",
    ),
    Guard(
        "retry on request",
        SWEEP,
        "        elif not retry and failed_folder(job).is_dir():",
        "        elif False:",
        f"{HERE}a_failure_is_listed_and_tried_again_on_request_only",
    ),
    Guard(
        "failed: exit code",
        "hierlib/book/runs/report.py",
        "    return not (tally.failed or tally.earlier or tally.halted)",
        "    return True",
        f"{HERE}a_failure_is_listed_and_tried_again_on_request_only",
    ),
    Guard(
        "the quicker rival stays",
        RUN,
        "            if finished(job) and not job.force:\n                return\n",
        "",
        f"{HERE}a_rival_that_was_quicker_keeps_its_place",
    ),
    Guard(
        "other code on a worker",
        RUN,
        "        if job.fit and job.fit != identity(job.chapter):",
        "        if False:",
        f"{HERE}code_that_changes_during_a_sweep_stops_it",
    ),
    Guard(
        "full disk is no failure",
        RUN,
        "        if why := _no_room(error, part):",
        "        if why := None:",
        f"{HERE}a_full_disk_stops_the_sweep_and_marks_nothing",
    ),
    Guard(
        "full disk stops all",
        SWEEP,
        "            self.halted = outcome.error",
        "            pass",
        f"{HERE}a_full_disk_stops_the_sweep_and_marks_nothing",
    ),
    Guard(
        "a name for whole runs only",
        RUN,
        "    part = _part(job)\n",
        "    part = job.folder\n",
        f"{HERE}a_sweep_and_its_dataset",
    ),
    Guard(
        "points that died with another",
        SWEEP,
        "deque([job] for group in suspects for job in group)",
        "deque()",
        f"{FAULTS}a_point_that_kills_its_process_fails_alone",
    ),
    Guard(
        "a killer is marked",
        SWEEP,
        "                    note(died(job, DEAD))",
        "                    pass",
        f"{FAULTS}a_point_that_kills_its_process_fails_alone",
    ),
    Guard(
        "versions of workers",
        SWEEP,
        "for k in mine if facts.get(k) != mine[k]]",
        "for k in mine if False]",
        f"{HERE}workers_that_do_not_fit",
    ),
    Guard(
        "threads of workers",
        SWEEP,
        "        if threads.get(address, 1) != 1:",
        "        if False:",
        f"{HERE}workers_that_do_not_fit",
    ),
    Guard("resources of workers", SWEEP, "        if not able:", "        if False:", f"{HERE}workers_that_do_not_fit"),
    Guard(
        "no workers",
        SWEEP,
        "        client.wait_for_workers(1, timeout=wait)",
        "        pass",
        f"{HERE}workers_that_do_not_fit",
    ),
    Guard(
        "no scheduler",
        SWEEP,
        "        except (OSError, TimeoutError, ValueError):",
        "        except KeyError:",
        f"{HERE}refused_at_once_with_what_to_do",
    ),
    Guard("no dask", SWEEP, "    except ModuleNotFoundError:", "    except KeyError:", f"{HERE}without_dask"),
    Guard(
        "folder that takes no file",
        "hierlib/book/commands.py",
        'sweeping.writable(out or root / "results")',
        '(out or root / "results")',
        f"{HERE}refused_at_once_with_what_to_do",
    ),
    Guard(
        "HTML",
        "hierlib/book/page/stamp.py",
        "<td>{html.escape(v)}</td>",
        "<td>{v}</td>",
        f"{RESULTS}html_in_a_parameter_is_text_on_the_page",
    ),
    Guard(
        "names",
        "hierlib/book/page/results.py",
        'not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)',
        "False",
        f"{RESULTS}no_name_leads_out_of_a_runs_folder",
    ),
    Guard(
        "pickles",
        "hierlib/images/adm.py",
        "weights_only=True",
        "weights_only=False",
        f"{RESULTS}weights_that_are_pickles_run_nothing",
    ),
    Guard(
        "randomness from the seed alone",
        "hierlib/book/runs/quantities.py",
        "manual_seed(seed)",
        'manual_seed(seed + __import__("os").getpid())',
        f"{HERE}one_or_two_processes_in_any_order_resumed_or_not",
    ),
    Guard(
        "prose is not in the key",
        "hierlib/book/runs/key.py",
        "    root = chapter.root\n",
        "    root = chapter.root\n    yield chapter.path.read_bytes()\n",
        "tests/test_book_cache.py::test_prose_does_not_count",
    ),
    Guard(
        "the library is in the key",
        "hierlib/book/runs/key.py",
        "        yield path.read_bytes()\n",
        "        pass\n",
        "tests/test_book_cache.py::test_what_counts",
    ),
    Guard(
        "the lock is in the key",
        "hierlib/book/runs/key.py",
        'lock.read_bytes() if lock.is_file() else b""',
        'b""',
        "tests/test_book_cache.py::test_what_counts",
    ),
    Guard(
        "a failed chapter: exit code",
        "hierlib/book/commands.py",
        "failed = [each for each in done if each.error]",
        "failed = []",
        "tests/test_book_run.py::test_a_failure_leaves_its_notebook_and_the_others_run",
    ),
    Guard(
        "a failed chapter: its notebook",
        RUN,
        "        part.replace(failed_folder(job))\n",
        "        pass\n",
        "tests/test_book_run.py::test_a_failure_leaves_its_notebook_and_the_others_run",
    ),
    Guard(
        "one build at a time",
        "hierlib/book/site/build.py",
        "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        "tests/test_book_run.py::test_the_lock_waits",
    ),
    Guard(
        "unknown parameters of a chapter",
        "hierlib/book/runs/params.py",
        "            if name not in parameters:\n                near",
        "            if False:\n                near",
        "tests/test_book_cli.py::test_refused_before_anything_runs",
    ),
    Guard(
        "values out of range",
        "hierlib/book/runs/params.py",
        "            if not holds:\n",
        "            if False:\n",
        "tests/test_book_cli.py::test_refused_before_anything_runs",
    ),
    Guard(
        "the kernel's end without an interrupt",
        "hierlib/book/runs/point.py",
        "                kernel_manager_class=Kernel,\n",
        "",
        f"{HERE}a_kernel_is_not_interrupted_when_its_notebook_has_ended",
    ),
    Guard(
        "half precision is computed in single",
        PRECISION,
        "    return torch.promote_types(dtype, torch.float32)",
        "    return dtype",
        "tests/test_precision.py::test_posterior_samples_follow_the_exact_marginals",
    ),
    Guard(
        "numbers that come near the end of their range",
        PRECISION,
        "    return torch.finfo(dtype).tiny * 2.0**GUARD",
        "    return 0.0",
        "tests/test_precision.py::test_products_that_leave_single_precision_are_done_again_in_double",
    ),
    Guard(
        "changes that are rare",
        "hierlib/theory/changes.py",
        "    if not len(rows):",
        "    if True:",
        "tests/test_precision.py::test_susceptibility_where_hardly_anything_changes",
    ),
    Guard(
        "a tensor made without a device",
        "hierlib/_kernels/memory.py",
        'return torch.empty(shape, dtype=dtype, device="cpu")',
        "return torch.empty(shape, dtype=dtype)",
        "tests/test_devices.py::test_no_tensor_is_made_where_torch_would_put_it",
    ),
    Guard(
        "views that stand for the negative",
        "hierlib/inference.py",
        "evidence.resolve_neg().permute",
        "evidence.permute",
        "tests/test_devices.py::test_views_that_stand_for_other_numbers_than_their_memory",
    ),
    Guard(
        "rules that were written to",
        "hierlib/_kernels/cpu.py",
        " or found.written != g.written",
        "",
        "tests/test_devices.py::test_rules_that_are_written_to_are_read_again",
    ),
    Guard(
        "tables of 32 bits",
        "hierlib/_kernels/cpu.py",
        "        if max(g.s * (g.v + 1), len(rule) + 1) * LANE_BYTES > 2**32:",
        "        if False:",
        "tests/test_offsets.py::test_tables_that_32_bits_cannot_hold_are_refused",
    ),
    Guard(
        "modules named in pieces",
        "hierlib/book/runs/key.py",
        'found |= self.whole(text[:-1]) if text.endswith(".") else set()',
        "pass",
        "tests/test_book_cache.py::test_every_way_to_import",
    ),
]


def copy(to: Path) -> None:
    """The library and the tests; the rest of the checkout by links."""
    for path in ROOT.iterdir():
        if path.name in ("hierlib", "tests"):
            shutil.copytree(path, to / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.name not in (".git", "_build", "results", "dist", "build") and not path.name.startswith(".venv"):
            (to / path.name).symlink_to(path)


def fails(root: Path, tests: list[str]) -> bool | None:
    """Whether one of the tests fails; None if they could not be run."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    return {0: False, 1: True}.get(done.returncode)


def main(words: list[str]) -> int:
    chosen = [guard for guard in GUARDS if not words or any(word in guard.name for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copy(root)
        if fails(root, sorted({guard.test for guard in chosen})) is not False:
            print("with all guards the tests do not pass; see pytest")
            return 2
        bad = 0
        for guard in chosen:
            start, path = time.monotonic(), root / guard.file
            text = path.read_text("utf-8")
            path.write_text(text.replace(guard.old, guard.new), "utf-8")
            noticed = text.count(guard.old) == 1 and fails(root, [guard.test])
            path.write_text(text, "utf-8")
            word = "noticed" if noticed else "NOT NOTICED"
            print(f"{word:11}  {time.monotonic() - start:5.1f} s  {guard.name}  ({guard.test})", flush=True)
            bad += not noticed
    print(f"{len(chosen) - bad} of {len(chosen)} guards have a test that fails without them")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
