"""Whether a private run keeps what it claims: played with canaries, judged by what comes out."""

from phalanx.experiments.auditing.audit import AuditReport, audit
from phalanx.experiments.auditing.membership import Membership, infer_membership

__all__ = ["AuditReport", "Membership", "audit", "infer_membership"]
