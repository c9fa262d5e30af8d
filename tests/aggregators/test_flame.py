"""Flame: the majority by cosine, clipped to the median norm, with noise; and every edge case that broke some implementation."""

import dataclasses

import pytest
import torch
from sklearn.cluster import HDBSCAN
from torch import Tensor, nn

from phalanx.aggregators import Flame, Mean, PaperNoise, ParameterStdNoise
from phalanx.core.params import Layout
from phalanx.core.types import Aggregate, RoundContext, Updates

NOISELESS = Flame(noise=PaperNoise(level=0.0))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def aggregate(rows: Tensor, rule: Flame = NOISELESS, context: RoundContext | None = None) -> Aggregate:
    return rule.aggregate(Updates.of(rows), {}, context or RoundContext.for_matrix(rows))[0]


def accepted(rows: Tensor, rule: Flame = NOISELESS) -> list[int]:
    influence = aggregate(rows, rule).influence
    assert influence is not None
    return influence.nonzero().flatten().tolist()


def on_model(rows: Tensor, global_params: Tensor) -> RoundContext:
    return dataclasses.replace(RoundContext.for_matrix(rows), global_params=global_params)


def slow_flame(rows: Tensor, global_params: Tensor) -> Tensor:
    """The paper's steps one client at a time, in float64, with scikit-learn's HDBSCAN; no noise."""
    updates = [row.double() for row in rows]
    models = [global_params.double() + update for update in updates]
    distances = torch.tensor([[1 - float(a @ b / (a.norm() * b.norm())) for b in models] for a in models]).double()
    clusterer = HDBSCAN(len(rows) // 2 + 1, min_samples=1, allow_single_cluster=True, metric="precomputed", copy=True)
    labels = clusterer.fit_predict(distances.clamp(min=0).fill_diagonal_(0).numpy())
    lengths = sorted(float(update.norm()) for update in updates)
    median = (lengths[(len(rows) - 1) // 2] + lengths[len(rows) // 2]) / 2
    kept = [update * min(1.0, median / float(update.norm())) for update, label in zip(updates, labels) if label == 0]
    return torch.stack(kept).mean(dim=0)


def test_flame_by_hand() -> None:
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [4.0, 0.0], [0.0, 99.0]])
    # The three along the first axis are accepted; S = (1 + 4) / 2 = 2.5 over all four.
    result = aggregate(rows)
    assert result.update is not None
    torch.testing.assert_close(result.update, torch.tensor([(1 + 1 + 2.5) / 3, 0.0]))
    torch.testing.assert_close(result.influence, torch.tensor([1, 1, 0.625, 0]).double() / 3)
    assert result.metrics == {"accepted": 3.0, "acceptance": 0.75, "clip_norm": 2.5, "noise_std": 0.0}


@pytest.mark.parametrize("seed", range(30))
def test_flame_agrees_with_the_paper_one_client_at_a_time(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    n = int(torch.randint(2, 25, (), generator=generator))
    global_params = torch.randn(60, generator=generator)
    rows = 0.1 * torch.randn(n, 60, generator=generator) * torch.rand(n, 1, generator=generator)
    result = NOISELESS(rows, context=on_model(rows, global_params))
    torch.testing.assert_close(result.double(), slow_flame(rows, global_params), rtol=1e-5, atol=1e-7)


def test_the_model_space_compares_whole_models_and_the_update_space_differences() -> None:
    rows = torch.tensor([[0.1, 0.0], [0.1, 0.01], [-0.1, 0.0], [-0.1, 0.01], [-0.1, 0.02]])
    context = on_model(rows, torch.tensor([0.0, 10.0]))
    by_update = aggregate(rows, Flame(space="update", noise=PaperNoise(level=0.0)), context).influence
    by_model = aggregate(rows, NOISELESS, on_model(rows, torch.tensor([10.0, 0.0]))).influence
    assert by_update is not None
    assert by_model is not None
    assert by_update.nonzero().flatten().tolist() == [2, 3, 4]
    assert by_model.nonzero().flatten().tolist() != [2, 3, 4]


def test_small_updates_of_a_large_model_are_told_apart() -> None:
    """At an update-to-weight ratio of 1e-2 and below, float32 cosines of whole models give other labels."""
    global_params = normal(50_000)
    rows = 1e-3 * normal(20, 50_000, seed=1)
    rows[12:] += 2e-3 * normal(1, 50_000, seed=2)
    result = NOISELESS(rows, context=on_model(rows, global_params))
    torch.testing.assert_close(result.double(), slow_flame(rows, global_params), rtol=1e-4, atol=1e-9)


def test_identical_updates_are_all_accepted() -> None:
    assert accepted(normal(1, 9_001).repeat(10, 1)) == list(range(10))


def test_zero_updates_are_all_accepted_and_give_zero() -> None:
    result = aggregate(torch.zeros(6, 4), Flame())
    assert result.metrics["accepted"] == 6
    assert result.update is not None
    assert not result.update.any()


def test_one_and_two_clients_are_accepted() -> None:
    assert accepted(normal(1, 5)) == [0]
    assert accepted(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])) == [0, 1]


def test_of_three_the_closest_pair_is_accepted() -> None:
    assert accepted(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.2]])) == [0, 2]


def test_six_alike_of_ten_are_accepted() -> None:
    rows = normal(10, 50)
    rows[[2, 3, 5, 7, 9]] = rows[0].clone()
    assert accepted(rows) == [0, 2, 3, 5, 7, 9]


def test_zeros_beside_a_majority_alike_are_rejected() -> None:
    rows = torch.cat([torch.zeros(4, 50), normal(1, 50) + 0.01 * normal(6, 50, seed=1)])
    assert accepted(rows) == [4, 5, 6, 7, 8, 9]


def test_a_tight_clique_of_half_leaves_everyone_in_and_one_more_takes_over() -> None:
    """The bound k < n/2 is real."""
    honest = normal(1, 200) + 0.3 * normal(5, 200, seed=1)
    clique = normal(1, 200, seed=2) + 1e-3 * normal(6, 200, seed=3)
    assert accepted(torch.cat([clique[:5], honest])) == list(range(10))
    assert accepted(torch.cat([clique, honest[:4]])) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_non_finite_row_is_dropped_as_if_it_never_came(value: float) -> None:
    rows = normal(9, 20)
    bad = torch.cat([rows[:3], torch.full((1, 20), value), rows[3:]])
    assert torch.equal(Flame()(bad), Flame()(rows))


def test_the_clip_factor_is_each_clients_own() -> None:
    rows = torch.tensor([[0.0, 50.0], [2.0, 0.0], [1.0, 0.1], [8.0, 0.0], [4.0, 0.0]])
    result = aggregate(rows)
    assert result.influence is not None
    # Norms 50, 2, 1.005, 8, 4: S = 4. The first and the third are rejected; of the accepted the fourth is clipped, to a half.
    assert result.influence.tolist() == pytest.approx([0, 1 / 3, 0, 1 / 6, 1 / 3])


def test_buffers_are_the_servers_own_affair_and_never_noised() -> None:
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [4.0, 0.0], [0.0, 99.0]])
    updates = dataclasses.replace(Updates.of(rows), buffers=torch.tensor([[1.0], [2.0], [6.0], [1e9]]))
    result, _ = Flame(noise=PaperNoise(level=10.0)).aggregate(updates, {}, RoundContext.for_matrix(rows))
    assert result.buffers is None
    assert (result.influence > 0).tolist() == [True, True, True, False], "the median of these three is taken"


def test_the_papers_noise_is_gaussian_with_lambda_times_the_median_norm() -> None:
    rows = normal(1, 40_000) + 0.1 * normal(7, 40_000, seed=1)
    noisy, plain = aggregate(rows, Flame(noise=PaperNoise(level=0.01))), aggregate(rows)
    assert noisy.update is not None
    assert plain.update is not None
    noise = (noisy.update - plain.update).double()
    expected = 0.01 * plain.metrics["clip_norm"]
    assert noise.std().item() == pytest.approx(expected, rel=0.02)
    assert abs(noise.mean().item()) < 4 * expected / 200
    assert noisy.metrics["noise_std"] == pytest.approx(expected, rel=1e-5)


def test_noise_is_new_in_every_round_and_the_same_for_the_same_round() -> None:
    rows = normal(7, 30)
    context = RoundContext.for_matrix(rows)
    assert torch.equal(Flame()(rows, context=context), Flame()(rows, context=context))
    assert not torch.equal(Flame()(rows, context=context), Flame()(rows, context=dataclasses.replace(context, round=1)))


def test_the_other_noise_spares_biases_normalisation_and_single_elements() -> None:
    module = nn.Sequential(nn.Linear(30, 40), nn.BatchNorm1d(40), nn.Linear(40, 1, bias=False))
    module.register_parameter("single", nn.Parameter(torch.ones(1)))
    layout = Layout.of(module)
    rows = normal(1, layout.d) + 0.1 * normal(7, layout.d, seed=1)
    context = dataclasses.replace(on_model(rows, normal(layout.d, seed=2)), layout=layout)
    noisy = aggregate(rows, Flame(noise=ParameterStdNoise(level=0.01)), context)
    plain = aggregate(rows, NOISELESS, context)
    assert noisy.update is not None
    assert plain.update is not None
    noise = layout.views((noisy.update - plain.update).double())
    model = layout.views((context.global_params + plain.update).double())
    for name in ("0.weight", "2.weight"):
        expected = 0.01 * plain.metrics["clip_norm"] * model[name].std().item()
        assert noise[name].std().item() == pytest.approx(expected, rel=0.3 if name == "2.weight" else 0.1)
    for name in ("0.bias", "1.weight", "1.bias", "single"):
        assert not noise[name].any()


def test_about_half_of_homogeneous_honest_clients_are_accepted() -> None:
    acceptance = [aggregate(normal(20, 300, seed=seed)).metrics["acceptance"] for seed in range(20)]
    assert 0.5 < sum(acceptance) / 20 < 0.7


def test_flame_holds_where_a_backdoor_breaks_the_mean() -> None:
    """Four of ten send one boosted direction: the mean follows it, Flame rejects them."""
    honest = normal(1, 400) + 0.5 * normal(6, 400, seed=1)
    backdoor = normal(1, 400, seed=2)
    rows = torch.cat([10 * backdoor + 0.1 * normal(4, 400, seed=3), honest])

    def along_backdoor(update: Tensor) -> float:
        return float(update @ backdoor[0] / backdoor.norm() ** 2)

    assert along_backdoor(Mean()(rows)) > 3
    assert abs(along_backdoor(Flame()(rows))) < 0.2
    assert set(accepted(rows)) <= {4, 5, 6, 7, 8, 9}
