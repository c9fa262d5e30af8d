"""The check that a class named in a config exists in the data."""

from phalanx.core.errors import ConfigError


def require_class(who: str, num_classes: int, **named: int) -> None:
    """Raise ConfigError for the first of the named classes that is not in 0..num_classes − 1."""
    for name, label in named.items():
        if label >= num_classes:
            raise ConfigError(f"{who}.{name} must be one of the classes 0..{num_classes - 1}; got {label}.")
