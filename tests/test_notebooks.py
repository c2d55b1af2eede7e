"""The notebooks of the documentation give the outputs that they show."""

import importlib.util
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def module() -> ModuleType:
    """The program that writes the outputs into the notebooks."""
    spec = importlib.util.spec_from_file_location("execute", NOTEBOOKS[0].with_name("execute.py"))
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def texts(notebook: Any, module: ModuleType) -> list[list[str]]:
    """The outputs of each cell as text, without the progress bars."""
    return [
        [
            one["text"] if one.output_type == "stream" else one["data"]["text/plain"]
            for one in cell.outputs
            if not module.is_progress(one)
        ]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_gives_the_outputs_that_it_shows(
    path: Path, module: ModuleType, tmp_path: Path
) -> None:
    folder = tmp_path / "docs" / "notebooks"
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "data", tmp_path / "data")
    executed = module.execute(path, folder)
    assert texts(executed, module) == texts(nbformat.read(path, as_version=4), module)
    shown = [one for cell in executed.cells for one in cell.get("outputs", ())]
    bars = "".join(one["text"] for one in shown if module.is_progress(one))
    assert re.search(r"score: +\d+%.* tokens/s", bars)
