"""What is continued: the records of a FASTA, regions of a reference, or a text of the config."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import InvalidRecord
from evo2_tasks.genome.regions import OPEN_END, TELOMERE, Region, parse_region, region_contigs
from evo2_tasks.genome.sequences import read_sequences
from evo2_tasks.genome.track_regions import find_reader
from evo2_tasks.genome.window_pairs import reverse_complement
from evo2_tasks.io.words import shown

if TYPE_CHECKING:
    from evo2_tasks.genome.bed import Feature
    from evo2_tasks.genome.reference import Reference
    from evo2_tasks.genome.sequences import SequenceRecord

TO_GENERATE: Final = "to_generate"

MAX_OTHER_SHARE: Final = 0.5
"""Largest share of letters other than A, C, G and T in the bases of a prompt. More is protein."""


class Prompt(NamedTuple):
    """A prompt.

    Attributes:
        record: Number of the prompt, 0-based.
        prompt: Its name; None if it has none.
        status: ``to_generate``, or why it is not continued.
        reason: Which cause the status has; None if the status has only one.
        length: Number of its letters, with its tag.
        text: Its letters; None unless ``to_generate``.
        contig: Contig of its region as the reference spells it; None without a region.
        start: Start of its region, 0-based.
        end: End of its region, 0-based and exclusive.
        strand: Strand of its region, ``+`` or ``-``.
    """

    record: int
    prompt: str | None
    status: str
    reason: str | None = None
    length: int = 0
    text: str | None = None
    contig: str | None = None
    start: int | None = None
    end: int | None = None
    strand: str | None = None


def read_fasta_prompts(path: Path, tag: str, max_length: int) -> Iterator[Prompt]:
    """The records of a FASTA, plain, gzipped or bgzipped.

    Args:
        path: The file.
        tag: What comes before each prompt.
        max_length: Longest prompt, letters, with its tag.

    Raises:
        InputError: The file cannot be read or is not FASTA.
    """
    longest = max(0, max_length - len(tag))
    for one in read_sequences(path, longest):
        status, reason = _judge_record(one)
        bases = one.bases.decode("ascii") if one.bases is not None and status is None else None
        yield Prompt(
            one.record,
            one.name,
            status or TO_GENERATE,
            reason,
            len(tag) + one.length,
            None if bases is None else tag + bases,
        )


def _judge_record(one: SequenceRecord) -> tuple[str | None, str | None]:
    """Status and reason of a record that is not continued; None for one that is."""
    if one.length == 0:
        return "empty", None
    if not one.is_text:
        return "invalid_record", "not_letters"
    if not one.has_whole_name:
        return "invalid_record", "long_name"
    if one.is_rna:
        return "rna", None
    if one.bases is None:
        return "too_long", None
    return ("too_many_n", None) if one.num_other > MAX_OTHER_SHARE * one.length else (None, None)


def read_text_prompt(text: str, tag: str, max_length: int, where: str) -> Iterator[Prompt]:
    """The prompt that a config or a command gives as a text.

    Args:
        text: Bases, blanks between them; may be empty if there is a tag.
        tag: What comes before them.
        max_length: Longest prompt, letters, with its tag.
        where: Its key, for messages.

    Raises:
        InputError: It cannot be continued.
    """
    bases = "".join(text.split()).upper()
    if not tag + bases:
        raise InputError(f"{where}: has no bases. Give at least one.")
    other = len(bases) - sum(map(bases.count, "ACGT"))
    if bases.count("U") > bases.count("T"):
        raise InputError(f"{where}: is RNA: it has more U than T. Replace U by T.")
    if other > MAX_OTHER_SHARE * len(bases):
        raise InputError(
            f"{where}: {other:,} of its {len(bases):,} letters are not A, C, G or T, so it is not "
            "DNA (protein?). Give the bases of the prompt."
        )
    whole = tag + bases
    if len(whole) > max_length:
        raise InputError(
            f"{where}: has {len(whole):,} letters, more than max_length ({max_length:,}). Shorten "
            "it, or set max_length."
        )
    yield Prompt(0, None, TO_GENERATE, None, len(whole), whole)


def read_region_prompt(
    text: str, reference: Reference, tag: str, max_length: int, where: str
) -> Iterator[Prompt]:
    """The prompt that is a region of a reference.

    Args:
        text: The region, as :func:`parse_region` reads it. On a circular contig it may go on at
            the first base: ``MT:16,001-17,000``.
        reference: The reference.
        tag: What comes before its bases.
        max_length: Longest prompt, letters, with its tag.
        where: Its key, for messages.

    Raises:
        InputError: It is not a region of the reference, or cannot be continued.
    """
    known = {name: name for name in reference.contigs}
    for name in region_contigs([text]):
        found = reference.find(name)
        if found is not None:
            known[name] = found
    region = parse_region(text, known, reference.path)
    contig = known[region.contig]
    start, end = _limit(region, reference.contigs[contig])
    prompt = _cut(0, text, contig, [(start, end)], "+", reference, tag=tag, max_length=max_length)
    if prompt.status != TO_GENERATE:
        length = reference.contigs[contig]
        why = {
            "position_out_of_range": f"the contig '{shown(contig)}' has {length:,} bases",
            "too_long": f"has {prompt.length:,} letters, more than max_length ({max_length:,})",
            "too_many_n": "most of its letters are not A, C, G or T",
        }[prompt.status]
        raise InputError(f"{where}: region '{shown(text)}': {why}. Name another region.")
    yield prompt


def _limit(region: Region, length: int) -> tuple[int, int]:
    """Start and end of a region on a contig of a length, 0-based and half-open."""
    start = 0 if region.start == TELOMERE and region.end == OPEN_END else region.start
    return start, length if region.end == OPEN_END else region.end


def read_bed_prompts(
    path: Path, reference: Reference, tag: str, max_length: int
) -> Iterator[Prompt]:
    """The regions of a BED file or an interval list. Blocks are joined.

    Args:
        path: The file.
        reference: The reference.
        tag: What comes before each prompt.
        max_length: Longest prompt, letters, with its tag.

    Raises:
        InputError: The file cannot be read or has another format.
    """
    for record, feature in enumerate(find_reader(path)(path)):
        if isinstance(feature, InvalidRecord):
            yield Prompt(record, None, "invalid_record", feature.reason)
        else:
            yield _place(record, feature, reference, tag, max_length)


def _place(
    record: int, feature: Feature, reference: Reference, tag: str, max_length: int
) -> Prompt:
    name = feature.texts[0] or f"{feature.contig}:{feature.start + 1}-{feature.end}"
    contig = reference.resolve(feature.contig)
    if contig is None:
        reason = reference.why_not_found(feature.contig)
        return Prompt(record, name, "contig_not_found", reason)
    strand = "-" if feature.strand == "-" else "+"
    blocks = [*feature.blocks]
    return _cut(record, name, contig, blocks, strand, reference, tag=tag, max_length=max_length)


def _cut(
    record: int,
    name: str,
    contig: str,
    blocks: list[tuple[int, int]],
    strand: str,
    reference: Reference,
    *,
    tag: str,
    max_length: int,
) -> Prompt:
    """The prompt with the bases of blocks of a contig, 0-based and half-open."""
    start, end = blocks[0][0], blocks[-1][1]
    length = len(tag) + sum(last - first for first, last in blocks)
    place = (contig, start, end, strand)
    of_contig = reference.contigs[contig]
    fits = end <= of_contig or (
        reference.is_circular(contig) and start < of_contig and end - start <= of_contig
    )
    if start < 0 or not fits:
        return Prompt(record, name, "position_out_of_range", None, length, None, *place)
    if length > max_length:
        return Prompt(record, name, "too_long", None, length, None, *place)
    other = sum(reference.count_non_acgt(contig, first, last) for first, last in blocks)
    if other > MAX_OTHER_SHARE * (length - len(tag)):
        return Prompt(record, name, "too_many_n", None, length, None, *place)
    bases = "".join(reference.fetch(contig, first, last) for first, last in blocks)
    text = tag + (reverse_complement(bases) if strand == "-" else bases)
    return Prompt(record, name, TO_GENERATE, None, length, text, *place)
