"""The prior on BatchNorm's statistics: by hand, against hooks on a plain pass, and what it is for."""

import pytest
import torch
from torch import nn

from phalanx.core.errors import ConfigError
from phalanx.inversion import InvertingGradients, leak_of
from phalanx.inversion.running_statistics import RunningStatistics
from phalanx.models import ResNet20, SigmoidCNN


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_it_is_worked_by_hand():
    """Values 0 and 4: mean 2, variance 4, where 0 and 1 are expected."""
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(2, 2))
    found = RunningStatistics(model).distance(torch.tensor([0.0, 4.0]).view(1, 1, 1, 1, 2))
    assert found.tolist() == pytest.approx([2 + 3])


@pytest.mark.parametrize("is_training", [True, False])
def test_it_is_what_the_inputs_of_a_plain_pass_are_away_from_the_running_statistics(is_training):
    model = ResNet20().build((3, 8, 8), 4, seeded()).train(is_training)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    for part in norms:
        part.running_mean.uniform_(-1, 1, generator=seeded(1))
        part.running_var.uniform_(0.5, 2, generator=seeded(2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batches = torch.rand(2, 3, 3, 8, 8, generator=seeded(3))
    found = RunningStatistics(model).distance(batches)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    expected, total = [], []
    moments = {part: (part.running_mean.clone(), part.running_var.clone()) for part in norms}
    for part in norms:
        part.register_forward_pre_hook(
            lambda part, inputs: total.append(
                float((inputs[0].mean((0, 2, 3)) - moments[part][0]).norm())
                + float((inputs[0].var((0, 2, 3), correction=0) - moments[part][1]).norm())
            )
        )
    for batch in batches:
        total.clear()
        with torch.no_grad():
            model(batch)
        expected.append(sum(total))
    assert found.tolist() == pytest.approx(expected, rel=1e-4)


def test_a_search_with_it_ends_nearer_to_the_statistics():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 6, 3, stride=2), nn.BatchNorm2d(6), nn.Sigmoid(), nn.Flatten(), nn.Linear(54, 4))
    images = torch.rand(4, 1, 8, 8, generator=seeded(1))
    with torch.no_grad():
        for _ in range(50):
            model(images)  # running statistics become the batch's
    statistics, leak = RunningStatistics(model), leak_of(model, images, torch.arange(4))
    plain, prior = (
        InvertingGradients(steps=60, batch_norm=weight).reconstruct(leak, model, seeded(2)).images for weight in (0.0, 0.1)
    )
    away = [float(statistics.distance(found[None])) for found in (plain, prior, images)]
    assert away[1] < away[0]
    assert away[2] < 0.5


def test_a_model_without_running_statistics_is_one_sentence():
    model = SigmoidCNN().build((1, 8, 8), 4, seeded())
    leak = leak_of(model, torch.rand(1, 1, 8, 8), torch.tensor([0]))
    with pytest.raises(ConfigError, match="batch_norm needs a model whose BatchNorm layers keep running statistics"):
        InvertingGradients(batch_norm=0.1).reconstruct(leak, model, seeded())
