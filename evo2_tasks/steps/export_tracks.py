"""The step ``export_tracks``: tracks in the formats of genome browsers."""

from pathlib import Path

from evo2_tasks.exports.track_bigwigs import write_track_bigwigs


def export_tracks(*, table: Path, out: Path) -> None:
    """Write the bigWig files of a table of tracks.

    Args:
        table: The table that ``merge_tracks`` wrote.
        out: The folder of the files.

    Raises:
        InputError: A file cannot be read or written, or the files do not belong together.
    """
    write_track_bigwigs(table, out)
