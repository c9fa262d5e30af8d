"""SkyMask and its official variant: whose trained masks are like those of the server's own model."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_samples, silhouette_score
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from phalanx.aggregators import ClipToMedianNorm, Mean, OfficialSkyMask, Pipeline, SkyMask, mask_training
from phalanx.attacks.update import ALittleIsEnough, MinMax
from phalanx.core.errors import CapabilityError, PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.params import Layout, flatten
from phalanx.core.types import Aggregate, Root, RoundContext, Samples, Updates

CENTRES = 2 * torch.randn(4, 12, generator=torch.Generator().manual_seed(9))


def samples(count: int, generator: torch.Generator) -> Samples:
    labels = torch.randint(4, (count,), generator=generator)
    return Samples(CENTRES[labels] + torch.randn(count, 12, generator=generator), labels, 4)


def trained(module: nn.Module, params: Tensor, data: Samples, steps: int = 10) -> Tensor:
    """What some steps of descent on the data change."""
    layout, current = Layout.of(module), params.clone().requires_grad_()
    for _ in range(steps):
        loss = cross_entropy(torch.func.functional_call(module, layout.views(current), (data.images,)), data.labels)
        current = (current - 0.05 * torch.autograd.grad(loss, current)[0]).detach().requires_grad_()
    return (current - params).detach()


def scene(honest: int = 14, seed: int = 0) -> tuple[Tensor, RoundContext]:
    """Honest updates to a softmax regression, and the round with a root set of 60 samples."""
    generator = torch.Generator().manual_seed(seed)
    module = nn.utils.skip_init(nn.Linear, 12, 4)
    nn.init.normal_(module.weight, std=0.01, generator=generator)
    nn.init.zeros_(module.bias)
    params, buffers = flatten(module)
    rows = torch.stack([trained(module, params, samples(40, generator)) for _ in range(honest)])
    root = samples(60, generator)
    context = RoundContext(
        round=0,
        seed=seed,
        layout=Layout.of(module),
        global_params=params,
        global_buffers=buffers,
        model=module,
        root=Root(root, lambda: trained(module, params, root)),
    )
    return rows, context


def aggregate(rows: Tensor, context: RoundContext, rule: Aggregator | None = None) -> Aggregate:
    return (rule or SkyMask()).aggregate(Updates.of(rows), {}, context)[0]


def kept(result: Aggregate) -> list[int]:
    return result.influence.nonzero().flatten().tolist()


def slow_skymask(rows: Tensor, context: RoundContext, seed: int) -> tuple[list[int], float, float]:
    """The method in its own words: all models in one graph, PCA of the masks themselves, scikit-learn for the rest."""
    models = context.global_params + torch.cat([rows, context.root.update()[None]])
    masks, data = torch.ones_like(models), context.root.samples
    unit = 0.0
    for step in range(20):
        masks.requires_grad_()
        shares = masks.sigmoid()
        merged = context.layout.views((shares * models).sum(0) / shares.sum(0))
        loss = cross_entropy(torch.func.functional_call(context.model, merged, (data.images,)), data.labels)
        gradient = torch.autograd.grad(loss, masks)[0]
        if step == 0:
            unit = float(np.quantile(gradient.abs().numpy(), 0.99, method="inverted_cdf"))
        masks = masks.detach() - (gradient / unit).clamp(-1, 1)
    points = PCA(2).fit_transform((masks.sigmoid() > 0.5).double().numpy())
    points /= np.sqrt((points**2).mean())
    one, two = (GaussianMixture(k, reg_covar=1e-2, n_init=3, random_state=seed).fit(points) for k in (1, 2))
    labels = two.predict(points)
    gain, silhouette = one.bic(points) - two.bic(points), silhouette_score(points, labels)
    of_server = silhouette_samples(points, labels)[labels == labels[-1]].mean()
    splits = gain > 0 and silhouette > 0.57 and of_server > 0.25
    return [i for i in range(len(rows)) if not splits or labels[i] == labels[-1]], gain, silhouette


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("attack", [None, MinMax(), ALittleIsEnough(1.5)])
def test_it_agrees_with_the_method_in_its_own_words(seed: int, attack: MinMax | ALittleIsEnough | None) -> None:
    rows, context = scene(seed=seed)
    if attack is not None:
        rows = torch.cat([attack(rows, num_byzantine=5), rows])
    result = aggregate(rows, context)
    expected, gain, silhouette = slow_skymask(rows, context, seed)
    assert kept(result) == expected
    if attack is not None:  # one blob is cut in two as the starts fall
        assert result.metrics["delta_bic"] == pytest.approx(gain, rel=0.02)
        assert result.metrics["silhouette"] == pytest.approx(silhouette, abs=0.02)
    torch.testing.assert_close(result.update, rows[expected].mean(dim=0))


@pytest.mark.parametrize("seed", range(5))
def test_without_an_attack_honest_clients_stay(seed: int) -> None:
    rows, context = scene(seed=seed)
    result = aggregate(rows, context)
    assert len(kept(result)) == 14
    assert result.metrics["clusters"] == 1
    torch.testing.assert_close(result.update, rows.mean(dim=0))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("num_byzantine", [4, 20])
def test_it_holds_against_few_and_against_a_majority(seed: int, num_byzantine: int) -> None:
    honest, context = scene(seed=seed)
    rows = torch.cat([MinMax()(honest, num_byzantine=num_byzantine), honest])
    result = aggregate(rows, context)
    assert kept(result) == list(range(num_byzantine, len(rows)))
    assert result.metrics["clusters"] == 2
    attacked, defended = (update - honest.mean(dim=0) for update in (Mean()(rows), result.update))
    assert defended.norm() < 1e-3 * attacked.norm()
    # Attackers' masks are farther from the server's own, which is the origin of the plane.
    far, near = result.embedding.norm(dim=1).split([num_byzantine, len(honest)])
    assert far.min() > near.max()
    assert result.scores[:num_byzantine].min() > result.scores[num_byzantine:].max()


def test_a_mask_by_hand() -> None:
    """One parameter, the bias of one of two classes: who pulls it the wrong way loses his say."""

    class _Bias(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(1))

        def forward(self, images: Tensor) -> Tensor:
            return torch.cat([self.bias.expand(len(images), 1), torch.zeros(len(images), 1)], dim=1)

    module = _Bias()
    data = Samples(torch.zeros(4, 1), torch.tensor([0, 0, 0, 1]), 2)
    root = Root(data, lambda: torch.tensor([1.0]))
    context = RoundContext(0, 0, Layout.of(module), torch.zeros(1), torch.zeros(0), model=module, root=root)
    rows = torch.tensor([[1.0], [1.0], [1.0], [-4.0], [-4.0]])
    # W~ = 0 at first: the masks of 1 rise, those of −4 fall by 1 in the first step, to 0: binary 0.
    result = aggregate(rows, context, SkyMask(steps=1))
    assert kept(result) == [0, 1, 2]
    assert result.scores.tolist() == [0, 0, 0, 1, 1]
    assert result.update.item() == 1.0


def test_a_server_like_nobody_judges_nobody_unless_it_is_told_to() -> None:
    rows, context = scene()
    lost = dataclasses.replace(context, root=dataclasses.replace(context.root, update=lambda: -20 * rows.mean(dim=0)))
    everyone = aggregate(rows, lost)
    assert everyone.metrics["silhouette"] > 0.57
    assert (everyone.metrics["server_silhouette"], everyone.metrics["clusters"]) == (0, 1)
    torch.testing.assert_close(everyone.update, rows.mean(dim=0))
    nobody = aggregate(rows, lost, SkyMask(min_server_silhouette=-1.0))
    assert nobody.update is None
    assert not nobody.influence.any()


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("rule", [SkyMask(), OfficialSkyMask()])
def test_as_few_as_one_client_have_an_outcome(rule: Aggregator, count: int) -> None:
    rows, context = scene()
    result = aggregate(rows[:count], context, rule)
    assert result.influence.shape == (count,)
    if rule == SkyMask():  # so few are no clusters
        assert kept(result) == list(range(count))


@pytest.mark.parametrize("rows", [torch.zeros(9, 52), torch.full((9, 52), 0.01), "the server's", "one client's", "attackers'"])
def test_equal_rows_are_all_kept_whosever_they_are(rows: Tensor | str) -> None:
    """Nothing tells which of them to reject: attackers who are everyone win."""
    honest, context = scene()
    if isinstance(rows, str):
        one = {"the server's": context.root.update(), "one client's": honest[0], "attackers'": -honest.mean(dim=0)}[rows]
        rows = one.repeat(9, 1)
    assert kept(aggregate(rows, context)) == list(range(9))


def test_in_the_official_variant_equal_rows_unlike_the_servers_keep_the_model_and_like_it_are_all_kept() -> None:
    honest, context = scene()
    result = aggregate(-honest.mean(dim=0).repeat(9, 1), context, OfficialSkyMask())
    assert result.update is None
    assert not result.influence.any()
    assert kept(aggregate(context.root.update().repeat(9, 1), context, OfficialSkyMask())) == list(range(9))


def test_where_all_are_malicious_they_are_all_kept() -> None:
    honest, context = scene()
    for rows in (-honest, MinMax()(honest, num_byzantine=14)):
        assert kept(aggregate(rows, context)) == list(range(14))


class _Ignoring(nn.Module):
    """A model whose parameters do not matter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(52))

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :4] + 0 * self.weight.sum()


@pytest.mark.parametrize("rule", [SkyMask(), OfficialSkyMask()])
def test_masks_that_no_gradient_reaches_judge_nobody(rule: Aggregator) -> None:
    rows, context = scene()
    module = _Ignoring()
    deaf = dataclasses.replace(context, layout=Layout.of(module), model=module)
    result = aggregate(rows, deaf, rule)
    assert kept(result) == list(range(14))
    assert not result.scores.any()


class _Memory(TorchDispatchMode):
    """The most bytes that new tensors held at a time, as seen between operations."""

    def __init__(self, *known: Tensor) -> None:
        super().__init__()
        self.known = {tensor.untyped_storage()._cdata for tensor in known}
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(
        self,
        operation: Callable[..., object],
        types: object,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        result = operation(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and (storage := leaf.untyped_storage())._cdata not in self.known:
                self.alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.alive = {key: found for key, found in self.alive.items() if not found[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result


def test_it_needs_the_masks_and_a_few_blocks_beside_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_training, "_BLOCK_VALUES", 1 << 16)
    generator = torch.Generator().manual_seed(0)
    module = nn.utils.skip_init(nn.Linear, 10_000, 4)
    nn.init.normal_(module.weight, std=0.01, generator=generator)
    nn.init.zeros_(module.bias)
    params, buffers = flatten(module)
    rows, root = (0.01 * torch.randn(count, len(params), generator=generator) for count in (30, 1))
    data = Samples(torch.randn(4, 10_000, generator=generator), torch.arange(4), 4)
    context = RoundContext(0, 0, Layout.of(module), params, buffers, model=module, root=Root(data, lambda: root[0]))
    updates = Updates.of(rows)
    with _Memory(rows, root, params, *module.parameters(), data.images) as memory:
        SkyMask(steps=2).aggregate(updates, {}, context)
    one_matrix = 31 * len(params) * 4
    assert one_matrix < memory.peak < 1.6 * one_matrix


@pytest.mark.parametrize("rule", [SkyMask(), OfficialSkyMask()])
def test_a_merged_model_without_a_finite_loss_keeps_the_model(rule: Aggregator) -> None:
    rows, context = scene()
    lost = dataclasses.replace(context, global_params=torch.full_like(context.global_params, 3e38))
    result = aggregate(rows, lost, rule)
    assert result.update is None
    assert not result.influence.any()
    assert not result.metrics["root_loss"] < torch.inf


def test_an_honest_row_at_a_million_times_its_length_passes_and_clipping_in_front_bounds_it() -> None:
    """The merged model is right about everything: no loss, no gradient, no masks."""
    honest, context = scene()
    rows = torch.cat([1e6 * honest[:1], honest])
    result = aggregate(rows, context)
    assert result.metrics["root_loss"] == 0
    assert kept(result) == list(range(15))
    clipped = aggregate(rows, context, Pipeline((ClipToMedianNorm(), SkyMask())))
    assert (clipped.update - honest.mean(dim=0)).norm() < 0.2 * honest.mean(dim=0).norm()


@pytest.mark.parametrize("seed", range(3))
def test_one_long_row_hides_the_other_attackers_and_clipping_in_front_finds_them(seed: int) -> None:
    honest, context = scene(seed=seed)
    rows = torch.cat([-100 * honest[:1], MinMax()(honest, num_byzantine=4), honest])
    assert kept(aggregate(rows, context)) == list(range(1, 19))
    found = kept(aggregate(rows, context, Pipeline((ClipToMedianNorm(), SkyMask()))))
    assert [place for place in found if place > 0] == list(range(5, 19))


@pytest.mark.parametrize("rule", [SkyMask(), OfficialSkyMask()])
def test_what_it_needs_is_said(rule: Aggregator) -> None:
    rows, context = scene()
    with pytest.raises(CapabilityError, match="needs the model itself"):
        rule(rows, context=dataclasses.replace(context, model=None))
    with pytest.raises(CapabilityError, match="needs a trusted root data set"):
        rule(rows, context=dataclasses.replace(context, root=None))
    empty = dataclasses.replace(context.root.samples, images=torch.zeros(0, 12), labels=torch.zeros(0, dtype=torch.int64))
    with pytest.raises(PreconditionError, match=r"root samples of two classes or more; got none\. Raise root\.size"):
        rule(rows, context=dataclasses.replace(context, root=Root(empty, context.root.update)))
    one_class = dataclasses.replace(context.root.samples, labels=torch.full_like(context.root.samples.labels, 3))
    with pytest.raises(PreconditionError, match=r"two classes or more; got only class 3\. .*lower root\.share"):
        rule(rows, context=dataclasses.replace(context, root=Root(one_class, context.root.update)))
    diverged = dataclasses.replace(context.root, update=lambda: torch.full_like(rows[0], torch.nan))
    with pytest.raises(PreconditionError, match="SkyMask needs a finite root update"):
        rule(rows, context=dataclasses.replace(context, root=diverged))


@pytest.mark.usefixtures("untouched_rng")
def test_clustering_draws_from_the_rounds_own_randomness() -> None:
    rows, context = scene()
    assert torch.equal(aggregate(rows, context).update, aggregate(rows, context).update)


def test_the_official_variant_takes_raw_steps_and_always_splits() -> None:
    honest, context = scene()
    rows = torch.cat([MinMax()(honest, num_byzantine=5), honest])
    assert kept(aggregate(rows, context, OfficialSkyMask())) == list(range(5, 19))
    alone = aggregate(honest, context, OfficialSkyMask())
    assert alone.metrics["clusters"] == 2
    assert len(kept(alone)) < 14


def test_the_official_variant_stops_after_ten_steps_that_do_not_help() -> None:
    rows, context = scene()
    assert aggregate(rows, context, OfficialSkyMask(lr=1e-6)).metrics["mask_steps"] == 10
    assert aggregate(rows, context, OfficialSkyMask(lr=1e-6, steps=6)).metrics["mask_steps"] == 6
    bad = torch.cat([-5 * rows, rows])
    assert aggregate(bad, context, OfficialSkyMask()).metrics["mask_steps"] == 20
