"""Memory that scoring needs on its device, computed from the shape of the model.

All numbers that were measured, not derived, are in this file, each with its measurement.

D channels, I channels inside the MLP, L tokens, V vocabulary.
"""

import math
from dataclasses import asdict, dataclass, replace

from evo2_tasks.cost.shapes import (
    CHUNK_LENGTH,
    ITEM_BYTES,
    POSITIONS_PER_SLICE,
    VOCAB_SIZE,
    ModelShape,
)

# Memory of a CPU job, divided by the memory of its tensors: freed blocks stay with the process.
# Measured with torch 2.13 on two cores of an AMD EPYC, at widths of 128 to 512: 1.28 to 1.32.
CPU_HEAP_FACTOR = 1.3
# The same for sequences of different lengths: the blocks of one batch do not fit those of the next.
# Measured with evo2-mini on 1,500 sequences of 50 to 200 bases: 2.2; of 100 bases each: 1.4.
SEQUENCE_HEAP_FACTOR = 2.3

# Memory of a scoring process without the tensors of its model: Python, torch, pyarrow, and memory
# that the process keeps after loading. Measured with torch 2.13.0 on a CPU: 434 MB after the
# imports, 512 MB at the peak after loading evo2-mini and scoring the canaries.
PROCESS_MB = 550

# Tokens of the canaries, the fixed alleles of `runtime/canaries.py`: one batch.
CANARY_TOKENS = 2048


def activation_bytes_per_token(shape: ModelShape, dtype: str) -> float:
    """Peak memory of a forward pass, in bytes for each token of the batch.

    The inputs of the model, of the layer and of the operator are held all the time (3 D). The
    operator or MLP that runs at that moment adds its own tensors.
    """
    D, I, item = shape.hidden_size, shape.intermediate_size, ITEM_BYTES[dtype]  # noqa: E741, N806
    narrow = item < 4  # the filters compute in float32
    moments: list[float] = [
        item * (5 * D + 3 * I)
    ]  # the MLP: residual and operator's output, two halves, gate
    if shape.num_attention < shape.num_layers:
        moments.append(item * D * (3 + 3 + 3))  # the featurizer: input and output
    if shape.num_attention:  # queries and keys are rotated in float32
        moments.append(item * D * (3 + 3 + 1) + 4 * D * (2 + narrow))
    if "hyena_mr" in shape.operators:
        filtered = 4 * D * 3 + item * D if narrow else 4 * D * 3
        moments.append(item * D * (3 + 3 + 3 + 1) + filtered)
    if "hyena_li" in shape.operators:
        states = 3 * shape.state_size / CHUNK_LENGTH
        moments.append(item * D * (3 + 3 + 3 + 1) + 4 * D * (4 + states + narrow))
    return max(moments)


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes that scoring needs on its device."""

    weights: int
    keys_and_values: int
    state: int
    batch: int

    @property
    def total(self) -> int:
        """Sum of the four."""
        return self.weights + self.keys_and_values + self.state + self.batch

    def in_mb(self) -> dict[str, int]:
        """The four and, as ``device``, their sum, in MB."""
        parts = {**asdict(self), "device": self.total}
        return {name: round(held / 1e6) for name, held in parts.items()}


def device_memory(
    shape: ModelShape,
    dtype: str,
    *,
    window_length: int,
    batch_tokens: int,
    segment_length: int,
    horizon: int | None = None,
    num_devices: int = 1,
    offload: bool = False,
) -> DeviceMemory:
    """Memory that scoring needs on its device; of several devices, on the one that needs the most.

    The estimate is for substitutions in centered windows.

    Args:
        shape: Shape of the model.
        dtype: Data type of the weights.
        window_length: Tokens of a window.
        batch_tokens: Tokens of a batch. A longer row is a batch of its own.
        segment_length: A row with more tokens than this goes through the model in several calls.
        horizon: Tokens that are scored from the first difference on; None for all.
        num_devices: Devices that share the model, each with a range of its layers.
        offload: Whether keys and values are in host memory, except for those of one layer.
    """
    D, item = shape.hidden_size, ITEM_BYTES[dtype]  # noqa: N806 - as in the legend
    prefix = window_length // 2
    branch = min(horizon or window_length, window_length - prefix)
    rows = max(1, batch_tokens // branch)
    trunks = max(1, min(rows // 2, batch_tokens // 2 // prefix))
    at_once = max(trunks * min(prefix, segment_length), rows * min(branch, segment_length))
    moments: list[float] = [
        at_once * activation_bytes_per_token(shape, dtype),
        at_once * D * (2 * item + 2 * 4 + (4 if item < 4 else 0)),  # the final norm
        # The output matrix: logits of one slice of positions in float32, and their exponentials.
        at_once * D * 4 + 2 * 4 * min(POSITIONS_PER_SLICE, at_once) * VOCAB_SIZE,
    ]
    kept = trunks * prefix + (rows * branch if branch > segment_length else 0)
    kv = 0
    if shape.num_attention:
        of_one = kept * shape.kv_bytes_per_token(dtype) // shape.num_attention
        kv = 0 if offload else of_one * shape.most_attention(num_devices)
        # Inputs, queries, keys and values before and after the rotation; the outputs of two parts
        # of the attention, which are merged in float32; and the stacked queries of all branches.
        parts = 3 * item if item == 4 else 2 * item + 2 * 4
        attention = at_once * D * (8 * item + parts)
        moments.append(attention + (of_one if offload else 0))
    share = shape.largest_share(num_devices)
    return DeviceMemory(
        weights=round(shape.weights_bytes(dtype) * share),
        keys_and_values=kv,
        state=round((trunks + rows) * shape.state_bytes(dtype) * share),
        batch=round(max(moments)),
    )


def sequence_memory(
    shape: ModelShape,
    dtype: str,
    *,
    longest: int,
    batch_tokens: int,
    segment_length: int,
    num_devices: int = 1,
    offload: bool = False,
) -> DeviceMemory:
    """Memory for sequences that are read whole, without forks.

    Args:
        shape: The model.
        dtype: Data type of its weights.
        longest: Tokens of the longest sequence.
        batch_tokens: Tokens of a batch. A longer sequence is a batch of its own.
        segment_length: A sequence with more tokens goes through the model in several calls. Only
            then are keys, values and states kept between calls.
        num_devices: Devices that share the model, each with a range of its layers.
        offload: Whether keys and values are in host memory, except for those of one layer.
    """
    memory = device_memory(
        shape,
        dtype,
        window_length=max(2, longest),
        batch_tokens=max(longest, batch_tokens),
        segment_length=segment_length,
        horizon=None,
        num_devices=num_devices,
        offload=offload,
    )
    return memory if longest > segment_length else replace(memory, keys_and_values=0, state=0)


def limit_batch(batch_tokens: int, alleles: float, *, window_length: int, strands: str) -> int:
    """Tokens of the largest batch of a job that may have few alleles.

    Args:
        batch_tokens: Tokens of a batch at most, as the config sets them.
        alleles: Alleles of the job.
        window_length: Tokens of a window.
        strands: Strands of the scoring; ``both`` needs four windows for each allele.

    Returns:
        ``batch_tokens``, or the tokens of all windows if these are fewer. The fixed alleles that
        each job scores count as well.
    """
    windows = 4 if strands == "both" else 2
    return min(batch_tokens, max(CANARY_TOKENS, windows * window_length * math.ceil(alleles)))


def suggest_batch_tokens(
    shape: ModelShape,
    dtype: str,
    *,
    window_length: int,
    segment_length: int,
    memory: float,
    horizon: int | None = None,
    num_devices: int = 1,
    used: float = 0.8,
) -> int | None:
    """The largest batch that fits into the memory of the device.

    Args:
        shape: Shape of the model.
        dtype: Data type of the weights.
        window_length: Tokens of a window.
        segment_length: A row with more tokens than this goes through the model in several calls.
        memory: Memory of one device, bytes.
        horizon: Tokens that are scored from the first difference on; None for all.
        num_devices: Devices of this size that share the model.
        used: Share of the memory to use. The rest is for fragments that the allocator cannot use.

    Returns:
        Tokens of a batch, a power of two; None if the weights and a short batch do not fit.
    """
    fitting = [
        2**power
        for power in range(10, 31)
        if device_memory(
            shape,
            dtype,
            window_length=window_length,
            batch_tokens=2**power,
            segment_length=segment_length,
            horizon=horizon,
            num_devices=num_devices,
        ).total
        <= used * memory
    ]
    return max(fitting, default=None)
