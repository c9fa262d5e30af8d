"""`phalanx audit`: what a private experiment claims, what an audit of it shows, and what follows."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from phalanx.cli.terminal import console
from phalanx.config import Experiment
from phalanx.core.toml import parse_setting
from phalanx.experiments.auditing import AuditReport, Reconstruction, audit
from phalanx.report.numbers import count
from phalanx.server.events import number


def audit_file(file: Path, settings: list[str], confidence: float, shadow_models: int, *, as_json: bool) -> None:
    """Audit the experiment in a TOML file. Raises: typer.Exit with code 1, in the end, if its claim is false."""
    experiment = Experiment.load(file, dict(map(parse_setting, settings)))
    report = audit(experiment, confidence=confidence, shadow_models=shadow_models)
    if as_json:
        print(json.dumps(document(report), indent=2, ensure_ascii=False))  # noqa: T201 - the command's output
    else:
        _show(report)
    if report.is_contradicted:
        raise typer.Exit(1)


def document(report: AuditReport) -> dict[str, Any]:
    """kind ("audit"), verdict, contradicted, rounds, `claim` with its statement, `audit` (the bound and what it was made
    from), `membership` (null unless asked for), `reconstruction` (null without [evaluation.inversion])."""
    claim = {**asdict(report.claim), "epsilon": number(report.claim.epsilon), "statement": str(report.claim)}
    return {
        "kind": "audit",
        "verdict": report.verdict,
        "contradicted": report.is_contradicted,
        "rounds": report.rounds,
        "claim": claim,
        "audit": asdict(report.shown),
        "membership": None if report.membership is None else asdict(report.membership),
        "reconstruction": None if report.reconstruction is None else asdict(report.reconstruction),
    }


def _show(report: AuditReport) -> None:
    found, members, screen = report.shown, report.membership, console()
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row("claimed", str(report.claim))
    table.add_row("shown", f"ε ≥ {found.lower_bound:.2f} with confidence {100 * found.confidence:g} %, at the same δ")
    canaries, rounds = count(found.canaries, report.claim.unit), count(report.rounds, "round")
    table.add_row("canaries", f"{canaries}, each in or out by a fair coin, {rounds}")
    table.add_row("guesses", f"{found.correct:,} of {found.guesses:,} right; AUC {found.auc:.3f}")
    if members is not None:
        table.add_row("members by loss", f"AUC {members.by_loss:.3f}; {members.models} models, {members.samples:,} samples")
        if members.by_likelihood is not None:
            table.add_row("members by likelihood", f"AUC {members.by_likelihood:.3f}")
    if report.reconstruction is not None:
        table.add_row("images found", _found(report.reconstruction))
    screen.print(table)
    screen.print(Text(report.verdict), soft_wrap=True)


def _found(images: Reconstruction) -> str:
    if images.psnr is None:
        return f"client {images.client} could not be attacked in these rounds; phalanx run says why"
    return f"in an update of client {images.client}: {images.psnr:.1f} dB (mean image {images.baseline:.1f} dB)"
