from phalanx.config import Experiment
from phalanx.core.events import Event
from phalanx.tracking.scalars import parameters, scalars

ROUND = Event(
    "round",
    7,
    {
        "sampled": 5,
        "received": 4,
        "loss": None,
        "clients": [1, 2, 3],
        "malicious": [3],
        "rejected": {"too large": [4, 9], "not finite": [8]},
        "influence": [0.5, 0.5, 0.0],
        "kept_model": "The rule accepted no update.",
        "rule": {"threshold": 1.5, "missing": None},
        "attack": {},
        "seconds": {"train": 0.25},
    },
)


def test_a_round_is_its_numbers_its_counts_and_what_the_rule_did():
    assert scalars(ROUND) == {
        "round/sampled": 5,
        "round/received": 4,
        "rejected/too large": 2,
        "rejected/not finite": 1,
        "round/rejected": 3,
        "round/without_influence": 1,
        "round/kept_model": 1,
        "rule/threshold": 1.5,
        "seconds/train": 0.25,
    }


def test_a_round_without_an_attributing_rule_does_not_say_whom_it_left_out():
    plain = Event("round", 0, {"rejected": {}, "seconds": {}})
    assert scalars(plain) == {"round/rejected": 0, "round/kept_model": 0}


def test_an_evaluation_is_its_scores():
    event = Event("evaluation", 3, {"accuracy": 0.5, "test_loss": None, "seconds": {"evaluate": 0.1}})
    assert scalars(event) == {"evaluation/accuracy": 0.5, "seconds/evaluate": 0.1}


def test_names_hold_only_what_every_tracker_takes():
    assert scalars(Event("evaluation", 0, {"p(ε=1)": 0.5})) == {
        "evaluation/p(ε=1)".translate(str.maketrans("(ε=)", "____")): 0.5
    }


def test_every_setting_of_a_config_is_one_parameter():
    found = parameters(Experiment().to_table())
    assert found["training.lr"] == 0.1
    assert found["run.devices"] == "auto"
    assert found["training.hooks"] == ""
    assert all(isinstance(value, str | int | float | bool) for value in found.values())
