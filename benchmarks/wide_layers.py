"""`evo2-tasks` with a stub of wide layers: the output of each layer becomes one with more channels.

The memory that embeddings of a wide model take can so be measured with a narrow model, which runs
fast. The first argument is the number of channels. `embedding_steps.py` uses it.
"""

import sys

from evo2_tasks.cli import main as run_command
from evo2_tasks.steps import merge_embeddings, score_readouts


def main() -> None:
    width = int(sys.argv.pop(1))
    for step in (merge_embeddings, score_readouts):
        step.layer_width = lambda *_: width
    if "score-readouts" in sys.argv:
        widen_layers(width)
    run_command()


def widen_layers(width: int) -> None:
    """Repeat the channels of each layer. Each gets a factor: equal numbers would be compressed."""
    import torch  # noqa: PLC0415 (the merge needs none)

    from evo2_tasks.scoring.layer_sums import LayerWatch  # noqa: PLC0415

    look = LayerWatch._look
    factors = torch.rand(width)

    def look_wide(self, layer, module, args, output):
        if self._groups:
            wide = output.repeat(1, 1, width // output.shape[2]).mul_(factors)
            look(self, layer, module, args, wide)

    LayerWatch._look = look_wide


if __name__ == "__main__":
    main()
