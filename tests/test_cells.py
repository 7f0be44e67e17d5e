"""Every cell of every experiment at every scale has settings that its baseline accepts, before anything runs."""

import pytest

from hsivi import methods
from hsivi.config import SCALES, experiment_files, load_experiment
from hsivi.recipe import SequentialRecipe
from hsivi.sampler import load_baseline, make_config


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", experiment_files())
def test_settings_of_every_cell_are_accepted(name: str, scale: str) -> None:
    experiment = load_experiment(name, scale)
    methods.check(experiment)
    for cell in methods.cells(experiment):
        values = experiment.recipe_values(cell.label, cell.dataset, cell.nfe)
        make_config(load_baseline(methods.info(experiment, cell.label).name), values, cell.label)


def recipe(experiment: str, label: str, nfe: int, scale: str = "paper") -> SequentialRecipe:
    return SequentialRecipe(**load_experiment(experiment, scale).recipe_values(label, experiment, nfe))


def test_paper_recipes_are_appendix_e() -> None:
    """E.1.1 and E.1.2 as printed, the latter but for 100,000 updates."""
    ring = {label: recipe("mixture", f"{label}-paper", 5) for label in ("hsivi_sm", "hsivi_lb")}
    path = {label: recipe("conditioned_diffusion", f"{label}-paper_short", 5) for label in ("hsivi_sm", "hsivi_lb")}
    for label, critic in (("hsivi_sm", True), ("hsivi_lb", False)):
        one, other = ring[label], path[label]
        assert (one.hidden, one.iterations, one.batch, one.learning_rate) == ((50, 50), 80_000, 64, 1e-3)
        assert (other.hidden, other.iterations, other.batch, other.learning_rate) == ((512, 512), 4_000, 128, 1e-4)
        assert (one.critic_hidden, one.critic_learning_rate) == (((128, 128), 2e-3) if critic else ((), None))
        assert (other.critic_hidden, other.critic_learning_rate) == (((512, 512), 5e-4) if critic else ((), None))
        assert (one.residual, one.ends_at_base, one.coordinates) == ("all", False, "raw")
        assert (other.residual, other.ends_at_base, other.coordinates) == ("all_but_first", True, "raw")
        assert one.adam_betas == other.adam_betas == (0.9, 0.99)
        assert one.critic_updates == other.critic_updates == 1
        assert one.critic == other.critic == ("f" if critic else "g"), "f is the network (eq. (4)); SIVI-LB has none"


@pytest.mark.parametrize("scale", SCALES)
def test_sivi_gets_the_updates_of_five_layers(scale: str) -> None:
    for label in ("sm", "lb"):
        five, one = recipe("mixture", f"hsivi_{label}", 5, scale), recipe("mixture", f"sivi_{label}", 1, scale)
        assert one.iterations == 5 * five.iterations
        name = "conditioned_diffusion"
        five, one = recipe(name, f"hsivi_{label}", 5, scale), recipe(name, f"sivi_{label}-matched", 1, scale)
        assert one.iterations == 5 * five.iterations
        assert recipe(name, f"hsivi_{label}", 1, scale).iterations == five.iterations


def test_the_diffusion_bridge_differs_in_the_bridge_only() -> None:
    for label in ("hsivi_sm", "hsivi_lb"):
        geometric, diffusion = recipe("mixture", label, 5, "quick"), recipe("mixture", f"{label}-diffusion", 5, "quick")
        changed = {k for k, v in geometric.model_dump().items() if v != getattr(diffusion, k)}
        assert changed == {"bridge"} | ({"target"} if label == "hsivi_lb" else set())


def test_the_ground_truth_at_paper_scale_is_the_papers() -> None:
    data = load_experiment("conditioned_diffusion", "paper").data
    assert (data.chains, data.burn_in, data.snapshots, data.step_size) == (100_000, 10_000, 1, 1e-4)
