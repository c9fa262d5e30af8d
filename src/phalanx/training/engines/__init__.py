"""How gradients of many clients are computed. `loop` is the oracle, the others agree with it to rounding."""
