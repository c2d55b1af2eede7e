"""A saved model brings its code: it loads where this package is not installed."""

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from evo2_tasks import Evo2ForCausalLM, Evo2Tokenizer
from evo2_tasks.evo2.checkpoints import convert_published

CODE = {
    *("attention.py", "cache.py", "config.py", "file_values.py", "fp8.py", "keywords.py"),
    *("layers.py", "modeling.py", "operators.py", "precision.py", "rotary.py", "tokenizer.py"),
}
INPUT_IDS = torch.tensor([list(b"ACGTTGCAACGTACGGTTACAGATTACA")])


@torch.no_grad()
def outputs_of(model: Evo2ForCausalLM) -> dict[str, Tensor]:
    return {
        "logits": model(INPUT_IDS, use_cache=False).logits,
        "generated": model.generate(
            INPUT_IDS, attention_mask=torch.ones_like(INPUT_IDS), max_new_tokens=5, do_sample=False
        ),
    }


def run_python(program: str, *arguments: object, folder: Path) -> None:
    """Run a program in a Python of its own, which downloads nothing and keeps its files here."""
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_MODULES_CACHE": str(folder / "modules"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def shared(make_model: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    make_model(["hyena_se", "attention", "hyena_mr", "hyena_li"]).save_pretrained(folder)
    Evo2Tokenizer().save_pretrained(folder)
    return folder


def test_the_folder_holds_the_code_and_says_where(shared: Path) -> None:
    assert {path.name for path in shared.glob("*.py")} == CODE
    assert AutoTokenizer.from_pretrained(shared).init_kwargs["auto_map"] == {
        "AutoTokenizer": ["tokenizer.Evo2Tokenizer", None]
    }
    assert Evo2ForCausalLM.from_pretrained(shared).config.auto_map == {
        "AutoConfig": "config.Evo2Config",
        "AutoModel": "modeling.Evo2Model",
        "AutoModelForCausalLM": "modeling.Evo2ForCausalLM",
    }


def test_the_code_needs_nothing_but_torch_and_transformers(shared: Path) -> None:
    outside, inside = set(), set()
    for file in shared.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                outside |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level:
                inside.add(f"{node.module}.py")
            elif isinstance(node, ast.ImportFrom) and node.module:
                outside.add(node.module.partition(".")[0])
    assert outside - set(sys.stdlib_module_names) == {"torch", "transformers"}
    assert inside <= CODE


WITHOUT_THE_PACKAGE = """
    import importlib.abc, sys, tempfile, warnings

    class NotInstalled(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "evo2_tasks":
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, NotInstalled())
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer, pipeline

    trust = {"trust_remote_code": True}

    def check(model, expected):
        input_ids = expected["input_ids"]
        settings = {"attention_mask": torch.ones_like(input_ids), "max_new_tokens": 5}
        generated = model.generate(input_ids, do_sample=False, **settings)
        assert torch.equal(generated, expected["generated"])
        with torch.no_grad():
            assert torch.equal(model(input_ids, use_cache=False).logits, expected["logits"])

    for folder in sys.argv[1:]:
        expected = load_file(f"{folder}.expected")
        try:
            AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False)
        except ValueError as error:
            assert "trust_remote_code=True" in str(error)
        else:
            raise AssertionError("code ran that nobody trusted")
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **trust)
        assert type(model).__module__.startswith("transformers_modules.")
        check(model, expected)
        tokenizer = AutoTokenizer.from_pretrained(folder, **trust)
        assert tokenizer("ACGT|").input_ids == list(b"ACGT|")
        assert type(AutoModel.from_pretrained(folder, **trust)).__name__ == "Evo2Model"
        write = pipeline("text-generation", model=folder, **trust)
        assert write("ACGT", max_new_tokens=3)[0]["generated_text"].startswith("ACGT")
        narrow = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, **trust)
        assert {p.dtype for n, p in narrow.named_parameters() if "poles" in n} == {torch.float32}
        new = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, **trust), **trust)
        assert new.num_parameters() == model.num_parameters()
        with tempfile.TemporaryDirectory() as again:
            model.save_pretrained(again)
            check(AutoModelForCausalLM.from_pretrained(again, **trust), expected)
    assert "evo2_tasks" not in sys.modules
"""


def test_it_loads_where_the_package_is_not(
    shared: Path, golden_folder: Path, tmp_path: Path
) -> None:
    """A folder that the model saved, and one that was converted from a published file."""
    published = golden_folder / "tiny_1b_8k"
    converted = tmp_path / "converted"
    convert_published(published / "model.pt", converted, config=published / "config.yml")
    assert {path.name for path in converted.glob("*.py")} == CODE
    for folder in (shared, converted):
        outputs = outputs_of(Evo2ForCausalLM.from_pretrained(folder, dtype=torch.float32))
        save_file({**outputs, "input_ids": INPUT_IDS}, f"{folder}.expected")
    run_python(WITHOUT_THE_PACKAGE, shared, converted, folder=tmp_path)


def test_where_the_package_is_its_own_code_is_taken(shared: Path) -> None:
    for trust in (None, True):
        model = AutoModelForCausalLM.from_pretrained(shared, trust_remote_code=trust)
        assert type(model) is Evo2ForCausalLM
        assert AutoModel.from_pretrained(shared, trust_remote_code=trust).__class__.__module__ == (
            "evo2_tasks.evo2.modeling"
        )


def test_another_evo2_in_transformers_keeps_its_place(tmp_path: Path) -> None:
    """A later transformers may bring one, with classes of the same names."""
    program = """
    import sys, types
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig
    from transformers.models.auto import configuration_auto, modeling_auto

    class Evo2Config(PreTrainedConfig):
        model_type = "evo2"

    class Evo2ForCausalLM:
        def __init__(self, config):
            self.config = config

        _from_config = classmethod(lambda cls, config, **_: cls(config))

    theirs = types.ModuleType("transformers.models.evo2")
    theirs.Evo2Config, theirs.Evo2ForCausalLM = Evo2Config, Evo2ForCausalLM
    sys.modules[theirs.__name__] = theirs
    configuration_auto.CONFIG_MAPPING_NAMES["evo2"] = "Evo2Config"
    modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES["evo2"] = "Evo2ForCausalLM"
    modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING._reverse_config_mapping["Evo2Config"] = "evo2"

    import evo2_tasks.evo2 as ours

    config = ours.Evo2Config(
        operators=["hyena_se"], hidden_size=8, intermediate_size=8, hyena_se_groups=2
    )
    assert type(AutoConfig.for_model("evo2")) is Evo2Config
    assert type(AutoModelForCausalLM.from_config(Evo2Config())) is Evo2ForCausalLM
    assert type(AutoModelForCausalLM.from_config(config)) is ours.Evo2ForCausalLM
    ours.register_auto_classes()
    assert type(AutoConfig.for_model("evo2")) is ours.Evo2Config
    assert type(AutoModelForCausalLM.from_config(config)) is ours.Evo2ForCausalLM
    """
    run_python(program, folder=tmp_path)
