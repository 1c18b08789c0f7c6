"""The page of recipes: everything that it types is run, and answers what it says."""

import doctest
import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "book" / "recipes.md"


def test_every_recipe_answers_what_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```pycon\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    assert len(blocks) > 10 and all(block.startswith(">>> ") for block in blocks)
    example = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, PAGE.name, str(PAGE), 0)
    said = []
    failed, tried = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert tried > 30 and not failed, "".join(said)
