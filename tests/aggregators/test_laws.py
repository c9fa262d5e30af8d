"""Every rule of Phalanx obeys every law that it does not openly decline."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from phalanx.core.component import members
from phalanx.core.families import Aggregator
from phalanx.testing import AGGREGATORS, LAWS, AggregatorExample, check_aggregator


@pytest.mark.parametrize("example", AGGREGATORS, ids=lambda example: str(example.rule))
def test_every_rule_obeys_every_law_it_does_not_decline(example: AggregatorExample) -> None:
    check_aggregator(example.rule, exempt=example.exempt, kappa=example.kappa)


def test_no_rule_is_without_an_example() -> None:
    ours = {kind for kind, rule in members(Aggregator).items() if rule.__module__.startswith("phalanx.")}
    assert ours == {example.rule.kind for example in AGGREGATORS}


rows = st.tuples(st.integers(11, 14), st.integers(1, 4)).flatmap(
    lambda shape: st.lists(
        st.lists(st.integers(-4, 4), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    )
)
"""Small whole numbers: sums are exact, and ties and duplicates are common."""


COSTLY = ("deep_sight", "skymask", "official_skymask", "remembering_skymask", "tolpegin")
"""Rules that cluster with scikit-learn in every call."""


@pytest.mark.parametrize("example", [e for e in AGGREGATORS if e.rule.kind not in COSTLY], ids=lambda e: str(e.rule))
@given(numbers=rows)
def test_laws_hold_on_generated_rows_full_of_ties(example: AggregatorExample, numbers: list[list[int]]) -> None:
    obeys_all_laws(example, numbers)


@pytest.mark.parametrize("example", [e for e in AGGREGATORS if e.rule.kind in COSTLY], ids=lambda e: str(e.rule))
@settings(max_examples=3)
@given(numbers=rows)
def test_laws_hold_on_a_few_of_them_for_costly_rules(example: AggregatorExample, numbers: list[list[int]]) -> None:
    obeys_all_laws(example, numbers)


def obeys_all_laws(example: AggregatorExample, numbers: list[list[int]]) -> None:
    matrix = torch.tensor(numbers, dtype=torch.float32)
    for name in LAWS.keys() - example.exempt.keys():
        LAWS[name](example.rule, matrix)
