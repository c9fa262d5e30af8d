"""Sorting networks: proved by the 0-1 principle, and nothing beside the places that were asked for."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phalanx.core import networks


def sorted_by_network(rows: np.ndarray, start: int, stop: int) -> np.ndarray:
    network = networks.sorting(len(rows), start, stop)
    buffer = np.full((network.num_slots, rows.shape[1] + 3), np.nan, dtype=rows.dtype)
    network.sort(rows, buffer)
    return buffer[start:stop, : rows.shape[1]]


@pytest.mark.parametrize("n", range(1, 13))
def test_every_column_of_zeros_and_ones_is_sorted_and_so_every_column(n: int) -> None:
    rows = np.array(list(product((0.0, 1.0), repeat=n))).T
    assert np.array_equal(sorted_by_network(rows, 0, n), np.sort(rows, axis=0))


@given(st.integers(1, 60), st.data())
def test_the_places_asked_for_are_those_of_numpys_sort(n: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(start + 1, n))
    rows = np.random.default_rng(n).standard_normal((n, 17)).astype(np.float32)
    kept = rows.copy()
    assert np.array_equal(sorted_by_network(rows, start, stop), np.sort(rows, axis=0)[start:stop])
    assert np.array_equal(rows, kept)


def test_a_median_takes_fewer_minima_and_maxima_than_a_sort() -> None:
    def operations(start: int, stop: int) -> int:
        return sum((low >= 0) + (high >= 0) for _, _, low, high in networks.sorting(10, start, stop).comparators)

    assert operations(0, 10) == 62
    assert operations(4, 6) == 50
