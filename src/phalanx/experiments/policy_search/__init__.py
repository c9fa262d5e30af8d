"""The search for transformation policies: random triples, each scored by what it hides and by what it costs."""

from phalanx.experiments.policy_search.record import PolicyRecord, ScoredPolicy
from phalanx.experiments.policy_search.scorer import PolicyScorer
from phalanx.experiments.policy_search.search import Found, search_policies

__all__ = ["Found", "PolicyRecord", "PolicyScorer", "ScoredPolicy", "search_policies"]
