"""Well-known assemblies, recognised by the lengths of their chromosomes or by their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Final

_NAMES: Final = {
    ("hg18",): r"hg18|ncbi36|b36|g1k_v36",
    ("GRCh37", "hg19"): r"hg19|grch37|b37|hs37|human_g1k_v37|g1k_v37|GCA_000001405\.1(?![0-9])",
    ("GRCh38",): r"hg38|grch38|b38|hs38|homo_sapiens_assembly38|GCA_000001405\.(15|2[0-9])",
    ("T2T-CHM13 v2.0",): r"(t2t-?)?chm13v?2(\.0)?|t2t-chm13|hs1|GCA_009914755\.4",
    ("GRCm38",): r"mm10|grcm38|GCA_000001635\.[2-8]",
    ("GRCm39",): r"mm39|grcm39|GCA_000001635\.9",
}
_PATTERNS: Final = {
    names: re.compile(rf"(?<![a-z0-9])({pattern})(?![0-9])", re.IGNORECASE)
    for names, pattern in _NAMES.items()
}


def is_chromosome(name: str) -> bool:
    """Whether the table of assemblies has a chromosome of this name, such as ``17`` or ``MT``."""
    return name in _read_lengths()


def identify(lengths: Iterable[tuple[str, int]]) -> tuple[str, ...]:
    """The assemblies that fit best to the lengths of some chromosomes.

    Args:
        lengths: Name without the prefix ``chr`` (``MT`` for the mitochondrion) and length, bases.
            Names that are not in the table are ignored.

    Returns:
        Names of the assemblies that have the most of these lengths; empty if none has more than
        half of them. Several assemblies if the lengths do not tell them apart.
    """
    table = _read_lengths()
    fitting: Counter[str] = Counter()
    num_known = 0
    for name, length in lengths:
        if name in table:
            num_known += 1
            fitting.update(assembly for assembly, own in table[name].items() if own == length)
    most = max(fitting.values(), default=0)
    if 2 * most <= num_known:
        return ()
    return tuple(name for name in _assemblies() if fitting[name] == most)


def find_names(text: str) -> tuple[str, ...]:
    """The assembly that a text names, for example ``file:///ref/hs37d5.fa``.

    Returns:
        ``hg19`` and ``GRCh37`` together, because both names are used for either; empty if the text
        names no assembly of the table, or more than one.
    """
    found = [names for names, pattern in _PATTERNS.items() if pattern.search(text)]
    return found[0] if len(found) == 1 else ()


@cache
def _read_rows() -> list[list[str]]:
    text = (files("evo2_tasks.genome") / "known_assemblies.tsv").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if not line.startswith("#")]


def _assemblies() -> list[str]:
    return _read_rows()[0][1:]


@cache
def _read_lengths() -> dict[str, dict[str, int]]:
    """Length of each chromosome by its name and the assembly."""
    header, *rows = _read_rows()
    return {
        name: {
            assembly: int(length)
            for assembly, length in zip(header[1:], lengths, strict=True)
            if length
        }
        for name, *lengths in rows
    }
