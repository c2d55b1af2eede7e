"""The step ``index``: the index of an exported VCF.

It is a step of its own because Snakemake sets the time of a job's declared outputs when the job has
ended. An index that the same job made would be older than the VCF, and htslib would warn at each
use.
"""

import logging
from pathlib import Path

from evo2_tasks.errors import InputError
from evo2_tasks.exports.vcf_index import index_vcf
from evo2_tasks.io.files import replace_atomically, writing
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import INDEX_KINDS, NO_INDEX

logger = logging.getLogger(__name__)


def index(vcf: Path, *, out: Path | None = None) -> None:
    """Make the index of an exported VCF, next to it, if its records are sorted.

    Args:
        vcf: The file from ``export``, compressed with bgzip.
        out: A file that states the name of the index, or that there is none. A name that ends with
            ``.tbi`` or ``.csi`` is the index itself. Default: no file besides the index.

    Raises:
        InputError: The file cannot be read, has no index of the kind of ``out``, or ``out`` cannot
            be written.
    """
    made = index_vcf(vcf)
    if made is not None:
        logger.info("%s: written", shown_path(made))
    if out is None:
        return
    if out.suffix.removeprefix(".") in INDEX_KINDS:
        if made is None or made.absolute() != out.absolute():
            found = "none" if made is None else shown_path(made)
            raise InputError(
                f"{shown_path(out)}: is not the index of {shown_path(vcf)}, which has {found}. "
                "Run the workflow again."
            )
        return
    with replace_atomically(out) as temporary, writing(out):
        temporary.write_text(f"{NO_INDEX if made is None else made.name}\n", encoding="utf-8")
