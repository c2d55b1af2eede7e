"""Genes of GFF3 files as Ensembl, NCBI and others write them, and what is wrong with some."""

import gzip
import logging
from pathlib import Path

import pysam
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.genome import gff
from evo2_tasks.genome.genes import Genes, Transcript, read_genes
from evo2_tasks.genome.reference import Reference

ENSEMBL = """\
##gff-version 3
##sequence-region 1 1 1000
#!genome-build GRCh38.p14
1\tGRCh38\tchromosome\t1\t1000\t.\t.\t.\tID=chromosome:1;Alias=CM000663.2
1\t.\tbiological_region\t5\t9\t0.9\t+\t.\texternal_name=oriC;logic_name=eponine
###
1\thavana\tgene\t101\t300\t.\t-\t.\tID=gene:ENSG1;Name=GENE%3B1;biotype=protein_coding;gene_id=ENSG1
1\thavana\tmRNA\t101\t300\t.\t-\t.\tID=transcript:ENST1;Parent=gene:ENSG1;Name=GENE1-201;\
biotype=protein_coding;tag=basic,Ensembl_canonical,MANE_Select;transcript_id=ENST1;version=2
1\thavana\tthree_prime_UTR\t101\t120\t.\t-\t.\tParent=transcript:ENST1
1\thavana\texon\t101\t160\t.\t-\t.\tParent=transcript:ENST1;Name=ENSE1;exon_id=ENSE1;rank=2
1\thavana\tCDS\t121\t160\t.\t-\t2\tID=CDS:ENSP1;Parent=transcript:ENST1;protein_id=ENSP1
1\thavana\texon\t201\t300\t.\t-\t.\tParent=transcript:ENST1;Name=ENSE2;exon_id=ENSE2;rank=1
1\thavana\tCDS\t201\t280\t.\t-\t0\tID=CDS:ENSP1;Parent=transcript:ENST1;protein_id=ENSP1
1\thavana\tfive_prime_UTR\t281\t300\t.\t-\t.\tParent=transcript:ENST1
1\thavana\tlnc_RNA\t101\t300\t.\t-\t.\tID=transcript:ENST2;Parent=gene:ENSG1;biotype=lncRNA
1\thavana\texon\t101\t300\t.\t-\t.\tParent=transcript:ENST2
"""

ENSEMBL_TRANSCRIPT = Transcript(
    number=0, contig="1", start=100, end=300, strand="-", transcript="ENST1", gene="GENE;1",
    gene_id="ENSG1", is_selected=True, is_decayed=False, exons=((100, 160), (200, 300)),
    cds=((120, 160), (200, 280)), phase=0, cds_length=120,
)  # fmt: skip

NCBI = """\
##gff-version 3
NC_1.1\tRefSeq\tregion\t1\t1000\t.\t+\t.\tID=NC_1.1:1..1000;Dbxref=taxon:9606;Name=1
NC_1.1\tBestRefSeq\tgene\t101\t300\t.\t+\t.\tID=gene-AB1;Dbxref=GeneID:77,HGNC:HGNC:5;Name=AB1;\
gbkey=Gene;gene=AB1;gene_biotype=protein_coding
NC_1.1\tBestRefSeq\tmRNA\t101\t300\t.\t+\t.\tID=rna-NM_1.2;Parent=gene-AB1;\
Dbxref=GeneID:77,GenBank:NM_1.2;Name=NM_1.2;gene=AB1;tag=MANE Select;transcript_id=NM_1.2
NC_1.1\tBestRefSeq\texon\t101\t160\t.\t+\t.\tID=exon-NM_1.2-1;Parent=rna-NM_1.2;gene=AB1
NC_1.1\tBestRefSeq\texon\t201\t300\t.\t+\t.\tID=exon-NM_1.2-2;Parent=rna-NM_1.2;gene=AB1
NC_1.1\tBestRefSeq\tCDS\t131\t160\t.\t+\t0\tID=cds-NP_1.2;Parent=rna-NM_1.2;gene=AB1
NC_1.1\tBestRefSeq\tCDS\t201\t260\t.\t+\t0\tID=cds-NP_1.2;Parent=rna-NM_1.2;gene=AB1
NC_1.1\tRefSeq\tgene\t401\t460\t.\t-\t.\tID=gene-ND9;Dbxref=GeneID:78;Name=ND9;gene=ND9
NC_1.1\tRefSeq\tCDS\t401\t460\t.\t-\t0\tID=cds-YP_9.1;Parent=gene-ND9;Name=YP_9.1;gene=ND9;\
transl_table=2
NC_1.1\ttRNAscan\tgene\t501\t560\t.\t-\t.\tID=gene-TRNX;Dbxref=GeneID:79;Name=TRNX;gene=TRNX
NC_1.1\ttRNAscan\ttRNA\t501\t560\t.\t-\t.\tID=rna-TRNX;Parent=gene-TRNX;gene=TRNX
NC_1.1\ttRNAscan\texon\t501\t560\t.\t-\t.\tID=exon-TRNX-1;Parent=rna-TRNX;gene=TRNX
NC_1.1\tRefSeq\tpseudogene\t601\t660\t.\t-\t.\tID=gene-P;Name=P;pseudo=true
NC_1.1\tRefSeq\tCDS\t601\t660\t.\t-\t0\tID=cds-P;Parent=gene-P;pseudo=true
NC_1.1\tRefSeq\tmobile_genetic_element\t701\t760\t.\t-\t.\tID=id-M;mobile_element_type=LINE
"""


def read(
    folder: Path,
    text: str | bytes,
    *,
    contigs: dict[str, int] | None = None,
    name: str = "genes.gff3",
    **options: object,
) -> Genes:
    lengths = contigs or {"1": 1000}
    fasta = folder / "genome.fa"
    Path(f"{fasta}.fai").unlink(missing_ok=True)
    fasta.write_text("".join(f">{one}\n{'A' * length}\n" for one, length in lengths.items()))
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_genes(path, Reference(fasta, **options))


def everything(genes: Genes, contig: str = "1") -> list[Transcript]:
    return genes.find(contig, 0, 10**9)


def test_a_file_of_ensembl(tmp_path: Path) -> None:
    found = everything(read(tmp_path, ENSEMBL))
    assert found[0] == ENSEMBL_TRANSCRIPT
    assert [one.transcript for one in found] == ["ENST1", "ENST2"]
    assert found[1].cds == ()


def test_a_file_of_ncbi(tmp_path: Path) -> None:
    genes = read(tmp_path, NCBI, contigs={"NC_1.1": 1000})
    rows = [
        (one.transcript, one.gene, one.gene_id, one.strand, one.exons, one.cds, one.is_selected)
        for one in everything(genes, "NC_1.1")
    ]
    exons = ((100, 160), (200, 300))
    assert rows == [
        ("NM_1.2", "AB1", "77", "+", exons, ((130, 160), (200, 260)), True),
        ("YP_9.1", "ND9", "78", "-", ((400, 460),), ((400, 460),), False),
        ("TRNX", "TRNX", "79", "-", ((500, 560),), (), False),
        ("P", "P", "P", "-", ((600, 660),), (), False),
    ]


@pytest.mark.parametrize("form", ["gzip", "bgzip", "CRLF", "mark", "reversed", "lone CR"])
def test_every_form_of_a_file_gives_the_same_genes(tmp_path: Path, form: str) -> None:
    lines = ENSEMBL.splitlines()
    text = ENSEMBL.encode()
    if form == "gzip":
        text = gzip.compress(text)
    elif form == "bgzip":
        with pysam.BGZFile(str(tmp_path / "one.gz"), "w") as file:
            file.write(text)
        text = (tmp_path / "one.gz").read_bytes()
    elif form == "CRLF":
        text = "\r\n".join([*lines, ""]).encode()
    elif form == "lone CR":
        text = "\r".join([*lines, ""]).encode()
    elif form == "mark":
        text = b"\xef\xbb\xbf" + text
    else:
        text = "\n".join([*lines[:1], *lines[:2:-1], ""]).encode()
    assert everything(read(tmp_path, text)) == everything(read(tmp_path, ENSEMBL))


def test_sequences_after_the_features_are_not_read(tmp_path: Path) -> None:
    lines = "1\t.\tgene\t1\t9\t.\t+\t.\tID=gene:X\n1\t.\tmRNA\t1\t9\t.\t+\t.\tID=X;Parent=gene:X\n"
    for heading in ("##FASTA\n>1\n", ">1\n"):
        found = everything(read(tmp_path, f"{ENSEMBL}{heading}ACGT\n{lines}"))
        assert [one.transcript for one in found] == ["ENST1", "ENST2"]


def test_contig_names_go_through_the_rule_and_the_aliases(tmp_path: Path) -> None:
    assert everything(read(tmp_path, ENSEMBL, contigs={"chr1": 1000}), "chr1")
    aliases = {"NC_1.1": "1"}
    assert len(everything(read(tmp_path, NCBI, contig_aliases=aliases))) == 4


def test_parts_without_a_gene_or_a_transcript_are_transcripts(tmp_path: Path) -> None:
    text = (
        "1\tProdigal\tCDS\t11\t40\t.\t+\t0\tID=AB_1;gene=dnaA;locus_tag=AB_1\n"
        "1\tProdigal\tCDS\t51\t80\t.\t-\t0\tlocus_tag=AB_2;product=x\n"
        "1\tAragorn\ttRNA\t91\t120\t.\t-\t.\tID=AB_3;locus_tag=AB_3\n"
        "1\tx\texon\t131\t160\t.\t+\t.\tParent=nowhere\n"
        "1\tx\tgene\t171\t200\t.\t+\t.\tID=lonely\n"
    )
    rows = [
        (one.transcript, one.gene, one.gene_id, one.cds) for one in everything(read(tmp_path, text))
    ]
    assert rows == [
        ("AB_1", "dnaA", "AB_1", ((10, 40),)),
        ("AB_2", "AB_2", "AB_2", ((50, 80),)),
        ("AB_3", "AB_3", "AB_3", ()),
        ("nowhere", "nowhere", "nowhere", ()),
    ]


def test_several_proteins_of_one_gene_are_several_transcripts(tmp_path: Path) -> None:
    """The polyprotein of a virus: the second ribosome slips back by one base."""
    text = (
        "1\tRefSeq\tgene\t11\t400\t.\t+\t.\tID=gene-ORF1;gene=ORF1\n"
        "1\tRefSeq\tCDS\t11\t100\t.\t+\t0\tID=cds-long;Parent=gene-ORF1\n"
        "1\tRefSeq\tCDS\t100\t399\t.\t+\t0\tID=cds-long;Parent=gene-ORF1\n"
        "1\tRefSeq\tCDS\t11\t112\t.\t+\t0\tID=cds-short;Parent=gene-ORF1\n"
    )
    long, short = sorted(everything(read(tmp_path, text)), key=lambda one: one.transcript)
    assert (long.transcript, long.cds) == ("long", ((10, 100), (99, 399)))
    assert (short.transcript, short.cds) == ("short", ((10, 112),))
    assert long.gene == short.gene == "ORF1"


def test_one_identifier_on_two_contigs_is_two_genes(tmp_path: Path) -> None:
    text = ENSEMBL + ENSEMBL.replace("\n1\t", "\nY\t")
    genes = read(tmp_path, text, contigs={"1": 1000, "Y": 1000})
    first, second = everything(genes)[0], everything(genes, "Y")[0]
    assert (first.start, first.exons, first.gene_id) == (second.start, second.exons, second.gene_id)


def test_an_exon_of_two_transcripts_and_utrs_without_exons(tmp_path: Path) -> None:
    text = (
        "1\t.\tgene\t11\t60\t.\t+\t.\tID=g\n"
        "1\t.\tmRNA\t11\t60\t.\t+\t.\tID=a;Parent=g\n1\t.\tmRNA\t11\t60\t.\t+\t.\tID=b;Parent=g\n"
        "1\t.\tfive_prime_UTR\t11\t20\t.\t+\t.\tParent=a,b\n"
        "1\t.\tCDS\t21\t50\t.\t+\t0\tParent=a\n"
        "1\t.\tthree_prime_UTR\t51\t60\t.\t+\t.\tParent=a\n"
    )
    a, b = everything(read(tmp_path, text))
    assert (a.exons, a.cds) == (((10, 60),), ((20, 50),))
    assert (b.exons, b.cds) == (((10, 20),), ())


def test_transcripts_that_cannot_be_used_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = ENSEMBL + (
        "1\t.\tgene\t901\t1200\t.\t+\t.\tID=gene:out\n"
        "1\t.\tmRNA\t901\t1200\t.\t+\t.\tID=transcript:out;Parent=gene:out\n"
        "1\t.\tgene\t701\t800\t.\t+\t.\tID=gene:two\n"
        "1\t.\tmRNA\t701\t800\t.\t+\t.\tID=transcript:two;Parent=gene:two\n"
        "1\t.\tCDS\t701\t730\t.\t+\t0\tParent=transcript:two\n"
        "1\t.\tCDS\t751\t780\t.\t-\t0\tParent=transcript:two\n"
    )
    with caplog.at_level(logging.WARNING):
        found = everything(read(tmp_path, text))
    assert [one.transcript for one in found] == ["ENST1", "ENST2"]
    messages = "\n".join(record.getMessage() for record in caplog.records)
    assert "1 transcripts are left out: they reach beyond the end of their contig" in messages
    assert "1 transcripts are left out: they have parts on both strands" in messages


@pytest.mark.parametrize(
    "line",
    [
        "1\t.\texon\tx\t20\t.\t+\t.\tParent=transcript:ENST1",
        "1\t.\texon\t30\t20\t.\t+\t.\tParent=transcript:ENST1",
        "1\t.\texon\t0\t20\t.\t+\t.\tParent=transcript:ENST1",
        "1\t.\texon\t30\t" + "9" * 5000 + "\t.\t+\t.\tParent=transcript:ENST1",
        "1\t.\tCDS\t30\t40\t.\t+\t7\tParent=transcript:ENST1",
        "1\t.\texon\t30\t40\t.\tx\t.\tParent=transcript:ENST1",
        "1\t.\texon\t30",
        "a line of text",
    ],
)
def test_a_line_that_cannot_be_read_is_a_warning_with_its_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, line: str
) -> None:
    with caplog.at_level(logging.WARNING):
        found = everything(read(tmp_path, f"{ENSEMBL}{line}\n"))
    assert found[0] == ENSEMBL_TRANSCRIPT
    assert "1 lines are left out, the first of them line 17" in caplog.text


@pytest.mark.parametrize(
    ("region", "is_named"),
    [
        ("1 1 1000", False),
        ("1   1\t1000 ", False),
        ("1 101 300", False),  # the part with genes, as some programs write it
        ("1 1 900", True),
        ("1 101 1001", True),
        ("scaffold9 1 77", False),
        ("1 1 x", False),
    ],
)
def test_genes_of_a_contig_of_another_length_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, region: str, is_named: bool
) -> None:
    text = ENSEMBL.replace("##sequence-region 1 1 1000", f"##sequence-region {region}")
    with caplog.at_level(logging.WARNING):
        assert everything(read(tmp_path, text))[0] == ENSEMBL_TRANSCRIPT
    last = int(region.split()[-1]) if is_named else 0
    assert (f"for these contigs: 1 ({last:,} instead of 1,000). If the" in caplog.text) == is_named


def test_the_first_contigs_of_another_length_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    contigs = {str(number): 1000 for number in range(1, 10)}
    regions = "".join(f"##sequence-region {name} 1 999\n" for name in contigs)
    read(tmp_path, ENSEMBL.replace("##sequence-region 1 1 1000\n", regions), contigs=contigs)
    assert "4 (999 instead of 1,000); 5 (999 instead of 1,000); .... If" in caplog.text


GTF = '1\thavana\texon\t11\t40\t.\t+\t.\tgene_id "G1"; transcript_id "T1";\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"#!genome-build x\n{GTF}", r"line 2: is GTF, expected GFF3"),
        ('1\tx\tCDS\t11\t40\t.\t+\t0\ttranscript_id "T=1"; gene_id "G"\n', r"line 1: is GTF"),
        (ENSEMBL.replace("\n1\t", "\nscaffold9\t"), r"none of its contigs \(scaffold9\) is in"),
        ("1\tx\tgene\t11\t40\t.\t+\t.\tID=g\n", r"no usable transcript .*: gene \(1\)\."),
        ("##gff-version 3\n", r"no usable transcript .*features are: none\."),
        ("", r"no usable transcript"),
        ("1 x gene 11 40 . + . ID=g\n", r"line 1: is not GFF3; expected nine columns"),
    ],
)
def test_a_file_without_usable_genes_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert "genes.gff3" in str(caught.value)


@pytest.mark.parametrize("limit", ["MAX_PARTS", "MAX_NODES", "MAX_TEXT_BYTES"])
def test_a_file_that_is_too_large_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(gff, limit, 2)
    with pytest.raises(InputError, match=r"has more than 2 .*No genome has so many"):
        read(tmp_path, ENSEMBL)


def test_a_long_line_is_one_line_of_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gff, "MAX_LINE_BYTES", 1 << 20)
    text = ENSEMBL + "1\t.\tgene\t1\t2\t.\t+\t.\tID=x;note=" + "y" * (3 << 20)
    with pytest.raises(InputError, match=r"line 17: longer than 1,048,576 bytes"):
        read(tmp_path, text)


def test_find_is_a_linear_scan(tmp_path: Path) -> None:
    """Long transcripts, which are not in bins, and short ones in several."""
    last = 40_000_000
    spans = [(1, last), (5, 90), (16_380, 16_390), (100_000, 200_000), (last - 10, last)]
    text = "".join(
        f"1\t.\tlnc_RNA\t{start + 1}\t{end}\t.\t+\t.\tID=t{n}\n"
        for n, (start, end) in enumerate(spans)
    )
    genes = read(tmp_path, text, contigs={"1": last})
    ranges = [(0, 1), (0, 6), (80, 100), (16_384, 16_385), (150_000, last - 5), (90, 91)]
    for start, end in ranges:
        expected = {span for span in spans if span[0] < end and start < span[1]}
        assert {(one.start, one.end) for one in genes.find("1", start, end)} == expected
