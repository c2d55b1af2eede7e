"""Evo 2 (StripedHyena 2) with the interface of transformers.

B batch, L tokens, D channels, V vocabulary.
"""

import functools
import math
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache, StaticLayer
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.utils import TransformersKwargs
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .cache import AttentionFreeCache, new_cache, repeat_sequences
from .config import ATTENTION, Evo2Config
from .keywords import (
    CACHE_NAME,
    CACHE_NAMES,
    LOSS_KEYWORDS,
    check_keywords,
    one_cache,
    rename_cache,
)
from .layers import (
    Attention,
    Evo2Layer,
    FinalNorm,
    HyenaFilter,
    LongFilter,
    MediumFilter,
    OutputMatrix,
    RMSNorm,
    ShortFilter,
)
from .precision import KeepsFloat32
from .rotary import RotaryEmbedding

SLOWEST_MODE = 3000.0  # tokens until the slowest mode of a new hyena_li filter has decayed to 1/e


class Evo2PreTrainedModel(PreTrainedModel):
    """The common base of both Evo 2 classes: loading, saving, new weights."""

    config: Evo2Config
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["Evo2Layer"]
    _skip_keys_device_placement: ClassVar[list[str]] = list(CACHE_NAMES)
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = ["log_poles", "residues", "inv_freq"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _is_stateful = True  # a recurrent state cannot go back to an earlier token
    _can_record_outputs: ClassVar[dict[str, type]] = {
        "hidden_states": Evo2Layer,
        "attentions": Attention,
    }

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load a saved model; see `PreTrainedModel.from_pretrained`.

        If the config has `round_weights_to`, the weights are rounded to that dtype first.
        """
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if model.config.round_weights_to is not None:
            round_weights(model, getattr(torch, model.config.round_weights_to))
            model.config.round_weights_to = None
        return loaded

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Small normal weights; filters of unit energy with memories of many lengths."""
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, std=std)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=std)
        elif isinstance(module, RMSNorm):
            init.ones_(module.scale)
        elif isinstance(module, RotaryEmbedding):
            init.copy_(module.inv_freq, module.initial_frequencies())
        elif isinstance(module, HyenaFilter):
            init_filter(module)


@torch.no_grad()
def init_filter(module: HyenaFilter) -> None:
    """New filters: the featurizer near the identity, the inner filters with unit energy."""
    taps = module.short_filter_weight
    identity = functional.one_hot(torch.tensor(taps.shape[-1] - 1), taps.shape[-1])
    init.copy_(taps, identity + 0.1 * torch.randn(taps.shape))
    if isinstance(module, ShortFilter):
        init.normal_(module.h, std=module.h.shape[-1] ** -0.5)
    elif isinstance(module, MediumFilter):
        groups, _, length = module.h.shape
        memory = torch.logspace(0, 2, groups)[:, None, None]  # tokens to decay to 1/e, by group
        envelope = torch.exp(-torch.arange(length) / memory)
        envelope /= envelope.norm(dim=-1, keepdim=True)
        init.copy_(module.h, envelope * torch.randn(module.h.shape))
        init.ones_(module.D)
    elif isinstance(module, LongFilter):
        channels, modes = module.residues.shape
        memory = torch.logspace(0, math.log10(SLOWEST_MODE), modes)
        memory = memory * 2 ** (torch.rand(channels, modes) - 0.5)
        init.copy_(module.log_poles, -1 / memory[..., None])
        init.copy_(module.residues, torch.randn(channels, modes) * (2 / (memory * modes)).sqrt())
        init.ones_(module.D)


@torch.no_grad()
def round_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Round all weights except those kept in float32 to a dtype, without a change of their dtype.

    The reference uses bfloat16 weights for any stored dtype. A float32 run of the same model
    therefore starts with rounded weights.

    Raises:
        ValueError: Weights are not on a device, so they cannot be rounded in place.
    """
    for module in model.modules():
        kept = module.float32_names if isinstance(module, KeepsFloat32) else ()
        for name, weight in module.named_parameters(recurse=False):
            if name in kept or weight.dtype == dtype:
                continue
            if weight.is_meta:
                raise ValueError(
                    f"The weights of this checkpoint must be rounded to {dtype}, which is not "
                    f"possible for weights offloaded to disk: load it with dtype={dtype}."
                )
            weight.copy_(weight.to(dtype))


def find_positions(
    position_ids: Tensor | None, num_cached: int | Tensor, length: int
) -> Tensor | range:
    """The positions of some tokens, on the CPU, where their angles are computed.

    Args:
        position_ids: Positions, if they are given. (B or 1, L)
        num_cached: Number of tokens before these.
        length: Number of tokens L.

    Returns:
        A range if all rows have the same positions, one after the other; else the positions
        themselves, (B or 1, L). A compiled graph cannot look at their values, so it always gets
        them.
    """
    if torch.compiler.is_compiling():
        if position_ids is not None:
            return position_ids.cpu()
        first = num_cached.cpu() if isinstance(num_cached, Tensor) else num_cached
        return (torch.arange(length, device="cpu") + first)[None]
    if position_ids is None:
        return range(int(num_cached), int(num_cached) + length)
    position_ids = position_ids.cpu()
    if not position_ids.numel() or position_ids.is_floating_point():
        return position_ids
    first = int(position_ids[0, 0])
    consecutive = range(first, first + length)
    expected = torch.arange(first, first + length, device="cpu")
    if first >= 0 and bool((position_ids == expected).all()):
        return consecutive
    return position_ids


class Evo2Model(Evo2PreTrainedModel):
    """Evo 2 without its output matrix.

    The last hidden state, after the final norm, is float32 also in a model of a narrower dtype.

    Args:
        config: The model's shape.
    """

    def __init__(self, config: Evo2Config) -> None:
        super().__init__(config)
        # The padding token has a weight like any other, so nn.Embedding gets no padding_idx.
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            Evo2Layer(config, layer_idx) for layer_idx in range(config.num_hidden_layers)
        )
        self.norm = FinalNorm(config.hidden_size, config.norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults  # type: ignore[untyped-decorator] # transformers is half typed
    @capture_outputs  # type: ignore[untyped-decorator] # the same
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | dict[str, Tensor | None] | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        past_key_values: Cache | None = None,
        **kwargs: Unpack[TransformersKwargs],  # type: ignore[misc] # transformers is half typed
    ) -> BaseModelOutputWithPast:
        """Run tokens, from the start of a sequence or from the state of a cache.

        Args:
            input_ids: Tokens. (B, L)
            attention_mask: 1 for tokens, 0 for padding, cached tokens included.
                (B, cached + L) Custom 4-D masks affect the attention layers only.
            position_ids: Positions, counted from the first token by default. (B or 1, L)
            cache: The cache of an earlier call; it is updated.
            inputs_embeds: Embeddings instead of `input_ids`. (B, L, D)
            use_cache: Whether to return a cache.
            past_key_values: The name of `cache` in transformers before 5.24.
            **kwargs: As in transformers; unknown keywords are refused.

        Raises:
            TypeError: A keyword is not known, or the cache is given by both names.
            ValueError: Both or none of `input_ids` and `inputs_embeds` are given, the mask does
                not cover the tokens, the cache was made for another model, or a keyword requests
                packed sequences.
        """
        check_keywords(self, kwargs)
        cache = one_cache(cache, past_key_values)
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give exactly one of input_ids and inputs_embeds.")
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        if use_cache and cache is None:
            cache = new_cache(self.config)
        if cache is not None and len(cache.layers) < len(self.layers):
            raise ValueError(
                "The cache was not made for the layers of this model: make it with "
                "DynamicCache(config=model.config)."
            )

        masks = self._prepare_masks(inputs_embeds, attention_mask, position_ids, cache)
        hidden_states = inputs_embeds
        for layer in self.layers:
            # transformers removes the cache, by its name, from the call of a checkpointed layer.
            hidden_states = layer(hidden_states, **masks, **{CACHE_NAME: cache}, **kwargs)
        if isinstance(cache, AttentionFreeCache):
            cache.num_tokens += inputs_embeds.shape[1]
        return BaseModelOutputWithPast(
            last_hidden_state=self.norm(hidden_states), **{CACHE_NAME: cache}
        )

    def _prepare_masks(
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor | dict[str, Tensor | None] | None,
        position_ids: Tensor | None,
        cache: Cache | None,
    ) -> dict[str, Any]:
        """Positions and padding, in the form that the layers need.

        Returns:
            `attention_mask` for attention, None if it is causal only; `is_token` for the
            convolutions, None if nothing is padded; `position_ids`, on the CPU or as a range;
            `is_continued` if attention works without a mask after a cache.
        """
        length = inputs_embeds.shape[1]
        # Positions given by the caller may mean that a row holds several sequences.
        given_positions = position_ids
        has_attention = ATTENTION in self.config.operators
        num_cached = 0
        if has_attention and cache is not None:
            num_cached = cache.get_seq_length()
        is_token = None
        if isinstance(attention_mask, dict):  # prepared by `generate`
            is_token = attention_mask.get("conv", attention_mask.get("linear_attention"))
            attention_mask = attention_mask.get("full_attention")
        elif attention_mask is not None and attention_mask.ndim == 2:
            if has_attention and attention_mask.shape[1] != num_cached + length:
                raise ValueError(
                    f"attention_mask covers {attention_mask.shape[1]} tokens; there are "
                    f"{length}, and {num_cached} in the cache."
                )
            is_token = attention_mask[:, -length:]
            if position_ids is None:
                position_ids = (attention_mask.long().cumsum(1) - 1).clamp(min=0)[:, -length:]
        if is_token is not None:
            is_token = is_token.bool()
            if not torch.compiler.is_compiling() and bool(is_token.all()):
                is_token = None
        if not has_attention:
            return {"attention_mask": None, "is_token": is_token, "position_ids": None}
        positions = find_positions(position_ids, num_cached, length)
        prepared = {"is_token": is_token, "position_ids": positions}
        if self._needs_no_mask(attention_mask, cache):
            return {"attention_mask": None, "is_continued": True, **prepared}
        causal_mask = create_causal_mask(
            config=self.config,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            **{CACHE_NAME: cache},
            position_ids=given_positions,
        )
        return {"attention_mask": causal_mask, **prepared}

    def _needs_no_mask(self, attention_mask: Tensor | None, cache: Cache | None) -> bool:
        """Whether the tokens continue a cache that has no padding and no unused space."""
        if (
            cache is None
            or self.config._attn_implementation != "sdpa"
            or torch.compiler.is_compiling()
            or any(isinstance(layer, StaticLayer) for layer in cache.layers)
            or cache.get_seq_length() == 0
        ):
            return False
        if attention_mask is None:
            return True
        return attention_mask.ndim == 2 and bool(attention_mask.all())


class Evo2ForCausalLM(Evo2PreTrainedModel, GenerationMixin):
    """Evo 2 with its output matrix, which is the embedding.

    Args:
        config: The model's shape.
    """

    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: Evo2Config) -> None:
        super().__init__(config)
        self.model = Evo2Model(config)
        self.vocab_size = config.vocab_size
        self.lm_head = OutputMatrix(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator] # transformers is half typed
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | dict[str, Tensor | None] | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        *,
        past_key_values: Cache | None = None,
        **kwargs: Unpack[TransformersKwargs],  # type: ignore[misc] # transformers is half typed
    ) -> CausalLMOutputWithPast:
        """Predict the next token at each position; see `Evo2Model.forward`.

        Args:
            input_ids: Tokens. (B, L)
            attention_mask: 1 for tokens, 0 for padding, cached tokens included.
            position_ids: Positions, counted from the first token by default.
            cache: The cache of an earlier call; it is updated.
            inputs_embeds: Embeddings instead of `input_ids`. (B, L, D)
            labels: Tokens to predict, usually `input_ids`; -100 is left out of the loss. (B, L)
            use_cache: Whether to return a cache.
            logits_to_keep: Number of last positions to compute logits for, or the positions
                themselves; 0 means all.
            past_key_values: The name of `cache` in transformers before 5.24.
            **kwargs: As in transformers, with those of its loss; unknown keywords are refused.

        Returns:
            Logits in float32, (B, L, V), and the mean loss if there are labels.
        """
        check_keywords(self, kwargs, LOSS_KEYWORDS)
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=one_cache(cache, past_key_values),
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **{name: value for name, value in kwargs.items() if name not in LOSS_KEYWORDS},
        )
        positions = logits_to_keep
        if isinstance(logits_to_keep, int):
            positions = slice(-logits_to_keep, None)  # type: ignore[assignment] # indexes as well
        logits = self.lm_head(outputs.last_hidden_state[:, positions])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            **{CACHE_NAME: getattr(outputs, CACHE_NAME)},
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def _get_resized_lm_head(self, *args: Any, **kwargs: Any) -> nn.Linear:
        resized: nn.Linear = super()._get_resized_lm_head(*args, **kwargs)
        # transformers returns a plain linear map, which would compute in the dtype of its weight.
        resized.__class__ = OutputMatrix
        return resized

    @functools.wraps(GenerationMixin.generate)
    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """Generate tokens; see `GenerationMixin.generate`. The cache has either of its names.

        Raises:
            ValueError: The model has no attention, and the cache does not count its tokens.
        """
        renamed = rename_cache(kwargs)
        cache = renamed.get(CACHE_NAME)
        if (
            cache is not None
            and ATTENTION not in self.config.operators
            and not isinstance(cache, AttentionFreeCache)
        ):
            # transformers 5.24 would run the tokens before the cache's end a second time.
            raise ValueError(
                f"This model has no attention, so a {type(cache).__name__} does not know how many "
                "tokens went through it. Make the cache with evo2_tasks.evo2.cache.new_cache, or "
                "use the cache that an earlier call returned."
            )
        return super().generate(*args, **renamed)

    @functools.wraps(GenerationMixin.prepare_inputs_for_generation)
    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> Any:
        """The arguments of the next `forward`, from those of `generate`."""
        return super().prepare_inputs_for_generation(*args, **rename_cache(kwargs))

    def _prepare_cache_for_generation(
        self,
        generation_config: Any,
        model_kwargs: dict[str, Any],
        generation_mode: Any,
        batch_size: int,
        max_cache_length: int,
        *args: Any,
    ) -> None:
        is_plain = (
            generation_config.cache_implementation in (None, "dynamic")
            and not generation_config.is_assistant
        )
        if (
            (is_plain or ATTENTION not in self.config.operators)
            and model_kwargs.get(CACHE_NAME) is None
            and generation_config.use_cache is not False
        ):
            model_kwargs[CACHE_NAME] = new_cache(self.config, max_length=max_cache_length)
            return
        super()._prepare_cache_for_generation(
            generation_config, model_kwargs, generation_mode, batch_size, max_cache_length, *args
        )

    def _prefill(
        self,
        input_ids: Tensor,
        generation_config: Any,
        model_kwargs: dict[str, Any],
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Run each prompt once, also if several samples or beams continue it."""
        copies = max(generation_config.num_beams or 1, generation_config.num_return_sequences or 1)
        cache = model_kwargs.get(CACHE_NAME)
        num_rows = input_ids.shape[0]
        of_rows = {
            name: value
            for name, value in {"input_ids": input_ids, **model_kwargs}.items()
            if isinstance(value, Tensor) and value.ndim > 0 and len(value) == num_rows
        }
        if (
            copies == 1
            or not _can_repeat(cache)
            or not all(_is_repeated(value, copies) for value in of_rows.values())
        ):
            return super()._prefill(input_ids, generation_config, model_kwargs, *args, **kwargs)
        prompts = {name: value[::copies] for name, value in of_rows.items()}
        input_ids = prompts.pop("input_ids")
        outputs = super()._prefill(
            input_ids, generation_config, {**model_kwargs, **prompts}, *args, **kwargs
        )
        mask = model_kwargs.get("attention_mask")
        repeat_sequences(
            outputs[CACHE_NAME],
            [row // copies for row in range(num_rows)],
            # A mask, and attention with one, needs the keys of each sequence.
            shares_keys=self.config._attn_implementation == "sdpa"
            and (mask is None or bool(mask.all())),
        )
        for name, value in outputs.items():
            if name != CACHE_NAME:
                outputs[name] = _repeat(value, copies)
        return outputs


def _can_repeat(cache: Cache | None) -> bool:
    """Whether a cache is empty, and can hold any number of sequences."""
    if cache is None or any(isinstance(layer, StaticLayer) for layer in cache.layers):
        return False
    return int(cache.get_seq_length()) == 0


def _is_repeated(tensor: Tensor, copies: int) -> bool:
    """Whether each row is there so many times, one after the other."""
    if len(tensor) % copies:
        return False
    grouped = tensor.unflatten(0, (-1, copies))
    return bool((grouped == grouped[:, :1]).all())


def _repeat(value: Any, copies: int) -> Any:
    """Repeat each row of a tensor, or of the tensors of a tuple."""
    if isinstance(value, tuple):
        return tuple(_repeat(one, copies) for one in value)
    return value.repeat_interleave(copies, dim=0)
