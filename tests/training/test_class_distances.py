"""A client's memory of triggers: what is recorded, what is chosen next, and that it survives as tensors."""

import torch

from phalanx.training.class_distances import ClassDistances
from phalanx.training.trigger_inversion import Pair, Triggers


def triggers(sizes: dict[Pair, float | None]) -> Triggers:
    """One per pair, whose first pixels hold its size; None: not found."""
    masks = torch.stack([torch.full((1, 2, 2), (size or 0) / 4) for size in sizes.values()])
    found = torch.tensor([size is not None for size in sizes.values()])
    return Triggers(tuple(sizes), masks, masks.repeat(1, 3, 1, 1), found, found.float())


def test_universal_triggers_give_the_first_sizes_of_the_classes_that_are_held():
    distances = ClassDistances.unknown(3)
    distances.start_from(triggers({(None, 0): 1.0, (None, 1): 2.0, (None, 2): None}), sources=[0, 2])
    assert distances.sizes.tolist() == [[0, 2, 0], [0, 0, 0], [1, 2, 0]]
    assert distances.change.tolist() == [[0, 1, 0], [0, 0, 0], [0.5, 1, 0]]
    assert set(distances.found) == {(None, 0), (None, 1)}


def test_each_direction_records_its_own_relative_change_by_hand():
    """0 -> 1 grows from 2 to 3: (1 + .5) / 2. 1 -> 0 is new: (0 + 0) / 2. Not found: the change halves, the size stays."""
    distances = ClassDistances(torch.tensor([[0.0, 2], [0, 0]]), torch.tensor([[0.0, 1], [0, 0]]), {})
    distances.record(triggers({(0, 1): 3.0, (1, 0): 4.0}))
    assert distances.sizes.tolist() == [[0, 3], [4, 0]]
    assert distances.change.tolist() == [[0, 0.75], [0, 0]]
    distances.record(triggers({(0, 1): None, (1, 0): 2.0}))
    assert distances.sizes.tolist() == [[0, 3], [2, 0]]
    assert distances.change.tolist() == [[0, 0.375], [-0.25, 0]]
    assert distances.found[0, 1][0].sum() == 3, "what was found stays"


def test_a_search_starts_from_the_pairs_last_trigger_or_from_the_universal_one():
    distances, like = ClassDistances.unknown(3), torch.zeros(5, 3, 2, 2)
    distances.start_from(triggers({(None, 1): 1.0}), sources=[0])
    distances.record(triggers({(2, 1): 2.0}))
    start = distances.start([(0, 1), (2, 1), (1, 0)], like)
    assert start.found.tolist() == [True, True, False]
    assert start.masks.sum(dim=(1, 2, 3)).tolist() == [1, 2, 0]
    assert start.patterns.shape == (3, 3, 2, 2)


def choose(distances: ClassDistances, present: list[int], previous: int | None = None, explore: float = 0.0, seed: int = 0):
    return distances.choose(present, previous, explore, torch.Generator().manual_seed(seed))


def test_the_largest_change_goes_first_among_present_sources_other_than_the_last_one():
    change = torch.tensor([[0.0, 9, 1], [8, 0, 7], [-1, -2, 0]])
    distances = ClassDistances(torch.zeros(3, 3), change, {})
    assert choose(distances, [0, 1, 2]) == (0, 1)
    assert choose(distances, [0, 1, 2], previous=0) == (1, 0)
    assert choose(distances, [2]) == (2, 0)
    assert choose(distances, [2], previous=2) == (2, 0), "the only one may come again"


def test_exploring_reaches_every_other_target_from_every_present_source():
    distances = ClassDistances.unknown(4)
    seen = {choose(distances, [1, 3], explore=1.0, seed=seed) for seed in range(200)}
    assert seen == {(source, target) for source in (1, 3) for target in range(4) if target != source}


def test_a_memory_comes_back_from_its_tensors_and_an_empty_one_is_no_tensors():
    distances = ClassDistances.unknown(3)
    assert distances.state() == {}
    distances.start_from(triggers({(None, 0): 1.0, (None, 1): 2.0}), sources=[0, 1])
    distances.record(triggers({(0, 1): 3.0}))
    state = distances.state()
    before = {name: tensor.clone() for name, tensor in state.items()}
    again = ClassDistances.of(state)
    assert list(again.found) == [(None, 0), (None, 1), (0, 1)]
    assert all(tensor.equal(again.state()[name]) for name, tensor in state.items())
    again.record(triggers({(0, 1): 1.0}))
    assert all(tensor.equal(before[name]) for name, tensor in state.items()), "the input is not changed"
