"""Variant sets with labels and embeddings made by hand, whose alleles a probe can tell apart."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evo2_tasks.config.load import load_config
from evo2_tasks.config.probes import resolve_apply_probe, resolve_fit_probe
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.cost.probes import find_layers
from evo2_tasks.genome.records import CarryField
from evo2_tasks.io.digests import digest_file
from evo2_tasks.layout import PREDICTIONS, TABLE, applied_file, layer_file, probe_folder
from evo2_tasks.steps.apply_probe import apply_probe
from evo2_tasks.steps.fit_probe import fit_probe
from evo2_tasks.table.embeddings import DELTA, REF, as_column, embeddings_schema
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.provenance import Provenance
from evo2_tasks.table.schema import ALL_SCORE_COLUMNS
from tests import project
from tests.evaluation.build import Columns, write_run, write_scoring
from tests.table.build import signature

WIDTH = 6
LAYER = "blocks.1"
TOKENS = 8
GENOME_LENGTH = 40_000
PLACES = ("tRNA", "rRNA", "coding")

CARRY = (
    CarryField("KIND", "string", False, "What is known"),
    CarryField("PLACE", "string", False, "Where it is"),
    CarryField("NUMBER", "float", False, "A measured effect"),
)
LABELS: dict[str, Any] = {
    "labels": {
        "KIND": {"positive": ["bad"], "negative": ["good"]},
        "NUMBER": {"harmful": "low"},
    },
    "groups": ["PLACE"],
}
PROBE: dict[str, Any] = {"label": "KIND", "folds_by": "position"}


@dataclass
class Made:
    """Alleles with a label and embeddings.

    Attributes:
        columns: The table of scores.
        ref: Embeddings of the reference. (N, D)
        delta: Those of the alternate allele minus these. (N, D)
        has_embedding: Whether each allele has them. (N,)
    """

    columns: Columns
    ref: npt.NDArray[np.float32]
    delta: npt.NDArray[np.float32]
    has_embedding: npt.NDArray[np.bool_]
    names: dict[str, Any] = field(default_factory=dict)


def where(is_row: npt.NDArray[np.bool_], values: Sequence[Any]) -> list[Any]:
    """Values of some rows, None elsewhere."""
    return [value if one else None for one, value in zip(is_row, values, strict=True)]


def make_set(
    num_rows: int = 400, *, seed: int = 1, by_place: float = 0.0, in_delta: float = 1.5
) -> Made:
    """SNVs of two contigs, spread evenly; ``llr`` tells the classes apart a little.

    Args:
        num_rows: Number of alleles; the last tenth have no label.
        seed: Of the generator.
        by_place: How much the embedding of the reference tells the place, and the place the label.
        in_delta: How much the first channel of the difference tells the label.
    """
    rng = np.random.default_rng(seed)
    half = num_rows // 2
    contigs = ["c1"] * half + ["c2"] * (num_rows - half)
    steps = [GENOME_LENGTH // (half + 1), GENOME_LENGTH // (num_rows - half + 1)]
    positions = [steps[0] * (1 + i) for i in range(half)]
    positions += [steps[1] * (1 + i) for i in range(num_rows - half)]
    place = rng.integers(len(PLACES), size=num_rows)
    odds = np.where(place == 0, by_place, -by_place)
    is_bad = rng.random(num_rows) < 1 / (1 + np.exp(-odds))
    llr = rng.normal(-1, 1, num_rows) - 0.8 * is_bad
    is_scored = rng.random(num_rows) > 0.03
    ref = rng.normal(size=(num_rows, WIDTH)).astype(np.float32)
    ref[:, 0] += by_place * (place == 0)
    delta = rng.normal(size=(num_rows, WIDTH)).astype(np.float32)
    delta[:, 0] += in_delta * is_bad
    known = np.arange(num_rows) < num_rows - num_rows // 10
    scores = where(is_scored, llr.tolist())
    columns: Columns = {
        "record": list(range(num_rows)),
        "allele": [1] * num_rows,
        "contig": contigs,
        "reference_contig": contigs,
        "pos": positions,
        "ref": ["A"] * num_rows,
        "alt": ["G"] * num_rows,
        "status": ["scored" if one else "ref_mismatch" for one in is_scored],
        "reason": [None] * num_rows,
        "flags": [[] for _ in range(num_rows)],
        "window_start": [
            pos - 33 if one else None for pos, one in zip(positions, is_scored, strict=True)
        ],
        "window_end": [
            pos + 31 if one else None for pos, one in zip(positions, is_scored, strict=True)
        ],
        **dict.fromkeys(ALL_SCORE_COLUMNS, scores),
        "KIND": [
            ("bad" if bad else "good") if one else None
            for bad, one in zip(is_bad, known, strict=True)
        ],
        "PLACE": [PLACES[one] for one in place],
        "NUMBER": (rng.normal(size=num_rows) - 2.0 * delta[:, 1]).tolist(),
    }
    return Made(columns, ref, delta, is_scored & (rng.random(num_rows) > 0.05))


def write_embeddings(
    path: Path,
    made: Made,
    *,
    order: Sequence[int] | None = None,
    layer: str = LAYER,
    tokens: int = TOKENS,
    **changes: Any,
) -> Path:
    """Write embeddings as ``merge_embeddings`` does, in the order of the input."""
    schema = embeddings_schema(made.ref.shape[1], "float32", strands=False)
    rows = np.array(order if order is not None else np.argsort(made.columns["record"]), dtype=int)
    has = made.has_embedding[rows]
    settings = {
        "dtype": "float32",
        "keep_strands": False,
        "layer": layer,
        "model": "m",
        "tokens": tokens,
    }
    metadata = Provenance(signature() | changes, "0.1.0", model="m", settings=settings).metadata()
    table = pa.table(
        {
            **{
                key: pa.array(np.array(made.columns[key])[rows]).cast(schema.field(key).type)
                for key in ("record", "allele")
            },
            REF: as_column(np.where(has[:, None], made.ref[rows], 0), has),
            DELTA: as_column(np.where(has[:, None], made.delta[rows], 0), has),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_table(path, schema, metadata=metadata, row_group_rows=90) as writer:
        writer.write(table)
    return path


@dataclass
class Results:
    """A folder with the tables of variant sets, and a config for them."""

    folder: Path
    sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    layers: tuple[str, ...] = (LAYER,)

    def load(self) -> RunConfig:
        config = project.make_config(
            self.folder,
            scorings={
                "s": {
                    "model": "m",
                    "window_length": 64,
                    "embeddings": {"layer": list(self.layers), "tokens": TOKENS},
                }
            },
        )
        base = config["variant_sets"].pop("v")
        config["variant_sets"] = {name: base | keys for name, keys in self.sets.items()}
        config["output"] = str(self.folder / "results")
        return load_config(config, look_for_files=False)

    def scoring(self, variant_set: str) -> Path:
        return self.folder / "results" / variant_set / "s"

    def add(self, name: str, made: Made, **keys: Any) -> Path:
        """Add a variant set; gives its table."""
        self.sets[name] = keys
        table = write_scoring(self.scoring(name), made.columns, carry=CARRY)
        write_run(self.scoring(name), len(made.ref), table_digest=digest_file(table))
        for layer in self.layers:
            write_embeddings(self.scoring(name) / layer_file(layer), made, layer=layer)
        return table

    def fit(self, name: str = "v", probe: str = "p", layer: str | None = LAYER) -> Path:
        """Train a probe; gives its folder."""
        config = self.load()
        settings = resolve_fit_probe(
            config, find_layers(config), variant_set=name, scoring="s", probe=probe, layer=layer
        )
        out = probe_folder(self.scoring(name), probe, layer)
        embeddings = None if layer is None else self.scoring(name) / layer_file(layer)
        fit_probe(
            settings,
            table=self.scoring(name) / TABLE,
            embeddings=embeddings,
            out_folder=out,
        )
        assert (out / PREDICTIONS).exists()
        return out

    def apply(self, trained: Path, name: str, probe: str = "p") -> Path:
        """Apply a probe; gives its predictions."""
        config = self.load()
        settings = resolve_apply_probe(
            config, find_layers(config), variant_set=name, scoring="s", probe=probe
        )
        out = applied_file(self.scoring(name), probe)
        apply_probe(
            settings,
            trained=trained,
            table=self.scoring(name) / TABLE,
            embeddings=[self.scoring(name) / layer_file(layer) for layer in self.layers],
            out=out,
        )
        return out


def make_results(folder: Path, **keys: Any) -> Results:
    """A folder with the reference, and no variant set yet."""
    letters = random.Random(5)
    bases = {name: "".join(letters.choices("ACGT", k=GENOME_LENGTH)) for name in ("c1", "c2")}
    project.write_genome(folder / "genome.fa", bases)
    return Results(folder, **keys)
