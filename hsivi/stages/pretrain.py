"""Stage ``pretrain``: train the score model of one data set."""

from typing import cast

import torch

from hsivi import layout, provenance
from hsivi.arrays import save_arrays
from hsivi.checkpoint import Session
from hsivi.data import TrainingDataset
from hsivi.experiment import Experiment
from hsivi.pretrain import Pretrainer
from hsivi.problem import build_score_model, compute_device, device_name
from hsivi.stages import settings
from hsivi.stages.common import Stopwatch, dataset_command, files, open_dataset


def run(experiment: Experiment, dataset: str) -> None:
    """Write the network's (averaged) parameters and their note."""
    watch, output = Stopwatch(), files(experiment, dataset).score_model
    target, seed = cast(TrainingDataset, open_dataset(experiment, dataset)), experiment.data.seed
    _, recipe = experiment.diffusion.trained
    score_model = build_score_model(experiment.diffusion, target.event_shape, seed)
    trainer = Pretrainer(
        score_model,
        torch.from_numpy(target.training_points()).to(compute_device()),
        recipe,
        seed,
    )
    identity = [
        settings.of_score_model(experiment),
        provenance.code_digest(provenance.stage_file("pretrain")),
        provenance.file_digest(files(experiment, dataset).data),
    ]
    session = Session(f"pretrain {dataset}", layout.scratch(output), provenance.digest(identity))
    loss = session.train(trainer, recipe.iterations, lambda loss: f", loss {loss:.4f}")
    save_arrays(output, {name: value.cpu().numpy() for name, value in trainer.average.parameters().items()})
    watch.note(
        output,
        dataset_command("pretrain", experiment, dataset),
        recipe=recipe.model_dump(mode="json"),
        parameters=sum(p.numel() for p in score_model.network.parameters()),
        device=device_name(),
        last_loss=loss,
        training_seconds=round(session.seconds, 3),
        threads=torch.get_num_threads(),
    )
    session.close()
