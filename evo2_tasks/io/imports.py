"""How a command imports the packages that it needs, so that it starts fast.

pyarrow imports pandas, where it is installed, as soon as it makes an array of Python values: it
looks for data frames among them (apache/arrow#34994). The commands have no data frames, and pandas
takes as long to import as numpy, pyarrow and pysam together.
"""

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


class _NoPandas:
    """Finds pandas, which so counts as installed, and refuses to import it.

    It is a finder and a loader, but not by their base classes, which import much.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if name != "pandas" or PathFinder.find_spec(name) is None:
            return None
        loader: Any = self
        return ModuleSpec(name, loader)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        raise ModuleNotFoundError("the commands of evo2-tasks use no pandas", name=spec.name)

    def exec_module(self, module: ModuleType) -> None:
        raise NotImplementedError


@contextmanager
def without_pandas() -> Iterator[None]:
    """Keep packages that can use pandas from importing it, unless it is imported already."""
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)


def allow_pandas() -> None:
    """Let code of the user import pandas, also within :func:`without_pandas`."""
    sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, _NoPandas)]


@contextmanager
def collection_paused() -> Iterator[None]:
    """Collect no garbage until `resume_collection`: imports make many objects that all stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def resume_collection() -> None:
    """Collect garbage from now on, but do not look for it among the objects that exist already."""
    gc.freeze()
    gc.enable()
