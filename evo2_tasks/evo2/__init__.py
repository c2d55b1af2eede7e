"""The model: Evo 2 in PyTorch with the interface of transformers.

Importing this package registers ``model_type: evo2`` with the Auto classes of transformers. If a
version of transformers has its own Evo 2, call `register_auto_classes` to use this one.
`save_pretrained` also writes the code of the model, so that a saved model loads without this
package.
"""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from . import losses as _losses  # noqa: F401 # before modeling, which imports them with scipy
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
    """Make the Auto classes use this package for every checkpoint with ``model_type: evo2``."""
    AutoConfig.register(Evo2Config.model_type, Evo2Config, exist_ok=True)
    AutoTokenizer.register(Evo2Config, slow_tokenizer_class=Evo2Tokenizer, exist_ok=True)


# These two are registered for our config class, so they do not affect another Evo 2.
AutoModel.register(Evo2Config, Evo2Model, exist_ok=True)
AutoModelForCausalLM.register(Evo2Config, Evo2ForCausalLM, exist_ok=True)
if Evo2Config.model_type not in CONFIG_MAPPING:
    register_auto_classes()

# `save_pretrained` copies the source files of these classes next to the weights.
Evo2Config.register_for_auto_class("AutoConfig")
Evo2Model.register_for_auto_class("AutoModel")
Evo2ForCausalLM.register_for_auto_class("AutoModelForCausalLM")
Evo2Tokenizer.register_for_auto_class("AutoTokenizer")
