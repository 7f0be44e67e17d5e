"""Experiments as data: every file parses at every scale, and every mistake is one line with a remedy."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hsivi import methods
from hsivi.config import ROOT, SCALES, ConfigError, at_scale, experiment_files, load_experiment, parse_experiment

GOOD = yaml.safe_load((ROOT / "workflows" / "experiments" / "toy2d.yaml").read_text())


def write(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **changes}))
    return path


def model(**changes: Any) -> dict[str, Any]:
    """Return the score model's section with keys of its parts replaced."""
    section = GOOD["score_model"]
    return {
        "score_model": section | {k: section[k] | v if isinstance(v, dict) else v for k, v in changes.items()},
        "recipes": {},
        "methods": {},
    }


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", experiment_files())
def test_every_experiment_parses_and_is_named_after_its_file(name: str, scale: str) -> None:
    experiment = load_experiment(name, scale)
    assert experiment.name == name
    assert experiment.scale == scale


def test_scales_differ_where_the_file_says_so() -> None:
    seeds = [load_experiment("toy2d", scale).seeds for scale in SCALES]
    assert [len(s) for s in seeds] == [2, 3, 5]


def test_paper_recipe_is_appendix_e() -> None:
    experiment = load_experiment("toy2d", "paper")
    moons = experiment.recipe_values("hsivi_sm-paper", "moons", 10)
    checkerboard = [experiment.recipe_values("hsivi_sm-paper", "checkerboard", nfe) for nfe in (5, 10)]
    assert (moons["learning_rate"], moons["critic_learning_rate"]) == (2e-4, 5e-4)
    assert (moons["iterations"], moons["batch"], moons["critic_updates"], moons["eta"]) == (25_000, 64, 3, 1.0)
    assert [c["learning_rate"] for c in checkerboard] == [1e-5, 2e-5]
    assert [c["critic_learning_rate"] for c in checkerboard] == [5e-5, 1e-4]
    pretrain = experiment.diffusion.pretrain
    assert pretrain is not None
    assert (pretrain.iterations, pretrain.learning_rate, pretrain.batch) == (200_000, 3e-4, 100)


NO_ROWS: dict[str, Any] = {"methods": {}, "recipes": {}}
RING = {"kind": "mixture", "datasets": ["ring"], "seed": 1, "reference_draws": 100_000, "floor_pairs": 2}
MISTAKES = {
    "misspelt key": ({"seedz": [1]}, ["seedz", "not known", "spelling"]),
    "misspelt nested key": (model(pretrain={"lerning_rate": 1}), ["lerning_rate", "not known"]),
    "wrong type": ({"num_samples": "many"}, ["num_samples", "'many'", "integer"]),
    "negative number": ({"seeds": [-1]}, ["seeds.0", "-1", "greater than or equal to 0"]),
    "truth for a number": ({"seeds": [True]}, ["seeds.0", "true", "a number"]),
    "truth for a nested number": (model(pretrain={"iterations": True}), ["score_model.pretrain.iterations", "true"]),
    "negative NFE": ({"nfe": [-5]}, ["nfe.0", "-5"]),
    "missing section": (model(schedule=None), ["schedule"]),
    "unknown data set": ({"data": {**GOOD["data"], "datasets": ["moon"]}}, ["moon", "'moons'"]),
    "unknown recipe": ({"methods": {"hsivi_sm": {"recipe": "best"}}}, ["'best'", "recommended"]),
    "unknown time grid": (model(time_grids={5: "hsvi"}), ["time_grids.5", "'hsvi'", "hsivi, full"]),
    "no score model": ({"score_model": None, **NO_ROWS}, ["score_model", "got none", "'toy2d'", "expected one"]),
    "needless score model": ({"data": RING, **NO_ROWS}, ["'score_mlp'", "'mixture'", "exact, or no score_model"]),
    "exact score of data": (
        {"score_model": {**GOOD["score_model"], "network": {"kind": "exact"}, "pretrain": None}, **NO_ROWS},
        ["'exact'", "'toy2d'", "a network"],
    ),
    "training of an exact score": (
        {"data": RING, "score_model": {**GOOD["score_model"], "network": {"kind": "exact"}}, **NO_ROWS},
        ["got pretrain", "'exact'", "nothing to train"],
    ),
    "network without training": (
        {"score_model": {**GOOD["score_model"], "pretrain": None}, **NO_ROWS},
        ["got neither pretrain nor checkpoint", "'score_mlp'", "expected one of them"],
    ),
    "unknown grid of a row": ({"methods": {"ddim": {"grid": "hsvi"}}}, ["methods.ddim.grid", "'hsvi'", "hsivi, full"]),
    "grid of another schedule": ({"methods": {"ddim": {"grid": {5: "quad_round"}}}}, ["'quad_round'", "logsnr"]),
    "unknown protocol": ({"methods": {"ddim": {"protocol": "official"}}}, ["protocol", "'official'", "as_published"]),
    "unknown data set of an override": (
        {"recipes": {**GOOD["recipes"], "paper": {"values": {}, "overrides": [{"datasets": ["moon"], "values": {}}]}}},
        ["recipes.paper.overrides", "moon", "moons"],
    ),
    "unused scale": (model(network={"predicts": "score"}), ["finest_scale", "0.05", "leave it out"]),
    "uneven batch": (model(pretrain={"batch": 100, "samples_per_time": 8}), ["batch", "multiple"]),
    "unknown kind": (model(network={"kind": "transformer"}), ["network", "transformer", "score_mlp"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_given_expected_and_remedy(mistake: str, tmp_path: Path) -> None:
    changes, words = MISTAKES[mistake]
    with pytest.raises(ConfigError) as caught:
        parse_experiment(write(tmp_path, **changes), "quick")
    message = str(caught.value)
    assert "\n" not in message
    assert "got" in message and "expected" in message and message.count(";") >= 1, message
    for word in words:
        assert word in message, message


def test_scope_full_adds_rows_and_budgets() -> None:
    core, full = (load_experiment("ring", "quick", scope) for scope in ("core", "full"))
    assert set(methods.rows(core)) < set(methods.rows(full))
    assert set(methods.cells(core)) < set(methods.cells(full))
    budgets = {
        label: [c.nfe for c in methods.cells(full) if c.label == label]
        for label in ("ddim", "fastdpm", "ddpm-published")
    }
    assert budgets == {"ddim": [5, 10, 15, 20, 50, 1000], "fastdpm": [5, 10, 15, 20, 50], "ddpm-published": [5, 10, 15]}
    assert {c.nfe for c in methods.cells(core)} == {0, 5, 10}
    with pytest.raises(ConfigError, match="scope: got 'whole', expected one of core, full"):
        load_experiment("ring", "quick", "whole")


def test_a_rows_grid_comes_first_then_the_experiments() -> None:
    ring = load_experiment("ring", "quick")
    assert methods.time_grid_name(ring, "dpm_solver_fast", 5) == "fast_logsnr"
    assert methods.time_grid_name(ring, "ddim", 5) == "ddim_quad_floor"
    assert methods.time_grid_name(ring, "ddim", 1000) == "full"
    by_budget = ring.methods["ddim"].model_copy(update={"grid": {5: "uniform"}})
    changed = ring.model_copy(update={"methods": {**ring.methods, "ddim": by_budget}})
    assert methods.time_grid_name(changed, "ddim", 5) == "uniform"
    with pytest.raises(ConfigError, match="no grid for NFE 10"):
        methods.time_grid_name(changed, "ddim", 10)


def test_settings_of_cells_are_checked_before_anything_runs() -> None:
    good = load_experiment("toy2d", "quick")
    methods.check(good)
    for method, words in (
        ({"config": {"learning_rat": 1}}, "did you mean 'learning_rate'"),
        ({"nfe": (7,)}, "no grid for NFE 7"),
        ({"nfe": (0,)}, "hsivi_sm: got a budget of 0, expected at least 1"),
        ({"config": {"iterations": -3}}, "hsivi_sm: iterations: got -3"),
        ({"config": {"eta": True}}, "hsivi_sm: eta: got true or false, expected a number"),
        ({"title": "DDIM"}, "got the title 'DDIM' for (ddim and hsivi_sm|hsivi_sm and ddim)"),
    ):
        broken = good.methods["hsivi_sm"].model_copy(update=method)
        with pytest.raises(ConfigError, match=words) as caught:
            methods.check(good.model_copy(update={"methods": {**good.methods, "hsivi_sm": broken}}))
        assert "\n" not in str(caught.value)


def test_a_method_with_a_fixed_budget_takes_no_other() -> None:
    mixture = load_experiment("mixture", "quick")
    methods.check_budget(mixture, "uivi", 1)
    with pytest.raises(ConfigError, match="uivi: got a budget of 3, expected one of 1"):
        methods.check_budget(mixture, "uivi", 3)


def test_a_method_of_another_task_is_refused() -> None:
    mixture = load_experiment("mixture", "quick")
    with pytest.raises(ConfigError, match="got baseline 'ddim' for diffusion, expected one for inference"):
        methods.rows(mixture.model_copy(update={"methods": {"ddim": mixture.methods["uivi"].model_copy()}}))


def test_text_that_is_not_yaml(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("name: [unclosed")
    with pytest.raises(ConfigError, match="not YAML") as caught:
        parse_experiment(path, "quick")
    assert "\n" not in str(caught.value)
    path.write_text("just words")
    with pytest.raises(ConfigError, match="expected a mapping"):
        parse_experiment(path, "quick")
    with pytest.raises(ConfigError, match="no such file"):
        parse_experiment(tmp_path / "absent.yaml", "quick")


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'toy2d'"):
        load_experiment("toy2", "quick")
    with pytest.raises(ConfigError, match="did you mean 'paper'"):
        load_experiment("toy2d", "papr")


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
trees = st.recursive(
    scalars, lambda t: st.lists(t, max_size=3) | st.dictionaries(st.text("abc", max_size=2), t, max_size=3)
)


@given(trees, trees, trees)
def test_at_scale_picks_exactly_the_scale(smoke: Any, quick: Any, paper: Any) -> None:
    tree = {"a": [{"smoke": smoke, "quick": quick, "paper": paper}], "b": {"smoke": 1, "quick": 2}}
    for scale, value in (("smoke", smoke), ("quick", quick), ("paper", paper)):
        assert at_scale(tree, scale) == {"a": [at_scale(value, scale)], "b": {"smoke": 1, "quick": 2}}


@given(st.dictionaries(st.text(max_size=8), trees, max_size=4))
def test_any_mapping_is_refused_without_a_traceback_of_another_kind(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError) as caught:
        parse_experiment(path, "quick")
    assert "\n" not in str(caught.value)


def test_a_misspelt_key_is_named_not_the_one_it_stood_for(tmp_path) -> None:
    path = tmp_path / "toy2d.yaml"
    path.write_text(
        (ROOT / "workflows" / "experiments" / "toy2d.yaml").read_text().replace("num_samples:", "num_smples:")
    )
    with pytest.raises(ConfigError, match=r"num_smples: got a key that is not known.*\(and 1 more\)"):
        parse_experiment(path, "smoke")
