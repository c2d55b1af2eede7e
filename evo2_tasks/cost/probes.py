"""What the probes of a config need to know of its models: the layers of their embeddings."""

from evo2_tasks.config.probes import Layers, require_layers
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.cost.embeddings import list_layers_of
from evo2_tasks.scoring.layers import module_path


def find_layers(config: RunConfig) -> Layers:
    """The layers of the embeddings of each scoring of a set with probes.

    Raises:
        InputError: A scoring or a probe names a layer that the model does not have, or a probe a
            folder that this run does not make.
    """
    scorings = {
        scoring: None
        for one in config.variant_sets.values()
        for scoring in (one.scorings if one.probes else ())
    }
    layers: dict[str, dict[str, str]] = {}
    for scoring in scorings:
        if config.scorings[scoring].embeddings is not None:
            layers[scoring] = {name: module_path(name) for name in list_layers_of(config, scoring)}
    require_layers(config, layers)
    return layers
