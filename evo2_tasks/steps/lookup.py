"""The step ``lookup``: the alleles of a shard whose scores a store has."""

from pathlib import Path

from evo2_tasks.config.resolve import LookupSettings
from evo2_tasks.errors import InputError


def lookup(
    settings: LookupSettings,
    *,
    windows_file: Path,
    segments_file: Path,
    split_file: Path,
    identity_file: Path,
    out: Path,
) -> None:
    """Find the alleles of a shard whose scores the store has.

    Without a store (it was removed from the config of a run that had one), no allele is found.

    Args:
        settings: The model, the windows and the store.
        windows_file: The shard with its windows, from ``windows``.
        segments_file: The reference bases of these windows, from ``windows``.
        split_file: The ``split.json`` of the shards, with ``sequences.parquet`` next to it.
        identity_file: What ``identify`` wrote about the model. It may be older than the scores of
            the model in the store, so the record of the model is read from the store again.
        out: The hits, one row for each allele that the store has. A JSON file of the same stem
            states their number.

    Raises:
        InputError: A file or the store cannot be read, or the files do not belong together.
    """
    raise InputError(f"{out}: lookup is not written yet.")
