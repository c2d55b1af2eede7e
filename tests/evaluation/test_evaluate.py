"""The program that evaluates the scores of the demo variants, from files to files."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from evo2_tasks import Evo2ForCausalLM
from training import evaluate
from training.evaluate import LOCUS, MARKOV, MITOTIP, Variants, read_variants
from training.markov import as_bases
from training.train import read_recipe

ROOT = Path(__file__).parent.parent.parent
WINDOWS = {"mini-2k": 2048, "mini-512": 512}


@pytest.fixture(scope="module")
def variants() -> Variants:
    return read_variants(ROOT / "data" / "mitomap.vcf.gz")


@pytest.fixture(scope="module")
def llr(variants: Variants) -> np.ndarray:
    return np.random.default_rng(1).normal(size=len(variants.pos)) - 1.5 * variants.is_pathogenic


def write_scores(path: Path, variants: Variants, llr: np.ndarray, window_length: int) -> None:
    """A table as the workflow writes it, in another order, with a row of its own."""
    order = np.random.default_rng(2).permutation(len(llr))
    columns = {
        "contig": pa.array(variants.contig[order]).dictionary_encode(),
        "pos": variants.pos[order],
        "ref": variants.ref[order],
        "alt": variants.alt[order],
        "status": ["scored" if np.isfinite(one) else "too_many_n" for one in llr[order]],
        "llr": pa.array(llr[order], from_pandas=True),
        "llr_fwd": pa.array(llr[order] + 0.1, from_pandas=True),
        "llr_rev": pa.array(llr[order] - 0.1, from_pandas=True),
    }
    metadata = {
        "evo2_tasks.signature": json.dumps(
            {"scores_version": 1, "reference": "", "scoring": {"window_length": window_length}}
        ),
        "evo2_tasks.version": "0",
        "evo2_tasks.order": "input",
    }
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)


@pytest.fixture(scope="module")
def folder(variants: Variants, llr: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two score tables, and a corpus with one training and one validation sequence in a group."""
    folder = tmp_path_factory.mktemp("evaluate")
    shutil.copy(ROOT / "data" / "rCRS.fa", folder)  # its index is written beside it
    write_scores(folder / "mini-2k.parquet", variants, llr, 2048)
    worse = llr + np.random.default_rng(3).normal(size=len(llr))
    worse[:4] = np.nan
    write_scores(folder / "mini-512.parquet", variants, worse, 512)
    bases = np.random.default_rng(4).choice(as_bases("ACGT"), 30_000)
    np.save(folder / "bases.npy", bases)
    rows = [
        "name\tgroup\tstart\tlength\tcircular\tcluster\tsplit\tvalidation_start\tsha512t24u",
        "one\tmito_mammals\t0\t20000\t1\t0\ttraining\t\t-",
        "two\tmito_mammals\t20000\t10000\t1\t1\tvalidation\t\t-",
    ]
    (folder / "sequences.tsv").write_text("\n".join(rows) + "\n")
    return folder


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    command = [
        *("evaluate.py", "--corpus", str(folder), "--out", str(folder / "out")),
        *("--reference", str(folder / "rCRS.fa")),
        *("--variants", str(ROOT / "data" / "mitomap.vcf.gz")),
        *("--markov-order", "3", "--num-resamples", "60"),
        *("--scores", *(f"{name}={folder / name}.parquet" for name in WINDOWS)),
        *arguments,
    ]
    monkeypatch.setattr(sys, "argv", command)
    evaluate.main()


@pytest.fixture(scope="module")
def written(folder: Path) -> dict:
    with pytest.MonkeyPatch.context() as monkeypatch:
        run(folder, monkeypatch)
    return json.loads((folder / "out" / "evaluation.json").read_text())


def find(written: dict, score: str, rows: str, metric: str = "auroc") -> dict:
    (found,) = (
        one
        for one in written["estimates"]
        if (one["score"], one["rows"], one["metric"]) == (score, rows, metric)
    )
    return found


def test_the_demo_is_what_its_page_says(variants: Variants) -> None:
    assert (len(variants.pos), variants.is_pathogenic.sum()) == (1013, 52)
    is_trna = variants.locus == "tRNA"
    assert (is_trna & variants.is_pathogenic).sum() == 34
    assert np.isfinite(variants.mitotip[is_trna]).all()


def test_tables_are_joined_by_variant_and_their_sign_is_turned(
    written: dict, variants: Variants, llr: np.ndarray
) -> None:
    expected = roc_auc_score(variants.is_pathogenic, -llr)
    assert expected > 0.8
    found = find(written, "mini-2k both", "all")
    assert found["value"] == pytest.approx(expected)
    assert found["low"] < expected < found["high"]
    assert found["num_groups"] == 981  # positions
    is_trna = variants.locus == "tRNA"
    assert find(written, "mini-2k both", "tRNA")["value"] == pytest.approx(
        roc_auc_score(variants.is_pathogenic[is_trna], -llr[is_trna])
    )
    assert find(written, "mini-2k forward and reverse", "all", "spearman")["value"] == 1


def test_baselines_that_need_no_training_have_their_known_metrics(written: dict) -> None:
    assert find(written, LOCUS, "all")["value"] == pytest.approx(0.824, abs=0.0005)
    assert find(written, LOCUS, "within classes")["value"] == 0.5
    assert find(written, MITOTIP, "tRNA")["value"] == pytest.approx(0.983, abs=0.0005)
    within = find(written, MARKOV, "within classes")
    assert (within["num_positive"], within["num_negative"]) == (52, 62 + 645)


def test_unscored_variants_are_counted(written: dict, folder: Path) -> None:
    assert find(written, "mini-512 both", "all")["num_unscored"] == 4
    (difference,) = (
        one
        for one in written["differences"]
        if (one["first_score"], one["second_score"], one["rows"]) == ("mini-512 both", LOCUS, "all")
    )
    assert difference["num_unscored"] == 4
    assert difference["second"]["num_rows"] == 1009
    text = (folder / "out" / "evaluation.md").read_text()
    assert "mini-512: 4 have no score: too_many_n 4." in text


def test_the_page_has_a_line_for_each_window_and_baseline(written: dict, folder: Path) -> None:
    text = (folder / "out" / "evaluation.md").read_text()
    assert text.index("| 512 | both |") < text.index("| 2,048 | both |")
    assert "52 of them pathogenic" in text
    assert "tRNA 34 and 62, coding 18 and 645" in text
    for line in ("| locus class | 0.824 [", "| MitoTIP | 0.983 [", "| within classes | 2,048 | +"):
        assert line in text
    for name in ("roc.svg", "auroc_by_window.svg"):
        assert (folder / "out" / name).read_text().startswith("<?xml")


def test_two_runs_write_the_same_bytes(
    written: dict, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file.name: file.read_bytes() for file in (folder / "out").iterdir()}
    run(folder, monkeypatch)
    assert {file.name: file.read_bytes() for file in (folder / "out").iterdir()} == before


def test_bits_per_base_of_random_bases_are_two(
    folder: Path,
    small_model: Evo2ForCausalLM,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    small_model.save_pretrained(tmp_path)
    recipe = read_recipe(
        ROOT / "training" / "evo2-mini.yaml", ["window_length=2000", "batch_tokens=2000"]
    ).model_dump()
    facts = {"recipe": recipe, "final_validation": {"mito_mammals": 1.25}}
    (tmp_path / "training.json").write_text(json.dumps(facts))
    run(folder, monkeypatch, "--model", str(tmp_path))
    bits = json.loads((folder / "out" / "evaluation.json").read_text())["bits_per_base"]
    assert bits["mito_mammals"]["model"] == 1.25
    assert bits["mito_mammals"]["markov"] == pytest.approx(2, abs=0.02)
    # Chance is 9 bits, one token of 512; random weights are worse.
    assert 5 < bits["rCRS"]["model"] < 30
    run(folder, monkeypatch, "--model", str(tmp_path), "--run-model")
    again = json.loads((folder / "out" / "evaluation.json").read_text())["bits_per_base"]
    assert again["rCRS"] == bits["rCRS"]
    assert 5 < again["mito_mammals"]["model"] < 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--markov-group", "fungi"], "--markov-group: fungi is not in the corpus"),
        (["--variants", "nowhere.vcf"], "nowhere.vcf: cannot be read"),
        (["--model", "nowhere"], "training.json"),
    ],
)
def test_a_mistake_is_one_line(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as end:
        run(folder, monkeypatch, *arguments)
    assert end.value.code == 2
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_variant_without_a_row_is_an_error(
    folder: Path, variants: Variants, llr: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = Variants(*(getattr(variants, name)[5:] for name in Variants.__dataclass_fields__))
    write_scores(folder / "fewer.parquet", fewer, llr[5:], 512)
    with pytest.raises(evaluate.InputError, match="lacks 5 of the variants"):
        evaluate.read_score_table("fewer", folder / "fewer.parquet", variants)
