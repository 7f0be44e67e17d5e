"""Stage ``pretrain``: train the score model of one data set."""

from typing import cast

import torch

from hsivi import layout, parallel, provenance
from hsivi.arrays import save_arrays
from hsivi.checkpoint import Session
from hsivi.data import TrainingDataset
from hsivi.experiment import Experiment
from hsivi.nn.importers import import_checkpoint
from hsivi.nn.unet import StackedUNet
from hsivi.pretrain import Pretrainer
from hsivi.problem import build_score_model, compute_device, device_name
from hsivi.recipe import PretrainRecipe
from hsivi.score_model_config import CheckpointConfig
from hsivi.sources import given_file
from hsivi.stages import settings
from hsivi.stages.common import Stopwatch, dataset_command, files, open_dataset


def run(experiment: Experiment, dataset: str) -> None:
    """Write the network's (averaged) parameters and their note."""
    if experiment.diffusion.checkpoint is not None:
        _import(experiment, dataset, experiment.diffusion.checkpoint)
    elif experiment.diffusion.pretrain is not None:
        _train(experiment, dataset, experiment.diffusion.pretrain)


def _import(experiment: Experiment, dataset: str, checkpoint: CheckpointConfig) -> None:
    watch, output = Stopwatch(), files(experiment, dataset).score_model
    shape = open_dataset(experiment, dataset).event_shape
    stack = cast(StackedUNet, build_score_model(experiment.diffusion, shape, experiment.data.seed).network)
    facts = import_checkpoint(
        given_file("checkpoints", checkpoint.file, checkpoint.origin), checkpoint.layout, stack, checkpoint.sha256
    )
    save_arrays(output, {name: p.detach().cpu().numpy() for name, p in stack.named_parameters()})
    watch.note(
        output,
        dataset_command("pretrain", experiment, dataset),
        checkpoint={**facts, "origin": checkpoint.origin},
        parameters=_parameters(stack),
    )


def _train(experiment: Experiment, dataset: str, recipe: PretrainRecipe) -> None:
    watch, output = Stopwatch(), files(experiment, dataset).score_model
    target, seed = cast(TrainingDataset, open_dataset(experiment, dataset)), experiment.data.seed
    score_model = build_score_model(experiment.diffusion, target.event_shape, seed).accelerated(recipe)
    points = torch.from_numpy(target.training_points())
    # Images stay where they are, on disk if need be: a batch of them is small.
    pool = points.to(compute_device()) if points.is_floating_point() else points
    trainer = Pretrainer(score_model, pool, recipe, seed)
    identity = [
        settings.of_score_model(experiment),
        provenance.code_digest(provenance.stage_file("pretrain")),
        provenance.file_digest(files(experiment, dataset).data),
    ]
    session = Session(f"pretrain {dataset}", layout.scratch(output), provenance.digest(identity))
    loss = session.train(trainer, recipe.iterations, lambda loss: f", loss {loss:.4f}")
    if not parallel.is_first():
        return
    save_arrays(output, {name: value.cpu().numpy() for name, value in trainer.average.parameters().items()})
    watch.note(
        output,
        dataset_command("pretrain", experiment, dataset),
        recipe=recipe.model_dump(mode="json"),
        parameters=_parameters(score_model.network),
        device=device_name(),
        processes=parallel.processes(),
        last_loss=loss,
        training_seconds=round(session.seconds, 3),
        threads=torch.get_num_threads(),
    )
    session.close()


def _parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
