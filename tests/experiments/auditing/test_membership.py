"""Membership inference: what learns its samples by heart is told, what is private is not, and the scores by hand."""

from dataclasses import replace

import pytest
import torch

from phalanx.config import Experiment, RunSettings
from phalanx.core.errors import ConfigError
from phalanx.data import IID, Synthetic
from phalanx.experiments.auditing.membership import infer_membership, measured
from phalanx.models import LogisticRegression
from phalanx.privacy.one_run_audit import auc
from phalanx.training import DPSGD, SGD

BY_HEART = Experiment(
    run=RunSettings(rounds=15),
    data=Synthetic(num_samples=300, num_features=100, num_classes=10, separation=0.5),
    partition=IID(num_clients=2),
    model=LogisticRegression(),
    training=SGD(0.5, epochs=2),
)


def test_a_model_that_learns_by_heart_gives_its_samples_away():
    found = infer_membership(BY_HEART, 4, data=BY_HEART.data.load())
    assert found.by_loss > 0.8
    assert found.by_likelihood > 0.8
    assert (found.models, found.samples) == (4, len(BY_HEART.data.load().train))


def test_with_much_noise_nobody_is_told():
    training = DPSGD(0.1, epochs=1, noise_multiplier=30.0, batch_size=64)
    found = infer_membership(replace(BY_HEART, training=training), 2, data=BY_HEART.data.load())
    assert abs(found.by_loss - 0.5) < 0.1
    assert found.by_likelihood is None


def test_the_comparison_is_that_of_a_loop():
    generator = torch.Generator().manual_seed(0)
    is_member = torch.rand(5, 30, generator=generator) < 0.5
    margins = torch.randn(5, 30, dtype=torch.float64, generator=generator) + is_member
    aucs = []
    for target in range(5):
        scores, members = [], []
        for sample in range(30):
            inside = [margins[k, sample] for k in range(5) if k != target and is_member[k, sample]]
            outside = [margins[k, sample] for k in range(5) if k != target and not is_member[k, sample]]
            if inside and outside:
                normal = torch.distributions.Normal(torch.stack([sum(inside) / len(inside), sum(outside) / len(outside)]), 1.0)
                likely = normal.log_prob(margins[target, sample])
                scores.append(likely[0] - likely[1])
                members.append(is_member[target, sample])
        aucs.append(auc(torch.stack(scores), torch.stack(members)))
    found = measured(margins, is_member)
    assert found.by_likelihood == pytest.approx(sum(aucs) / 5)
    assert found.by_loss == pytest.approx(sum(auc(*pair) for pair in zip(margins, is_member)) / 5)


def test_no_model_is_refused():
    with pytest.raises(ConfigError, match="at least one model"):
        infer_membership(BY_HEART, 0, data=BY_HEART.data.load())


def test_a_training_that_diverges_is_refused():
    data = BY_HEART.data.load()
    broken = replace(data, train=replace(data.train, images=data.train.images * torch.nan))
    with pytest.raises(ConfigError, match="diverged"):
        infer_membership(BY_HEART, 1, data=broken)
