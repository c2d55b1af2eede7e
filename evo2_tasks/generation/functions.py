"""Functions of the user's own, named as ``module:function`` in the config."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evo2_tasks.io.words import first_line


@dataclass(frozen=True, slots=True)
class LoadedFunction:
    """A function of the user's own.

    Attributes:
        name: ``module:function``.
        function: The function, or any other object that can be called.
        file: The file of its module.
        digest: SHA-256 of this file.
    """

    name: str
    function: Callable[..., Any]
    file: Path
    digest: str


def load_function(name: str, folder: Path) -> LoadedFunction:
    """Import a function; its module is searched in a folder first, then where Python searches.

    Args:
        name: ``module:function``, for example ``my_scorers:count_boxes``. The module may be in a
            package (``package.module:function``).
        folder: The folder, for example the working directory.

    Raises:
        ValueError: The name has another form, or there is no such module or function, or the
            module raises an error when it is imported.
    """
    module_name, _, function_name = name.partition(":")
    if not (
        all(part.isidentifier() for part in module_name.split(".")) and function_name.isidentifier()
    ):
        raise ValueError(f"'{name}' is not of the form module:function.")
    importlib.invalidate_caches()
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise ValueError(
                f"'{name}': there is no module {module_name} in {folder}, nor among the installed "
                "packages."
            ) from error
        raise ValueError(f"'{name}': the module imports {error.name}, which is missing.") from error
    except (Exception, SystemExit) as error:  # a module that ends Python would end the job
        raise ValueError(
            f"'{name}': importing the module failed: {type(error).__name__}: {first_line(error)}"
        ) from error
    finally:
        sys.path.remove(str(folder))
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ValueError(f"'{name}': the module has no function {function_name}.")
    file = Path(getattr(module, "__file__", None) or "")
    if not file.is_file():
        raise ValueError(f"'{name}': the module has no file.")
    return LoadedFunction(name, function, file, hashlib.sha256(file.read_bytes()).hexdigest())
