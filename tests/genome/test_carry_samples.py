"""Carried FORMAT fields of a sample, and names that nothing in the file has."""

from pathlib import Path

import pysam
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.genome import carry
from evo2_tasks.genome.variants import open_variants

HEADER = (
    "##fileformat=VCFv4.2\n"
    "##contig=<ID=c,length=1000>\n"
    '##INFO=<ID=CLNSIG,Number=1,Type=String,Description="">\n'
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    '##FORMAT=<ID=GQ,Number=1,Type=Integer,Description="Quality">\n'
    '##FORMAT=<ID=AF,Number=A,Type=Float,Description="">\n'
    '##FORMAT=<ID=AD,Number=R,Type=Integer,Description="">\n'
    '##FORMAT=<ID=PL,Number=G,Type=Integer,Description="">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS1\tS:2\n"
)
ROWS = (
    "c\t5\t.\tA\tC,G\t.\t.\t.\tGT:GQ:AF:AD:PL\t1/2:30:0.25,0.75:1,2,3:1,2,3,4,5,6\t0|1:7\n"
    "c\t6\t.\tA\tC\t.\t.\t.\tGQ:GT\t.:./.\t9:0/0\n"
    "c\t7\t.\tA\tC\t.\t.\t.\tGT\t1\t.\n"
    "c\t8\t.\tA\t.\t.\t.\t.\tGT:AD\t0/0:4\t0/0:5\n"
)
CARRY = ["S1:GQ", "S:2:GQ", "S1:GT", "S1:AF", "S1:AD", "S1:PL"]


def write(tmp_path: Path, text: str = HEADER + ROWS) -> Path:
    path = tmp_path / "in.vcf"
    path.write_text(text)
    return path


def test_format_fields_of_a_sample(tmp_path: Path) -> None:
    source = open_variants(write(tmp_path), carry=CARRY)
    assert [field.name for field in source.carry_fields] == CARRY
    assert [field.type for field in source.carry_fields] == [
        *("int", "int", "string", "float", "int", "int")
    ]
    assert [variant.carried for variant in source] == [
        (30, 7, "1/2", 0.25, 2, (1, 2, 3, 4, 5, 6)),
        (30, 7, "1/2", 0.75, 3, (1, 2, 3, 4, 5, 6)),
        (None, 9, "./.", None, None, None),
        (None, None, "1", None, None, None),
        (None, None, "0/0", None, 4, None),
    ]


def test_bcf_and_regions_carry_the_same(tmp_path: Path) -> None:
    path = write(tmp_path)
    expected = [variant.carried for variant in open_variants(path, carry=CARRY)]
    with (
        pysam.VariantFile(str(path)) as text,
        pysam.VariantFile(str(tmp_path / "in.bcf"), "wb", header=text.header) as bcf,
    ):
        for record in text:
            bcf.write(record)
    pysam.tabix_index(str(path), preset="vcf", keep_original=True)
    sources = [
        open_variants(tmp_path / "in.bcf", carry=CARRY),
        open_variants(tmp_path / "in.vcf.gz", carry=CARRY, regions=["c"]),
    ]
    for source in sources:
        assert [variant.carried for variant in source] == expected


def test_the_oracle_reads_the_same_qualities(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pysam.VariantFile(str(path)) as file:
        expected = [
            record.samples["S1"].get("GQ") for record in file for _ in record.alts or (".",)
        ]
    found = [variant.carried for variant in open_variants(path, carry=["S1:GQ"])]
    assert found == [(value,) for value in expected]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("clnsig", "Did you mean CLNSIG?"),
        ("CLINSIG", "Did you mean CLNSIG?"),
        ("GQ", "Did you mean S1:GQ?"),
        ("FORMAT/GQ", "Did you mean S1:GQ?"),
        ("s1:GQ", "Did you mean S1:GQ?"),
        ("filter", "Did you mean FILTER?"),
    ],
)
def test_a_name_that_nothing_has_is_an_error(tmp_path: Path, name: str, near: str) -> None:
    source = open_variants(write(tmp_path), carry=[name])
    with pytest.raises(InputError) as error:
        list(source)
    assert f"the header does not define '{name}', and no record has it. {near}" in str(error.value)


def test_a_key_without_definition_that_a_record_has_is_text(tmp_path: Path) -> None:
    text = HEADER + "c\t5\t.\tA\tC\t.\t.\tNEW=07\tGT:NEWER\t1/1:08\t0/1:.\n"
    source = open_variants(write(tmp_path, text), carry=["NEW", "S1:NEWER"])
    assert [variant.carried for variant in source] == [("07", "08")]
    assert not any(field.is_defined for field in source.carry_fields)


def test_a_value_of_a_sample_beyond_any_real_one_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_INFO_BYTES", 10)
    assert len(list(open_variants(write(tmp_path), carry=CARRY[:-1]))) == 5
    with pytest.raises(InputError, match=r"in\.vcf: 'PL' of a sample has 11 bytes, more than 10"):
        list(open_variants(write(tmp_path), carry=CARRY))
