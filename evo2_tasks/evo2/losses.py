"""Imports the losses of transformers without scipy, which only those of image models call.

`transformers.modeling_utils` imports the losses of all its models. Those of object detection take
`linear_sum_assignment` from `scipy.optimize`, whose import takes a quarter of a second. With this
module imported first, they get a function that imports scipy when it is called.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

_SCIPY = "scipy.optimize"


class _Deferred(ModuleType):
    """A module whose functions import it when they are called."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):  # asked by the import system
            raise AttributeError(name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return getattr(import_module(self.__name__), name)(*args, **kwargs)

        return call


@contextmanager
def _scipy_when_called() -> Iterator[None]:
    """Import modules that get deferred functions from scipy, unless it is imported already."""
    if _SCIPY in sys.modules:
        yield
        return
    sys.modules[_SCIPY] = _Deferred(_SCIPY)
    try:
        yield
    finally:
        del sys.modules[_SCIPY]


with _scipy_when_called():
    import_module("transformers.loss.loss_utils")
