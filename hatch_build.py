"""Puts the configs of the demo into wheels; pyproject.toml places all other files."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CONFIGS = ("config.yaml", "config.calibration.yaml")


class DemoConfigs(BuildHookInterface):
    """Hatch can move a single file in this way only.

    An editable installation finds the configs in the checkout, so it gets no copies of them.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files, before the wheel is built."""
        if version == "standard":
            build_data["force_include"] |= {name: f"evo2_tasks/demo/{name}" for name in CONFIGS}
