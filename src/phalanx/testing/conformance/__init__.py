"""Conformance: does an implementation of a method do what its paper says, and stand what servers meet?

Runs on any callable `[n, d] -> [d]`: ours, another library's, yours.
"""

from phalanx.testing.conformance.cases import CASES, Subject
from phalanx.testing.conformance.libraries import LIBRARIES, library_version
from phalanx.testing.conformance.references import REFERENCES
from phalanx.testing.conformance.run import Outcome, conformance, run_case

__all__ = ["CASES", "LIBRARIES", "REFERENCES", "Outcome", "Subject", "conformance", "library_version", "run_case"]
