"""What opens a bigWig in genome browsers: the stanza of a hub, and a session in igv.js itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree as ET

import pysam
import pytest

from evo2_tasks.exports.bigwig import write
from evo2_tasks.exports.browsers import (
    BigWigTrack,
    Locus,
    write_hub_stanza,
    write_igv_session,
)
from tests.table.build import make_row, write_result, write_run

IGV = "igv@3.8.10"
HOST = "http://localhost"
CONTIG = "chr1"
HOSTILE = 'a "b" <i>&\n track evil\x1b'


def read_stanza(file: Path) -> dict[str, str]:
    lines = file.read_text().splitlines()
    assert all(line and not line.startswith(" ") for line in lines)
    return dict(line.split(" ", 1) for line in lines)


def test_a_stanza_has_the_keys_that_a_hub_needs(tmp_path: Path) -> None:
    track = BigWigTrack(tmp_path / "scores.bw", "mito-map mini 2k", "mean llr, nats")
    file = write_hub_stanza(track)
    assert file.name == "scores.trackDb.txt"
    found = read_stanza(file)
    assert found["track"] == "evo2_mito_map_mini_2k"
    assert found["bigDataUrl"] == "scores.bw"
    assert found["type"] == "bigWig"
    assert (len(found["shortLabel"]), len(found["longLabel"])) <= (17, 76)


def test_hostile_names_stay_one_value(tmp_path: Path) -> None:
    track = BigWigTrack(tmp_path / 'a "<x>&.bw', HOSTILE, HOSTILE)
    found = read_stanza(write_hub_stanza(track))
    assert re.fullmatch(r"evo2_\w+", found["track"], re.ASCII)
    assert "evil" not in found
    session = write_igv_session(track, fasta='"><x>&.fa', locus=Locus('c"<&', 4, 9))
    root = ET.parse(session).getroot()  # noqa: S314
    assert root.attrib == {"genome": '"><x>&.fa', "version": "8", "locus": 'c"<&:5-9'}
    (resource,) = root.iter("Resource")
    (shown,) = root.iter("Track")
    assert resource.attrib["path"] == shown.attrib["id"] == 'a "<x>&.bw'
    assert len([*root.iter()]) == 5


def test_the_reference_is_named_from_the_folder_of_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/a.fa").write_text(">c\nACGT\n")
    Path("results/v/s").mkdir(parents=True)
    track = BigWigTrack(Path("results/v/s/scores.bw"), "v s", "llr")
    for fasta, named in (
        ("data/a.fa", "../../../data/a.fa"),
        ("s3://bucket/a.fa", "s3://bucket/a.fa"),
    ):
        session = ET.parse(write_igv_session(track, fasta=fasta, locus=None))  # noqa: S314
        assert session.getroot().attrib == {"genome": named, "version": "8"}


# --- igv.js


@pytest.fixture(scope="module")
def igv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script of igv.js, from npm's cache: the test does not use the network."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("there is no npm on the path")
    folder = tmp_path_factory.mktemp("npm")
    packed = subprocess.run(
        ["npm", "pack", "--offline", "--silent", "--pack-destination", str(folder), IGV],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    archives = [*folder.glob("igv-*.tgz")]
    if packed.returncode or not archives:
        pytest.skip(f"npm's cache has no {IGV}; npm cache add {IGV} puts it there")
    with tarfile.open(archives[0]) as archive:
        archive.extract("package/dist/igv.min.js", folder, filter="data")
    return folder / "package" / "dist" / "igv.min.js"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no chromium on the path")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        opened.close()


def serve(tab: Any, files: dict[str, Path]) -> None:
    """Answer requests from a folder, with ranges of bytes.

    Any other host is refused: igv.js asks its own for names of genes.
    """

    def answer(route: Any, request: Any) -> None:
        path = unquote(urlsplit(request.url).path).lstrip("/")
        if not request.url.startswith(HOST) or path not in files:
            route.fulfill(status=404) if request.url.startswith(HOST) else route.abort()
            return
        raw = files[path].read_bytes()
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if span is None:
            route.fulfill(status=200, body=raw)
            return
        start, last = int(span[1]), min(int(span[2] or len(raw) - 1), len(raw) - 1)
        content = {"content-range": f"bytes {start}-{last}/{len(raw)}"}
        route.fulfill(status=206, body=raw[start : last + 1], headers=content)

    tab.route("**/*", answer)


@pytest.mark.browser
@pytest.mark.parametrize("has_scores", [True, False])
def test_igv_opens_the_session_without_network(
    tmp_path: Path, igv: Path, browser: Any, has_scores: bool
) -> None:
    (tmp_path / "genome.fa").write_text(f">{CONTIG}\n{'ACGTTGCAAC' * 60}\n")
    pysam.faidx(str(tmp_path / "genome.fa"))
    rows = [
        make_row(at, reference_contig=CONTIG, pos=101 + at, ref="A", alt="G", llr=(at % 40) - 30.0)
        for at in range(200)
    ]
    rows = rows if has_scores else [make_row(0, 1, "too_many_n", reference_contig=CONTIG)]
    table = write_result(tmp_path / "scores.parquet", rows)
    reference = {
        "name": "g", "digest": "d", "fasta": str(tmp_path / "genome.fa"), "circular_contigs": [],
    }  # fmt: skip
    write_run(table, {CONTIG: 600}, reference=reference)
    write(table, tmp_path / "scores.bw")
    page = tmp_path / "page.html"
    page.write_text("<!DOCTYPE html><div id='here'></div><script src='igv.min.js'></script>")
    names = ["genome.fa", "genome.fa.fai", "scores.bw", "scores.igv.xml", "page.html"]
    files = {name: tmp_path / name for name in names} | {"igv.min.js": igv}
    said: list[str] = []
    tab = browser.new_page(viewport={"width": 1100, "height": 500})
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    serve(tab, files)
    tab.goto(f"{HOST}/page.html")
    values = tab.evaluate(
        """async () => {
            const options = {loadDefaultGenomes: false, sessionURL: "scores.igv.xml"};
            const here = document.getElementById("here");
            window.opened = await igv.createBrowser(here, options);
            const [track] = opened.findTracks((one) => one.name && one.url === "scores.bw");
            const found = await track.getFeatures("chr1", 0, 600, 1);
            return [opened.currentLoci(), track.name, track.type,
                found.map((one) => [one.start, one.end, one.value])];
        }"""
    )
    wait_for_drawing(tab)
    tab.close()
    locus, name, kind, found = values
    assert said == []
    assert name == f"{tmp_path.parent.name} {tmp_path.name}"
    assert kind == "wig"
    expected = [[row["pos"] - 1, row["pos"], row["llr"]] for row in rows if row["llr"] is not None]
    assert found == expected
    if has_scores:
        assert "chr1:101-" in locus


def wait_for_drawing(tab: Any) -> None:
    """Until the track has an image."""
    is_drawn = "() => document.querySelector('#here').shadowRoot.querySelector('canvas')"
    tab.wait_for_function(is_drawn)
    tab.wait_for_timeout(300)
