"""Line: distances and inner products of a row that was never made."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.attacks.update.line import Line


@given(
    st.integers(1, 8),
    st.integers(1, 30),
    st.sampled_from(["unit", "sign", "std"]),
    st.floats(0, 50),
    st.booleans(),
    st.integers(0, 99),
)
def test_distances_and_inner_products_are_those_of_the_rows(
    h: int, d: int, deviation: str, gamma: float, turned: bool, seed: int
) -> None:
    rows = torch.randn(h, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 3
    line = Line.away_from(rows, deviation)
    line = line.backwards() if turned else line
    everyone = torch.cat([line.at(gamma)[None], rows])
    honest, seen = torch.cdist(rows, rows).square(), rows - rows[0]
    expected = (everyone[:, None] - everyone).square().sum(dim=2)
    torch.testing.assert_close(line.distances(gamma, honest), expected, atol=1e-8, rtol=1e-8)
    expected = (everyone - rows[0]) @ (everyone - rows[0]).T
    torch.testing.assert_close(line.gram(gamma, seen @ seen.T), expected, atol=1e-8, rtol=1e-8)


def test_by_hand() -> None:
    line = Line.away_from(torch.tensor([[0.0, 1.0], [4.0, 1.0]]), "sign")  # mean (2, 1), direction (-1, -1)
    assert line.at(2.0).tolist() == [0.0, -1.0]
    assert line.squares.tolist() == [4.0, 4.0]
    assert line.along.tolist() == [2.0, -2.0]
    assert line.length == 2.0
    distances = line.distances(2.0, torch.tensor([[0.0, 16.0], [16.0, 0.0]], dtype=torch.float64))
    assert distances.tolist() == [[0.0, 4.0, 20.0], [4.0, 0.0, 16.0], [20.0, 16.0, 0.0]]
