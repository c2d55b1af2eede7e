"""Files with which genome browsers show a bigWig: a stanza of a track hub, and a session of IGV."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import quoteattr

from evo2_tasks.io.files import replace_atomically, writing
from evo2_tasks.io.words import without_controls

HUB_ENDING: Final = ".trackDb.txt"
"""Ending of the stanza of a track hub, in the place of that of the bigWig."""

SESSION_ENDING: Final = ".igv.xml"
"""Ending of the session of IGV, in the place of that of the bigWig."""

POSITIVE: Final = "0,114,178"
"""Colour of values from 0 on: red, green, blue."""

NEGATIVE: Final = "213,94,0"
"""Colour of values below 0."""

_HEIGHT: Final = 100
_LONGEST_LABEL: Final = 76  # of a long label, which UCSC's browser cuts
_LONGEST_SHORT: Final = 17


@dataclass(frozen=True, slots=True)
class Locus:
    """What a browser shows first, 0-based and half-open."""

    contig: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class BigWigTrack:
    """A bigWig as a browser shows it.

    Attributes:
        file: The bigWig.
        name: Its name, for example those of the variant set and the scoring.
        description: What its values are, in a few words.
    """

    file: Path
    name: str
    description: str


def write_hub_stanza(track: BigWigTrack) -> Path:
    """Write the stanza of a ``trackDb.txt`` of a UCSC track hub next to a bigWig.

    Args:
        track: The bigWig.

    Returns:
        The file with the stanza.

    Raises:
        InputError: It cannot be written.
    """
    name, description = (_one_line(text) for text in (track.name, track.description))
    settings = {
        # A name has letters, digits and _ only, and begins with a letter.
        "track": "evo2_" + re.sub(r"[^A-Za-z0-9_]", "_", name),
        "bigDataUrl": _one_line(track.file.name),
        "shortLabel": name[:_LONGEST_SHORT],
        "longLabel": f"{name}: {description}"[:_LONGEST_LABEL],
        "type": "bigWig",
        "visibility": "full",
        "autoScale": "on",
        "alwaysZero": "on",
        "color": POSITIVE,
        "altColor": NEGATIVE,
        "maxHeightPixels": f"128:{_HEIGHT}:16",
        "windowingFunction": "mean",
    }
    out = track.file.with_suffix(HUB_ENDING)
    _write_text(out, "".join(f"{key} {value}\n" for key, value in settings.items()))
    return out


def write_igv_session(track: BigWigTrack, *, fasta: str, locus: Locus | None) -> Path:
    """Write a session of IGV next to a bigWig. IGV for the desktop and igv.js open it.

    Args:
        track: The bigWig.
        fasta: The reference: a path relative to the working directory, or a URL.
        locus: What is shown first; None for the beginning of the reference.

    Returns:
        The session.

    Raises:
        InputError: It cannot be written.
    """
    out = track.file.with_suffix(SESSION_ENDING)
    genome = fasta
    if Path(fasta).exists():
        genome = os.path.relpath(Path(fasta).absolute(), out.absolute().parent)
    session = {"genome": genome, "version": "8"}
    if locus is not None and locus.contig.isprintable():
        session["locus"] = f"{locus.contig}:{locus.start + 1}-{locus.end}"
    resource = {"path": track.file.name, "type": "bw"}
    shown = {
        "id": track.file.name,
        "name": track.name,
        "color": POSITIVE,
        "altColor": NEGATIVE,
        "autoScale": "true",
        "height": str(_HEIGHT),
        "renderer": "BAR_CHART",
        "windowFunction": "mean",
        "clazz": "org.broad.igv.track.DataSourceTrack",
    }
    lines = [
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>',
        f"<Session{_attributes(session)}>",
        "  <Resources>",
        f"    <Resource{_attributes(resource)}/>",
        "  </Resources>",
        '  <Panel name="DataPanel">',
        f"    <Track{_attributes(shown)}/>",
        "  </Panel>",
        "</Session>",
    ]
    _write_text(out, "\n".join(lines) + "\n")
    return out


def _attributes(values: dict[str, str]) -> str:
    return "".join(f" {key}={quoteattr(_one_line(value))}" for key, value in values.items())


def _one_line(text: str) -> str:
    return " ".join(without_controls(text).split())


def _write_text(out: Path, text: str) -> None:
    with replace_atomically(out) as temporary, writing(out):
        temporary.write_text(text, encoding="utf-8", newline="\n")
