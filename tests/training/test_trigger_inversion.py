"""Trigger inversion: the schedule and a smallest trigger by hand, a slow version of itself, and a backdoor that it finds."""

import math
import sys
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from phalanx.attacks import Patch
from phalanx.core import rng
from phalanx.core.errors import PreconditionError
from phalanx.data import Digits
from phalanx.metrics import anomaly_index
from phalanx.models import MLP
from phalanx.training import TriggerInversion, Triggers
from phalanx.training.search_schedule import CostSchedule, Progress
from phalanx.training.sgd import Descent


class Linear(nn.Module):
    """Two classes: 0, unless ten times the first pixel plus the second exceed five."""

    def forward(self, images: Tensor) -> Tensor:
        score = 10 * images[:, 0, 0, 0] + images[:, 0, 0, 1] - 5
        return torch.stack([torch.zeros_like(score), score], dim=1)


def noisy(seed: int, classes: int = 4) -> nn.Module:
    """A small random network in float64: rounding cannot tell two ways of computing apart."""
    generator = torch.Generator().manual_seed(seed)
    model: nn.Module = nn.Sequential(nn.Flatten(), nn.Linear(32, 12), nn.Tanh(), nn.Linear(12, classes)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4, generator=generator)
    return model


def pictures(count: int = 12, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(count, 2, 4, 4, generator=generator).double(), torch.arange(count) % classes


def test_the_cost_rises_after_patience_successes_in_a_row_and_falls_after_as_many_failures():
    cost = CostSchedule(1.0, patience=2, count=1)
    seen = []
    for is_success in [1, 1, 1, 0, 1, 1, 0, 0, 0, 0]:
        cost.update(torch.tensor([bool(is_success)]))
        seen.append(cost.values.item())
    down = 1.5**-1.5
    expected = [1, 1.5, 1.5, 1.5, 1.5, 2.25, 2.25, 2.25 * down, 2.25 * down, 2.25 * down**2]
    assert seen == pytest.approx(expected)


def test_each_search_has_a_cost_of_its_own_and_zero_rises_to_the_first_one():
    cost = CostSchedule(0.0, patience=1, count=2)
    cost.update(torch.tensor([True, False]))
    assert cost.values.tolist() == pytest.approx([1e-3, 0])


def test_a_search_ends_after_stall_steps_in_which_its_trigger_has_not_shrunk_by_a_hundredth():
    progress, ends = Progress(2, count=3), []
    for sizes in [
        [8.0, 100.0, math.inf],
        [8.0, 99.5, math.inf],
        [7.0, 99.4, math.inf],
        [7.0, 50.0, math.inf],
        [6.95, 50.0, 3.0],
    ]:
        progress.update(torch.tensor(sizes))
        ends.append((progress.ended.tolist(), progress.has_news))
    nobody, second, both = [False, False, False], [False, True, False], [True, True, False]
    assert ends == [(nobody, False), (nobody, False), (second, True), (second, False), (both, True)]
    forever = Progress(None, count=1)
    for _ in range(5):
        forever.update(torch.tensor([1.0]))
    assert not forever.ended.any()


def test_searches_that_have_ended_cost_no_pass_and_found_what_they_would_have_found_till_then():
    """Each search alone, in as many steps as it made, is the reference."""
    model, (images, labels) = noisy(1), pictures()
    seen = list[int]()
    model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    inversion, pairs = TriggerInversion(120, patience=3, threshold=0.5, stall=8), [(0, 1), (1, 0), (None, 2), (2, 3)]
    together = inversion.invert_all(model, images, labels, pairs)
    total, images_of, made = sum(seen), (3, 3, 9, 3), list[int]()
    assert seen[0] == 18
    for place, (source, target) in enumerate(pairs):
        seen.clear()
        alone = inversion.invert(model, images, labels, source, target)
        made.append(len(seen))
        whole = replace(inversion, stall=None, steps=made[-1]).invert(model, images, labels, source, target)
        for found in (alone, whole):
            torch.testing.assert_close(together.masks[place], found.masks[0], atol=1e-9, rtol=0)
    assert min(made) < 120
    assert len(set(made)) > 1
    assert total == sum(count * steps for count, steps in zip(images_of, made))


def test_the_smallest_trigger_of_a_linear_model_is_half_of_one_white_pixel():
    images, labels = torch.zeros(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64)
    found = TriggerInversion(300, cost=0.1).invert(Linear(), images, labels, source=0, target=1)
    assert found.found.tolist() == [True]
    assert 0.5 < found.sizes.item() < 0.6
    assert found.patterns[0, 0, 0, 0] > 0.9
    assert Linear()(found.stamp(images)).argmax(1).tolist() == [1] * 4


def slow(inversion: TriggerInversion, model: nn.Module, images: Tensor, target: int, generator: torch.Generator):
    """One search as one would write it down: an image after the other, Adam by hand, the counters in plain numbers."""
    guard = 2 - 1e-6
    first = torch.empty(1 + images.shape[1], *images.shape[2:]).uniform_(0, 1, generator=generator).double()
    point = torch.atanh((first - 0.5) * guard)
    moment, square = torch.zeros_like(point), torch.zeros_like(point)
    cost, up, down, best, best_size = inversion.cost, 0, 0, None, math.inf
    for step in range(1, inversion.steps + 1):
        point = point.detach().requires_grad_()
        image = torch.tanh(point) / 2 + 0.5
        mask, pattern = image[0], image[1:]
        loss, hits = cost * mask.abs().sum(), 0
        for one in images:
            logits = model(((1 - mask) * one + mask * pattern).unsqueeze(0))
            loss = loss + cross_entropy(logits, torch.tensor([target])) / len(images)
            hits += int(logits.argmax()) == target
        (gradient,) = torch.autograd.grad(loss, point)
        moment = 0.5 * moment + 0.5 * gradient
        square = 0.9 * square + 0.1 * gradient**2
        point = point.detach() - inversion.lr * (moment / (1 - 0.5**step)) / ((square / (1 - 0.9**step)).sqrt() + 1e-8)
        is_success = hits / len(images) >= inversion.threshold
        size = float(mask.detach().sum())
        if is_success and size < best_size:
            best, best_size = image.detach(), size
            noise = torch.empty(best.shape).uniform_(-0.01, 0.01, generator=generator)
            point = torch.atanh(((best + noise).clamp(0, 1) - 0.5) * guard)
        up, down = (up + 1, 0) if is_success else (0, down + 1)
        if up == inversion.patience:
            cost, up = cost * 1.5, 0
        if down == inversion.patience:
            cost, down = cost / 1.5**1.5, 0
    return best, best_size


@pytest.mark.parametrize("source", [None, 1])
def test_many_searches_at_once_are_those_of_the_slow_way_one_by_one(source):
    model, (images, labels) = noisy(0), pictures()
    inversion = TriggerInversion(30, patience=3, cost=0.01, threshold=0.5)
    targets = [target for target in range(4) if target != source]
    found = inversion.invert_all(model, images, labels, [(source, target) for target in targets])
    for place, target in enumerate(targets):
        own = images[labels != target] if source is None else images[labels == source]
        best, size = slow(inversion, model, own, target, rng.generator(0, f"invert {source} to {target}"))
        assert best is not None
        assert found.sizes[place].item() == pytest.approx(size, rel=1e-6)
        torch.testing.assert_close(torch.cat([found.masks[place], found.patterns[place]]), best, atol=1e-6, rtol=0)


def test_what_is_found_for_a_pair_does_not_depend_on_the_others():
    model, (images, labels) = noisy(1), pictures()
    inversion, pairs = TriggerInversion(30, patience=3), [(0, 1), (1, 0), (None, 2), (2, 3)]
    together = inversion.invert_all(model, images, labels, pairs)
    for place, (source, target) in enumerate(pairs):
        alone = inversion.invert(model, images, labels, source, target)
        torch.testing.assert_close(together.masks[place], alone.masks[0], atol=1e-9, rtol=0)
        torch.testing.assert_close(together.success[place], alone.success[0], atol=0, rtol=0)


def test_the_fast_gradient_of_grey_images_finds_what_torchs_own_finds(monkeypatch):
    """In float64, where rounding does not grow: only who computes the gradient differs."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.MaxPool2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(12, 4)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.6, generator=generator)
    images, labels = pictures()
    inversion, pairs = TriggerInversion(40, lr=0.3, patience=3, threshold=0.3), [(None, target) for target in range(4)]
    fast = inversion.invert_all(model, images[:, :1], labels, pairs)
    monkeypatch.setattr(sys.modules[TriggerInversion.__module__], "image_gradients", nullcontext)
    plain = inversion.invert_all(model, images[:, :1], labels, pairs)
    assert plain.found.sum() >= 2
    torch.testing.assert_close(fast.masks, plain.masks, atol=1e-9, rtol=0)
    torch.testing.assert_close(fast.patterns, plain.patterns, atol=1e-9, rtol=0)


def test_where_no_trigger_is_found_that_is_the_result_and_stamping_changes_nothing():
    class Stubborn(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.stack([images.mean(dim=(1, 2, 3)) * 0 + 9, images.mean(dim=(1, 2, 3))], dim=1)

    images, labels = pictures(classes=2)
    found = TriggerInversion(25).invert(Stubborn(), images, labels, 0, 1)
    assert (found.found.tolist(), found.success.tolist()) == ([False], [0])
    assert found.sizes.isnan().all()
    assert found.stamp(images).equal(images)


def test_a_model_that_gives_no_finite_logits_has_no_trigger():
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :2] * torch.nan

    found = TriggerInversion(5).invert(Broken(), *pictures(classes=2), None, 0)
    assert not found.found.any()
    assert not found.masks.any()


def test_a_class_without_images_has_no_trigger_and_costs_no_pass():
    images, labels = torch.zeros(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64)
    found = TriggerInversion(60).invert_all(Linear(), images, labels, [(0, 1), (1, 0)])
    assert found.found.tolist() == [True, False]
    assert found.success[1].isnan()

    class Untouched(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise AssertionError

    assert not TriggerInversion(9).invert(Untouched(), images, labels, 1, 0).found.any()
    assert TriggerInversion(9).invert_all(Untouched(), images, labels, []).pairs == ()


def test_a_warm_start_goes_on_from_where_the_last_search_ended():
    images, labels = torch.zeros(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64)
    first = TriggerInversion(60).invert(Linear(), images, labels, 0, 1)
    again = TriggerInversion(3).invert_all(Linear(), images, labels, [(0, 1)], start=first)
    assert again.found.all()
    assert again.sizes.item() <= first.sizes.item() + 0.02
    afresh = TriggerInversion(3).invert(Linear(), images, labels, 0, 1)
    assert not afresh.found.any() or afresh.sizes.item() > again.sizes.item()


def test_images_are_stamped_before_they_are_normalised():
    class Shifted(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return Linear()(images + 3)

    images, labels = torch.zeros(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64)
    inversion = TriggerInversion(50)
    plain = inversion.invert(Linear(), images, labels, 0, 1)
    shifted = inversion.invert_all(Shifted(), images, labels, [(0, 1)], normalize=lambda pixels: pixels - 3)
    torch.testing.assert_close(shifted.masks, plain.masks, atol=1e-3, rtol=0)


def test_the_model_the_images_and_global_randomness_are_left_as_they_were(untouched_rng):
    with torch.random.fork_rng():
        model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(12, 4))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    model[2].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images, labels = pictures()
    images = images.float()
    kept = images.clone()
    TriggerInversion(4).invert_all(model, images, labels, [(None, 1), (2, 0)])
    assert [module.training for module in model] == [True, True, False, True, True]
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert images.equal(kept)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_target_of_a_planted_backdoor_is_the_outlier(seed):
    """BadNets: a white square in a corner leads to class 3. Only its universal trigger is small, and lies on the square."""
    images, labels = Digits(normalize=False).load().train.pixels(torch.arange(600))
    square, generator = Patch(2), torch.Generator().manual_seed(seed)
    model = MLP(hidden=(32,)).build((1, 8, 8), 10, generator)
    parameters, descent = list(model.parameters()), Descent(0.1, 0.9, 0.0)
    for _ in range(15):
        for batch in torch.randperm(len(images), generator=generator).split(40):
            shown = torch.cat([images[batch], square.stamp(images[batch[:8]])])
            told = torch.cat([labels[batch], torch.full_like(batch[:8], 3)])
            gradients = torch.autograd.grad(cross_entropy(model(shown), told), parameters)
            with torch.no_grad():
                descent.step(parameters, gradients)
    few = slice(0, 80)
    found = TriggerInversion(80, lr=0.5, cost=1e-2).invert_all(
        model, images[few], labels[few], [(None, target) for target in range(10)]
    )
    index = anomaly_index(found.sizes)
    assert index.argmax() == 3
    assert index[3] > 2
    assert (index.sort().values[-2] < 2).all()
    mask = found.masks[3, 0]
    assert mask[:2, :2].sum() > 0.5 * mask.sum()


@pytest.mark.parametrize(
    ("images", "labels", "pair", "message"),
    [
        (torch.zeros(2, 4), torch.zeros(2), (0, 1), r"images \[B, C, H, W\]"),
        (torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(2), (0, 1), r"got torch.uint8"),
        (torch.zeros(2, 1, 2, 2), torch.zeros(3), (0, 1), r"labels \[3\]"),
        (torch.full((2, 1, 2, 2), 255.0), torch.zeros(2), (0, 1), r"pixels in \[0, 1\]; got 255 to 255"),
        (torch.full((2, 1, 2, 2), torch.nan), torch.zeros(2), (0, 1), r"pixels in \[0, 1\]"),
        (torch.zeros(2, 1, 2, 2), torch.zeros(2), (1, 1), "got 1 to 1"),
        (torch.zeros(2, 1, 2, 2), torch.zeros(2), (0, -1), "got 0 to -1"),
        (torch.zeros(2, 1, 2, 2), torch.zeros(2), (0, 2), "has 2 classes, counted from 0; got class 2"),
        (torch.zeros(2, 1, 2, 2), torch.zeros(2), (None, 3), "got class 3"),
    ],
)
def test_bad_input_is_named(images, labels, pair, message):
    with pytest.raises(PreconditionError, match=message):
        TriggerInversion(1).invert(Linear(), images, labels.long(), *pair)


def test_as_many_starts_and_generators_as_pairs_are_asked_for():
    images, labels, pairs = torch.zeros(4, 1, 2, 2), torch.arange(4) % 2, [(0, 1), (1, 0)]
    search, model = TriggerInversion(2), Linear()
    one = search.invert(model, images, labels, 0, 1)
    with pytest.raises(PreconditionError, match="as many triggers to start from as pairs, 2; got 1"):
        search.invert_all(model, images, labels, pairs, start=one)
    with pytest.raises(PreconditionError, match="as many generators as pairs, 2; got 1"):
        search.invert_all(model, images, labels, pairs, generators=[torch.Generator()])
    two = Triggers(tuple(pairs), torch.zeros(2, 1, 3, 3), torch.zeros(2, 1, 3, 3), torch.ones(2).bool(), torch.ones(2))
    with pytest.raises(PreconditionError, match=r"of the images' size, \[1, 2, 2\]; got \[1, 3, 3\]"):
        search.invert_all(model, images, labels, pairs, start=two)
    with pytest.raises(PreconditionError, match="got class 5"):
        search.invert_all(model, images, labels, [(0, 1), (5, 1)])
