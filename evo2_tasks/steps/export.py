"""The step ``export``: the table in another format."""

import logging
from pathlib import Path

from evo2_tasks.errors import InputError
from evo2_tasks.exports.bedgraph import export_bedgraph
from evo2_tasks.exports.tsv import export_tsv
from evo2_tasks.exports.vcf import export_vcf
from evo2_tasks.io.files import read_json

logger = logging.getLogger(__name__)


def export(table: Path, *, to: str, variants: Path | None, out: Path) -> None:
    """Write a table in another format.

    Args:
        table: The result of ``merge``.
        to: ``vcf``, ``tsv`` or ``bedgraph``.
        variants: For ``vcf``, the file that was scored; None is the one that ``run.json`` beside
            the table names. Its records, headers and samples are kept; where it was no VCF or
            BCF, the VCF has what the table has.
        out: The file to write.

    Raises:
        InputError: A file cannot be read or written, or the table is not of these variants.
    """
    if to == "tsv":
        logger.info("%s: %s rows", out, f"{export_tsv(table, out):,}")
        return
    if to == "bedgraph":
        logger.info("%s: %s positions", out, f"{export_bedgraph(table, out):,}")
        return
    run_json = table.with_name("run.json")
    read = read_json(run_json)["variants"] if run_json.exists() else {}
    if variants is None:
        if not read:
            raise InputError(
                f"{table}: no run.json beside it says from which variants it was made. "
                "Name them by --variants."
            )
        variants = Path(read["variants"])
    is_vcf = read.get("format", "vcf") in ("vcf", "bcf")
    done = export_vcf(
        table,
        out,
        variants=variants if is_vcf else None,
        is_part=read.get("regions") is not None,
    )
    logger.info("%s: %s records, %s with rows", out, f"{done.records:,}", f"{done.annotated:,}")
