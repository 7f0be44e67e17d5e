"""Recipes of all trainings: what is refused, in words, and what is not."""

import pytest
from pydantic import ValidationError

from hsivi.recipe import Frozen, PretrainRecipe, Recipe, SequentialRecipe

COMMON = {"hidden": (4,), "iterations": 3, "batch": 4, "learning_rate": 1e-3}
LB = {**COMMON, "objective": "lb"}
SM = {**COMMON, "objective": "sm", "critic_hidden": (4,), "critic_learning_rate": 1e-3}


def refusal(values: dict, kind: type[Frozen] = SequentialRecipe) -> str:
    with pytest.raises(ValidationError) as caught:
        kind(**values)
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
        ("objective", "kl"), ("bridge", "linear"), ("coordinates", "polar"), ("residual", "some"), ("target", "both"),
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


PRETRAIN = {"iterations": 3, "batch": 12, "learning_rate": 1e-3}
JOINT = {**PRETRAIN, "critic_batch": 8, "critic_updates": 2, "critic_learning_rate": 1e-3, "eta": 1.0}


@pytest.mark.parametrize(("kind", "values"), [(PretrainRecipe, PRETRAIN), (Recipe, JOINT)], ids=["pretrain", "joint"])
def test_a_decay_ends_where_it_can(kind, values):
    words = refusal({**values, "schedule": "exponential"}, kind)
    assert "final_rate: got 0 with schedule 'exponential', expected a positive number; give one" in words
    words = refusal({**values, "final_rate": 0.1}, kind)
    assert "final_rate: got one with schedule 'constant', expected none; remove it" in words
    kind(**values, schedule="exponential", final_rate=0.1, warm_up=5)
    kind(**values, schedule="cosine", final_rate=0.1)


def test_micro_batches_are_whole():
    assert "batch: got 12 with microbatches 8, expected a multiple" in refusal({**JOINT, "microbatches": 8}, Recipe)
    words = refusal({**JOINT, "microbatches": 3}, Recipe)
    assert "critic_batch: got 8 with microbatches 3, expected a multiple" in words
    Recipe(**JOINT, microbatches=4)
    words = refusal({**PRETRAIN, "microbatches": 4, "samples_per_time": 4}, PretrainRecipe)
    assert "batch: got 12 with microbatches 4, expected a multiple" in words  # of three times, which are not cut
    PretrainRecipe(**PRETRAIN, microbatches=3, samples_per_time=4)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("final_rate", 1.0), ("final_rate", -0.1), ("warm_up", -1), ("schedule", "linear"), ("precision", "float16"),
        ("microbatches", 0), ("clip_norm", 0.0), ("ema", 1.0), ("variance", "full"), ("variance_learning_rate", 0.0),
        ("start_from", 0), ("critic_warmup", -1), ("rollout", "both"),
    ],
)  # fmt: skip
def test_a_value_of_joint_training_out_of_range_is_refused_by_name(key, value):
    assert refusal({**JOINT, key: value}, Recipe).startswith(key)
