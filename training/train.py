"""Train a small Evo 2 model on a corpus that training/prepare.py made.

    python training/train.py training/evo2-mini.yaml --corpus build/corpus --out build/evo2-mini

The program can be stopped (Ctrl-C, SIGTERM, --stop-after-minutes); the same command continues the
run. Each batch depends on the seed and the step only. A run that was stopped and continued
therefore gives the same bits as a run that was not, on the same machine with the same number of
threads.

The --out folder gets ``training.jsonl``, with a line every few steps; ``state.pt``, from which a
run continues; ``state-stable.pt``, the state before the learning rate starts to fall, from which a
longer run can continue; and ``model``, a folder for ``from_pretrained``.

The loss is the mean negative log-likelihood, nats, of the next token among all 512 tokens, at
positions where the next token is A, C, G or T. Bits per base is the same value with the logarithm
to base 2.
"""

import argparse
import csv
import json
import math
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn
from torch.nn import functional
from transformers.utils import logging

from evo2_tasks import Evo2Config, Evo2ForCausalLM, Evo2Tokenizer
from evo2_tasks.errors import InputError
from evo2_tasks.evo2.allocation import keep_freed_memory

PAD = 1  # pads the windows of sequences that are shorter than a window; never a target
NOT_SCORED = -100
MUON_MOMENTUM = 0.95
ADAM_BETAS = (0.9, 0.95)

Bases = npt.NDArray[np.uint8]

COMPLEMENT = np.arange(256, dtype=np.uint8)
COMPLEMENT[list(b"ACGTRYSWKMBDHVN")] = list(b"TGCAYRSWMKVHDBN")
IS_BASE = torch.zeros(512, dtype=torch.bool)
IS_BASE[list(b"ACGT")] = True


# The recipe


class LearningRates(BaseModel):
    """The highest learning rate of each kind of parameter."""

    model_config = ConfigDict(extra="forbid")

    matrices: float
    embedding: float
    filters: float
    poles: float
    others: float


class Recipe(BaseModel):
    """The keys of a recipe file; comments in training/evo2-mini.yaml describe them."""

    model_config = ConfigDict(extra="forbid")

    model: dict[str, Any]
    mix: dict[str, float]
    window_length: int = Field(gt=1)
    batch_tokens: int = Field(gt=0)
    windows_per_pass: int = Field(gt=0)
    total_tokens: int = Field(gt=0)
    seed: int = Field(ge=0)
    optimizer: Literal["muon", "adamw"]
    lr: LearningRates
    weight_decay: float
    clip_norm: float
    warmup_steps: int
    decay_share: float = Field(ge=0, le=1)
    matmul_dtype: Literal["bfloat16", "float32"]
    store: Literal["bfloat16", "float32"]
    target_group: str
    log_every_steps: int = Field(gt=0)
    validate_every_steps: int = Field(gt=0)
    validation_windows: int = Field(gt=0)
    save_every_minutes: float

    @property
    def num_steps(self) -> int:
        """Number of batches of the whole run."""
        return math.ceil(self.total_tokens / self.batch_tokens)

    def lr_scale(self, step: int) -> float:
        """Learning rate of a step, counted from 0, as a share of the highest rate."""
        warmup = (step + 1) / max(1, self.warmup_steps)
        decay = (self.num_steps - step) / max(1, self.decay_share * self.num_steps)
        return min(1.0, warmup, decay)


def read_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe file and change some of its keys.

    Args:
        path: The YAML file.
        changes: ``key=value`` with dots between nested keys; the value is YAML.

    Raises:
        InputError: The file is missing, or a key or value is not valid.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such recipe; expected a YAML file.")
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    for change in changes:
        dotted, equals, value = change.partition("=")
        *parents, last = dotted.split(".")
        keys = recipe
        for parent in parents:
            keys = keys.get(parent) if isinstance(keys, dict) else None
        if not equals or not isinstance(keys, dict):
            raise InputError(f"--set {change}: expected key=value with a key of {path}.")
        keys[last] = yaml.safe_load(value)
    try:
        return Recipe.model_validate(recipe)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {key}: {first['msg']}.") from None


# The corpus


@dataclass(frozen=True)
class Stretch:
    """A sequence, or the part of a sequence that is used for training or held out."""

    start: int  # 0-based, in the corpus
    length: int
    circular: bool


@dataclass(frozen=True)
class Corpus:
    """Bases, and for each group the stretches for training and those held out."""

    bases: Bases
    training: dict[str, list[Stretch]]
    validation: dict[str, list[Stretch]]


@dataclass(frozen=True)
class Window:
    """The position and strand of a window."""

    stretch: Stretch
    offset: int  # 0-based, in the stretch, on the forward strand
    is_reverse: bool


def read_corpus(folder: Path) -> Corpus:
    """Read a corpus that prepare.py wrote.

    Raises:
        InputError: A file is missing.
    """
    for name in ("bases.npy", "sequences.tsv"):
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: there is no such file; run training/prepare.py.")
    corpus = Corpus(np.load(folder / "bases.npy", mmap_mode="r"), {}, {})
    with (folder / "sequences.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            start, length, circular = int(row["start"]), int(row["length"]), row["circular"] == "1"
            held_out_from = {"training": length, "validation": 0}.get(row["split"])
            if held_out_from is None:
                held_out_from = int(row["validation_start"])
            parts = (
                (corpus.training, Stretch(start, held_out_from, circular)),
                (
                    corpus.validation,
                    Stretch(start + held_out_from, length - held_out_from, circular),
                ),
            )
            for stretches, stretch in parts:
                if stretch.length:
                    stretches.setdefault(row["group"], []).append(stretch)
    return corpus


def read_window(bases: Bases, window: Window, length: int) -> Bases:
    """The bases of a window, on its strand, padded to `length` if the stretch is shorter."""
    stretch = window.stretch
    # A window of a circular genome continues at its start, but no base is read twice.
    offsets = np.arange(min(length, stretch.length)) + window.offset
    read = bases[stretch.start + offsets % stretch.length]
    if window.is_reverse:
        read = COMPLEMENT[read[::-1]]
    return np.pad(read, (0, length - len(read)), constant_values=PAD)


def draw_batch(corpus: Corpus, recipe: Recipe, step: int) -> Tensor:
    """The batch of a step, which depends on the seed and the step only. (B, L)."""
    rng = np.random.default_rng([recipe.seed, step])
    groups = list(recipe.mix)
    weights = np.array(list(recipe.mix.values()))
    rows = []
    for group in rng.choice(
        len(groups), recipe.batch_tokens // recipe.window_length, p=weights / weights.sum()
    ):
        stretches = corpus.training[groups[group]]
        ends = np.cumsum([stretch.length for stretch in stretches])
        stretch = stretches[np.searchsorted(ends, rng.integers(ends[-1]), side="right")]
        last = stretch.length - 1 if stretch.circular else stretch.length - recipe.window_length
        offset = int(rng.integers(max(0, last) + 1))
        window = Window(stretch, offset, is_reverse=bool(rng.integers(2)))
        rows.append(read_window(corpus.bases, window, recipe.window_length))
    return torch.from_numpy(np.stack(rows)).long()


def validation_windows(
    corpus: Corpus, recipe: Recipe, limit: int | None
) -> dict[str, list[Window]]:
    """Consecutive windows of the held-out stretches of each group, on alternating strands.

    Args:
        corpus: The corpus.
        recipe: The recipe, with the length of a window.
        limit: Number of windows to choose from each group, evenly spaced; None means all.
    """
    length = recipe.window_length
    chosen = {}
    for group, stretches in corpus.validation.items():
        places = [
            (stretch, offset)
            for stretch in stretches
            for offset in range(0, max(1, stretch.length - length + 1), length)
        ]
        if limit is not None and limit < len(places):
            places = [places[i * len(places) // limit] for i in range(limit)]
        chosen[group] = [Window(*place, is_reverse=i % 2 == 1) for i, place in enumerate(places)]
    return chosen


# The model


def sum_loss(model: Evo2ForCausalLM, tokens: Tensor, matmul_dtype: str) -> tuple[Tensor, int]:
    """Sum of the negative log-likelihoods, nats, and the number of bases that were predicted."""
    targets = tokens[:, 1:].masked_fill(~IS_BASE[tokens[:, 1:]], NOT_SCORED)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=matmul_dtype == "bfloat16"):
        hidden_states = model.model(input_ids=tokens[:, :-1], use_cache=False).last_hidden_state
        logits = model.lm_head(hidden_states)  # (B, L - 1, V), float32
    loss = functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=NOT_SCORED, reduction="sum"
    )
    return loss, int((targets != NOT_SCORED).sum())


@torch.no_grad()
def validate(
    model: Evo2ForCausalLM, corpus: Corpus, recipe: Recipe, *, limit: int | None, matmul_dtype: str
) -> dict[str, float]:
    """Bits per base of each group's held-out windows."""
    model.eval()
    bits = {}
    for group, windows in validation_windows(corpus, recipe, limit).items():
        total, num_bases = 0.0, 0
        for i in range(0, len(windows), recipe.windows_per_pass):
            rows = [
                read_window(corpus.bases, window, recipe.window_length)
                for window in windows[i : i + recipe.windows_per_pass]
            ]
            loss, num = sum_loss(model, torch.from_numpy(np.stack(rows)).long(), matmul_dtype)
            total, num_bases = total + loss.item(), num_bases + num
        bits[group] = total / num_bases / math.log(2)
    model.train()
    return bits


class Optimizer:
    """Muon for the matrices and AdamW for the rest, or AdamW for all.

    The poles of ``hyena_li`` stay below 0 because the logarithm of the decay rate,
    ``log(-log_pole)``, is optimised instead; a step is then a proportional change of the rate.
    Weight decay applies to the matrices only: the embedding is also the output matrix, and filters,
    norms and biases have other scales.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        kinds: dict[str, list[nn.Parameter]] = {kind: [] for kind in LearningRates.model_fields}
        self.poles: list[tuple[nn.Parameter, nn.Parameter]] = []
        for name, parameter in model.named_parameters():
            kind = kind_of(name, parameter)
            if kind == "poles":
                log_rate = nn.Parameter((-parameter.detach()).log())
                self.poles.append((parameter, log_rate))
                parameter = log_rate
            kinds[kind].append(parameter)
        groups = {
            kind: {"params": kinds[kind], "peak_lr": rate, "weight_decay": 0.0}
            for kind, rate in recipe.lr.model_dump().items()
        }
        groups["matrices"]["weight_decay"] = recipe.weight_decay
        self.parts: list[torch.optim.Optimizer] = []
        if recipe.optimizer == "muon":
            self.parts.append(torch.optim.Muon([groups.pop("matrices")], momentum=MUON_MOMENTUM))
        adamw = [group for group in groups.values() if group["params"]]
        self.parts.append(torch.optim.AdamW(adamw, betas=ADAM_BETAS, fused=True))

    @torch.no_grad()
    def step(self, lr_scale: float) -> None:
        """Change the parameters by their gradients, and delete the gradients."""
        for pole, log_rate in self.poles:
            if pole.grad is not None:
                log_rate.grad = pole.grad * pole  # d pole / d log_rate is the pole itself
                pole.grad = None
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = group["peak_lr"] * lr_scale
            part.step()
            part.zero_grad()
        for pole, log_rate in self.poles:
            pole.copy_(-log_rate.exp())

    def state_dict(self) -> dict[str, Any]:
        """The state that a continued run needs."""
        return {
            "parts": [part.state_dict() for part in self.parts],
            "log_rates": [log_rate.detach() for _, log_rate in self.poles],
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state; learning rates and weight decay stay as in the recipe."""
        for part, part_state in zip(self.parts, state["parts"], strict=True):
            kept = [(group["peak_lr"], group["weight_decay"]) for group in part.param_groups]
            part.load_state_dict(part_state)
            for group, (peak_lr, weight_decay) in zip(part.param_groups, kept, strict=True):
                group.update(peak_lr=peak_lr, weight_decay=weight_decay)
        for (_, log_rate), saved in zip(self.poles, state["log_rates"], strict=True):
            log_rate.copy_(saved)


def kind_of(name: str, parameter: Tensor) -> str:
    """The kind of a parameter, which determines its learning rate."""
    if name.endswith("log_poles"):
        return "poles"
    if "embed_tokens" in name:
        return "embedding"
    if ".filter." in name:
        return "filters"
    return "matrices" if parameter.ndim == 2 else "others"


# The run


def train(
    recipe: Recipe,
    corpus: Corpus,
    out: Path,
    *,
    should_stop: Callable[[int], bool] = lambda step: False,
) -> None:
    """Train to the end of the recipe or until stopped, from the state in `out` if there is one.

    Args:
        recipe: The recipe.
        corpus: The corpus.
        out: Folder of the run.
        should_stop: Called before each step with the number of finished steps.

    Raises:
        InputError: The recipe does not fit the corpus, or the existing run in `out`.
    """
    check_recipe(recipe, corpus)
    torch.manual_seed(recipe.seed)
    model = Evo2ForCausalLM(
        Evo2Config(max_position_embeddings=recipe.window_length, **recipe.model)
    )
    model.train()
    optimizer = Optimizer(model, recipe)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{num_parameters:,} parameters, {recipe.num_steps:,} steps of {recipe.batch_tokens:,}")

    step, seconds = 0, 0.0
    since_line = {"steps": 0, "loss": 0.0, "seconds": 0.0}  # sums for the next line
    out.mkdir(parents=True, exist_ok=True)
    if (out / "state.pt").exists():
        state = torch.load(out / "state.pt", weights_only=True)
        refuse_another_run(recipe, state["recipe"], out)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds, since_line = state["step"], state["seconds"], state["since_line"]
        print(f"continuing at step {step:,}")
    log = out / "training.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    # Steps after the saved state run again, and their lines are written again.
    kept = [line for line in lines if json.loads(line)["step"] <= step]
    log.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def save(name: str) -> None:
        state = {
            "recipe": recipe.model_dump(),
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "seconds": seconds,
            "since_line": since_line,
        }
        torch.save(state, out / f"{name}.partial")
        (out / f"{name}.partial").replace(out / name)

    first_step, saved = step, time.monotonic()
    decay_start = round((1 - recipe.decay_share) * recipe.num_steps)
    while step < recipe.num_steps and not should_stop(step):
        started = time.monotonic()
        if step == decay_start and step > first_step:
            save("state-stable.pt")

        # One step: the mean over all bases of the batch, in several passes.
        tokens = draw_batch(corpus, recipe, step)
        num_targets = int(IS_BASE[tokens[:, 1:]].sum())
        loss = 0.0
        for part in torch.split(tokens, recipe.windows_per_pass):
            part_loss = sum_loss(model, part, recipe.matmul_dtype)[0] / num_targets
            part_loss.backward()  # type: ignore[no-untyped-call] # of torch
            loss += part_loss.item()
        grad_norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm).item()
        lr_scale = recipe.lr_scale(step)
        optimizer.step(lr_scale)
        step += 1

        validation = {}
        is_last = step == recipe.num_steps
        training_s = time.monotonic() - started
        if step % recipe.validate_every_steps == 0 or is_last:
            validation = validate(
                model,
                corpus,
                recipe,
                limit=recipe.validation_windows,
                matmul_dtype=recipe.matmul_dtype,
            )
        seconds += time.monotonic() - started
        since_line["steps"] += 1
        since_line["loss"] += loss
        since_line["seconds"] += training_s
        if step % recipe.log_every_steps == 0 or validation:
            mean_loss = since_line["loss"] / since_line["steps"]
            line: dict[str, Any] = {
                "step": step,
                "bases": step * recipe.batch_tokens,
                "seconds": round(seconds, 1),
                "loss": mean_loss,
                "bits_per_base": mean_loss / math.log(2),
                "lr_scale": lr_scale,
                "grad_norm": grad_norm,
                "bases_per_s": round(
                    since_line["steps"] * recipe.batch_tokens / since_line["seconds"]
                ),
            }
            if validation:
                line["validation"] = validation
            write_line(log, line, recipe)
            since_line = {"steps": 0, "loss": 0.0, "seconds": 0.0}
        if time.monotonic() - saved > 60 * recipe.save_every_minutes:
            save("state.pt")
            saved = time.monotonic()

    if step > first_step:
        save("state.pt")
    facts = {
        "recipe": recipe.model_dump(),
        "step": step,
        "bases": step * recipe.batch_tokens,
        "seconds": round(seconds, 1),
        "parameters": num_parameters,
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
    }
    if step < recipe.num_steps:
        write_model(model, out / "model", recipe.store, facts)
        print(f"stopped after step {step:,}; the same command continues the run")
        return
    write_model(model, out / "model", recipe.store, facts)
    # The final validation uses the stored weights, with the arithmetic that scoring uses on a CPU.
    stored = Evo2ForCausalLM.from_pretrained(out / "model", dtype=torch.float32)
    facts["final_validation"] = validate(stored, corpus, recipe, limit=None, matmul_dtype="float32")
    write_model(model, out / "model", recipe.store, facts)
    if step > first_step:
        final = {key: facts[key] for key in ("step", "bases", "seconds", "parameters")}
        final["final_validation"] = facts["final_validation"]
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(final) + "\n")
    print_validation(facts["final_validation"])


def check_recipe(recipe: Recipe, corpus: Corpus) -> None:
    """Refuse a recipe that does not fit the corpus."""
    missing = sorted(set(recipe.mix) - set(corpus.training))
    if missing:
        raise InputError(
            f"mix: {', '.join(missing)} not in the corpus, which has {', '.join(corpus.training)}."
        )
    if recipe.target_group not in corpus.validation:
        raise InputError(f"target_group: {recipe.target_group} has no held-out sequences.")
    if recipe.batch_tokens % recipe.window_length:
        raise InputError(
            f"batch_tokens: {recipe.batch_tokens} is not a multiple of window_length "
            f"{recipe.window_length}."
        )


def refuse_another_run(recipe: Recipe, saved: dict[str, Any], out: Path) -> None:
    """Refuse another model or optimizer than that of the existing run; print other changes."""
    ours = recipe.model_dump()
    changed = [key for key in ours if ours[key] != saved.get(key)]
    for key in ("model", "optimizer"):
        if key in changed:
            raise InputError(
                f"{out / 'state.pt'}: made with {key} {saved.get(key)}, but the recipe has "
                f"{ours[key]}; give another --out."
            )
    if changed:
        print("keys changed since the state was saved:", ", ".join(changed))


def write_line(log: Path, line: dict[str, Any], recipe: Recipe) -> None:
    """Add a line to training.jsonl, and print it."""
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    left_s = (recipe.num_steps - line["step"]) * recipe.batch_tokens / line["bases_per_s"]
    text = (
        f"step {line['step']:,} | {line['bases'] / 1e6:.1f} Mb | {line['bits_per_base']:.4f} "
        f"bits/base | norm {line['grad_norm']:.2f} | rate x {line['lr_scale']:.2f} | "
        f"{line['bases_per_s']:,} bases/s | {left_s / 60:.0f} min left"
    )
    if "validation" in line:
        text += f" | held-out {recipe.target_group} {line['validation'][recipe.target_group]:.4f}"
    print(text, flush=True)


def print_validation(bits: dict[str, float]) -> None:
    """Print a line for each group."""
    for group, value in bits.items():
        print(f"{group:24} {value:.4f} bits per base")


def write_model(model: Evo2ForCausalLM, folder: Path, store: str, facts: dict[str, Any]) -> None:
    """Write the model with its tokenizer and training.json; the folder appears complete.

    Args:
        model: The model, which is not changed.
        folder: The folder.
        store: Dtype of the stored weights; poles, residues and frequencies stay float32.
        facts: Contents of training.json.
    """
    stored = Evo2ForCausalLM(model.config)
    stored.load_state_dict(model.state_dict())
    if store == "bfloat16":
        stored = stored.to(torch.bfloat16)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        written = Path(scratch) / "model"
        stored.save_pretrained(written)
        Evo2Tokenizer().save_pretrained(written)
        text = json.dumps(facts, indent=2)
        (written / "training.json").write_text(text + "\n", encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        written.replace(folder)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Train a small Evo 2 model.")
    parser.add_argument("recipe", type=Path, help="YAML file")
    parser.add_argument("--corpus", type=Path, required=True, help="folder that prepare.py wrote")
    parser.add_argument("--out", type=Path, help="folder of the run; required to train")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--stop-after-minutes", type=float, default=math.inf)
    parser.add_argument("--validate-only", type=Path, metavar="MODEL", help="a saved model folder")
    arguments = parser.parse_args()
    logging.disable_progress_bar()
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)

    stop_at = time.monotonic() + 60 * arguments.stop_after_minutes
    signals: list[int] = []
    try:
        recipe, corpus = read_recipe(arguments.recipe, arguments.set), read_corpus(arguments.corpus)
        if arguments.validate_only:
            model = Evo2ForCausalLM.from_pretrained(arguments.validate_only, dtype=torch.float32)
            print_validation(validate(model, corpus, recipe, limit=None, matmul_dtype="float32"))
            return
        if arguments.out is None:
            raise InputError("--out: missing; give the folder of the run.")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda received, _: signals.append(received))
        train(
            recipe,
            corpus,
            arguments.out,
            should_stop=lambda _: bool(signals) or time.monotonic() > stop_at,
        )
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
