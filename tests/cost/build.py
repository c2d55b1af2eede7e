"""Small models for the tests of cost."""

from evo2_tasks import Evo2Config
from evo2_tasks.cost.shapes import ModelShape

OPERATORS = ("hyena_se", "hyena_mr", "hyena_li", "attention", "hyena_se")


def make_config(hidden_size: int, operators: tuple[str, ...], intermediate_size: int) -> Evo2Config:
    return Evo2Config(
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_attention_heads=max(1, hidden_size // 64),
        operators=list(operators),
        hyena_se_groups=hidden_size // 16,
        hyena_mr_groups=hidden_size // 16,
    )


def shape_of(config: Evo2Config) -> ModelShape:
    """The shape with the numbers of a model's config."""
    names = set(ModelShape.__dataclass_fields__) - {"operators"}
    return ModelShape(tuple(config.operators), **{name: getattr(config, name) for name in names})
