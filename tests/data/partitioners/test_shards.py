"""Shards: how few classes a client sees."""

import torch

from phalanx.data import Shards


def test_a_client_sees_as_many_classes_as_it_has_shards():
    """100 clients with 2 shards each of 10 classes: borders of shards and classes coincide, as in the paper."""
    labels = torch.arange(2000) % 10
    parts = Shards(num_clients=100, shards_per_client=2).split(labels, None, torch.Generator().manual_seed(0))
    seen = [len(labels[part].unique()) for part in parts]
    assert {len(part) for part in parts} == {20}
    assert max(seen) == 2
    assert seen.count(2) > 50


def test_ragged_shards_differ_by_at_most_one_sample_each():
    parts = Shards(num_clients=3, shards_per_client=3).split(torch.arange(31) % 4, None, torch.Generator())
    assert max(map(len, parts)) - min(map(len, parts)) <= 3
