"""YAML that people write: what is wrong with it is said with the file and the line, and dates stay as they are written.

YAML knows dates, bytes and numbers that are not finite, JSON does not, and what is read here is handed on as JSON. So
what YAML would take for one of them is the text that stands there.
"""

from __future__ import annotations

import json
import math
from typing import Any

import yaml

_TIME, _BYTES = "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:binary"
FORM = "write `name: value`, one a line, and text with a colon or another mark of YAML in quotes"


class NotYaml(ValueError):
    """A text is no YAML, or not of the form that is expected; the message says where and what to write."""


class _Written(yaml.SafeLoader):
    """Dates are the text that stands there, and so are .nan, .inf and bytes; sets and the like are refused."""

    def as_written(self, node: yaml.ScalarNode) -> str:
        """The text itself."""
        return self.construct_scalar(node)

    def finite(self, node: yaml.ScalarNode) -> float | str:
        """A number, or the text of one that is not finite."""
        found = self.construct_yaml_float(node)
        return found if math.isfinite(found) else self.construct_scalar(node)


_Written.yaml_constructors = {
    tag: build
    for tag, build in yaml.SafeLoader.yaml_constructors.items()
    if (tag or "").split(":")[-1] not in ("set", "omap", "pairs")
}
for _tag in (_TIME, _BYTES):
    _Written.add_constructor(_tag, _Written.as_written)
_Written.add_constructor("tag:yaml.org,2002:float", _Written.finite)


def load(text: str, where: str, first: int = 1) -> Any:
    """What a text says, as JSON has it: None, true or false, numbers, words, lists and mappings.

    Args:
        text: YAML.
        where: the file's name, for the message.
        first: the line of the file in which the text begins.

    Raises:
        NotYaml: it is none, or refers to itself.
    """
    try:
        found = yaml.load(text, _Written)
        json.dumps(found)
        return found
    except yaml.MarkedYAMLError as error:
        mark, why = error.problem_mark or error.context_mark, error.problem or error.context
        line = first + (mark.line if mark else 0)
        # a mark behind the last line is where something was missing
        line = min(line, first + max(0, len(text.rstrip("\n").splitlines()) - 1))
    except yaml.reader.ReaderError as error:
        line, why = first + text[: error.position].count("\n"), f"{error.reason}: {text[error.position]!a}"
    except (ValueError, RecursionError, TypeError, AttributeError) as error:  # an !!int that is none; a circle
        line, why = first, str(error)
    raise NotYaml(f"{where}:{line}: expected YAML, got something else ({why}); {FORM}")


def same_to_all(text: str, found: Any) -> bool:
    """Whether another reader of the text finds the same as `load` did."""
    try:
        return yaml.safe_load(text) == found
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError):
        return False


def one_line(found: Any) -> str:
    """What `load` gives, written so that every reader of YAML reads just that."""
    text: str = yaml.safe_dump(found, default_flow_style=True, allow_unicode=True, width=math.inf, sort_keys=False)
    return text.removesuffix("...\n").strip()


def line_of(text: str, *keys: str) -> int:
    """The line, from 0, in which the value of nested keys stands; of the last one that there is."""
    node, line = yaml.compose(text, _Written), 0
    for key in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        at = next(((k, v) for k, v in pairs if k.value == key), None)
        if at is None:
            break
        line, node = at[0].start_mark.line, at[1]
    return line
