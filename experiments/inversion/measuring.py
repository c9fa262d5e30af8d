"""What attackers recover of single images under one cell of a sweep: measured once, kept in a file, and read again."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load as parse
from torch import Tensor, nn

from phalanx import Experiment
from phalanx.core import rng
from phalanx.core.families import Dataset, InversionAttack
from phalanx.core.files import write_atomically
from phalanx.core.types import DataSplit
from phalanx.data import ATS
from phalanx.experiments import Cell, Sweep
from phalanx.inversion import DLG, InvertingGradients, PolicyAware, TransformAware, leak_of
from phalanx.metrics import psnr
from phalanx.models import Pretrained, SigmoidCNN
from phalanx.server.checkpoint import serialised

ATTACKERS = ("naive", "translation", "policy")
"""Who knows nothing of the policy; that images may have been shifted; the policy itself."""
OTHERS = 2000
"""Training images that the mean image is of."""


@dataclass(frozen=True)
class Measured:
    """Images `[N, C, H, W]`: the client's, what it trained on, what was found, and what the attacker takes the second for; the
    means `[C, H, W]` of other images, as held and as trained on.
    """

    truth: Tensor
    transformed: Tensor
    found: Tensor
    found_transformed: Tensor
    mean_image: Tensor
    mean_transformed: Tensor

    def psnr(self, *, held: bool) -> float:
        """Against the images that the client holds, or those that it trained on."""
        compared = (self.found, self.truth) if held else (self.found_transformed, self.transformed)
        return float(psnr(*compared).clamp(max=100).mean())

    def baseline(self, *, held: bool) -> float:
        """The same of the mean image, which needs no gradient."""
        truth, mean = (self.truth, self.mean_image) if held else (self.transformed, self.mean_transformed)
        return float(psnr(mean.expand_as(truth), truth).mean())


def attack_on(experiment: Experiment, steps: int) -> InversionAttack:
    """The attack that suits the network: with sigmoids L-BFGS finds nearly everything, with ReLU nearly nothing."""
    if isinstance(experiment.model, SigmoidCNN):
        return DLG(steps=steps, restarts=8)
    return InvertingGradients(steps=steps, together=1)


def policies_of(experiment: Experiment) -> tuple[ATS, ...]:
    """The transformations of the experiment's training."""
    return tuple(one for one in experiment.training.augment if isinstance(one, ATS))  # type: ignore[attr-defined]


def measured(cell: Cell, attacker: str, folder: Path, *, images: int, steps: int, run: Path | None = None) -> Measured | None:
    """Read what was measured, or measure it; None where there is no policy to reckon with. `run`: the folder of the cell's
    finished run, whose model is then attacked.
    """
    defence, attack = policies_of(cell.experiment), attack_on(cell.experiment, steps)
    if attacker != "naive" and not defence:
        return None
    trained = "-trained" if run else ""
    path = folder / f"{cell.folder_name}-{attacker}-{images}-images-{steps}-steps{trained}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if attacker == "policy":  # it works on what the naive one has found
            found = measured(cell, "naive", folder, images=images, steps=steps, run=run)
            found = replace(found, found=PolicyAware(attack, defence[0].policies).undo(found.found))
        else:
            found = attacked(cell.experiment, attack if attacker == "naive" else TransformAware(attack), images, run=run)
        write_atomically(path, serialised(vars(found)))
    return Measured(**parse(path.read_bytes()))


def attacked(experiment: Experiment, attack: InversionAttack, images: int, *, run: Path | None = None) -> Measured:
    """Attack the gradients of single test images, one by one as a client would send them; the model is in eval mode."""
    split, seed = _split(experiment.data), experiment.run.seed
    model = _model(experiment, split, run)
    places = torch.randperm(len(split.test), generator=rng.generator(seed, "inversion images"))[:images]
    truth, labels = split.test.pixels(places)
    others = split.train.pixels(torch.arange(min(OTHERS, len(split.train))))[0]
    transformed, others_transformed = truth, others
    for policy in policies_of(experiment):
        transformed = policy.apply(transformed, rng.generator(seed, "inversion signs"))
        others_transformed = policy.apply(others_transformed, rng.generator(seed, "inversion mean image"))
    mean, std = split.test.mean, split.test.std
    leaks = [leak_of(model, image[None], label[None], mean=mean, std=std) for image, label in zip(transformed, labels)]
    found = attack.reconstruct_all(leaks, model, rng.generator(seed, "inversion"))
    recovered = torch.cat([one.images for one in found])
    taken_for = [one.images if one.transformed is None else one.transformed for one in found]
    means = (others.mean(0), others_transformed.mean(0))
    return Measured(truth, transformed, recovered, torch.cat(taken_for), *means)


@cache
def _split(data: Dataset) -> DataSplit:
    return data.load()


def _model(experiment: Experiment, split: DataSplit, run: Path | None) -> nn.Module:
    recipe = experiment.model if run is None else Pretrained(experiment.model, str(run))
    shape, classes = tuple(split.test.images.shape[1:]), split.test.num_classes
    return recipe.build(shape, classes, rng.generator(experiment.run.seed, "model")).eval()


def by_setting(sweep: Sweep) -> Mapping[str, list[Cell]]:
    """The cells of each setting, in the order of the file."""
    found: dict[str, list[Cell]] = {}
    for cell in sweep.cells:
        found.setdefault(cell.place["setting"], []).append(cell)
    return found


def with_policy(experiment: Experiment, policy: tuple[int, ...]) -> Experiment:
    """The experiment under one policy, or none."""
    augment = (ATS((policy,)),) if policy else ()
    return replace(experiment, training=replace(experiment.training, augment=augment))
