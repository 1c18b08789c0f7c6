"""CONTRIBUTING.md names files, targets and functions that are there, and says of the rooms what their test holds."""

import re
from pathlib import Path

from .test_rooms import FLOORS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
WORDS = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.S))
KINDS = (".py", ".md", ".yml", ".yaml", ".toml", ".lock", ".js", ".css", ".html")


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_file_that_it_names_is_there():
    named = {
        word for word in WORDS if re.fullmatch(r"[\w.]+(/[\w.-]+)*/?", word) and ("/" in word or word.endswith(KINDS))
    }
    named |= set(re.findall(r"\]\((?!http)([^)]+)\)", TEXT))
    made = {"book/quantities.py", "book/NN_slug.md", "book/_assets/js/NAME.js", "_build/", "runs/", "html/"}
    beside = {"layout.py": "hierlib/_kernels/compiled/layout.py"}
    rooms = {word for word in named if word.startswith("book/") and (ROOT / "hierlib" / word).is_dir()}
    assert len(named) > 50
    assert {word for word in named - made - rooms if not (ROOT / beside.get(word, word)).exists()} == set()


def test_the_table_of_changes_covers_what_is_typical():
    rows = [line for line in section("Where to change what").splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 12 and all("`" in row.split("|")[2] for row in rows)


def test_every_target_is_one():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = {word for text in WORDS for word in re.findall(r"^make ([a-z]+)$", text)}
    assert {"check", "test", "book", "format", "lock", "list"} <= named <= targets


def test_the_order_of_the_rooms_is_that_of_their_test():
    said = re.search(r"From the ground up: (.*?)\. A\nroom", section("The rooms"), re.S)[1]
    order = [re.findall(r"`([\w/]+)`", floor) for floor in said.split("<")]
    held = [[room.replace(".", "/") for room in floor.split()] for floor in FLOORS]
    assert [floor for floor in order if floor] == [f for f in held if f not in (["hierlib"], ["book"])][
        : len(order) - 1
    ]
