"""The consequences of alleles: by the genetic codes, by csq itself, and on rotated circles."""

import logging
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pysam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.genome import consequences
from evo2_tasks.genome.consequences import annotate_consequences
from evo2_tasks.genome.csq import CsqError, call_csq, read_effects, read_terms
from evo2_tasks.genome.genes import Genes, read_genes
from evo2_tasks.genome.protein_changes import (
    MAX_CHARACTERS,
    ProteinChange,
    parse_change,
    spell_change,
)
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.terms import BCFTOOLS_TERMS, RANKS, Consequence, find_most_severe
from tests.genome.gene_models import (
    CODES,
    CODONS,
    COMPLEMENT,
    START_CODONS,
    Model,
    annotate,
    gff_lines,
    make_genome,
    translate,
)

DATA = Path(__file__).parent.parent.parent / "data"
OF_PROTEIN = {
    "missense_variant",
    "start_lost",
    "start_retained_variant",
    "stop_gained",
    "stop_lost",
    "stop_retained_variant",
    "synonymous_variant",
}


@pytest.fixture(scope="module")
def rcrs() -> Reference:
    return Reference(DATA / "rCRS.fa", circular_contigs=["MT"])


@pytest.fixture(scope="module")
def mitochondrial(rcrs: Reference) -> Genes:
    return read_genes(DATA / "rCRS.gff3", rcrs)


def read_models() -> list[Model]:
    """The coding genes of the rCRS, read from the GFF3 without the package."""
    models = []
    for line in (DATA / "rCRS.gff3").read_text().splitlines():
        cells = line.split("\t")
        if len(cells) == 9 and cells[2] == "CDS":
            span = (int(cells[3]) - 1, int(cells[4]))
            coding = range(*span) if cells[6] == "+" else range(span[1] - 1, span[0] - 1, -1)
            name = cells[8].split("Parent=transcript:")[1].split(";")[0]
            models.append(Model("MT", cells[6], [span], coding, name))
    return models


def expect(model: Model, sequence: str, start: int, alt: str) -> set[str]:
    """The terms of a substitution for one mitochondrial gene, by NCBI's genetic code 2."""
    changed = [
        place
        for place, base in enumerate(alt, start)
        if place in model.coding and base != sequence[place]
    ]
    if not changed:
        return set()
    edited = sequence[:start] + alt + sequence[start + len(alt) :]
    before, after = model.read(sequence), model.read(edited)
    numbers = [model.coding.index(place) for place in changed]
    whole = len(before) // 3
    terms = {"coding_sequence_variant"} if max(numbers) // 3 >= whole else set()
    for codon in range(min(numbers) // 3, min(max(numbers) // 3, whole - 1) + 1):
        old, new = (bases[3 * codon : 3 * codon + 3] for bases in (before, after))
        if old == new:
            continue
        if codon == 0:
            terms.add("start_retained_variant" if new in START_CODONS[2] else "start_lost")
            if new not in START_CODONS[2] and CODES[2][new] == "*":
                terms.add("stop_gained")
        elif CODES[2][old] == CODES[2][new]:
            terms.add("stop_retained_variant" if CODES[2][old] == "*" else "synonymous_variant")
        elif CODES[2][old] == "*":
            terms.add("stop_lost")
        else:
            terms.add("stop_gained" if CODES[2][new] == "*" else "missense_variant")
    return terms


def run(
    genes: Genes, reference: Reference, alleles: Iterable[tuple[int, str, str]], folder: Path
) -> list[Consequence]:
    variants = [Variant(n, 1, "MT", *allele, None) for n, allele in enumerate(alleles)]
    return list(
        annotate_consequences(variants, genes, reference, genetic_codes={"MT": 2}, folder=folder)
    )


@pytest.mark.slow
def test_every_other_codon_of_every_codon_follows_genetic_code_2(
    rcrs: Reference, mitochondrial: Genes, tmp_path: Path
) -> None:
    sequence = rcrs.fetch("MT", 0, 16_569)
    models = read_models()
    assert len(models) == 13
    alleles, expected = [], []
    for model in models:
        others = [one for one in models if one is not model]
        bases = model.read(sequence)
        for first in range(3, len(bases) - 2, 3):
            places = sorted(model.coding[first : first + 3])
            if any(place in other.coding for other in others for place in places):
                continue  # a second gene has its own term: see the next test
            old = bases[first : first + 3]
            for new in CODONS:
                if new == old:
                    continue
                alt = new if model.strand == "+" else new.translate(COMPLEMENT)[::-1]
                ref = sequence[places[0] : places[0] + 3]
                alleles.append((places[0] + 1, ref, alt))
                was, now = CODES[2][old], CODES[2][new]
                same = "stop_retained_variant" if was == "*" else "synonymous_variant"
                gained = "stop_gained" if now == "*" else "missense_variant"
                term = same if was == now else "stop_lost" if was == "*" else gained
                expected.append((term, (term,), model.name, f"{was}{first // 3 + 1}{now}"))
    made = run(mitochondrial, rcrs, alleles, tmp_path)
    found = [(one.consequence, one.consequences, one.transcript, one.amino_acids) for one in made]
    assert len(found) == len(expected) > 230_000
    assert found == expected


def test_every_snv_of_a_coding_base_has_the_terms_of_all_its_genes(
    rcrs: Reference, mitochondrial: Genes, tmp_path: Path
) -> None:
    sequence = rcrs.fetch("MT", 0, 16_569)
    models = read_models()
    places = sorted({place for model in models for place in model.coding})
    alleles = [
        (place + 1, sequence[place], base)
        for place in places
        for base in "ACGT"
        if base != sequence[place]
    ]
    for (pos, _, alt), made in zip(
        alleles, run(mitochondrial, rcrs, alleles, tmp_path), strict=True
    ):
        terms = set().union(*(expect(model, sequence, pos - 1, alt) for model in models))
        coding = {term for term in made.consequences or () if "non_coding" not in term}
        assert coding == terms, (pos, alt)
        assert made.consequence == find_most_severe(made.consequences or ())


def test_counts_of_the_demo_are_those_of_a_plain_loop(
    rcrs: Reference, mitochondrial: Genes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sequence, models = rcrs.fetch("MT", 0, 16_569), read_models()
    coding = {model.name for model in models}
    rna = set()
    for line in (DATA / "rCRS.gff3").read_text().splitlines():
        cells = line.split("\t")
        if len(cells) == 9 and cells[2] == "exon":
            name = cells[8].split("Parent=transcript:")[1].split(";")[0]
            rna |= set() if name in coding else {*range(int(cells[3]) - 1, int(cells[4]))}
    with pysam.VariantFile(str(DATA / "mitomap.vcf.gz")) as file:
        snvs = [
            (record.pos, record.ref, alt)
            for record in file
            for alt in record.alts or ()
            if len(record.ref) == len(alt) == 1 and sequence[record.pos - 1] == record.ref
        ]
    expected: Counter[str] = Counter()
    for pos, _, alt in snvs:
        terms = set().union(*(expect(model, sequence, pos - 1, alt) for model in models))
        terms |= {"non_coding_transcript_exon_variant"} if pos - 1 in rna else set()
        expected[min(terms or {"intergenic_variant"}, key=RANKS.__getitem__)] += 1
    with caplog.at_level(logging.INFO):
        made = run(mitochondrial, rcrs, snvs, tmp_path)
    assert Counter(one.consequence for one in made) == expected
    assert len(expected) > 5
    assert "bcftools csq: Indexed 13 transcripts" in caplog.text  # the log has its messages


@pytest.mark.parametrize(
    ("pos", "alt", "term", "amino_acids"),
    [
        (4472, "A", "start_retained_variant", "M1M"),  # ND2, ATT>ATA
        (3307, "G", "start_lost", "M1V"),  # ND1, ATA>GTA
        (14673, "C", "start_retained_variant", "M1M"),  # ND6, reverse strand, ATG>GTG
        (14673, "A", "start_lost", "M1L"),
        (4262, "G", "coding_sequence_variant", None),  # ND1 ends in TA
        (5511, "A", "coding_sequence_variant", None),  # ND2 ends in T
        (3243, "G", "non_coding_transcript_exon_variant", None),  # the commonest pathogenic one
        (7445, "G", "stop_retained_variant", "*514*"),
        (263, "G", "intergenic_variant", None),
    ],
)
def test_known_places_of_the_rcrs(
    rcrs: Reference,
    mitochondrial: Genes,
    tmp_path: Path,
    pos: int,
    alt: str,
    term: str,
    amino_acids: str | None,
) -> None:
    (made,) = run(mitochondrial, rcrs, [(pos, rcrs.fetch("MT", pos - 1, pos), alt)], tmp_path)
    assert (made.consequence, made.amino_acids) == (term, amino_acids)
    assert made.consequences == (term,)


def test_the_gff_of_the_rcrs_has_its_37_genes(rcrs: Reference, mitochondrial: Genes) -> None:
    found = mitochondrial.find("MT", 0, 16_569)
    assert len(found) == 37
    assert {one.strand for one in found} == {"+", "-"}
    assert sum(bool(one.cds) for one in found) == 13
    sequence = rcrs.fetch("MT", 0, 16_569)
    for model in read_models():
        protein = translate(model.read(sequence), 2)
        assert model.read(sequence)[:3] in START_CODONS[2]
        assert "*" not in protein[:-1]
        assert protein.endswith("*") or len(model.coding) % 3  # polyadenylation completes the stop


def random_alleles(
    rng: random.Random, sequences: dict[str, str], models: list[Model], number: int
) -> list[tuple[str, int, str, str]]:
    """Substitutions, insertions and deletions near exons, each with a base before it."""
    alleles = []
    while len(alleles) < number:
        model = rng.choice(models)
        sequence = sequences[model.contig]
        start = rng.choice(model.coding) + rng.randint(-9, 9)
        kind = rng.choice(["snv", "mnv", "ins", "del"])
        if kind in ("snv", "mnv"):
            ref = sequence[start : start + (1 if kind == "snv" else rng.randint(2, 4))]
            alt = "".join(rng.choices("ACGT", k=len(ref)))
        elif kind == "ins":
            ref = sequence[start]
            alt = ref + "".join(rng.choices("ACGT", k=rng.randint(1, 7)))
        else:
            ref = sequence[start : start + rng.randint(2, 8)]
            alt = ref[0]
        if ref != alt:
            alleles.append((model.contig, start + 1, ref, alt))
    return alleles


def trim(start: int, ref: str, alt: str) -> tuple[int, str, str]:
    while ref and alt and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while ref and alt and ref[0] == alt[0]:
        start, ref, alt = start + 1, ref[1:], alt[1:]
    return start, ref, alt


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_coding_changes_are_those_of_the_translated_transcript(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    sequences, models = make_genome(rng)
    gff = "\n".join(line for n, model in enumerate(models) for line in gff_lines(model, n))
    alleles = random_alleles(rng, sequences, models, 150)
    of_contig = {model.contig: model for model in models}
    for allele, made in zip(alleles, annotate(tmp_path, sequences, gff, alleles), strict=True):
        contig, pos, ref, alt = allele
        model, sequence = of_contig[contig], sequences[contig]
        start, ref, alt = trim(pos - 1, ref, alt)
        around = range(start - 9, start + len(ref) + 9)
        if not all(place in model.coding for place in around):
            continue  # splice sites and untranslated parts: compared with csq below
        numbers = sorted(model.coding.index(place) for place in around)
        if numbers[-1] - numbers[0] != len(around) - 1 or numbers[0] < 3:
            continue
        terms = set(made.consequences or ())
        before = translate(model.read(sequence))
        bases = model.change(sequence, start, ref, alt)
        difference = len(alt) - len(ref)
        if difference % 3:
            assert terms <= {"frameshift_variant", "stop_gained"}, allele
            assert "frameshift_variant" in terms
            assert made.amino_acids is not None
            assert made.amino_acids.endswith(("fs", "*"))
            continue
        after = translate(bases)
        if difference:
            assert ("inframe_insertion" if difference > 0 else "inframe_deletion") in terms, allele
            stop = after.index("*")
            assert ("stop_gained" in terms) == (stop < len(after) - 1), allele
            continue
        changed = [n for n, pair in enumerate(zip(before, after, strict=True)) if len({*pair}) > 1]
        if not changed:
            assert terms == {"synonymous_variant"}, allele
        elif any(after[n] == "*" for n in changed):
            assert terms == {"stop_gained"}, allele
        else:
            assert terms == {"missense_variant"}, allele
        if len(ref) == 1:
            number = model.coding.index(start) // 3
            assert made.amino_acids == f"{before[number]}{number + 1}{after[number]}"


def run_csq(folder: Path, alleles: list[tuple[str, int, str, str]]) -> list[dict[str, set[str]]]:
    """The terms of bcftools csq on the genome's own files, by transcript."""
    contigs = sorted({contig for contig, *_ in alleles})
    lines = ["##fileformat=VCFv4.2", *(f"##contig=<ID={contig}>" for contig in contigs)]
    lines.append("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO")
    order = sorted(range(len(alleles)), key=lambda n: alleles[n][:2])
    for n in order:
        contig, pos, ref, alt = alleles[n]
        lines.append(f"{contig}\t{pos}\t{n}\t{ref}\t{alt}\t.\t.\t.")
    (folder / "in.vcf").write_text("\n".join(lines) + "\n")
    call = "import sys; from pysam import bcftools; bcftools.csq(*sys.argv[1:], catch_stdout=False)"
    options = ["-l", "-f", "genome.fa", "-g", "genes.gff3", "-o", "out.vcf", "in.vcf"]
    subprocess.run([sys.executable, "-c", call, *options], cwd=folder, check=True)
    found: list[dict[str, set[str]]] = [{} for _ in alleles]
    for line in (folder / "out.vcf").read_text().splitlines():
        cells = line.split("\t")
        if line.startswith("#") or "BCSQ=" not in cells[7]:
            continue
        for one in cells[7].split("BCSQ=")[1].split(","):
            terms, _, transcript, *_ = one.split("|")
            names = {BCFTOOLS_TERMS[term] for term in terms.split("&")}
            found[int(cells[2])].setdefault(transcript, set()).update(names)
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_terms_are_those_of_csq_on_the_same_files(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    sequences, models = make_genome(rng, contigs=6)
    gff = "\n".join(line for n, model in enumerate(models) for line in gff_lines(model, n)) + "\n"
    of_contig = {model.contig: model for model in models}
    alleles = []
    for allele in random_alleles(rng, sequences, models, 1_500):
        contig, pos, ref, alt = allele
        start, trimmed, other = trim(pos - 1, ref, alt)
        first = of_contig[contig].coding[:3]
        if set(first) & set(range(start - 1, start + len(trimmed) + 1)):
            continue  # the start codon follows the genetic code, and not csq
        if not trimmed and sequences[contig][start - 1] == other[-1]:
            continue  # ours is left-aligned
        if not other and sequences[contig][start - 1] == trimmed[-1]:
            continue
        alleles.append((contig, start + 1, trimmed, other))
        if not (trimmed and other):
            before = sequences[contig][start - 1]
            alleles[-1] = (contig, start, before + trimmed, before + other)
    made = annotate(tmp_path, sequences, gff, alleles)
    stated = run_csq(tmp_path, alleles)
    compared = 0
    for allele, one, terms in zip(alleles, made, stated, strict=True):
        own = of_contig[allele[0]].name
        if own in terms:
            compared += 1
            assert set(one.consequences or ()) == terms[own], allele
            assert one.transcript == own
        else:
            assert one.consequence in ("intron_variant", "intergenic_variant"), allele
    assert compared > 500


def test_introns_and_splice_sites_on_both_strands(tmp_path: Path) -> None:
    rng = random.Random(7)
    exons = [(50, 110), (210, 300)]
    sequences = {"c": "".join(rng.choices("CG", k=400))}
    for strand in "+-":
        places = [place for span in exons for place in range(*span)]
        coding = places if strand == "+" else places[::-1]
        gff = "\n".join(gff_lines(Model("c", strand, exons, coding, "T"), 1))
        sites = {
            110: "donor", 111: "donor", 112: "region", 117: "region", 118: None, 160: None,
            201: None, 202: "region", 207: "region", 208: "acceptor", 209: "acceptor",
        }  # fmt: skip
        alleles = [("c", place + 1, sequences["c"][place], "A") for place in sites]
        made = annotate(tmp_path / strand, sequences, gff, alleles)
        for place, one in zip(sites, made, strict=True):
            site = sites[place]
            if strand == "-" and site in ("donor", "acceptor"):
                site = "acceptor" if site == "donor" else "donor"
            names = {None: "intron_variant", "region": "splice_region_variant"}
            assert one.consequence == names.get(site, f"splice_{site}_variant"), (strand, place)
            assert one.transcript_strand == strand
            assert (one.gene, one.gene_id, one.transcript) == ("N1", "G1", "T")


NON_CODING = """\
c\t.\tncRNA_gene\t{start}\t{end}\t.\t+\t.\tID=gene:{name};biotype=lncRNA
c\t.\tlnc_RNA\t{start}\t{end}\t.\t+\t.\tID=transcript:{name}T;Parent=gene:{name};biotype=lncRNA{tag}
c\t.\texon\t{start}\t{middle}\t.\t+\t.\tParent=transcript:{name}T
c\t.\texon\t{later}\t{end}\t.\t+\t.\tParent=transcript:{name}T
"""


def non_coding(name: str, start: int, end: int, tag: str = "") -> str:
    tag = f";tag={tag}" if tag else ""
    return NON_CODING.format(
        name=name, start=start, middle=start + 19, later=end - 19, end=end, tag=tag
    )


def test_two_non_coding_genes_at_one_place_are_both_found(tmp_path: Path) -> None:
    sequences = {"c": "A" * 300}
    gff = non_coding("A", 101, 200) + non_coding("B", 111, 250)
    inside, intron = annotate(
        tmp_path, sequences, gff, [("c", 115, "A", "C"), ("c", 150, "A", "C")]
    )
    assert inside.consequences == ("non_coding_transcript_exon_variant",)
    assert (inside.gene, inside.gene_id, inside.transcript) == ("A", "A", "AT")
    assert intron.consequence == "intron_variant"
    assert intron.consequences == ("intron_variant", "non_coding_transcript_variant")


@pytest.mark.parametrize("tag", ["basic,MANE_Select", "MANE Select", "Ensembl_canonical"])
def test_a_tag_decides_a_tie_before_the_identifier(tmp_path: Path, tag: str) -> None:
    gff = non_coding("A", 101, 200) + non_coding("B", 101, 200, tag)
    (made,) = annotate(tmp_path, {"c": "A" * 300}, gff, [("c", 105, "A", "C")])
    assert made.transcript == "BT"


def test_the_longer_coding_sequence_decides_a_tie(tmp_path: Path) -> None:
    rng = random.Random(3)
    long = Model("c", "+", [(50, 200)], range(50, 200), "Z")
    short = Model("c", "+", [(50, 200)], range(50, 110), "A")
    gff = "\n".join([*gff_lines(short, 1), *gff_lines(long, 2)])
    sequence = "".join(rng.choices("C", k=300))
    (made,) = annotate(tmp_path, {"c": sequence}, gff, [("c", 81, "C", "A")])
    assert made.consequence == "missense_variant"
    assert made.transcript == "Z"


def test_rows_without_a_known_allele_have_no_consequence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sequences = {"c": "A" * 300, "other": "A" * 50}
    gff = non_coding("A", 101, 200)
    rows = [
        ("c", 105, "C", "A"),  # REF is not there
        ("c", 105, "A", "<DEL>"),
        ("c", 105, "A", "*"),
        ("c", 105, "A", "A"),
        ("c", 105, "A", "N"),
        ("missing", 105, "A", "C"),
        ("c", 301, "A", "C"),
    ]
    assert annotate(tmp_path, sequences, gff, rows) == [Consequence()] * len(rows)
    assert "no genes" not in caplog.text
    other, before = annotate(tmp_path, sequences, gff, [("other", 5, "A", "C"), ("c", 5, "A", "C")])
    assert other == before == Consequence("intergenic_variant", ("intergenic_variant",))
    assert "have alleles and no genes in the GFF" in caplog.text
    assert caplog.text.rstrip().endswith("intergenic_variant: other")


@pytest.mark.parametrize(
    "limit", ["CHUNK_ALLELES", "CHUNK_BASES", "PART_TRANSCRIPTS", "PART_PAIRS"]
)
def test_order_chunks_and_repeats_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    rng = random.Random(5)
    sequences, models = make_genome(rng)
    gff = "\n".join(line for n, model in enumerate(models) for line in gff_lines(model, n))
    alleles = random_alleles(rng, sequences, models, 60)
    alleles += alleles[:10]
    made = annotate(tmp_path, sequences, gff, alleles)
    shuffled = list(range(len(alleles)))
    rng.shuffle(shuffled)
    monkeypatch.setattr(consequences, limit, 1 if limit == "PART_TRANSCRIPTS" else 9)
    calls = []
    call = consequences.call_csq
    monkeypatch.setattr(
        consequences, "call_csq", lambda *given: (calls.append(given), call(*given))[1]
    )
    again = annotate(tmp_path, sequences, gff, [alleles[n] for n in shuffled])
    assert again == [made[n] for n in shuffled]
    assert len(calls) > 3


def test_spellings_of_one_allele_have_one_consequence(tmp_path: Path) -> None:
    rng = random.Random(11)
    model = Model("c", "+", [(50, 200)], range(50, 200), "T")
    sequence = "".join(rng.choices("ACGT", k=100)) + "CAG" * 10 + "".join(rng.choices("ACGT", k=99))
    gff = "\n".join(gff_lines(model, 1))
    spellings = [
        ("c", 101 + 3 * n, sequence[100 + 3 * n : 104 + 3 * n], sequence[100 + 3 * n])
        for n in range(9)
    ]
    spellings.append(("c", 101, sequence[100:130], sequence[100:127]))
    assert len(set(annotate(tmp_path, {"c": sequence}, gff, spellings))) == 1


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("strand", ["+", "-"])
def test_a_gene_over_the_origin_is_read_as_on_a_rotated_circle(
    tmp_path: Path, strand: str, split: bool
) -> None:
    """The same circle is written twice, with its first base in the gene and before the gene."""
    rng = random.Random(13)
    length, turn = 600, 210
    sequence = list("".join(rng.choices("ACGT", k=length)))
    places = list(range(150, 300))
    coding = places if strand == "+" else places[::-1]
    inner = [codon for codon in CODONS if CODES[1][codon] != "*"]
    bases = "ATG" + "".join(rng.choices(inner, k=48)) + "TAA"
    for place, base in zip(coding, bases, strict=True):
        sequence[place] = base if strand == "+" else base.translate(COMPLEMENT)
    straight = "".join(sequence)
    rotated = straight[turn:] + straight[:turn]
    gff = "\n".join(gff_lines(Model("c", strand, [(150, 300)], coding, "T"), 1))
    start, end = 150 - turn + length, 300 - turn + length
    line = "c\t.\t{}\t{}\t{}\t.\t" + strand + "\t{}\t{}\n"
    whole = [("gene", "ID=gene:G1;Name=N1;biotype=protein_coding")]
    whole += [("mRNA", "ID=transcript:T;Parent=gene:G1;biotype=protein_coding")]
    parts = [("exon", "Parent=transcript:T"), ("CDS", "ID=CDS:P;Parent=transcript:T")]
    over = ""
    for kind, attributes in whole + parts:
        phase = "0" if kind == "CDS" else "."
        if split:
            first = phase if strand == "+" else "0" if (end - length) % 3 == 0 else "."
            over += line.format(kind, start + 1, length, first, attributes)
            over += line.format(kind, 1, end - length, phase, attributes)
        else:
            over += line.format(kind, start + 1, end, phase, attributes)
    alleles, turned = [], []
    for place in range(140, 310):
        ref = straight[place]
        alt = "A" if ref != "A" else "C"
        spelled = [(ref, alt), (ref, ref + "AC"), (straight[place : place + 3], ref)]
        for one, other in spelled:
            moved = (place - turn) % length
            if moved + len(one) <= length:
                alleles.append(("c", place + 1, one, other))
                turned.append(("c", moved + 1, one, other))
    expected = annotate(tmp_path / "straight", {"c": straight}, gff, alleles, circular=["c"])
    found = annotate(tmp_path / "rotated", {"c": rotated}, over, turned, circular=["c"])
    assert found == expected
    assert {one.transcript for one in expected} == {"T", None}


def test_a_codon_with_a_base_that_is_not_known_is_not_translated(tmp_path: Path) -> None:
    model = Model("c", "+", [(30, 90)], range(30, 90), "T")
    sequence = "C" * 30 + "ATG" + "CCN" + "cca" * 17 + "TAA" + "C" * 30
    unknown, known = annotate(
        tmp_path,
        {"c": sequence},
        "\n".join(gff_lines(model, 1)),
        [("c", 34, "C", "A"), ("c", 37, "C", "A")],
    )
    assert unknown.consequences == ("coding_sequence_variant",)
    assert unknown.amino_acids is None
    assert (known.consequence, known.amino_acids) == ("missense_variant", "P3T")


@pytest.mark.parametrize("strand", ["+", "-"])
def test_every_base_of_a_start_codon_over_two_exons_counts(tmp_path: Path, strand: str) -> None:
    places = [*range(30, 32), *range(60, 151)] if strand == "+" else [*range(30, 121), 150, 151]
    coding = places if strand == "+" else places[::-1]
    sequence = ["C"] * 200
    for place, base in zip(coding, "ATG" + "GCA" * 29 + "TAA", strict=True):
        sequence[place] = base if strand == "+" else base.translate(COMPLEMENT)
    exons = [(30, 32), (60, 151)] if strand == "+" else [(30, 121), (150, 152)]
    gff = "\n".join(gff_lines(Model("c", strand, exons, coding, "T"), 1))
    alleles = [("c", place + 1, sequence[place], "C") for place in coding[:3]]
    if strand == "-":
        alleles[2] = ("c", coding[2] + 1, sequence[coding[2]], "A")
    for one in annotate(tmp_path, {"c": "".join(sequence)}, gff, alleles):
        assert one.consequence == "start_lost"
        assert one.consequences == ("splice_region_variant", "start_lost")
        assert one.amino_acids is not None
        assert one.amino_acids.startswith("M1")


def test_incomplete_codons_at_both_ends(tmp_path: Path) -> None:
    """A coding part with phase 2 that ends one base after a codon."""
    sequence = "C" * 200
    gff = (
        "c\t.\tgene\t31\t93\t.\t+\t.\tID=gene:G;biotype=protein_coding\n"
        "c\t.\tmRNA\t31\t93\t.\t+\t.\tID=transcript:T;Parent=gene:G;biotype=protein_coding\n"
        "c\t.\texon\t31\t93\t.\t+\t.\tParent=transcript:T\n"
        "c\t.\tCDS\t31\t93\t.\t+\t2\tParent=transcript:T\n"
    )
    places = {31: None, 32: None, 33: "P1T", 92: "P20Q", 93: None}
    alleles = [("c", place, "C", "A") for place in places]
    for place, one in zip(places, annotate(tmp_path, {"c": sequence}, gff, alleles), strict=True):
        amino_acids = places[place]
        if amino_acids is None:
            assert one.consequences == ("coding_sequence_variant",)
        assert one.amino_acids == amino_acids or place == 92


@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize("phase", ["0", "1", "2"])
def test_every_place_of_a_coding_transcript_has_a_term(
    tmp_path: Path, strand: str, phase: str
) -> None:
    """Also between a UTR and the coding part, and at a base over which the ribosome slips."""
    sequence = "".join(random.Random(4).choices("ACGT", k=200))
    gff = (
        f"c\t.\tgene\t31\t150\t.\t{strand}\t.\tID=gene:G\n"
        f"c\t.\tmRNA\t31\t150\t.\t{strand}\t.\tID=transcript:T;Parent=gene:G\n"
        f"c\t.\texon\t31\t150\t.\t{strand}\t.\tParent=transcript:T\n"
        f"c\t.\tCDS\t44\t80\t.\t{strand}\t{phase}\tParent=transcript:T\n"
        f"c\t.\tCDS\t82\t130\t.\t{strand}\t{phase}\tParent=transcript:T\n"
    )
    alleles = []
    for pos in range(30, 152):
        base = sequence[pos - 1]
        other = next(one for one in "ACGT" if one != base)
        alleles += [("c", pos, base, other), ("c", pos, base, base + other * 3)]
    found = annotate(tmp_path, {"c": sequence}, gff, alleles)
    inside = [
        one
        for (_, pos, _, alt), one in zip(alleles, found, strict=True)
        if 31 <= pos <= 150 - (len(alt) > 1)
    ]
    assert all(one.transcript == "T" for one in inside)
    allowed = ({"5_prime_UTR_variant"}, {"3_prime_UTR_variant"})
    before, after = allowed if strand == "+" else allowed[::-1]
    by_allele = dict(zip(alleles, found, strict=True))
    for (_, pos, _, alt), one in by_allele.items():
        if 31 <= pos < 44 - (len(alt) > 1):
            assert set(one.consequences or ()) == before
        if 130 < pos <= 150 - (len(alt) > 1):
            assert set(one.consequences or ()) == after
        if pos == 81 and len(alt) == 1:
            assert one.consequences == ("coding_sequence_variant",)
        assert not any("splice" in term for term in one.consequences or ())


def test_a_new_stop_in_the_last_codon_is_no_retained_one(tmp_path: Path) -> None:
    """The coding sequence is cut, so that its last codon is not a stop."""
    model = Model("c", "+", [(30, 100)], range(30, 90), "T")
    sequence = "C" * 30 + "ATG" + "CCA" * 18 + "TGC" + "C" * 60
    gff = "\n".join(gff_lines(model, 1))
    (found,) = annotate(tmp_path, {"c": sequence}, gff, [("c", 90, "C", "A")])
    assert (found.consequences, found.amino_acids) == (("stop_gained",), "C20*")


def test_phases_that_contradict_the_lengths_follow_the_first(tmp_path: Path) -> None:
    model = Model("c", "+", [(30, 61), (90, 121)], [*range(30, 61), *range(90, 121)], "T")
    sequence = "".join(random.Random(2).choices("ACGT", k=200))
    lines = gff_lines(model, 1)
    wrong = "\n".join(
        line.replace("\t+\t2\t", "\t+\t1\t").replace("\t+\t1\t", "\t+\t.\t") for line in lines
    )
    alleles = [("c", n + 1, sequence[n], "A" if sequence[n] != "A" else "C") for n in (40, 95, 100)]
    right = annotate(tmp_path / "right", {"c": sequence}, "\n".join(lines), alleles)
    assert annotate(tmp_path / "wrong", {"c": sequence}, wrong, alleles) == right


@pytest.mark.parametrize(("contig", "code"), [("MT", 7), ("MT", 32), ("MT", 0), ("X", 2)])
def test_an_unknown_code_or_contig_is_one_line(
    rcrs: Reference, mitochondrial: Genes, tmp_path: Path, contig: str, code: int
) -> None:
    with pytest.raises(InputError, match=rf"genetic_codes: .*{code if contig == 'MT' else 'X'}"):
        list(
            annotate_consequences(
                [], mitochondrial, rcrs, genetic_codes={contig: code}, folder=tmp_path
            )
        )


def test_a_circular_contig_without_a_code_is_one_warning(
    rcrs: Reference,
    mitochondrial: Genes,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        list(annotate_consequences([], mitochondrial, rcrs, genetic_codes={}, folder=tmp_path))
    (record,) = caplog.records
    assert "genetic_codes has no entry for MT" in record.getMessage()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        list(
            annotate_consequences(
                [], mitochondrial, rcrs, genetic_codes={"chrM": 2}, folder=tmp_path
            )
        )
    assert caplog.records == []


def test_an_allele_at_which_csq_fails_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(5)
    sequences, models = make_genome(rng)
    gff = "\n".join(line for n, model in enumerate(models) for line in gff_lines(model, n))
    alleles = random_alleles(rng, sequences, models, 40)
    expected = annotate(tmp_path, sequences, gff, alleles)
    chosen = next(
        n
        for n, one in enumerate(expected)
        if one.consequences == ("missense_variant",) and len(alleles[n][2]) == 1
    )
    place = alleles[chosen][0], alleles[chosen][1] - 1, alleles[chosen][3]

    def failing(regions, *others):
        given = [
            (region.contig, one.start, one.alt) for region in regions for one in region.alleles
        ]
        if place in given:
            raise CsqError("it failed")
        return call_csq(regions, *others)

    monkeypatch.setattr(consequences, "call_csq", failing)
    made = annotate(tmp_path, sequences, gff, alleles)
    assert made[:chosen] + made[chosen + 1 :] == expected[:chosen] + expected[chosen + 1 :]
    assert made[chosen].consequence == "coding_sequence_variant"
    assert made[chosen].gene == expected[chosen].gene
    assert "it failed" in caplog.text


def test_a_csq_that_never_runs_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_others):
        raise CsqError("no csq here")

    monkeypatch.setattr(consequences, "call_csq", failing)
    rng = random.Random(5)
    sequences, models = make_genome(rng)
    gff = "\n".join(line for n, model in enumerate(models) for line in gff_lines(model, n))
    with pytest.raises(InputError, match=r"no csq here\. Install the version of pysam"):
        annotate(tmp_path, sequences, gff, random_alleles(rng, sequences, models, 40))


def test_every_term_of_csq_has_a_rank() -> None:
    assert set(BCFTOOLS_TERMS.values()) <= RANKS.keys()
    with pytest.raises(InputError, match="'new_term', which is not known"):
        read_terms("missense&new_term")


def test_long_alleles_are_not_given_to_csq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consequences, "MAX_CSQ_BASES", 20)
    model = Model("c", "+", [(50, 200)], range(60, 150), "T")
    sequence = "".join(random.Random(4).choices("ACGT", k=300))
    alleles = [
        ("c", first + 1, sequence[first:last], sequence[first])
        for first, last in [(99, 110), (99, 130), (49, 70), (20, 230)]
    ]
    made = annotate(tmp_path, {"c": sequence}, "\n".join(gff_lines(model, 1)), alleles)
    assert [one.consequences for one in made[1:]] == [
        ("coding_sequence_variant",),
        ("5_prime_UTR_variant", "coding_sequence_variant"),
        ("transcript_ablation",),
    ]
    assert made[0].amino_acids is not None
    assert {one.transcript for one in made} == {"T"}


def test_effects_of_one_transcript_are_joined() -> None:
    effects = read_effects("splice_region|N|7|protein_coding,missense|N|7|protein_coding|+|2W>2R|x")
    ((found,),) = effects.values()
    assert found.terms == {"splice_region_variant", "missense_variant"}
    assert found.change == ProteinChange(2, "W", "R")
    assert read_effects("intron|N||protein_coding") == {}


@pytest.mark.parametrize(
    ("text", "terms", "spelled"),
    [
        ("24W>24R", "missense", "W24R"),
        ("24W>24*", "stop_gained", "W24*"),
        ("24W", "synonymous", "W24W"),
        ("5TY>5I", "inframe_deletion", "TY5I"),
        ("24WAB..310>24WCD..290", "frameshift", "A25Cfs"),
        ("24WAB..310>24*", "frameshift", "W24*"),
        ("9A>9A", "frameshift", "A9fs"),
        (f"123456{'A' * 30}..123600>123456{'C' * 30}..9", "inframe_insertion", None),
    ],
)
def test_amino_acids_are_short(text: str, terms: str, spelled: str | None) -> None:
    change = parse_change(text)
    assert change is not None
    found = spell_change(change, read_terms(terms))
    assert len(found) <= MAX_CHARACTERS
    assert spelled is None or found == spelled
