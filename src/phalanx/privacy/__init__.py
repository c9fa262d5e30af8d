"""Differential privacy: mechanisms with a proof, what they cost, and what is said of it."""
