"""How a model and its updates travel: named arrays whose form is fixed before a byte of what a stranger sends is decoded.

A client answers in one of two ways. It sends the whole model back, as every stock Flower app does, in one record of any name;
or, as `client_app` does, its update alone: the record UPDATE with the differences of all trained parameters and, if the model
has float buffers, BUFFERS with these. The second is exact, smaller, and all that some trainers have.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
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
from phalanx.flower.form import LONGEST_HEADER, Form

UPDATE, BUFFERS = "phalanx.update", "phalanx.buffers"
FLOAT32 = np.dtype(np.float32)


@dataclass(frozen=True)
class Answer:
    """What a client sent, by the names that it has to have; its form is right, and nothing of it is decoded."""

    arrays: Mapping[str, Array]
    is_update: bool


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

    @cached_property
    def most_bytes(self) -> int:
        """More than all arrays of a well-formed answer take."""
        forms = [*self.forms.values(), *self._update_forms.values()]
        return sum(form.nbytes + LONGEST_HEADER for form in forms)

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

    def checked(self, content: RecordDict) -> Answer | str:
        """A client's answer, or the first thing that is wrong with its form. No array is decoded."""
        records = {name: record for name, record in content.items() if isinstance(record, ArrayRecord)}
        is_update = UPDATE in records
        if is_update and records.keys() <= {UPDATE, BUFFERS}:
            found = {f"{key}/{name}": array for key, record in records.items() for name, array in record.items()}
        elif not is_update and len(records) == 1:
            found = dict(next(iter(records.values())).items())
        else:
            return "wrong records"
        forms = self._update_forms if is_update else self.forms
        if found.keys() != forms.keys():
            return "missing or extra tensor"
        reasons = (form.malformation(found[name]) for name, form in forms.items())
        return next(filter(None, reasons), None) or Answer(found, is_update)

    def read_into(self, answer: Answer, rows: Rows, place: int, params: Tensor) -> str | None:
        """Write an answer into a row; what is wrong with its bytes, or None. `params` `[d]`: what its client was given."""
        forms = self._update_forms if answer.is_update else self.forms
        read = dict[str, NDArray[np.generic]]()
        for name in forms.keys() - self.resting.keys():
            numbers = forms[name].read(answer.arrays[name])
            if numbers is None:
                return "wrong bytes"
            read[name] = numbers
        row, values, sent = rows.matrix[place].numpy(), rows.buffers[place].numpy(), params.numpy()
        with np.errstate(all="ignore"):  # what does not fit into float32 becomes infinite, and screening drops it
            for slot in self.layout.parameters:
                part = slice(slot.start, slot.stop)
                if answer.is_update:
                    np.copyto(row[part].reshape(slot.shape), read[f"{UPDATE}/{slot.name}"])
                    continue
                before, after = sent[part].reshape(slot.shape), row[part].reshape(slot.shape)
                np.subtract(read[slot.name], before, out=after, casting="same_kind")
            for slot in self.layout.buffers:
                name = f"{BUFFERS}/{slot.name}" if answer.is_update else slot.name
                np.copyto(values[slot.start : slot.stop].reshape(slot.shape), read[name], casting="same_kind")
        return None

    def update(self, row: Tensor, buffers: Tensor) -> RecordDict:
        """An update `[d]` and buffers `[b]` as a client sends them."""
        content = RecordDict({UPDATE: _record(self.layout.views(row))})
        if self.layout.b:
            content[BUFFERS] = _record(self.layout.buffer_views(buffers))
        return content

    @cached_property
    def _update_forms(self) -> dict[str, Form]:
        slots = {UPDATE: self.layout.parameters, BUFFERS: self.layout.buffers}
        return {f"{record}/{slot.name}": Form(slot.shape, FLOAT32) for record in slots for slot in slots[record]}


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
