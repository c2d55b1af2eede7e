"""How many tokens per second a model runs."""

import time
from collections.abc import Sequence
from typing import Any

from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.scoring.likelihood import window_log_probs


def measure_tokens_per_s(
    model: Evo2ForCausalLM, windows: Sequence[bytes], *, seconds: float, **settings: Any
) -> float:
    """Run one batch of windows again and again, and measure the rate.

    The first run warms up and is not counted.

    Args:
        model: The model, in eval mode.
        windows: The batch.
        seconds: Time to measure; one run is measured in any case.
        **settings: As for `window_log_probs`.

    Returns:
        Tokens per second.
    """
    window_log_probs(model, windows, **settings)
    started = time.monotonic()
    num_runs = 0
    while num_runs == 0 or time.monotonic() - started < seconds:
        window_log_probs(model, windows, **settings)
        num_runs += 1
    return num_runs * sum(map(len, windows)) / (time.monotonic() - started)
