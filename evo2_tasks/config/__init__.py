"""The config: its keys, reading it, and the settings that each step gets."""

from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import BUNDLED_CHECKPOINTS

__all__ = ["BUNDLED_CHECKPOINTS", "load_config"]
