import signal
import sys

import pytest

from phalanx.experiments.signals import STOPPING, Signalled, noted_signals, stop_signals


@pytest.fixture(autouse=True)
def _handlers_are_given_back():
    before = [signal.getsignal(name) for name in STOPPING]
    yield
    assert [signal.getsignal(name) for name in STOPPING] == before


@pytest.mark.parametrize("number", STOPPING)
def test_the_first_signal_is_raised_and_the_next_are_ignored_while_the_run_is_saved(number):
    saved = []

    def run() -> None:
        with stop_signals():
            try:
                signal.raise_signal(number)
            except Signalled:
                for name in STOPPING:
                    signal.raise_signal(name)
                saved.append(True)
                raise

    with pytest.raises(Signalled) as raised:
        run()
    assert saved
    assert raised.value.number == number


def test_a_noted_signal_interrupts_nothing_and_the_first_one_counts():
    with noted_signals() as request:
        assert request.number == 0
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert request.number == signal.SIGTERM


def test_inside_noted_signals_a_run_still_stops_at_once_and_what_came_after_is_noted():
    with noted_signals() as request:
        with pytest.raises(Signalled), stop_signals():
            signal.raise_signal(signal.SIGINT)
        assert request.number == 0
        signal.raise_signal(signal.SIGINT)
        assert request.number == signal.SIGINT


def test_two_signals_at_once_are_one_stop_and_python_says_nothing(monkeypatch):
    said = list[object]()
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    with stop_signals():
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        for name in STOPPING:
            signal.raise_signal(name)
        with pytest.raises(Signalled) as caught:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    assert caught.value.number == signal.SIGINT
    assert said == []
