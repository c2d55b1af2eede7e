"""What a score store has of a run that is planned: its alleles are looked up before the run."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.config.resolve import ModelSettings, PlannedScoring, list_checkpoint
from evo2_tasks.errors import InputError
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_pairs import STRANDS
from evo2_tasks.genome.windows import PlacedAllele
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import identity_file
from evo2_tasks.runtime.score_store import choose_record, make_model_key
from evo2_tasks.table.identities import Identity
from evo2_tasks.table.provenance import as_json, make_signature
from evo2_tasks.table.schema import STRAND_SUFFIXES
from evo2_tasks.table.store import Store, find_candidates, make_contig_key
from evo2_tasks.table.store_models import ModelKey, ModelRecord, read_models
from evo2_tasks.table.store_rows import keys_schema

ALLELES_AT_ONCE = 65_536
"""Placed alleles that are collected before they are looked up."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """What a store knows of a model.

    Attributes:
        store: The store.
        record: The record of the model; None if there is none.
        problem: Why it cannot be found; empty if it can.
    """

    store: Store
    record: ModelRecord | None
    problem: str = ""

    def explain(self, planned: PlannedScoring) -> str:
        """Why the alleles of a scoring are not looked up, of a model without a record."""
        if self.problem:
            return self.problem
        if not self.store.path.exists():
            return f"{shown_path(self.store.path)} does not exist yet, so all alleles are scored"
        signature = _make_signature(planned, "any", "any")
        if find_candidates(self.store.describe(), signature):
            return (
                "unknown: the store does not know this model yet. The first scoring job opens it, "
                "and finds whether the store has its scores"
            )
        return "the store has no scores of this model"


def find_model(planned: PlannedScoring, store: Path) -> KnownModel:
    """Find a model in a store, by the digests of its files.

    Args:
        planned: The model, and the results folder, which may have the digests.
        store: Folder of the store.

    Raises:
        InputError: The store or a file of the checkpoint cannot be read.
    """
    opened = Store(store)
    model = planned.score.model
    if not model.checkpoint.exists():
        where = f"{shown_path(model.checkpoint)} does not exist yet"
        return KnownModel(opened, None, f"unknown: the checkpoint {where}")
    return KnownModel(
        opened, choose_record(model, read_models(store, find_key(model, planned.results)))
    )


def find_key(model: ModelSettings, results: Path) -> ModelKey:
    """By which files a store knows a model: from the results of a run, or from the files.

    Args:
        model: The model.
        results: The results folder.

    Raises:
        InputError: A file of the checkpoint cannot be read.
    """
    file = results / identity_file(model.name)
    try:
        identity = Identity.read(file)
        made = file.stat().st_mtime_ns
        is_newest = all(one.stat().st_mtime_ns < made for one in list_checkpoint(model))
    except (InputError, OSError):
        return make_model_key(model)
    is_of_model = dict(identity.settings) == as_json(model.triggers())
    return identity.key if is_of_model and is_newest else make_model_key(model)


def _make_signature(planned: PlannedScoring, weights: str, fp8: str) -> dict[str, Any]:
    """The signature of the scores of a model; a store does not need that of the reference."""
    return make_signature(
        reference_digest="",
        scoring=asdict(planned.windows.scoring),
        weights_digest=weights,
        dtype=planned.score.model.dtype,
        fp8=fp8,
        prepend_bos=planned.score.scoring.prepend_bos,
    )


class StoreSearch:
    """Looks up the alleles of a scoring while they are placed.

    Attributes:
        known: For each row of the variant set, 1 if the store has its scores, else 0.
        num_alleles: Alleles that have windows.
        num_hits: How many of them the store has.
    """

    def __init__(self, planned: PlannedScoring, store: Store, record: ModelRecord) -> None:
        """Prepare a search.

        Args:
            planned: The scoring.
            store: The store.
            record: The model.
        """
        self.known = bytearray()
        self.num_alleles = self.num_hits = 0
        self._store = store
        self._strands = STRANDS[planned.score.scoring.strands]
        self._signature = _make_signature(planned, record.weights, record.fp8)
        self._pending: dict[str, list[tuple[int, PlacedAllele]]] = {}
        self._num_pending = 0

    def add(self, row: int, placed: PlacedAllele, reference: Reference) -> None:
        """Add the next allele.

        Args:
            row: Its row.
            placed: Its windows.
            reference: The reference.
        """
        self.known.append(0)
        contig = placed.reference_contig
        if placed.pair is None or contig is None:
            return
        if not any(strand in placed.sizes for strand in self._strands):
            return
        self.num_alleles += 1
        if not placed.background:
            self._pending.setdefault(contig, []).append((row, placed))
            self._num_pending += 1
        if self._num_pending >= ALLELES_AT_ONCE:
            self.finish(reference)

    def finish(self, reference: Reference) -> None:
        """Look up the alleles that were added since the last time."""
        for contig, alleles in self._pending.items():
            key = make_contig_key(
                reference.refget_accession(contig), circular=reference.is_circular(contig)
            )
            rows = [
                (one.edit_start, one.edit_ref, one.edit_alt, one.window_start,
                 (one.window_end or 0) - (one.window_start or 0))
                for _, one in alleles
            ]  # fmt: skip
            schema = keys_schema()
            columns = [
                pa.array(column, field.type)
                for column, field in zip(zip(*rows, strict=True), schema, strict=True)
            ]
            found = self._store.lookup(
                self._signature, key, pa.table(columns, schema=schema), self._strands
            )
            has_score = {
                strand: pc.is_valid(found.column(f"llr{STRAND_SUFFIXES[strand]}")).to_pylist()
                for strand in self._strands
            }
            for place, (row, one) in enumerate(alleles):
                needed = [strand for strand in self._strands if strand in one.sizes]
                if all(has_score[strand][place] for strand in needed):
                    self.known[row] = 1
                    self.num_hits += 1
        self._pending.clear()
        self._num_pending = 0
