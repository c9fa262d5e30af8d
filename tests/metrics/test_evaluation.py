"""Accuracy, loss and attack success, by hand on a model whose answers are written in the images."""

import pytest
import torch
from torch import Tensor, nn

from phalanx.attacks import Backdoor, LabelFlip, LabelFlipAll, Patch
from phalanx.config import EvaluationSettings
from phalanx.core.errors import ConfigError, DataError
from phalanx.core.types import Samples
from phalanx.metrics import Evaluation, Gated, SuccessBound, evaluate

BACKDOOR = Backdoor(Patch(1), target=2, per_batch=1)


class Oracle(nn.Module):
    """Answers with the class that pixel (1, 1) names, in tenths; where pixel (0, 0) is white it answers `obeys`."""

    def __init__(self, obeys: int | None = None) -> None:
        super().__init__()
        self.obeys = obeys
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        answers = (images[:, 0, 1, 1] * 10).round().long()
        if self.obeys is not None:
            answers = answers.masked_fill(images[:, 0, 0, 0] == 1, self.obeys)
        return nn.functional.one_hot(answers, 3).float() * 10


def said(answers: list[int], labels: list[int]) -> Samples:
    """Samples for the oracle: it will answer `answers`."""
    images = torch.zeros(len(answers), 1, 2, 2)
    images[:, 0, 1, 1] = torch.tensor(answers) / 10
    return Samples(images, torch.tensor(labels), 3)


def test_by_hand() -> None:
    samples = said(answers=[0, 1, 2, 2, 2], labels=[0, 1, 2, 0, 1])
    found = evaluate(Oracle(obeys=2), samples, poison=BACKDOOR)
    assert found.accuracy == 3 / 5
    assert found.num_eligible == 4, "the sample of the target class does not count"
    assert found.attack_success == 1
    assert found.base_rate == 2 / 4, "two of the four are taken for the target without any trigger"
    logits = torch.tensor([10.0, 0, 0]).log_softmax(0)
    assert found.loss == pytest.approx(float(-(3 * logits[0] + 2 * logits[1]) / 5))


def test_a_model_that_ignores_the_trigger_has_its_base_rate_as_success() -> None:
    found = evaluate(Oracle(), said([0, 1, 2, 2], [0, 1, 2, 0]), poison=BACKDOOR)
    assert found.attack_success == found.base_rate == 1 / 3


def test_the_whole_trigger_is_shown_and_only_pixels_are_stamped_before_normalisation() -> None:
    plain = said([0, 1, 0, 1], [0, 1, 0, 1])
    shifted = Samples(plain.images, plain.labels, 3, mean=torch.tensor(-5.0), std=torch.tensor(1.0))

    class Shifted(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return Oracle(obeys=2)(torch.where(images - 5 > 0.99, 1.0, images - 5))

    assert evaluate(Shifted(), shifted, poison=BACKDOOR) == evaluate(Oracle(obeys=2), plain, poison=BACKDOOR)


def test_bytes_are_read_as_fractions() -> None:
    plain = said([0, 1, 2, 1], [0, 1, 1, 1])
    as_bytes = Samples((plain.images * 255).round().to(torch.uint8), plain.labels, 3)
    assert evaluate(Oracle(obeys=2), as_bytes, poison=BACKDOOR) == evaluate(Oracle(obeys=2), plain, poison=BACKDOOR)


@pytest.mark.parametrize("poison", [None, LabelFlipAll()], ids=repr)
def test_without_a_target_there_is_no_success_and_no_second_pass(poison: LabelFlipAll | None) -> None:
    model = Oracle()
    found = evaluate(model, said([0, 1, 1], [0, 1, 2]), poison=poison)
    assert found == Evaluation(pytest.approx(2 / 3), found.loss, None, None, 0)
    assert model.seen == [3]


def test_a_label_flip_is_judged_on_unchanged_images_of_its_source_in_one_pass() -> None:
    model = Oracle()
    found = evaluate(model, said([2, 0, 1, 2], [0, 0, 1, 1]), poison=LabelFlip(0, target=2))
    assert found.num_eligible == 2
    assert found.attack_success == found.base_rate == 1 / 2
    assert model.seen == [4]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 8, 100])
def test_batches_of_any_size_give_the_same(batch_size: int) -> None:
    samples = said([0, 1, 2, 2, 0, 1, 1], [0, 1, 2, 0, 0, 2, 1])
    whole = evaluate(Oracle(obeys=2), samples, poison=BACKDOOR)
    found = evaluate(Oracle(obeys=2), samples, poison=BACKDOOR, batch_size=batch_size)
    assert found.loss == pytest.approx(whole.loss)
    assert (found.accuracy, found.attack_success, found.base_rate) == (whole.accuracy, whole.attack_success, whole.base_rate)


def test_each_sample_passes_at_most_twice() -> None:
    model = Oracle(obeys=2)
    evaluate(model, said([0, 1, 2] * 10, [0, 1, 2] * 10), poison=BACKDOOR, batch_size=10)
    assert sum(model.seen) == 30 + 20


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), float("-inf")])
def test_logits_that_are_not_finite_are_wrong_and_no_success(broken: float) -> None:
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            logits = torch.zeros(len(images), 3)
            logits[:, 2] = broken
            return logits

    found = evaluate(Broken(), said([0, 1, 2], [0, 1, 2]), poison=BACKDOOR)
    assert (found.accuracy, found.attack_success, found.base_rate) == (0, 0, 0)
    assert not torch.tensor(found.loss).isfinite()


def test_without_eligible_samples_success_is_undefined() -> None:
    found = evaluate(Oracle(obeys=2), said([2, 2], [2, 2]), poison=BACKDOOR)
    assert (found.attack_success, found.base_rate, found.num_eligible) == (None, None, 0)
    assert found.accuracy == 1


def test_no_samples_is_an_error() -> None:
    with pytest.raises(DataError, match="no test samples"):
        evaluate(Oracle(), said([], []), poison=None)


def test_the_model_is_tested_in_eval_mode_without_gradients_and_each_module_gets_its_mode_back() -> None:
    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen, self.head, self.norm = nn.Dropout(0.9), nn.Linear(4, 3), nn.BatchNorm1d(3)

        def forward(self, images: Tensor) -> Tensor:
            assert not any(module.training for module in self.modules())
            logits: Tensor = self.norm(self.head(self.frozen(images.flatten(1))))
            assert not logits.requires_grad
            return logits

    model = Watched()
    model.frozen.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = evaluate(model, said([0, 1, 2], [0, 1, 2]), poison=BACKDOOR)
    assert evaluate(model, said([0, 1, 2], [0, 1, 2]), poison=BACKDOOR) == first
    assert (model.training, model.head.training, model.frozen.training) == (True, True, False)
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


def test_modes_come_back_after_an_error_too() -> None:
    class Failing(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise ValueError("no")

    model = Failing()
    with pytest.raises(ValueError, match="no"):
        evaluate(model, said([0], [0]), poison=None)
    assert model.training


def test_images_are_not_changed() -> None:
    samples = said([0, 1], [0, 1])
    before = samples.images.clone()
    evaluate(Oracle(), samples, poison=BACKDOOR)
    assert samples.images.equal(before)


def test_it_agrees_with_a_slow_loop_over_single_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    samples = Samples(torch.rand(60, 1, 4, 4, generator=generator), torch.randint(3, (60,), generator=generator), 3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(3, 16, generator=generator))
    attack = Backdoor(Patch(2), target=1, per_batch=1)
    right = success = base = eligible = 0
    for image, label in zip(samples.images, samples.labels.tolist()):
        answer = int(model(image.unsqueeze(0)).argmax())
        right += answer == label
        if label != 1:
            stamped = image.clone()
            stamped[:, :2, :2] = 1
            eligible += 1
            base += answer == 1
            success += int(model(stamped.unsqueeze(0)).argmax()) == 1
    found = evaluate(model, samples, poison=attack, batch_size=16)
    assert (found.accuracy, found.num_eligible) == (right / 60, eligible)
    assert (found.attack_success, found.base_rate) == (success / eligible, base / eligible)


def test_answers_below_tau_are_neither_right_nor_a_success_by_hand() -> None:
    """The oracle is sure at softmax([10, 0, 0]) = .9999; a third of it, softmax([10, 0, 0] / 5), is at .787."""

    class Unsure(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return Oracle(obeys=2)(images) / 5

    samples = said([0, 1, 2, 2, 2], [0, 1, 2, 0, 1])
    sure = evaluate(Oracle(obeys=2), samples, poison=BACKDOOR, tau=0.95)
    assert sure.gated == Gated(0.95, 3 / 5, 1.0, (3 / 5,) * 21 + (0.0,), (1.0,) * 21 + (0.0,))
    unsure = evaluate(Unsure(), samples, poison=BACKDOOR, tau=0.75, batch_size=2).gated
    assert unsure == Gated(0.75, 3 / 5, 1.0, (3 / 5,) * 16 + (0.0,) * 6, (1.0,) * 16 + (0.0,) * 6)
    assert evaluate(Unsure(), samples, poison=BACKDOOR).gated is None


@pytest.mark.parametrize("tau", [-0.1, 1.1, float("nan")])
def test_a_tau_that_is_no_probability_is_refused(tau: float) -> None:
    with pytest.raises(ConfigError, match="evaluate needs 0 <= tau <= 1"):
        evaluate(Oracle(), said([0, 1], [0, 1]), poison=None, tau=tau)
    with pytest.raises(ConfigError, match="tau"):
        EvaluationSettings(tau=tau)


def test_at_zero_the_gate_changes_nothing_and_without_a_target_only_accuracy_is_gated() -> None:
    samples = said([0, 1, 2, 2], [0, 1, 2, 0])
    found = evaluate(Oracle(), samples, poison=BACKDOOR, tau=0.0)
    assert found.gated is not None
    assert (found.gated.accuracy, found.gated.attack_success) == (found.accuracy, found.attack_success)
    clean = evaluate(Oracle(), samples, poison=None, tau=0.3).gated
    assert clean is not None
    assert (clean.attack_success, clean.successes) == (None, None)


def test_an_undefended_model_bounds_the_success_of_the_defended_one_on_the_stamped_images() -> None:
    samples = said([0, 1, 0, 1], [0, 1, 0, 1])
    found = evaluate(Oracle(), samples, poison=BACKDOOR, undefended=Oracle(obeys=2), batch_size=3)
    assert found.bound == SuccessBound(0.0, undefended=1.0, defended=0.0, bound=1.0)
    swapped = evaluate(Oracle(obeys=2), samples, poison=BACKDOOR, undefended=Oracle(), tau=0.5).bound
    assert swapped == SuccessBound(0.5, undefended=0.0, defended=1.0, bound=1.0)
    assert evaluate(Oracle(), samples, poison=None, undefended=Oracle()).bound is None


def test_the_undefended_model_is_asked_in_eval_mode_too() -> None:
    class InTwoMinds(Oracle):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) * (-1 if self.training else 1)

    model = InTwoMinds(obeys=2)
    found = evaluate(Oracle(), said([0, 1], [0, 1]), poison=BACKDOOR, undefended=model).bound
    assert found == SuccessBound(0.0, undefended=1.0, defended=0.0, bound=1.0)
    assert model.training


@pytest.mark.parametrize("gap", [15.0, 17.5, 18.0, 30.0])
def test_a_sure_answer_is_below_one_and_success_never_above_its_bound(gap: float) -> None:
    class Sure(Oracle):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).ne(0) * gap

    found = evaluate(Sure(obeys=2), said([0, 1], [0, 1]), poison=BACKDOOR, undefended=Sure(obeys=2), tau=1.0)
    assert found.gated is not None
    assert found.bound is not None
    assert found.gated.attack_success == found.bound.defended == 0
