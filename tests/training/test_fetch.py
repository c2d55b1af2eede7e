"""Fetching genomes, from a server on this machine that answers as NCBI's efetch does."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pysam
import pytest

from training import fetch
from training.prepare import sha512t24u

RECORDS = {
    "NC_000001.1": "ACGTACGT" * 30,
    "NC_000002.3": "GATTACA" * 20,
    "X12345.1": "CCGGA" * 9,
    "NC_000004.1": "TTTTA" * 50,
}


class Efetch(BaseHTTPRequestHandler):
    failures = 1  # the first request is one too many

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if Efetch.failures:
            Efetch.failures -= 1
            self.send_error(429)
            return
        query = {key: values[0] for key, values in parse_qs(body).items()}
        texts = []
        for asked in query["id"].split(","):
            name = next((one for one in RECORDS if one.partition(".")[0] == asked), asked)
            bases = RECORDS.get(name, "")
            if "seq_start" in query:
                start, stop = int(query["seq_start"]), int(query["seq_stop"])
                name, bases = f"{name}:{start}-{stop}", bases[start - 1 : stop]
            if bases:
                texts.append(f">{name} a genome\n{bases[:70].lower()}\n{bases[70:]}\n")
        self.send_response(200)
        self.end_headers()
        self.wfile.write("\n".join(texts).encode())

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 # the name of the base
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Efetch.failures = 1
    with HTTPServer(("127.0.0.1", 0), Efetch) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/efetch.fcgi"
        server.shutdown()


def write_manifest(path: Path, rows: list[tuple[str, str, str, str, str, str]]) -> None:
    lines = ["group\tname\taccession\tstart\tend\tlength\tsha512t24u"]
    for group, name, accession, start, end, bases in rows:
        lines.append(
            "\t".join([group, name, accession, start, end, str(len(bases)), sha512t24u(bases)])
        )
    path.write_text("\n".join(lines) + "\n")


def test_what_is_fetched_is_what_the_manifest_names(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_manifest(
        tmp_path / "manifest.tsv",
        [
            ("a", "NC_000002.3", "NC_000002.3", "", "", RECORDS["NC_000002.3"]),
            ("a", "NC_000001.1", "NC_000001.1", "", "", RECORDS["NC_000001.1"]),
            ("b", "family_X12345", "X12345", "", "", RECORDS["X12345.1"]),
            ("b", "contig_7", "", "", "", "ACGT"),
            ("c", "4:11-60", "NC_000004.1", "11", "60", RECORDS["NC_000004.1"][10:60]),
        ],
    )
    assert fetch.run(tmp_path / "manifest.tsv", tmp_path / "out", url) == 0
    read = {
        path.name: [(one.name, one.sequence) for one in pysam.FastxFile(str(path))]
        for path in (tmp_path / "out").iterdir()
    }
    assert read == {
        "a.fa": [(name, RECORDS[name]) for name in ("NC_000002.3", "NC_000001.1")],
        "b.fa": [("family_X12345", RECORDS["X12345.1"])],
        "c.fa": [("4:11-60", RECORDS["NC_000004.1"][10:60])],
    }
    assert "without an accession: 1" in capsys.readouterr().out


def test_another_version_and_a_lost_record_are_told(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_manifest(
        tmp_path / "manifest.tsv",
        [
            ("a", "NC_000001.1", "NC_000001.1", "", "", RECORDS["NC_000001.1"] + "A"),
            ("a", "NC_000009.1", "NC_000009.1", "", "", "ACGT"),
        ],
    )
    assert fetch.run(tmp_path / "manifest.tsv", tmp_path / "out", url) == 2
    out = capsys.readouterr().out
    assert "missing or different from the manifest: NC_000001.1" in out
    assert "missing or different from the manifest: NC_000009.1" in out


def test_the_manifest_is_whole() -> None:
    entries = fetch.read_manifest(fetch.MANIFEST)
    assert len(entries) == 2986
    assert len({entry.name for entry in entries}) == len(entries)
    assert sum(int(entry.length) for entry in entries) > 66_000_000
    homo = {"NC_012920.1", "NC_011137.1", "NC_023100.1", "NC_013993.1"}
    assert not homo & {entry.accession for entry in entries}
