"""The VRS identifiers of ga4gh.vrs, which the tests compare with those of the package."""

from __future__ import annotations

from typing import Protocol

from ga4gh.core import ga4gh_identify
from ga4gh.vrs import models
from ga4gh.vrs.dataproxy import _DataProxy
from ga4gh.vrs.normalize import normalize


class Sequences(Protocol):
    """The part of a reference that ga4gh.vrs needs."""

    contigs: dict[str, int]

    def fetch(self, contig: str, start: int, end: int) -> str: ...

    def refget_accession(self, contig: str) -> str: ...


class Proxy(_DataProxy):
    """A reference for ga4gh.vrs."""

    def __init__(self, reference: Sequences) -> None:
        self.reference = reference
        self.names = {f"ga4gh:{reference.refget_accession(c)}": c for c in reference.contigs}

    def get_sequence(
        self, identifier: str, start: int | None = None, end: int | None = None
    ) -> str:
        contig = self.names[identifier]
        length = self.reference.contigs[contig]
        return self.reference.fetch(contig, *slice(start, end).indices(length)[:2])

    def get_metadata(self, identifier: str) -> dict[str, object]:
        return {"length": self.reference.contigs[self.names[identifier]], "aliases": [identifier]}


def identify_by_library(reference: Sequences, contig: str, start: int, ref: str, alt: str) -> str:
    """What ga4gh.vrs computes.

    It must not be asked for the identifier before `normalize`, whose result would keep that one.
    """
    allele = models.Allele(
        location=models.SequenceLocation(
            sequenceReference=models.SequenceReference(
                refgetAccession=reference.refget_accession(contig)
            ),
            start=start,
            end=start + len(ref),
        ),
        state=models.LiteralSequenceExpression(sequence=alt),
    )
    found = ga4gh_identify(normalize(allele, Proxy(reference)))
    assert found is not None
    return found


def digest_by_library(
    accession: str, start: int, end: int, state: str | tuple[int, int]
) -> str | None:
    """What ga4gh.vrs computes for an allele that is normalized already.

    Args:
        accession: Refget accession of the sequence.
        start: Start of the allele, 0-based.
        end: End of the allele, 0-based and exclusive.
        state: Its bases; or their number, and the number of the bases that are repeated.
    """
    location = models.SequenceLocation(
        sequenceReference=models.SequenceReference(refgetAccession=accession), start=start, end=end
    )
    if isinstance(state, str):
        bases = models.LiteralSequenceExpression(sequence=state)
    else:
        length, subunit = state
        bases = models.ReferenceLengthExpression(length=length, repeatSubunitLength=subunit)
    return ga4gh_identify(models.Allele(location=location, state=bases))
