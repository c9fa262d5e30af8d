"""Detection rates, by hand and against sets."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.metrics import Detection, detection


def test_by_hand() -> None:
    influence = torch.tensor([0.0, 0.3, 0.0, 0.7, 0.0])
    malicious = torch.tensor([True, True, True, False, False])
    assert detection(influence, malicious) == Detection(tpr=2 / 3, fpr=1 / 2, precision=2 / 3, num_rejected=3)


def test_rates_over_nobody_are_none() -> None:
    kept = torch.full((3,), 1 / 3)
    assert detection(kept, torch.zeros(3, dtype=torch.bool)) == Detection(None, 0, None, 0)
    assert detection(kept, torch.ones(3, dtype=torch.bool)) == Detection(0, None, None, 0)
    assert detection(torch.zeros(0), torch.zeros(0, dtype=torch.bool)) == Detection(None, None, None, 0)


def test_only_a_weight_of_exactly_zero_is_a_rejection() -> None:
    influence = torch.tensor([1e-30, -0.1, 0.0, -0.0], dtype=torch.float64)
    assert detection(influence, torch.ones(4, dtype=torch.bool)).tpr == 0.5


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_it_agrees_with_counting_sets(rows: list[tuple[bool, bool]]) -> None:
    rejected = {place for place, (is_rejected, _) in enumerate(rows) if is_rejected}
    bad = {place for place, (_, is_bad) in enumerate(rows) if is_bad}
    good = set(range(len(rows))) - bad
    found = detection(
        torch.tensor([0.0 if place in rejected else 0.1 for place in range(len(rows))]),
        torch.tensor([place in bad for place in range(len(rows))]),
    )
    assert found.num_rejected == len(rejected)
    assert found.tpr == (len(rejected & bad) / len(bad) if bad else None)
    assert found.fpr == (len(rejected & good) / len(good) if good else None)
    assert found.precision == (len(rejected & bad) / len(rejected) if rejected else None)
