"""Whether a private run keeps what it claims: played with canaries, judged by what comes out."""

from phalanx.experiments.auditing.audit import AuditReport, audit

__all__ = ["AuditReport", "audit"]
