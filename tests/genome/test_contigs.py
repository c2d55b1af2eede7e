"""Names of one sequence in different files: found by rule, never guessed."""

import logging
from pathlib import Path

import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.genome.contigs import MAX_LOGGED, ContigNames


@pytest.mark.parametrize(
    ("names", "contig", "found"),
    [
        (["1", "MT"], "1", "1"),
        (["1", "MT"], "chr1", "1"),
        (["1", "MT"], "Chr1", "1"),
        (["1", "MT"], "CHR1", "1"),
        (["chr1", "chrM"], "1", "chr1"),
        (["chr1", "chrM"], "MT", "chrM"),
        (["chr1", "chrM"], "M", "chrM"),
        (["chr1", "chrM"], "chrMT", "chrM"),
        (["1", "MT"], "chrM", "MT"),
        (["1", "MT"], "M", "MT"),
        (["chrX"], "x", None),
        (["chrUn_gl1"], "Un_gl1", "chrUn_gl1"),
        (["1", "2"], "3", None),
        (["1"], "chr", None),
        (["chr"], "chr", "chr"),
        (["chrchr1"], "1", None),
        (["1"], "", None),
        (["1"], "chr1\n", None),
        # Two sequences could be meant.
        (["MT", "chrM"], "M", None),
        (["MT", "chrM"], "chrMT", None),
        (["MT", "chrM"], "MT", "MT"),
        (["chr1", "1"], "Chr1", None),
        (["chr1", "1"], "chr1", "chr1"),
    ],
)
def test_names_are_found_by_rule(names: list[str], contig: str, found: str | None) -> None:
    assert ContigNames(dict.fromkeys(names, 10)).resolve(contig) == found


def test_the_table_of_the_user_goes_before_the_rule() -> None:
    names = ContigNames({"chr1": 1, "chr2": 1}, {"1": "chr2", "one": "chr1", "chr2": "chr1"})
    assert names.resolve("1") == "chr2"
    assert names.resolve("one") == "chr1"
    assert names.resolve("chr2") == "chr2"


def test_an_alias_of_an_unknown_sequence_is_an_error() -> None:
    with pytest.raises(InputError, match=r"maps 'one' to 'chr9', but g\.fa has no sequence"):
        ContigNames({"chr1": 1}, {"one": "chr9"}, source="g.fa")


REPORT = """\
# Assembly name:  GRCh38.p14
# Sequence-Name\tSequence-Role\tAssigned-Molecule\tAssigned-Molecule-Location/Type\tGenBank-Accn\t\
Relationship\tRefSeq-Accn\tAssembly-Unit\tSequence-Length\tUCSC-style-name
1\tassembled-molecule\t1\tChromosome\tCM000663.2\t=\tNC_000001.11\tPrimary Assembly\t100\tchr1
HSCHR1_CTG1\tunlocalized-scaffold\t1\tChromosome\tKI270706.1\t=\t\
NT_187361.1\tPrimary Assembly\t50\tchr1_KI270706v1_random
MT\tassembled-molecule\tMT\tMitochondrion\tJ01415.2\t=\tNC_012920.1\tnon-nuclear\t16569\tchrM
P\tunplaced-scaffold\tna\tna\tKI1.1\t=\tna\tPrimary Assembly\t7\tna
"""


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "GRCh38_assembly_report.txt"
    path.write_text(REPORT.replace("\n", "\r\n"))
    return path


@pytest.mark.parametrize(
    ("contig", "found"),
    [
        ("chr1", "NC_000001.11"),
        ("1", "NC_000001.11"),
        ("CM000663.2", "NC_000001.11"),
        ("chr1_KI270706v1_random", "NT_187361.1"),
        ("HSCHR1_CTG1", "NT_187361.1"),
        ("chrM", "MT"),
        ("NC_012920.1", "MT"),
        ("KI1.1", "P"),
        ("na", None),
        ("Primary Assembly", None),
    ],
)
def test_names_of_an_assembly_report(report: Path, contig: str, found: str | None) -> None:
    lengths = {"NC_000001.11": 100, "NT_187361.1": 50, "MT": 16569, "P": 7}
    assert ContigNames(lengths, assembly_report=report).resolve(contig) == found


def test_report_and_rule_must_agree(report: Path) -> None:
    names = ContigNames({"NC_000001.11": 100, "1": 100}, assembly_report=report)
    assert names.resolve("chr1") is None


def test_another_length_is_another_sequence(report: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ContigNames({"NC_012920.1": 16571}, assembly_report=report)
    assert names.resolve("chrM") is None
    assert "'NC_012920.1' has 16569 bases, but 16571" in caplog.text


def test_a_file_that_is_not_a_report_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("chr1\t1\n")
    with pytest.raises(InputError, match="this is not an NCBI assembly report"):
        ContigNames({"chr1": 1}, assembly_report=tmp_path / "a.txt")


def test_each_contig_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    names = ContigNames({"chr1": 1, "MT": 1, "chrM": 1})
    for _ in range(3):
        for contig in ("1", "chr1", "M", "9\n", "\x1b[31m"):
            names.resolve(contig)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "contig '1' is 'chr1' in the reference, by the rule for the prefix chr and for M, MT",
        "contig 'M' was not found: several match (MT, chrM); map it to one in contig_aliases",
        *(
            rf"contig '{name}' was not found in reference, which has: chr1, MT, chrM; map it to "
            "one in contig_aliases"
            for name in (r"9\n", r"\x1b[31m")
        ),
    ]


def test_rubbish_names_do_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    names = ContigNames({"chr1": 1})
    for number in range(1000):
        assert names.resolve(f"x{number}") is None
    assert len(caplog.records) == MAX_LOGGED
