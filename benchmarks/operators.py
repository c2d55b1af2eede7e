"""Time of each operator, compared with a plain form and with the matrix multiplications of a layer.

The cases:

- `hyena_*`: a whole filter between its projections: featurizer, two gates, inner filter;
- `featurizer`: featurizer and gates only, with an inner filter that returns its input;
- `attention`: attention without its linear maps;
- `norm`: one of the two norms of a layer;
- `gate`: the elementwise multiplication in the MLP of a layer without a nonlinearity;
- `layer_*`: a whole layer, with its matrix multiplications.

The plain form is the most direct implementation, with channels before tokens: featurizer and
`hyena_se` by torch's depthwise convolution, `hyena_mr` by an FFT of twice the length, and
`hyena_li` by the same FFT with a filter that is the sum of all its exponentials at full length. The
published implementation computes `hyena_mr` and `hyena_li` in this way. The plain form of attention
is torch's fused attention on the same rotated queries and keys, which is a lower bound of the time.
Both forms must agree.

The matrix multiplications are the five of a layer, into allocated memory: projections, output, and
the three of the MLP. They are timed forward, and forward and backward to inputs and weights.
`of_matmul` is the time of an operator divided by theirs. All cases run in turn.

    python benchmarks/operators.py
    python benchmarks/operators.py --quick
"""

import argparse
import copy
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from forward import Shape, linear_weights, make_model
from machine import describe_machine, print_table, significant, time_in_turn
from torch import Tensor, nn

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.evo2.allocation import keep_freed_memory
from evo2_tasks.evo2.config import ATTENTION, HYENA_LI, HYENA_MR, HYENA_SE
from evo2_tasks.evo2.layers import HyenaFilter
from evo2_tasks.evo2.rotary import rotate
from evo2_tasks.verification.plain_operators import (
    PLAIN_INNER,
    plain_attention,
    plain_hyena,
    plain_norm,
)

OPERATORS = [HYENA_SE, HYENA_MR, HYENA_LI, ATTENTION]
# Largest allowed difference of the two forms, as a share of the largest output.
AGREEMENT = {torch.float32: 1e-4, torch.bfloat16: 5e-2}

Call = Callable[..., Tensor]


class Case(NamedTuple):
    """An operator and its plain form."""

    operator: str
    module: nn.Module
    call: Call
    """Computes the output from the module and the inputs."""
    inputs: list[Tensor]
    plain: Call | None = None
    """Computes the same output in the plain form."""
    plain_inputs: list[Tensor] | None = None
    """Inputs of the plain form, if they are not `inputs`."""


class GatesAlone(HyenaFilter):
    """A filter whose inner filter returns its input."""

    def convolve(self, u: Tensor, cache: object) -> Tensor:
        return u


class Given(nn.Module):
    """A replacement for a linear map that returns a given output."""

    def __init__(self) -> None:
        super().__init__()
        self.output: Tensor | None = None

    def forward(self, _: Tensor) -> Tensor:
        assert self.output is not None
        return self.output


def make_cases(model: Evo2ForCausalLM, length: int) -> Iterator[Case]:
    """All operators of a model with one layer of each."""
    width, dtype = model.config.hidden_size, model.dtype
    hidden_states = torch.randn(1, length, width).to(dtype)
    projected = torch.randn(1, length, 3 * width).to(dtype)
    places = {"position_ids": range(length), "attention_mask": None, "is_token": None}
    layers = model.model.layers

    gates = GatesAlone(model.config, 0).to(dtype)
    gates.load_state_dict({"short_filter_weight": layers[0].mixer.filter.short_filter_weight})
    yield Case(
        "featurizer",
        gates,
        lambda module, projected: module(projected, None),
        [projected],
        lambda module, projected: plain_hyena(module, projected, None),
    )
    for operator, inner in PLAIN_INNER.items():
        yield Case(
            operator,
            layers[OPERATORS.index(operator)].mixer.filter,
            lambda module, projected: module(projected, None),
            [projected],
            lambda module, projected, inner=inner: plain_hyena(module, projected, inner),
        )
    yield attention_case(layers[OPERATORS.index(ATTENTION)].mixer, projected, places)
    yield Case(
        "norm",
        layers[1].pre_norm,
        lambda module, hidden_states: module(hidden_states),
        [hidden_states],
        plain_norm,
    )
    yield gate_case(layers[1].mlp, hidden_states, model.config.intermediate_size)
    for layer, operator in zip(layers, OPERATORS, strict=True):
        yield Case(
            f"layer_{operator}",
            layer,
            lambda module, hidden_states: module(hidden_states, **places, cache=None),
            [hidden_states],
        )


def attention_case(attention: nn.Module, projected: Tensor, places: dict[str, Any]) -> Case:
    """Attention without its linear maps, and torch's attention on rotated queries and keys."""
    alone: Any = copy.deepcopy(attention)
    alone.Wqkv = alone.out_proj = nn.Identity()
    qkv = projected.unflatten(-1, (-1, 3, alone.head_dim)).transpose(1, 2)  # (B, H, L, 3, d)
    query, key, value = qkv.unbind(3)
    cos, sin = alone.rotary_emb(places["position_ids"], projected.dtype)
    rotated = [rotate(query, cos, sin), rotate(key, cos, sin), value.contiguous()]
    return Case(
        ATTENTION,
        alone,
        lambda module, projected: module(projected, **places, cache=None)[0],
        [projected],
        plain_attention,
        rotated,
    )


def gate_case(mlp: nn.Module, hidden_states: Tensor, width: int) -> Case:
    """The MLP without its linear maps."""
    alone: Any = copy.deepcopy(mlp)
    alone.l1, alone.l2, alone.l3 = Given(), Given(), nn.Identity()
    shape = (*hidden_states.shape[:2], width)

    def call(module: Any, gate: Tensor, up: Tensor) -> Tensor:
        module.l1.output, module.l2.output = gate, up
        gated: Tensor = module(hidden_states)
        return gated

    inputs = [torch.randn(shape).to(hidden_states.dtype) for _ in range(2)]
    return Case("gate", alone, call, inputs, lambda _, gate, up: gate * up)


def make_matmuls(weights: list[Tensor], length: int) -> tuple[Call, Call]:
    """The matrix multiplications of a layer: forward, and forward and backward."""
    operands = []
    for weight in weights:
        num_out, num_in = weight.shape
        inputs = torch.randn(length, num_in).to(weight.dtype)
        grads = torch.randn(length, num_out).to(weight.dtype)
        operands.append((weight, inputs, grads))
    results = [tuple(map(torch.empty_like, of_one)) for of_one in operands]

    def forward() -> None:
        for (weight, inputs, _), (_, _, outputs) in zip(operands, results, strict=True):
            torch.mm(inputs, weight.t(), out=outputs)

    def forward_backward() -> None:
        forward()
        for (weight, inputs, grads), (of_weight, of_inputs, _) in zip(
            operands, results, strict=True
        ):
            torch.mm(grads, weight, out=of_inputs)
            torch.mm(grads.t(), inputs, out=of_weight)

    return forward, forward_backward


def make_passes(module: nn.Module, call: Call, inputs: list[Tensor]) -> tuple[Call, Call]:
    """Forward as in scoring, and forward and backward as in training."""
    scored, trained = copy.deepcopy(module).eval(), copy.deepcopy(module).train()
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    differentiated = [*leaves, *trained.parameters()]
    grad = torch.randn_like(call(trained, *leaves))

    @torch.inference_mode()
    def forward() -> Tensor:
        return call(scored, *inputs)

    def forward_backward() -> object:
        output = call(trained, *leaves)
        return torch.autograd.grad(output, differentiated, grad, allow_unused=True)

    return forward, forward_backward


def measure(case: Case, matmuls: tuple[Call, Call], *, repeats: int) -> dict[str, Any]:
    """Measure one case and return its row of the table."""
    passes = {"ms": make_passes(case.module, case.call, case.inputs), "matmul_ms": matmuls}
    if case.plain is not None:
        plain_inputs = case.plain_inputs or case.inputs
        passes["plain_ms"] = make_passes(case.module, case.plain, plain_inputs)
        ours, plain = passes["ms"][0](), passes["plain_ms"][0]()
        apart = float((ours - plain).abs().max() / plain.abs().max())
        assert apart < AGREEMENT[plain.dtype], f"{case.operator}: the forms differ by {apart:.2g}."
    seconds = time_in_turn(
        {
            f"{direction}_{name}": run
            for name, both in passes.items()
            for direction, run in zip(("forward", "train"), both, strict=True)
        },
        repeats=repeats,
    )
    row: dict[str, Any] = {}
    for direction in ("forward", "train"):
        ms = {
            name: 1000 * seconds[f"{direction}_{name}"]
            for name in ("ms", "plain_ms", "matmul_ms")
            if name in passes
        }
        row |= {f"{direction}_{name}": significant(value) for name, value in ms.items()}
        row[f"{direction}_of_matmul"] = significant(ms["ms"] / ms["matmul_ms"])
    return row


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for dtype in args.dtypes:
        shape = Shape(args.width, max(1, args.width // 128), OPERATORS)
        model = make_model(shape, getattr(torch, dtype))
        weights = [weight.detach() for weight in linear_weights(model)][:5]
        for length in args.lengths:
            torch.manual_seed(1)
            matmuls = make_matmuls(weights, length)
            for case in make_cases(model, length):
                print(f"{case.operator}, {dtype}, {length}", file=sys.stderr)
                row = measure(case, matmuls, repeats=args.repeats)
                rows.append({"operator": case.operator, "dtype": dtype, "length": length, **row})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--lengths", type=int, nargs="+", default=[8192])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="a test run of half a minute")
    args = parser.parse_args()
    if args.quick:
        args.width, args.lengths, args.repeats = 128, [1024], 2
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    machine = describe_machine()
    rows = run(args)
    print_table(rows)
    print(
        json.dumps(
            {
                "benchmark": "operators",
                "machine": machine,
                "width": args.width,
                "repeats": args.repeats,
                "rows": rows,
            }
        )
    )


if __name__ == "__main__":
    main()
