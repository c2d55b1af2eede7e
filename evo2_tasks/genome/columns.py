"""Which columns of a table hold the variants: by their names, or as the config says.

These are contig, pos, ref and alt, or one column of HGVS.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import find_near, shown

# Accepted names of the columns, in upper or lower case; the first column may have a "#" before it.
KEY_NAMES: Mapping[str, tuple[str, ...]] = {
    "contig": ("contig", "chrom", "chr", "chromosome"),
    "pos": ("pos", "position"),
    "ref": ("ref", "reference", "ref_allele", "reference_allele"),
    "alt": ("alt", "alternate", "alternative", "alt_allele", "alternate_allele"),
}
HGVS_NAMES = ("hgvs", "hgvsg", "hgvs_g")
FILTER_NAMES = ("filter",)
NO_COLUMNS: Mapping[str, str] = {}
"""The columns that a config names, where it names none."""

# What else the columns are called, as words joined by "_", the likeliest first. Such a column is
# only proposed in a message: its positions may be of another assembly or count from 0, and its
# alleles may be sorted by frequency.
_POSSIBLE_NAMES: Mapping[str, Sequence[str]] = {
    "contig": ["chr", "chrom", "chromosome", "contig", "seq_?names?", "seq_?id", "scaffold"],
    "pos": ["pos", "position", "start", "bp", "base_pair_location", "genpos"],
    "ref": [
        "reference_allele_vcf",
        "ref",
        "reference",
        "(wt|wild_?type|mutated_from)_allele",
        "(other|non_?effect)_allele",
        "nea",
        "a_2",
        "allele_0",
        "allele_1",
        "a_1",
        "allele_2",
        "effect_allele",
    ],
    "alt": [
        "alternate_allele_vcf",
        "alt",
        "alternate",
        "alternative",
        "(mut|mutant|mutated|mutated_to)_allele",
        "tumor_seq_allele_2",
        "variant_allele",
        "effect_allele",
        "ea",
        "a_1",
        "allele_2",
        "a_2",
        "allele_1",
        "other_allele",
    ],
}
_OTHER_MEANINGS = re.compile(
    r"(^|_)(end|stop|cds|cdna|c_dna|protein|aa|amino|codon|exon|intron|counts?|depth|freq|frequency|maf|af"
    r"|build|strand|rank|type|stat|ci|error)(_|$)"
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_BASES = re.compile(r"[ACGTN]+")


@dataclass(frozen=True, slots=True)
class TableColumns:
    """The columns of a table that are read, as indices.

    Attributes:
        num_columns: Number of columns of the table.
        keys: Columns of contig, pos, ref and alt, in this order; or the column of HGVS alone.
        filters: Column of FILTER; null if the table has none.
        carried: Columns to carry along, in the order of ``carry``.
    """

    num_columns: int
    keys: tuple[int, ...]
    filters: int | None
    carried: tuple[int, ...]

    @property
    def is_hgvs(self) -> bool:
        """Whether the variants are in a column of HGVS."""
        return len(self.keys) == 1

    def after_row_names(self) -> TableColumns:
        """The same columns where the rows have one more column before them."""
        return TableColumns(
            self.num_columns + 1,
            tuple(column + 1 for column in self.keys),
            None if self.filters is None else self.filters + 1,
            tuple(column + 1 for column in self.carried),
        )


def has_keys(names: Sequence[str], columns: Mapping[str, str]) -> bool:
    """Whether a header names all columns that a table of variants needs.

    Args:
        names: The names in the header.
        columns: Names of columns by role, as the config has them.
    """
    needed = ["hgvs"] if "hgvs" in columns else [*KEY_NAMES]
    return all(_find_matches(names, role, columns) for role in needed)


def find_hgvs(names: Sequence[str]) -> str | None:
    """The column of HGVS that has a usual name, in a table without columns for alleles."""
    found = _find_matches(names, "hgvs", NO_COLUMNS)
    if len(found) != 1 or any(_find_matches(names, role, NO_COLUMNS) for role in ("ref", "alt")):
        return None
    return names[found[0]]


def looks_like_header(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the cells of a line are names of columns and not the data of one more row.

    Args:
        names: The cells of the line.
        rows: The cells of some lines below.
    """
    if len(names) < 2 or any(_NUMBER.fullmatch(name) for name in names):
        return False
    possible = possible_columns(names)
    if sum(bool(possible[role] or _find_matches(names, role, {})) for role in KEY_NAMES) >= 2:
        return True
    num_names = len({name for name in names if name not in ("", ".", "-")})
    if num_names < max(3, len(names)) or any(_BASES.fullmatch(name) for name in names):
        return False
    return any(
        2 * sum(len(row) > column and bool(_NUMBER.fullmatch(row[column])) for row in rows)
        > len(rows)
        for column in range(len(names))
    )


def possible_columns(names: Sequence[str]) -> dict[str, list[str]]:
    """The columns that may be contig, pos, ref or alt though their names do not say so clearly."""
    usual = {name for of_role in KEY_NAMES.values() for name in of_role}
    spelled = {name: "_".join(_WORD.findall(name)).lower() for name in names}
    others = {
        name: words
        for name, words in spelled.items()
        if name.lower() not in usual and not _OTHER_MEANINGS.search(words)
    }
    found: dict[str, list[str]] = {}
    for role, patterns in _POSSIBLE_NAMES.items():
        wholes = [re.compile(rf"(.+_)?{pattern}(_.+)?") for pattern in patterns]
        matches = [name for whole in wholes for name, one in others.items() if whole.fullmatch(one)]
        found[role] = list(dict.fromkeys(matches))
    # For example chromStart, which is a position.
    found["contig"] = [name for name in found["contig"] if name not in found["pos"]]
    return found


def find_columns(
    names: Sequence[str], carry: Sequence[str], columns: Mapping[str, str], where: str
) -> TableColumns:
    """Find the columns by their names.

    Args:
        names: The names in the header.
        carry: Columns to carry along.
        columns: Names of columns by role, as the config has them.
        where: The file, and the line of the header if it has one, for messages.

    Raises:
        InputError: A needed or carried column is missing or occurs more than once.
    """
    for role, name in columns.items():
        _require_named(names, role, name, where)
    needed = ["hgvs"] if "hgvs" in columns else [*KEY_NAMES]
    matches = {role: _find_matches(names, role, columns) for role in needed}
    if any(len(found) != 1 for found in matches.values()):
        raise InputError(f"{where}: {_explain(names, matches)}")
    keys = tuple(found[0] for found in matches.values())
    if len(set(keys)) != len(keys):
        roles = [role for role, key in zip(KEY_NAMES, keys, strict=True) if keys.count(key) > 1]
        raise InputError(
            f"{where}: columns: '{shown(names[keys[list(KEY_NAMES).index(roles[0])]])}' would be "
            f"the column of {' and of '.join(roles)}. Name the column of each under columns."
        )
    filters = [i for i, name in enumerate(names) if name.lower() in FILTER_NAMES]
    carried = []
    for name in carry:
        found = [i for i, candidate in enumerate(names) if candidate == name]
        if len(found) != 1 or list(carry).count(name) != 1:
            problem = "is named twice in the config; name it once"
            if not found:
                near = " or ".join(map(shown, find_near(name, names)))
                hint = f"; did you mean {near}?" if near else ""
                problem = f"is named in the config, but is not in the table{hint}"
            elif len(found) > 1:
                problem = "is in the table more than once; rename all but one"
            end = "" if problem.endswith("?") else "."
            raise InputError(f"{where}: column '{shown(name)}' {problem}{end} {_list(names)}")
        carried += found
    return TableColumns(len(names), keys, filters[0] if len(filters) == 1 else None, tuple(carried))


def _find_matches(names: Sequence[str], role: str, columns: Mapping[str, str]) -> list[int]:
    """The columns that the config names for a role, else those with one of the usual names."""
    bare = [name.removeprefix("#") for name in names]
    if role in columns:
        return [i for i, name in enumerate(bare) if name == columns[role].removeprefix("#")]
    usual = HGVS_NAMES if role == "hgvs" else KEY_NAMES[role]
    return [i for i, name in enumerate(bare) if name.lower() in usual]


def _require_named(names: Sequence[str], role: str, name: str, where: str) -> None:
    num = len(_find_matches(names, role, {role: name}))
    if num == 1:
        return
    problem = "is in the table more than once; rename all but one"
    if num == 0:
        by_lower = {other.lower(): other for other in names}
        near = difflib.get_close_matches(name.lower(), by_lower, n=3)
        hint = " or ".join(shown(by_lower[one]) for one in near)
        problem = "is not in the table" + (f"; did you mean {hint}?" if near else "")
    raise InputError(
        f"{where}: columns.{role}: the column '{shown(name)}' {problem} {_list(names)}"
    )


def _explain(names: Sequence[str], matches: Mapping[str, Sequence[int]]) -> str:
    """Which columns are missing or not unique, and how to name them in the config."""
    possible = possible_columns(names)
    problems = []
    example: dict[str, str] = {}
    for role, found in matches.items():
        if len(found) == 1:
            continue
        several = list(dict.fromkeys(names[column] for column in found))
        if len(several) == 1:
            return (
                f"the table has {len(found)} columns with the name '{shown(several[0])}' for "
                f"{role}. Rename all but one. {_list(names)}"
            )
        options = several or possible[role]
        listed = shown(", ".join(options), 200)
        if several:
            problems.append(f"several columns for {role} ({listed})")
        elif options:
            problems.append(f"no column for {role} (possible: {listed})")
        else:
            expected = " or ".join(KEY_NAMES[role])
            problems.append(f"no column for {role} (expected name: {expected})")
        unused = [name for name in options if name not in example.values()]
        example[role] = shown(unused[0]) if unused else "NAME"
    keys = ", ".join(f"{role}: {_quote(name)}" for role, name in example.items())
    notes = "pos counts from 1. " if "pos" in example else ""
    notes += "ref is the allele of the reference. " if example.keys() & {"ref", "alt"} else ""
    return (
        f"the table has {', '.join(problems)}. Name the right ones in the variant set, for "
        f"example columns: {{{keys}}}. {notes}{_list(names)}"
    )


def _quote(name: str) -> str:
    """A name as YAML has it in a mapping on one line."""
    return name if re.fullmatch(r"[A-Za-z_][\w.()/-]*( [\w.()/-]+)*", name) else f'"{name}"'


def _list(names: Sequence[str]) -> str:
    return f"The columns are: {shown(', '.join(names), 400)}."
