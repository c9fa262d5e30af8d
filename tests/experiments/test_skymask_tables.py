"""The tables of experiments/skymask: a rule that rejects nobody somewhere says so there."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "skymask" / "tables.py"


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("skymask_tables", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*influences, malicious=()):
    """A record of rounds with four clients."""
    events = ({"influence": influence} if influence else {} for influence in influences)
    return SimpleNamespace(rounds=[{"clients": [3, 5, 7, 9], "malicious": list(malicious), **event} for event in events])


ALL, LAST, FIRST = [0.25] * 4, [1 / 3, 1 / 3, 1 / 3, 0], [0, 1 / 3, 1 / 3, 1 / 3]


def test_shares_are_of_those_who_could_be_rejected_and_zero_is_a_result(tables):
    assert tables.rejected([run(ALL, FIRST, malicious=[3, 5])]) == "25.0 / 0.0"
    assert tables.rejected([run(ALL, malicious=[3]), run(LAST, malicious=[3])]) == "0.0 / 16.7"
    assert tables.rejected([run(ALL, ALL, malicious=[3])]) == "0.0 / 0.0"
    assert tables.rejected([run(ALL, LAST)]) == "12.5"
    assert tables.rejected([run(ALL)]) == "0.0"


def test_rules_that_never_reject_have_no_row_and_what_is_not_known_has_a_dash(tables):
    found = {
        ("mean", "none"): [run(ALL)],
        ("mean", "flip"): [run(ALL, malicious=[3])],
        ("median", "flip"): [run(None, malicious=[3])],
        ("skymask", "none"): [run(ALL)],
        ("skymask", "flip"): [run(FIRST, malicious=[3])],
        ("skymask", "sign"): [],
    }
    assert tables.table(tables.judging(found), tables.rejected).splitlines()[2:] == ["| skymask | 0.0 | 100.0 / 0.0 | – |"]


def test_the_highest_success_of_a_run_is_that_of_any_test(tables):
    tested = [{"accuracy": 0.1}, {"attack_success": 0.9}, {"attack_success": 0.25}]
    some = [SimpleNamespace(evaluations=tested), SimpleNamespace(evaluations=tested[:1])]
    assert tables._highest(some) == "90.0"
    assert tables._highest(some[1:]) is None
