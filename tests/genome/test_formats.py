"""Each format of the field is read as what it is, or refused by a line that names the way out."""

import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import VariantSource, open_variants
from tests.genome.refusals import read_refusal

rng = random.Random(11)
MT = "".join(rng.choices("ACGT", k=400))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    path.write_text(f">MT\n{MT}\n>chr2\n{MT[::-1]}\n")
    return Reference(path)


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "input"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def tabbed(*lines: str) -> str:
    """Lines whose blanks become tabs."""
    return "".join(line.replace(" ", "\t") + "\n" for line in lines)


def keys(source: VariantSource) -> list[tuple[object, ...]]:
    return [(row.contig, row.pos, row.ref, row.alt) for row in source]


# Headers with other names.

DBNSFP = "#chr pos(1-based) ref alt aaref aaalt rs_dbSNP hg19_chr hg19_pos(1-based)"
MULTIANNO = "Chr Start End Ref Alt Func.refGene"
CLINVAR = (
    "#AlleleID Type Name GeneID Assembly ChromosomeAccession Chromosome Start Stop ReferenceAllele "
    "AlternateAllele PositionVCF ReferenceAlleleVCF AlternateAlleleVCF"
)
MAF = (
    "Hugo_Symbol NCBI_Build Chromosome Start_Position End_Position Strand Variant_Type "
    "Reference_Allele Tumor_Seq_Allele1 Tumor_Seq_Allele2"
)
COSMIC = "GENE_SYMBOL CHROMOSOME GENOME_START GENOME_STOP GENOMIC_WT_ALLELE GENOMIC_MUT_ALLELE"
TABLES = {
    "issue": (
        tabbed("#chr hg19_pos grch38_pos ref alt aaref", "MT 463 500 C A R"),
        "line 1: the table has no column for pos (possible: hg19_pos, grch38_pos). Name the right "
        "ones in the variant set, for example columns: {pos: hg19_pos}. pos counts from 1. The "
        "columns are: chr, hg19_pos, grch38_pos, ref, alt, aaref.",
    ),
    "dbNSFP": (
        tabbed(DBNSFP, "1 69091 A C M L . 1 69091"),
        "no column for pos (possible: pos(1-based), hg19_pos(1-based)).",
    ),
    "REVEL": (
        "chr,hg19_pos,grch38_pos,ref,alt,aaref,aaalt,REVEL\n1,35142,35142,G,A,T,M,0.027\n",
        "no column for pos (possible: hg19_pos, grch38_pos).",
    ),
    "PLINK 1 results": (
        tabbed("CHR BP SNP A1 A2 BETA P", "1 1000 rs1 A G 0.1 0.5"),
        "for pos (possible: BP), no column for ref (possible: A2, A1), no column for alt (possible:"
        " A1, A2). Name the right ones in the variant set, for example columns: {pos: BP, ref: A2, "
        "alt: A1}. pos counts from 1. ref is the allele of the reference.",
    ),
    "GWAS catalog": (
        tabbed(
            "chromosome base_pair_location effect_allele other_allele effect_allele_frequency",
            "1 1000 A G 0.1",
        ),
        "columns: {pos: base_pair_location, ref: other_allele, alt: effect_allele}.",
    ),
    "GWAS with the ID of the variant": (
        tabbed("SNP CHR BP A1 A2", "1:1000:A:G 1 1000 G A"),
        "no column for pos (possible: BP)",
    ),
    "ANNOVAR": (tabbed(MULTIANNO, "MT 100 100 A G exonic"), "columns: {pos: Start}."),
    "Start": (tabbed("chr Start ref alt", "MT 5 A C"), "columns: {pos: Start}."),
    "ClinVar": (
        tabbed(CLINVAR, "15041 Indel x 9907 GRCh37 NC_7 7 482 484 na na 482 GGAT G"),
        "columns: {pos: PositionVCF, ref: ReferenceAlleleVCF, alt: AlternateAlleleVCF}.",
    ),
    "MAF": (
        "#version 2.4\n" + tabbed(MAF, "TP53 GRCh38 chr17 7674220 7674220 + SNP C C T"),
        "line 2: the table has no column for pos (possible: Start_Position), no column for alt "
        "(possible: Tumor_Seq_Allele2, Tumor_Seq_Allele1).",
    ),
    "COSMIC": (
        tabbed(COSMIC, "BRAF 7 140453136 140453136 A T"),
        "{pos: GENOME_START, ref: GENOMIC_WT_ALLELE, alt: GENOMIC_MUT_ALLELE}.",
    ),
    "ICGC": (
        tabbed("chromosome chromosome_start reference_genome_allele mutated_to_allele", "1 5 A C"),
        "{pos: chromosome_start, ref: reference_genome_allele, alt: mutated_to_allele}.",
    ),
    "a name twice": (
        tabbed("CHROM POS POS ref alt", "MT 1 5 A C"),
        "the table has 2 columns with the name 'POS' for pos. Rename all but one.",
    ),
    "a table of HGVS": (
        tabbed("gene variation_id hgvs", "BRCA1 17661 NM_007294.3:c.5266dupC"),
        "line 1: this looks like HGVS of transcripts or proteins",
    ),
    "names of R": (
        tabbed("chr bp n.1 a1 a2 p.Value c.1", "1 1000 5 A C 0.1 2"),
        "no column for pos (possible: bp)",
    ),
    "two contigs": (
        tabbed("chrom chr pos ref alt", "MT 1 5 A C"),
        "several columns for contig (chrom, chr). Name the right ones in the variant set, for "
        "example columns: {contig: chrom}. The columns are",
    ),
    "two positions": (
        tabbed("chr pos position ref alt", "MT 1 5 A C"),
        "several columns for pos (pos, position).",
    ),
    "no header of variants": (
        "mutant,mutated_sequence,score\nA24C,MKV,0.1\n",
        "no column for contig (expected name: contig or chrom or chr or chromosome), no column",
    ),
    "only a header": (tabbed("chr hg19_pos ref alt"), "no column for pos (possible: hg19_pos)."),
    "a wide header": (
        tabbed("chr hg19_pos ref alt " + " ".join(f"sample{i}" for i in range(9000)), "1 5 A C"),
        "no column for pos (possible: hg19_pos).",
    ),
    "a header after long comments": (
        "# by a tool\n" * 9000 + tabbed("chr hg19_pos id ref alt", "MT 5 x A C"),
        "line 9001: the table has no column for pos (possible: hg19_pos).",
    ),
    "blanks": (
        " CHR  SNP   BP   A1  BETA\n   1  rs1  1000  A  0.1\n",
        "line 1: the columns are separated by blanks; expected tabs or commas. Write the file",
    ),
    "semicolons": ("chr;hg19_pos;ref;alt\n1;5;A;C\n", "line 1: the columns are separated by ';'"),
    "VEP's table": (
        "## VEP\n" + tabbed("#Uploaded_variation Location Allele Gene", "rs1 1:1000 G ENSG1"),
        "this looks like the output of VEP as a table. Run VEP with --vcf",
    ),
    "genotypes": (
        "# a\n# b\n" + tabbed("#rsid chromosome position genotype", "rs1 1 1000 AA"),
        "this looks like a table of genotypes, which does not state the alleles of the reference",
    ),
    "a title above": (
        "Table S5\n" + tabbed("contig pos ref alt", "MT 5 A C"),
        r"line 2: 'contig\tpos\tref\talt': this is the header of a table. Remove the lines above",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_header_with_other_names_is_a_header(
    tmp_path: Path, reference: Reference, name: str
) -> None:
    text, message = TABLES[name]
    assert message in read_refusal(write(tmp_path, text), reference=reference)


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        (TABLES["issue"][0], {"pos": "grch38_pos"}, ("MT", 500, "C", "A")),
        (TABLES["issue"][0], {"pos": "hg19_pos"}, ("MT", 463, "C", "A")),
        (TABLES["dbNSFP"][0], {"pos": "pos(1-based)"}, ("1", 69091, "A", "C")),
        (TABLES["REVEL"][0], {"pos": "grch38_pos", "contig": "chr"}, ("1", 35142, "G", "A")),
        (
            TABLES["GWAS with the ID of the variant"][0],
            {"pos": "BP", "ref": "A2", "alt": "A1"},
            ("1", 1000, "A", "G"),
        ),
        (TABLES["two contigs"][0], {"contig": "chrom"}, ("MT", 5, "A", "C")),
        (TABLES["two contigs"][0], {"contig": "chr"}, ("1", 5, "A", "C")),
        (
            TABLES["ClinVar"][0],
            {"pos": "PositionVCF", "ref": "ReferenceAlleleVCF", "alt": "AlternateAlleleVCF"},
            ("7", 482, "GGAT", "G"),
        ),
        # A usual name gives way to the one in the config.
        (tabbed("chr pos hg38 ref alt", "MT 1 5 A C"), {"pos": "hg38"}, ("MT", 5, "A", "C")),
        (tabbed("#CHROM POS ID REF ALT p", "MT 1 x A C 5"), {"pos": "p"}, ("MT", 5, "A", "C")),
        (tabbed("#where at from to", "MT 5 A C"),
         {"contig": "#where", "pos": "at", "ref": "from", "alt": "to"}, ("MT", 5, "A", "C")),
    ],
)  # fmt: skip
def test_columns_are_named_by_the_config(
    tmp_path: Path, text: str, columns: dict[str, str], expected: tuple[object, ...]
) -> None:
    assert keys(open_variants(write(tmp_path, text), columns=columns)) == [expected]


def test_columns_of_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame({"#CHROM": ["MT"], "hg19_pos": [4], "at38": [5], "ref": "A", "alt": "C"})
    frame.to_parquet(path)
    with pytest.raises(InputError, match=r"no column for pos \(possible: hg19_pos\)"):
        open_variants(path)
    assert keys(open_variants(path, columns={"pos": "at38"})) == [("MT", 5, "A", "C")]
    with pytest.raises(InputError, match=r"columns\.pos: .* 'at_38' .* did you mean at38\?"):
        open_variants(path, columns={"pos": "at_38"})


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        (
            TABLES["issue"][0],
            {"pos": "grch38pos"},
            "line 1: columns.pos: the column 'grch38pos' is not in the table; did you mean "
            "grch38_pos? The columns are: chr, hg19_pos,",
        ),
        (tabbed("chr pos ref alt", "MT 5 A C"), {"pos": "POS"}, "did you mean pos?"),
        (tabbed("chr pos x x alt", "MT 5 A C G"), {"ref": "x"}, "'x' is in the table more than"),
        (
            tabbed("chr pos ref alt", "MT 5 A C"),
            {"ref": "alt"},
            "columns: 'alt' would be the column of ref and of alt.",
        ),
        ("chr1-5-A-G\n", {"pos": "p"}, "this line is not a header with this name"),
        (tabbed("MT 5 . A C"), {"pos": "p"}, "this line is not a header with this name"),
        (
            tabbed("id hgvs", "v1 MT:m.5A>C"),
            {"hgvs": "h"},
            "columns names 'h', but this",
        ),
        ("##fileformat=VCFv4.2\n", {"pos": "p"}, "but this is a VCF. Remove columns"),
        ("a;chr;ref;alt\n1;2;A;C\n", {"pos": "a"}, "the columns are separated by ';'"),
    ],
)
def test_columns_that_are_not_there(
    tmp_path: Path, text: str, columns: dict[str, str], message: str
) -> None:
    assert message in read_refusal(write(tmp_path, text), columns=columns)


@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_tables_of_the_field_with_usual_names(tmp_path: Path, delimiter: str) -> None:
    gnomad = "gnomAD ID,Chromosome,Position,rsIDs,Reference,Alternate,Source"
    cadd = "## CADD GRCh38-v1.6\n#Chrom,Pos,Ref,Alt,RawScore,PHRED"
    missense = "# Copyright\n# CC BY\n#CHROM,POS,REF,ALT,genome,uniprot_id"
    pvar = "# CHROM,POS,ID,REF,ALT"
    rows = ["MT-5-A-C,MT,5,rs1,A,C,E", "MT,5,A,C,0.1,2", "MT,5,A,C,hg38,P1", "MT,5,x,A,C"]
    for header, row in zip([gnomad, cadd, missense, pvar], rows, strict=True):
        text = f"{header}\n{row}\n".replace(",", delimiter)
        assert keys(open_variants(write(tmp_path, text))) == [("MT", 5, "A", "C")]


# What is not read.

EXON = "BED of exons (saturate): awk -F'\\t' -v OFS='\\t' '$3 == \"exon\" {print $1, $4 - 1, $5"
FOREIGN = {
    "ANNOVAR": (tabbed("1 94 94 T C x", "1 95 97 ATA - y", "1 96 96 - TT z"), "ANNOVAR's input"),
    "ANNOVAR blanks": ("1 94 94 T C x\n", "ANNOVAR's input"),
    "BED of variants": (tabbed("MT 4 5 A C", "MT 6 8 AC G"), "whose positions count from 0"),
    "VEP": ("1   88  87  -/C   +\n5   14  14  T/C   +\n", "VEP's default input"),
    "bim": (tabbed("1 rs1 0 1000 A G", "1 rs2 0.1 2000 A T"), "a .bim file of PLINK"),
    "GTF": ('#!genome\n1\tx\tgene\t10\t20\t.\t+\t.\tgene_id "X";\n', EXON),
    "GFF": ("##gff-version 3\nc\tx\tgene\t1\t2\t.\t+\t.\tID=1\n", EXON),
    "PSL": (tabbed("59 9 0 0 1 823 1 96 +- F 1 1 2 chr2 5 1 2 2 1, 2, 3,"), "pslToBed"),
    "PSL with a header": ("psLayout version 3\n\nmatch\tmis-\n", "pslToBed"),
    "BEDPE": (tabbed("MT 1 5 MT 20 22 x", "MT 3 5 chr2 20 22 x", "chr2 1 2 MT 2 3"), "BEDPE"),
    "fai": (tabbed("MT 16569 4 60 61", "chr2 10000 20000 60 61"), "the index of a FASTA"),
    "SAM": (tabbed("@HD VN:1.6", "r1 0 MT 100 60 4M * 0 0 ACGT IIII"), "SAM, which lists align"),
    "SAM alone": (tabbed("@HD VN:1.6", "@SQ SN:MT LN:16569"), "the header of SAM or of an interv"),
    "UCSC bin": (tabbed("585 chr1 10 20 x", "585 chr1 30 40 y"), "cut -f2- FILE > NEW"),
    "no header of a table": (tabbed("MT 5 A C", "MT 6 G A,T", "MT 7 CA C"), "without a header"),
    "no header of dbNSFP": (tabbed("1 69091 A C M L", "1 69092 T C S P"), "without a header"),
    "no header of a table of a query": ("MT 5 A C 11\nMT 6 G *,GA 01\n", "without a header"),
    "names of FASTA like regions": (">MT:2-5\nACGT\n>MT:7-9\nACG\n", "looks like FASTA"),
    "SAM with names like regions": (
        "@HD\tVN:1.6\nMT:2-5\t99\tMT\t100\t60\t4M\t*\t0\t0\tACGT\tIIII\n", "SAM, which lists"
    ),
    "GFF with semicolons": ("2\tx\trover\t5\t9\t.\t+\t.\tID=R;ref=A;alt=C;chr=1\n", EXON),
    "no header of Picard": (tabbed("MT 10 12 + x", "MT 20 22 - y"), "add the line @HD<tab>VN:1.6"),
    "wig": ("track type=wiggle_0\nfixedStep chrom=MT start=4 step=1\n1\n2\n", "looks like wig"),
    "HGVS of a transcript": ("NM_000059.4:c.68_69del\nNM_000059.4:c.-70A>G\n", "looks like HGVS"),
    "HGVS without a sequence": ("g.43045712A>G\nm.4del\n", "Convert it to HGVS of the genome"),
    "HGVS of ClinVar": ("NM_000059.4(BRCA2):c.68A>G (p.Tyr23Cys)\n", "looks like HGVS"),
    "HGVS of proteins": ("BRCA1 p.Arg175His\np.R175H\nTP53:p.(Arg1Cys)\np.Met1?\n", "looks like"),
    "HGVS of other kinds": (
        "NR_1.1:n.5A>G\nNM_1.1:r.76a>c\nNM_1.1:c.76_77insG\n"
        "NM_1.1:c.88+1G>T\nNM_1.1:c.*5dup\nNM_1.1:c.[76A>C;83G>C]\n",
        "looks like HGVS",
    ),
    "HGVS in a CSV": ('gene,hgvs\nBRCA1,c.68A>G\nBRCA1,c.70del\n', "looks like HGVS"),
    "rsIDs": ("rs123\nrs456\n", "bcftools view -i 'ID=@FILE'"),
    "rsIDs with a header": ("rsid\nrs123\nrs456\n", "rsIDs, which do not state the alleles"),
    "ClinVar's identifiers": ("VCV000012345\nVCV000012346.2\n", "identifiers of a database"),
    "GTEx": ("chr1_1000_A_G_b38\nchr1_2000_A_G_b38\n", "variants with '_' between the fields"),
    "arrows": ("chr1:1000A>G\n1:100:A/G\n", "Write them as chr:pos:ref:alt"),
    "blanks": ("MT 5 . A C . . .\nMT 6 . C A . . .\n", "separated by blanks; expected tabs, as"),
    "blanks in a VCF": (
        "##fileformat=VCFv4.2\n#CHROM  POS  ID  REF  ALT\nMT  5  .  A  C\n",
        "line 3: 'MT  5  .  A  C': the columns are separated by blanks; expected tabs, as VCF has",
    ),
    "columns of a VCF moved": (
        "##fileformat=VCFv4.2\n" + tabbed("#CHROM POS REF ALT ID", "MT 5 A C x"),
        "#CHROM, POS, ID, REF and ALT in this order",
    ),
    "semicolons in a list": ("variant;gene\nMT-5-A-C;X\nMT-6-A-C;Y\n", "separated by ';'"),
    "commas in a BED": ("MT,4,5\nMT,6,8\n", "the columns are separated by ','"),
    "mostly bad list": (
        "MT-5-A-C\nfoo\nbar\nMT-510\nbaz\n",
        "line 2: 'foo': this line is not as in a list of chr-pos-ref-alt, but 1 of the first 5",
    ),
    "mostly bad BED": (tabbed("MT 1 5", "a", "b", "c"), "line 2: 'a': this line is not as in BED"),
    "Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1", "this is an Excel file; save it as text"),
    "PLINK": (b"\x6c\x1b\x01\xff", "this is a genotype file of PLINK"),
    "bigBed": (b"\xeb\xf2\x89\x87rest", "bigBedToBed"),
    "Feather": (b"ARROW1\0\0", "save it as Parquet"),
    "SAF": (tabbed("GeneID Chr Start End Strand", "g MT 5 9 +"), "line 1: "),
    "comments alone": ("# a\n# b\n", "line 1: '# a': expected "),
    "blank lines": ("\n \n", "no lines but blank ones"),
    "pileup": (tabbed("MT 5 C 10 .,.,. IIII"), "expected "),
}  # fmt: skip


@pytest.mark.parametrize("kinds", [(), ("snv",)])
@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_not_read_is_refused_with_the_way_out(
    tmp_path: Path, reference: Reference, name: str, kinds: tuple[str, ...]
) -> None:
    text, message = FOREIGN[name]
    if kinds and name == "mostly bad BED":
        return  # one line of BED is enough where regions are asked for
    if kinds and message == "without a header":
        message = "the regions of a BED"
    assert message in read_refusal(write(tmp_path, text), saturate=kinds, reference=reference)


def test_a_line_with_blanks_for_tabs_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "##fileformat=VCFv4.2\n" + tabbed("#CHROM POS ID REF ALT", "MT 5 . A C")
    rows = list(open_variants(write(tmp_path, text + "MT 6 . A C\nMT\n")))
    assert [row.status for row in rows] == [None, "invalid_record", "invalid_record"]
    assert "(line 4): invalid record: 1 columns, expected 5 or more; there are blanks" in (
        caplog.text
    )
    assert caplog.text.count("there are blanks") == 1


def test_minus_as_an_allele_is_counted_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = tabbed(MULTIANNO, "MT 5 5 A G x", "MT 5 5 A - x", "MT 5 5 - A x")
    source = open_variants(write(tmp_path, text), columns={"pos": "Start"})
    assert [row.alt for row in source] == ["G", "-", "A"]
    assert "records with '-' as an allele, as in ANNOVAR and MAF: 2." in caplog.text


# VCF without its header.


@pytest.mark.parametrize(
    "text",
    [
        tabbed("MT 5 . A C", "MT 6 rs5 A C,G"),
        tabbed("MT x . A C", "MT 5 . A C", "MT 6 rs5 A C,G"),
        tabbed("MT 5 1234 A C", "MT 6 1235 A C,G"),
        "#CHROM POS ID REF ALT\n" + tabbed("MT 5 . A C", "MT 6 rs5 A C,G"),
        "# chr1, from a panel\n" + tabbed("MT 5 . A C", "MT 6 rs5 A C,G"),
        tabbed("MT 5 MT:5:A:C A C . . X=1:6:A:G", "MT 6 MT:6:A:C A C,G . . X=1:6:A:G"),
    ],
)
def test_vcf_without_its_header(tmp_path: Path, text: str) -> None:
    source = open_variants(write(tmp_path, text))
    assert source.format == "vcf"
    found = [key for key in keys(source) if key[0] is not None]
    assert found == [("MT", 5, "A", "C"), ("MT", 6, "A", "C"), ("MT", 6, "A", "G")]


# Lists with more columns.

THREE = ["MT-5-C-A", "MT-16-G-A", "MT-20-A-C"]
LISTS = {
    "header": ("variant,gene\n", ",", ["TTN", "CAT", "ATAT"]),
    "genes": ("", ",", ["CAT", "GATA3", "pathogenic"]),
    "genes that are bases": ("", ",", ["TTN", "CAT", "ATAT"]),
    "one gene of bases": ("", ",", ["CAT", "CAT", "CAT"]),
    "two columns": ("", ",", ["CAT,x", "CAT,y", "CAT,y"]),
    "tabs": ("", "\t", ["TTN", "CAT", "ATAT"]),
    "blanks": ("", "  ", ["TTN", "CAT", "ATAT"]),
    "tabs and a header": ("variant\tminor_allele\n", "\t", ["A", "C", "A"]),
    "quotes": ('"variant","gene"\n', ",", ['"a, b"', '"CAT"', "x"]),
    "consequences": ("", "\t", ["start_lost", "stop_gained", "position"]),
    "comments": ("", "  ", ["# note", "# CAT", "# x"]),
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("comment", ["", "# by a tool, of genes\n"])
def test_further_columns_of_a_list_are_not_alleles(
    tmp_path: Path, reference: Reference, name: str, comment: str
) -> None:
    header, delimiter, further = LISTS[name]
    lines = [f"{one}{delimiter}{other}\n" for one, other in zip(THREE, further, strict=True)]
    source = open_variants(write(tmp_path, comment + header + "".join(lines)), reference=reference)
    assert source.format == "list"
    assert keys(source) == [("MT", 5, "C", "A"), ("MT", 16, "G", "A"), ("MT", 20, "A", "C")]
    assert source.counts.records == source.counts.alleles == 3


def test_columns_of_a_list_are_carried_by_the_names_in_its_header(
    tmp_path: Path, reference: Reference
) -> None:
    text = "gene,variant,class\nTTN,MT-5-C-A,1.10\n,MT-6-G-A,007\nCAT,nothing,x\nA,MT-7-A-C,y,z\n"
    source = open_variants(write(tmp_path, text), carry=["class", "gene"], reference=reference)
    rows = list(source)
    assert [row.carried for row in rows] == [("1.10", "TTN"), ("007", None), *[(None, None)] * 2]
    assert [row.status for row in rows] == [None, None, "invalid_record", "invalid_record"]
    source = open_variants(
        write(tmp_path, text.replace("007", " 7 ").replace(",x\n", ",\n")),
        carry=["class"], types={"class": "number"}, reference=reference,
    )  # fmt: skip
    assert [row.carried for row in source] == [(1.1,), (7.0,), (None,), (None,)]
    with pytest.raises(InputError, match=r"no column of that name; did you mean gene\?"):
        open_variants(write(tmp_path, text), carry=["Genes"], reference=reference)


def test_the_header_of_a_list_may_be_a_comment(tmp_path: Path, reference: Reference) -> None:
    text = "# by a tool\n" + tabbed("#gene variant score", "CAT MT-5-C-A 1.10", "TTN MT-6-C-A,G x")
    source = open_variants(write(tmp_path, text), carry=["score", "gene"], reference=reference)
    found = [(row.record, row.pos, row.alt, row.carried) for row in source]
    assert found == [
        (0, 5, "A", ("1.10", "CAT")), (1, 6, "A", ("x", "TTN")), (1, 6, "G", ("x", "TTN")),
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["variant", "variant_id", "SPDI", '"gnomAD ID"', "hgvs"])
def test_a_list_with_a_header_of_one_word(tmp_path: Path, reference: Reference, word: str) -> None:
    source = open_variants(write(tmp_path, f"{word}\nMT-5-C-A\n"), reference=reference)
    assert keys(source) == [("MT", 5, "C", "A")]


@pytest.mark.parametrize("first", ["hello", "MT-x-A-G", "MT-5-A", "MT 5 A G", "17"])
def test_a_bad_first_line_of_a_list_is_a_row(
    tmp_path: Path, reference: Reference, first: str
) -> None:
    source = open_variants(write(tmp_path, f"{first}\n" + "\n".join(THREE)), reference=reference)
    assert [row.status for row in source] == ["invalid_record", None, None, None]


@pytest.mark.parametrize(
    "lines",
    [
        ["MT-5-C-A,G", "MT-16-G-A"],
        ["MT-5-C-A,G", "MT-16-G-A,T"],
        ["MT-5-C-A,CAT", "MT-16-G-A,GTT,T"],
        ["MT-5-CAA-C,CA", "MT-16-GTT-G,GT,GTTT"],
        ["MT-5-C-A,CAT"],
        ["MT:5:C:A,G,T"],
        ["MT-5-C-A,G", "MT-16-G-A", "MT-17-G-A,x7"],
    ],
)
def test_alleles_of_a_list_are_joined_by_commas(
    tmp_path: Path, reference: Reference, lines: list[str]
) -> None:
    source = open_variants(write(tmp_path, "\n".join(lines)), reference=reference)
    expected = [
        alt.upper() for line in lines for alt in line.replace(":", "-").split("-")[3].split(",")
    ]
    assert [str(row.alt).upper() for row in source] == expected


def test_several_columns_of_variants(tmp_path: Path, reference: Reference) -> None:
    text = tabbed("hg19 hg38", "MT-5-C-A MT-6-C-A", "MT-7-C-A MT-8-C-A")
    with pytest.raises(InputError, match=r"several columns hold variants \(hg19, hg38\)"):
        open_variants(write(tmp_path, text), reference=reference)


def test_hgvs_among_variants_is_a_row_that_says_so(
    tmp_path: Path, reference: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    text = "MT-5-C-A\nNM_000059.4:c.68_69del\nMT-6-C-A  # note\nrs123\n"
    source = open_variants(write(tmp_path, text), reference=reference)
    assert [row.status for row in source] == [None, "invalid_record", None, "invalid_record"]
    assert "(line 2): invalid record: 'NM_000059.4:c.68_69del' looks like HGVS" in caplog.text
    assert "(line 4): invalid record: 'rs123' looks like rsIDs" in caplog.text


@pytest.mark.parametrize("more", ["", "contig\tpos\tref\talt\n", "##fileformat=VCFv4.2\n"])
def test_comments_may_be_long(tmp_path: Path, reference: Reference, more: str) -> None:
    data = {
        "": "MT-5-C-A\n",
        "contig\tpos\tref\talt\n": "MT\t5\tC\tA\n",
        "##fileformat=VCFv4.2\n": "MT\t5\t.\tC\tA\n",
    }[more]
    text = "## by a tool\n" * 20_000 + more + data
    assert keys(open_variants(write(tmp_path, text), reference=reference)) == [("MT", 5, "C", "A")]


# Regions.


def regions(source: VariantSource) -> list[tuple[str | None, int, int]]:
    """Contig, first and last base (from 1) of each record."""
    frame = (
        pd.DataFrame(list(source)).groupby("record").agg({"contig": "first", "pos": ["min", "max"]})
    )
    return [
        (contig, int(first), int(last)) for contig, first, last in frame.itertuples(index=False)
    ]


REGIONS = {
    "narrowPeak": tabbed("MT 100 108 p0 100 . 182 5.09 -1 50", "MT 200 203 p1 101 . 182 5 -1 50"),
    "broadPeak": tabbed("MT 100 108 p0 100 . 5.1 2.2 -1", "MT 200 203 p1 101 . 7 8 9"),
    "gappedPeak": tabbed(
        "MT 100 108 p0 100 . 100 108 0 1 8, 0, 5.5 4.4 3.3",
        "MT 200 203 p1 100 . 200 203 0 1 3, 0, 5.5 4.4 3.3",
    ),
    "other strands": tabbed("MT 100 108 p0 0 *", "MT 200 203 p1 0 "),
    "free columns": tabbed("MT 100 108 p0 0 + 7 x y z 1 2 3", "MT 200 203 p1 0 - 7 x y z 1 2 3"),
    "bedGraph": "track type=bedGraph\n" + tabbed("MT 100 108 0.5", "MT 200 203 1e-3"),
    "intersections": tabbed("MT 100 108 MT 90 300 exon", "MT 200 203 MT 90 300 exon").replace(
        "\tMT\t90", "\tgene\tMT\t90"
    ),
    "a header": tabbed("chrom start end name", "MT 100 108 x", "MT 200 203 x"),
    "names like alleles": tabbed("MT 100 108 a 0 +", "MT 200 203 c 0 -"),
    "scores of zero": tabbed("MT 100 108 447 0 -", "MT 200 203 448 0 -"),
    "a header with #": tabbed("#chrom chromStart chromEnd", "MT 100 108", "MT 200 203"),
    "long comments": "# by a tool\n" * 9000 + tabbed("MT 100 108", "MT 200 203"),
    "Picard": tabbed("@HD VN:1.6", "@SQ SN:MT LN:400", "MT 101 108 + a", "MT 201 203 - b"),
    "Picard without names": tabbed("@SQ SN:MT LN:400", "MT 101 108", "MT 201 203"),
    "a strand in the wrong column": tabbed("MT 100 108 +", "MT 200 203 -"),
    "GATK": "MT:101-108\nMT:201-203\n",
    "samtools": "# regions\nMT:101-1,08\nMT:201-203\n",
}  # fmt: skip


@pytest.mark.parametrize("name", REGIONS)
def test_regions_of_each_format(tmp_path: Path, reference: Reference, name: str) -> None:
    source = open_variants(write(tmp_path, REGIONS[name]), saturate=["snv"], reference=reference)
    rows = list(source)
    assert len(rows) == (8 + 3) * 3
    assert regions(source) == [("MT", 101, 108), ("MT", 201, 203)]
    assert [row.ref for row in rows[::3]] == [*MT[100:108], *MT[200:203]]


@pytest.mark.parametrize("name", REGIONS)
def test_regions_without_saturate_are_named(
    tmp_path: Path, reference: Reference, name: str
) -> None:
    with pytest.raises(InputError, match=r"which lists regions, not variants\. Name the kinds"):
        open_variants(write(tmp_path, REGIONS[name]), reference=reference)


def test_names_and_strands_of_an_interval_list(tmp_path: Path, reference: Reference) -> None:
    text = tabbed("@HD VN:1.6", "MT 1 6 + a", "MT 1 7 - .", "MT 8 7 + c", "MT 0 7 + d", "MT x 7")
    source = open_variants(
        write(tmp_path, text), saturate=["codon"], carry=["name", "strand"], reference=reference
    )
    rows = list(source)
    found = {(row.record, row.pos): row.carried for row in rows if row.status is None}
    # Codons on the reverse strand begin at the end of the region.
    assert found == {
        (0, 1): ("a", "+"), (0, 4): ("a", "+"), (1, 2): (None, "-"), (1, 5): (None, "-"),
    }  # fmt: skip
    assert [row.status for row in rows if row.status] == ["invalid_record"] * 3


def test_a_single_base_of_gatk(tmp_path: Path, reference: Reference) -> None:
    source = open_variants(write(tmp_path, "MT:7\n"), saturate=["deletion"], reference=reference)
    assert keys(source) == [("MT", 6, MT[5:7], MT[5])]


def test_blocks_that_are_wrong_on_most_lines_are_not_free_columns(
    tmp_path: Path, reference: Reference
) -> None:
    """Such lines are bad: their introns must not become regions without a word."""
    text = tabbed(
        "MT 100 110 x 0 + 100 110 0 2 3,3 0,7",
        "MT 200 210 x 0 + 200 210 0 2 3,3 0,6",
        "MT 300 310 x 0 + 300 310 0 2 3,3, 1,7,",
    )
    source = open_variants(write(tmp_path, text), saturate=["snv"], reference=reference)
    assert [row.pos for row in source if row.status is None][::3] == [101, 102, 103, 108, 109, 110]
    assert source.counts.invalid == 2


def test_a_strand_that_is_wrong_on_few_lines_is_not_a_free_column(
    tmp_path: Path, reference: Reference
) -> None:
    text = tabbed("MT 1 7 x 0 +", "MT 1 7 x 0 plus", "MT 1 7 x 0 *")
    source = open_variants(write(tmp_path, text), saturate=["codon"], reference=reference)
    assert {row.record: row.status for row in source} == {0: None, 1: "invalid_record", 2: None}
    text = tabbed("MT 1 7 gene exon 5", "MT 1 7 gene exon plus", "MT 1 7 x 0 +")
    source = open_variants(
        write(tmp_path, text), saturate=["codon"], carry=["strand"], reference=reference
    )
    found = {row.record: (row.status, row.carried) for row in source}
    assert found == {0: (None, ("5",)), 1: (None, ("plus",)), 2: (None, ("+",))}


def test_lengths_that_show_closed_ends(tmp_path: Path, reference: Reference) -> None:
    """A data frame of Bioconductor's GRanges, and MACS' table of peaks, count from 1."""
    text = tabbed("seqnames start end width strand", "MT 100 102 3 *", "MT 200 202 3 *")
    with pytest.raises(InputError, match="positions count from 1, but BED counts from 0"):
        open_variants(write(tmp_path, text), saturate=["snv"], reference=reference)
    macs = "# by MACS\n" + tabbed("chr start end length abs_summit", "MT 100 102 3 101")
    with pytest.raises(InputError, match="positions count from 1, but BED counts from 0"):
        open_variants(write(tmp_path, macs), saturate=["snv"], reference=reference)
    text = text.replace("\t3\t", "\t2\t")
    source = open_variants(write(tmp_path, text), saturate=["snv"], reference=reference)
    assert regions(source) == [("MT", 101, 102), ("MT", 201, 202)]


# Any text of the field.

WORDS = (
    "MT chr2 5 0 -1 1e3 A C,G - . + * ACGT TTN chr pos ref alt start end Ref variant gene name"
    " width MT-5-C-A MT:5:C:A,T NC_1.1:4:1: MT:5-9 rs12 c.5A>G 1_5_A_G p.R175H A/G >MT @HD @SQ # ##"
    " , ##fileformat=VCFv4.2 #CHROM POS ID track"
)
LINES = st.lists(
    st.tuples(
        st.lists(st.sampled_from(WORDS.split()), max_size=8),
        st.sampled_from(["\t", ",", " ", ";", "\t\t"]),
    ).map(lambda pair: pair[1].join(pair[0])),
    max_size=6,
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=LINES,
    kinds=st.sampled_from([(), ("codon", "snv")]),
    columns=st.sampled_from([{}, {"pos": "start"}]),
)
def test_any_text_of_the_field_is_rows_or_one_line(
    tmp_path_factory: pytest.TempPathFactory,
    reference: Reference,
    lines: list[str],
    kinds: tuple[str, ...],
    columns: dict[str, str],
) -> None:
    path = write(tmp_path_factory.mktemp("text"), "\n".join(lines))
    found = read_or_refuse(path, saturate=kinds, columns=columns, reference=reference)
    if isinstance(found, InputError):
        assert "\n" not in str(found)
        assert str(found).startswith(str(path))
    else:
        assert found.count() == found.counts


def read_or_refuse(path: Path, **settings: Any) -> VariantSource | InputError:
    try:
        source = open_variants(path, **settings)
        assert source.count().alleles == len(list(source))
    except InputError as error:
        return error
    return source
