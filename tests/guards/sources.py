"""Guards of what chapters' files may say and of how they reach papermill and the site."""

from tests.guards import Guard

SOURCE, SITE = "hierlib/book/runs/source.py", "tests/test_sources.py::test_equal_code_dates_and_braces_reach_the_site"
HERE = "tests/test_sources.py::test_"
CELLS = f"{HERE}a_chapter_that_cannot_be_read_is_named_with_its_line"

OF_SOURCES = [
    Guard(
        "braces in the name of what papermill writes",
        "hierlib/book/runs/point.py",
        '.replace("{", "{{").replace("}", "}}")',
        "",
        f"{HERE}the_path_of_a_run_is_no_pattern",
    ),
    Guard(
        "outputs of a page's own run",
        "hierlib/book/site/reading.py",
        "    return caches / page\n",
        "    return caches\n",
        SITE,
    ),
    Guard(
        "dates are text to Sphinx, too",
        "hierlib/book/site/reading.py",
        "plain(content[0], str(env.doc2path(page, base=False)))",
        "content[0]",
        SITE,
    ),
    Guard(
        "caches outside the checkout",
        "hierlib/book/site/build.py",
        'tempfile.TemporaryDirectory(prefix="hier-")',
        'tempfile.TemporaryDirectory(prefix="hier-", dir=build)',
        SITE,
    ),
    Guard(
        "dates are text",
        "hierlib/_yaml.py",
        "for _tag in (_TIME, _BYTES):",
        "for _tag in (_BYTES,):",
        f"{HERE}what_json_has_no_word_for_is_the_text_that_is_written",
    ),
    Guard(
        "headers that are no YAML",
        "hierlib/book/runs/source.py",
        "    except _yaml.NotYaml as error:\n        raise BadRequest(str(error)) from None\n",
        "    except _yaml.NotYaml:\n        return None\n",
        f"{HERE}a_header_that_is_no_yaml_is_named_with_its_line",
    ),
    Guard(
        "headers of other chapters",
        "hierlib/book/runs/checkout.py",
        "if slug == _slug(path) and source.is_notebook(path, root)]",
        "if source.is_notebook(path, root) and slug == _slug(path)]",
        f"{HERE}every_command_says_where_and_others_are_untouched[run another]",
    ),
    Guard(
        "options that are no JSON", SOURCE, "        except (TypeError, ValueError):", "        except KeyError:", CELLS
    ),
    Guard(
        "cells that may fail",
        SOURCE,
        '    if _MAY_FAIL in cell.metadata.get("tags", ()) or _MAY_FAIL in cell.metadata:',
        "    if False:",
        CELLS,
    ),
    Guard(
        "the line of a cell that cannot be read",
        SOURCE,
        "if _fails(cells, b)), 0)",
        "if True), 0)",
        CELLS,
    ),
]
