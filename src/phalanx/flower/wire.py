"""How a model and its updates travel: named arrays whose form is fixed before a byte of what a stranger sends is decoded.

A client answers in one of two ways. It sends the whole model back, as every stock Flower app does, in one record of any name;
or, as `client_app` does, its update alone: the record UPDATE with the differences of all trained parameters and, if the model
has float buffers, BUFFERS with these. The second is exact, smaller, and all that some trainers have.

Nothing is parsed: an array's bytes must begin with the header that its declared shape and dtype have, to the letter.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, RecordDict
from numpy.typing import NDArray
from torch import Tensor, nn

from phalanx.core.errors import ConfigError
from phalanx.core.params import Layout, Slot
from phalanx.core.types import Rows

UPDATE, BUFFERS = "phalanx.update", "phalanx.buffers"
MAGIC = b"\x93NUMPY\x01\x00"
LONGEST_HEADER = 10 + 2**16
MOST_DIMENSIONS = 64  # numpy's own limit
SERIALISATION = "numpy.ndarray"
FLOAT32 = np.dtype(np.float32)


@dataclass(frozen=True)
class Form:
    """What an array has to look like."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @classmethod
    def of(cls, array: Array) -> Self:
        """The form that an array of our own declares. Raises: ConfigError if numpy does not know its dtype."""
        try:
            return cls(tuple(array.shape), np.dtype(array.dtype))
        except TypeError:
            raise ConfigError(f"The model must be made of numpy arrays; got one of dtype {array.dtype!r}.") from None

    @property
    def nbytes(self) -> int:
        """How many bytes its numbers take."""
        return prod(self.shape) * self.dtype.itemsize

    def malformation(self, array: Array) -> str | None:
        """The first thing that is wrong with what an array declares, or with the number of its bytes; None if nothing is."""
        if tuple(array.shape) != self.shape:
            # Of a shape with a million dimensions nobody works out the product.
            is_reordered = len(array.shape) <= MOST_DIMENSIONS and prod(array.shape) == prod(self.shape)
            return "wrong shape" if is_reordered else "wrong size"
        if array.dtype != str(self.dtype) or array.stype != SERIALISATION:
            return "wrong dtype"
        return None if self.nbytes < len(array.data) <= self.nbytes + LONGEST_HEADER else "wrong number of bytes"

    def read(self, array: Array) -> NDArray[np.generic] | None:
        """The numbers as a view of an array's bytes; None if these are not what the array declares."""
        data = array.data
        start = 10 + int.from_bytes(data[8:10], "little")
        header = data[10:start].strip()
        is_fortran = header == self._header(is_fortran=True)
        is_known = is_fortran or header == self._header(is_fortran=False)
        if data[:8] != MAGIC or not is_known or len(data) - start != self.nbytes:
            return None
        return np.frombuffer(data, self.dtype, offset=start).reshape(self.shape, order="F" if is_fortran else "C")

    def _header(self, *, is_fortran: bool) -> bytes:
        return f"{{'descr': '{self.dtype.str}', 'fortran_order': {is_fortran}, 'shape': {self.shape}, }}".encode()


@dataclass(frozen=True)
class Wire:
    """The form of a federation's messages, taken from the initial model.

    `layout` says which arrays are trained (and which are float buffers, if a module was given), `forms` what all of them look
    like, `resting` are those that never change (integers, frozen parameters), `tied` those that are another one's second name.
    """

    layout: Layout
    forms: Mapping[str, Form]
    resting: Mapping[str, Array]
    tied: Mapping[str, str]

    @classmethod
    def of(cls, arrays: ArrayRecord, model: nn.Module | None = None) -> Self:
        """The form of messages that carry this model. Without a module every floating-point array is trained.

        Raises: ConfigError if the arrays are not those of the module's state, or none can be trained.
        """
        forms = {name: Form.of(array) for name, array in arrays.items()}
        layout, tied = _without_module(forms) if model is None else _of_module(forms, model)
        for slot in (*layout.parameters, *layout.buffers):
            if forms[slot.name].dtype not in (np.float32, np.float64):
                raise ConfigError(f"The model must be in float32 or float64; {slot.name} is {forms[slot.name].dtype}.")
        moving = {slot.name for slot in (*layout.parameters, *layout.buffers)} | tied.keys()
        return cls(layout, forms, {name: array for name, array in arrays.items() if name not in moving}, tied)

    def flat(self, arrays: ArrayRecord) -> tuple[Tensor, Tensor]:
        """A model of our own as flat parameters `[d]` and buffers `[b]`.

        Raises: ConfigError if it is not the one that this wire was made for.
        """
        params, buffers = torch.empty(self.layout.d), torch.empty(self.layout.b)
        for slots, vector in ((self.layout.parameters, params), (self.layout.buffers, buffers)):
            for slot in slots:
                form = self.forms[slot.name]
                numbers = form.read(arrays[slot.name]) if slot.name in arrays else None
                if numbers is None:
                    raise ConfigError(
                        f"The model's array {slot.name!r} must stay of shape {list(form.shape)} and {form.dtype}."
                    )
                np.copyto(slot.view(vector).numpy(), numbers, casting="same_kind")
        return params, buffers

    def arrays(self, params: Tensor, buffers: Tensor) -> ArrayRecord:
        """The whole model as it travels to clients."""
        record, flat = dict(self.resting), {**self.layout.views(params), **self.layout.buffer_views(buffers)}
        for name, tensor in flat.items():
            record[name] = Array(tensor.detach().cpu().numpy().astype(self.forms[name].dtype))
        record |= {name: record[first] for name, first in self.tied.items()}
        return ArrayRecord({name: record[name] for name in self.forms})

    def malformation(self, content: RecordDict) -> str | None:
        """The first thing that is wrong with the form of a client's answer, or None. No array is decoded."""
        expected, found = self._expected(content)
        if found is None:
            return "wrong records"
        if found.keys() != expected.keys():
            return "missing or extra tensor"
        return next((reason for name, form in expected.items() if (reason := form.malformation(found[name]))), None)

    def read_into(self, content: RecordDict, rows: Rows, place: int, params: Tensor) -> str | None:
        """Write a well-formed answer into a row; what is wrong with its bytes, or None. `params` `[d]`: what it was given."""
        forms, found = self._expected(content)
        assert found is not None  # malformation came first
        is_update = UPDATE in content
        read = dict[str, NDArray[np.generic]]()
        for name, form in forms.items():
            if name not in self.resting and (numbers := form.read(found[name])) is not None:
                read[name] = numbers
        if read.keys() != forms.keys() - self.resting.keys():
            return "wrong bytes"
        with np.errstate(all="ignore"):  # what does not fit into float32 becomes infinite, and screening drops it
            for slot in self.layout.parameters:
                row = slot.view(rows.matrix[place]).numpy()
                if is_update:
                    np.copyto(row, read[f"{UPDATE}/{slot.name}"])
                else:
                    np.subtract(read[slot.name], slot.view(params).numpy(), out=row, casting="same_kind")
            for slot in self.layout.buffers:
                values = read[f"{BUFFERS}/{slot.name}" if is_update else slot.name]
                np.copyto(slot.view(rows.buffers[place]).numpy(), values, casting="same_kind")
        return None

    def update(self, row: Tensor, buffers: Tensor) -> RecordDict:
        """An update `[d]` and buffers `[b]` as a client sends them."""
        content = RecordDict({UPDATE: _record(self.layout.views(row))})
        if self.layout.b:
            content[BUFFERS] = _record(self.layout.buffer_views(buffers))
        return content

    def _expected(self, content: RecordDict) -> tuple[dict[str, Form], dict[str, Array] | None]:
        """The forms that the arrays of this answer must have, and its arrays; None if there are records beside them."""
        records = dict(content.array_records.items())
        if UPDATE not in records:
            model = next(iter(records.values()), None)
            return dict(self.forms), None if model is None or len(records) > 1 else dict(model)
        slots = {UPDATE: self.layout.parameters, BUFFERS: self.layout.buffers}
        expected = {f"{record}/{slot.name}": Form(slot.shape, FLOAT32) for record in slots for slot in slots[record]}
        if not records.keys() <= slots.keys():
            return expected, None
        return expected, {f"{key}/{name}": array for key, record in records.items() for name, array in record.items()}


def _record(tensors: Mapping[str, Tensor]) -> ArrayRecord:
    return ArrayRecord({name: Array(tensor.detach().cpu().numpy()) for name, tensor in tensors.items()})


def _without_module(forms: Mapping[str, Form]) -> tuple[Layout, dict[str, str]]:
    def slots() -> Iterator[Slot]:
        start = 0
        for name, form in forms.items():
            if np.issubdtype(form.dtype, np.inexact):
                yield Slot(name, form.shape, start, start + prod(form.shape))
                start += prod(form.shape)

    trained = tuple(slots())
    if not trained or not trained[-1].stop:
        raise ConfigError("The initial model holds no floating-point array: there is nothing to train.")
    return Layout(trained), {}


def _of_module(forms: Mapping[str, Form], model: nn.Module) -> tuple[Layout, dict[str, str]]:
    expected = {name: Form(tuple(tensor.shape), tensor.numpy().dtype) for name, tensor in model.state_dict().items()}
    if expected != dict(forms):
        wrong = sorted(name for name in expected.keys() | forms.keys() if expected.get(name) != forms.get(name))
        raise ConfigError(
            f"The initial model is not the state of `model`: {', '.join(wrong[:3])} differ. "
            "Give ArrayRecord(model.state_dict()) and the same module."
        )
    layout = Layout.of(model)
    first = {id(tensor): name for name, tensor in model.named_parameters()}
    names = dict(model.named_parameters(remove_duplicate=False))
    trained = {slot.name for slot in layout.parameters}
    tied = {name: first[id(tensor)] for name, tensor in names.items() if first[id(tensor)] != name}
    return layout, {name: other for name, other in tied.items() if other in trained}
