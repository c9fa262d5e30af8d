"""`PolicyScorer`: what every policy of a search is scored on, made once: two models, and the images that they look at."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Self

import torch
from torch import Tensor, nn

from phalanx.config import EvaluationSettings, Experiment
from phalanx.core import rng
from phalanx.core.errors import ConfigError, DataError, Stopped
from phalanx.core.events import Sink
from phalanx.core.families import Trainer
from phalanx.core.types import DataSplit, Samples
from phalanx.data import ATS, IID, TRANSFORMATIONS
from phalanx.experiments.policy_search.record import ScoredPolicy
from phalanx.experiments.run import run
from phalanx.inversion import accuracy_score, privacy_score
from phalanx.models import Pretrained
from phalanx.simulation.devices import choose_devices
from phalanx.training.hardening import Hardening
from phalanx.training.local import LocalTrainer, try_augmentations

LENGTH = 3
BATCHES, ROWS = 10, 63
"""S_acc is a mean over so many batches of so many images; where there are fewer images, of smaller batches."""


@dataclass(frozen=True)
class PolicyScorer:
    """`trained` has seen a tenth of the samples, `untrained` none; both are in eval mode. `samples` hold `images`, whose
    gradients S_pri compares, and then `batches` of S_acc, as positions; no model has seen any of them.
    """

    trained: nn.Module
    untrained: nn.Module
    samples: Samples
    images: Tensor
    batches: Tensor
    seed: int

    @classmethod
    def of(cls, experiment: Experiment, folder: Path, images: int, sinks: Sequence[Sink] = ()) -> Self:
        """Train the experiment's model centrally, `run.rounds` rounds on a tenth of the samples, in `folder`/pretrained.

        Raises: DataError if there are too few samples; ConfigError if they are no images or training diverges; Stopped as `run`
            does.
        """
        split, seed = experiment.data.load(), experiment.run.seed
        try_augmentations((ATS(((0,),)),), split.train)  # refuses what is no image
        order = torch.randperm(len(split.train), generator=rng.generator(seed, "policy search"))
        seen, left = order[: len(order) // 10], order[len(order) // 10 :]
        rows = min(ROWS, (len(left) - images) // BATCHES)
        if rows < 2:
            raise DataError(
                f"A policy search needs {images} images for S_pri and at least {2 * BATCHES} others for S_acc beside a tenth "
                f"to train on; {split.name} leaves {len(left)}. Lower --images."
            )
        trained = _pretrained(experiment, split, seen, folder / "pretrained", sinks)
        recipe = experiment.model.architecture if isinstance(experiment.model, Pretrained) else experiment.model
        shape, classes = tuple(split.train.images.shape[1:]), split.train.num_classes
        untrained = recipe.build(shape, classes, rng.generator(seed, "model")).eval()
        batches = left[images : images + BATCHES * rows].view(BATCHES, rows)
        scorer = cls(trained, untrained, split.train, left[:images], batches, seed)
        return scorer._on(choose_devices(experiment.run)[0])

    @property
    def device(self) -> torch.device:
        """Where scores are worked out."""
        return self.samples.labels.device

    def _on(self, device: torch.device) -> Self:
        return replace(
            self, trained=self.trained.to(device), untrained=self.untrained.to(device), samples=self.samples.to(device)
        )

    def policy(self, number: int) -> tuple[int, ...]:
        """The policy of this number: random for 1, 2 …, whoever asks; nothing for 0."""
        drawn = torch.randint(len(TRANSFORMATIONS), (LENGTH,), generator=rng.generator(self.seed, "policy", number))
        return tuple(drawn.tolist()) if number else ()

    def score(self, number: int) -> ScoredPolicy:
        """Both scores of a policy; every policy is scored on the same images, with the same noise and signs."""
        policy, mean, std = self.policy(number), self.samples.mean, self.samples.std
        images, labels = self._transformed(policy, self.images)
        noise = rng.generator(self.seed, "policy noise")
        privacy = privacy_score(self.trained, images, labels, noise, mean=mean, std=std).mean()
        batches = (self._transformed(policy, batch)[0] for batch in self.batches)
        accuracy = fmean(accuracy_score(self.untrained, batch, mean=mean, std=std) for batch in batches)
        return ScoredPolicy(number, policy, float(privacy), accuracy)

    def _transformed(self, policy: tuple[int, ...], places: Tensor) -> tuple[Tensor, Tensor]:
        images, labels = self.samples.pixels(places.to(self.device))
        signs = rng.generator(self.seed, "policy signs", client=int(places[0]))
        return (ATS((policy,)).apply(images, signs) if policy else images), labels


def _pretrained(experiment: Experiment, split: DataSplit, seen: Tensor, folder: Path, sinks: Sequence[Sink]) -> nn.Module:
    train = replace(split.train, images=split.train.images[seen], labels=split.train.labels[seen])
    central = Experiment(
        run=replace(experiment.run, workers=1),
        model=experiment.model,
        partition=IID(num_clients=1),
        training=_untransformed(experiment.training),
        evaluation=EvaluationSettings(every=0),
    )
    try:
        result = run(central, out=folder, data=replace(split, train=train, groups=None), sinks=sinks)
    except Stopped as stopped:
        raise Stopped("Stopped before the search; the same command goes on.", exit_code=stopped.exit_code) from None
    if result.rounds_kept:  # rows that are not finite never reach the model
        raise ConfigError("The training of the model that policies are to be scored on diverged. Lower training.lr.")
    return result.model


def _untransformed(training: Trainer) -> Trainer:
    """The training without policies of its own, however deep inside of others: each is compared with none."""
    inner = ((name, value) for name, value in vars(training).items() if isinstance(value, Trainer))
    changed: dict[str, Any] = {name: _untransformed(value) for name, value in inner}
    if isinstance(training, LocalTrainer | Hardening):
        changed["augment"] = tuple(one for one in training.augment if not isinstance(one, ATS))
    return replace(training, **changed) if changed else training
