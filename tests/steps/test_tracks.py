"""Tracks of regions, compared with whole windows that go through the model one at a time."""

import itertools
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pyBigWig
import pytest
import torch

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.commands.plan import describe_estimates, plan
from evo2_tasks.commands.show import show
from evo2_tasks.commands.status import read_status
from evo2_tasks.config.load import load_config
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.config.tracks import (
    resolve_merge_tracks,
    resolve_plan_tracks,
    resolve_report_tracks,
    resolve_score_tracks,
    resolve_tile,
)
from evo2_tasks.errors import InputError
from evo2_tasks.layout import (
    TILE_COUNTS,
    TILES,
    TRACK_BIGWIGS,
    TRACK_BROWSER_FILES,
    TRACK_REGIONS,
    TRACK_SCORES,
    TRACK_TABLE,
    TRACKS_RUN,
    segments_file,
    shard_file,
)
from evo2_tasks.runtime.track_jobs import TrackScorer
from evo2_tasks.steps.export_tracks import export_tracks
from evo2_tasks.steps.merge_tracks import merge_tracks
from evo2_tasks.steps.report_tracks import report_tracks
from evo2_tasks.steps.score_tracks import score_tracks
from evo2_tasks.steps.tile import tile
from evo2_tasks.table.provenance import read_provenance
from evo2_tasks.table.schema import tracks_schema
from tests.project import (
    files_of_shards,
    run_merge,
    run_score,
    run_split,
    run_windows,
    write_genome,
)
from tests.report.page import plots_of, rows_of

WINDOW, CONTEXT = 96, 24
TOLERANCE = 2e-5
LENGTHS = {"line": 700, "ring": 230, "small-ring": 61, "short": 40, "one": 1}
CIRCULAR = ("ring", "small-ring")
COMPLEMENT = str.maketrans("ACGTRN", "TGCAYN")

REGIONS = """\
track name=x
line\t300\t420\tlast
chrline\t10\t11
line\t0\t130
line\t120\t140\toverlaps
line\t650\t900\ttoo long
nowhere\t1\t5
ring\t0\t230
small-ring\t3\t50\tparts\t0\t+\t3\t50\t0\t2\t10,7\t0,40
short\t0\t40
one\t0\t1
line\tx\t5
line\t800\t900
"""


def make_genome() -> dict[str, str]:
    generator = random.Random(11)
    genome = {name: "".join(generator.choices("ACGT", k=size)) for name, size in LENGTHS.items()}
    genome["line"] = genome["line"][:100] + "NNRNN" + genome["line"][105:]
    return genome


GENOME = make_genome()


@dataclass(frozen=True)
class Tracks:
    """A project with a track set `t` and a scoring `s`."""

    folder: Path
    data: dict[str, Any]

    @property
    def config(self) -> RunConfig:
        return load_config(self.data)

    @property
    def results(self) -> Path:
        return self.folder / "results/t/s"

    def tile(self) -> None:
        tile(resolve_tile(self.config, "t", "s"), regions=None, out=self.results / TILES)

    def score(self, shard: int) -> None:
        name = shard_file(shard, self.config.shards)
        tiles = self.results / TILES / name
        score_tracks(
            resolve_score_tracks(self.config, "s"),
            tiles_file=tiles,
            segments_file=segments_file(tiles),
            out=self.results / TRACK_SCORES / name,
            threads=1,
        )

    def merge(self) -> None:
        merge_tracks(
            resolve_merge_tracks(self.config, "t", "s"),
            tiles_folder=self.results / TILES,
            scores_folder=self.results / TRACK_SCORES,
            out=self.results / TRACK_TABLE,
            run_json=self.results / TRACKS_RUN,
        )

    def run(self) -> pl.DataFrame:
        self.tile()
        for shard in range(1, self.config.shards + 1):
            self.score(shard)
        self.merge()
        return self.read()

    def read(self) -> pl.DataFrame:
        return pl.read_parquet(self.results / TRACK_TABLE)


def make_tracks(
    folder: Path,
    checkpoint: Path,
    *,
    regions: str = REGIONS,
    genome: Mapping[str, str] = GENOME,
    scoring: Mapping[str, object] | None = None,
    **parts: Any,
) -> Tracks:
    folder.mkdir(parents=True, exist_ok=True)
    fasta = write_genome(folder / "genome.fa", genome)
    (folder / "x.bed").write_text(regions)
    circular = [name for name in CIRCULAR if name in genome]
    return Tracks(
        folder,
        {
            "references": {"g": {"fasta": str(fasta), "circular_contigs": circular}},
            "models": {"m": {"checkpoint": str(checkpoint), "gpus": 0}},
            "scorings": {
                "s": {"model": "m", "window_length": WINDOW, "min_context": CONTEXT}
                | dict(scoring or {})
            },
            "track_sets": {
                "t": {"regions": str(folder / "x.bed"), "reference": "g", "scorings": ["s"]}
            },
            "output": str(folder / "results"),
            **parts,
        },
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Tracks:
    """Tracks in one shard and one part."""
    tracks = make_tracks(tmp_path_factory.mktemp("tracks"), checkpoint)
    tracks.run()
    return tracks


def spell_window(contig: str, base: int, context: int, strand: str) -> str:
    """What a strand has read when it comes to a base, the base included, in reading direction."""
    bases, length = GENOME[contig], LENGTHS[contig]
    step = -1 if strand == "reverse" else 1
    text = "".join(bases[(base - step * back) % length] for back in range(context, -1, -1))
    return text.translate(COMPLEMENT) if strand == "reverse" else text


def plain_logits(model: Evo2ForCausalLM, text: str, *, bos: bool) -> np.ndarray | None:
    """The logits by which the last token of a text is predicted, from a window read whole."""
    ids = ([0] if bos else []) + list(text.encode())
    if len(ids) < 2:
        return None
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0, -2].double().numpy()


def asked_bases() -> list[tuple[str, int]]:
    asked = {
        "line": {*range(140), *range(300, 420), *range(650, 700)},
        "ring": {*range(230)},
        "small-ring": {*range(3, 13), *range(43, 50)},
        "short": {*range(40)},
        "one": {0},
    }
    return [(name, base) for name in LENGTHS for base in sorted(asked[name])]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()


@pytest.mark.parametrize("scoring", [{}, {"strands": "reverse", "prepend_bos": True}])
def test_tracks_are_those_of_whole_windows(
    made: Tracks,
    tmp_path: Path,
    checkpoint: Path,
    small_model: Evo2ForCausalLM,
    scoring: dict[str, object],
) -> None:
    if scoring:
        made = make_tracks(tmp_path, checkpoint, scoring=scoring)
        made.run()
    bos = "prepend_bos" in scoring
    table = made.read()
    assert pq.read_schema(made.results / TRACK_TABLE).equals(tracks_schema())
    assert table.select("contig", "pos").rows() == [(c, base + 1) for c, base in asked_bases()]
    for row in table.sample(150, seed=4).iter_rows(named=True):
        contig, base = row["contig"], row["pos"] - 1
        assert row["ref"] == GENOME[contig][base]
        found: list[np.ndarray] = []
        for strand, suffix in {"forward": "_fwd", "reverse": "_rev"}.items():
            own = [row[f"logp_{letter}{suffix}"] for letter in "ACGT"]
            context = row[f"context{suffix}"]
            if scoring and strand == "forward":
                assert own == [None] * 4
                assert context is None
                continue
            text = spell_window(contig, base, context, strand)
            logits = plain_logits(small_model, text, bos=bos)
            if logits is None:
                assert own == [None] * 4
                continue
            letters = "TGCA" if strand == "reverse" else "ACGT"
            four = log_softmax(logits[list(letters.encode())])
            np.testing.assert_allclose(own, four, atol=TOLERANCE)
            found.append(np.append(four, log_softmax(logits)[ord(text[-1])]))
        if not found:
            assert row["logp_ref"] is None
            assert row["entropy"] is None
            continue
        mean = np.mean(found, axis=0)
        probs = np.exp(mean[:4]) / np.exp(mean[:4]).sum()
        assert row["logp_ref"] == pytest.approx(mean[4], abs=TOLERANCE)
        assert row["entropy"] == pytest.approx(-(probs * np.log2(probs)).sum(), abs=TOLERANCE)


def test_contexts_are_as_promised(made: Tracks) -> None:
    for row in made.read().iter_rows(named=True):
        length, base = LENGTHS[row["contig"]], row["pos"] - 1
        for context, before in (
            (row["context_fwd"], base),
            (row["context_rev"], length - 1 - base),
        ):
            if row["contig"] in CIRCULAR:
                assert CONTEXT <= context < min(WINDOW, length)
            else:
                assert min(CONTEXT, before) <= context < WINDOW
                assert context <= before


def test_each_region_has_a_status(made: Tracks) -> None:
    regions = pl.read_parquet(made.results / TILES / TRACK_REGIONS)
    assert regions.select("record", "status", "num_bases").rows() == [
        (0, "scored", 120),
        (1, "scored", 1),
        (2, "scored", 130),
        (3, "scored", 20),
        (4, "position_out_of_range", 50),
        (5, "contig_not_found", 0),
        (6, "scored", 230),
        (7, "scored", 17),
        (8, "scored", 40),
        (9, "scored", 1),
        (10, "invalid_record", 0),
        (11, "position_out_of_range", 0),
    ]
    run = json.loads((made.results / TRACKS_RUN).read_text())
    assert run["by_status"] == {
        "scored": 8,
        "position_out_of_range": 2,
        "contig_not_found": 1,
        "invalid_record": 1,
    }
    assert (run["records"], run["bases"], run["non_finite"]) == (12, len(asked_bases()), 0)
    assert run["contigs"] == LENGTHS
    assert (
        run["windows_run"]
        == json.loads((made.results / TILES / TILE_COUNTS).read_text())["windows"]
    )


@pytest.mark.parametrize(
    "parts",
    [
        {"shards": 3},
        {"shards": 3, "run": {"part_tokens": 150, "batch_tokens": 100, "segment_length": 50}},
    ],
)
def test_shards_and_parts_change_last_bits_only(
    made: Tracks, tmp_path: Path, checkpoint: Path, parts: dict[str, Any]
) -> None:
    other = make_tracks(tmp_path, checkpoint, **parts).run()
    table = made.read()
    exact = ["contig", "pos", "ref", "context_fwd", "context_rev"]
    assert other.select(exact).equals(table.select(exact))
    for name in table.columns:
        if name not in exact:
            assert other[name].is_null().equals(table[name].is_null())
            assert (other[name] - table[name]).abs().max() < TOLERANCE


def test_snvs_have_the_same_difference(tmp_path: Path, checkpoint: Path) -> None:
    """At a common start of the window, the tracks of both strands give `llr_allele` of SNVs."""
    genome = {"line": GENOME["line"].replace("N", "A").replace("R", "C")}
    # The first window that does not begin at base 0, and a base in its middle.
    base = WINDOW - CONTEXT + WINDOW // 2
    ref = genome["line"][base]
    lines = [f"line\t{base + 1}\t.\t{ref}\t{alt}\t.\t.\t." for alt in "ACGT" if alt != ref]
    (tmp_path / "in.vcf").write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        + "".join(f"{line}\n" for line in lines)
    )
    turned = {"line": genome["line"].translate(COMPLEMENT)[::-1]}
    tables = {}
    for name, bases in {"fwd": genome, "rev": turned}.items():
        tracks = make_tracks(
            tmp_path / name, checkpoint, regions="line\t0\t700\n", genome=bases,
            scoring={"window_length": WINDOW},
        )  # fmt: skip
        tables[name] = tracks.run()
    data = make_tracks(tmp_path, checkpoint, regions="line\t0\t700\n", genome=genome).data
    data["variant_sets"] = {
        "v": {"variants": str(tmp_path / "in.vcf"), "reference": "g", "scorings": ["s"]}
    }
    config = load_config(data)
    folder = tmp_path / "results"
    run_split(config, folder)
    run_windows(config, folder)
    for files in files_of_shards(config, folder):
        run_score(config, files)
    scores = pl.read_parquet(run_merge(config, folder))
    [forward] = tables["fwd"].filter(pl.col("pos") == base + 1).iter_rows(named=True)
    assert forward["context_fwd"] == WINDOW // 2
    for row in scores.iter_rows(named=True):
        difference = forward[f"logp_{row['alt']}_fwd"] - forward[f"logp_{ref}_fwd"]
        assert row["llr_allele_fwd"] == pytest.approx(difference, abs=1e-5)
    # The tracks of the reversed contig are those of the other strand.
    num_compared = 0
    for row, other in zip(
        tables["fwd"].iter_rows(named=True), reversed(tables["rev"].rows(named=True)), strict=True
    ):
        if row["context_rev"] == other["context_fwd"] and row["context_rev"] > 0:
            own = [row[f"logp_{letter}_rev"] for letter in "ACGT"]
            same = [other[f"logp_{letter}_fwd"] for letter in "TGCA"]
            np.testing.assert_allclose(own, same, atol=1e-5)
            num_compared += 1
    assert num_compared >= CONTEXT


def test_provenance(made: Tracks) -> None:
    provenance = read_provenance(made.results / TRACK_TABLE)
    assert provenance.signature["scoring"] == {
        "window_length": WINDOW,
        "min_context": CONTEXT,
        "strands": "both",
        "prepend_bos": False,
    }
    assert provenance.model == "m"


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ("", "the file is empty; expected regions."),
        ("# nothing\n", "expected the regions of a BED"),
        ("nowhere\t1\t5\n", "no region has a base in the reference: 1 contig_not_found"),
        ("line\t800\t900\n", "1 position_out_of_range; the first is data line 1 (line:800-900)"),
        ("##fileformat=VCFv4.2\n", "needs the regions of a BED file"),
    ],
)
def test_regions_without_bases_end_the_step(
    tmp_path: Path, checkpoint: Path, regions: str, message: str
) -> None:
    tracks = make_tracks(tmp_path, checkpoint, regions=regions)
    with pytest.raises(InputError) as caught:
        tracks.tile()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tracks.results / TILES / TILE_COUNTS).exists()


def test_a_killed_job_continues_and_gives_the_same_bytes(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"run": {"part_tokens": 200, "batch_tokens": 150}}
    undisturbed = make_tracks(tmp_path / "one", checkpoint, **parts)
    undisturbed.run()
    killed = make_tracks(tmp_path / "two", checkpoint, **parts)
    killed.tile()
    run, calls = TrackScorer.score, []

    def score(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return run(*args)

    monkeypatch.setattr(TrackScorer, "score", score)
    with pytest.raises(KeyboardInterrupt):
        killed.score(1)
    scores = killed.results / TRACK_SCORES / "1-of-1.parquet"
    assert not scores.exists()
    [status] = read_status(killed.folder / "results")
    assert (status.variant_set, status.scoring, status.of_tracks) == ("t", "s", True)
    assert 0 < status.tokens_done < status.tokens
    assert 0 < status.alleles_done < status.alleles
    killed.score(1)
    stated = json.loads(scores.with_suffix(".json").read_text())
    assert stated["parts_kept"] == 3
    assert stated["parts"] == len(calls) - 1 > 5
    # All parts are kept until the shard is merged.
    scores.unlink()
    killed.score(1)
    assert len(calls) == stated["parts"] + 1
    assert next(iter(read_status(killed.folder / "results"))).shards_done == 1
    killed.merge()
    [status] = read_status(killed.folder / "results")
    assert status.is_merged
    assert status.alleles_done == status.alleles
    assert status.tokens_done == status.tokens
    for name in (TRACK_TABLE, f"{TRACK_SCORES}/1-of-1.parquet"):
        assert (killed.results / name).read_bytes() == (undisturbed.results / name).read_bytes()
    assert not list(killed.results.glob("**/*.parts"))


def test_the_plan_is_what_the_run_takes(made: Tracks) -> None:
    [estimate] = plan(
        [], tracks=resolve_plan_tracks(made.config), rates_file=None, device=None,
        device_memory_gb=None, price=2.0, job_hours=1.0,
    )  # fmt: skip
    run = json.loads((made.results / TRACKS_RUN).read_text())
    assert estimate["by_status"] == run["by_status"]
    assert (estimate["bases"], estimate["windows"]) == (run["bases"], run["windows_run"])
    assert estimate["tokens"] == run["tokens_run"]
    text = "\n".join(describe_estimates([estimate, estimate]))
    assert "t, s, tracks (m)" in text
    assert f"bases of tracks         {2 * run['bases']:,}" in text


def test_a_table_of_other_windows_or_settings_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    tracks = make_tracks(tmp_path, checkpoint, regions="line\t0\t50\n")
    tracks.run()
    (tmp_path / "x.bed").write_text("line\t0\t60\n")
    tracks.tile()
    with pytest.raises(InputError, match="was made from another version of"):
        tracks.merge()
    tracks.data["scorings"]["s"]["min_context"] = 30
    with pytest.raises(InputError, match="min_context"):
        tracks.score(1)
    with pytest.raises(InputError, match="made with other settings than those of the config"):
        tracks.merge()
    tracks.data["scorings"]["s"] |= {"min_context": CONTEXT, "horizon": 10}
    tracks.score(1)  # a horizon is about alleles
    tracks.merge()
    assert len(tracks.read()) == 60


def test_a_model_without_valid_numbers_ends_the_job(
    tmp_path: Path, small_model: Evo2ForCausalLM, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Evo2ForCausalLM(small_model.config)
    broken.load_state_dict(small_model.state_dict())
    with torch.no_grad():
        broken.model.layers[1].mlp.l3.weight[0, 0] = torch.inf
    broken.eval().save_pretrained(tmp_path / "model")
    tracks = make_tracks(tmp_path, tmp_path / "model", regions="line\t0\t120\n")
    tracks.tile()
    with pytest.raises(InputError, match=r"values that are not finite, more than run\.max_non"):
        tracks.score(1)
    assert "the first such module is" in caplog.text
    tracks.data["run"] = {"max_non_finite_share": 1.0}
    tracks.score(1)
    tracks.merge()
    table = tracks.read()
    assert table["logp_ref"].null_count() == table["entropy"].null_count() == 120
    run = json.loads((tracks.results / TRACKS_RUN).read_text())
    assert run["non_finite"] == 2 * 120 - 1


def test_bigwig_files_have_the_values_of_the_table(made: Tracks, tmp_path: Path) -> None:
    export_tracks(table=made.results / TRACK_TABLE, out=tmp_path)
    table = made.read()
    assert table["logp_ref"].null_count() == 1
    for column, file in TRACK_BIGWIGS.items():
        with pyBigWig.open(str(tmp_path / file)) as reader:
            assert reader.chroms() == {name: size for name, size in LENGTHS.items() if size > 1}
            for contig, length in reader.chroms().items():
                expected = np.full(length, np.nan)
                for row in table.filter(pl.col("contig") == contig).iter_rows(named=True):
                    value = row[column]
                    expected[row["pos"] - 1] = np.nan if value is None else value
                np.testing.assert_array_equal(
                    np.array(reader.values(contig, 0, length), dtype=np.float32),
                    expected.astype(np.float32),
                )
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {*TRACK_BIGWIGS.values(), *TRACK_BROWSER_FILES}
    stanza = (tmp_path / "tracks.entropy.trackDb.txt").read_text()
    assert "bigDataUrl tracks.entropy.bw\n" in stanza
    assert "shortLabel t s entropy\n" in stanza
    assert 'locus="line:1-700"' in (tmp_path / "tracks.entropy.igv.xml").read_text()
    (tmp_path / TRACKS_RUN).write_text((made.results / TRACKS_RUN).read_text())
    table.head(3).write_parquet(tmp_path / TRACK_TABLE)
    with pytest.raises(InputError, match="is about another table"):
        export_tracks(table=tmp_path / TRACK_TABLE, out=tmp_path)


def test_the_report_has_the_regions_and_their_letters(made: Tracks, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    report_tracks(resolve_report_tracks(made.config, "t"), results=made.results.parent, out=out)
    table = made.read()
    regions = pl.read_parquet(made.results / TILES / TRACK_REGIONS)
    rows = rows_of(out, "Regions, s")
    assert [row[5].split(",")[0] for row in rows] == regions["status"].to_list()
    shown = [row[6].replace(",", "") for row in rows]
    blocks = regions["name"].to_list().index("parts")
    assert [int(one) for one in shown] == regions["num_bases"].to_list()
    assert shown[blocks] == "17"
    first = table.filter(pl.col("contig") == "line", pl.col("pos").is_between(301, 420))
    assert float(rows[0][7]) == pytest.approx(first["entropy"].mean(), abs=6e-4)
    assert float(rows[0][8].replace("\N{MINUS SIGN}", "-")) == pytest.approx(
        first["logp_ref"].mean(), abs=6e-4
    )
    logos = [plot for title, plot in plots_of(out).items() if title.startswith("Logo")]
    assert len(logos) == (regions["num_bases"] > 0).sum()
    texts = [trace["text"] for trace in logos[0]["data"] if trace.get("mode") == "text"]
    assert "".join(itertools.chain(*texts)) == GENOME["line"][300:420]


def test_a_whole_circle_is_read_across_its_origin(
    tmp_path: Path, checkpoint: Path, small_model: Evo2ForCausalLM
) -> None:
    """A circle is the same from wherever its sequence begins, if the windows are as long as it."""
    bases = GENOME["ring"]
    table = make_tracks(
        tmp_path, checkpoint, regions="ring\t0\t230\n", genome={"ring": bases},
        scoring={"window_length": 300},
    ).run()  # fmt: skip
    assert table.null_count().sum_horizontal().item() == 0
    assert table["context_fwd"].min() >= CONTEXT
    assert table["context_fwd"].max() == 229
    assert sorted(set(table["context_rev"])) == [*range(CONTEXT, 230)]
    for row in (table.row(0, named=True), table.row(229, named=True)):
        text = spell_window("ring", row["pos"] - 1, row["context_fwd"], "forward")
        logits = plain_logits(small_model, text, bos=False)
        assert logits is not None
        four = [row[f"logp_{letter}_fwd"] for letter in "ACGT"]
        np.testing.assert_allclose(four, log_softmax(logits[list(b"ACGT")]), atol=TOLERANCE)


def test_show_describes_tracks(made: Tracks, tmp_path: Path) -> None:
    text = "\n".join(show(made.results / TRACK_TABLE))
    run = json.loads((made.results / TRACKS_RUN).read_text())
    assert f"{run['bases']:,} bases" in text
    assert "8 scored, 2 position_out_of_range, 1 contig_not_found, 1 invalid_record" in text
    entropy = made.read()["entropy"]
    assert f"{entropy.max():.4g}"[:4] in text
    assert "NaN" not in text
    (tmp_path / TRACKS_RUN).write_text(json.dumps(run | {"table_digest": "0" * 64}))
    (tmp_path / TRACK_TABLE).write_bytes((made.results / TRACK_TABLE).read_bytes())
    with pytest.raises(InputError, match="is about another table"):
        list(show(tmp_path / TRACK_TABLE))
