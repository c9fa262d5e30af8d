"""How to run an experiment again where its config alone is not enough."""

from phalanx.config import Experiment
from phalanx.core.component import GIVEN_IN_PYTHON


def from_python(experiment: Experiment) -> str:
    """What a command could not run, and what can; empty if the config holds everything."""
    parts = [name for name in ("model", "data") if getattr(experiment, name).kind == GIVEN_IN_PYTHON]
    if not parts:
        return ""
    arguments = ", ".join(f"{part}=…" for part in parts)
    return f"its {' and '.join(parts)} came from Python, not from the config: phalanx.run(experiment, {arguments})"
