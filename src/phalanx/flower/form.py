"""`Form`: what an array has to look like, told before a byte of what a stranger sends is decoded.

Nothing is parsed: an array's bytes must begin with the header that its declared shape and dtype have, to the letter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Literal, Self

import numpy as np
from flwr.app import Array
from numpy.typing import NDArray

from phalanx.core.errors import ConfigError

MAGIC = b"\x93NUMPY\x01\x00"
LONGEST_HEADER = 10 + 2**16
MOST_DIMENSIONS = 64  # numpy's own limit
SERIALISATION = "numpy.ndarray"


@dataclass(frozen=True)
class Form:
    """A shape and a dtype. What follows from them is worked out once: a round compares thousands of arrays."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @classmethod
    def of(cls, array: Array) -> Self:
        """The form that an array of our own declares. Raises: ConfigError if numpy does not know its dtype."""
        try:
            return cls(tuple(array.shape), np.dtype(array.dtype))
        except TypeError:
            raise ConfigError(f"The model must be made of numpy arrays; got one of dtype {array.dtype!r}.") from None

    @cached_property
    def nbytes(self) -> int:
        """How many bytes its numbers take."""
        return prod(self.shape) * self.dtype.itemsize

    def malformation(self, array: Array) -> str | None:
        """The first thing that is wrong with what an array declares, or with the number of its bytes; None if nothing is."""
        if tuple(array.shape) != self.shape:
            # Of a shape with a million dimensions nobody works out the product.
            is_reordered = len(array.shape) <= MOST_DIMENSIONS and prod(array.shape) == prod(self.shape)
            return "wrong shape" if is_reordered else "wrong size"
        if array.dtype != self._dtype_name or array.stype != SERIALISATION:
            return "wrong dtype"
        return None if self.nbytes < len(array.data) <= self.nbytes + LONGEST_HEADER else "wrong number of bytes"

    def read(self, array: Array) -> NDArray[np.generic] | None:
        """The numbers as a view of an array's bytes; None if these are not what the array declares."""
        data = array.data
        start = 10 + int.from_bytes(data[8:10], "little")
        order = self._orders.get(data[10:start].strip())
        if order is None or data[:8] != MAGIC or len(data) - start != self.nbytes:
            return None
        return np.frombuffer(data, self.dtype, offset=start).reshape(self.shape, order=order)

    @cached_property
    def _dtype_name(self) -> str:
        return str(self.dtype)

    @cached_property
    def _orders(self) -> Mapping[bytes, Literal["C", "F"]]:
        """The two headers that there may be."""

        def header(*, is_fortran: bool) -> bytes:
            return f"{{'descr': '{self.dtype.str}', 'fortran_order': {is_fortran}, 'shape': {self.shape}, }}".encode()

        return {header(is_fortran=True): "F", header(is_fortran=False): "C"}
