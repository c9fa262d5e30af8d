"""Running the cases: an outcome for every case of a subject, and one call for your own rule."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch

from phalanx.core.errors import ConfigError
from phalanx.core.explain import nearest
from phalanx.testing.conformance.cases import CASES, EXEMPT, Rule, Subject
from phalanx.testing.conformance.references import REFERENCES


@dataclass(frozen=True)
class Outcome:
    """What became of a case: passed, failed with a one-line reason, or not concerned (`passed` is None)."""

    case: str
    passed: bool | None
    reason: str = ""


def conformance(make: Callable[[int], Rule], *, method: str, name: str = "yours") -> tuple[Outcome, ...]:
    """All cases on a rule of your own: `make(f)` gives a callable `[n, d] -> [d]` that is to be `method` for f attackers.

    Raises: ConfigError if there is no such method.
    >>> from phalanx.aggregators import Krum
    >>> {outcome.passed for outcome in conformance(Krum, method="krum")}
    {True, None}
    """
    if method not in REFERENCES:
        raise ConfigError(f"There is no reference for {method!r}{nearest(method, REFERENCES)}")
    subject = Subject(name, method, make)
    return tuple(run_case(case, subject) for case in CASES)


def run_case(case: str, subject: Subject) -> Outcome:
    """One case on one subject. Whatever the subject raises, outside of where an error is an answer, is a failure."""
    if subject.method in EXEMPT.get(case, ()) or (case == "claimed_sample_counts" and subject.with_counts is None):
        return Outcome(case, None)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        try:
            CASES[case](subject)
        except AssertionError as failure:
            return Outcome(case, False, str(failure))
        except Exception as error:  # noqa: BLE001 - foreign code
            return Outcome(case, False, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    return Outcome(case, True)
