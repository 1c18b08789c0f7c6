#!/usr/bin/env bash
# `parent.replace(node, new)` and `parent.remove(node)` of docutils are given a node and change another one: texts are
# strings, equal where their words are, and the first equal child is taken. In "one, two, three" the second comma cannot
# be replaced, though the caller holds that very node; `parent.index(node)` gives the place of the first. A transform that
# moves punctuation, spaces or dashes meets this often. Find the place by identity:
# `next(i for i, child in enumerate(parent.children) if child is node)`, and assign to `parent[i]`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -qq docutils==0.23
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import docutils
from docutils import nodes


def sentence():
    words = (nodes.strong("", "one"), nodes.Text(", "), nodes.strong("", "two"), nodes.Text(", "), nodes.strong("", "three"))
    return nodes.paragraph("", "", *words)


print(f"versions   docutils {docutils.__version__}")
print("expected   the node that is given is replaced, found or removed: the second comma")
print("behaviour  the first child that equals it is, and texts of the same words are equal")
found = sentence()
found.replace(found[3], nodes.Text(" and "))
replaced = found.astext()
found = sentence()
found.remove(found[3])
removed = found.astext()
found = sentence()
place = found.index(found[3])
print(f"seen       replaced: {replaced!r}; removed: {removed!r}; index of child 3: {place}")
raise SystemExit((replaced, removed, place) != ("one and two, three", "onetwo, three", 1))
PYTHON
