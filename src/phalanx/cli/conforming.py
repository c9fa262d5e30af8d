"""`phalanx conformance`: which implementation of a rule does what its paper says, case by case."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from phalanx.cli.terminal import console
from phalanx.core.errors import ConfigError
from phalanx.core.explain import nearest
from phalanx.testing.conformance import CASES, LIBRARIES, Outcome, Subject, library_version, run_case

SPELLED = {"papers": "paper's", "callers": "caller's", "nan": "NaN"}
"""Words of a case's name that Python spells otherwise."""
MARKS = {True: "[green]✓[/]", False: "[red]×[/]", None: "[dim]–[/]"}


SECONDS = 60.0
"""What a case may take; the slowest that ends takes a few. CAF of ByzFL 0.0.11 never ends beside a far row."""


class TooLong(BaseException):
    """A case is out of time. No Exception: where an error is an answer, this one is not."""


def show_conformance(library: str, *, as_json: bool) -> None:
    """Run all cases on a library's rules; a table of marks and a line a failure. Raises: ConfigError if there is none."""
    if library not in LIBRARIES:
        raise ConfigError(f"{library!r} is no library that can be tried{nearest(library, LIBRARIES)}")
    subjects = list(LIBRARIES[library][1]())
    outcomes: dict[str, tuple[Outcome, ...]] = {}
    with Progress(console=console(stderr=True), transient=True, disable=not console(stderr=True).is_terminal) as bar:
        task = bar.add_task(library, total=len(subjects) * len(CASES))
        for subject in subjects:
            outcomes[subject.name] = tuple(_run(case, subject, bar, task) for case in CASES)
    if as_json:
        print(json.dumps(_document(library, subjects, outcomes), indent=2))  # noqa: T201 - what a script reads
        return
    _print(library, outcomes)


def title(case: str) -> str:
    """A case's name as one reads it."""
    return " ".join(SPELLED.get(word, word) for word in case.split("_"))


def _run(case: str, subject: Subject, bar: Progress, task: object) -> Outcome:
    try:
        with _at_most(SECONDS):
            outcome = run_case(case, subject)
    except TooLong:
        outcome = Outcome(case, False, f"no answer within {SECONDS:g} seconds")
    bar.advance(task)  # type: ignore[arg-type]
    return outcome


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Ends what takes longer. Raises: TooLong; never where the system has no such timer (Windows)."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    handler = signal.signal(signal.SIGALRM, _end)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, handler)


def _end(*_: object) -> NoReturn:
    raise TooLong


def _document(library: str, subjects: list[Subject], outcomes: dict[str, tuple[Outcome, ...]]) -> dict[str, object]:
    methods = {subject.name: subject.method for subject in subjects}
    rules = {
        name: {"method": methods[name], "cases": {one.case: {"passed": one.passed, "reason": one.reason} for one in found}}
        for name, found in outcomes.items()
    }
    return {"library": library, "version": library_version(library), "rules": rules}


def _print(library: str, outcomes: dict[str, tuple[Outcome, ...]]) -> None:
    screen = console()
    table = Table(title=f"{library} {library_version(library)}: rules down, cases across")
    table.add_column("rule")
    for number in range(1, len(CASES) + 1):
        table.add_column(str(number), justify="center")
    for name, found in outcomes.items():
        table.add_row(escape(name), *(MARKS[one.passed] for one in found))
    screen.print(table)
    for number, (name, case) in enumerate(CASES.items(), start=1):
        what = (case.__doc__ or "").strip().partition("\n")[0]
        screen.print(f"{number:3} {title(name)}: {what}", markup=False, highlight=False)
    screen.print("\n–: the case does not concern the method. Only methods with a closed formula are tried.", highlight=False)
    failures = [(name, one) for name, found in outcomes.items() for one in found if one.passed is False]
    count = sum(one.passed is not None for found in outcomes.values() for one in found)
    screen.print(f"{count - len(failures)} of {count} passed.", highlight=False)
    for name, one in failures:
        screen.print(f"  {name}, {title(one.case)}: {one.reason}", markup=False, highlight=False)
