"""The score store: scores of earlier runs, found again by what they were computed from.

A score depends on the store signature (model, arithmetic and windows), on the sequence of the
contig and whether it is circular, on the edit and on the window. So a score is found again under
another name of the contig, in another FASTA, for another spelling of the allele and for another
sample, and is never found for another model, window or horizon.

A store is a folder::

    STORE/signature={SHA-256}/signature.json
    STORE/signature={SHA-256}/contig={SQ. and 32 characters}[.circular]/{file}.parquet
    STORE/models/{SHA-256}/{digest}.json

Its files are never changed. They appear by atomic rename, and only :meth:`Store.compact` removes
them, after their rows are in another file. So nobody needs a lock: many processes may read, write
and compact one store at once, and any of them may be killed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import JsonValue

from evo2_tasks.errors import InputError
from evo2_tasks.genome.window_pairs import Strand
from evo2_tasks.io.documents import Document
from evo2_tasks.io.files import writing
from evo2_tasks.io.words import first_line, shown, shown_path
from evo2_tasks.table.provenance import canonical_json, package_version
from evo2_tasks.table.store_compaction import Compaction, compact_place
from evo2_tasks.table.store_files import (
    CONTIG_KEY,
    NOT_USED,
    Place,
    list_files,
    list_folder,
    warn_once,
)
from evo2_tasks.table.store_lookup import Queries, choose_rows, find_rows
from evo2_tasks.table.store_models import MODELS, ModelKey, ModelRecord, list_models
from evo2_tasks.table.store_rows import DEVICE, merge_rows
from evo2_tasks.table.store_writer import StoreWriter

NOT_IN_STORE: Final = frozenset({"reference", "haplotype_of"})
"""Keys of a signature that a store signature does not have. The contig's own digest replaces the
reference. Windows that a haplotype changes are not in a store."""

SCORING_NOT_IN_STORE: Final = frozenset(
    {"strands", "max_allele_length", "max_n_share", "min_context"}
)
"""Settings of a scoring that a store signature does not have: they change which alleles are scored,
and their flags, but no number of a strand."""

_SIGNATURE_FOLDER: Final = re.compile(r"signature=([0-9a-f]{64})", re.ASCII)
_SIGNATURE_FILE: Final = "signature.json"


def store_signature(signature: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a signature of scores that a stored score depends on.

    Args:
        signature: Signature of scores, or a store signature, which stays as it is.

    Raises:
        InputError: It is not a signature of scores: it does not state the weights.
    """
    if not isinstance(signature.get("scoring"), Mapping) or not signature.get("weights"):
        raise InputError(
            "The signature does not state the weights and the scoring. Expected the signature of "
            "a table of scores."
        )
    kept = {key: value for key, value in signature.items() if key not in NOT_IN_STORE}
    scoring = signature["scoring"]
    return kept | {
        "scoring": {key: scoring[key] for key in scoring if key not in SCORING_NOT_IN_STORE}
    }


def digest_signature(signature: Mapping[str, Any]) -> str:
    """SHA-256 of the store signature of a signature, which names its folder.

    Raises:
        InputError: It is not a signature of scores.
    """
    return hashlib.sha256(canonical_json(store_signature(signature)).encode()).hexdigest()


def make_contig_key(refget: str, *, circular: bool) -> str:
    """The name of a contig in a store.

    Args:
        refget: Refget accession of its sequence, ``SQ.`` and 32 characters.
        circular: Whether the contig is circular.
    """
    return f"{refget}.circular" if circular else refget


@dataclass(frozen=True, slots=True)
class StoredContig:
    """The files of a contig in a store.

    Attributes:
        contig: Its key, see :func:`make_contig_key`.
        files: Number of files.
        rows: Number of rows; before a compaction, an allele may have several.
        num_bytes: Size of the files.
    """

    contig: str
    files: int
    rows: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class StoredSignature:
    """What a store has of a signature.

    Attributes:
        digest: SHA-256 of the store signature.
        signature: The store signature; None if its file is missing or damaged.
        version: Version of the package that made the folder; None likewise.
        contigs: The contigs, in the order of their keys.
    """

    digest: str
    signature: Mapping[str, Any] | None
    version: str | None
    contigs: tuple[StoredContig, ...]


@dataclass(frozen=True, slots=True)
class StoreDescription:
    """What a store has.

    Attributes:
        signatures: The signatures, in the order of their digests.
        models: All model records.
    """

    signatures: tuple[StoredSignature, ...]
    models: tuple[ModelRecord, ...]


def find_candidates(
    described: StoreDescription,
    signature: Mapping[str, Any],
    key: ModelKey | None = None,
    *,
    all_models: bool = False,
) -> list[StoredSignature]:
    """The signatures of a store that may be those of a model which the store does not know.

    `store add` stores the scores of tables, which do not state the files of their model; and the
    files of a known model may have other names or another format. Only opening the model shows
    which of these signatures are its own.

    Args:
        described: What the store has.
        signature: Signature of scores of the model, with any weights and FP8 mode.
        key: By which files the model would be known, if that has been computed.
        all_models: Whether to give the signatures of models that are known by other files too.

    Returns:
        The signatures that have the same settings: first those of a model that is known by the same
        files under other names, then those of models that are not known, then those of other known
        models; of these, those with most rows first.
    """
    wanted = store_signature(signature)
    files = set() if key is None else {*key.files.values()}
    by_weights: dict[str, list[set[str]]] = {}
    for record in described.models:
        by_weights.setdefault(record.weights, []).append({*record.key.files.values()})

    def rank(one: StoredSignature) -> tuple[int, int]:
        known = by_weights.get(str((one.signature or {}).get("weights")), [])
        kind = 0 if files in known else 2 if known else 1
        return kind, -sum(contig.rows for contig in one.contigs)

    candidates = [
        one
        for one in described.signatures
        if one.signature is not None
        and {**one.signature, "weights": wanted["weights"], "fp8": wanted["fp8"]} == wanted
        and (all_models or rank(one)[0] < 2)
    ]
    return sorted(candidates, key=rank)


class Store:
    """A score store.

    Args:
        path: Its folder. A missing folder is an empty store; the first write makes it.

    Raises:
        InputError: The path is not a folder, or the folder cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            next(path.iterdir(), None)
        except FileNotFoundError:
            return
        except OSError as error:
            remedy = (
                "Ask its owner for permission to read it."
                if isinstance(error, PermissionError)
                else "Expected a folder; a missing one is made."
            )
            what = f"{shown_path(path)}: the score store cannot be read: {first_line(error)}"
            raise InputError(f"{what}. {remedy}") from error

    def lookup(
        self,
        signature: Mapping[str, Any],
        contig_key: str,
        alleles: pa.Table,
        strands: Sequence[Strand],
        device: str | None = None,
    ) -> pa.Table:
        """Find the scores of alleles of a contig.

        Only those files and row groups are read whose positions are those of the alleles. A file
        that is damaged or does not belong to its folder is one warning, and its rows are missing.

        If the store has several rows of an allele, the choice depends on their values alone: the
        first kind of device in alphabetical order that has all asked strands, else for each strand
        the first that has it; of several rows of this device the smallest values, column by column.

        Args:
            signature: Signature of scores, or a store signature.
            contig_key: Key of the contig, see :func:`make_contig_key`.
            alleles: The columns of :func:`~evo2_tasks.table.store_rows.keys_schema`, in any order
                of the rows. A row with a null is not found.
            strands: The strands to find.
            device: Kind of device that must have computed the scores; None for any.

        Returns:
            For each row of ``alleles``, in order, the columns of
            :func:`~evo2_tasks.table.store_rows.found_schema`. The columns of a strand are null if
            the store does not have it; ``llr`` of a strand is null then, and only then.

        Raises:
            InputError: It is not a signature of scores.
        """
        place = _find_place(signature, contig_key)
        queries = Queries(alleles)
        found = find_rows(self.path, place, queries, strands)
        return choose_rows(queries, found, strands, device)

    def lookup_by_device(
        self,
        signature: Mapping[str, Any],
        contig_key: str,
        alleles: pa.Table,
        strands: Sequence[Strand],
    ) -> dict[str, pa.Table]:
        """Find the scores of alleles of a contig for each kind of device that has some of them.

        Args:
            signature: Signature of scores, or a store signature.
            contig_key: Key of the contig, see :func:`make_contig_key`.
            alleles: As for :meth:`lookup`.
            strands: The strands to find.

        Returns:
            By kind of device, in alphabetical order, what :meth:`lookup` returns for it.

        Raises:
            InputError: It is not a signature of scores.
        """
        queries = Queries(alleles)
        found = find_rows(self.path, _find_place(signature, contig_key), queries, strands)
        kinds = pc.unique(found.rows.column(DEVICE)).to_pylist()
        return {kind: choose_rows(queries, found, strands, kind) for kind in sorted(kinds)}

    def write(self, signature: Mapping[str, Any], contig_key: str, rows: pa.Table) -> int:
        """Store scores of alleles of a contig.

        A strand with a value that is not finite is not stored.

        Args:
            signature: Signature of scores, or a store signature.
            contig_key: Key of the contig, see :func:`make_contig_key`.
            rows: The columns of :func:`~evo2_tasks.table.store_rows.store_schema`, in any order of
                the rows. Rows without scores are left out.

        Returns:
            Number of rows that were stored.

        Raises:
            InputError: It is not a signature of scores, or the store cannot be written.
            ValueError: A row with scores has no key or no device.
        """
        place = _find_place(signature, contig_key)
        merged = merge_rows(rows)
        num_rows: int = merged.num_rows
        if num_rows:
            self._state_signature(signature, place)
            with StoreWriter(self.path, place) as writer:
                writer.add(merged)
                writer.finish()
        return num_rows

    def compact(self) -> Compaction:
        """Merge files that overlap or are small, and keep one row for each allele and device kind.

        Others may read and write the store at the same time. A lookup finds the same scores as
        before. A damaged file is one warning, and is left as it is.

        Raises:
            InputError: The store cannot be read or written.
        """
        done = [compact_place(self.path, place) for place in self._places()]
        return Compaction(
            files_before=sum(one.files_before for one in done),
            files_after=sum(one.files_after for one in done),
            rows_before=sum(one.rows_before for one in done),
            rows_after=sum(one.rows_after for one in done),
        )

    def describe(self) -> StoreDescription:
        """What the store has, from the names and sizes of its files, without opening them.

        Raises:
            InputError: The store cannot be read.
        """
        by_signature: dict[str, list[StoredContig]] = {}
        for place in self._places():
            files = list_files(place.folder(self.path))
            of_signature = by_signature.setdefault(place.signature, [])
            if files:
                of_signature.append(
                    StoredContig(
                        place.contig,
                        files=len(files),
                        rows=sum(name.rows for name in files),
                        num_bytes=sum(map(_size, files.values())),
                    )
                )
        signatures = [
            StoredSignature(digest, *self._read_signature(digest), tuple(contigs))
            for digest, contigs in by_signature.items()
        ]
        return StoreDescription(tuple(signatures), list_models(self.path))

    def signature(self, digest: str) -> Mapping[str, Any] | None:
        """The store signature with a digest; None if its file is missing or damaged."""
        return self._read_signature(digest)[0]

    def _places(self) -> Iterator[Place]:
        """The folders of rows, sorted. Other names in a folder are one warning."""
        foreign = []
        for folder in list_folder(self.path):
            found = _SIGNATURE_FOLDER.fullmatch(folder.name)
            if found is None:
                if folder.name != MODELS:
                    foreign.append(folder.name)
                continue
            for inner in list_folder(folder):
                contig = inner.name.removeprefix("contig=")
                if CONTIG_KEY.fullmatch(contig) and inner.name != contig:
                    yield Place(found[1], contig)
                elif inner.name != _SIGNATURE_FILE:
                    warn_once(inner, "is not a folder of a score store", NOT_USED)
        if foreign:
            has = f"has other files or folders than a score store: {shown(', '.join(foreign), 100)}"
            warn_once(self.path, has, "They are not used. Check that the path is that of a store.")

    def _read_signature(self, digest: str) -> tuple[Mapping[str, Any] | None, str | None]:
        """Store signature and package version of a folder; None if they are damaged."""
        path = self.path / f"signature={digest}" / _SIGNATURE_FILE
        try:
            stated = SignatureFile.read(path)
            if digest_signature(stated.signature) != digest:
                raise InputError("it states another signature than the name of its folder")
        except InputError as error:
            remedy = "Remove it: the next scores of this signature write it again."
            warn_once(path, error, remedy)
            return None, None
        return stated.signature, stated.version

    def _state_signature(self, signature: Mapping[str, Any], place: Place) -> None:
        """Write the file with the signature, unless it is there."""
        path = self.path / f"signature={place.signature}" / _SIGNATURE_FILE
        with writing(path):
            is_stated = path.exists()
        if not is_stated:
            stated = SignatureFile(signature=store_signature(signature), version=package_version())
            stated.write(path)


class SignatureFile(Document):
    """``signature.json``: the signature that the folder's name is the digest of.

    Attributes:
        signature: The store signature.
        version: Version of the package that made the folder.
    """

    signature: dict[str, JsonValue]
    version: str


def _find_place(signature: Mapping[str, Any], contig_key: str) -> Place:
    if CONTIG_KEY.fullmatch(contig_key) is None:
        raise ValueError(f"{contig_key!r} is not the key of a contig")
    return Place(digest_signature(signature), contig_key)


def _size(path: Path) -> int:
    """Size of a file in bytes; 0 if it was removed."""
    with suppress(OSError):
        return path.stat().st_size
    return 0
