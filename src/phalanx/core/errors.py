"""The one tree of errors: every message says which rule was broken, what came, and the way out."""


class PhalanxError(Exception):
    """Root of all errors that Phalanx raises on purpose; the command line prints it as one sentence."""


class ConfigError(PhalanxError, ValueError):
    """A setting is unknown, of the wrong type or out of range. Raised before any work starts."""


class DataError(PhalanxError):
    """A data set is missing, damaged or cannot be split as asked."""


class PreconditionError(PhalanxError, ValueError):
    """A rule got rows that it has no guarantee for, such as too few of them."""


class CapabilityError(PhalanxError):
    """A component needs something that this federation cannot give, such as trusted root data."""


class CheckpointError(PhalanxError):
    """A run folder or checkpoint is damaged, foreign, in use or cannot be written."""


class WorkerError(PhalanxError):
    """A training worker died; the run stands at its last checkpoint."""


class FederationError(PhalanxError):
    """Too few nodes of a real federation are there, or what is sent to them does not arrive."""


class PrivacyBudgetExhausted(PhalanxError):
    """The next round would cost more privacy than the run may spend; the model is the last one that was paid for."""


class Stopped(PhalanxError):
    """The run was asked to stop (Ctrl-C, SIGTERM) and has saved what it had."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
