"""The model: Evo 2 in PyTorch with the interface of transformers.

Importing this package makes the Auto classes of transformers know ``model_type: evo2``, unless
transformers brings an Evo 2 of its own; then `register_auto_classes` says which one they take.
"""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from .config import PRESETS, Evo2Config
from .modeling import Evo2ForCausalLM, Evo2Model, Evo2PreTrainedModel
from .tokenizer import Evo2Tokenizer

__all__ = [
    "PRESETS",
    "Evo2Config",
    "Evo2ForCausalLM",
    "Evo2Model",
    "Evo2PreTrainedModel",
    "Evo2Tokenizer",
    "register_auto_classes",
]


def register_auto_classes() -> None:
    """Make the Auto classes of transformers use the classes of this package for Evo 2."""
    AutoConfig.register(Evo2Config.model_type, Evo2Config, exist_ok=True)
    AutoModel.register(Evo2Config, Evo2Model, exist_ok=True)
    AutoModelForCausalLM.register(Evo2Config, Evo2ForCausalLM, exist_ok=True)
    AutoTokenizer.register(Evo2Config, slow_tokenizer_class=Evo2Tokenizer, exist_ok=True)


if Evo2Config.model_type not in CONFIG_MAPPING:
    register_auto_classes()
