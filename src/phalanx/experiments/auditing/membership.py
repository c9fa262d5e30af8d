"""Membership inference: how well a model's losses tell the samples that it was trained on. An intuition beside ε, no bound."""

from dataclasses import dataclass, replace
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from phalanx.attacks import Adversary
from phalanx.config import EvaluationSettings, Experiment
from phalanx.core import rng
from phalanx.core.errors import ConfigError
from phalanx.core.types import DataSplit, Samples
from phalanx.experiments.run import run
from phalanx.privacy.one_run_audit import auc

_JUDGED = 2000
"""Samples, at most."""


@dataclass(frozen=True)
class Membership:
    """AUC of telling members from others, the mean over `models` models, each trained on a random half of the training samples.

    `by_loss`: members have smaller losses. `by_likelihood`: a sample's loss is compared with its losses under the other models,
    those trained with it and those without; None with fewer than three models. 0.5 is chance. Single samples may be told much
    better than the AUC says.

    Reference: Yeom et al., Privacy Risk in Machine Learning, CSF 2018; Carlini et al., Membership Inference Attacks From First
    Principles, IEEE S&P 2022 (arXiv 2112.03570). Differs from the paper: a few models, so one variance for all samples, no
    augmented queries.
    """

    models: int
    samples: int
    by_loss: float
    by_likelihood: float | None


def infer_membership(experiment: Experiment, models: int, *, model: nn.Module | None = None, data: DataSplit) -> Membership:
    """Train `models` times as the experiment says, without attackers, each time on another half of the samples.

    Raises: ConfigError for fewer than one model, or one whose losses are NaN; what running the experiment raises.
    """
    if models < 1:
        raise ConfigError(f"Membership inference needs at least one model; got {models}.")
    seed, count = experiment.run.seed, len(data.train)
    judged = torch.randperm(count, generator=rng.generator(seed, "audit judged"))[:_JUDGED]
    halves = torch.stack([torch.rand(count, generator=rng.generator(seed, "audit half", k)) < 0.5 for k in range(models)])
    alone = replace(experiment, adversary=Adversary(), evaluation=EvaluationSettings(every=0), tracking=())
    margins = torch.stack(
        [
            _margins(run(_seeded(alone, k), model=model, data=_part(data, half)).model, data.train, judged)
            for k, half in enumerate(halves)
        ]
    )
    return measured(margins, halves[:, judged])


def measured(margins: Tensor, is_member: Tensor) -> Membership:
    """Both AUCs, for log(p / (1 - p)) of the true class `[K, n]` and who was a member of what `[K, n]`."""
    models, samples = margins.shape
    by_loss = fmean(auc(margin, member) for margin, member in zip(margins, is_member))
    by_likelihood = None
    if models >= 3:
        by_likelihood = fmean(_by_likelihood(margins, is_member, target) for target in range(models))
    return Membership(models, samples, by_loss, by_likelihood)


def _by_likelihood(margins: Tensor, is_member: Tensor, target: int) -> float:
    others = torch.arange(len(margins)) != target
    shadows, members = margins[others], is_member[others]
    with_it, without = ((shadows * kind).sum(0) / kind.sum(0) for kind in (members, ~members))
    # The log of the likelihoods' ratio; a variance that all samples share changes no order.
    score = (margins[target] - without).square() - (margins[target] - with_it).square()
    known = ~score.isnan()  # some were in all of the other models, or in none
    return auc(score[known], is_member[target][known])


def _margins(model: nn.Module, samples: Samples, judged: Tensor) -> Tensor:
    device = next(model.parameters()).device
    losses = list[Tensor]()
    with torch.no_grad():
        for index in torch.split(judged, 200):
            images, labels = samples.pixels(index)
            logits = model(samples.normalize(images).to(device)).double().cpu()
            losses.append(cross_entropy(logits, labels, reduction="none"))
    loss = torch.cat(losses).clamp(1e-12, 500.0)
    if loss.isnan().any():
        raise ConfigError("A shadow model's training diverged: its losses are NaN, and tell nothing. Lower training.lr.")
    return -torch.log(torch.expm1(loss))  # log(p / (1 - p)) for p = exp(-loss)


def _part(data: DataSplit, half: Tensor) -> DataSplit:
    train = replace(data.train, images=data.train.images[half], labels=data.train.labels[half])
    return replace(data, train=train, groups=None if data.groups is None else data.groups[half])


def _seeded(experiment: Experiment, k: int) -> Experiment:
    return replace(experiment, run=replace(experiment.run, seed=experiment.run.seed + k))
