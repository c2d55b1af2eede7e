"""Checks of a device with a model of random weights: does it compute what a CPU computes?

The model has the width of the 7B models and each operator once. It needs no file and no network.
Each check compares two ways to the same numbers. It states the largest difference that is allowed,
and the reason for this limit.

Shapes: B batch, L tokens, D channels.
"""

import copy
import functools
import math
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from evo2_tasks.evo2.cache import new_cache
from evo2_tasks.evo2.checkpoints import load_model
from evo2_tasks.evo2.config import ATTENTION, HYENA_LI, HYENA_MR, HYENA_SE, Evo2Config
from evo2_tasks.evo2.fp8 import PRODUCTS
from evo2_tasks.evo2.layers import HyenaFilter
from evo2_tasks.evo2.modeling import Evo2ForCausalLM, round_weights
from evo2_tasks.evo2.rotary import rotate
from evo2_tasks.scoring.branches import run_branches
from evo2_tasks.scoring.likelihood import next_token_log_probs, pad
from evo2_tasks.scoring.readouts import SUMS
from evo2_tasks.scoring.score import score_part
from evo2_tasks.scoring.windows import WindowPair
from evo2_tasks.verification.device_embeddings import shared_embeddings, whole_embeddings
from evo2_tasks.verification.device_fp8 import INNER_SIZES, NO_FP8, draw_e4m3, scaled_product
from evo2_tasks.verification.plain_operators import PLAIN_INNER, plain_attention, plain_hyena

OPERATORS = [HYENA_SE, HYENA_MR, HYENA_LI, ATTENTION]
SEED = 1


class Sizes(NamedTuple):
    """Sizes of the model and of what goes through it."""

    hidden_size: int
    window: int
    """Tokens of the windows of the checks."""
    cpu_tokens: int
    """Tokens of what the CPU computes too."""
    timed_window: int
    """Tokens of the windows that are timed."""


FULL = Sizes(hidden_size=4096, window=2048, cpu_tokens=256, timed_window=8192)
SMALL = Sizes(hidden_size=256, window=160, cpu_tokens=140, timed_window=256)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a check.

    Attributes:
        name: What was compared.
        status: ``passed``, ``failed``, ``error`` (it ended with an exception) or ``not_run``.
        difference: The largest difference, in the unit that ``reason`` names.
        limit: The largest difference that is allowed.
        reason: Why this is the limit; or the exception, or why the check did not run.
    """

    name: str
    status: str
    difference: float | None = None
    limit: float | None = None
    reason: str = ""


class Comparison(NamedTuple):
    """A check: two ways to the same numbers."""

    name: str
    measure: Callable[[], float]
    """Runs both ways and returns the largest difference. May raise `NotRunError`."""
    limit: Callable[[], float] | float
    """The largest difference that is allowed."""
    reason: str
    """The unit of the difference, and why this is the limit."""


class NotRunError(Exception):
    """The device cannot do what a check needs."""


class Bench:
    """A device with a model of random weights on it, in float32 and in bfloat16."""

    def __init__(self, device: torch.device, sizes: Sizes) -> None:
        self.device = device
        self.sizes = sizes
        self.windows = random_windows(4, sizes.window)

    @cached_property
    def wide(self) -> Evo2ForCausalLM:
        """The model in float32, with weights that bfloat16 represents."""
        torch.manual_seed(SEED)
        with self.device:
            model: Evo2ForCausalLM = Evo2ForCausalLM(make_config(self.sizes)).eval()
        round_weights(model, torch.bfloat16)
        return model

    @cached_property
    def narrow(self) -> Evo2ForCausalLM:
        """The same model in bfloat16."""
        model: Evo2ForCausalLM = copy.deepcopy(self.wide).to(torch.bfloat16)
        return model

    def model(self, dtype: str) -> Evo2ForCausalLM:
        """The model in ``float32`` or ``bfloat16``."""
        return self.wide if dtype == "float32" else self.narrow

    def ids(self, num_windows: int = 1) -> Tensor:
        """Tokens of some windows. (B, L)."""
        return pad(self.windows[:num_windows], self.device)


def make_config(sizes: Sizes) -> Evo2Config:
    """The config of a 7B model with four layers, each operator once, of any width."""
    width = sizes.hidden_size
    return Evo2Config.from_preset(
        "evo2_7b",
        hidden_size=width,
        intermediate_size=11 * width // 4,
        num_attention_heads=width // 128,
        operators=OPERATORS,
        num_hidden_layers=len(OPERATORS),
        hyena_se_groups=width // 16,
        hyena_mr_groups=width // 16,
        initializer_range=1.28 * width**-0.5,  # each linear map keeps the size of its input
        fp8="off",
    )


def random_windows(num_windows: int, length: int) -> list[bytes]:
    """Windows of random bases, the same on every machine."""
    rng = random.Random(SEED)  # noqa: S311 - no secret
    return [bytes(rng.choices(b"ACGT", k=length)) for _ in range(num_windows)]


def largest(found: Tensor, expected: Tensor) -> float:
    """Largest difference."""
    return float((found.detach().cpu().double() - expected.detach().cpu().double()).abs().max())


def root_mean_square(found: Tensor, expected: Tensor) -> float:
    """Root mean square of the differences."""
    return float((found.cpu().double() - expected.cpu().double()).square().mean().sqrt())


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference, as a share of the largest expected number."""
    return largest(found, expected) / float(expected.detach().abs().max())


FLOAT32 = (1e-4, "share of the largest; float32 sums of thousands of products, without TF32")
BFLOAT16 = (3e-2, "share of the largest; eight roundings to bfloat16, each of at most 2^-9")


def compare_operators(bench: Bench) -> Iterator[Comparison]:
    """Each operator against its plain form in float64 on the CPU."""
    sizes = bench.sizes
    generator = torch.Generator().manual_seed(SEED)
    drawn = torch.randn(1, sizes.cpu_tokens, 3 * sizes.hidden_size, generator=generator)
    for dtype, limits in (("float32", FLOAT32), ("bfloat16", BFLOAT16)):
        for index, operator in enumerate(OPERATORS):

            def measure(dtype: str = dtype, index: int = index, operator: str = operator) -> float:
                layer: Any = bench.model(dtype).model.layers[index]
                projected = drawn.to(getattr(torch, dtype))
                if operator == ATTENTION:
                    return relative(*attention_and_plain(layer.mixer, projected, bench.device))
                found = layer.mixer.filter(projected.to(bench.device), None)
                return relative(found, plain_filter(layer.mixer.filter, operator, projected))

            yield Comparison(f"{operator}, {dtype}", measure, *limits)


def plain_filter(filter_: HyenaFilter, operator: str, projected: Tensor) -> Tensor:
    """A Hyena operator between its linear maps, in float64 on the CPU. (B, L, 3D) -> (B, L, D)."""
    plain = copy.deepcopy(filter_).to("cpu", torch.float64)
    return plain_hyena(plain, projected.double(), PLAIN_INNER[operator])


def attention_and_plain(
    mixer: nn.Module, projected: Tensor, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Attention without its linear maps on the device, and in float64 on the CPU. (B, L, D)."""
    alone: Any = copy.deepcopy(mixer)
    alone.Wqkv = alone.out_proj = nn.Identity()
    positions = torch.arange(projected.shape[1])[None]
    found, _ = alone(
        projected.to(device),
        position_ids=positions,
        attention_mask=None,
        is_token=None,
        cache=None,
    )
    heads = projected.double().view(*projected.shape[:2], -1, 3, alone.head_dim).transpose(1, 2)
    query, key, value = heads.unbind(3)
    cos, sin = copy.deepcopy(alone.rotary_emb).to("cpu")(positions, torch.float64)
    return found, plain_attention(alone, rotate(query, cos, sin), rotate(key, cos, sin), value)


def compare_model(bench: Bench) -> Iterator[Comparison]:
    """The whole model on the device and on the CPU."""

    def measure() -> float:
        ids = bench.ids()[:, : bench.sizes.cpu_tokens]
        logits = bench.wide(ids, use_cache=False).logits
        on_cpu = copy.deepcopy(bench.wide).to("cpu")
        return relative(logits, on_cpu(ids.cpu(), use_cache=False).logits)

    yield Comparison("model on the device, on the CPU, float32", measure, *FLOAT32)


def compare_paths(
    bench: Bench, name: str, ids: Tensor, run: Callable[[Evo2ForCausalLM], Tensor]
) -> Iterator[Comparison]:
    """Another way to the log-probabilities of windows against whole windows, in each dtype."""
    whole = functools.cache(lambda dtype: next_token_log_probs(bench.model(dtype), ids))
    yield Comparison(
        f"{name}, float32",
        lambda: largest(run(bench.wide), whole("float32")),
        2e-4,
        "nats, largest of a token; float32 sums in another order",
    )
    yield Comparison(
        f"{name}, bfloat16",
        lambda: root_mean_square(run(bench.narrow), whole("float32")),
        lambda: 2 * root_mean_square(whole("bfloat16"), whole("float32")),
        "nats, root mean square, from float32; twice that of whole windows in bfloat16",
    )


def compare_attention(bench: Bench) -> Iterator[Comparison]:
    """Fused attention against attention step by step."""
    ids = bench.ids()

    def run(model: Evo2ForCausalLM) -> Tensor:
        model.set_attn_implementation("eager")
        try:
            return next_token_log_probs(model, ids)
        finally:
            model.set_attn_implementation("sdpa")

    yield from compare_paths(bench, "eager attention, fused attention", ids, run)


def compare_segments(bench: Bench) -> Iterator[Comparison]:
    """A window in segments against the whole window; the cache on the device and in host memory."""
    ids, length = bench.ids(2), bench.sizes.window // 3 + 1

    def run(model: Evo2ForCausalLM, *, offload: bool = False) -> Tensor:
        return next_token_log_probs(model, ids, segment_length=length, offload=offload)

    yield from compare_paths(bench, "segments, whole windows", ids, run)
    offload = functools.partial(run, offload=True)
    yield from compare_paths(bench, "segments with kv_cache offload, whole windows", ids, offload)


def compare_continuation(bench: Bench) -> Iterator[Comparison]:
    """Pieces and single tokens that continue a cache against the whole window."""
    ids = bench.ids(2)
    half, last = ids.shape[1] // 2, ids.shape[1] - 9
    pieces = [ids[:, :half], ids[:, half:last], *torch.split(ids[:, last:], 1, dim=1)]

    def run(model: Evo2ForCausalLM) -> Tensor:
        cache = new_cache(model.config)
        logits = [model(piece, past_key_values=cache, use_cache=True).logits for piece in pieces]
        log_probs = torch.cat(logits, dim=1)[:, :-1].log_softmax(-1)
        return log_probs.gather(-1, ids[:, 1:, None]).squeeze(-1)

    yield from compare_paths(bench, "continuation of a cache, whole windows", ids, run)


def compare_branches(bench: Bench) -> Iterator[Comparison]:
    """Branches after one and after several trunks against whole windows."""
    fork = bench.sizes.window // 2  # common tokens; the last of them predicts the first own one
    for name, trunks in (("one trunk", [0, 0, 0, 0]), ("two trunks", [0, 1, 1, 0])):
        rows = [
            bench.windows[trunk][:fork] + window[fork:]
            for trunk, window in zip(trunks, bench.windows, strict=True)
        ]
        whole = pad(rows, bench.device)
        for pieces, segment_length in (("", len(rows[0])), (" in segments", fork // 3 + 1)):

            def run(
                model: Evo2ForCausalLM,
                rows: Sequence[bytes] = rows,
                trunks: Sequence[int] = trunks,
                whole: Tensor = whole,
                segment_length: int = segment_length,
            ) -> Tensor:
                before = whole[: max(trunks) + 1, : fork - 1]
                cache = new_cache(model.config, window_length=before.shape[1])
                model.model(before, past_key_values=cache, use_cache=True)
                own = run_branches(
                    model,
                    [row[fork - 1 :] for row in rows],
                    cache,
                    trunks,
                    segment_length=segment_length,
                    offload=False,
                )
                log_probs = next_token_log_probs(model, whole)
                log_probs[:, fork - 1 :] = torch.stack([*map(torch.from_numpy, own)]).to(log_probs)
                return log_probs

            yield from compare_paths(
                bench, f"branches of {name}{pieces}, whole windows", whole, run
            )


def draw_pairs(bench: Bench) -> list[WindowPair]:
    """Alleles that share a window."""
    ref, length = bench.windows[0], bench.sizes.window
    pairs = []
    for row, site in enumerate([length // 3, length // 2, length // 2 + 1, length - 20]):
        other = b"CGTA"[b"ACGT".index(ref[site])]
        alt = ref[:site] + bytes([other]) + ref[site + 1 :]
        pairs.append(WindowPair(row, "forward", ref, alt, site, 1, 1))
    return pairs


def compare_sharing(bench: Bench) -> Iterator[Comparison]:
    """Scores of alleles that share a window against two whole windows each."""
    ref, length, pairs = bench.windows[0], bench.sizes.window, draw_pairs(bench)

    def shared(dtype: str) -> Tensor:
        records = score_part(
            bench.model(dtype),
            pairs,
            [SUMS],
            batch_tokens=4 * length,
            horizon=False,
            prepend_bos=False,
        )
        return torch.tensor([float("nan") if one is None else one.llr for one in records.of(SUMS)])

    @functools.cache
    def whole(dtype: str) -> Tensor:
        windows = pad([ref, *(pair.alt_seq for pair in pairs)], bench.device)
        sums = next_token_log_probs(bench.model(dtype), windows).cpu().double().sum(dim=1)
        return sums[1:] - sums[0]

    yield Comparison(
        "llr with sharing, two whole windows, float32",
        lambda: largest(shared("float32"), whole("float32")),
        1e-5 * length,
        "nats; 1e-5 for each token of the window",
    )
    yield Comparison(
        "llr with sharing, two whole windows, bfloat16",
        lambda: root_mean_square(shared("bfloat16"), whole("float32")),
        lambda: 3 * root_mean_square(whole("bfloat16"), whole("float32")),
        "nats, root mean square, from float32; three times that of two whole windows in bfloat16",
    )


def compare_embeddings(bench: Bench) -> Iterator[Comparison]:
    """Embeddings of alleles that share a window against two whole windows each."""
    pairs = draw_pairs(bench)
    whole = functools.cache(lambda dtype: whole_embeddings(bench.model(dtype), pairs))
    yield Comparison(
        "embeddings with sharing, two whole windows, float32",
        lambda: relative(shared_embeddings(bench.wide, pairs), whole("float32")),
        *FLOAT32,
    )
    yield Comparison(
        "embeddings with sharing, two whole windows, bfloat16",
        lambda: root_mean_square(shared_embeddings(bench.narrow, pairs), whole("float32")),
        lambda: 3 * root_mean_square(whole("bfloat16"), whole("float32")),
        "root mean square, from float32; three times that of two whole windows in bfloat16",
    )


def compare_generation(bench: Bench) -> Iterator[Comparison]:
    """Tokens that are generated with a cache and without."""
    prompts = bench.ids(2)[:, : bench.sizes.window // 2]

    def generate(*, use_cache: bool) -> Tensor:
        model: Any = bench.wide
        tokens: Tensor = model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            max_new_tokens=12,
            do_sample=False,
            use_cache=use_cache,
            pad_token_id=1,
        )
        return tokens

    def measure() -> float:
        cached, plain = generate(use_cache=True), generate(use_cache=False)
        return float((cached != plain).sum()) if cached.shape == plain.shape else math.inf

    yield Comparison(
        "generation with a cache, without, float32",
        measure,
        0.0,
        "number of tokens; float32 rounds by far less than the two likeliest tokens differ",
    )


def compare_checkpoint(bench: Bench) -> Iterator[Comparison]:
    """The model itself, and as it is saved to disk and loaded to the device again."""

    def measure() -> float:
        ids = bench.ids()[:, : bench.sizes.cpu_tokens]
        with tempfile.TemporaryDirectory() as folder:
            bench.narrow.save_pretrained(folder)
            loaded = load_model(Path(folder), dtype=torch.bfloat16, devices=[bench.device])
        logits, expected = (model(ids, use_cache=False).logits for model in (loaded, bench.narrow))
        return largest(logits, expected)

    yield Comparison("model, saved and loaded, bfloat16", measure, 0.0, "logits; the same weights")


def compare_fp8(bench: Bench) -> Iterator[Comparison]:
    """The FP8 mode ``emulate`` against the device's own FP8 matrix multiplication."""
    for inner in INNER_SIZES:
        for name, is_fast in (("fast", True), ("precise", False)):

            def measure(inner: int = inner, is_fast: bool = is_fast) -> float:
                x, weight = draw_e4m3(inner)
                try:
                    found = scaled_product(x, weight, bench.device, is_fast=is_fast)
                except NO_FP8 as error:
                    raise NotRunError(f"torch._scaled_mm: {describe_error(error)}") from None
                return relative(found, PRODUCTS["emulate"](x, weight, 1.0))

            yield Comparison(
                f"fp8 emulate, torch._scaled_mm, {inner} products, {name}",
                measure,
                3e-2,
                "share of the largest; Hopper and Ada sum with 13 fraction bits and truncate",
            )


COMPARISONS: dict[str, Callable[[Bench], Iterator[Comparison]]] = {
    "operators": compare_operators,
    "model": compare_model,
    "attention": compare_attention,
    "segments": compare_segments,
    "continuation": compare_continuation,
    "branches": compare_branches,
    "sharing": compare_sharing,
    "embeddings": compare_embeddings,
    "generation": compare_generation,
    "checkpoint": compare_checkpoint,
    "fp8": compare_fp8,
}


def run_checks(bench: Bench) -> Iterator[Result]:
    """Run all checks one after the other. One that fails does not end the others.

    Args:
        bench: The device and the model.

    Yields:
        The result of each check, as soon as it is known.
    """
    for name, compare in COMPARISONS.items():
        try:
            comparisons = list(compare(bench))
        except Exception as error:  # whatever it is, it is the result of these checks
            yield Result(name, "error", reason=describe_error(error))
            continue
        for comparison in comparisons:
            with torch.no_grad():
                yield run_check(comparison)


def run_check(comparison: Comparison) -> Result:
    """Measure a difference, and compare it with its limit."""
    try:
        difference = comparison.measure()
        limit = comparison.limit if isinstance(comparison.limit, float) else comparison.limit()
    except NotRunError as error:
        return Result(comparison.name, "not_run", reason=str(error))
    except Exception as error:  # whatever it is, it is the result of this check
        return Result(comparison.name, "error", reason=describe_error(error))
    status = "passed" if difference <= limit else "failed"  # nan fails too
    return Result(comparison.name, status, difference, limit, comparison.reason)


def describe_error(error: BaseException) -> str:
    """Kind and first line of an exception, without paths."""
    first, *_ = [*str(error).strip().splitlines(), ""]
    words = ["(path)" if "/" in word else word for word in first.split()]
    return f"{type(error).__name__}: {' '.join(words)}"[:300]
