"""One tree of errors, so that one `except` at the command line is enough."""

import inspect

import pytest

from phalanx.core import errors
from phalanx.core.errors import PhalanxError

PUBLIC = [value for name, value in vars(errors).items() if inspect.isclass(value) and not name.startswith("_")]


def test_there_are_errors():
    assert len(PUBLIC) >= 7


@pytest.mark.parametrize("error", PUBLIC)
def test_every_public_error_stands_in_the_tree_and_says_what_it_means(error):
    assert issubclass(error, PhalanxError)
    assert error.__doc__
    assert error.__doc__.strip().endswith(".")


@pytest.mark.parametrize("error", [errors.ConfigError, errors.PreconditionError])
def test_errors_about_a_value_are_value_errors_too(error):
    assert issubclass(error, ValueError)


def test_a_stop_carries_its_exit_code():
    stop = errors.Stopped("Stopped after round 3.", exit_code=130)
    assert (str(stop), stop.exit_code) == ("Stopped after round 3.", 130)
