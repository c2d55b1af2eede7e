"""The command ``workflow-path``: where the Snakefile and the profiles are."""

from pathlib import Path
from typing import Final

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import shown

PACKAGE: Final = Path(__file__).parents[1]


def project_path(name: str, *, folder: str = "") -> Path:
    """The path of a file or folder of the project that is no module.

    In a checkout it is next to the package, in an installed wheel it is in the package.

    Args:
        name: The path in the checkout.
        folder: The folder of the package in which a wheel has it.
    """
    inside = PACKAGE / folder / name
    return inside if inside.exists() else PACKAGE.parent / name


def workflow_path(profile: str | None = None) -> Path:
    """The Snakefile, or the folder of a profile.

    Args:
        profile: The name of the profile.

    Raises:
        InputError: There is no such profile.
    """
    workflow = project_path("workflow")
    if profile is None:
        return workflow / "Snakefile"
    profiles = {path.parent.name: path.parent for path in workflow.glob("profiles/*/profile.yaml")}
    if profile not in profiles:
        raise InputError(
            f"--profile: there is no profile {shown(profile)}. "
            f"Expected one of {', '.join(sorted(profiles))}."
        )
    return profiles[profile]
