"""Laws and conformance cases for anyone's rule, and faulty clients to try it with."""

from phalanx.testing.check import check_aggregator
from phalanx.testing.examples import AGGREGATORS, AggregatorExample
from phalanx.testing.faulty import FAULTS, faulty_rows
from phalanx.testing.kappa import Worst, worst_kappa
from phalanx.testing.laws import LAWS

__all__ = ["AGGREGATORS", "FAULTS", "LAWS", "AggregatorExample", "Worst", "check_aggregator", "faulty_rows", "worst_kappa"]
