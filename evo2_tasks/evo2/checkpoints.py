"""Checkpoints: loading and conversion of published files and of `from_pretrained` folders.

A converted folder holds every tensor with the bits and the dtype of the published file. The
reference rounds most tensors to bfloat16 when it loads a file. Here, loading a folder does the same
where the folder's config requests it (`Evo2Config.round_weights_to`).
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
from .documents import (
    CONVERSION,
    INDEX,
    FileStatement,
    read_conversion,
    read_fp8_variables,
    read_json,
    read_weight_names,
    read_yaml,
)
from .folders import (
    WEIGHTS,
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
ADAPTER = "adapter_config.json"

SAFETENSORS_DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
# Two configs with equal values of these keys describe the same model with other weights.
GEOMETRY = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "operators"),
    *("featurizer_length", "hyena_se_length", "hyena_se_groups", "hyena_mr_length"),
    *("hyena_mr_groups", "state_size", "norm_eps", "rope_parameters"),
)

# Values that a digest of weights does not state; a digest of an earlier version never states them.
_DEFAULTS = {"norm_eps": 1e-6, "rope_factor": 1.0}


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
    """Load a model for inference, with weights rounded as in the reference.

    Args:
        checkpoint: A folder that `save_pretrained` or `convert_published` wrote, or a published
            ``.pt`` file or its first part.
        dtype: Dtype of the weights; poles, residues and RoPE frequencies stay in float32.
        devices: Devices of the model. Each of several devices gets a contiguous range of layers.
        model: Release of a published file, if its name and shapes do not identify it.
        config: Published YAML config of a published file that is not a release.
        fp8: How the input projections are computed, one of `FP8_MODES`. None is the default of the
            checkpoint: for a converted folder the value in its config, for a published file the
            value for its release.
        allow_without_fp8: Accept ``off`` for a checkpoint that needs FP8.

    Returns:
        The model, in eval mode.

    Raises:
        ValueError: The checkpoint cannot be read, a tensor is missing, unknown or has another
            shape, or the checkpoint needs FP8 and `fp8` is ``off``.
    """
    with ExitStack() as stack:
        if checkpoint.is_dir():
            if model is not None or config is not None:
                raise ValueError(
                    f"{checkpoint}: has its own config; do not give a model or config."
                )
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
                f"{checkpoint}: its projections were trained in FP8, and without FP8 its output is "
                "near random; set fp8 to emulate, or set allow_without_fp8 to run it anyway."
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

    The published file is mapped into memory and written tensor by tensor, so that memory holds one
    tensor at a time. FP8 scales are written to a separate file. If a conversion is killed, the next
    one continues after the last finished file.

    Args:
        source: The ``.pt`` file, or its first part.
        out: The folder to make; it appears complete or not at all.
        model: Release of the file, if its name and shapes do not identify it.
        config: Published YAML config of the file, if it is not a release.
        checksums: Expected SHA-256 of the file or its parts, by file name.

    Raises:
        ValueError: The file is not a valid checkpoint of its config, `out` exists, or the disk of
            `out` has too little space.
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
    """Copy the files of a saved model to a folder. The files may be in different places.

    Args:
        files: Config and weights.
        out: The folder to make; it appears complete or not at all.
        checksums: Expected SHA-256 of files, by file name.

    Raises:
        ValueError: The files are not a saved Evo 2 model, `out` exists, or the disk of `out` has
            too little space.
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
    """Size and SHA-256 of files, by file name.

    Raises:
        ValueError: The checksum of a file is not the expected one.
    """
    statements: dict[str, FileStatement] = {}
    for file in files:
        digest = hash_file(file)
        expected = checksums.get(file.name, digest)
        if digest != expected:
            raise ValueError(
                f"{file.resolve()}: its SHA-256 is {digest} and not {expected}; the file is "
                "damaged, or it is another file. Remove it and download it again."
            )
        statements[file.name] = {"bytes": file.stat().st_size, "sha256": digest}
    return statements


def export_published(folder: Path, out: Path) -> None:
    """Write a folder as a published checkpoint, bits and dtypes unchanged.

    The config in the published spelling is written next to it, with the suffix ``.yml``.
    `convert_published` reads the two files back.

    Args:
        folder: What `convert_published` or `save_pretrained` wrote.
        out: The ``.pt`` file to write; it appears complete or not at all.

    Raises:
        ValueError: The folder is not a valid checkpoint, `out` exists, or `out` does not end in
            ``.pt``.
    """
    if out.suffix != ".pt":
        raise ValueError(f"{out}: the name of a published checkpoint ends in .pt; change the name.")
    config_out = out.with_suffix(".yml")
    for path in (out, config_out):
        if path.exists():
            raise ValueError(f"{path}: exists; name a new file or remove it.")
    geometry = read_config(folder)
    if not geometry.tie_word_embeddings:
        raise ValueError(f"{folder}: has its own output matrix; published files have none.")
    with ExitStack() as stack:
        tensors = read_folder(folder, geometry, stack)
        entries: dict[str, Any] = {
            published_name(name): stored.read() for name, stored in tensors.items()
        }
        # The reference's loader expects an output matrix, which it does not use. It shares the
        # storage of the embedding, so it takes no space in the file.
        entries["unembed.weight"] = entries["embedding_layer.weight"]
        for module, state in read_fp8_states(folder / FP8_SCALES).items():
            entries[fp8_name(module)] = make_fp8_blob(state)
        with new_file(config_out) as file:
            file.write_text(yaml.safe_dump(geometry.to_published(), sort_keys=False))
        with new_file(out) as file:
            torch.save(entries, file)


def recognise(config: Evo2Config) -> str | None:
    """Name of the release with the same shapes as a config; the first if two releases match."""
    for name in PRESETS:
        preset = Evo2Config.from_preset(name)
        if all(getattr(preset, key) == getattr(config, key) for key in GEOMETRY):
            return name
    return None


def set_fp8(config: Evo2Config, states: Mapping[str, Fp8State]) -> None:
    """Write the FP8 scales of a published file, and its FP8 mode, into its config.

    Args:
        config: The config to change.
        states: The FP8 scaling in the file, by our names of the linear maps.

    Raises:
        ValueError: A scale is not a number above 0.
    """
    scales: list[list[float] | None] = [None] * config.num_hidden_layers
    for layer in range(config.num_hidden_layers):
        state = states.get(f"model.layers.{layer}.mixer.projections")
        if state is not None and "scale_fwd" in state.tensors:
            forward = state.tensors["scale_fwd"].float()  # of input, weight, output
            # Files of older versions of Transformer Engine also hold the inverses.
            inverse = state.tensors.get("scale_inv_fwd", 1 / forward).float()
            scales[layer] = [float(forward[0]), float(forward[1]), float(inverse[0] * inverse[1])]
    config.fp8_scales = scales if any(scales) else None
    config.fp8 = "emulate" if config.fp8_projections and recognise(config) in NEEDS_FP8 else "off"
    config.check_fp8()


def weights_digest(model: Evo2ForCausalLM) -> str:
    """SHA-256 over the loaded tensors: names in order, dtypes, shapes and bytes.

    The FP8 scales are included if the model uses them. So are the values of the config that change
    the output of the same tensors, unless they are those of a release or the defaults.

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
    digest.update(_state_other_values(model.config).encode())
    return digest.hexdigest()


def _state_other_values(config: Evo2Config) -> str:
    """The values of a config that no tensor shows, as JSON; empty for those of a release.

    All other keys that change the output also change the name, the shape or the bytes of a tensor:
    `inv_freq` has `rope_theta` and the size of a head.
    """
    if recognise(config) is not None:
        return ""
    stated = {"norm_eps": config.norm_eps, "rope_factor": config.rope_factor}
    others = {key: float(value) for key, value in stated.items() if value != _DEFAULTS[key]}
    return json.dumps(others, sort_keys=True) if others else ""


def layer_digests(model: Evo2ForCausalLM) -> list[str]:
    """SHA-256 over the tensors of each layer, by their names in the layer: 64 digits each."""
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
    """The release of a checkpoint.

    Args:
        checkpoint: As in `load_model`. A folder is recognised by its `conversion.json`, which
            `save_pretrained` does not write for a model that was trained further.
        model: As in `load_model`.
        config: As in `load_model`.

    Returns:
        Its name; None for any other model.

    Raises:
        ValueError: The checkpoint is a published file, or has a `conversion.json`, and cannot be
            read.
    """
    if config is not None:
        return None
    if not checkpoint.is_dir():
        return model or _fitting_release(PublishedFile(checkpoint))
    if not (checkpoint / CONVERSION).exists():
        return None
    sources = read_conversion(checkpoint / CONVERSION).sources
    names = {name.split(".pt")[0] for name in sources}
    return next((name for name in PRESETS if names == {name}), None)


def choose_config(
    file: PublishedFile, *, model: str | None = None, config: Path | None = None
) -> Evo2Config:
    """The config of a published file: the given one, else that of the only release that matches.

    Args:
        file: The published file.
        model: The name of a release.
        config: A published YAML config.

    Raises:
        ValueError: Both are given, the config cannot be read, or the file matches several releases
            or none.
    """
    if model is not None and config is not None:
        raise ValueError("Give the model or its config, not both.")
    if model is not None:
        return Evo2Config.from_preset(model)
    if config is not None:
        return _read_published_config(config)
    return Evo2Config.from_preset(_fitting_release(file))


def find_published_config(path: Path) -> Path | None:
    """The ``.yml`` next to a published file, as `export_published` writes it.

    None if there is no such file, or if the published file has the name of a release.
    """
    name = path.name.split(".pt")[0]
    config = path.with_name(f"{name}.yml")
    return config if name not in PRESETS and config.is_file() else None


def _fitting_release(file: PublishedFile) -> str:
    """The only release that matches the name and shapes of a file.

    Raises:
        ValueError: Several releases match, or none.
    """
    name = file.path.name.split(".pt")[0]
    fitting = [
        preset
        for preset in PRESETS
        if not published_mismatches(file, Evo2Config.from_preset(preset))
    ]
    if name in fitting or (name in PRESETS and not fitting):  # a later check names the mismatch
        return name
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ValueError(
            f"{file.path}: may be any of {', '.join(fitting)}, which have the same shapes; name "
            "the right one with --model."
        )
    raise ValueError(
        f"{file.path}: matches no release by names and shapes; give its config with --config."
    )


def _read_published_config(path: Path) -> Evo2Config:
    published = read_yaml(path)
    try:
        return Evo2Config.from_published(published)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: {error}") from error


def check_poles(source: Path, weights: Mapping[str, Tensor]) -> None:
    """Refuse filters that grow with time.

    Raises:
        ValueError: A log pole is not below 0.
    """
    for name, weight in weights.items():
        if name.endswith(".log_poles") and not bool((weight < 0).all()):
            raise ValueError(f"{source}: {published_name(name)} has values that are not below 0.")


def read_config(folder: Path) -> Evo2Config:
    """The config of a saved model.

    Raises:
        ValueError: There is no config, or it is that of another kind of model.
    """
    path = folder / "config.json"
    values = read_json(path)
    model_type = values.get("model_type")
    if model_type != Evo2Config.model_type:
        raise ValueError(f"{path}: is the config of a {model_type!r} model, not of 'evo2'.")
    try:
        return Evo2Config.from_file_values(values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def read_folder(folder: Path, config: Evo2Config, stack: ExitStack) -> dict[str, StoredTensor]:
    """Find each tensor of a saved model.

    Args:
        folder: The folder.
        config: Its config.
        stack: Keeps the files open until it is closed.

    Raises:
        ValueError: A tensor is missing, unknown or has another shape, or the folder has two sets of
            weights.
    """
    if (folder / ADAPTER).exists():
        raise ValueError(
            f"{folder}: has an adapter ({ADAPTER}), which is not part of the weights. Merge it "
            "with peft's merge_and_unload, save the merged model, and name its folder."
        )
    names, source = _find_weights(folder)
    tensors = {}
    for name in names:
        path = folder / name
        if not path.is_file() or path.parent != folder:
            raise ValueError(f"{folder}: has no {name}{source}.")
        try:
            file = stack.enter_context(safe_open(path, framework="pt"))
        except SafetensorError as error:
            raise ValueError(f"{path}: is cut short or damaged: {error}") from error
        for key in file.keys():  # noqa: SIM118 # not a mapping
            view = file.get_slice(key)
            tensors[key] = StoredTensor(
                tuple(view.get_shape()),
                SAFETENSORS_DTYPES.get(view.get_dtype(), torch.uint8),
                partial(file.get_tensor, key),
            )
    shapes = {name: stored.shape for name, stored in tensors.items()}
    mismatches = find_mismatches(shapes, expected_shapes(config))
    if mismatches:
        raise ValueError(f"{folder}: the tensors do not match the config. {'; '.join(mismatches)}.")
    return tensors


def _find_weights(folder: Path) -> tuple[list[str], str]:
    """The names of the files with the weights, and what names them, for a message.

    `save_pretrained` leaves `model.safetensors` in the folder when it saves again in several files,
    and `from_pretrained` then loads the earlier weights. When it saves again in one file, it leaves
    the index, whose files it removes.

    Raises:
        ValueError: There are two sets of weights.
    """
    if not (folder / INDEX).exists():
        return [WEIGHTS], ""
    names = read_weight_names(folder / INDEX)
    are_here = all(Path(name).name == name for name in names)
    if are_here and (folder / WEIGHTS).exists() and names != [WEIGHTS]:
        if any((folder / name).exists() for name in names):
            raise ValueError(
                f"{folder}: has two sets of weights: {WEIGHTS}, and the files that {INDEX} names. "
                "save_pretrained leaves those of an earlier save. Delete the wrong set."
            )
        return [WEIGHTS], ""
    return names, f", which {folder / INDEX} names"


def write_fp8_states(path: Path, states: Mapping[str, Fp8State]) -> None:
    """Write the FP8 scaling of linear maps: tensors as ``{module}.{key}``, the rest as metadata.

    The metadata is one value, because safetensors does not keep the order of several values.
    """
    tensors = {
        f"{module}.{key}": tensor.contiguous()
        for module, state in states.items()
        for key, tensor in state.tensors.items()
    }
    variables = {module: state.variables for module, state in states.items()}
    save_file(tensors, path, metadata={"variables": json.dumps(variables)})


def read_fp8_states(path: Path) -> dict[str, Fp8State]:
    """Read a file that `write_fp8_states` wrote; empty if there is no such file."""
    if not path.is_file():
        return {}
    states: dict[str, Fp8State] = {}
    with safe_open(path, framework="pt") as file:
        variables = read_fp8_variables(file.metadata(), path)
        for name in file.keys():  # noqa: SIM118 # not a mapping
            module, _, key = name.rpartition(".")
            state = states.setdefault(module, Fp8State({}, variables.get(module, {})))
            state.tensors[key] = file.get_tensor(name)
    return states
