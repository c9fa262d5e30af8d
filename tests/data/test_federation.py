"""Federation: who holds what, the root set out of the pool first, and nothing that does not fit together."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.core.errors import DataError
from phalanx.core.families import Partitioner
from phalanx.core.types import DataSplit, Samples
from phalanx.data import IID, ByGroup, Dirichlet, Federation, FromFile, LabelBias, RootSet, Shards, Synthetic


def numbered(count: int = 40, classes: int = 4) -> DataSplit:
    """Sample i is the number i, so that a value says where it came from."""
    train = Samples(torch.arange(count, dtype=torch.float32)[:, None], torch.arange(count) % classes, classes)
    test = Samples(torch.zeros(5, 1), torch.zeros(5, dtype=torch.int64), classes)
    return DataSplit("numbers", train, test, torch.arange(count) % 3, {"a": "b"})


@given(
    st.sampled_from([IID(5), Dirichlet(5, min_samples=0), LabelBias(5, min_samples=0), Shards(5), ByGroup()]),
    st.integers(0, 20),
    st.integers(0, 2**31),
)
def test_clients_and_root_share_out_the_training_set(partitioner, size, seed):
    split = numbered()
    federation = Federation.build(split, partitioner, RootSet(size), seed)
    dealt = torch.cat(federation.clients).float()
    trusted = torch.zeros(0) if federation.root is None else federation.root.images[:, 0]
    assert len(trusted) == size
    assert torch.cat([dealt, trusted]).sort().values.equal(split.train.images[:, 0])


def test_the_root_set_keeps_labels_and_moments_of_its_samples():
    split = numbered()
    split = replace(split, train=replace(split.train, mean=torch.zeros(1), std=torch.ones(1)))
    root = Federation.build(split, IID(2), RootSet(9), 0).root
    assert torch.equal(root.labels, root.images[:, 0].long() % 4)
    assert root.mean is not None


def test_a_root_set_by_groups_takes_of_every_client_that_is_a_group():
    federation = Federation.build(numbered(60), ByGroup(), RootSet(group_share=0.25), 0)
    assert [len(client) for client in federation.clients] == [15, 15, 15]
    assert (federation.root.images[:, 0].long() % 3).bincount().tolist() == [5, 5, 5]


def test_no_root_set_is_none():
    assert Federation.build(numbered(), IID(2), RootSet(), 0).root is None
    assert Federation.build(numbered(), IID(2)).root is None


def test_the_partitioner_sees_the_labels_and_groups_of_the_pool_only():
    split = numbered()
    federation = Federation.build(split, ByGroup(), RootSet(10), 0)
    for group, client in enumerate(federation.clients):
        assert split.groups[client].eq(group).all()


def test_the_seed_alone_decides(untouched_rng):
    first, again, other = (Federation.build(numbered(), IID(4), RootSet(4), seed) for seed in (1, 1, 2))
    assert all(map(torch.equal, first.clients, again.clients))
    assert torch.equal(first.root.images, again.root.images)
    assert not torch.equal(first.root.images, other.root.images)


def test_it_says_what_a_model_needs_to_know():
    federation = Federation.build(numbered(), IID(4), RootSet(), 0)
    assert (federation.num_clients, federation.num_classes, federation.input_shape) == (4, 4, (1,))
    assert (federation.name, federation.checksums) == ("numbers", {"a": "b"})


def test_a_move_takes_every_tensor_along():
    federation = Federation.build(numbered(), IID(4), RootSet(3), 0).to("meta")
    tensors = (federation.train.images, federation.test.labels, federation.root.images, *federation.clients)
    assert {tensor.device.type for tensor in tensors} == {"meta"}


class Fixed(Partitioner):
    """A user's partitioner that returns what it was given."""

    parts: tuple[tuple[int, ...], ...] = ()

    def split(self, labels, groups, generator):
        return [torch.tensor(part, dtype=torch.int64) for part in self.parts]


def test_a_users_partitioner_may_leave_clients_empty():
    assert list(map(len, Federation.build(numbered(), Fixed(((1, 2), ())), RootSet(), 0).clients)) == [2, 0]


@pytest.mark.parametrize(
    "parts, complaint",
    [
        ((), "at least one client"),
        (((0, 1), (1,)), "dealt to two clients"),
        (((0, 0),), "dealt to two clients"),
    ],
)
def test_a_partition_that_is_none_is_refused(parts, complaint):
    with pytest.raises(DataError, match=complaint):
        Federation.build(numbered(), Fixed(parts), RootSet(), 0)


@pytest.mark.parametrize("position", [-1, 30, 10**12])
def test_positions_outside_of_the_pool_are_refused(position):
    with pytest.raises(DataError, match=r"in \[0, 30\)"):
        Federation.build(numbered(), Fixed(((position,),)), RootSet(10), 0)


@pytest.mark.parametrize("root", [RootSet(1), RootSet(group_share=0.5)])
def test_a_root_set_beside_a_partition_from_a_file_is_refused(root, tmp_path):
    (tmp_path / "parts.json").write_text("[[0, 1]]")
    partitioner = FromFile(str(tmp_path / "parts.json"))
    with pytest.raises(DataError, match=r"leaves none for a root set\. Leave \[root\] out"):
        Federation.build(numbered(), partitioner, root, 0)
    assert Federation.build(numbered(), partitioner, RootSet(), 0).clients[0].tolist() == [0, 1]


GOOD = Samples(torch.zeros(4, 2), torch.arange(4) % 2, 2)


@pytest.mark.parametrize(
    "train, test, groups, complaint",
    [
        (replace(GOOD, labels=torch.zeros(3, dtype=torch.int64)), GOOD, None, "one label an image"),
        (replace(GOOD, images=torch.zeros(0, 2), labels=torch.zeros(0, dtype=torch.int64)), GOOD, None, "at least one"),
        (replace(GOOD, images=torch.zeros(4, 2, dtype=torch.float64)), GOOD, None, "uint8 or float32"),
        (GOOD, replace(GOOD, labels=torch.zeros(4)), None, "test set needs uint8 or float32 images and int64 labels"),
        (replace(GOOD, labels=torch.tensor([0, 1, 2, 1])), GOOD, None, r"in \[0, 2\)"),
        (replace(GOOD, labels=torch.tensor([0, 1, -1, 1])), GOOD, None, r"in \[0, 2\)"),
        (GOOD, replace(GOOD, images=torch.zeros(4, 3)), None, "one shape"),
        (GOOD, replace(GOOD, num_classes=3), None, "same number of classes"),
        (
            replace(GOOD, labels=torch.zeros(4, 1, dtype=torch.int64)),
            GOOD,
            None,
            r"\[N\]; got shapes \[4, 2\] and \[4, 1\]",
        ),
        (GOOD, replace(GOOD, labels=torch.tensor(1)), None, r"The test set .* \[4, 2\] and \[\]"),
        (replace(GOOD, images=torch.zeros(4, 0)), GOOD, None, r"at least one number each .* \[4, 0\]"),
        (replace(GOOD, images=torch.zeros(4)), GOOD, None, r"at least one number each .* \[4\]"),
        (GOOD, GOOD, torch.zeros(3), "one entry a training sample; got 3 for 4"),
    ],
    ids=range(13),
)
def test_a_users_tensors_that_do_not_fit_are_refused(train, test, groups, complaint):
    with pytest.raises(DataError, match=complaint):
        Federation.build(DataSplit("mine", train, test, groups), IID(2))


def test_a_synthetic_federation_is_one_line():
    assert Federation.build(Synthetic().load(), IID()).num_clients == 10
