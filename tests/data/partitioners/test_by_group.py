"""ByGroup: one client a person."""

import pytest
import torch

from phalanx.core.errors import DataError
from phalanx.data import ByGroup


def test_each_group_is_one_client_in_order():
    groups = torch.tensor([30, 1, 30, 7, 1])
    parts = ByGroup().split(torch.zeros(5), groups, torch.Generator())
    assert [part.tolist() for part in parts] == [[1, 4], [3], [0, 2]]


def test_a_data_set_without_groups_is_refused():
    with pytest.raises(DataError, match="needs a data set with groups"):
        ByGroup().split(torch.zeros(5), None, torch.Generator())
