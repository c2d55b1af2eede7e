"""The workflow with its files in object storage: a real run against a server on this machine.

The server is moto, and Snakemake reads it with its plugin for S3.
"""

import importlib.util
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pysam
import pytest
import yaml

from evo2_tasks.config.resolve import BUNDLED_CHECKPOINTS
from tests.workflow.run import SNAKEFILE, run_snakemake, run_workflow

NEEDED = ("moto", "flask", "boto3", "snakemake_storage_plugin_s3", "snakemake_storage_plugin_fs")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]

STORED = ("--default-storage-provider", "s3", "--default-storage-prefix", "s3://lab/run")
NOTHING = "Nothing to be done (all requested files are present and up to date)."


def write_files(folder: Path) -> None:
    """Variants, regions, a reference with genes and other names of its contig, and a checkpoint."""
    generator = random.Random(1)
    bases = "".join(generator.choice("ACGT") for _ in range(600))
    folder.mkdir()
    (folder / "g.fa").write_text(f">c\n{bases}\n")
    lines = [
        f"chr9\t{pos}\tv{pos}\t{bases[pos - 1]}\t{'CGTA'['ACGT'.index(bases[pos - 1])]}\t.\tPASS\t."
        for pos in range(200, 230, 3)
    ]
    header = (
        "##fileformat=VCFv4.2\n##contig=<ID=chr9>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
    )
    (folder / "v.vcf").write_text("\n".join([header, *lines, ""]))
    (folder / "r.bed").write_text("c\t300\t320\n")
    names = "Sequence-Name Sequence-Role Assigned-Molecule Assigned-Molecule-Location/Type"
    names += " GenBank-Accn Relationship RefSeq-Accn Assembly-Unit Sequence-Length UCSC-style-name"
    row = "9 assembled-molecule 9 Chromosome c = NC_9.1 Primary 600 chr9"
    rows = [f"# {names}".replace(" ", "\t").replace("#\t", "# "), row.replace(" ", "\t")]
    (folder / "report.txt").write_text("\n".join([*rows, ""]))
    gene = "c\tx\t{}\t201\t260\t.\t+\t{}\tID={};{}\n"
    (folder / "genes.gff").write_text(
        "##gff-version 3\n"
        + gene.format("gene", ".", "gene:G1", "biotype=protein_coding;Name=GENE1")
        + gene.format("mRNA", ".", "transcript:T1", "Parent=gene:G1;biotype=protein_coding")
        + gene.format("exon", ".", "exon:E1", "Parent=transcript:T1")
        + gene.format("CDS", "0", "CDS:P1", "Parent=transcript:T1")
    )
    for name in ("g.fa", "v.vcf"):
        pysam.tabix_compress(str(folder / name), str(folder / f"{name}.gz"))
        (folder / name).unlink()
    pysam.faidx(str(folder / "g.fa.gz"))
    pysam.tabix_index(str(folder / "v.vcf.gz"), preset="vcf")
    shutil.copytree(BUNDLED_CHECKPOINTS / "evo2-mini", folder / "mini")


def make_config(place: str) -> dict[str, Any]:
    """A config of the files of a folder or a bucket."""
    return {
        "references": {
            "g": {
                "fasta": f"{place}/g.fa.gz",
                "gff": f"{place}/genes.gff",
                "assembly_report": f"{place}/report.txt",
            }
        },
        "models": {"m": {"checkpoint": f"{place}/mini", "gpus": 0}},
        "scorings": {"s": {"model": "m", "window_length": 64}},
        "variant_sets": {
            "v": {
                "variants": f"{place}/v.vcf.gz",
                "reference": "g",
                "scorings": ["s"],
                "regions": ["chr9:200-215"],
                "exports": ["vcf"],
                "sort_by_position": True,
            },
            "r": {
                "random_snvs": {"number": 5, "regions": f"{place}/r.bed"},
                "reference": "g",
                "scorings": ["s"],
            },
        },
    }


@dataclass(frozen=True)
class Bucket:
    """A bucket on a server of this machine, and the variables by which plugins find it."""

    client: Any
    variables: Mapping[str, str]

    def put(self, key: str, file: Path) -> None:
        self.client.upload_file(str(file), "lab", key)

    def names(self, prefix: str) -> set[str]:
        found = self.client.list_objects_v2(Bucket="lab", Prefix=prefix).get("Contents", [])
        return {one["Key"].removeprefix(prefix) for one in found}

    def read(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket="lab", Key=key)["Body"].read()
        return content


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    folder = tmp_path_factory.mktemp("bucket")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    variables = {
        "SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
    }
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            end = time.monotonic() + 120
            while socket.socket().connect_ex(("127.0.0.1", port)):
                assert time.monotonic() < end
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.2)
            client = importlib.import_module("boto3").client(
                "s3",
                endpoint_url=url,
                region_name="us-east-1",
                aws_access_key_id="testing",
                aws_secret_access_key="testing",  # noqa: S106 - of a server in this test
            )
            client.create_bucket(Bucket="lab")
            made = Bucket(client, variables)
            write_files(folder / "data")
            for file in (folder / "data").rglob("*"):
                if file.is_file():
                    made.put(f"data/{file.relative_to(folder / 'data')}", file)
            yield made
        finally:
            server.terminate()
            server.wait()


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(config)))


def run_stored(folder: Path, bucket: Bucket, *arguments: str, status: int = 0) -> str:
    command = ("--snakefile", str(SNAKEFILE), "--cores", "2", *arguments)
    return run_snakemake(folder, *command, variables=bucket.variables, status=status)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_run_on_object_storage_gives_what_a_run_on_files_gives(
    bucket: Bucket, tmp_path: Path
) -> None:
    plain, stored = tmp_path / "plain", tmp_path / "stored"
    plain.mkdir()
    stored.mkdir()
    write_files(plain / "data")
    write_config(plain, make_config("data"))
    run_workflow(plain, cores=2)
    write_config(stored, make_config("s3://lab/data"))
    run_stored(stored, bucket, *STORED)

    in_bucket = bucket.names("run/results/")
    for name in ("v/s/scores.parquet", "v/s/scores.vcf.gz", "v/report.html", "r/s/run.json"):
        assert name in in_bucket
    assert not (stored / "results").exists()
    for name in ("v", "r"):
        (stored / "got").write_bytes(bucket.read(f"run/results/{name}/s/scores.parquet"))
        pd.testing.assert_frame_equal(
            pd.read_parquet(stored / "got"),
            pd.read_parquet(plain / "results" / name / "s" / "scores.parquet"),
        )
    run = json.loads(bucket.read("run/results/v/s/run.json"))
    assert run["variants"]["variants"] == "s3://lab/data/v.vcf.gz"
    assert run["reference"]["fasta"] == "s3://lab/data/g.fa.gz"
    page = bucket.read("run/results/v/report.html").decode()
    for name in ("data/v.vcf.gz", "data/g.fa.gz", "data/genes.gff", "data/mini"):
        assert f"s3://lab/{name}" in page
    assert ".snakemake/storage" not in page + json.dumps(run)

    # Nothing runs again, also from another folder; what depends on a changed object does.
    assert NOTHING in run_stored(stored, bucket, *STORED, "--dry-run")
    other = tmp_path / "other"
    other.mkdir()
    write_config(other, make_config("s3://lab/data"))
    assert NOTHING in run_stored(other, bucket, *STORED, "--dry-run")
    time.sleep(1.1)  # the times of the server are in seconds
    bucket.put("data/v.vcf.gz", plain / "data" / "v.vcf.gz")
    again = run_stored(stored, bucket, *STORED, "--dry-run")
    assert "Scoring: v, s" in again
    assert "Scoring: r, s" not in again


def make_wrong(change: str, config: dict[str, Any], variables: dict[str, str]) -> None:
    match change:
        case "object":
            config["variant_sets"]["v"]["variants"] = "s3://lab/data/none.vcf.gz"
        case "bucket":
            config["references"]["g"]["fasta"] = "s3://no-such-bucket/g.fa.gz"
        case "credentials":
            variables |= {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            "object",
            "Error: variant_sets.v.variants: s3://lab/data/none.vcf.gz does not exist, or there is "
            "no such bucket",
        ),
        (
            "bucket",
            "Error: references.g.fasta: s3://no-such-bucket/g.fa.gz does not exist, or there is no "
            "such bucket",
        ),
        (
            "credentials",
            "Error: references.g.fasta: s3://lab/data/g.fa.gz: cannot be read: Unable to locate "
            "credentials",
        ),
    ],
)
def test_what_storage_does_not_give_is_one_line_before_any_job(
    bucket: Bucket, tmp_path: Path, change: str, line: str
) -> None:
    config, variables = make_config("s3://lab/data"), dict(bucket.variables)
    make_wrong(change, config, variables)
    write_config(tmp_path, config)
    output = run_stored(tmp_path, Bucket(bucket.client, variables), "--dry-run", status=1)
    assert line in output.splitlines()
    assert "Traceback" not in output


def test_a_failed_job_is_shown_with_its_log(bucket: Bucket, tmp_path: Path) -> None:
    config = make_config("s3://lab/data")
    config["variant_sets"]["v"]["carry"] = ["NOPE"]
    write_config(tmp_path, config)
    prefix = ("--default-storage-provider", "s3", "--default-storage-prefix", "s3://lab/failed")
    output = run_stored(tmp_path, bucket, *prefix, "results/v/carried.parquet", status=1)
    assert "'NOPE'" in output.splitlines()[-1]


@pytest.mark.skipif(shutil.which("rsync") is None, reason="not installed: rsync")
def test_the_plugin_fs_stages_the_files_of_each_job(tmp_path: Path) -> None:
    write_files(tmp_path / "data")
    config = make_config("data")
    del config["variant_sets"]["r"]
    write_config(tmp_path, config)
    output = run_workflow(
        tmp_path,
        *("--default-storage-provider", "fs", "--default-storage-prefix", ""),
        *("--local-storage-prefix", "node"),
        *("--shared-fs-usage", "persistence", "software-deployment", "sources", "source-cache"),
        cores=2,
    )
    assert "Retrieving from storage: data/mini/model.safetensors" in output
    run = json.loads((tmp_path / "results/v/s/run.json").read_text())
    assert (run["variants"]["variants"], run["scored"]) == ("data/v.vcf.gz", 6)
