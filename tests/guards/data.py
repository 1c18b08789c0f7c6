"""Guards against results of other inputs, and numbers that change; tests/mutations.py removes each in turn."""

from tests.guards import Guard

NETCDF, LABELS, JOIN = "hierlib/_netcdf.py", "hierlib/book/runs/labels.py", "hierlib/book/runs/join.py"
COLLECTED, KEPT = "tests/test_collect.py::test_", "tests/test_netcdf.py::test_"

INPUTS = "hierlib/book/runs/inputs.py"
NAMED = "tests/test_inputs.py::test_"

DEVICE = "tests/test_device_parameter.py::test_"
OF_INPUTS = [
    Guard(
        "device in the name of a run",
        "hierlib/book/runs/run.py",
        "    for values in (placed(each, here=here) for each in points):",
        "    for values in points:",
        f"{DEVICE}a_run_is_named_by_the_device_that_it_had",
    ),
    Guard(
        "a GPU that is not there",
        "hierlib/_devices.py",
        '    if found.type == "cuda" and not has_cuda:',
        "    if False:",
        f"{DEVICE}a_gpu_that_is_not_there_is_refused_unless_it_is_elsewhere",
    ),
    Guard(
        "files that parameters name",
        "hierlib/book/runs/key.py",
        "inputs.of(target.parameters, values)]",
        "{}]",
        f"{NAMED}contents_and_names_count_where_a_parameter_names_them",
    ),
    Guard(
        "files that the code names by a path",
        "hierlib/book/runs/key.py",
        ".of_code(own)",
        ".of_code([])",
        f"{NAMED}files_that_the_code_names_by_a_path_count_wherever_they_lie",
    ),
    Guard(
        "what a run writes to",
        INPUTS,
        " or parameter.written",
        "",
        f"{NAMED}what_is_no_input",
    ),
    Guard(
        "results among the inputs",
        "hierlib/book/runs/run.py",
        "        inputs.refuse_inside(target.parameters, values, where)\n",
        "",
        f"{NAMED}results_among_the_inputs_are_refused",
    ),
    Guard(
        "the time of the entry",
        INPUTS,
        "status.st_ctime_ns, ",
        "0, ",
        f"{NAMED}large_folders_are_read_once_and_again_when_anything_has_changed",
    ),
    Guard(
        "files that change before the run",
        "hierlib/book/runs/run.py",
        "        _check_inputs(job)\n        shutil",
        "        shutil",
        f"{NAMED}a_run_says_what_it_read_and_none_is_filed_under_other_files",
    ),
    Guard(
        "files that change while it runs",
        "hierlib/book/runs/run.py",
        "part, job.timeout)\n        _check_inputs(job)\n",
        "part, job.timeout)\n",
        f"{NAMED}a_run_says_what_it_read_and_none_is_filed_under_other_files",
    ),
    Guard(
        "a choice among files",
        INPUTS,
        'if not choice or "/" in text or any(map(os.path.isfile, self._matches(text))):',
        "if not choice:",
        f"{NAMED}a_choice_among_files_is_no_choice_of_words",
    ),
    Guard(
        "a description beside weights",
        INPUTS,
        "for each in dict.fromkeys((file, about)) if",
        "for each in (file,) if",
        f"{NAMED}a_description_beside_a_file_counts_with_it",
    ),
    Guard(
        "each name of a folder",
        INPUTS,
        '                    yield f"{here} is {os.path.relpath(first, folder)}", here\n',
        "",
        f"{NAMED}each_name_of_a_folder_counts_and_its_contents_too",
    ),
    Guard(
        "points that have failed",
        "hierlib/book/runs/collect.py",
        "join([*(run.part for run in runs), *failed])",
        "join([run.part for run in runs])",
        "tests/test_sweep.py::test_a_value_at_which_all_has_failed_is_in_the_dataset_and_said",
    ),
    Guard(
        "the point of a process that died",
        "hierlib/book/runs/run.py",
        '        if not (part / "run.json").exists():',
        "        if False:",
        "tests/test_sweep.py::test_a_value_at_which_all_has_failed_is_in_the_dataset_and_said",
    ),
]

ENDS = "tests/test_ends.py::test_"

OF_ENDS = [
    Guard(
        "cells that did not run",
        "hierlib/book/runs/point.py",
        "    _check_ended(chapter, done)\n",
        "",
        f"{ENDS}a_chapter_that_ends_early_has_failed",
    ),
    Guard(
        "a point that exits",
        "hierlib/book/runs/run.py",
        "    except BaseException as error:  #",
        "    except Exception as error:  #",
        f"{ENDS}a_point_that_ends_its_process_politely_fails_alone[processes]",
    ),
    Guard(
        "Ctrl-C in a worker",
        "hierlib/book/runs/pool.py",
        "    signal.signal(signal.SIGINT, lambda *_: None)",
        "    pass",
        f"{ENDS}a_point_that_ends_its_process_politely_fails_alone[processes]",
    ),
    Guard(
        "Ctrl-C here",
        "hierlib/book/runs/run.py",
        "isinstance(error, KeyboardInterrupt) and _by_hand()",
        "False",
        f"{ENDS}ctrl_c_in_this_process_is_no_failure",
    ),
]

OF_DATA = [
    Guard(
        "a type that holds all runs' numbers",
        LABELS,
        "np.result_type(*(each.dtype for each in arrays), *also)",
        "np.result_type(arrays[0], *also)",
        f"{COLLECTED}a_type_holds_the_numbers_of_all_runs_whichever_comes_first",
    ),
    Guard(
        "whole numbers that no float is",
        LABELS,
        'if each.dtype.kind in "iu" and not (back == each).all():',
        "if False:",
        f"{COLLECTED}whole_numbers_that_no_common_type_holds_are_refused",
    ),
    Guard(
        "labels up to rounding",
        LABELS,
        "        if every[i] - every[start] > room:",
        "        if True:",
        f"{COLLECTED}labels_that_differ_by_rounding_are_one_and_it_is_said",
    ),
    Guard(
        "labels that stand twice",
        LABELS,
        "            if len(set(each.tolist())) < len(each) or missing(each).any():",
        "            if False:",
        f"{COLLECTED}what_cannot_be_lined_up_is_refused",
    ),
    Guard(
        "names that are taken",
        JOIN,
        "if several or name in taken or name == SECONDS else name",
        "if several else name",
        f"{COLLECTED}names_that_are_taken_bear_their_files_and_it_is_said",
    ),
    Guard(
        "coordinates",
        JOIN,
        "(str(n) for n in data.variables if n not in data.sizes)",
        "data.data_vars",
        f"{COLLECTED}coordinates_that_are_no_dimension_stay_coordinates",
    ),
    Guard(
        "units", JOIN, '    if "units" in differ:', "    if False:", f"{COLLECTED}what_cannot_be_lined_up_is_refused"
    ),
    Guard(
        "one run a point",
        "hierlib/book/runs/collect.py",
        "    runs, notes = _once(now)",
        "    runs, notes = now, []",
        f"{COLLECTED}of_two_runs_of_one_point_the_newer_counts_and_the_other_is_named",
    ),
    Guard(
        "notes on the screen",
        "hierlib/book/commands.py",
        "    for note in found.notes:",
        "    for note in ():",
        f"{COLLECTED}the_command_says_what_differs",
    ),
    Guard(
        "one zero",
        "hierlib/book/runs/params.py",
        '        if self.type == "float" and value == 0:',
        "        if False:",
        f"{COLLECTED}nearly_equal_parameters_are_named",
    ),
    Guard(
        "read as it was written",
        NETCDF,
        "        if why := _difference_to(data, part):",
        "        if why := None:",
        f"{KEPT}what_would_be_read_as_something_else_is_refused",
    ),
    Guard(
        "white is no missing value",
        NETCDF,
        "            store.ds.set_fill_off()",
        "            pass",
        f"{KEPT}white_is_no_missing_value_to_those_who_read_without_xarray",
    ),
    Guard(
        "the packing of another file",
        NETCDF,
        "data.drop_encoding()",
        "data",
        f"{KEPT}what_another_file_was_packed_by_is_not_used_again",
    ),
    Guard(
        "a share of the redrawings",
        "hierlib/experiments/redrawn.py",
        "        if not 0 <= self.share <= 1:",
        "        if False:",
        "tests/test_redrawn.py::test_share_out_of_range",
    ),
    Guard(
        "no sign of erased words in a text",
        "hierlib/text/corpus.py",
        "    if any(SPECIAL[MASK] in line for lines in passages for line in lines):",
        "    if False:",
        "tests/test_text_corpus.py::test_bad_text",
    ),
    Guard(
        "one form of a letter",
        "hierlib/text/corpus.py",
        '    text = _ORDER_MARK.sub("", normalize("NFC", text))',
        '    text = _ORDER_MARK.sub("", text)',
        "tests/test_text_corpus.py::test_words_that_look_alike_are_the_same",
    ),
    Guard(
        "marks of the byte order",
        "hierlib/text/corpus.py",
        '    text = _ORDER_MARK.sub("", normalize("NFC", text))',
        '    text = normalize("NFC", text)',
        "tests/test_text_corpus.py::test_words_that_look_alike_are_the_same",
    ),
    Guard(
        "a text without erased words",
        "hierlib/text/trigram.py",
        "        if x.ndim != 1 or len(x) < 3 or (x == MASK).any():",
        "        if False:",
        "tests/test_text_trigram.py::test_what_cannot_be_is_refused",
    ),
    Guard(
        "a text that the trigrams can make",
        "hierlib/text/trigram.py",
        "            if not belief.sum() > 0:",
        "            if False:",
        "tests/test_text_trigram.py::test_what_cannot_be_is_refused",
    ),
]
