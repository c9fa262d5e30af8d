"""What a sweep of rules against attacks found: accuracy, backdoors, and who was rejected, as tables of the docs.

    python experiments/skymask/tables.py runs/har

Rows are all axes but `attack`, whose values are the columns; seeds are averaged, with their standard deviation. *Rejected* is
the share of the attackers and of the honest clients that had no influence, in percent, over all rounds and seeds; rules that
never left anyone without are not in it. *Highest* is the largest attack success of any test: a backdoor fades when its
attackers are gone. A dash: not finished, refused, or a rule that does not say whom it counted.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.console import Console

from phalanx.experiments import RunRecord, SweepRecord

Runs = Mapping[tuple[str, str], Sequence[RunRecord]]
"""The finished runs by row and attack."""


def main(folder: Path) -> None:
    """Print the tables of one sweep."""
    record = SweepRecord.read(folder)
    runs: dict[tuple[str, str], list[RunRecord]] = {}
    for cell in record.sweep.cells:
        row = ", ".join(value for axis, value in cell.place.items() if axis != "attack")
        found = record.runs.get(cell)
        runs.setdefault((row, cell.place["attack"]), []).extend([found] if found and found.is_finished else [])
    tables = {"Accuracy": (runs, _accuracy), "Attack success": (runs, _success), "Highest attack success": (runs, _highest)}
    tables["Rejected, attackers / honest"] = judging(runs), rejected
    for title, (some, of) in tables.items():
        text = table(some, of)
        if text:
            Console(soft_wrap=True).print(f"{title}, in percent:\n\n{text}\n", markup=False)


def table(runs: Runs, of: Callable[[Sequence[RunRecord]], str | None]) -> str:
    """One table in Markdown; rows that have nothing to tell are left out."""
    rows, attacks = (list(dict.fromkeys(place[axis] for place in runs)) for axis in (0, 1))
    fields = {row: [of(runs[row, attack]) if runs[row, attack] else None for attack in attacks] for row in rows}
    told = [f"| {row} | {' | '.join(field or '–' for field in found)} |" for row, found in fields.items() if any(found)]
    return "\n".join([f"| | {' | '.join(attacks)} |", f"|---|{'---:|' * len(attacks)}", *told]) if told else ""


def _accuracy(runs: Sequence[RunRecord]) -> str | None:
    return _spread([run.final["accuracy"] for run in runs])


def _success(runs: Sequence[RunRecord]) -> str | None:
    return _spread([run.final["attack_success"] for run in runs if "attack_success" in run.final])


def _highest(runs: Sequence[RunRecord]) -> str | None:
    found = [[event["attack_success"] for event in run.evaluations if "attack_success" in event] for run in runs]
    return _spread([max(shares) for shares in found if shares])


def _spread(shares: Sequence[float]) -> str | None:
    if not shares:
        return None
    return f"{100 * fmean(shares):.1f}" + (f" ± {100 * stdev(shares):.1f}" if len(shares) > 1 else "")


def judging(runs: Runs) -> Runs:
    """The runs of the rows whose rule ever left somebody without influence."""
    rows = {
        row for (row, _), some in runs.items() if any(0 in event.get("influence", ()) for run in some for event in run.rounds)
    }
    return {place: some for place, some in runs.items() if place[0] in rows}


def rejected(runs: Sequence[RunRecord]) -> str | None:
    """Attackers / honest clients, or the latter alone where nobody attacked."""
    shares = [_shares(event) for run in runs for event in run.rounds if "influence" in event]
    sides = ([share for share in side if share is not None] for side in zip(*shares))
    return " / ".join(f"{100 * fmean(side):.1f}" for side in sides if side) or None


def _shares(event: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Of a round: the share of the attackers, and of the honest clients, whose influence was 0; None where there are none."""
    clients, influence, malicious = event["clients"], event["influence"], set(event.get("malicious", ()))
    zeros = {client: share == 0 for client, share in zip(clients, influence, strict=True)}
    sides = ([zeros[c] for c in clients if c in malicious], [zeros[c] for c in clients if c not in malicious])
    return tuple(fmean(side) if side else None for side in sides)  # type: ignore[return-value]


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    main(arguments.parse_args().folder)
