from __future__ import annotations

import re
import subprocess
import sys

from evo2_tasks.table.docs import columns_page
from evo2_tasks.table.schema import FLAGS, SCORES_VERSION, STATUSES, final_schema


def test_the_page_has_every_column_status_and_flag():
    rows = re.findall(r"^\| `([^`]+)` \|", columns_page(), re.MULTILINE)
    assert set(rows) >= {*final_schema().names, *STATUSES, *FLAGS}
    assert f"`scores_version` is {SCORES_VERSION}." in columns_page()


def test_the_page_is_printed_by_its_module():
    done = subprocess.run(
        [sys.executable, "-m", "evo2_tasks.table.docs"], capture_output=True, check=True
    )
    assert done.stdout.decode() == columns_page()
