"""Whether variants and reference are of one assembly: by REF alleles and by the VCF header."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from evo2_tasks.genome.contigs import bare_name
from evo2_tasks.genome.known_assemblies import find_names, identify, is_chromosome
from evo2_tasks.genome.windows import REF_MISMATCHES, TO_SCORE
from evo2_tasks.io.lines import decode
from evo2_tasks.io.words import shown, shown_path

if TYPE_CHECKING:
    from pathlib import Path

    from evo2_tasks.genome.fasta import FastaSequence
    from evo2_tasks.genome.records import Variant
    from evo2_tasks.genome.reference import Reference
    from evo2_tasks.io.vcf_text import VcfHeader

MIN_COMPARED: Final = 10
"""A few bad records in a tiny file never end a run."""

MAX_EXAMINED: Final = 1_000
"""So many mismatches are examined for their cause."""

MIN_EXPLAINED: Final = 0.9
"""Share of the mismatches that a cause must explain; each explains a quarter of SNVs by chance."""

_CAUSES: Final = {
    "unknown": (
        "REF has an N, as some callers of structural variants write it. Call with the reference "
        "(Sniffles: --reference)"
    ),
    "swapped": "ALT is the base of the reference. Exchange ref and alt",
    "from_zero": "REF is one base further right, so the positions count from 0. Add 1 to each",
    "one_too_large": "REF is one base further left. Subtract 1 from each position",
    "strand": "REF is the complement of the reference. Write the alleles of the forward strand",
}
_COMPLEMENT: Final = str.maketrans("ACGT", "TGCA")

# The statuses of alleles whose REF was compared with the reference.
_COMPARED: Final = REF_MISMATCHES | {"too_long", "too_many_n", "no_context", TO_SCORE}

_MOST_EXAMPLES: Final = 3
# Some programs write these where they do not know the length.
_PLACEHOLDERS: Final = frozenset({0, 2**31 - 1})
_MD5: Final = re.compile(r"[0-9a-f]{32}")
_NAMES_ASSEMBLY: Final = re.compile(rb"##(reference|assembly|genome[_-]?build)=", re.IGNORECASE)


@dataclass(slots=True)
class RefMatches:
    """How many REF alleles match the reference.

    Attributes:
        compared: Alleles whose REF was compared with the reference.
        mismatches: Those of them whose REF is not there.
        causes: How many of the first ``MAX_EXAMINED`` mismatches each of ``_CAUSES`` explains.
    """

    compared: int = 0
    mismatches: int = 0
    causes: Counter[str] = field(default_factory=Counter, compare=False)

    @classmethod
    def count(cls, by_status: Mapping[str, int]) -> RefMatches:
        """Count alleles by the status that :func:`place_allele` gave them."""
        return cls(
            sum(by_status.get(status, 0) for status in _COMPARED),
            sum(by_status.get(status, 0) for status in REF_MISMATCHES),
        )

    def add(self, is_match: bool | None) -> None:
        """Count an allele; None is an allele whose REF was not compared."""
        if is_match is not None:
            self.compared += 1
            self.mismatches += not is_match

    def examine(self, variant: Variant, reference: Reference) -> None:
        """Find out what explains the mismatch of an allele that was just counted."""
        if self.mismatches <= MAX_EXAMINED:
            self.causes.update(_find_causes(variant, reference))

    def likely_cause(self) -> str | None:
        """What explains most mismatches other than another assembly, and what to do; or None."""
        num_examined = min(self.mismatches, MAX_EXAMINED)
        for cause, number in self.causes.most_common(1):
            if number >= MIN_EXPLAINED * num_examined:
                return f"For {number:,} of the first {num_examined:,}, {cause}"
        return None


@dataclass(slots=True)
class HeaderCheck:
    """The contigs of a VCF header compared with those of the reference.

    Only contigs that both have are compared.

    Attributes:
        num_lengths: Contigs whose length the header states.
        num_other: Those of them whose length in the reference is another one.
        num_used: Those of ``num_other`` that have variants.
        num_parts: Those of ``num_other`` that are less than half as long in the reference.
        examples: Some of ``num_other``, as text.
        lengths: Name without ``chr`` and stated length of each chromosome of the header.
        md5s: MD5 checksums that the header states, by name in the reference. Only of contigs whose
            length does not differ.
        named: The assemblies that the header names in words.
    """

    num_lengths: int = 0
    num_other: int = 0
    num_used: int = 0
    num_parts: int = 0
    examples: list[str] = field(default_factory=list)
    lengths: list[tuple[str, int]] = field(default_factory=list)
    md5s: dict[str, str] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)

    def add_length(self, name: str, stated: int, actual: int, *, is_used: bool) -> bool:
        """Compare the length of one contig; returns whether it is the same."""
        self.num_lengths += 1
        if stated == actual:
            return True
        self.num_other += 1
        self.num_used += is_used
        self.num_parts += 2 * actual < stated
        if len(self.examples) < _MOST_EXAMPLES:
            self.examples.append(f"{shown(name)}: {stated:,} and {actual:,}")
        return False


def check_header(
    header: VcfHeader, reference: Reference, used_contigs: Collection[str | None]
) -> HeaderCheck:
    """Compare what a VCF header states about its contigs with the reference.

    Args:
        header: The header of the variants.
        reference: Their reference.
        used_contigs: Names in the reference of the contigs that have variants; None is ignored.
    """
    check = HeaderCheck()
    for line in header.meta:
        if _NAMES_ASSEMBLY.match(line):
            check.named.update(find_names(decode(line)))
    for attributes in header.definitions("contig"):
        stated = {key.lower(): value for key, value in attributes.items()}
        check.named.update(find_names(stated.get("assembly", "")))
        contig = attributes.get("ID", "")
        length = _parse_length(stated.get("length", ""))
        if length is not None and is_chromosome(bare_name(contig)):
            check.lengths.append((bare_name(contig), length))
        name = reference.find(contig)
        if name is None:
            continue
        if length is not None and not check.add_length(
            name, length, reference.contigs[name], is_used=name in used_contigs
        ):
            continue
        md5 = stated.get("md5", stated.get("m5", "")).lower()
        if _MD5.fullmatch(md5):
            check.md5s[name] = md5
    return check


def _find_causes(variant: Variant, reference: Reference) -> Iterator[str]:
    """Which of ``_CAUSES`` explain that REF is not at the position of an allele."""
    name = None if variant.contig is None else reference.resolve(variant.contig)
    if name is None or variant.ref is None or variant.alt is None:
        return
    start, ref, alt = variant.start, variant.ref, variant.alt
    length = reference.contigs[name]

    def has(bases: str, first: int) -> bool:
        last = first + len(bases)
        return first >= 0 and last <= length and reference.fetch(name, first, last) == bases

    if "N" in ref:
        yield _CAUSES["unknown"]
    if has(alt, start):
        yield _CAUSES["swapped"]
    if has(ref, start + 1):
        yield _CAUSES["from_zero"]
    if has(ref, start - 1):
        yield _CAUSES["one_too_large"]
    if has(ref.translate(_COMPLEMENT), start):
        yield _CAUSES["strand"]


def _parse_length(text: str) -> int | None:
    """A stated length; None if it is not a number, or stands for an unknown length."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        return None
    length = int(text)
    return None if length in _PLACEHOLDERS else length


def describe_contradictions(
    check: HeaderCheck,
    variants: Path,
    reference: Reference,
    sequences: Sequence[FastaSequence],
    matches: RefMatches,
) -> list[str]:
    """Warnings for a VCF header that contradicts the reference, one line each.

    Args:
        check: Result of :func:`check_header`.
        variants: The file of variants.
        reference: Its reference.
        sequences: The sequences of the reference, with the MD5 of those in ``check.md5s``.
        matches: How many REF alleles match, to help the reader to judge.
    """
    file, fasta = shown_path(variants), shown_path(reference.path)
    problems = []
    if check.num_other:
        more = "; ..." if check.num_other > len(check.examples) else ""
        unused = "" if check.num_used else " No variant is on them."
        problems.append(
            f"{check.num_other:,} of {check.num_lengths:,} contigs have another length in the "
            f"header than in {fasta} ({'; '.join(check.examples)}{more}).{unused}"
            f"{_describe_assemblies(check, reference)}"
        )
    elif _is_another_assembly(check, reference):
        problems.append(f"the header contradicts {fasta}.{_describe_assemblies(check, reference)}")
    other = [
        sequence.entry.name
        for sequence in sequences
        if sequence.md5 is not None and check.md5s.get(sequence.entry.name) != sequence.md5
    ]
    if other:
        more = ", ..." if len(other) > _MOST_EXAMPLES else ""
        problems.append(
            f"{len(other):,} of {len(check.md5s):,} contigs have another MD5 checksum in the "
            f"header than in {fasta} ({shown(', '.join(other[:_MOST_EXAMPLES]))}{more}): their "
            f"bases differ."
        )
    return [f"{file}: {problem}{_describe_matches(matches)}" for problem in problems]


def find_mismatch_problem(
    matches: RefMatches, max_share: float, reference: Reference, check: HeaderCheck
) -> str | None:
    """Why a run has to stop: too many REF alleles do not match the reference.

    Args:
        matches: How many REF alleles of the whole variant set match.
        max_share: Largest allowed share of mismatches.
        reference: The reference, for the message.
        check: What the header states, to name its assembly.

    Returns:
        One line, or None if the run may go on. It always may with fewer than ``MIN_COMPARED``
        compared alleles.
    """
    if matches.compared < MIN_COMPARED:
        return None
    share = matches.mismatches / matches.compared
    if share <= max_share:
        return None
    problem = (
        f"{shown_path(reference.path)}: {matches.mismatches:,} of {matches.compared:,} alleles "
        f"({share:.0%}) have a REF that does not match this reference"
    )
    cause = matches.likely_cause()
    if cause is not None:
        return f"{problem}. {cause}, or raise max_ref_mismatch_share ({max_share:g})."
    return (
        f"{problem}: the variants are from another assembly."
        f"{_describe_assemblies(check, reference)} Give the reference of that assembly, or raise "
        f"max_ref_mismatch_share ({max_share:g})."
    )


def _of_header(check: HeaderCheck) -> tuple[str, ...]:
    """The assemblies that the variants can be of, by the lengths and names in the header.

    Lengths count more than names: after a liftover, the name of the old assembly may still be in
    the header.
    """
    by_lengths = identify(check.lengths)
    if not by_lengths:
        return tuple(sorted(check.named))
    return tuple(name for name in by_lengths if name in check.named) or by_lengths


def _of_reference(reference: Reference) -> tuple[str, ...]:
    """The assemblies that the reference can be, by the lengths of its chromosomes."""
    return identify((bare_name(name), length) for name, length in reference.contigs.items())


def _is_another_assembly(check: HeaderCheck, reference: Reference) -> bool:
    of_header, of_reference = _of_header(check), _of_reference(reference)
    return bool(of_header and of_reference) and {*of_header}.isdisjoint(of_reference)


def _describe_assemblies(check: HeaderCheck, reference: Reference) -> str:
    """Which assemblies header and reference are likely of, as far as they can be recognised."""
    if check.num_other and check.num_parts == check.num_other:
        return (
            " The FASTA may have only a part of each; positions must then count from the start of "
            "the part."
        )
    texts = []
    if of_header := _of_header(check):
        texts.append(f"the header is that of {_join(of_header)}")
    if of_reference := _of_reference(reference):
        texts.append(f"the contig lengths of the FASTA are those of {_join(of_reference)}")
    text = ", and ".join(texts)
    return f" {text[0].upper()}{text[1:]}." if text else ""


def _describe_matches(matches: RefMatches) -> str:
    counts = ""
    if matches.compared:
        counts = (
            f" {matches.mismatches:,} of {matches.compared:,} REF alleles do not match the "
            f"reference."
        )
    return (
        f"{counts} If the variants are from another assembly, give the FASTA of that assembly, or "
        f"lift the variants over."
    )


def _join(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
