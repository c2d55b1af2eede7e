"""The metadata of the table of ``carry``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evo2_tasks.table.provenance import PREFIX, canonical_json, package_version


def make_carried_metadata(source_digest: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """Metadata of the table.

    Args:
        source_digest: SHA-256 of the file of variants.
        settings: Settings of ``carry`` that run it again if they change.
    """
    return {
        PREFIX + "version": package_version(),
        PREFIX + "source": source_digest,
        PREFIX + "settings": canonical_json(settings),
    }
