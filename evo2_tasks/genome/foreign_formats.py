"""Formats of the field that this package does not read, and how to convert them.

A format is recognised so that the message can say what the file is and how to convert it, and so
that it is never read as another format: PSL and VEP's input, for example, fit BED.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from evo2_tasks.io.lines import decode
from evo2_tasks.io.vcf_text import parse_position

NUM_SAM_COLUMNS = 11
"""The columns that each line of SAM has."""

BINARY_MAGIC: Mapping[bytes, str] = {
    b"BAM\1": "a BAM file",
    b"CRAM": "a CRAM file",
    b"PK\3\4": "a zip archive (also an Excel file); save it as text, for example as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel file; save it as text, for example as CSV",
    b"\xfd7zXZ": "an xz file",
    b"BZh": "a bzip2 file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x89HDF": "an HDF5 file",
    b"TBI\1": "a tabix index",
    b"CSI\1": "a csi index",
    b"\xff\xfe": "text in UTF-16; save it as UTF-8",
    b"\xfe\xff": "text in UTF-16; save it as UTF-8",
    b"l\x1b": "a genotype file of PLINK; make a VCF: plink2 --ref-from-fa --export vcf",
    b"\xeb\xf2\x89\x87": "a bigBed file; make a BED: bigBedToBed",
    b"\x87\x89\xf2\xeb": "a bigBed file; make a BED: bigBedToBed",
    b"\x26\xfc\x8f\x88": "a bigWig file",
    b"\x88\x8f\xfc\x26": "a bigWig file",
    b"ARROW1": "an Arrow file (Feather); save it as Parquet",
    b"FEA1": "a Feather file; save it as Parquet",
    b"ORC": "an ORC file; save it as Parquet",
    b"SQLite format 3": "an SQLite database",
    b"RDX": "an R data file; save a table with write.table(x, sep = '\\t', quote = FALSE)",
    b"%PDF": "a PDF file",
}

_TEXT_MARKS: Mapping[bytes, str] = {
    b">": "FASTA",
    b"@": "FASTQ or SAM",
    b"{": "JSON",
    b"[{": "JSON",
    b"version https://git-lfs": "a pointer of Git LFS; get the file itself: git lfs pull",
    b"<": "HTML or XML",
    b"LOCUS ": "GenBank",
    b"chain ": "a chain file of liftOver",
    b"##maf": "an alignment (multiple alignment format)",
    b"fixedStep": "wig, which has values along contigs",
    b"variableStep": "wig, which has values along contigs",
}

_GFF = (
    "GFF or GTF, whose positions count from 1. It lists features, not variants. For a BED of exons "
    "(saturate): "
    "awk -F'\\t' -v OFS='\\t' '$3 == \"exon\" {print $1, $4 - 1, $5, $3, \".\", $7}' FILE > NEW.bed"
)
_PSL = "PSL, which lists alignments. For a BED of the targets: pslToBed"
_BIM = (
    "a .bim file of PLINK, which does not state which allele is that of the reference. Make a VCF: "
    "plink2 --bfile NAME --ref-from-fa --fa REFERENCE --export vcf"
)

# HGVS of transcripts and proteins, or without a sequence: NM_000059.4(BRCA2):c.68A>G (p.Tyr23Cys),
# c.68_69del, g.43045712A>G.
_DNA_CHANGE = r"\.[\[(]*[*?-]?[0-9?][0-9_+*?()-]*([ACGTUN]+>|[ACGTUN]*=|del|dup|ins|inv|con|\[)"
_HGVS = re.compile(
    rf"(^|[:\s)])\(?[cnr]{_DNA_CHANGE}|(^|\s)\(?[gmo]{_DNA_CHANGE}"
    r"|(^|[:\s)])\(?p\.[\[(]*([A-Z][a-z]{2}[0-9]|[A-Z*][0-9]+([A-Z*=]|fs|del|dup|ins)|=)",
    re.IGNORECASE,
)
_RSID = re.compile(r"rs[0-9]+", re.IGNORECASE)
_IDENTIFIER = re.compile(r"(COS[VMN]|VCV|RCV|SCV|CA|nsv|esv|ss)[0-9]{3,}(\.[0-9]+)?")
_UNDERSCORES = re.compile(r"\S+_[0-9]+_[ACGTN]+[_/][ACGTN]+(_b?[0-9]+)?", re.IGNORECASE)
_ARROW = re.compile(r"\S+[-:_ \t][0-9,]+[-:_ \t]*[ACGTN]+[>/][ACGTN]+", re.IGNORECASE)

_TABLES: tuple[tuple[frozenset[str], str], ...] = (
    (
        frozenset({"uploaded_variation", "location"}),
        "the output of VEP as a table. Run VEP with --vcf, or name the file that VEP read",
    ),
    (
        frozenset({"locus", "alleles"}),
        "a table of Hail, which has two alleles in one column. Export a VCF: hl.export_vcf, or the "
        "columns contig, pos, ref and alt",
    ),
    (
        frozenset({"rsid", "genotype"}),
        "a table of genotypes, which does not state the alleles of the reference. Make a VCF: "
        "bcftools convert --tsv2vcf FILE -f REFERENCE -s NAME",
    ),
)

_ENTRIES: tuple[tuple[re.Pattern[str], str, bool], ...] = (
    (
        _RSID,
        "rsIDs, which do not state the alleles. Make a VCF from that of dbSNP: "
        "bcftools view -i 'ID=@FILE' dbsnp.vcf.gz",
        True,
    ),
    (
        _IDENTIFIER,
        "identifiers of a database, which do not state the alleles. Get the variants from it as "
        "VCF or SPDI",
        True,
    ),
    (
        _UNDERSCORES,
        "variants with '_' between the fields. Write them with '-': sed -E "
        "'s/_([0-9]+)_([A-Z]+)[_\\/]([A-Z]+)(_b?[0-9]+)?$/-\\1-\\2-\\3/' FILE > NEW",
        True,
    ),
    (
        _HGVS,
        "HGVS of transcripts or proteins, or without the name of the sequence. Convert it to HGVS "
        "of the genome (chr17:g.43045712A>G), VCF or SPDI, for example with VariantValidator, "
        "Ensembl's Variant Recoder or NCBI's Variation Services",
        False,
    ),
    (
        _ARROW,
        "variants in another notation. Write them as chr:pos:ref:alt, for example 17:43045712:A:G",
        True,
    ),
)


def explain_entry(text: str) -> str | None:
    """What an entry of a list is that is not a variant, and how to convert it; None if unknown."""
    for pattern, explanation, is_whole in _ENTRIES:
        if pattern.fullmatch(text) if is_whole else pattern.search(text):
            return explanation
    return None


def explain_lines(lines: Sequence[bytes], *, has_regions: bool = False) -> str | None:
    """What lines of text are that fit another format by their columns; None if unknown.

    Args:
        lines: Some data lines: not blank and not comments. At least half of them decide.
        has_regions: Whether regions are expected, so that a table of variants needs no header.
    """
    rows = [line.split(b"\t") if b"\t" in line else line.split() for line in lines]
    contigs = {row[0] for row in rows}
    for fits, explanation in _FORMS:
        if has_regions and fits is _is_bare_table:
            continue
        num_fitting = sum(fits(row, contigs) for row in rows)
        if num_fitting and 2 * num_fitting >= len(rows):
            return explanation
    return None


def explain_entries(lines: Sequence[bytes]) -> str | None:
    """What at least half of the lines have as a whole or in a column; None if unknown."""
    found = Counter[str]()
    for line in lines:
        text = decode(line)
        cells = {cell.strip(" \t\"'") for cell in (text, *re.split(r"[\t,;]", text))}
        found.update({one for cell in cells if (one := explain_entry(cell)) is not None})
    for explanation, number in found.most_common(1):
        return explanation if 2 * number >= len(lines) else None
    return None


def explain_table(names: Sequence[str]) -> str | None:
    """What a table without alleles is by the names of its columns; None if unknown."""
    lowered = {name.lower() for name in names}
    return next((text for names, text in _TABLES if lowered >= names), None)


def explain_mark(line: bytes) -> str | None:
    """What a file is by the beginning of its first line; None if unknown."""
    if line.startswith((b"##gff", b"##gtf")):
        return _GFF
    if line.startswith(b"psLayout"):
        return _PSL
    return next((name for mark, name in _TEXT_MARKS.items() if line.startswith(mark)), None)


def _positions(cells: Sequence[bytes]) -> list[int] | None:
    found = [parse_position(cell) for cell in cells]
    numbers = [one for one in found if one is not None]
    return numbers if len(numbers) == len(cells) else None


def _are_alleles(cells: Sequence[bytes]) -> bool:
    """Whether cells are bases, or ``-`` for none, and one at least is bases."""
    bases = [re.fullmatch(rb"[ACGTN]+", cell, re.IGNORECASE) is not None for cell in cells]
    return any(bases) and all(map(max, bases, [cell == b"-" for cell in cells]))


def _is_gff(row: Sequence[bytes], _: set[bytes]) -> bool:
    if len(row) not in (8, 9) or row[6] not in (b"+", b"-", b".", b"?"):
        return False
    return _positions(row[3:5]) is not None and row[7] in (b"0", b"1", b"2", b".")


def _is_psl(row: Sequence[bytes], _: set[bytes]) -> bool:
    return len(row) >= 21 and _positions(row[:8]) is not None and row[8][:1] in (b"+", b"-")


def _is_vep(row: Sequence[bytes], _: set[bytes]) -> bool:
    alleles = row[3].split(b"/") if len(row) >= 4 else []
    return len(alleles) >= 2 and _are_alleles(alleles) and _positions(row[1:3]) is not None


def _span(row: Sequence[bytes]) -> tuple[int, int] | None:
    """Start and end of a row whose fourth and fifth columns are alleles."""
    if len(row) < 5 or not _are_alleles(row[3:5]):
        return None
    ends = _positions(row[1:3])
    return None if ends is None else (ends[0], ends[1])


def _is_annovar(row: Sequence[bytes], _: set[bytes]) -> bool:
    span = _span(row)
    return span is not None and span[1] == span[0] + len(row[3]) - 1


def _is_bed_of_variants(row: Sequence[bytes], _: set[bytes]) -> bool:
    span = _span(row)
    return span is not None and span[1] == span[0] + len(row[3])


def _is_bare_table(row: Sequence[bytes], _: set[bytes]) -> bool:
    """Whether a row is contig, pos, ref and alt. In a VCF the third column is the ID."""
    if len(row) < 4 or parse_position(row[1]) is None:
        return False
    return _are_alleles(row[2:3]) and re.fullmatch(rb"[A-Za-z,.*-]+|<.*>", row[3]) is not None


def _is_bim(row: Sequence[bytes], _: set[bytes]) -> bool:
    # PLINK writes 0 for an allele that no sample has.
    alleles = [b"-" if cell == b"0" else cell for cell in row[4:] if cell != b"-"]
    if len(row) != 6 or len(alleles) != 2 or not _are_alleles(alleles):
        return False
    is_distance = re.fullmatch(rb"-?[0-9]*\.?[0-9]+(e-?[0-9]+)?", row[2], re.IGNORECASE)
    return is_distance is not None and parse_position(row[3]) is not None


def _is_bedpe(row: Sequence[bytes], contigs: set[bytes]) -> bool:
    if len(row) < 6 or row[3] not in contigs:
        return False
    ends = _positions([*row[1:3], *row[4:6]])
    return ends is not None and ends[0] <= ends[1] and ends[2] <= ends[3]


def _is_fai(row: Sequence[bytes], _: set[bytes]) -> bool:
    numbers = _positions(row[1:]) if len(row) == 5 else None
    return numbers is not None and 0 < numbers[2] < numbers[3] <= numbers[2] + 2


def _is_sam(row: Sequence[bytes], _: set[bytes]) -> bool:
    if len(row) < NUM_SAM_COLUMNS or _positions([row[1], row[3], row[4]]) is None:
        return False
    return re.fullmatch(rb"\*|([0-9]+[MIDNSHPX=])+", row[5]) is not None


def _has_bin(row: Sequence[bytes], _: set[bytes]) -> bool:
    if len(row) < 4 or not row[1].startswith(b"chr") or not row[0].isdigit():
        return False
    return _positions(row[2:4]) is not None


def _is_unmarked_interval(row: Sequence[bytes], _: set[bytes]) -> bool:
    return len(row) == 5 and row[3] in (b"+", b"-") and _positions(row[1:3]) is not None


_FORMS: tuple[tuple[Callable[[Sequence[bytes], set[bytes]], bool], str], ...] = (
    (_is_gff, _GFF),
    (_is_psl, _PSL),
    (
        _is_vep,
        "VEP's default input, whose positions count from 1. Make a VCF, or a table with the "
        "columns contig, pos, ref and alt, in which indels have the base before them",
    ),
    (
        _is_annovar,
        "ANNOVAR's input (chr, start, end, ref, alt; from 1). Give it a header with tabs, for "
        "example: contig pos end ref alt. Indels with '-' need the base before them, as in VCF",
    ),
    (
        _is_bed_of_variants,
        "variants with the columns of BED, whose positions count from 0. Make a table whose pos is "
        "the start + 1: (printf 'contig\\tpos\\tref\\talt\\n'; awk -v OFS='\\t' "
        "'{print $1, $2 + 1, $4, $5}' FILE) > NEW.tsv",
    ),
    (
        _is_bare_table,
        "a table of contig, pos, ref and alt without a header. Add the header: awk -v OFS='\\t' "
        '\'BEGIN {print "contig", "pos", "ref", "alt"} {print $1, $2, $3, $4}\' '
        "FILE > NEW.tsv",
    ),
    (_is_bim, _BIM),
    (
        _is_bedpe,
        "BEDPE, which lists pairs of regions. Write the regions that you need as BED, for example: "
        "cut -f1-3 FILE > NEW.bed",
    ),
    (_is_fai, "the index of a FASTA. Name a file of variants or regions"),
    (_is_sam, "SAM, which lists alignments. Call variants first, for example with bcftools call"),
    (
        _has_bin,
        "a table of UCSC whose first column is bin. Remove this column: cut -f2- FILE > NEW",
    ),
    (
        _is_unmarked_interval,
        "an interval list without its header, or BED with the strand in the wrong column. If it "
        "counts from 1, add the line @HD<tab>VN:1.6 above; if it counts from 0, write BED: contig, "
        "start, end, name, score, strand",
    ),
)
