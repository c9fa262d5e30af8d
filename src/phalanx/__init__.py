"""Phalanx: secure, robust and private federated learning for PyTorch.

Names are loaded on first use: `import phalanx` itself costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phalanx.config import Experiment
    from phalanx.experiments import RunResult, SweepRecord, resume, run
    from phalanx.experiments import run_sweep as sweep

__all__ = ["Experiment", "RunResult", "SweepRecord", "__version__", "resume", "run", "sweep"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("phalanx")
    if name == "Experiment":
        from phalanx.config import Experiment

        return Experiment
    if name in ("RunResult", "SweepRecord", "resume", "run", "sweep"):
        from phalanx import experiments

        return getattr(experiments, "run_sweep" if name == "sweep" else name)
    raise AttributeError(f"module 'phalanx' has no attribute {name!r}")
