import subprocess
import sys

import evo2_tasks


def test_the_package_exports_the_model_without_importing_torch() -> None:
    program = (
        "import sys, evo2_tasks; assert 'torch' not in sys.modules; "
        "assert 'Evo2ForCausalLM' in dir(evo2_tasks); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    for name in ("Config", "ForCausalLM", "Model", "PreTrainedModel", "Tokenizer"):
        assert getattr(evo2_tasks, f"Evo2{name}").__name__ == f"Evo2{name}"
        assert f"Evo2{name}" in dir(evo2_tasks)
    assert not hasattr(evo2_tasks, "Evo3Config")


def test_an_evo2_of_transformers_keeps_its_name() -> None:
    program = (
        "from transformers import AutoConfig, PreTrainedConfig\n"
        "class Theirs(PreTrainedConfig):\n    model_type = 'evo2'\n"
        "AutoConfig.register('evo2', Theirs)\n"
        "from evo2_tasks.evo2 import Evo2Config, register_auto_classes\n"
        "assert type(AutoConfig.for_model('evo2')) is Theirs\n"
        "register_auto_classes()\n"
        "assert type(AutoConfig.for_model('evo2')) is Evo2Config\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
