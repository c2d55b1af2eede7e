"""Consequences of alleles as terms of the Sequence Ontology, and their order of severity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

INTERGENIC: Final = "intergenic_variant"

SEVERITY: Final = (
    "transcript_ablation",
    "splice_acceptor_variant",
    "splice_donor_variant",
    "stop_gained",
    "frameshift_variant",
    "stop_lost",
    "start_lost",
    "transcript_amplification",
    "feature_elongation",
    "feature_truncation",
    "inframe_insertion",
    "inframe_deletion",
    "missense_variant",
    "protein_altering_variant",
    "splice_donor_5th_base_variant",
    "splice_region_variant",
    "splice_donor_region_variant",
    "splice_polypyrimidine_tract_variant",
    "incomplete_terminal_codon_variant",
    "start_retained_variant",
    "stop_retained_variant",
    "synonymous_variant",
    "coding_sequence_variant",
    "mature_miRNA_variant",
    "5_prime_UTR_variant",
    "3_prime_UTR_variant",
    "non_coding_transcript_exon_variant",
    "intron_variant",
    "NMD_transcript_variant",
    "non_coding_transcript_variant",
    "coding_transcript_variant",
    "upstream_gene_variant",
    "downstream_gene_variant",
    "TFBS_ablation",
    "TFBS_amplification",
    "TF_binding_site_variant",
    "regulatory_region_ablation",
    "regulatory_region_amplification",
    "regulatory_region_variant",
    INTERGENIC,
    "sequence_variant",
)
"""Terms of Ensembl's VEP, the most severe first.

Source:
    Ensembl Variation, Calculated variant consequences, release 115.
"""

RANKS: Final[Mapping[str, int]] = MappingProxyType(
    {term: rank for rank, term in enumerate(SEVERITY)}
)
"""The place of each term in the order of severity, from 0, the most severe."""

BCFTOOLS_TERMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "3_prime_utr": "3_prime_UTR_variant",
        "5_prime_utr": "5_prime_UTR_variant",
        "NMD_transcript": "NMD_transcript_variant",
        "coding_sequence": "coding_sequence_variant",
        "feature_elongation": "feature_elongation",
        "feature_truncation": "feature_truncation",
        "frameshift": "frameshift_variant",
        "inframe_altering": "protein_altering_variant",
        "inframe_deletion": "inframe_deletion",
        "inframe_insertion": "inframe_insertion",
        "intergenic": INTERGENIC,
        "intron": "intron_variant",
        "missense": "missense_variant",
        "non_coding": "non_coding_transcript_variant",
        "splice_acceptor": "splice_acceptor_variant",
        "splice_donor": "splice_donor_variant",
        "splice_region": "splice_region_variant",
        "start_lost": "start_lost",
        "start_retained": "start_retained_variant",
        "stop_gained": "stop_gained",
        "stop_lost": "stop_lost",
        "stop_retained": "stop_retained_variant",
        "synonymous": "synonymous_variant",
    }
)
"""The terms of ``bcftools csq`` 1.24, each with its term of the Sequence Ontology."""


SPECIFIC_TERMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "3_prime_UTR_truncation": "3_prime_UTR_variant",
        "5_prime_UTR_premature_start_codon_gain_variant": "5_prime_UTR_variant",
        "5_prime_UTR_truncation": "5_prime_UTR_variant",
        "conservative_inframe_deletion": "inframe_deletion",
        "conservative_inframe_insertion": "inframe_insertion",
        "conserved_intergenic_variant": INTERGENIC,
        "conserved_intron_variant": "intron_variant",
        "disruptive_inframe_deletion": "inframe_deletion",
        "disruptive_inframe_insertion": "inframe_insertion",
        "exon_loss_variant": "feature_truncation",
        "feature_ablation": "transcript_ablation",
        "initiator_codon_variant": "start_retained_variant",
        "intergenic_region": INTERGENIC,
        "miRNA": "mature_miRNA_variant",
        "nc_transcript_variant": "non_coding_transcript_variant",
        "non_canonical_start_codon": "start_retained_variant",
        "non_coding_exon_variant": "non_coding_transcript_exon_variant",
        "splice_branch_variant": "intron_variant",
        "start_retained": "start_retained_variant",
    }
)
"""Terms of SnpEff and of older versions of VEP that are not in ``SEVERITY``, each with the term of
it that has the same or a wider meaning."""


@dataclass(frozen=True, slots=True)
class Consequence:
    """What an allele does to the genes that it overlaps; all values are null if it is not known.

    Attributes:
        consequence: The most severe term of all transcripts; ``intergenic_variant`` if the allele
            overlaps no transcript.
        consequences: The distinct terms of all transcripts, sorted.
        gene: Name of the gene of ``transcript``; its identifier if it has no name.
        gene_id: Identifier of that gene.
        transcript: Identifier of the transcript with ``consequence``. Of several, the one with the
            tag MANE Select or canonical, then the one with the longest coding sequence, then the
            first by identifier.
        transcript_strand: ``+`` or ``-``.
        amino_acids: The change of the protein of ``transcript``, for example ``W24R``.
    """

    consequence: str | None = None
    consequences: tuple[str, ...] | None = None
    gene: str | None = None
    gene_id: str | None = None
    transcript: str | None = None
    transcript_strand: str | None = None
    amino_acids: str | None = None


def severity(term: str) -> tuple[int, str]:
    """Sort key of terms, the most severe first. Those that are not of ``SEVERITY`` come last."""
    return RANKS.get(term, len(RANKS)), term


def find_most_severe(terms: Iterable[str]) -> str:
    """The most severe of some terms."""
    return min(terms, key=severity)


def transcript_preference(
    *, is_selected: bool, cds_length: int, transcript: str
) -> tuple[bool, int, str]:
    """Sort key of transcripts with terms of one severity: the one to report comes first.

    Args:
        is_selected: Whether it has the tag MANE Select or canonical.
        cds_length: Number of its coding bases; 0 if it is not known.
        transcript: Its identifier.
    """
    return not is_selected, -cds_length, transcript
