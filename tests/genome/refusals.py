"""Files of variants that are refused."""

from pathlib import Path
from typing import Any

import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.genome.variants import open_variants


def read_refusal(path: Path, **options: Any) -> str:
    """The message with which a file of variants is refused; it is one line.

    Args:
        path: The file.
        options: Arguments of `open_variants`.
    """
    with pytest.raises(InputError) as caught:
        list(open_variants(path, **options))
    message = str(caught.value)
    assert "\n" not in message
    return message
