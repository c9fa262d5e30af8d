"""Survival of a backdoor, by hand."""

from phalanx.metrics import survival


def test_it_counts_rounds_to_the_last_success_before_the_first_break() -> None:
    assert survival({10: 1.0, 15: 0.8, 20: 0.5, 25: 0.4, 30: 0.9}, last_attack=10) == 10


def test_a_backdoor_gone_at_once_survived_nothing() -> None:
    assert survival({10: 1.0, 11: 0.1}, last_attack=10) == 0
    assert survival({10: 1.0}, last_attack=10) == 0
    assert survival({}, last_attack=0) == 0


def test_a_backdoor_alive_at_the_end_counts_to_the_end() -> None:
    assert survival({4: 1.0, 8: 0.9, 12: 0.9}, last_attack=5) == 7


def test_the_order_of_evaluations_and_what_came_before_the_end_of_the_attack_do_not_matter() -> None:
    assert survival({12: 0.9, 2: 0.0, 11: 0.6}, last_attack=10, threshold=0.6) == 2
