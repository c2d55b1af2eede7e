"""Checkpoints: published files and folders that `from_pretrained` reads, and the way between them.

A converted folder holds every tensor in the bits and the dtype of the published file. What the
reference does to them when it loads, rounding all but a few to bfloat16, is left to loading; the
folder's config says so where it matters (`Evo2Config.round_weights_to`).
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import GenerationConfig
from transformers.dynamic_module_utils import custom_object_save

from .config import NEEDS_FP8, PRESETS, Evo2Config
from .folders import (
    CONVERSION,
    INDEX,
    WEIGHTS,
    FileStatement,
    hash_file,
    new_file,
    require_room,
    state_conversion,
    unfinished_folder,
    write_weights,
)
from .modeling import Evo2ForCausalLM, Evo2PreTrainedModel
from .placement import bring_inputs, device_of, place_modules
from .published import (
    Fp8State,
    PublishedFile,
    StoredTensor,
    expected_shapes,
    find_mismatches,
    find_parts,
    fp8_name,
    make_fp8_blob,
    match_published,
    published_mismatches,
    published_name,
)
from .tokenizer import Evo2Tokenizer

FP8_SCALES = "fp8_scales.safetensors"
SAFETENSORS_DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
# What makes two configs the same model but for its weights.
GEOMETRY = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "operators"),
    *("featurizer_length", "hyena_se_length", "hyena_se_groups", "hyena_mr_length"),
    *("hyena_mr_groups", "state_size", "norm_eps", "rope_parameters"),
)


def load_model(
    checkpoint: Path,
    *,
    dtype: torch.dtype,
    devices: Sequence[torch.device],
    model: str | None = None,
    config: Path | None = None,
    fp8: str | None = None,
    allow_without_fp8: bool = False,
) -> Evo2ForCausalLM:
    """Load a model to run it, as the reference would hold it.

    Args:
        checkpoint: A folder that `save_pretrained` or `convert_published` wrote, or a published
            ``.pt`` file or its first part.
        dtype: Dtype of the weights; poles, residues and RoPE frequencies stay in float32.
        devices: Where to put it; over several, in contiguous ranges of layers.
        model: Which release a published file is of, if its name and shapes do not say.
        config: The published YAML config of a published file that is of no release.
        fp8: How the input projections are computed, one of `FP8_MODES`; None is as the checkpoint
            says: a converted folder by its config, a published file by the release that it is.
        allow_without_fp8: Whether to take ``off`` for a checkpoint that needs FP8.

    Returns:
        The model, in eval mode.

    Raises:
        ValueError: The checkpoint cannot be read, a tensor is missing, unknown or misshapen, or it
            needs FP8 and is not to have it.
    """
    with ExitStack() as stack:
        if checkpoint.is_dir():
            if model is not None or config is not None:
                raise ValueError(f"{checkpoint}: has a config of its own; give no model or config.")
            geometry = read_config(checkpoint)
            tensors = read_folder(checkpoint, geometry, stack)
        else:
            file = PublishedFile(checkpoint)
            geometry = choose_config(file, model=model, config=config)
            tensors, fp8_states = match_published(file, geometry)
            set_fp8(geometry, fp8_states)
            geometry.round_weights_to = "bfloat16"
        if fp8 == "off" and geometry.fp8 != "off" and not allow_without_fp8:
            raise ValueError(
                f"{checkpoint}: its projections were trained in FP8, and without it its output is "
                "near random; set fp8 to emulate, or allow_without_fp8 to run it so."
            )
        geometry.fp8 = geometry.fp8 if fp8 is None else fp8
        geometry.check_fp8()
        rounded = geometry.round_weights_to
        geometry.round_weights_to = None
        geometry.dtype = dtype
        with torch.device("meta"):
            loaded = Evo2ForCausalLM(geometry)
        places = place_modules(geometry, devices)
        weights = {
            name: _convert(name, stored.read(), rounded, dtype, device_of(name, places))
            for name, stored in tensors.items()
        }
    check_poles(checkpoint, weights)
    loaded.load_state_dict(weights, strict=False, assign=True)
    loaded.tie_weights()
    if len(devices) > 1:
        bring_inputs(loaded, places)
    if checkpoint.is_dir() and (checkpoint / "generation_config.json").is_file():
        loaded.generation_config = GenerationConfig.from_pretrained(checkpoint)
    loaded.eval()
    return loaded


def _convert(
    name: str, tensor: Tensor, rounded: str | None, dtype: torch.dtype, device: torch.device
) -> Tensor:
    if keeps_float32(name):
        return tensor.to(device, torch.float32, copy=True)
    if rounded is not None:
        tensor = tensor.to(getattr(torch, rounded))
    return tensor.to(device, dtype, copy=True)


def keeps_float32(name: str) -> bool:
    """Whether a tensor stays in float32 in a narrower model."""
    return name.rpartition(".")[2] in Evo2PreTrainedModel._keep_in_fp32_modules_strict


def convert_published(
    source: Path,
    out: Path,
    *,
    model: str | None = None,
    config: Path | None = None,
    checksums: Mapping[str, str] | None = None,
) -> None:
    """Write a published checkpoint as a folder for `from_pretrained`, bits and dtypes unchanged.

    The published file is mapped and written tensor by tensor; memory does not hold more than one.
    FP8 scales go to a file of their own. What a conversion has finished when it is killed is not
    done again by the next one.

    Args:
        source: The ``.pt`` file, or its first part.
        out: The folder to make; it appears complete or not at all.
        model: Which release it is, if name and shapes do not say.
        config: Its published YAML config, if it is no release.
        checksums: SHA-256 that the file or its parts are to have, by their names.

    Raises:
        ValueError: The file does not hold what it should, `out` exists, or its disk is too small.
    """
    file = PublishedFile(source)
    geometry = choose_config(file, model=model, config=config)
    tensors, fp8_states = match_published(file, geometry)
    set_fp8(geometry, fp8_states)
    kept = {name: stored for name, stored in tensors.items() if keeps_float32(name)}
    if any(stored.dtype != torch.bfloat16 for name, stored in tensors.items() if name not in kept):
        geometry.round_weights_to = "bfloat16"
    geometry.dtype = torch.bfloat16
    geometry.architectures = [Evo2ForCausalLM.__name__]
    with unfinished_folder(out) as folder:
        sources = state_files(find_parts(source), checksums or {})
        check_poles(source, {name: stored.read() for name, stored in kept.items()})
        geometry.save_pretrained(folder)
        with torch.device("meta"):
            custom_object_save(Evo2ForCausalLM(geometry), folder)  # its code, as in save_pretrained
        GenerationConfig.from_model_config(geometry).save_pretrained(folder)
        Evo2Tokenizer().save_pretrained(folder)
        write_weights(folder, tensors, sources=sources)
        if fp8_states:
            write_fp8_states(folder / FP8_SCALES, fp8_states)


def copy_folder(files: Sequence[Path], out: Path, *, checksums: Mapping[str, str]) -> None:
    """Copy the files of a saved model, which may lie elsewhere one by one, to a folder.

    Args:
        files: Config and weights.
        out: The folder to make; it appears complete or not at all.
        checksums: SHA-256 that files are to have, by their names.

    Raises:
        ValueError: They are no such model, `out` exists, or its disk is too small.
    """
    with unfinished_folder(out) as folder:
        sources = state_files(files, checksums)
        require_room(folder.parent, sum(file.stat().st_size for file in files))
        for file in files:
            shutil.copyfile(file, folder / file.name)
        with ExitStack() as stack:
            read_folder(folder, read_config(folder), stack)
        state_conversion(folder, sources, sources)


def state_files(files: Sequence[Path], checksums: Mapping[str, str]) -> dict[str, FileStatement]:
    """Size and SHA-256 of files by their names.

    Raises:
        ValueError: One has not the checksum that it is to have.
    """
    statements: dict[str, FileStatement] = {}
    for file in files:
        digest = hash_file(file)
        expected = checksums.get(file.name, digest)
        if digest != expected:
            raise ValueError(
                f"{file.resolve()}: its SHA-256 is {digest} and not {expected}; it is damaged, or "
                "another file. Remove it and get it again."
            )
        statements[file.name] = {"bytes": file.stat().st_size, "sha256": digest}
    return statements


def export_published(folder: Path, out: Path) -> None:
    """Write a folder as a published checkpoint, bits and dtypes unchanged.

    Beside it, with the suffix ``.yml``, goes its config in the published spelling, with which
    `convert_published` reads it back.

    Args:
        folder: What `convert_published` or `save_pretrained` wrote.
        out: The ``.pt`` file to write; it appears complete or not at all.

    Raises:
        ValueError: The folder does not hold what it should, or `out` exists or is no ``.pt``.
    """
    if out.suffix != ".pt":
        raise ValueError(f"{out}: a published checkpoint is a file that ends in .pt; name it so.")
    config_out = out.with_suffix(".yml")
    for path in (out, config_out):
        if path.exists():
            raise ValueError(f"{path}: exists; name a new file or remove it.")
    geometry = read_config(folder)
    if not geometry.tie_word_embeddings:
        raise ValueError(f"{folder}: has an output matrix of its own; published files have none.")
    with ExitStack() as stack:
        tensors = read_folder(folder, geometry, stack)
        entries: dict[str, Any] = {
            published_name(name): stored.read() for name, stored in tensors.items()
        }
        # The reference's loader expects its unused output matrix; saved once with the embedding.
        entries["unembed.weight"] = entries["embedding_layer.weight"]
        for module, state in read_fp8_states(folder / FP8_SCALES).items():
            entries[fp8_name(module)] = make_fp8_blob(state)
        with new_file(config_out) as file:
            file.write_text(yaml.safe_dump(geometry.to_published(), sort_keys=False))
        with new_file(out) as file:
            torch.save(entries, file)


def recognise(config: Evo2Config) -> str | None:
    """Name of the release that a config is the geometry of, the first where two share one."""
    for name in PRESETS:
        preset = Evo2Config.from_preset(name)
        if all(getattr(preset, key) == getattr(config, key) for key in GEOMETRY):
            return name
    return None


def set_fp8(config: Evo2Config, states: Mapping[str, Fp8State]) -> None:
    """Say in the config of a published file what its FP8 scales are, and whether it needs them.

    Args:
        config: The config, which is written to.
        states: The FP8 scaling that the file holds, by our names of its linear maps.

    Raises:
        ValueError: A scale is no number above 0.
    """
    scales: list[list[float] | None] = [None] * config.num_hidden_layers
    for layer in range(config.num_hidden_layers):
        state = states.get(f"model.layers.{layer}.mixer.projections")
        if state is not None and "scale_fwd" in state.tensors:
            forward = state.tensors["scale_fwd"].float()  # of input, weight, output
            # Files of older versions of Transformer Engine hold the inverses too.
            inverse = state.tensors.get("scale_inv_fwd", 1 / forward).float()
            scales[layer] = [float(forward[0]), float(forward[1]), float(inverse[0] * inverse[1])]
    config.fp8_scales = scales if any(scales) else None
    config.fp8 = "emulate" if config.fp8_projections and recognise(config) in NEEDS_FP8 else "off"
    config.check_fp8()


def weights_digest(model: Evo2ForCausalLM) -> str:
    """SHA-256 over the loaded tensors: names in order, dtypes, shapes and bytes.

    The FP8 scales count where the model uses them.

    Args:
        model: The model, on any device.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    tied = model.all_tied_weights_keys
    for name, tensor in sorted(model.state_dict().items()):
        if name in tied:
            continue
        _digest_tensor(digest, name, tensor)
    if model.config.fp8 != "off":
        digest.update(json.dumps(model.config.fp8_scales).encode())
    return digest.hexdigest()


def layer_digests(model: Evo2ForCausalLM) -> list[str]:
    """SHA-256 over the tensors of each layer, by their names within it: 64 digits each."""
    digests = []
    for layer in model.model.layers:
        digest = hashlib.sha256()
        for name, tensor in sorted(layer.state_dict().items()):
            _digest_tensor(digest, name, tensor)
        digests.append(digest.hexdigest())
    return digests


def _digest_tensor(digest: Any, name: str, tensor: Tensor) -> None:
    digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
    data = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
    digest.update(data.numpy())


def read_release(
    checkpoint: Path, *, model: str | None = None, config: Path | None = None
) -> str | None:
    """The release that a checkpoint says it is.

    Args:
        checkpoint: As in `load_model`; a folder says so by its `conversion.json`, which is not
            saved along with a model that was trained on.
        model: As in `load_model`.
        config: As in `load_model`.

    Returns:
        Its name; None for any other model.

    Raises:
        ValueError: It is a published file and cannot be read.
    """
    if config is not None:
        return None
    if not checkpoint.is_dir():
        return model or _fitting_release(PublishedFile(checkpoint))
    try:
        sources = json.loads((checkpoint / CONVERSION).read_bytes())["sources"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    names = {name.split(".pt")[0] for name in sources}
    return next((name for name in PRESETS if names == {name}), None)


def choose_config(
    file: PublishedFile, *, model: str | None = None, config: Path | None = None
) -> Evo2Config:
    """The config of a published file: the given one, else that of the release it can only be.

    Args:
        file: The published file.
        model: The name of a release.
        config: A published YAML config.

    Raises:
        ValueError: Both are given, the config cannot be read, or the file may be of several
            releases or is of none.
    """
    if model is not None and config is not None:
        raise ValueError("Give the model or its config, not both.")
    if model is not None:
        return Evo2Config.from_preset(model)
    if config is not None:
        return _read_published_config(config)
    return Evo2Config.from_preset(_fitting_release(file))


def _fitting_release(file: PublishedFile) -> str:
    """The release that a file can only be, by its name and shapes.

    Raises:
        ValueError: It may be of several, or is of none.
    """
    name = file.path.name.split(".pt")[0]
    fitting = [
        preset
        for preset in PRESETS
        if not published_mismatches(file, Evo2Config.from_preset(preset))
    ]
    if name in fitting or (name in PRESETS and not fitting):  # then the match says what is wrong
        return name
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ValueError(
            f"{file.path}: may be any of {', '.join(fitting)}, which differ in no shape; say "
            "which with --model."
        )
    raise ValueError(
        f"{file.path}: has the names and shapes of no release; give its config with --config."
    )


def _read_published_config(path: Path) -> Evo2Config:
    try:
        published = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: cannot be read as YAML: {reason}") from error
    if not isinstance(published, dict):
        raise ValueError(f"{path}: holds no keys; a published config was expected.")
    try:
        return Evo2Config.from_published(published)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def check_poles(source: Path, weights: Mapping[str, Tensor]) -> None:
    """Refuse filters that grow.

    Raises:
        ValueError: A log pole is not below 0.
    """
    for name, weight in weights.items():
        if name.endswith(".log_poles") and not bool((weight < 0).all()):
            raise ValueError(f"{source}: {published_name(name)} is not below 0 throughout.")


def read_config(folder: Path) -> Evo2Config:
    """The config of a saved model.

    Raises:
        ValueError: There is none, or of another kind of model.
    """
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text())
        model_type = values.get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if model_type != Evo2Config.model_type:
        raise ValueError(f"{path}: is the config of a {model_type!r} model, not of 'evo2'.")
    config: Evo2Config = Evo2Config.from_dict(values)
    return config


def read_folder(folder: Path, config: Evo2Config, stack: ExitStack) -> dict[str, StoredTensor]:
    """Find each tensor of a saved model.

    Args:
        folder: The folder.
        config: Its config.
        stack: Keeps the files open until it is closed.

    Raises:
        ValueError: A tensor is missing, unknown or misshapen.
    """
    if (folder / INDEX).is_file():
        weight_map = json.loads((folder / INDEX).read_text())["weight_map"]
        names = sorted(set(weight_map.values()))
    else:
        names = [WEIGHTS]
    tensors = {}
    for name in names:
        path = folder / name
        if not path.is_file() or path.parent != folder:
            raise ValueError(f"{folder}: has no {name}.")
        try:
            file = stack.enter_context(safe_open(path, framework="pt"))
        except SafetensorError as error:
            raise ValueError(f"{path}: is cut short or damaged: {error}") from error
        for key in file.keys():  # noqa: SIM118 # no mapping
            view = file.get_slice(key)
            tensors[key] = StoredTensor(
                tuple(view.get_shape()),
                SAFETENSORS_DTYPES.get(view.get_dtype(), torch.uint8),
                partial(file.get_tensor, key),
            )
    shapes = {name: stored.shape for name, stored in tensors.items()}
    mismatches = find_mismatches(shapes, expected_shapes(config))
    if mismatches:
        raise ValueError(f"{folder}: not a checkpoint of its config. {'; '.join(mismatches)}.")
    return tensors


def write_fp8_states(path: Path, states: Mapping[str, Fp8State]) -> None:
    """Write the FP8 scaling of linear maps: tensors as ``{module}.{key}``, the rest as metadata.

    All of the metadata is one value, since safetensors keeps no order among several.
    """
    tensors = {
        f"{module}.{key}": tensor.contiguous()
        for module, state in states.items()
        for key, tensor in state.tensors.items()
    }
    variables = {module: state.variables for module, state in states.items()}
    save_file(tensors, path, metadata={"variables": json.dumps(variables)})


def read_fp8_states(path: Path) -> dict[str, Fp8State]:
    """Read what `write_fp8_states` wrote; nothing where there is no such file."""
    if not path.is_file():
        return {}
    states: dict[str, Fp8State] = {}
    with safe_open(path, framework="pt") as file:
        variables = json.loads(file.metadata()["variables"])
        for name in file.keys():  # noqa: SIM118 # no mapping
            module, _, key = name.rpartition(".")
            state = states.setdefault(module, Fp8State({}, variables[module]))
            state.tensors[key] = file.get_tensor(name)
    return states
