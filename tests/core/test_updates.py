"""The rows that a rule gets: whose they are, and what is known of them."""

import dataclasses

import pytest
import torch

from phalanx.core.updates import Updates


def test_updates_of_a_matrix_are_anonymous_and_equal():
    updates = Updates.of(torch.zeros(3, 2))
    assert (len(updates), updates.ids.tolist(), updates.weights.tolist()) == (3, [0, 1, 2], [1, 1, 1])
    assert updates.buffers.shape == (3, 0)


def test_distances_and_norms_are_computed_once():
    updates = Updates.of(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    assert updates.squared_distances is updates.squared_distances
    assert updates.norms is updates.norms
    torch.testing.assert_close(updates.squared_distances, torch.tensor([[0.0, 25.0], [25.0, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(updates.norms, torch.tensor([0.0, 5.0], dtype=torch.float64))


def test_other_rows_of_the_same_clients_keep_ids_weights_and_buffers():
    updates = Updates(torch.zeros(2, 3), torch.ones(2, 1), torch.tensor([4, 9]), torch.tensor([1.0, 3.0]))
    other = updates.replaced(torch.ones(2, 3))
    assert (other.ids.tolist(), other.weights.tolist(), other.buffers.tolist()) == ([4, 9], [1, 3], [[1], [1]])
    assert updates.matrix.sum() == 0


def test_a_weighted_sum_is_that_of_the_definition():
    updates = Updates.of(torch.tensor([[1.0, 2.0], [3.0, 5.0]]))
    assert updates.weighted_sum(torch.tensor([0.5, 2.0], dtype=torch.float64)).tolist() == [6.5, 11.0]


def test_mixed_updates_mix_buffers_too() -> None:
    parent = Updates(torch.ones(2, 3), torch.tensor([[0.0], [4.0]]), torch.tensor([5, 7]), torch.ones(2, dtype=torch.float64))
    mixed = parent.mixed(torch.tensor([[0.5, 0.5], [0.0, 1.0]], dtype=torch.float64))
    assert mixed.buffers.tolist() == [[2.0], [4.0]]
    assert mixed.ids.tolist() == [5, 7]


ROWS = torch.tensor([[3.0, 4.0], [0.0, 2.0], [6.0, 8.0]])
HALF = torch.full((3,), 0.5, dtype=torch.float64)
MEANS = torch.full((3, 3), 1 / 3, dtype=torch.float64)
KINDS = {"stored": Updates.of(ROWS), "scaled": Updates.of(ROWS).scaled(HALF), "mixed": Updates.of(ROWS).mixed(MEANS)}


@pytest.mark.parametrize("kind", KINDS)
def test_other_weights_and_ids_leave_the_rows_and_what_is_known_of_them(kind: str) -> None:
    updates = KINDS[kind]
    norms = updates.norms
    other = dataclasses.replace(updates, weights=torch.tensor([1.0, 0.0, 2.0]), ids=torch.tensor([7, 8, 9]))
    assert (other.weights.tolist(), other.ids.tolist()) == ([1, 0, 2], [7, 8, 9])
    assert other.norms is norms, "the rows are measured again"
    assert other.rows is updates.rows, "a second matrix is made"
    assert torch.equal(other.matrix, updates.matrix)


@pytest.mark.parametrize("kind", KINDS)
def test_another_matrix_brings_its_own_measures(kind: str) -> None:
    assert KINDS[kind].norms.shape == (3,)
    other = dataclasses.replace(KINDS[kind], matrix=-2 * ROWS)
    assert torch.equal(other.matrix, -2 * ROWS)
    assert other.norms.tolist() == [10, 4, 20]


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_caller_has_measured_is_not_measured_again(kind: str) -> None:
    norms = torch.arange(3.0).double()
    known = KINDS[kind].measured(norms)
    assert known.norms is norms
    assert torch.equal(known.matrix, KINDS[kind].matrix)
    assert KINDS[kind].norms is not norms


@pytest.mark.parametrize("kind", ["scaled", "mixed"])
def test_neither_writing_nor_comparing_makes_the_rows(kind: str) -> None:
    updates = dataclasses.replace(KINDS[kind], rows=dataclasses.replace(KINDS[kind].rows))
    assert "parent" in repr(updates)
    assert updates == updates
    assert updates != KINDS[kind]
    assert "whole" not in vars(updates.rows)
