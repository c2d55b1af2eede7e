"""Consequences that the input states: fields that VEP, SnpEff and bcftools themselves wrote."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pysam
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.genome import input_consequences
from evo2_tasks.genome.input_consequences import InputConsequences, read_format, spell_alleles
from evo2_tasks.genome.terms import BCFTOOLS_TERMS, INTERGENIC, RANKS, SPECIFIC_TERMS, Consequence
from evo2_tasks.genome.variants import open_variants
from evo2_tasks.io.vcf_text import read_vcf
from tests.project import COLUMNS

ANNOTATED = Path(__file__).parents[1] / "data" / "annotated"
VEP = (
    "Allele|Consequence|IMPACT|SYMBOL|Gene|Feature_type|Feature|Protein_position|Amino_acids|STRAND"
)
EFFECT = 'INFO=<ID={field},Number={number},Type=String,Description="{description}">'
BCSQ_COLUMNS = "Consequence|gene|transcript|biotype|strand|amino_acid_change|dna_change"


def read(path: Path, field: str, *, resolved: bool = True) -> list[Consequence]:
    """The consequence of each row of a file."""
    described = read_format(read_vcf(path)[0], field, path, "variant_sets.v.consequence_from")
    found = InputConsequences(described, path, lambda _: resolved)
    return list(found.find(open_variants(path, carry=[field], whole=[field])))


def write(
    folder: Path, lines: Sequence[str], field: str, description: str, number: str = "."
) -> Path:
    """A VCF with lines of CHROM, POS, REF, ALT and INFO."""
    path = folder / "in.vcf"
    header = "##" + EFFECT.format(field=field, number=number, description=description)
    rows = []
    for line in lines:
        contig, pos, ref, alt, info = line.split()
        rows.append(f"{contig}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t{info}\n")
    path.write_text(f"##fileformat=VCFv4.2\n{header}\n{COLUMNS}{''.join(rows)}")
    return path


def write_vep(folder: Path, lines: Sequence[str], columns: str = VEP, **options: Any) -> Path:
    text = f"Consequence annotations from Ensembl VEP. Format: {columns}"
    return write(folder, lines, "CSQ", text, **options)


# --- what the programs wrote


def test_the_field_of_vep_is_read_as_it_is_written() -> None:
    # VEP wrote it as ANN, the name of SnpEff's field.
    first, second = read(ANNOTATED / "vep.vcf", "ANN")
    assert first == Consequence(
        "synonymous_variant",
        (
            "intron_variant",
            "regulatory_region_variant",
            "synonymous_variant",
            "upstream_gene_variant",
        ),
        "ARID1A",
        "ENSG00000117713",
        "ENST00000324856",  # the MANE one of two
        "+",
        "P194P",
    )
    assert second.consequence == "missense_variant"
    assert second.transcript == "ENST00000324856"
    assert second.amino_acids == "TS685PP"


def test_the_field_of_snpeff_is_read_as_it_is_written() -> None:
    rows = read(ANNOTATED / "snpeff.vcf", "ANN")
    assert [(row.consequence, row.transcript, row.amino_acids) for row in rows] == [
        ("synonymous_variant", "NM_001792.4", "A816A"),  # the longer of two coding sequences
        ("intron_variant", "NM_001308176.1", None),
        ("stop_gained", "NM_001308176.1", "L21*"),
        ("intron_variant", "NM_001792.4", None),
        ("intron_variant", "NM_001099406.1", None),
        ("missense_variant", "NM_012319.3", "E119D"),
        ("missense_variant", "NM_144612.6", "R1155G"),
        ("missense_variant", "NM_016427.2", "R179P"),
    ]
    assert [row.gene for row in rows[:4]] == ["CDH2"] * 4
    assert rows[7].consequences == ("intron_variant", "missense_variant", "upstream_gene_variant")
    assert {row.transcript_strand for row in rows} == {None}


@pytest.mark.parametrize("name", ["vep", "snpeff"])
def test_the_worst_term_of_each_record_is_the_worst_in_its_text(name: str) -> None:
    path = ANNOTATED / f"{name}.vcf"
    for row, record in zip(read(path, "ANN"), pysam.VariantFile(str(path)), strict=True):
        entries = [one.split("|") for one in record.info["ANN"]]
        terms = {term for entry in entries for term in entry[1].split("&")}
        assert row.consequences == tuple(sorted(terms))
        assert row.consequence == min(terms, key=RANKS.__getitem__)
        chosen = [entry for entry in entries if row.consequence in entry[1].split("&")]
        assert row.transcript in {entry[6] for entry in chosen}


# --- bcftools

LENGTH = 600


def write_gene(folder: Path) -> tuple[str, str]:
    """A gene of two exons, forward on ``c`` and reverse on ``r``; gives the two sequences."""
    choose = random.Random(5)
    codons = [a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT"]
    codons = [codon for codon in codons if codon not in ("TAA", "TAG", "TGA")]
    coding = "ATG" + "".join(choose.choices(codons, k=60)) + "TAA"
    intron = "GT" + "".join(choose.choices("ACGT", k=76)) + "AG"
    ends = ["".join(choose.choices("ACGT", k=100)) for _ in range(2)]
    forward = ends[0] + coding[:90] + intron + coding[90:] + ends[1]
    reverse = forward[::-1].translate(str.maketrans("ACGT", "TGCA"))
    (folder / "g.fa").write_text(f">c\n{forward}\n>r\n{reverse}\n")
    exons = [(101, 190), (271, 270 + len(coding) - 90)]
    mirrored = [(len(forward) + 1 - end, len(forward) + 1 - start) for start, end in exons]
    lines = ["##gff-version 3"]
    for contig, strand, spans in (("c", "+", exons), ("r", "-", mirrored)):
        start, end = min(spans)[0], max(spans)[1]
        ids = f"ID=gene:G{contig};Name=N{contig};biotype=protein_coding"
        lines.append(f"{contig}\tx\tgene\t{start}\t{end}\t.\t{strand}\t.\t{ids}")
        ids = f"ID=transcript:T{contig};Parent=gene:G{contig};biotype=protein_coding"
        lines.append(f"{contig}\tx\tmRNA\t{start}\t{end}\t.\t{strand}\t.\t{ids}")
        for first, last in spans:  # 90 bases before the second one: phase 0
            for kind, phase in (("exon", "."), ("CDS", "0")):
                place = f"{contig}\tx\t{kind}\t{first}\t{last}\t.\t{strand}\t{phase}"
                lines.append(f"{place}\tParent=transcript:T{contig}")
    (folder / "g.gff3").write_text("".join(f"{line}\n" for line in lines))
    return forward, reverse


def call_bcftools(folder: Path, records: Sequence[tuple[str, int, str, str, str]], *mode: str):
    """A VCF with BCSQ, by ``bcftools csq`` in a process of its own."""
    header = (
        "##fileformat=VCFv4.2\n##contig=<ID=c>\n##contig=<ID=r>\n"
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="x">\n'
        f"{COLUMNS.rstrip()}\tFORMAT\tS\n"
    )
    rows = [
        f"{contig}\t{pos}\t.\t{ref}\t{alt}\t.\tPASS\t.\tGT\t{genotype}\n"
        for contig, pos, ref, alt, genotype in sorted(records, key=lambda one: one[:2])
    ]
    (folder / "raw.vcf").write_text(header + "".join(rows))
    call = "import sys; from pysam import bcftools; print(bcftools.csq(*sys.argv[1:]), end='')"
    files = ["-f", folder / "g.fa", "-g", folder / "g.gff3", folder / "raw.vcf"]
    done = subprocess.run(
        [sys.executable, "-c", call, *mode, *map(str, files)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    out = folder / "annotated.vcf"
    out.write_text(done.stdout)
    return out


def change_base(sequence: str, pos: int) -> tuple[str, str]:
    ref = sequence[pos - 1]
    return ref, next(base for base in "ACGT" if base != ref)


def test_entries_of_bcftools_go_to_the_allele_that_they_name(tmp_path: Path) -> None:
    """Each ALT of a record gets what it gets in a record of its own."""
    forward, reverse = write_gene(tmp_path)
    several, single = [], []
    for contig, sequence in (("c", forward), ("r", reverse)):
        places = [*range(104, 186, 7), 20, 275, 300, 340]
        for pos in places if contig == "c" else [len(sequence) + 1 - pos for pos in places]:
            ref = sequence[pos - 1]
            alts = [base for base in "ACGT" if base != ref]
            alts += [ref + "T", ref + "TTT"] if pos % 2 else []
            several.append((contig, pos, ref, ",".join(alts), "0|1"))
            single += [(contig, pos, ref, alt, "0|1") for alt in alts]
    found = read(call_bcftools(tmp_path, several, "-l"), "BCSQ")
    expected = read(call_bcftools(tmp_path, single, "-l"), "BCSQ")
    assert found == expected
    assert {one.consequence for one in found} >= {
        "missense_variant", "synonymous_variant", "frameshift_variant", INTERGENIC,
    }  # fmt: skip


def test_what_bcftools_states_is_in_the_row(tmp_path: Path) -> None:
    forward, _ = write_gene(tmp_path)
    records = [("c", pos, *change_base(forward, pos), "0|1") for pos in (20, 110, 117, 230)]
    path = call_bcftools(tmp_path, records, "-l")
    stated = [record.info.get("BCSQ") for record in pysam.VariantFile(str(path))]
    outside, missense, other, intron = read(path, "BCSQ")
    assert stated[0] is None
    assert outside == Consequence(INTERGENIC, (INTERGENIC,))
    assert stated[1] == ("missense|Nc|Tc|protein_coding|+|4Y>4N|110T>A",)
    assert missense == Consequence(
        "missense_variant", ("missense_variant",), "Nc", None, "Tc", "+", "Y4N"
    )
    assert stated[2] == ("missense|Nc|Tc|protein_coding|+|6V>6D|117T>A",)
    assert other.amino_acids == "V6D"
    assert stated[3] == ("intron|Nc||protein_coding",)
    assert intron == Consequence("intron_variant", ("intron_variant",), "Nc")


def test_a_reference_to_another_record_is_followed(tmp_path: Path) -> None:
    """In one codon; on the reverse strand the entry is in the last record of the codon."""
    forward, reverse = write_gene(tmp_path)
    records = []
    for contig, sequence, first in (("c", forward, 110), ("r", reverse, len(forward) + 1 - 112)):
        records += [
            (contig, pos, *change_base(sequence, pos), "0|1") for pos in range(first, first + 3)
        ]
    path = call_bcftools(tmp_path, records, "-p", "a")
    texts = [record.info["BCSQ"][0] for record in pysam.VariantFile(str(path))]
    assert [text[0] == "@" for text in texts] == [False, True, True, True, True, False]
    rows = read(path, "BCSQ")
    assert len(set(rows[:3])) == len(set(rows[3:])) == 1
    (first_change,) = re.findall(r"\|4(\w)>4(\w)\|", texts[0])
    assert rows[0].amino_acids == "4".join(first_change)
    assert rows[0].transcript == "Tc"
    assert (rows[3].transcript, rows[3].transcript_strand) == ("Tr", "-")


def test_a_record_waits_for_a_limited_number_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lines = ["c 5 A C BCSQ=@9", "c 6 A C .", "c 7 A C BCSQ=@5"]
    lines.append("c 9 A C BCSQ=missense|N|T|protein_coding|+|4V>4K|5A>C+9A>C")
    path = write(tmp_path, lines, "BCSQ", f"Local consequence. Format: {BCSQ_COLUMNS}")
    terms = [row.consequence for row in read(path, "BCSQ")]
    assert terms == ["missense_variant", INTERGENIC, None, "missense_variant"]
    assert "refer to a record (@POS) which is not there: 1" in caplog.text
    monkeypatch.setattr(input_consequences, "MAX_WAITING", 2)
    assert [row.consequence for row in read(path, "BCSQ")] == [None, *terms[1:]]


def test_without_the_field_a_row_is_intergenic_in_local_mode_only(tmp_path: Path) -> None:
    lines = ["c 5 A C .", "c 6 A <DEL> ."]
    local = write(tmp_path, lines, "BCSQ", f"Local consequence. Format: {BCSQ_COLUMNS}")
    assert [row.consequence for row in read(local, "BCSQ")] == [INTERGENIC, None]
    assert read(local, "BCSQ", resolved=False) == [Consequence()] * 2
    aware = write(tmp_path, lines, "BCSQ", f"Haplotype-aware. Format: {BCSQ_COLUMNS}")
    assert read(aware, "BCSQ") == [Consequence()] * 2
    assert read(write_vep(tmp_path, lines), "CSQ") == [Consequence()] * 2


# --- which entry is of which allele


@pytest.mark.parametrize(
    ("ref", "alts", "spelled"),
    [
        ("A", "C", "C"),
        ("AT", "A", "-"),
        ("A", "AT", "T"),
        ("ACG", "A,ACGT", "-,CGT"),
        ("G", "C,GC", "C,GC"),  # no first base in common
        ("CA", "C,CAA,*", "-,AA,*"),
        ("ACGT", "CCCC", "CCCC"),
        ("ACG", "ATT,A", "TT,-"),
    ],
)
def test_alleles_are_found_as_vep_spells_them(
    tmp_path: Path, ref: str, alts: str, spelled: str
) -> None:
    entries = [
        f"{allele}|missense_variant||S|G|Transcript|T{number}|{number}|A/C|1"
        for number, allele in enumerate(spelled.split(","))
    ]
    path = write_vep(tmp_path, [f"c 5 {ref} {alts} CSQ={','.join(reversed(entries))}"])
    rows = read(path, "CSQ")
    assert [row.transcript for row in rows] == [f"T{n}" for n in range(len(entries))]


def test_the_number_of_an_allele_counts_more_than_its_spelling(tmp_path: Path) -> None:
    columns = f"{VEP}|ALLELE_NUM"
    rest = "|missense_variant||S|G|Transcript|{}|1|A/C|1|{}"
    entries = [f"-{rest.format('T1', 1)}", f"-{rest.format('T2', 2)}"]
    both = [f"c 5 AAC A,AC CSQ={','.join(entries)}"]
    rows = read(write_vep(tmp_path, both, columns), "CSQ")
    assert [row.transcript for row in rows] == ["T1", "T2"]
    # Split after VEP: the number is that of the record as it was.
    entries = [f"C{rest.format('T1', 1)}", f"T{rest.format('T2', 2)}"]
    split = [f"c 5 A T CSQ={','.join(entries)}"]
    assert read(write_vep(tmp_path, split, columns), "CSQ")[0].transcript == "T2"


def test_records_that_were_split_after_vep_keep_their_own_entries(tmp_path: Path) -> None:
    text = "C|stop_gained||S|G|Transcript|T1|1|A/*|1,-|intron_variant||S|G|Transcript|T2|||1"
    lines = [f"c 5 AT {alt} CSQ={text}" for alt in ("C", "A", "AG")]
    rows = read(write_vep(tmp_path, lines), "CSQ")
    assert [row.transcript for row in rows] == ["T1", "T2", None]


@pytest.mark.parametrize(
    ("ref", "alt", "allele", "is_found"),
    [
        ("A", "*", "C", False),  # of another ALT, of which the record was split
        ("A", "C", "G", False),
        ("AT", "A", "C", False),
        ("AT", "A", "TT", False),
        ("CA", "C", "-", True),
        ("C", "CGTA", "TAG", True),  # left-aligned later
        ("C", "CGTA", "TAA", False),
        ("C", "<CN0>", "copy_number_loss", True),
        ("C", "<CN0>", "T", False),
    ],
)
def test_the_only_entry_of_the_only_allele_must_fit_it(
    tmp_path: Path, ref: str, alt: str, allele: str, is_found: bool
) -> None:
    text = f"{allele}|intron_variant||S|G|Transcript|T|||1|1"
    path = write_vep(tmp_path, [f"c 5 {ref} {alt} CSQ={text}"], f"{VEP}|ALLELE_NUM")
    assert (read(path, "CSQ")[0].transcript == "T") == is_found


def test_a_likely_spelling_wins_over_an_unlikely_one(tmp_path: Path) -> None:
    # `T` is the second ALT as spelled, and the bases that the first one inserts.
    text = "T|stop_gained||S|G|Transcript|T2|1|A/*|1"
    rows = read(write_vep(tmp_path, [f"c 5 A AT,T CSQ={text}"]), "CSQ")
    assert [row.transcript for row in rows] == [None, "T2"]


def test_symbolic_alleles_are_found_by_their_names(tmp_path: Path) -> None:
    text = "deletion|transcript_ablation||S|G|Transcript|T1||,"
    text += "duplication|transcript_amplification||S|G|Transcript|T2||"
    rows = read(write_vep(tmp_path, [f"c 5 A <DUP>,<DEL> CSQ={text}"]), "CSQ")
    assert [row.transcript for row in rows] == ["T2", "T1"]
    assert next(spell_alleles("A", ["<DEL>"], as_vep=True))[0] == "DELETION"


# --- columns


@pytest.mark.parametrize(
    ("columns", "values", "expected"),
    [
        ("", ["", ""], "T1"),  # by identifier
        ("|CANONICAL", ["", "YES"], "T2"),
        ("|PICK", ["", "1"], "T2"),
        ("|MANE_SELECT", ["", "NM_1.1"], "T2"),
        ("|MANE", ["MANE_Plus_Clinical", "MANE_Select"], "T2"),
        ("|MANE_PLUS_CLINICAL", ["", "NM_1.1"], "T1"),
        ("|CDS_position", ["5/90", "5/99"], "T2"),
        ("|CANONICAL|CDS_position", ["YES|5/9", "|5/99"], "T1"),
    ],
)
def test_of_equal_effects_the_selected_transcript_counts(
    tmp_path: Path, columns: str, values: list[str], expected: str
) -> None:
    entries = [
        f"C|missense_variant||S|G|Transcript|{name}|1|A/C|1" + (f"|{value}" if columns else "")
        for name, value in zip(("T1", "T2"), values, strict=True)
    ]
    for order in (entries, entries[::-1]):
        path = write_vep(tmp_path, [f"c 5 A C CSQ={','.join(order)}"], VEP + columns)
        assert read(path, "CSQ")[0].transcript == expected


@pytest.mark.parametrize(
    ("terms", "position", "amino_acids", "expected"),
    [
        ("missense_variant", "24", "W/R", "W24R"),
        ("missense_variant", "24/300", "W/R", "W24R"),
        ("synonymous_variant", "60", "S", "S60S"),
        ("stop_gained", "7", "W/*", "W7*"),
        ("inframe_insertion", "11-12", "-/AG", "11AG"),
        ("inframe_deletion", "11-12", "AG/-", "AG11"),
        ("frameshift_variant", "11", "K/X", "K11fs"),
        ("frameshift_variant", "11-12", "KL/KX", "L12fs"),
        ("frameshift_variant&start_lost", "?-1", "M/X", None),
        ("intron_variant", "", "", None),
        ("inframe_insertion", "3", f"-/{'ARND' * 30}", "3ARNDARNDARNDA..."),
    ],
)
def test_amino_acids_of_vep(
    tmp_path: Path, terms: str, position: str, amino_acids: str, expected: str | None
) -> None:
    text = f"C|{terms}||S|G|Transcript|T|{position}|{amino_acids}|1"
    (row,) = read(write_vep(tmp_path, [f"c 5 A C CSQ={text}"]), "CSQ")
    assert row.amino_acids == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("p.Glu119Asp", "E119D"),
        ("p.(Glu119Asp)", "E119D"),
        ("p.E119D", "E119D"),
        ("p.Leu21*", "L21*"),
        ("p.Leu21Ter", "L21*"),
        ("p.Ala816=", "A816A"),
        ("p.Ala816%3D", "A816A"),
        ("p.Met1?", "M1?"),
        ("p.Lys12fs", "K12fs"),
        ("p.Lys12_Leu14del", "K12_L14del"),
        ("p.Lys12_Leu13ins" + "Ala" * 60, "K12_L13ins" + "A" * 27 + "..."),
        ("", None),
    ],
)
def test_amino_acids_of_snpeff(tmp_path: Path, name: str, expected: str | None) -> None:
    columns = (
        "Allele | Annotation | Annotation_Impact | Gene_Name | Gene_ID | Feature_Type | Feature_ID"
        " | Transcript_BioType | Rank | HGVS.c | HGVS.p"
    )
    text = f"C|missense_variant|M|S|G|transcript|T|protein_coding|1/2|c.1A>C|{name}"
    description = f"Functional annotations: '{columns}'"
    (row,) = read(write(tmp_path, [f"c 5 A C ANN={text}"], "ANN", description), "ANN")
    assert row.amino_acids == expected
    assert len(expected or "") <= 40


@pytest.mark.parametrize("number", [".", "1", "A", "R", "3"])
def test_the_number_in_the_header_does_not_matter(tmp_path: Path, number: str) -> None:
    text = "C|missense_variant||S|G|Transcript|T|1|A/C|-1,C|intron_variant||S|G|Transcript|U|||1"
    (row,) = read(write_vep(tmp_path, [f"c 5 A C CSQ={text}"], number=number), "CSQ")
    assert row.consequences == ("intron_variant", "missense_variant")
    assert row.transcript_strand == "-"


def test_escapes_are_decoded_after_the_text_is_divided(tmp_path: Path) -> None:
    text = "C|missense_variant||A%2CB%3B|G%3D|Transcript|T|1|A/C|1"
    (row,) = read(write_vep(tmp_path, [f"c 5 A C CSQ={text}"]), "CSQ")
    assert (row.gene, row.gene_id) == ("A,B;", "G=")


def test_entries_of_other_lengths_and_without_terms_do_no_harm(tmp_path: Path) -> None:
    lines = ["c 5 A C CSQ=C|missense_variant", "c 6 A C CSQ=.", "c 7 A C CSQ=C||M|S", "c 8 A C CSQ"]
    lines += ["c 9 A C CSQ=C|intron_variant" + "|x" * 40, "c 10 A C CSQ=,,"]
    rows = read(write_vep(tmp_path, lines), "CSQ")
    assert [row.consequence for row in rows] == [
        "missense_variant", None, None, None, "intron_variant", None,
    ]  # fmt: skip


def test_amino_acids_behind_a_long_number_are_cut_too(tmp_path: Path) -> None:
    number, change = "1" * 18, ("A" * 30, "C" * 30)
    text = f"C|missense_variant||S|G|Transcript|T|{number}|{'/'.join(change)}|1"
    path = write_vep(tmp_path, [f"c 5 A C CSQ={text}"])
    assert len(read(path, "CSQ")[0].amino_acids or "") == 40
    text = f"missense|N|T|protein_coding|+|{number}{change[0]}>{number}{change[1]}|5A>C"
    path = write(tmp_path, [f"c 5 A C BCSQ={text}"], "BCSQ", f"Local. Format: {BCSQ_COLUMNS}")
    assert len(read(path, "BCSQ")[0].amino_acids or "") == 40


@pytest.mark.parametrize("digits", [19, 5000])
def test_numbers_without_end_are_no_numbers(tmp_path: Path, digits: int) -> None:
    long = "9" * digits
    text = f"C|missense_variant||S|G|Transcript|T|{long}|A/C|1|{long}|5/{long}"
    path = write_vep(tmp_path, [f"c 5 A C CSQ={text}"], f"{VEP}|ALLELE_NUM|CDS_position")
    assert read(path, "CSQ")[0].amino_acids is None
    text = f"missense|N|T|protein_coding|+|{long}V>{long}K|{long}A>C,@{long}"
    path = write(tmp_path, [f"c 5 A C BCSQ={text}"], "BCSQ", f"Local. Format: {BCSQ_COLUMNS}")
    assert read(path, "BCSQ")[0].amino_acids is None


def cpu_time(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def test_a_record_with_many_alleles_and_entries_takes_no_square_of_time(tmp_path: Path) -> None:
    def read_record(num: int) -> None:
        alts = [format(n, "b").replace("0", "C").replace("1", "G") for n in range(2, num + 2)]
        vep = ",".join(f"{alt}|intron_variant||S|G|Transcript|{n}" for n, alt in enumerate(alts))
        csq = ",".join(
            f"intron|N{n}||lncRNA,missense|N|T{n}|x|+|1V>1K|5A>{alt}" for n, alt in enumerate(alts)
        )
        line = f"c 5 A {','.join(alts)} "
        rows = read(write_vep(tmp_path, [f"{line}CSQ={vep}"]), "CSQ")
        assert [row.transcript for row in rows] == [str(n) for n in range(num)]
        path = write(tmp_path, [f"{line}BCSQ={csq}"], "BCSQ", f"Local. Format: {BCSQ_COLUMNS}")
        assert [row.transcript for row in read(path, "BCSQ")] == [f"T{n}" for n in range(num)]
        numbered = ",".join(f"|intron_variant||||||||||{n + 1}" for n in range(num))
        path = write_vep(tmp_path, [f"{line}CSQ={numbered}"], f"{VEP}|x|ALLELE_NUM")
        assert {row.consequence for row in read(path, "CSQ")} == {"intron_variant"}

    # Ten times as many: a square would take a hundred times as long.
    assert cpu_time(lambda: read_record(20_000)) < 30 * cpu_time(lambda: read_record(2_000))


def test_references_between_records_take_no_square_of_time(tmp_path: Path) -> None:
    def read_records(num: int) -> None:
        entries = ",".join(f"missense|N|T{n}|x|+|1V>1K|5A>C+{n + 10}A>C" for n in range(num))
        places = ",".join(f"@{pos}" for pos in range(20_000, 20_000 + 4 * num))
        lines = [f"c 5 A C BCSQ={entries}", f"c 9 A C BCSQ={places}"]
        lines += [f"c {n + 10} A C BCSQ=@5" for n in range(num)]
        path = write(tmp_path, lines, "BCSQ", f"Local. Format: {BCSQ_COLUMNS}")
        assert [row.transcript for row in read(path, "BCSQ")][2:] == [f"T{n}" for n in range(num)]

    assert cpu_time(lambda: read_records(5_000)) < 30 * cpu_time(lambda: read_records(500))


# --- terms


def test_every_term_of_the_tables_is_in_the_list_of_ensembl() -> None:
    for table in (BCFTOOLS_TERMS, SPECIFIC_TERMS):
        assert {*table.values()} <= {*RANKS}
    assert not {*SPECIFIC_TERMS} & {*RANKS}


def test_a_term_that_is_not_in_the_list_is_the_consequence_only_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry = "C|{}||S|G|Transcript|T|||1"
    texts = [entry.format("gene_fusion&intron_variant"), entry.format("gene_fusion&aa_variant")]
    texts.append(entry.format("disruptive_inframe_deletion"))
    rows = read(write_vep(tmp_path, [f"c 5 A C CSQ={text}" for text in texts]), "CSQ")
    assert [row.consequence for row in rows] == [
        "intron_variant", "aa_variant", "inframe_deletion",
    ]  # fmt: skip
    assert rows[0].consequences == ("gene_fusion", "intron_variant")
    assert "not in the list of Ensembl: gene_fusion, aa_variant (3 in total)" in caplog.text


def test_an_intergenic_allele_has_no_gene(tmp_path: Path) -> None:
    description = "Functional annotations: 'Allele | Annotation | Impact | Gene_Name | Gene_ID'"
    text = "C|intergenic_region|MODIFIER|A-B|A-B"
    (row,) = read(write(tmp_path, [f"c 5 A C ANN={text}"], "ANN", description), "ANN")
    assert row == Consequence(INTERGENIC, (INTERGENIC,))


# --- headers


def test_a_field_that_the_header_does_not_define_is_one_line(tmp_path: Path) -> None:
    path = write_vep(tmp_path, [])
    with pytest.raises(
        InputError, match=r"^x: .* no INFO field 'ANN'\. Name CSQ, which it defines"
    ):
        read_format(read_vcf(path)[0], "ANN", path, "x")
    path.write_text(f"##fileformat=VCFv4.2\n{COLUMNS}")
    with pytest.raises(InputError, match=r"no INFO field 'CSQ'\. Annotate it, or remove the key"):
        read_format(read_vcf(path)[0], "CSQ", path, "x")


@pytest.mark.parametrize(
    "description",
    [
        "",
        "Something",
        "Format: Allele|Gene",
        "Format: ",
        "Format: Consequence|SYMBOL|Gene",
        "Format: Consequence|SYMBOL|ALLELE_NUM",
        "From VEP. Allele|Consequence|SYMBOL",
        "'Annotation | Gene_Name'",
    ],
)
def test_a_description_without_columns_is_one_line(tmp_path: Path, description: str) -> None:
    path = write(tmp_path, [], "CSQ", description)
    with pytest.raises(InputError, match="Expected the columns of VEP, SnpEff or bcftools csq"):
        read_format(read_vcf(path)[0], "CSQ", path, "x")
