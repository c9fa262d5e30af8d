"""The ranges that fields of components have, each under one name.

A config's floats are float64, the tensors that they meet float32: what float32 cannot hold is infinite or zero there, or an
error deep in torch. So a field that meets tensors has one of the `…Float32` types.
"""

from typing import Annotated

from pydantic import Field

LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127
SMALLEST_FLOAT32 = 2.0**-126

Float32 = Annotated[float, Field(ge=-LARGEST_FLOAT32, le=LARGEST_FLOAT32)]
PositiveFloat32 = Annotated[float, Field(ge=SMALLEST_FLOAT32, le=LARGEST_FLOAT32)]
NonNegativeFloat32 = Annotated[float, Field(ge=0, le=LARGEST_FLOAT32)]
Share = Annotated[float, Field(gt=0, le=1)]
"""Of a whole; nothing is no share."""
Probability = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
"""How much of its past a running sum or mean keeps."""
