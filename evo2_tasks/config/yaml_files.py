"""Reading YAML in bounded memory: a few lines with aliases can stand for gigabytes."""

from collections.abc import Hashable
from typing import Any, Final

import yaml

from evo2_tasks.config.text import MOST_CHARACTERS
from evo2_tasks.errors import InputError

MOST_VALUES: Final = 200_000
"""Values of a file; those of an alias count at each use."""

_MOST_DIGITS: Final = 100
_NUMBERS: Final = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read_yaml(text: str, name: str, *, allow_twice: bool = False) -> object:
    """Read YAML, of which JSON is a part.

    Args:
        text: The text of a file.
        name: Name of the file, for messages.
        allow_twice: Whether a key may occur twice, so that the last one counts.

    Raises:
        InputError: It is not YAML, or has more values than any config.
    """
    try:
        # subclasses of the safe loader: they make plain values only
        return yaml.load(text, _BoundedLoader if allow_twice else _UniqueKeyLoader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InputError(f"{name}: {where}not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from error


class _BoundedLoader(yaml.SafeLoader):
    """The safe YAML loader for a limited number of values."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._num_written = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._num_written += 1
        if self._num_written > MOST_VALUES:
            raise _too_many(self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node


def _count(node: yaml.Node, counted: dict[yaml.Node, tuple[int, int]]) -> tuple[int, int]:
    """Values and characters of a node with all its aliases written out.

    Args:
        node: The node.
        counted: The same of the nodes that have been counted; (0, 0) for those that contain this.
    """
    if node in counted:
        if counted[node] == (0, 0):
            raise yaml.MarkedYAMLError(
                problem="a value contains itself, by an alias (*)", problem_mark=node.start_mark
            )
        return counted[node]
    counted[node] = (0, 0)
    values, characters = 1, 0
    if isinstance(node, yaml.ScalarNode):
        characters = len(node.value)
        if node.tag in _NUMBERS and characters > _MOST_DIGITS:
            raise yaml.MarkedYAMLError(
                problem=f"a number has more than {_MOST_DIGITS} digits",
                problem_mark=node.start_mark,
            )
    else:
        for child in node.value:
            for one in child if isinstance(child, tuple) else (child,):
                more = _count(one, counted)
                values, characters = values + more[0], characters + more[1]
                if values > MOST_VALUES or characters > MOST_CHARACTERS:
                    raise _too_many(node.start_mark)
    counted[node] = values, characters
    return counted[node]


def _too_many(mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(
        problem=f"there are more than {MOST_VALUES:,} values or {MOST_CHARACTERS:,} characters, "
        "those of an alias (*) counted at each use; this is not a config",
        problem_mark=mark,
    )


class _UniqueKeyLoader(_BoundedLoader):
    """A key that occurs twice is an error. YAML would keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen and key_node.value != "<<":
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key_node.value!r} occurs twice", key_node.start_mark
                    )
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)
