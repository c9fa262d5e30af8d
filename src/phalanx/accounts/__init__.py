"""What a private run promises and has spent: the same books for the simulator and for Flower."""

from phalanx.accounts.accounts import Accounts

__all__ = ["Accounts"]
