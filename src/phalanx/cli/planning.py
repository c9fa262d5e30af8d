"""`phalanx privacy plan`: three of ε, δ, z and T give the fourth, as PLD and RDP count it, with ε on the way there."""

import json
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any, Unpack

from rich.table import Table
from rich.text import Text

from phalanx.cli.spark import spark
from phalanx.cli.terminal import console
from phalanx.core.errors import CheckpointError, ConfigError
from phalanx.core.privacy import Mechanism, Neighbours, Sampling, Spending, Unit
from phalanx.privacy import PrivacyPlan, PrivacyStatement
from phalanx.privacy.accountants import AccountantName
from phalanx.privacy.accounting import Counting
from phalanx.privacy.plan import Known
from phalanx.privacy.statement import rounded_up, shown

POINTS = 20
NAMES: dict[AccountantName, str] = {"pld": "PLD", "rdp": "RDP"}


def show_plan(
    unit: Unit,
    sampling: Sampling,
    plot: Path | None,
    *,
    neighbours: Neighbours | None = None,
    as_json: bool,
    **known: Unpack[Known],
) -> None:
    """Print the plan by each accountant that can count it; draw it too, if asked for.

    Raises: ConfigError if not three of the four are known, or nothing fits.
    """
    accountants: tuple[AccountantName, ...] = ("rdp",) if sampling == "fixed_size" else ("pld", "rdp")
    plans = [PrivacyPlan.solve(**known, **_counting(sampling, accountant, neighbours)) for accountant in accountants]
    curves = [plan.curve(POINTS) for plan in plans]
    if plot is not None:
        _draw(plot, plans, curves)
    if as_json:
        documents = [_document(unit, plan, curve) for plan, curve in zip(plans, curves)]
        print(json.dumps(documents, indent=2, ensure_ascii=False))  # noqa: T201 - the command's output
        return
    console().print(_table(plans, curves))
    for plan in plans:
        console().print(Text(str(_statement(unit, plan))), soft_wrap=True)
    if plot is not None:
        console().print(Text(f"Written: {plot}"), soft_wrap=True)


def _counting(sampling: Sampling, accountant: AccountantName, neighbours: Neighbours | None) -> Counting:
    return {"sampling": sampling, "accountant": accountant, "neighbours": neighbours}


def _statement(unit: Unit, plan: PrivacyPlan) -> PrivacyStatement:
    """What a run says that does this: with noise from its seed, as by default."""
    spending = Spending(plan.noise_multiplier, plan.sample_rate, plan.steps)
    mechanism = Mechanism(unit, plan.neighbours, plan.sampling, spending, _trusted(unit, plan))
    return PrivacyStatement.of(mechanism, plan.epsilon, delta=plan.delta, accountant=plan.accountant)


def _trusted(unit: Unit, plan: PrivacyPlan) -> str | None:
    """Who sees a unit's data without noise: nobody if clients without sampling replace each other, which is local_dp."""
    if unit == "example":
        return "the client that holds it"
    return None if (plan.sampling, plan.neighbours) == ("none", "replace-one") else "the server"


def _document(unit: Unit, plan: PrivacyPlan, curve: list[tuple[int, float]]) -> dict[str, Any]:
    """The plan's fields, its statement, and `curve`: [[steps, ε], …]."""
    return {**asdict(plan), "statement": str(_statement(unit, plan)), "curve": curve}


def _table(plans: list[PrivacyPlan], curves: list[list[tuple[int, float]]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    for plan in plans:
        table.add_column(NAMES[plan.accountant], justify="right")
    table.add_row("ε", *(shown(plan.epsilon) for plan in plans))
    table.add_row("δ", *(f"{rounded_up(plan.delta, 3):g}" for plan in plans))
    table.add_row("noise multiplier z", *(f"{rounded_up(plan.noise_multiplier, 5):g}" for plan in plans))
    table.add_row("steps T", *(f"{plan.steps:,}" for plan in plans))
    table.add_row("sample rate q", *(f"{plan.sample_rate:g}" for plan in plans))
    top = max((epsilon for curve in curves for _, epsilon in curve if isfinite(epsilon)), default=0.0)
    table.add_row("ε over the steps", *(spark([epsilon for _, epsilon in curve], width=POINTS, top=top) for curve in curves))
    for name, share in (("a quarter of them", 4), ("half of them", 2)):
        table.add_row(f"ε after {name}", *(shown(curve[(len(curve) - 1) // share][1]) for curve in curves))
    return table


def _draw(path: Path, plans: list[PrivacyPlan], curves: list[list[tuple[int, float]]]) -> None:
    from phalanx.report.files import write_figure
    from phalanx.report.style import DASHES, LINES, figure_with_axes

    if path.suffix.lower() not in (".pdf", ".png", ".svg"):
        raise ConfigError(f"--plot writes .pdf, .png, .svg; got {path.name!r}.")
    figure, axes = figure_with_axes()
    for plan, curve, colour, dash in zip(plans, curves, LINES, DASHES):
        steps, epsilons = zip(*curve)
        axes.plot(steps, epsilons, color=colour, linestyle=dash, label=NAMES[plan.accountant])
    axes.set_xlabel("steps")
    axes.set_ylabel(f"ε at δ = {rounded_up(plans[0].delta, 3):g}")
    axes.set_ylim(bottom=0)
    axes.legend()
    try:
        write_figure(path, figure, dpi=200)
    except CheckpointError as error:
        raise ConfigError(f"The plot {error} Choose another place.") from None
