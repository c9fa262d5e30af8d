"""DeepSight: its features by hand, the whole rule against loops, what it refuses, and that it stops a backdoor."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.cluster import HDBSCAN
from torch import Tensor, nn

import phalanx
from phalanx.aggregators import ClipNorm, DeepSight, Mean, Pipeline
from phalanx.aggregators.deep_sight import normalised_energies, threshold_exceedings
from phalanx.attacks import Adversary, Backdoor, FirstClients, Patch, Scaling
from phalanx.config import RunSettings
from phalanx.core import params as flat
from phalanx.core.errors import CapabilityError, ConfigError, PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.params import Layout
from phalanx.core.types import RoundContext, Updates
from phalanx.data import IID
from phalanx.models import MLP
from phalanx.training import SGD


def scene(model: nn.Module, input_shape: tuple[int, ...]) -> RoundContext:
    params, buffers = flat.flatten(model)
    return RoundContext(3, 7, Layout.of(model), params, buffers, model=model, input_shape=input_shape)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5))


def rows_and_buffers(context: RoundContext, n: int, seed: int) -> Updates:
    """Clients in two groups that moved different output neurons, and some in between."""
    generator = torch.Generator().manual_seed(seed)
    matrix = 0.05 * torch.randn(n, context.layout.d, generator=generator)
    bias = context.layout.parameters[-1]
    matrix[: n // 3, bias.start] += 2
    matrix[n // 3 : n - 2, bias.start : bias.stop] -= torch.rand(5, generator=generator)
    buffers = context.global_buffers + 0.1 * torch.rand(n, context.layout.b, generator=generator)
    return dataclasses.replace(Updates.of(matrix), buffers=buffers)


def test_energies_and_exceedings_by_hand() -> None:
    weights = torch.tensor([[[1.0, -2.0], [0.0, 0.5], [0.0, 0.0]]])
    biases = torch.tensor([[1.0, -0.5, 0.0]])
    shares = normalised_energies(weights, biases)  # energies 4, 1, 0
    torch.testing.assert_close(shares, torch.tensor([[16 / 17, 1 / 17, 0]], dtype=torch.float64))
    assert threshold_exceedings(shares).tolist() == [1], "a third of 16/17 is more than 1/17"
    assert threshold_exceedings(torch.tensor([[0.5, 0.4, 0.1], [0.4, 0.3, 0.3]])).tolist() == [2, 3]


def test_an_update_that_leaves_the_output_layer_alone_moves_all_its_neurons_alike() -> None:
    assert normalised_energies(torch.zeros(1, 4, 2), torch.zeros(1, 4)).tolist() == [[0.25] * 4]


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_energies_do_not_depend_on_the_size_of_the_update(size: float) -> None:
    weights = torch.tensor([[[1.0, -2.0], [0.0, 0.5]]])
    torch.testing.assert_close(normalised_energies(weights * size, None), normalised_energies(weights, None))


def slow_deep_sight(rule: DeepSight, updates: Updates, context: RoundContext) -> list[float]:
    """The paper's steps one client, one class and one pair at a time; each row's influence."""
    n, model = len(updates), context.model
    weight, bias = context.layout.parameters[-2:]
    shares, exceedings = [], []
    for row in updates.matrix:
        energies = [float(weight.view(row)[c].abs().sum() + bias.view(row)[c].abs()) for c in range(5)]
        share = np.square(energies) / np.square(energies).sum()
        shares.append(share)
        exceedings.append(sum(value > max(0.01, 1 / 5) * share.max() for value in share))
    suspicious = [count <= np.median(exceedings) / 2 for count in exceedings]

    def probabilities(params: Tensor, buffers: Tensor, inputs: Tensor) -> Tensor:
        flat.load(model, params, buffers)
        model.eval()
        with torch.no_grad():
            return model(inputs).double().softmax(dim=1)

    def labels(points, **settings) -> list[int]:
        found = HDBSCAN(min_cluster_size=rule.min_cluster_size, copy=True, **settings).fit_predict(np.asarray(points))
        return [n + place if label < 0 else int(label) for place, label in enumerate(found)]

    def apart(found: list[int]) -> np.ndarray:
        return np.array([[float(one != other) for other in found] for one in found])

    divisions = []
    for seed in range(rule.num_seeds):
        noise = torch.rand(rule.num_inputs, 6, generator=context.generator(f"deepsight noise {seed}"))
        expected = probabilities(context.global_params, context.global_buffers, noise)
        ratios = [
            (probabilities(context.global_params + row, values, noise) / expected).mean(dim=0).tolist()
            for row, values in zip(updates.matrix, updates.buffers)
        ]
        divisions.append(apart(labels(ratios)))
    steps = bias.view(updates.matrix).double()
    angles = 1 - torch.cosine_similarity(steps[:, None], steps[None], dim=2)
    angles = angles.clamp(min=0).fill_diagonal_(0)
    ensemble = (np.mean(divisions, axis=0) + apart(labels(shares)) + apart(labels(angles, metric="precomputed"))) / 3
    clusters = labels(ensemble, metric="precomputed")
    norms = [float(row.norm()) for row in updates.matrix]
    accepted = []
    for cluster in clusters:
        votes = [suspicious[i] for i in range(n) if clusters[i] == cluster]
        accepted.append(sum(votes) < len(votes) / 3)
    return [kept * min(1, np.median(norms) / norm) / sum(accepted) for kept, norm in zip(accepted, norms)]


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_rule_in_loops(seed: int) -> None:
    context, rule = scene(network(), (6,)), DeepSight(num_inputs=200)
    updates = rows_and_buffers(context, 14, seed)
    aggregate, _ = rule.aggregate(updates, {}, context)
    expected = slow_deep_sight(rule, updates, context)
    assert aggregate.influence.tolist() == pytest.approx(expected)
    assert aggregate.influence[: 14 // 3].tolist() == [0] * (14 // 3), "those who moved one neuron are dropped"
    assert aggregate.influence[6:].any()
    torch.testing.assert_close(aggregate.update, (aggregate.influence @ updates.matrix.double()).float())


def test_batches_of_noise_are_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    context, rule = scene(network(), (6,)), DeepSight(num_inputs=70, num_seeds=1)
    updates = rows_and_buffers(context, 9, 0)
    whole = rule._division_differences(context.model, updates, context, 0)
    monkeypatch.setattr("phalanx.aggregators.deep_sight._BATCH_VALUES", 6 * 16)
    torch.testing.assert_close(rule._division_differences(context.model, updates, context, 0), whole)


def test_a_client_without_a_finite_output_does_not_end_the_round() -> None:
    context = scene(network(), (6,))
    updates = rows_and_buffers(context, 9, 0)
    updates.matrix[2] = 1e30
    aggregate, _ = DeepSight(num_inputs=20).aggregate(updates, {}, context)
    assert aggregate.update.isfinite().all()


@pytest.mark.parametrize("far", [1e3, 1e11, 1e30])
def test_one_row_far_away_does_not_make_the_others_equal(far: float) -> None:
    camps = torch.tensor([0.0, 1, 2, 3, 4, 50, 51, 52, 53]).double()
    points = torch.cat([camps, torch.tensor([far]).double()])[:, None]
    clusters = DeepSight()._clusters(torch.cdist(points, points), torch.arange(10))
    assert len(clusters[:5].unique()) == len(clusters[5:9].unique()) == 1
    assert len(clusters.unique()) == 3


def test_where_most_rows_are_equal_the_few_others_do_not_become_so() -> None:
    points = torch.tensor([0.0] * 6 + [1.0] * 3 + [1e11]).double()[:, None]
    clusters = DeepSight()._clusters(torch.cdist(points, points), torch.arange(10))
    assert len(clusters[:6].unique()) == len(clusters[6:9].unique()) == 1
    assert len(clusters.unique()) == 3


def test_an_attacker_whom_a_confident_model_gives_a_huge_ratio_does_not_dissolve_the_camps() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 5))
    with torch.no_grad():
        model[1].bias[4] = -30  # a class that the global model all but rules out
    context, rule = scene(model, (6,)), DeepSight(num_inputs=100)
    rows = 0.01 * torch.randn(12, context.layout.d, generator=torch.Generator().manual_seed(0))
    rows[:5, 30] += 1
    rows[5:11, 31] += 1
    rows[11, 34] = 50
    ratios = rule._division_differences(model, Updates.of(rows), context, 0)
    clusters = rule._clusters(torch.cdist(ratios, ratios), torch.arange(12))
    assert ratios.max() > 1e11
    assert len(clusters[:5].unique()) == len(clusters[5:11].unique()) == 1
    assert len(clusters.unique()) == 3


def test_a_layer_without_bias_is_compared_by_its_weights() -> None:
    model = nn.Linear(6, 5, bias=False)
    context = scene(model, (6,))
    update = DeepSight(num_inputs=20)(torch.randn(7, 30, generator=torch.Generator().manual_seed(0)), context=context)
    assert update.shape == (30,)


@pytest.mark.parametrize("rule", [DeepSight(), Pipeline((ClipNorm(1.0), DeepSight()))], ids=lambda rule: rule.kind)
def test_a_model_without_a_trained_linear_layer_is_refused_before_any_round(rule: Aggregator) -> None:
    frozen = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 2))
    frozen[2].weight.requires_grad_(False)
    for model in (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), frozen):
        with pytest.raises(ConfigError, match=r"the last nn\.Linear of the model with a trained weight; Sequential has none"):
            rule.check(model)
    rule.check(nn.Linear(2, 2))


def test_too_few_rows_and_rows_without_a_model_are_refused() -> None:
    with pytest.raises(PreconditionError, match="n >= min_cluster_size updates; got n=2, min_cluster_size=3"):
        DeepSight().require(2)
    with pytest.raises(CapabilityError, match="DeepSight needs the model itself"):
        DeepSight()(torch.zeros(5, 3))


def test_it_stops_a_boosted_backdoor_that_the_mean_takes_in() -> None:
    def last(rule: Aggregator) -> dict[str, float]:
        experiment = phalanx.Experiment(
            run=RunSettings(rounds=6),
            partition=IID(num_clients=12),
            model=MLP(hidden=(32,)),
            training=SGD(lr=0.1, epochs=2, batch_size=16),
            aggregator=rule,
            adversary=Adversary(
                who=FirstClients(count=3), data=Backdoor(Patch(2), target=0, share=0.5), update=Scaling(factor=3.0)
            ),
        )
        return phalanx.run(experiment).metrics[-1]

    broken, kept = (last(rule) for rule in (Mean(), DeepSight(num_inputs=100)))
    assert broken["attack_success"] > 0.9
    assert kept["attack_success"] < 0.1
    assert kept["accuracy"] > 0.9


def test_the_model_is_in_the_mode_it_was_in() -> None:
    context = scene(network().train(), (6,))
    DeepSight(num_inputs=20).aggregate(rows_and_buffers(context, 9, 0), {}, context)
    assert all(part.training for part in context.model.modules())
