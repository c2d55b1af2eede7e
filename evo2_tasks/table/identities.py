"""What ``identify`` states about a model."""

from __future__ import annotations

from typing import ClassVar

from pydantic import JsonValue

from evo2_tasks.io.documents import Document
from evo2_tasks.table.documents import Digest
from evo2_tasks.table.store_models import ModelKey


class Identity(Document):
    """``{model}.identity.json``: by which files a store knows a model, without opening it.

    Attributes:
        key: The files of the model, and how it is run.
        weights: SHA-256 of its tensors when the file was written; None if the store did not know
            the model.
        fp8: FP8 mode in which it ran; None likewise.
        states: Size in bytes and time of the last change in ns of each file that was read, by its
            path.
        settings: Settings of the step; a job runs again if they change.
    """

    remedy: ClassVar[str] = "Run `identify` again."

    key: ModelKey
    weights: Digest | None
    fp8: str | None
    states: dict[str, tuple[int, int]]
    settings: dict[str, JsonValue]
