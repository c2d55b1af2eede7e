"""The layers of the embeddings of a scoring, and what the embeddings take: memory and disk."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from evo2_tasks.config.resolve import ModelSettings, ReadOutSettings, resolve_readouts
from evo2_tasks.cost.layers import default_layer, find_layer
from evo2_tasks.cost.shapes import RELEASE_SHAPES, ModelShape, read_shape
from evo2_tasks.errors import InputError
from evo2_tasks.hub import find_release, parse_hub_name
from evo2_tasks.scoring.layers import BLOCK_PARTS, WHOLE_MODEL, module_path
from evo2_tasks.scoring.part_sizes import embedding_bytes, most_pairs

if TYPE_CHECKING:
    from evo2_tasks.config.schema import EmbeddingsConfig, RunConfig
    from evo2_tasks.config.sequences import EmbedSequencesSettings
    from evo2_tasks.config.track_embeddings import EmbedTracksSettings

ITEM_BYTES: Final = {"float32": 4, "float16": 2, "int8": 1}

COPIES: Final = 4
"""Memory of ``score_readouts`` for embeddings, in copies of those of a part: the sums that the
model gave, the records that were made of them, and the columns of the file of a part. A stub with
4,096 channels took 3.0 with up to two parts, and 3.9 with eleven (``embedding_steps.py --wide``).
"""

ROW_GROUP: Final = 64 * 2**20
"""Bytes of embeddings that the file of a shard takes at once when it is written."""


def name_layers(settings: ReadOutSettings) -> ReadOutSettings:
    """The same settings with the published names of the layers, the default filled in.

    Args:
        settings: The settings of the read-outs of a scoring.

    Raises:
        InputError: The model has no such layer, as far as its shape is known; two names are of one
            layer; or no layer is named and the model has no default.
    """
    asked = settings.embeddings
    if asked is None:
        return settings
    key = f"scorings.{settings.score.name}.embeddings.layer"
    layers = name_layers_of(asked, settings.score.model, key)
    return replace(settings, embeddings=asked.model_copy(update={"layer": layers}))


def name_sequence_layers(settings: EmbedSequencesSettings) -> EmbedSequencesSettings:
    """The same settings with the published names of the layers, the default filled in.

    Args:
        settings: The settings of the embeddings of sequences.

    Raises:
        InputError: See :func:`name_layers`.
    """
    key = f"scorings.{settings.score.name}.embeddings.layer"
    layers = name_layers_of(settings.embeddings, settings.score.model, key)
    named = settings.embeddings.model_copy(update={"layer": layers})
    return replace(settings, embeddings=named)


def name_track_layers(settings: EmbedTracksSettings) -> EmbedTracksSettings:
    """The same settings with the published names of the layers, the default filled in.

    Args:
        settings: The settings of the embeddings of regions.

    Raises:
        InputError: See :func:`name_layers`.
    """
    score = settings.score.score
    key = f"scorings.{score.name}.embeddings.layer"
    layers = name_layers_of(settings.embeddings, score.model, key)
    named = settings.embeddings.model_copy(update={"layer": layers})
    return replace(settings, embeddings=named)


def name_layers_of(asked: EmbeddingsConfig, model: ModelSettings, key: str) -> tuple[str, ...]:
    """The published names of layers, the default filled in.

    Args:
        asked: What the config asks for.
        model: The model.
        key: The key of the config, for messages.

    Raises:
        InputError: See :func:`name_layers`.
    """
    shape = find_shape(model)
    layers: dict[str, str] = {}
    for written in asked.layers or (choose_default(model, shape, key),):
        layer = find_name(written, shape, key)
        if layer in layers:
            raise InputError(
                f"config: {key}: {written!r} is the same layer as {layers[layer]!r}; name it once"
            )
        layers[layer] = written
    return tuple(layers)


def choose_default(model: ModelSettings, shape: ModelShape | None, key: str) -> str:
    """The layer that the authors of a release use.

    Raises:
        InputError: The model is not a release, or no source names a layer of it.
    """
    release = find_model_release(model)
    layer = default_layer(release)
    if layer is None:
        last = "N" if shape is None else str(shape.num_layers - 1)
        raise InputError(
            f"config: {key}: is missing, and no published layer is known for this model. Name one, "
            f"for example blocks.{last}, blocks.{last}.mlp.l3 or norm; several can be compared in "
            "one run."
        )
    return layer


def find_model_release(model: ModelSettings) -> str | None:
    """The release that a model is; None if it is not known to be one."""
    on_hub = parse_hub_name(model.written)
    if on_hub is not None:
        published = find_release(on_hub.repository)
        return None if published is None else published.model
    if model.model is not None:
        return model.model
    name = model.checkpoint.name.partition(".")[0]
    return name if model.config is None and name in RELEASE_SHAPES else None


def find_shape(model: ModelSettings) -> ModelShape | None:
    """The shape of a model; None if it is not known before the model is fetched or made."""
    try:
        return read_shape(model)
    except InputError:  # the file does not exist yet, or the step that opens the model reports it
        return None


def find_name(written: str, shape: ModelShape | None, key: str) -> str:
    """The published name of a layer.

    Args:
        written: The name in the config: the published one, or the path of the module.
        shape: The shape of the model, if it is known.
        key: The key of the config, for messages.

    Raises:
        InputError: No model, or not this one, has such a layer.
    """
    try:
        if shape is not None:
            return find_layer(written, shape).name
        name = published_name(written)
        module_path(name)
    except ValueError as error:
        raise InputError(f"config: {key}: {error}") from error
    return name


def published_name(written: str) -> str:
    """The published name of a part, from the path of its module; any other name as it is."""
    for name, module in WHOLE_MODEL.items():
        if written == module:
            return name
    found = re.fullmatch(r"model\.layers\.(\d+)(?:\.(.+))?", written, re.ASCII)
    if found is None:
        return written
    parts = {module: name for name, module in BLOCK_PARTS.items()}
    block = f"blocks.{found[1]}"
    return block if found[2] is None else f"{block}.{parts.get(found[2], found[2])}"


def list_layers_of(config: RunConfig, scoring: str) -> tuple[str, ...]:
    """The published names of the layers of a scoring's embeddings; none without embeddings.

    Raises:
        InputError: See :func:`name_layers`.
    """
    embeddings = name_layers(resolve_readouts(config, scoring)).embeddings
    return () if embeddings is None else embeddings.layers


def require_layers(config: RunConfig) -> None:
    """Make sure that the layers that a config names exist, as far as it is known before a job.

    Raises:
        InputError: See :func:`name_layers`.
    """
    for scoring in config.scorings:
        list_layers_of(config, scoring)


def layer_width(layer: str, model: ModelSettings) -> int:
    """Number of channels of a layer.

    Raises:
        InputError: The shape of the model cannot be read.
        ValueError: It has no such layer.
    """
    return find_layer(layer, read_shape(model)).width


def bytes_per_allele(width: int, asked: EmbeddingsConfig, *, strands: str) -> int:
    """Bytes of the embeddings of an allele in the table of a layer.

    Args:
        width: Number of channels of the layer.
        asked: What the config asks for.
        strands: Strands of the scoring.
    """
    return 2 * width * ITEM_BYTES[asked.dtype] * _num_readings(asked, strands)


def shard_bytes_per_allele(width: int, asked: EmbeddingsConfig, *, strands: str) -> int:
    """Bytes of the embeddings of an allele in the files of a shard, which have float32."""
    return 2 * width * ITEM_BYTES["float32"] * _num_readings(asked, strands)


def _num_readings(asked: EmbeddingsConfig, strands: str) -> int:
    """The mean of the strands, and each strand if it is kept."""
    if not asked.keep_strands:
        return 1
    return 1 + _num_strands(strands)


def _num_strands(strands: str) -> int:
    return 2 if strands == "both" else 1


def embeddings_memory(settings: ReadOutSettings, alleles: float | None) -> int:
    """Host memory for the embeddings of a part, or of a piece of a file, bytes.

    It is 0 without embeddings, and bounded for any number of alleles.

    Args:
        settings: The read-outs, with the names of the layers.
        alleles: Alleles of the shard; None if they are not counted yet.
    """
    asked, scoring, widths = settings.embeddings, settings.score.scoring, list_widths(settings)
    most = most_pairs(widths)
    if asked is None or most is None:
        return 0
    strands = _num_strands(scoring.strands)
    # At least the tokens from the first difference on count for each allele and strand.
    step = scoring.window_step or 0
    branch = min(scoring.horizon or scoring.window_length, (scoring.window_length - step) // 2)
    in_part = min(most, math.ceil(settings.score.run.part_tokens / max(1, branch)))
    if alleles is not None:
        in_part = min(in_part, strands * math.ceil(alleles))
    written = ROW_GROUP
    if alleles is not None:
        per_allele = shard_bytes_per_allele(max(widths), asked, strands=scoring.strands)
        written = min(written, math.ceil(alleles) * per_allele)
    return COPIES * max(in_part * embedding_bytes(widths), written)


def list_widths(settings: ReadOutSettings) -> list[int]:
    """Number of channels of each layer of the embeddings; none without embeddings.

    Args:
        settings: The read-outs, with the names of the layers.
    """
    asked, shape = settings.embeddings, find_shape(settings.score.model)
    if asked is None or shape is None:
        return []
    return [find_layer(layer, shape).width for layer in asked.layers]
