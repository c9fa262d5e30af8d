"""RootSet: how many samples of which class the server takes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.core.errors import ConfigError, DataError
from phalanx.data import RootSet


def counts(root: RootSet, labels: torch.Tensor, classes: int, seed: int = 0) -> list[int]:
    return labels[root.draw(labels, classes, torch.Generator().manual_seed(seed))].bincount(minlength=classes).tolist()


def test_skymasks_hundred_samples_have_ten_of_each_class_without_bias():
    assert counts(RootSet(100, share=0.1), torch.arange(1000) % 10, 10) == [10] * 10


def test_the_favoured_class_gets_its_share_and_the_others_the_rest_evenly():
    assert counts(RootSet(100, share=0.5, favoured_class=2), torch.arange(1000) % 10, 10) == [6, 6, 50, 6, 6, 6, 5, 5, 5, 5]


def test_a_share_of_one_takes_nothing_else():
    assert counts(RootSet(7, share=1.0, favoured_class=0), torch.arange(30) % 3, 3) == [7, 0, 0]


def test_without_a_share_the_root_set_is_like_the_pool():
    labels = (torch.arange(10_000) % 10 == 0).long()
    assert counts(RootSet(1000), labels, 2)[1] == pytest.approx(100, abs=45)


@given(st.integers(1, 60), st.sampled_from([None, 0.0, 0.25, 1 / 3]), st.integers(0, 2**31))
def test_positions_are_distinct_ascending_and_as_many_as_asked(size, share, seed):
    labels = torch.arange(200) % 4
    root = RootSet(size, share=share)
    first, again = (root.draw(labels, 4, torch.Generator().manual_seed(seed)) for _ in range(2))
    assert torch.equal(first, again)
    assert len(first) == size
    assert (first.diff() > 0).all()


@pytest.mark.parametrize(
    "root, complaint",
    [
        (RootSet(41), r"needs as many training samples; got 40\. Lower root\.size"),
        (RootSet(30, share=0.9), r"27 samples of class 1; got 10\. Lower root\.size"),
        (RootSet(3, share=0.5, favoured_class=4), "favoured_class must be below the number of classes; got 4 of 4"),
    ],
)
def test_what_the_pool_cannot_give_is_refused(root, complaint):
    with pytest.raises(DataError, match=complaint):
        root.draw(torch.arange(40) % 4, 4, torch.Generator())


@pytest.mark.parametrize(
    "fields",
    [
        {"size": -1},
        {"share": 1.1},
        {"favoured_class": -1},
        {"share": 0.1},
        {"favoured_class": 1},
        {"favoured_class": 2, "size": 9},
        {"group_share": 0.0},
        {"group_share": 1.0},
        {"group_share": 0.1, "size": 9},
        {"share": 0.5, "group_share": 0.1},
    ],
)
def test_fields_out_of_range_are_config_errors(fields):
    with pytest.raises(ConfigError, match=next(iter(fields))):
        RootSet(**fields)


def test_a_groups_share_is_taken_of_every_group_and_rounded_down():
    groups = torch.tensor([7] * 10 + [3] * 19 + [5] * 4)
    groups = groups[torch.randperm(33, generator=torch.Generator().manual_seed(0))]
    for seed in range(5):
        chosen = RootSet(group_share=0.3).draw(groups * 0, 1, torch.Generator().manual_seed(seed), groups=groups)
        assert [int((groups[chosen] == group).sum()) for group in (7, 3, 5)] == [3, 5, 1]
        assert (chosen.diff() > 0).all()


def test_a_groups_samples_are_drawn_uniformly():
    groups = torch.arange(40) % 4
    drawn = [
        RootSet(group_share=0.5).draw(groups, 4, torch.Generator().manual_seed(seed), groups=groups) for seed in range(200)
    ]
    assert torch.cat(drawn).bincount(minlength=40).sub(100).abs().max() < 35  # five standard deviations of 200 coins


@pytest.mark.parametrize(
    "groups, complaint",
    [
        (None, "needs a data set with groups, such as har; this one has none. Set root.size"),
        (torch.arange(40) % 20, r"group_share=0\.03 takes nothing of any group: the largest has 2\. Raise"),
    ],
)
def test_a_share_of_no_group_is_refused(groups, complaint):
    with pytest.raises(DataError, match=complaint):
        RootSet(group_share=0.03).draw(torch.arange(40) % 4, 4, torch.Generator(), groups=groups)


@pytest.mark.parametrize("favoured", [0, 1])
def test_one_class_has_no_other_to_share_with(favoured):
    with pytest.raises(DataError, match=r"root.share needs two classes or more; got 1\. Remove root.share"):
        RootSet(3, share=0.5, favoured_class=favoured).draw(torch.zeros(9, dtype=torch.int64), 1, torch.Generator())
