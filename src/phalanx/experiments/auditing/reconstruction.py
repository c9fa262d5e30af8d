"""What `[evaluation.inversion]` finds of a client's images, to stand beside the bound in an audit."""

from dataclasses import dataclass, replace

from torch import nn

from phalanx.config import EvaluationSettings, Experiment
from phalanx.core.types import DataSplit
from phalanx.experiments.run import run_on


@dataclass(frozen=True)
class Reconstruction:
    """How well the client's images were found in its last attacked update, on average; beside it the mean image.

    PSNR in dB and SSIM, against what the client trained on. None where no update could be attacked.
    """

    client: int
    psnr: float | None
    ssim: float | None
    baseline: float | None


def reconstruct(experiment: Experiment, *, model: nn.Module | None, data: DataSplit) -> Reconstruction | None:
    """Run the experiment up to the last round that its `[evaluation.inversion]` attacks. None without one."""
    inversion = experiment.evaluation.inversion
    if inversion is None:
        return None
    rounds = min(max(inversion.rounds) + 1, experiment.run.rounds)
    short = replace(
        experiment,
        run=replace(experiment.run, rounds=rounds),
        evaluation=EvaluationSettings(every=0, inversion=inversion),
        tracking=(),
    )
    final = run_on(lambda: data, short, out=None, model=model).metrics[-1]
    return Reconstruction(inversion.client, *(final.get(f"inversion_{score}") for score in ("psnr", "ssim", "baseline")))
