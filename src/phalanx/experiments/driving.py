"""`drive`: the rounds of a run, one after the other, with whatever may end them early."""

import shlex
import time
from collections.abc import Sequence
from typing import Any

from phalanx.core.errors import PrivacyBudgetExhausted, Stopped
from phalanx.core.events import Sink
from phalanx.experiments.folder import RunFolder
from phalanx.experiments.signals import Signalled, stop_signals
from phalanx.experiments.watching import told_of_searches
from phalanx.simulation import FederationState, Simulation


def drive(
    simulation: Simulation, state: FederationState, folder: RunFolder | None, listeners: Sequence[Sink]
) -> tuple[FederationState, dict[str, Any]]:
    """All rounds that are left, and what the result says of an early end. A stop signal saves the last finished round."""
    run, every = simulation.experiment.run, simulation.experiment.evaluation.every
    ending: dict[str, Any] = {}
    # State and events change hands in one assignment, so that a signal at any moment finds them in step.
    done = (state, folder.position() if folder else {})
    saved = time.monotonic()
    try:
        with stop_signals():
            try:
                while done[0].round < run.rounds:
                    following, event = simulation.step(done[0])
                    if folder and simulation.accounts:
                        folder.ledger.write(simulation.accounts.receipt(done[0], following))
                    last = following.round == run.rounds
                    events = [event]
                    if (found := simulation.invert(done[0], watch=told_of_searches(listeners))) is not None:
                        told, pictures = found
                        events.append(told)
                        if folder and pictures is not None:
                            folder.keep(pictures)
                    if last or (every and following.round % every == 0):
                        events.append(simulation.evaluate(following))
                    for event in events:
                        for listener in listeners:
                            listener.emit(event)
                    done = (following, folder.position() if folder else {})
                    if folder and (last or time.monotonic() - saved >= run.checkpoint_seconds):
                        folder.save(*done)
                        saved = time.monotonic()
            except PrivacyBudgetExhausted as reason:
                ending = {"stopped": str(reason)}
                if folder:
                    folder.save(*done)
                if not every or done[0].round % every:
                    event = simulation.evaluate(done[0])
                    for listener in listeners:
                        listener.emit(event)
            except Signalled:
                if folder:
                    folder.save(*done)
                raise
    except Signalled as stop:
        if folder is None:
            raise KeyboardInterrupt from None
        reached = f"Stopped after round {done[0].round} of {run.rounds}; nothing is lost."
        raise Stopped(
            f"{reached} Go on with: phalanx resume {shlex.quote(str(folder.path))}", exit_code=128 + stop.number
        ) from None
    return done[0], ending
