"""The commands ``store stat`` and ``store compact``: what a score store has, and fewer files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from evo2_tasks.commands.aligned_text import flatten, format_pairs
from evo2_tasks.errors import InputError
from evo2_tasks.exports.tsv import escape_text
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import counted, find_near, shown, shown_path
from evo2_tasks.table.store import Store, StoreDescription, StoredSignature
from evo2_tasks.table.store_compaction import Compaction, choose_groups, compact_place
from evo2_tasks.table.store_files import (
    DamagedFileError,
    FileName,
    GoneError,
    Place,
    list_files,
    open_store_file,
    warn_once,
)

CIRCULAR: Final = ".circular"
"""What follows the accession in the key of a circular contig."""

SHORT_DIGITS: Final = 12
"""Digits of a signature that are shown; enough to name it."""

MOST_CONTIGS: Final = 100
"""Contigs of a signature that are listed on a terminal."""

HEX: Final = frozenset("0123456789abcdef")


def short_digest(digest: str) -> str:
    """The first digits of a signature's digest, by which commands name it."""
    return digest[:SHORT_DIGITS]


def names_of_models(described: StoreDescription) -> dict[str, tuple[str, ...]]:
    """Names of the models by the digest of their weights, as the store's records state them."""
    names: dict[str, set[str]] = {}
    for record in described.models:
        names.setdefault(record.weights, set()).add(record.name)
    return {weights: tuple(sorted(of_weights)) for weights, of_weights in names.items()}


def weights_of(signature: StoredSignature) -> str:
    """The digest of the weights of a signature; empty if its file is damaged."""
    return str((signature.signature or {}).get("weights", ""))


def name_models(names: Sequence[str]) -> str:
    """The names of a model as text."""
    return ", ".join(map(escape_text, names)) or "of unknown name"


def describe_empty(store: Path) -> str:
    """The message for a store that has no scores."""
    why = "has no scores" if store.exists() else "does not exist"
    return (
        f"{shown_path(store)}: the score store {why}. A run with `run.store` fills it, and so does "
        "`evo2-tasks store add`."
    )


def find_signature(store: Path, described: StoreDescription, prefix: str) -> StoredSignature:
    """The only signature of a store that begins with some digits.

    Args:
        store: Folder of the store, for messages.
        described: What the store has.
        prefix: The first digits.

    Raises:
        InputError: None begins with them, or several do.
    """
    known = [one for one in described.signatures if one.signature is not None]
    if not known:
        raise InputError(describe_empty(store))
    digits = prefix.strip().lower()
    found = [one for one in known if digits and one.digest.startswith(digits)]
    if len(found) == 1:
        return found[0]
    listed = [short_digest(one.digest) for one in known]
    if found:
        longer = ", ".join(_tell_apart([one.digest for one in found]))
        raise InputError(
            f"--signature: {shown(prefix)} begins {len(found)} signatures of "
            f"{shown_path(store)}: {shown(longer, 400)}. Give more digits."
        )
    if not digits or not HEX.issuperset(digits):
        raise InputError(
            f"--signature: '{shown(prefix)}' is not the beginning of a signature; expected digits "
            f"0-9 and a-f, for example {listed[0]}. `evo2-tasks store stat` lists the signatures."
        )
    near = find_near(digits[:SHORT_DIGITS], listed)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise InputError(
        f"--signature: {shown_path(store)} has no signature that begins with {shown(prefix)}."
        f"{hint} It has: {shown(', '.join(listed), 400)}."
    )


def _tell_apart(digests: list[str]) -> list[str]:
    """The digests cut to as many digits as tell them apart, at least those that are shown."""
    length = SHORT_DIGITS
    while len({digest[:length] for digest in digests}) < len(digests):
        length += 1
    return [digest[:length] for digest in digests]


# --- stat


def stat(store: Path) -> dict[str, Any]:
    """What a store has, from the names and the footers of its files.

    Args:
        store: Folder of the store.

    Returns:
        JSON values: for each signature its settings, the names of its model, the kinds of devices,
        and the numbers of rows, files and bytes of each contig.

    Raises:
        InputError: The store has no scores, or cannot be read.
    """
    described = Store(store).describe()
    if not described.signatures:
        raise InputError(describe_empty(store))
    names = names_of_models(described)
    with Progress("store stat", total=_count_files(described.signatures), unit="files") as progress:
        signatures = [
            _describe_signature(store, one, names, progress) for one in described.signatures
        ]
    return {
        "store": str(store),
        **{key: sum(one[key] for one in signatures) for key in ("rows", "files", "bytes")},
        "signatures": signatures,
    }


def _count_files(signatures: Iterable[StoredSignature]) -> int:
    return sum(contig.files for one in signatures for contig in one.contigs)


def _describe_signature(
    store: Path,
    one: StoredSignature,
    names: Mapping[str, tuple[str, ...]],
    progress: Progress,
) -> dict[str, Any]:
    """What a store has of a signature."""
    contigs, devices = [], set[str]()
    for contig in one.contigs:
        place = Place(one.digest, contig.contig)
        files = list_files(place.folder(store))
        devices |= _read_devices(place, files, progress)
        contigs.append(
            {
                "refget": contig.contig.removesuffix(CIRCULAR),
                "circular": contig.contig.endswith(CIRCULAR),
                "rows": contig.rows,
                "files": contig.files,
                "files_to_merge": sum(map(len, choose_groups(files))),
                "bytes": contig.num_bytes,
            }
        )
    sums = ("rows", "files", "files_to_merge", "bytes")
    return {
        "signature": one.digest,
        "models": list(names.get(weights_of(one), ())),
        "version": one.version,
        "devices": sorted(devices),
        **{key: sum(contig[key] for contig in contigs) for key in sums},
        "settings": one.signature,
        "contigs": contigs,
    }


def _read_devices(place: Place, files: Mapping[FileName, Path], progress: Progress) -> set[str]:
    """The kinds of devices of the rows of files, as their footers state them."""
    devices: set[str] = set()
    for name, path in files.items():
        try:
            with open_store_file(path, name, place) as file:
                devices.update(file.devices)
        except DamagedFileError as error:
            warn_once(path, str(error))
        except GoneError:  # a compaction has put its rows into another file
            pass
        progress.add(1)
    return devices


def describe_stat(found: Mapping[str, Any]) -> Iterator[str]:
    """The result of :func:`stat` as text."""
    yield (
        f"{shown_path(found['store'])}: {counted(found['rows'], 'row')} in "
        f"{counted(found['files'], 'file')}, {format_bytes(found['bytes'])}"
    )
    for one in found["signatures"]:
        yield ""
        yield f"signature {short_digest(one['signature'])}"
        yield from format_pairs(
            {
                "model": name_models(one["models"]),
                "rows": f"{one['rows']:,}",
                "contigs": f"{len(one['contigs']):,}",
                "files": f"{one['files']:,}, {format_bytes(one['bytes'])}",
                "compaction": _advise(one["files_to_merge"]),
                "devices": ", ".join(map(escape_text, one["devices"])) or "none",
                "version": escape_text(one["version"]) if one["version"] else "unknown",
                **flatten("", one["settings"] or {}),
            }
        )
        for contig in one["contigs"][:MOST_CONTIGS]:
            topology = "circular" if contig["circular"] else "linear"
            yield (
                f"    {contig['refget']}  {topology}  {counted(contig['rows'], 'row')} in "
                f"{counted(contig['files'], 'file')}, {format_bytes(contig['bytes'])}"
            )
        if len(one["contigs"]) > MOST_CONTIGS:
            more = len(one["contigs"]) - MOST_CONTIGS
            yield f"    {counted(more, 'more contig')}; --json lists all"


def _advise(files_to_merge: int) -> str:
    if not files_to_merge:
        return "not needed"
    return f"useful: {counted(files_to_merge, 'file')} can be merged"


def format_bytes(num_bytes: int) -> str:
    """A size in a unit of powers of 1,000."""
    size, unit = float(num_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} B" if unit == "B" else f"{size:.3g} {unit}"


# --- compact


def compact(store: Path, *, signature: str | None = None) -> Compaction:
    """Merge the files of a store that overlap or are small.

    Others may read and write the store at the same time. If it is interrupted, the store is
    complete, and the next compaction goes on.

    Args:
        store: Folder of the store.
        signature: The first digits of the only signature to compact. Default: all.

    Returns:
        Numbers of files and rows, before and after.

    Raises:
        InputError: The store has no scores, has no such signature, or cannot be written.
    """
    described = Store(store).describe()
    if not described.signatures:
        raise InputError(describe_empty(store))
    chosen = described.signatures
    if signature is not None:
        chosen = (find_signature(store, described, signature),)
    done = []
    with Progress("store compact", total=_count_files(chosen), unit="files") as progress:
        for one in chosen:
            for contig in one.contigs:
                done.append(compact_place(store, Place(one.digest, contig.contig)))
                progress.add(contig.files)
    return Compaction(
        files_before=sum(one.files_before for one in done),
        files_after=sum(one.files_after for one in done),
        rows_before=sum(one.rows_before for one in done),
        rows_after=sum(one.rows_after for one in done),
    )


def describe_compaction(store: Path, done: Compaction) -> str:
    """The result of :func:`compact` as text."""
    return (
        f"{shown_path(store)}: {counted(done.files_before, 'file')} with "
        f"{counted(done.rows_before, 'row')} before, {counted(done.files_after, 'file')} with "
        f"{counted(done.rows_after, 'row')} now"
    )
