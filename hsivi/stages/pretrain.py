"""Stage ``pretrain``: train the score model of one data set."""

import torch

from hsivi import layout, provenance
from hsivi.arrays import save_arrays
from hsivi.checkpoint import Session
from hsivi.config import Experiment
from hsivi.pretrain import Pretrainer
from hsivi.problem import build_score_model, compute_device
from hsivi.stages.common import Stopwatch, dataset_command, files, open_dataset


def run(experiment: Experiment, dataset: str) -> None:
    """Write the network's (averaged) parameters and their note."""
    watch, output = Stopwatch(), files(experiment, dataset).score_model
    target, seed = open_dataset(experiment, dataset), experiment.data.seed
    score_model = build_score_model(experiment, target.event_shape, seed)
    trainer = Pretrainer(
        score_model,
        torch.from_numpy(target.training_points()).to(compute_device()),
        experiment.pretrain,
        seed,
    )
    settings = experiment.model_dump(include={"data", "schedule", "network", "pretrain"}, mode="json")
    session = Session(
        f"pretrain {dataset}",
        layout.scratch(output),
        provenance.digest([settings, provenance.code_digest(provenance.stage_file("pretrain"))]),
    )
    losses: list[float] = []

    def detail(loss: float) -> str:
        losses.append(loss)
        return f", loss {sum(losses[-100:]) / len(losses[-100:]):.4f}"

    session.train(trainer, experiment.pretrain.iterations, detail)
    save_arrays(output, {name: value.cpu().numpy() for name, value in trainer.average.parameters().items()})
    watch.note(
        output,
        dataset_command("pretrain", experiment, dataset),
        recipe=experiment.pretrain.model_dump(mode="json"),
        parameters=sum(p.numel() for p in score_model.network.parameters()),
        device=str(compute_device()),
        threads=torch.get_num_threads(),
    )
    session.close()
