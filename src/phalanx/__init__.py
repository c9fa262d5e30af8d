"""Phalanx: secure, robust and private federated learning for PyTorch.

Names are loaded on first use: `import phalanx` itself costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phalanx.config import Experiment
    from phalanx.experiments import RunResult, resume, run

__all__ = ["Experiment", "RunResult", "__version__", "resume", "run"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("phalanx")
    if name == "Experiment":
        from phalanx.config import Experiment

        return Experiment
    if name in ("RunResult", "resume", "run"):
        from phalanx import experiments

        return getattr(experiments, name)
    raise AttributeError(f"module 'phalanx' has no attribute {name!r}")
