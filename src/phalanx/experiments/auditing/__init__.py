"""Whether a private run keeps what it claims: played with canaries, judged by what comes out."""

from phalanx.experiments.auditing.audit import AuditReport, audit
from phalanx.experiments.auditing.membership import Membership, infer_membership
from phalanx.experiments.auditing.reconstruction import Reconstruction

__all__ = ["AuditReport", "Membership", "Reconstruction", "audit", "infer_membership"]
