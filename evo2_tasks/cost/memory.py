"""Memory that scoring takes on its device, by arithmetic.

D channels, I channels inside the MLP, L tokens, V vocabulary.
"""

from dataclasses import dataclass

from evo2_tasks.cost.shapes import (
    CHUNK_LENGTH,
    ITEM_BYTES,
    LEAST_QUERIES,
    MASK_ELEMENTS,
    SLICE_BYTES,
    ModelShape,
)

# A CPU job holds more than lives in its tensors: freed blocks stay with the process. Measured: 1.28
# to 1.32 with torch 2.13 at widths of 128 to 512.
CPU_HEAP_FACTOR = 1.3

# Python, torch, pyarrow and what loading leaves, of a process that scores.
PROCESS_MB = 550

MASK_BYTES = 11  # and half an item: measured


def activation_bytes_per_token(shape: ModelShape, dtype: str) -> float:
    """Bytes that live at the worst moment of a forward pass, for each token that goes through.

    The input of the model, of the layer and of the operator are there all the time (3 D), and so
    is what the operator or the MLP of that moment makes of them.
    """
    D, I, item = shape.hidden_size, shape.intermediate_size, ITEM_BYTES[dtype]  # noqa: E741, N806
    narrow = item < 4  # the filters compute in float32
    moments: list[float] = [
        item * (5 * D + 3 * I)
    ]  # the MLP: residual and operator's output, two halves, gate
    if shape.num_attention < shape.num_layers:
        moments.append(item * D * (3 + 3 + 3 + 3))  # the featurizer: input, padded, output
    if shape.num_attention:  # queries and keys are turned in float32
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
    """Bytes that scoring takes on its device."""

    weights: int
    keys_and_values: int
    state: int
    batch: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.keys_and_values + self.state + self.batch


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
    on_cpu: bool = False,
) -> DeviceMemory:
    """What scoring takes on its device, or on the fullest of several, by arithmetic.

    For substitutions in centered windows.

    Args:
        shape: The model's.
        dtype: Number type of its weights.
        window_length: Tokens of a window.
        batch_tokens: Tokens that go through at once; a longer row is a batch of its own.
        segment_length: More tokens of a row than these go through in several calls.
        horizon: Tokens that are scored from the first difference on; None for all.
        num_devices: Devices that share the model, each a range of its layers.
        offload: Whether keys and values wait in host memory, but for those of one layer.
        on_cpu: Whether the device is a CPU, whose attention over a cache writes its mask out.
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
        at_once * D * 4 + SLICE_BYTES,  # the output matrix
    ]
    kept = trunks * prefix + (rows * branch if branch > segment_length else 0)
    kv = 0
    if shape.num_attention:
        of_one = kept * shape.kv_bytes_per_token(dtype) // shape.num_attention
        kv = 0 if offload else of_one * shape.most_attention(num_devices)
        # Those of the trunks and of the branches are joined, a layer at a time.
        total = prefix + branch
        attention = float(item * D * (10 * at_once + 2 * rows * total))
        if on_cpu:
            queries = min(branch, segment_length, max(LEAST_QUERIES, MASK_ELEMENTS // total))
            attention += queries * total * (MASK_BYTES + item / 2)
        moments.append(attention)
    share = shape.largest_share(num_devices)
    return DeviceMemory(
        weights=round(shape.weights_bytes(dtype) * share),
        keys_and_values=kv,
        state=round((trunks + rows) * shape.state_bytes(dtype) * share),
        batch=round(max(moments)),
    )


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
    """Tokens that fit at once, a power of two.

    Args:
        shape: The model's.
        dtype: Number type of its weights.
        window_length: Tokens of a window.
        segment_length: More tokens of a row than these go through in several calls.
        memory: Bytes of the device.
        horizon: Tokens that are scored from the first difference on; None for all.
        num_devices: Such devices that share the model.
        used: Share of them to plan with; the rest is for what the allocator cannot use.

    Returns:
        None where not even the weights and a short batch fit.
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
