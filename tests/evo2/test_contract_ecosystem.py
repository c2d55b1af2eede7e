"""What people run around a model of transformers runs around this one: pipelines, Trainer, peft."""

from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload, disk_offload, infer_auto_device_map
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import (
    AutoModel,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
    pipeline,
)

from evo2_tasks import Evo2ForCausalLM, Evo2Tokenizer
from evo2_tasks.scoring.likelihood import window_log_probs

OPERATORS = ["hyena_se", "attention", "hyena_mr", "hyena_li"]
REPEATED = "ACGTTGCA" * 6
LORA_MODULES = ["projections", "out_filter_dense", "Wqkv", "out_proj", "l1", "l2", "l3"]


@pytest.fixture(scope="module")
def tokenizer() -> Evo2Tokenizer:
    return Evo2Tokenizer()


@pytest.fixture
def model(make_model: Any) -> Evo2ForCausalLM:
    return make_model(OPERATORS)


@pytest.fixture
def folder(model: Evo2ForCausalLM, tokenizer: Evo2Tokenizer, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


@torch.no_grad()
def logits_of(model: Any, input_ids: Tensor) -> Tensor:
    return model(input_ids=input_ids, use_cache=False).logits


def encode(text: str = REPEATED) -> Tensor:
    return torch.tensor([list(text.encode())])


def test_the_text_generation_pipeline(
    model: Evo2ForCausalLM, tokenizer: Evo2Tokenizer, folder: Path
) -> None:
    settings = {"max_new_tokens": 6, "do_sample": False}
    prompts = ["ACGTACGTAC", "TG"]
    from_folder = pipeline("text-generation", model=str(folder))
    together = from_folder(prompts, batch_size=2, return_full_text=False, **settings)
    for prompt, [result] in zip(prompts, together, strict=True):
        generated = model.generate(**tokenizer(prompt, return_tensors="pt"), **settings)
        text = tokenizer.decode(generated[0, len(prompt) :], skip_special_tokens=True)
        assert result["generated_text"] == text


def test_the_feature_extraction_pipeline(tokenizer: Evo2Tokenizer, folder: Path) -> None:
    base = AutoModel.from_pretrained(folder)
    [features] = pipeline("feature-extraction", model=base, tokenizer=tokenizer)("ACGT")
    with torch.no_grad():
        expected = base(encode("ACGT")).last_hidden_state[0]
    assert torch.equal(torch.tensor(features), expected)


DEVICE_MAPS = {
    "all on the CPU": {"": "cpu"},
    "by itself": "auto",
    "half on the disk": {
        **dict.fromkeys(("model.embed_tokens", "model.norm", "lm_head"), "cpu"),
        **{f"model.layers.{index}": ("cpu", "disk")[index % 2] for index in range(4)},
    },
    "layers on the disk": {
        **dict.fromkeys(("model.embed_tokens", "model.norm", "lm_head"), "cpu"),
        "model.layers": "disk",
    },
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", sorted(DEVICE_MAPS))
def test_device_maps(folder: Path, tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    plain = Evo2ForCausalLM.from_pretrained(folder, dtype=dtype)
    mapped = Evo2ForCausalLM.from_pretrained(
        folder, dtype=dtype, device_map=DEVICE_MAPS[name], offload_folder=tmp_path / "offload"
    )
    on_disk = sum(parameter.is_meta for parameter in mapped.parameters())
    assert (on_disk > 0) == ("disk" in name)
    assert torch.equal(logits_of(mapped, encode()), logits_of(plain, encode()))
    settings = {"max_new_tokens": 4, "do_sample": False}
    prompt = {"input_ids": encode(), "attention_mask": torch.ones_like(encode())}
    assert torch.equal(mapped.generate(**prompt, **settings), plain.generate(**prompt, **settings))
    scored, expected = (
        window_log_probs(one, [REPEATED.encode()], prepend_bos=False, segment_length=20)[0]
        for one in (mapped, plain)
    )
    assert (scored == expected).all()


def test_offloading_by_accelerate(make_model: Any, tmp_path: Path) -> None:
    expected = logits_of(make_model(OPERATORS), encode())
    from_cpu, from_disk = make_model(OPERATORS), make_model(OPERATORS)
    cpu_offload(from_cpu, execution_device="cpu")
    disk_offload(from_disk, tmp_path, execution_device="cpu")
    for offloaded in (from_cpu, from_disk):
        assert any(parameter.is_meta for parameter in offloaded.parameters())
        assert torch.equal(logits_of(offloaded, encode()), expected)


def test_a_layer_is_never_split(model: Evo2ForCausalLM) -> None:
    assert set(model._no_split_modules) == {"Evo2Layer"}
    sizes = {"cpu": int(0.8 * model.get_memory_footprint()), "disk": 10**9}
    mapping = infer_auto_device_map(model, sizes, no_split_module_classes=["Evo2Layer"])
    assert set(mapping.values()) == {"cpu", "disk"}
    assert not any(name.count(".") > 2 for name in mapping)


def test_gpus_get_contiguous_ranges_of_layers(
    make_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As accelerate places a model by itself, on GPUs that it need not find here."""
    monkeypatch.setattr("accelerate.utils.modeling.get_max_memory", lambda memory: memory)
    operators = OPERATORS * 4
    model = make_model(operators)
    room = int(0.45 * model.get_memory_footprint())
    sizes = {0: room, 1: room, "cpu": room, "disk": 10**9}
    mapping = infer_auto_device_map(model, sizes, no_split_module_classes=["Evo2Layer"])
    order = [mapping[f"model.layers.{index}"] for index in range(len(operators))]
    assert [device for device, _ in groupby(order)] == list(dict.fromkeys(order))
    assert {0, 1} <= set(order)


def test_the_trainer_takes_two_steps(make_model: Any, tmp_path: Path) -> None:
    tokenizer = Evo2Tokenizer(padding_side="right")
    model = make_model(OPERATORS).train()
    before = {name: value.clone() for name, value in model.named_parameters()}
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            str(tmp_path),
            max_steps=2,
            per_device_train_batch_size=3,
            learning_rate=1e-2,
            logging_steps=1,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            seed=0,
        ),
        train_dataset=[tokenizer(text) for text in (REPEATED, "ACG", "TTGACA")],
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[1] < losses[0]
    unchanged = {name for name, value in model.named_parameters() if value.equal(before[name])}
    assert not unchanged
    loaded = Evo2ForCausalLM.from_pretrained(tmp_path / "checkpoint-2")
    assert torch.equal(logits_of(loaded, encode()), logits_of(model.eval(), encode()))


def test_padding_on_the_right_does_not_count_in_the_loss(model: Evo2ForCausalLM) -> None:
    """On the left it would: the last padding would predict the first token."""
    tokenizer = Evo2Tokenizer(padding_side="right")
    collate = DataCollatorForLanguageModeling(tokenizer, mlm=False)
    with torch.no_grad():
        alone = model(**collate([tokenizer("ACGTTGC")])).loss
        together = model(**collate([tokenizer("ACGTTGC"), tokenizer("T")])).loss
    assert float(together) == pytest.approx(float(alone), abs=1e-5)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lora_learns_saves_loads_and_merges(
    make_model: Any, tmp_path: Path, dtype: torch.dtype
) -> None:
    input_ids = encode()
    torch.manual_seed(0)
    tuned = get_peft_model(
        make_model(OPERATORS).to(dtype),
        LoraConfig(r=4, lora_alpha=8, target_modules=LORA_MODULES, task_type="CAUSAL_LM"),
    )
    adapted = {name.split(".lora_A")[0] for name, _ in tuned.named_parameters() if "lora_A" in name}
    assert {name.rpartition(".")[2] for name in adapted} == set(LORA_MODULES)
    trained = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    losses = []
    for _ in range(12):
        loss = tuned(input_ids=input_ids, labels=input_ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    tuned.eval().save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(make_model(OPERATORS).to(dtype), tmp_path).eval()
    expected = logits_of(tuned, input_ids)
    assert torch.equal(logits_of(loaded, input_ids), expected)
    merged = loaded.merge_and_unload()
    assert type(merged) is Evo2ForCausalLM
    difference = (logits_of(merged, input_ids) - expected).abs().mean()
    assert float(difference) < (1e-4 if dtype == torch.float32 else 0.1)
    assert tuned.generate(input_ids=input_ids, max_new_tokens=3, eos_token_id=511).shape == (1, 51)
