"""Recipes of sequential training: what is refused, in words, and what is not."""

import pytest
from pydantic import ValidationError

from hsivi.recipe import SequentialRecipe

COMMON = {"hidden": (4,), "iterations": 3, "batch": 4, "learning_rate": 1e-3}
LB = {**COMMON, "objective": "lb"}
SM = {**COMMON, "objective": "sm", "critic_hidden": (4,), "critic_learning_rate": 1e-3}


def refusal(values: dict) -> str:
    with pytest.raises(ValidationError) as caught:
        SequentialRecipe(**values)
    (error,) = caught.value.errors()
    return ".".join(map(str, error["loc"])) + ": " + error["msg"]


@pytest.mark.parametrize(
    "missing", [("critic_learning_rate",), ("critic_hidden",), ("critic_learning_rate", "critic_hidden")]
)
def test_score_matching_needs_a_critic(missing):
    words = refusal({key: value for key, value in SM.items() if key not in missing})
    assert "objective: got 'sm' without critic_learning_rate and critic_hidden, expected both; add them" in words


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({**LB, "critic_learning_rate": 1e-3}, "critic_learning_rate"),
        ({**LB, "critic_hidden": (4,)}, "critic_hidden"),
        ({**LB, "critic_warm_start": True}, "critic_warm_start"),
        ({**SM, "auxiliaries": 3}, "auxiliaries"),
        ({**SM, "target": "score"}, "target"),
        ({**SM, "bridge": "diffusion", "ends_at_base": True}, "ends_at_base"),
    ],
)
def test_a_setting_that_is_not_used_is_refused(values, key):
    assert f"{key}: got a value with" in refusal(values)


def test_a_diffusion_bridge_is_in_raw_coordinates():
    assert "coordinates: got 'base'" in refusal({**SM, "bridge": "diffusion", "coordinates": "base"})


def test_a_diffusion_bridge_has_no_density():
    words = refusal({**LB, "bridge": "diffusion"})
    assert "target: got 'density' with bridge 'diffusion', expected 'score'" in words
    assert "target: got 'density'" in refusal({**LB, "bridge": "diffusion", "target": "density"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("objective", "kl"), ("bridge", "linear"), ("coordinates", "polar"), ("residual", "none"), ("target", "both"),
        ("critic", "h"), ("schedule", "step"), ("iterations", 0), ("batch", 1), ("auxiliaries", 0),
        ("critic_updates", 0), ("learning_rate", 0.0), ("critic_learning_rate", -1.0), ("ema", 1.0), ("ema", 0.0),
        ("hidden", (0,)), ("critic_hidden", (4, 0)), ("adam_betas", (1.0, 0.9)), ("etta", 1.0),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_by_name(key, value):
    assert refusal({**SM, key: value}).startswith(key)


@pytest.mark.parametrize("key", ["objective", "hidden", "iterations", "batch", "learning_rate"])
def test_what_has_no_default_is_asked_for(key):
    assert refusal({name: value for name, value in LB.items() if name != key}) == f"{key}: Field required"


@pytest.mark.parametrize(
    "values",
    [
        LB,
        SM,
        {**LB, "bridge": "diffusion", "target": "score"},
        {**LB, "target": "score", "auxiliaries": 200},  # more than the batch: more mixing draws are made
        {**SM, "bridge": "diffusion"},
        {**SM, "critic": "f", "critic_updates": 3, "critic_warm_start": True, "ema": 0.9, "schedule": "cosine"},
    ],
)
def test_what_makes_sense_is_accepted(values):
    assert SequentialRecipe(**values).model_dump() == SequentialRecipe(**values).model_dump() | values


def test_a_recipe_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        SequentialRecipe(**LB).batch = 7
