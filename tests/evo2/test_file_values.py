"""What the files of a checkpoint ask for: no code is loaded and no network is reached."""

import json
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from evo2_tasks import Evo2Config, Evo2ForCausalLM, Evo2Tokenizer
from evo2_tasks.evo2.checkpoints import convert_published, load_model, read_config, weights_digest
from evo2_tasks.evo2.file_values import MAX_LAYERS

DOCS = Path(__file__).parents[2] / "docs" / "transformers.md"
CONFIG, GENERATION, TOKENIZER = "config.json", "generation_config.json", "tokenizer_config.json"
ADAPTER, INDEX = "adapter_config.json", "model.safetensors.index.json"
KERNEL = "some-owner/some-kernel"
REFUSED, IGNORED = "refused", "ignored"

# For each file and key: a value, what a scoring job does, and what `from_pretrained` does.
CASES: list[tuple[str, str, object, str, str]] = [
    (CONFIG, "attn_implementation", KERNEL, REFUSED, REFUSED),
    (CONFIG, "_attn_implementation", f"{KERNEL}@main:name", REFUSED, REFUSED),
    (CONFIG, "_attn_implementation", {"": KERNEL}, REFUSED, REFUSED),
    (CONFIG, "_attn_implementation_internal", KERNEL, REFUSED, REFUSED),
    (CONFIG, "attn_implementation", "flash_attention_2", REFUSED, REFUSED),
    (CONFIG, "attn_implementation", "flex_attention", REFUSED, REFUSED),
    (CONFIG, "attn_implementation", "paged|sdpa", REFUSED, REFUSED),
    (CONFIG, "attn_implementation", ["sdpa"], REFUSED, REFUSED),
    (CONFIG, "attn_implementation", "sdpa", IGNORED, IGNORED),
    (CONFIG, "experts_implementation", KERNEL, REFUSED, REFUSED),
    (CONFIG, "_experts_implementation", "grouped_mm", REFUSED, REFUSED),
    (CONFIG, "quantization_config", {"quant_method": "fp8"}, REFUSED, REFUSED),
    (CONFIG, "quantization_config", {"quant_method": "bitsandbytes"}, REFUSED, REFUSED),
    (CONFIG, "fusion_config", {"some_fusion": True}, REFUSED, REFUSED),
    (CONFIG, "per_layer_config", {"3": {"attn_implementation": KERNEL}}, REFUSED, REFUSED),
    (CONFIG, "distributed_config", {"tp_size": 2}, REFUSED, REFUSED),
    (CONFIG, "transformers_weights", "../other.safetensors", REFUSED, REFUSED),
    (CONFIG, "text_config", {"attn_implementation": KERNEL}, REFUSED, REFUSED),
    (CONFIG, "text_encoder", {"attn_implementation": KERNEL}, REFUSED, REFUSED),
    (CONFIG, "decoder", {"attn_implementation": KERNEL}, REFUSED, REFUSED),
    (CONFIG, "generator", {"attn_implementation": KERNEL}, REFUSED, REFUSED),
    (CONFIG, "dtype", "onnx", REFUSED, REFUSED),
    (CONFIG, "torch_dtype", "_dynamo", REFUSED, REFUSED),
    (CONFIG, "dtype", "bfloat16", IGNORED, IGNORED),
    (CONFIG, "auto_map", {"AutoConfig": f"{KERNEL}--config.Evo2Config"}, IGNORED, IGNORED),
    (CONFIG, "architectures", ["OtherModel"], IGNORED, IGNORED),
    (CONFIG, "custom_pipelines", {"score": {"impl": "score.Pipeline"}}, IGNORED, IGNORED),
    (CONFIG, "base_model_tp_plan", {"layers.*": "colwise"}, IGNORED, IGNORED),
    (CONFIG, "base_model_pp_plan", {"layers": [["x"], ["y"]]}, IGNORED, IGNORED),
    (CONFIG, "trust_remote_code", True, IGNORED, IGNORED),
    (CONFIG, "use_kernels", True, IGNORED, IGNORED),
    (CONFIG, "kernel_config", {"RMSNorm": KERNEL}, IGNORED, IGNORED),
    (CONFIG, "_name_or_path", KERNEL, IGNORED, IGNORED),
    (CONFIG, "_commit_hash", "0" * 40, IGNORED, IGNORED),
    (CONFIG, "num_hidden_layers", MAX_LAYERS + 1, REFUSED, REFUSED),
    (GENERATION, "compile_config", {"backend": "inductor"}, IGNORED, REFUSED),
    (GENERATION, "cache_implementation", "static", IGNORED, IGNORED),
    (GENERATION, "penalty_alpha", 0.5, IGNORED, IGNORED),
    (GENERATION, "dola_layers", "low", IGNORED, IGNORED),
    (GENERATION, "force_words_ids", [[65]], IGNORED, IGNORED),
    (GENERATION, "num_beam_groups", 2, IGNORED, IGNORED),
    (GENERATION, "watermarking_config", {"bias": 2.0}, IGNORED, IGNORED),
    (GENERATION, "custom_generate", KERNEL, IGNORED, IGNORED),
    (TOKENIZER, "auto_map", {"AutoTokenizer": [f"{KERNEL}--t.T", None]}, IGNORED, IGNORED),
    (TOKENIZER, "tokenizer_class", "OtherTokenizer", IGNORED, IGNORED),
    (TOKENIZER, "chat_template", "{{ messages }}", IGNORED, IGNORED),
    ("processor_config.json", "processor_class", "OtherProcessor", IGNORED, IGNORED),
    ("preprocessor_config.json", "auto_map", {"AutoProcessor": KERNEL}, IGNORED, IGNORED),
    (ADAPTER, "base_model_name_or_path", KERNEL, REFUSED, "as in transformers"),
    (INDEX, "weight_map", {"model.norm.scale": "../model.safetensors"}, REFUSED, IGNORED),
]
IDS = [f"{file}-{key}-{number}" for number, (file, key, *_) in enumerate(CASES)]


@pytest.fixture(scope="module")
def make_folder(make_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A saved model with changes of one of its files."""
    model = make_model()

    def make(file: str = CONFIG, **changes: object) -> Path:
        folder = tmp_path_factory.mktemp("model")
        model.save_pretrained(folder)
        Evo2Tokenizer().save_pretrained(folder)
        path = folder / file
        values = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(values | changes))
        return folder

    return make


class _Seal:
    """Notes, while it is set, each use of a network or a process, and each new package."""

    def __init__(self) -> None:
        self.is_set = False
        self.packages: set[str] = set()
        self.noted: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.is_set:
            return
        if event.startswith(("socket.connect", "socket.getaddrinfo", "subprocess", "os.exec")):
            self.noted.append(event)
        elif event == "import" and str(arguments[0]).partition(".")[0] not in self.packages:
            self.noted.append(f"import {arguments[0]}")


_seal = _Seal()


@contextmanager
def sealed() -> Iterator[None]:
    """Fail if the body reaches for a network, a process or a package that is not loaded yet."""
    _seal.packages = {name.partition(".")[0] for name in sys.modules} | set(sys.stdlib_module_names)
    _seal.noted = []
    _seal.is_set = True
    try:
        yield
    finally:
        _seal.is_set = False
    assert not _seal.noted


def load(folder: Path) -> Evo2ForCausalLM:
    return load_model(folder, dtype=torch.float32, devices=[torch.device("cpu")])


@pytest.fixture(scope="module")
def digest(make_folder: Any) -> str:
    """Digest of the weights; everything that loading needs is imported after this."""
    folder = make_folder()
    Evo2Tokenizer.from_pretrained(folder)
    loaded = weights_digest(Evo2ForCausalLM.from_pretrained(folder, dtype=torch.float32))
    assert loaded == weights_digest(load(folder))
    return loaded


def test_the_seal_notices_an_import_and_a_connection() -> None:
    with (
        pytest.raises(AssertionError, match="import some_package"),
        sealed(),
        suppress(ModuleNotFoundError),
    ):
        __import__("some_package")
    with pytest.raises(AssertionError, match="socket"), sealed(), suppress(OSError):
        socket.create_connection(("127.0.0.1", 1), timeout=1)


@pytest.mark.parametrize(("file", "key", "value", "outcome", "_"), CASES, ids=IDS)
def test_scoring_ignores_or_refuses(
    make_folder: Any, digest: str, file: str, key: str, value: object, outcome: str, _: str
) -> None:
    folder = make_folder(file, **{key: value})
    with sealed():
        if outcome == IGNORED:
            loaded = load(folder)
        else:
            named = {ADAPTER: ADAPTER, INDEX: "../model.safetensors"}.get(file, key)
            with pytest.raises(ValueError, match=re.escape(named)) as refusal:
                load(folder)
    if outcome == IGNORED:
        assert weights_digest(loaded) == digest
        assert loaded.config._attn_implementation == "sdpa"
    else:
        assert len(str(refusal.value).splitlines()) == 1
        assert str(folder) in str(refusal.value)


@pytest.mark.parametrize(
    ("file", "key", "value", "_", "outcome"),
    [case for case in CASES if case[-1] in (IGNORED, REFUSED)],
    ids=[name for name, case in zip(IDS, CASES, strict=True) if case[-1] in (IGNORED, REFUSED)],
)
def test_from_pretrained_does_not_follow_a_file(
    make_folder: Any, digest: str, file: str, key: str, value: object, _: str, outcome: str
) -> None:
    folder = make_folder(file, **{key: value})
    with sealed():
        Evo2Tokenizer.from_pretrained(folder)
        if outcome == IGNORED:
            loaded = Evo2ForCausalLM.from_pretrained(folder, dtype=torch.float32)
        else:
            with pytest.raises(ValueError, match=re.escape(key)):
                Evo2ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if file == CONFIG and outcome == REFUSED:
        with sealed(), pytest.raises(ValueError, match=re.escape(key)):
            Evo2Config.from_pretrained(folder)
    if outcome == IGNORED:
        assert weights_digest(loaded) == digest


def test_what_a_user_asks_for_in_python_is_not_refused(make_folder: Any) -> None:
    folder = make_folder()
    model = Evo2ForCausalLM.from_pretrained(folder, attn_implementation="eager")
    assert model.config._attn_implementation == "eager"
    assert Evo2Config(attn_implementation=KERNEL)._attn_implementation == KERNEL
    # transformers takes it from here: its package `kernels` is not installed with this one
    with pytest.raises(ImportError, match="kernels"):
        Evo2ForCausalLM.from_pretrained(folder, attn_implementation=KERNEL)


def test_code_in_the_folder_is_not_run(make_folder: Any, digest: str, tmp_path: Path) -> None:
    folder = make_folder()
    mark = tmp_path / "was_run"
    (folder / "custom_generate").mkdir()
    names = ("modeling.py", "config.py", "tokenizer.py", "custom_generate/generate.py")
    for name in (*names, "__init__.py", "sitecustomize.py"):
        (folder / name).write_text(f"open({str(mark)!r}, 'w')\n")
    with sealed():
        one = load(folder)
        other = Evo2ForCausalLM.from_pretrained(folder, dtype=torch.float32)
        Evo2Tokenizer.from_pretrained(folder)
    assert weights_digest(one) == weights_digest(other) == digest
    assert not mark.exists()


def test_weights_are_read_from_safetensors_only(make_folder: Any) -> None:
    folder = make_folder()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with sealed(), pytest.raises(ValueError, match=r"has no model\.safetensors"):
        load(folder)


def test_another_kind_of_model_is_refused(make_folder: Any) -> None:
    with sealed(), pytest.raises(ValueError, match="'llama' model, not of 'evo2'"):
        load(make_folder(model_type="llama"))


def test_only_keys_that_describe_the_model_are_used(make_folder: Any) -> None:
    folder = make_folder(some_key=1, to_dict="text", hyena_se_length=5)
    config = read_config(folder)
    assert config.hyena_se_length == 5
    assert not hasattr(config, "some_key")
    assert callable(config.to_dict)
    stated = json.loads((folder / CONFIG).read_text())
    plain = Evo2Config.from_dict({key: stated[key] for key in stated if key != "to_dict"})
    for name in stated.keys() & config.to_dict().keys() - {"dtype", "architectures"}:
        if name != "transformers_version":
            assert getattr(config, name) == getattr(plain, name), name


@pytest.mark.parametrize("key", ["*a", "{<<: *a}"])
def test_a_published_config_has_no_aliases(golden_folder: Path, tmp_path: Path, key: str) -> None:
    config = tmp_path / "config.yml"
    text = (golden_folder / "tiny_7b_1m" / "config.yml").read_text()
    config.write_text(f"{text}\nextra: &a {{x: 1}}\nmore: {key}\n")
    with pytest.raises(ValueError, match=r"config\.yml.*line \d+: aliases .* are not allowed"):
        convert_published(
            golden_folder / "tiny_7b_1m" / "model.pt", tmp_path / "out", config=config
        )


def test_the_page_lists_what_is_tested() -> None:
    section = DOCS.read_text().split("## What the files of a checkpoint cannot do")[1]
    rows = [line for line in section.split("\n## ")[0].splitlines() if line.startswith("| `")]
    listed = set()
    for row in rows:
        file, keys, *_ = row.strip("| ").split(" | ")
        listed |= {(file.strip("`"), key) for key in re.findall("`([^`]+)`", keys)}
    assert listed == {(file, key) for file, key, *_ in CASES}
