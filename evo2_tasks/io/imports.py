"""How a command imports the packages that it needs, so that it starts fast.

pyarrow imports pandas, where it is installed, as soon as it makes an array of Python values: it
looks for data frames among them (apache/arrow#34994). The commands have no data frames, and pandas
takes as long to import as numpy, pyarrow and pysam together.
"""

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _NoPandas(MetaPathFinder, Loader):
    """Finds pandas, so that it counts as installed, and refuses to import it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name == "pandas" else None

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
def without_collection() -> Iterator[None]:
    """Import modules without looking for garbage among their objects, also later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
