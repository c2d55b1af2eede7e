"""What all tests share."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
import yaml
from hypothesis import settings

from evo2_tasks import Evo2Config, Evo2ForCausalLM
from evo2_tasks.table.parquet import TableWriter

# A slow or busy machine is no failure: time is measured in benchmarks, not in tests.
settings.register_profile("evo2-tasks", deadline=None)
settings.load_profile("evo2-tasks")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--known-failures", type=Path, help="YAML: tests that fail, and why")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the tests fail that the file of known failures names; those that pass then are errors."""
    file = config.getoption("known_failures")
    if file is None:
        return
    known = yaml.safe_load(file.read_text(encoding="utf-8"))
    tests = {item.nodeid: item for item in items}
    for name, reason in known.items():
        if name not in tests:
            raise pytest.UsageError(f"{file}: {name}: no such test among those that run.")
        if not isinstance(reason, str) or not reason.strip():
            raise pytest.UsageError(f"{file}: {name}: expected the reason why it fails.")
        tests[name].add_marker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.fixture(autouse=True)
def _nan_is_in_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table that a test writes has null, never NaN, which DuckDB does not find in a file.

    Parts of unfinished jobs may have it. Their columns have no description.
    """
    write = TableWriter.write

    def write_checked(writer: TableWriter, rows: pa.Table | pa.RecordBatch) -> None:
        described = [field.name for field in writer.schema if field.metadata]
        assert not [name for name in described if has_nan(rows.column(name))]
        write(writer, rows)

    monkeypatch.setattr(TableWriter, "write", write_checked)


def has_nan(column: pa.Array | pa.ChunkedArray) -> bool:
    """Whether a column of numbers, or of lists of numbers, has NaN."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return has_nan(pc.list_flatten(column))
    if not pa.types.is_floating(kind):
        return False
    # There is no is_nan for float16.
    return bool(pc.any(pc.is_nan(column.cast(pa.float64()))).as_py())


@pytest.fixture(scope="session")
def small_model() -> Evo2ForCausalLM:
    """A model with each operator once, whose random weights are large enough to matter."""
    torch.manual_seed(5)
    config = Evo2Config(
        hidden_size=16,
        intermediate_size=24,
        num_attention_heads=2,
        operators=["hyena_se", "hyena_mr", "hyena_li", "attention"],
        hyena_se_groups=4,
        hyena_mr_groups=4,
        initializer_range=0.3,
    )
    return Evo2ForCausalLM(config).eval()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, small_model: Evo2ForCausalLM) -> Path:
    """The small model in a folder that all tests share; one that changes it saves its own."""
    folder = tmp_path_factory.mktemp("checkpoint")
    small_model.save_pretrained(folder)
    return folder
