"""What a tracker needs before a run may start: its package, and a place to write to."""

from importlib.util import find_spec
from pathlib import Path

from phalanx.core.errors import ConfigError


def require_package(kind: str, package: str) -> None:
    """Raises: ConfigError if the package is not installed. It is looked for, not imported."""
    if find_spec(package) is None:
        raise ConfigError(f"tracking by {kind} needs the package {package}; in a clone: pip install '.[tracking]'")


def require_place(kind: str, folder: Path | None, given: str | None, field: str) -> None:
    """Raises: ConfigError if there is neither a run folder nor a place of the tracker's own."""
    if folder is None and given is None:
        raise ConfigError(f"tracking by {kind} writes into the run folder, and this run has none; set {field}, or out=….")
