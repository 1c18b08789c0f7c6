"""Guards of sweeps, runs, keys, the site and the ledger."""

from tests.guards import Guard

GRID, SWEEP, DASK, RUN, COLLECT, PARAMS = (
    f"hierlib/book/runs/{name}.py" for name in ("grid", "sweep", "cluster", "run", "collect", "params")
)
REFUSED = "tests/test_grid.py::test_refused_with_what_would_do"
DAMAGED = "tests/test_sweep_results.py::test_damaged_runs_are_named_left_out_and_run_again"
HERE = "tests/test_sweep.py::test_"
RESULTS = "tests/test_sweep_results.py::test_"
DECIDES = "test_an_interval_decides_by_all_of_it"
SITE, BOOK = "hierlib/book/site/build.py", "tests/test_run.py::test_"
LEFT = f"{BOOK}what_jupyter_and_editors_leave_beside_a_chapter_is_no_page"
CLUSTER = "tests/test_cluster.py::test_"
FAULTS = "tests/faults/test_faults.py::test_"

OF_RUNS = [
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
        "constraints of a profile's defaults in a grid",
        GRID,
        "                about.add(PROFILE)  # which may change their defaults",
        "                pass",
        "tests/test_grid.py::test_each_point_has_the_defaults_of_its_profile",
    ),
    Guard(
        "constraints of a profile's defaults",
        PARAMS,
        "        values = filled(parameters, values)\n        check_constraints",
        "        check_constraints(parameters, {**{n: p.default for n, p in parameters.items()}, **values})\n"
        "        values = filled(parameters, values)\n        print",
        "tests/test_params.py::test_what_a_profile_sets_is_bound_like_any_value",
    ),
    Guard(
        "full outside a run",
        "hierlib/book/page/setup.py",
        '    if profile == "full" and run_folder() is None:',
        "    if False:",
        "tests/test_glue.py::test_full_sizes_are_the_runners",
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
        'return facts.get("files") == checksums(job.folder)',
        "return True",
        f"{DAMAGED}[truncated]",
    ),
    Guard("labels when resuming", RUN, ' or facts.get("parameters") != dict(job.values)', "", f"{DAMAGED}[labels]"),
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
        "        if job.fit and job.fit != identity(job.target):",
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
        "suspects.append if workers.size > 1 else failed",
        "failed",
        f"{FAULTS}a_point_that_kills_its_process_fails_alone",
    ),
    Guard(
        "a killer is marked",
        SWEEP,
        "        note(died(job, DEAD))",
        "        pass",
        f"{FAULTS}a_point_that_kills_its_process_fails_alone",
    ),
    Guard(
        "a killer is not handed on",
        SWEEP,
        "            mark.touch(exist_ok=False)",
        "            mark.touch(exist_ok=True)",
        f"{FAULTS}a_point_that_kills_its_process_fails_alone",
    ),
    Guard(
        "workers with threads",
        DASK,
        "    with _TURN:",
        "    with contextlib.nullcontext():",
        f"{CLUSTER}a_worker_with_threads_does_one_point_at_a_time",
    ),
    Guard(
        "workers with other disks",
        DASK,
        "        if not seen.exists():",
        "        if False:",
        f"{CLUSTER}a_worker_that_joins_with_another_file_system_stops_the_sweep",
    ),
    Guard(
        "versions of workers",
        DASK,
        "for k in mine if facts.get(k) != mine[k]]",
        "for k in mine if False]",
        f"{CLUSTER}workers_that_do_not_fit",
    ),
    Guard(
        "threads of workers",
        DASK,
        "        if threads.get(address, 1) != 1:",
        "        if False:",
        f"{CLUSTER}workers_that_do_not_fit",
    ),
    Guard(
        "resources of workers", DASK, "        if not able:", "        if False:", f"{CLUSTER}workers_that_do_not_fit"
    ),
    Guard(
        "no workers",
        DASK,
        "        client.wait_for_workers(1, timeout=wait)",
        "        pass",
        f"{CLUSTER}workers_that_do_not_fit",
    ),
    Guard(
        "no scheduler",
        DASK,
        "        except (OSError, TimeoutError, ValueError):",
        "        except KeyError:",
        f"{HERE}refused_at_once_with_what_to_do",
    ),
    Guard("no dask", DASK, "    except ModuleNotFoundError:", "    except KeyError:", f"{CLUSTER}without_dask"),
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
        "    root = target.root\n",
        "    root = target.root\n    yield target.path.read_bytes()\n",
        "tests/test_key.py::test_prose_does_not_count",
    ),
    Guard(
        "the library is in the key",
        "hierlib/book/runs/key.py",
        "        yield path.read_bytes()\n",
        "        pass\n",
        "tests/test_key.py::test_what_counts",
    ),
    Guard(
        "the lock is in the key",
        "hierlib/book/runs/key.py",
        'lock.read_bytes() if lock.is_file() else b""',
        'b""',
        "tests/test_key.py::test_what_counts",
    ),
    Guard(
        "a failed chapter: exit code",
        "hierlib/book/commands.py",
        "failed = [each for each in done if each.error]",
        "failed = []",
        "tests/test_run.py::test_a_failure_leaves_its_notebook_and_the_others_run",
    ),
    Guard(
        "a failed chapter: its notebook",
        RUN,
        "        part.replace(failed_folder(job))\n",
        "        pass\n",
        "tests/test_run.py::test_a_failure_leaves_its_notebook_and_the_others_run",
    ),
    Guard(
        "one build at a time",
        "hierlib/_locks.py",
        "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        "tests/test_locks.py::test_the_lock_waits",
    ),
    Guard("a site without Jekyll", SITE, '(work / "_build" / "html" / ".nojekyll").touch()', "pass", f"{BOOK}zip"),
    Guard("notebooks beside chapters", SITE, '_LEFT = ("**.ipynb", ', "_LEFT = (", LEFT),
    Guard("hidden copies of chapters", SITE, '_LEFT = ("**.ipynb", "**/.*")', '_LEFT = ("**.ipynb",)', LEFT),
    Guard("what is left makes no site anew", SITE, "if not any(_left(", "if not all(_left(", LEFT),
    Guard(
        "bookmarks keep the spaces of a heading that wraps",
        "hierlib/book/site/pdf.py",
        "white-space: break-spaces;",
        "",
        "tests/test_pdf.py::test_a_bookmark_keeps_its_spaces_where_the_heading_wraps",
    ),
    Guard(
        "unknown parameters of a chapter",
        PARAMS,
        "            if name not in parameters:\n                near",
        "            if False:\n                near",
        "tests/test_cli.py::test_refused_before_anything_runs",
    ),
    Guard(
        "values out of range",
        PARAMS,
        "            if not holds:\n",
        "            if False:\n",
        "tests/test_cli.py::test_refused_before_anything_runs",
    ),
    Guard(
        "the kernel's end without an interrupt",
        "hierlib/book/runs/point.py",
        "                kernel_manager_class=Kernel,\n",
        "",
        f"{HERE}a_kernel_is_not_interrupted_when_its_notebook_has_ended",
    ),
    Guard(
        "modules named in pieces",
        "hierlib/book/runs/key.py",
        'found |= self.whole(text[:-1]) if text.endswith(".") else set()',
        "pass",
        "tests/test_key.py::test_every_way_to_import",
    ),
    *(
        Guard(name, "hierlib/book/site/ledger.py", old, new, f"tests/test_results.py::{test}")
        for name, old, new, test in (
            ("imprecision buys no verdict", "if low <= min(lo, value - margin)", "if low <= value", DECIDES),
            ("imprecision refutes nothing", "hi < low or high < lo", "value < low or high < value", DECIDES),
            ("a margin in standard errors", 'expect.get("se", 0) * error', "0.0", DECIDES),
            ("an unresolved condition", "condition, condition)", 'condition, "qualified")', "test_condition"),
        )
    ),
    Guard(
        "groups below the root",
        "hierlib/_limits.py",
        "for i in range(len(parts) + 1)",
        "for i in range(1)",
        "tests/test_limits.py::test_version_2_below_the_root",
    ),
    Guard(
        "groups above the own one",
        "hierlib/_limits.py",
        "for i in range(len(parts) + 1)",
        "for i in [len(parts)]",
        "tests/test_limits.py::test_the_lowest_limit_counts",
    ),
    Guard(
        "file systems without locks: netCDF",
        "hierlib/book/cli.py",
        "    hdf5_needs_none()\n",
        "",
        f"{FAULTS}a_file_system_without_locks",
    ),
    Guard(
        "file systems without locks: turns",
        "hierlib/_locks.py",
        'with path.open("x") as file:',
        'with path.open("w") as file:',
        "tests/test_locks.py::test_one_at_a_time_where_there_are_no_locks",
    ),
    Guard(
        "containers of one host name",
        "hierlib/_process.py",
        'return f"{socket.gethostname()}-{world()}"',
        "return socket.gethostname()",
        "tests/test_locks.py::test_containers_of_one_host_name_have_names_of_their_own",
    ),
]
