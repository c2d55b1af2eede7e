"""Executes the notebooks of this folder, and writes their outputs into them.

    python docs/notebooks/execute.py

The progress bars are left out: their times are those of one run.
"""

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

TIME_LIMIT_S = 600


def execute(notebook: Path, folder: Path) -> Any:
    """Execute a notebook, and give it with its outputs.

    Args:
        notebook: The notebook.
        folder: The working directory.
    """
    content = nbformat.read(notebook, as_version=4)
    NotebookClient(
        content,
        timeout=TIME_LIMIT_S,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    ).execute()
    return content


def is_progress(output: Any) -> bool:
    """Whether an output is that of progress bars, and of warnings."""
    return bool(output.get("name") == "stderr")


def main() -> None:
    """Execute all notebooks, and write them."""
    for path in sorted(Path(__file__).parent.glob("*.ipynb")):
        content = execute(path, path.parent)
        for cell in content.cells:
            if cell.cell_type == "code":
                cell.outputs = [one for one in cell.outputs if not is_progress(one)]
        nbformat.write(content, path)


if __name__ == "__main__":
    main()
