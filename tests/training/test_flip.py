"""FLIP and its controls: which images are stamped by hand, what a client remembers, a planted backdoor that is unlearned."""

import dataclasses
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import phalanx
from phalanx.attacks import Adversary, Backdoor, FirstClients, Patch
from phalanx.config import RunSettings
from phalanx.core import params as flat
from phalanx.core.errors import ConfigError
from phalanx.core.events import Event
from phalanx.core.families import Aggregator, Trainer
from phalanx.core.params import Layout
from phalanx.core.types import Aggregate, Cohort, RoundContext, Rows, Samples, State, Status, Updates
from phalanx.data import ATS, IID, Digits, HorizontalFlip
from phalanx.experiments import resume
from phalanx.models import MLP
from phalanx.training import (
    SGD,
    Adam,
    CleanHardening,
    Flip,
    PartialDeployment,
    TriggerInversion,
    Triggers,
    UniversalFlip,
    WorkerMomentum,
)
from phalanx.training.hardening import Hardening
from phalanx.training.trigger_hardening import few_of_each, some

CALLS: list[tuple[str, tuple[Any, ...]]] = []
"""The searches that `Canned` was asked for: by which name, for which pairs."""


class Canned(TriggerInversion):
    """Finds a white pixel of the given size for every pair, at once."""

    name: str = "canned"
    size: float = 1.0

    def invert_all(self, model: nn.Module, images: Tensor, labels: Tensor, pairs: Sequence[Any], **_: Any) -> Triggers:
        CALLS.append((self.name, tuple(pairs)))
        masks = torch.zeros(len(pairs), 1, *images.shape[2:])
        masks[:, 0, 0, 0] = self.size
        found = torch.full((len(pairs),), self.size > 0)
        return Triggers(tuple(pairs), masks, torch.ones(len(pairs), *images.shape[1:]), found, found.float())


def black(labels: list[int], num_classes: int = 3) -> Samples:
    """Black pictures: whatever is white in the first pixel was stamped."""
    return Samples(torch.zeros(len(labels), 1, 2, 2), torch.tensor(labels), num_classes)


class Watched(nn.Module):
    """Notes which of a batch's images have a white pixel, as it is trained."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng():
            self.layer = nn.Linear(4, num_classes)
        self.seen: list[list[bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.seen.append((images[:, 0, 0, 0] > 0).tolist())
        logits: Tensor = self.layer(images.flatten(1))
        return logits


def train(
    trainer: Trainer, samples: Samples, model: nn.Module, state: State | None = None, round: int = 0
) -> tuple[Rows, State]:
    CALLS.clear()
    layout = Layout.of(model)
    context = RoundContext(round, 0, layout, *flat.flatten(model), model=model)
    rows = Rows.empty(1, layout)
    new = trainer.train(Cohort((17,), (0,), samples, (torch.arange(len(samples)),)), state or {}, context, rows)
    return rows, new


FOUND = {"universal": Canned(name="universal"), "pair": Canned(name="pair"), "repeat": Canned(name="repeat")}
UNIVERSAL = {"universal": FOUND["universal"], "epochs": 1}


def test_the_warm_up_stamps_the_floor_of_its_portion_of_the_other_classes():
    model = Watched()
    train(Flip(**FOUND, epochs=3, portion=0.5), black([0, 0, 1, 1, 1, 2, 2]), model)
    assert CALLS == [("universal", ((None, 0), (None, 1), (None, 2)))]
    assert [sum(batch) for batch in model.seen] == [2, 2, 2], "of 5, 4 and 5 images of other classes"


def test_one_by_one_each_batch_has_a_search_of_its_own():
    train(Flip(**FOUND, epochs=3, warm_up="one_by_one"), black([0, 0, 1, 1, 2, 2]), Watched())
    expected = [("universal", ((None, target),)) for target in range(3)]
    assert expected == CALLS


def test_a_pair_lasts_two_batches_both_ways_where_both_classes_are_there():
    model = Watched()
    train(Flip(**FOUND, epochs=5, explore=0.0, portion=0.5), black([0, 0, 0, 0, 1, 1, 1, 1, 1, 1]), model)
    (first, pairs), (second, again) = CALLS[1:]
    assert (first, second) == ("pair", "repeat")
    assert pairs == again == (pairs[0], pairs[0][::-1])
    assert [sum(batch) for batch in model.seen[3:]] == [4, 4], "two of each class: floor(min(4, 6) / 2)"


def test_a_pair_whose_target_is_not_there_has_one_direction():
    model = Watched()
    train(Flip(**FOUND, epochs=5, explore=0.0, portion=0.7), black([2, 2, 2, 2]), model)
    assert [pairs for _, pairs in CALLS[1:]] == [((2, 0),), ((2, 0),)]
    assert [sum(batch) for batch in model.seen[3:]] == [2, 2]


@pytest.mark.parametrize("found", [{**FOUND, "pair": Canned(name="pair", size=0.0)}, {**FOUND, "largest": 0.5}])
def test_a_batch_without_a_usable_trigger_is_clean_or_left_out(found):
    samples = black([0, 0, 1, 1, 2, 2])
    clean, skipped = Watched(), Watched()
    rows, _ = train(Flip(**found, epochs=5), samples, clean)
    fewer, _ = train(Flip(**found, epochs=5, unusable="skip"), samples, skipped)
    assert [sum(batch) > 0 for batch in clean.seen] == [True] * 3 + [False] * 2
    assert (rows.steps.tolist(), fewer.steps.tolist(), len(skipped.seen)) == ([5], [3], 3)


def test_a_client_that_leaves_out_all_of_its_batches_sends_the_model_as_it_got_it():
    rows, state = train(Flip(**FOUND, epochs=5, unusable="skip", present_above=10, portion=0.1), black([0, 1, 2]), Watched())
    assert (rows.steps.tolist(), rows.loss.tolist(), rows.status.tolist()) == ([0], [0.0], [Status.SENT])
    assert not rows.matrix.any()
    assert state["17.batches"].tolist() == [0, 5]


@pytest.mark.parametrize("first", [WorkerMomentum(SGD(0.1, epochs=1)), Flip(**FOUND, epochs=1), UniversalFlip(**UNIVERSAL)])
@pytest.mark.parametrize("then", [Flip(**FOUND, epochs=1), UniversalFlip(**UNIVERSAL)])
def test_a_client_that_trained_otherwise_before_is_trained(first, then):
    """An attacker in his round and an honest client in the next: what it remembers is another trainer's."""
    samples = black([0, 0, 1, 1, 2, 2])
    _, state = train(first, samples, Watched())
    rows, _ = train(then, samples, Watched(), state, round=1)
    assert rows.steps.tolist() == [1]


@pytest.mark.parametrize("labels", [[1], [2] * 5, [0, 0, 0, 0, 1]])
def test_a_client_with_one_class_or_hardly_another_is_trained(labels):
    """No image leads to the only class, and one image makes no class present: what cannot be searched is left clean."""
    brief = TriggerInversion(3)
    rows, state = train(Flip(universal=brief, pair=brief, repeat=brief, epochs=8), black(labels), Watched())
    assert rows.status.tolist() == [Status.SENT]
    assert rows.steps.tolist() == [8]
    assert rows.matrix.isfinite().all()
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_labels_stay_true():
    """One pixel is the class, another the mark: who learns marked images with true labels is not fooled by the mark."""
    model = Watched(2)
    samples = black([0, 0, 1, 1], num_classes=2)
    samples.images[2:, 0, 1, 1] = 1
    rows, _ = train(Flip(**FOUND, lr=0.1, epochs=40, most_steps=40, present_above=0), samples, model)
    flat.load(model, flat.flatten(model)[0] + rows.matrix[0])
    marked = samples.images.clone()
    marked[:, 0, 0, 0] = 1
    with torch.no_grad():
        assert model.eval()(marked).argmax(1).tolist() == samples.labels.tolist()


def test_a_client_warms_up_once_and_remembers_under_its_number():
    samples = black([0, 0, 1, 1, 2, 2])
    _, state = train(Flip(**FOUND, epochs=4), samples, Watched())
    assert {name.partition(".")[0] for name in state} == {"17"}
    others = {"1.sizes": torch.ones(3, 3)}
    _, later = train(Flip(**FOUND, epochs=4), samples, Watched(), {**state, **others}, round=1)
    assert "universal" not in {name for name, _ in CALLS}
    assert later.keys() == state.keys()
    assert len(later["17.pairs"]) >= len(state["17.pairs"])


def test_a_known_pair_may_take_the_short_search_from_its_first_batch_on():
    flip, samples = Flip(**FOUND, epochs=7, explore=0.0, known="repeat"), black([2, 2, 2, 2])
    _, state = train(flip, samples, Watched())
    names = [name for name, _ in CALLS]
    assert names == ["universal", "pair", "repeat", "pair", "repeat"], "a universal trigger does not make a pair known"
    train(dataclasses.replace(flip, epochs=2), samples, Watched(), state, round=1)
    assert [name for name, _ in CALLS] == ["repeat", "repeat"]
    train(dataclasses.replace(flip, epochs=2, known="pair"), samples, Watched(), state, round=1)
    assert [name for name, _ in CALLS] == ["pair", "repeat"]


def test_at_most_so_many_steps():
    for trainer in (Flip(**FOUND, epochs=9, most_steps=4), UniversalFlip(universal=FOUND["universal"], epochs=9, most_steps=4)):
        assert train(trainer, black([0, 0, 1, 1]), Watched())[0].steps.tolist() == [4]
        assert train(trainer.in_steps(2), black([0, 0, 1, 1]), Watched())[0].steps.tolist() == [2]


def test_universal_flip_stamps_the_next_class_in_every_batch_of_every_round():
    model, trainer = Watched(), UniversalFlip(universal=FOUND["universal"], epochs=4)
    _, state = train(trainer, black([0, 0, 0, 0, 1, 1]), model)
    assert [sum(batch) for batch in model.seen] == [1, 2, 3, 1]
    train(trainer, black([0, 0, 0, 0, 1, 1]), model, state, round=1)
    assert [name for name, _ in CALLS] == ["universal"]


def test_the_control_is_adam_with_as_many_steps(world, nets):
    here = world(nets["cnn"], (13, 5, 0))
    control = here.train(CleanHardening(batch_size=4, epochs=2, most_steps=5))
    for client, steps in ((0, 5), (1, 4)):
        adam = here.train(Adam(0.01, betas=(0.5, 0.9), batch_size=4, steps=steps))
        assert control.matrix[client].equal(adam.matrix[client])
    assert control.steps.tolist() == [5, 4, 0]
    assert control.status[2] == Status.NO_SAMPLES


@pytest.mark.parametrize("kind", [Flip, UniversalFlip])
def test_where_no_trigger_is_found_it_is_its_control(world, nets, kind):
    here = world(nets["cnn"], (13, 9))
    never = Canned(size=0.0)
    searches = {name: never for name in ("universal", "pair", "repeat") if name in kind.__dataclass_fields__}
    found, clean = (
        here.train(trainer(batch_size=4, epochs=2, **options)) for trainer, options in ((kind, searches), (CleanHardening, {}))
    )
    assert found.matrix.equal(clean.matrix)


def test_batches_are_augmented_before_triggers_are_stamped(world, nets):
    model, inverted = Watched(), ATS(((0,),))
    train(Flip(**FOUND, epochs=1, augment=(inverted,)), black([0, 0, 1, 1, 2, 2]), model)
    assert [sum(batch) for batch in model.seen] == [6], "black pictures that were inverted are white without a trigger"
    here = world(nets["cnn"], (13, 9))
    control, adam = (
        here.train(trainer)
        for trainer in (
            CleanHardening(batch_size=4, epochs=2, augment=(HorizontalFlip(),)),
            Adam(0.01, betas=(0.5, 0.9), batch_size=4, epochs=2, augment=(HorizontalFlip(),)),
        )
    )
    assert control.matrix.equal(adam.matrix)


def test_few_of_each_class_and_some_of_a_mask():
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([4, 0, 0, 4, 2, 0, 4, 4])
    places = few_of_each(labels, above=1, count=2, generator=generator)
    assert labels[places].tolist() == [0, 0, 4, 4]
    assert len(set(places.tolist())) == 4
    assert few_of_each(labels[:0], 1, 2, generator).tolist() == []
    mask = labels == 4
    assert len(some(mask, 0.7, generator)) == 2
    assert mask[some(mask, 1.0, generator)].all()


SMALL = TriggerInversion(20, lr=0.5, cost=1e-2)
FLIP = Flip(
    universal=TriggerInversion(40, lr=0.5, cost=1e-2), pair=SMALL, repeat=dataclasses.replace(SMALL, steps=5), largest=16
)


def test_a_planted_backdoor_is_unlearned_sooner_than_by_the_control():
    """Three rounds of one client, who holds no poisoned image: FLIP takes most of the success, plain Adam little."""
    split, generator = Digits(normalize=False).load(), torch.Generator().manual_seed(0)
    images, labels = split.train.pixels(torch.arange(600))
    square, model = Patch(2), MLP(hidden=(32,)).build((1, 8, 8), 10, generator)
    optimizer, parameters = SGD(0.1, epochs=1, momentum=0.9).optimizer(0.1), list(model.parameters())
    for _ in range(15):
        for batch in torch.randperm(600, generator=generator).split(40):
            shown = torch.cat([images[batch], square.stamp(images[batch[:8]])])
            told = torch.cat([labels[batch], torch.full_like(batch[:8], 3)])
            gradients = torch.autograd.grad(cross_entropy(model(shown), told), parameters)
            with torch.no_grad():
                optimizer.step(parameters, gradients)
    start, buffers = flat.flatten(model)
    tested, truth = split.test.pixels(torch.arange(len(split.test)))
    marked = square.stamp(tested[truth != 3])

    def after(trainer: Hardening) -> tuple[float, float]:
        params, state, layout = start, dict[str, Tensor](), Layout.of(model)
        for round in range(3):
            rows = Rows.empty(1, layout)
            context = RoundContext(round, 0, layout, params, buffers, model=model)
            cohort = Cohort((0,), (0,), split.train, (torch.arange(600, 1000),))
            state = dict(trainer.train(cohort, state, context, rows))
            params = params + rows.matrix[0]
        flat.load(model, params)
        with torch.no_grad():
            success = (model(marked).argmax(1) == 3).float().mean()
            return float(success), float((model(tested).argmax(1) == truth).float().mean())

    small = {"batch_size": 32, "most_steps": 50}
    assert after(CleanHardening(**small))[0] > 0.6
    for trainer in (UniversalFlip(universal=FLIP.universal, **small), dataclasses.replace(FLIP, **small)):
        success, accuracy = after(trainer)
        assert success < 0.4
        assert accuracy > 0.85


SEEN: list[Tensor] = []
"""The rows of the honest clients, round for round, that `KeepsModel` was given."""


class KeepsModel(Aggregator, kind="keeps_model_of_test_flip"):
    """No round changes the model: whatever differs between two federations differs within their clients."""

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        SEEN.append(updates.matrix[updates.ids > 0].clone())
        return Aggregate(None), state


def test_what_an_honest_client_does_is_the_same_for_any_trigger_and_target_and_without_an_attack():
    brief, seen = TriggerInversion(6, lr=0.5, cost=1e-2), []
    for data in (Backdoor(Patch(2), target=3, per_batch=5), Backdoor(Patch(3, row=4, column=4), target=7, share=0.5), None):
        SEEN.clear()
        phalanx.run(
            phalanx.Experiment(
                run=RunSettings(rounds=2),
                data=Digits(),
                partition=IID(num_clients=3),
                model=MLP(hidden=(8,)),
                training=Flip(universal=brief, pair=brief, repeat=brief, most_steps=12),
                aggregator=KeepsModel(),
                adversary=Adversary() if data is None else Adversary(who=FirstClients(count=1), data=data),
            )
        )
        seen.append(torch.stack(SEEN))
    assert seen[0].shape[:2] == (2, 2)
    assert seen[1].equal(seen[0])
    assert seen[2].equal(seen[0])


def test_a_federation_with_attackers_gives_the_same_bytes_with_two_workers_and_after_a_resume(tmp_path):
    brief = TriggerInversion(8, lr=0.5, cost=1e-2)

    def experiment(workers: int) -> phalanx.Experiment:
        return phalanx.Experiment(
            run=RunSettings(rounds=2, seed=1, workers=workers, checkpoint_seconds=0.0),
            data=Digits(),
            partition=IID(num_clients=3),
            model=MLP(hidden=(8,)),
            training=Flip(universal=brief, pair=brief, repeat=brief, largest=64.0, most_steps=13),
            adversary=Adversary(who=FirstClients(count=1), data=Backdoor(Patch(2), target=3, per_batch=5)),
        )

    whole = flat.flatten(phalanx.run(experiment(1), out=tmp_path).model)[0]
    assert flat.flatten(phalanx.run(experiment(2)).model)[0].equal(whole)
    for unfinished in ("result.json", "checkpoint/000000002.json"):
        (tmp_path / unfinished).unlink()
    assert flat.flatten(resume(tmp_path).model)[0].equal(whole)


def test_bad_input_is_refused_before_round_0(nets):
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    CleanHardening().check(model, Samples(torch.full((2, 4), 7.0), torch.zeros(2, dtype=torch.int64), 3))
    late = torch.zeros(1500, 1, 2, 2)
    late[1400] = torch.nan
    for images in (torch.zeros(2, 4), torch.full((2, 1, 2, 2), 7.0), late):
        with pytest.raises(ConfigError, match=r"Flip needs images \[C, H, W\] with pixels in \[0, 1\]"):
            Flip().check(model, Samples(images, torch.zeros(len(images), dtype=torch.int64), 3))
    with pytest.raises(ConfigError, match="got a single class"):
        Flip().check(model, black([0, 0], num_classes=1))
    Flip().check(model, Samples(torch.full((2, 1, 2, 2), 255, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), 3))
    Flip().check(model, black([]))
    with pytest.raises(ConfigError, match="ATS needs"):
        Flip(augment=(ATS(((0,),)),)).check(model, Samples(torch.zeros(2, 2, 2, 2), torch.zeros(2, dtype=torch.int64), 3))
    with pytest.raises(ConfigError, match="batch_size >= 2"):
        Flip(batch_size=1).check(nets["batchnorm_net"](), black([0, 1]))


def test_a_trainer_is_its_own_config():
    assert Flip.from_table(FLIP.to_table()) == FLIP
    assert Trainer.from_table(FLIP.to_table()) == FLIP


@pytest.mark.parametrize("workers", [1, 2])
def test_a_round_tells_what_share_of_the_batches_was_stamped(workers):
    def told(trainer: Trainer) -> list[float | None]:
        experiment = phalanx.Experiment(
            run=RunSettings(rounds=2, workers=workers),
            data=Digits(normalize=False),
            partition=IID(num_clients=4),
            model=MLP(hidden=(8,)),
            training=trainer,
        )
        events = list[Event]()
        phalanx.run(experiment, sinks=[SimpleNamespace(emit=events.append)])
        return [event.values.get("training", {}).get("stamped") for event in events if event.kind == "round"]

    search = TriggerInversion(5, threshold=0.1, lr=0.5, cost=0.0)
    flip = Flip(universal=search, pair=search, repeat=search, epochs=4)
    assert min(told(flip)) > 0.5
    assert told(dataclasses.replace(flip, largest=1e-3))[1] == 0  # after the warm-up, whose triggers no limit binds
    assert told(WorkerMomentum(flip)) == pytest.approx(told(flip), abs=0.2)
    assert min(told(UniversalFlip(universal=search, epochs=4))) > 0.5
    assert min(told(PartialDeployment(flip, SGD(0.1, epochs=1), share=0.99))) > 0.5
    assert told(CleanHardening(epochs=2)) == [None, None]
