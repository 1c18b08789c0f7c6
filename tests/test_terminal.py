"""Commands as a page shows them."""

import textwrap

from hierlib.book.page.terminal import Terminal, folded
from tests import tiny


def test_a_command_runs_in_a_folder_that_goes_away(tmp_path, capsys):
    terminal = Terminal(tiny.make(tmp_path))
    out = terminal.run("hierlib list", lines=1)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "$ hierlib list" and shown[1:] == out.splitlines()[:1]
    assert terminal.said["hierlib list"] == (0, out) and terminal.finished() == []
    terminal.run("hierlib run one --out results/a")
    code, said = terminal.said["hierlib run one --out results/a"]
    assert code == 0 and "results/a" in said and str(tmp_path) not in said and "terminal-" not in said
    assert terminal.finished() == ["a"]
    terminal.close()
    assert not terminal.folder.exists()


def test_what_is_refused_says_its_exit_code(tmp_path):
    terminal = Terminal(tiny.make(tmp_path))
    terminal.run("hierlib run none --out results/a")
    assert terminal.said["hierlib run none --out results/a"][0] == 2
    terminal.close()


def test_long_lines_are_folded_and_short_ones_stay():
    long = "word " * 30
    assert folded(f"a\n{long}").splitlines() == ["a", *textwrap.wrap(long, 80)]
