"""Flat vectors and modules: what travels, where it lies, and that nothing is lost on the way."""

import copy

import pytest
import torch
from torch import nn

from phalanx.core.errors import ConfigError
from phalanx.core.params import Layout, evaluating, flatten, float_buffers, load, trainable


class Scale(nn.Module):
    """One number for all: a parameter without dimensions."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("scratch", torch.ones(3), persistent=False)

    def forward(self, x):
        return self.factor * x


def tied():
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    return module


def frozen():
    module = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    module[0].requires_grad_(False)
    return module


def channels_last():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).to(memory_format=torch.channels_last)


MODULES = {
    "linear": (lambda: nn.Linear(3, 2), 8, 0),
    "batch norm": (lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), 12, 4),
    "batch norm without its affine part": (lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, affine=False)), 8, 4),
    "group norm": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4)), 48, 0),
    "tied": (tied, 15, 0),
    "frozen": (frozen, 6, 0),
    "channels last": (channels_last, 3 * 2 * 9 + 3 + 6, 6),
    "scalar": (Scale, 1, 0),
    "double": (lambda: nn.Linear(3, 2).double(), 8, 0),
}


@pytest.fixture(params=MODULES.values(), ids=MODULES.keys())
def case(request):
    build, d, b = request.param
    torch.manual_seed(0)
    return build(), d, b


def test_the_layout_counts_what_travels(case):
    module, d, b = case
    layout = Layout.of(module)
    assert (layout.d, layout.b) == (d, b)
    assert [vector.shape for vector in flatten(module)] == [(d,), (b,)]


def test_a_module_loads_back_what_was_flattened(case):
    module, d, b = case
    parameters, buffers = torch.linspace(-1, 1, d), torch.linspace(1, 2, b)
    load(module, parameters, buffers)
    back = flatten(module)
    assert torch.equal(back[0], parameters)
    assert torch.equal(back[1], buffers)


def test_a_slot_holds_the_tensor_of_its_name(case):
    module, _, _ = case
    layout, (parameters, buffers) = Layout.of(module), flatten(module)
    views, buffer_views = layout.views(parameters), layout.buffer_views(buffers)
    assert views.keys() == trainable(module).keys()
    assert buffer_views.keys() == float_buffers(module).keys()
    for name, tensor in [*trainable(module).items(), *float_buffers(module).items()]:
        assert torch.equal((views | buffer_views)[name], tensor.detach().float())


def test_slots_fill_the_vector_without_gap_or_overlap(case):
    module, d, b = case
    layout = Layout.of(module)
    for slots, total in ((layout.parameters, d), (layout.buffers, b)):
        borders = [0, *[slot.stop for slot in slots]]
        assert [slot.start for slot in slots] == borders[:-1]
        assert borders[-1] == total


def test_views_share_the_memory_of_one_vector_and_of_many_rows(case):
    module, d, _ = case
    layout = Layout.of(module)
    for flat in (torch.zeros(d), torch.zeros(3, d), torch.zeros(5, d + 2)[1:4, :d]):
        for view in layout.views(flat).values():
            view.add_(1)
        assert torch.equal(flat, torch.ones_like(flat))


def test_flatten_copies(case):
    module, _, _ = case
    before = copy.deepcopy(module.state_dict())
    for vector in flatten(module):
        vector.fill_(7)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_load_copies_and_keeps_dtype_and_memory_format(case):
    module, d, _ = case
    strides = [tensor.stride() for tensor in module.parameters()]
    dtypes = [tensor.dtype for tensor in module.parameters()]
    vector = torch.ones(d)
    load(module, vector)
    vector.zero_()
    assert all(tensor.eq(1).all() for tensor in trainable(module).values())
    assert [tensor.stride() for tensor in module.parameters()] == strides
    assert [tensor.dtype for tensor in module.parameters()] == dtypes
    assert all(tensor.requires_grad for tensor in trainable(module).values())


def test_frozen_parameters_and_integer_buffers_stay():
    module = nn.Sequential(frozen(), nn.BatchNorm1d(2))
    module[1].num_batches_tracked.fill_(5)
    kept = module[0][0].weight.clone()
    layout = Layout.of(module)
    load(module, torch.zeros(layout.d), torch.zeros(layout.b))
    assert torch.equal(module[0][0].weight, kept)
    assert module[1].num_batches_tracked == 5
    assert "1.num_batches_tracked" not in [slot.name for slot in layout.buffers]


def test_buffers_that_are_not_saved_do_not_travel():
    assert Layout.of(Scale()).buffers == ()


def test_buffers_are_left_alone_if_only_parameters_are_loaded():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    module[1].running_mean.fill_(3)
    load(module, torch.zeros(Layout.of(module).d))
    assert module[1].running_mean.tolist() == [3, 3]


def test_normalisation_is_marked():
    layout = Layout.of(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.LayerNorm(4), nn.Linear(1, 1)))
    marked = {slot.name.split(".")[0] for slot in (*layout.parameters, *layout.buffers) if slot.is_normalisation}
    assert marked == {"1", "2"}


def test_layouts_are_values_and_a_bare_vector_has_one():
    assert Layout.of(nn.Linear(3, 2)) == Layout.of(nn.Linear(3, 2)) != Layout.of(nn.Linear(2, 3))
    assert (Layout.flat(7).d, Layout.flat(7).b) == (7, 0)


@pytest.mark.parametrize("shape", [(7,), (9,), (1, 8), (8, 1), (0,), ()])
def test_a_vector_of_another_length_is_refused(shape):
    with pytest.raises(ConfigError, match=r"The module has 8 parameters; got a tensor of shape \["):
        load(nn.Linear(3, 2), torch.zeros(shape))


def test_buffers_of_another_length_are_refused():
    with pytest.raises(ConfigError, match="The module has 4 buffer values"):
        load(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), torch.zeros(12), torch.zeros(5))


@pytest.mark.parametrize("module", [nn.ReLU(), nn.Linear(2, 2).requires_grad_(False)])
def test_a_model_with_nothing_to_train_is_refused(module):
    with pytest.raises(ConfigError, match="no trainable parameter"):
        Layout.of(module)


def test_a_module_is_evaluated_and_then_in_the_modes_it_was_in() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())
    module.train()[1].eval()
    with evaluating(module):
        assert not any(part.training for part in module.modules())
    with pytest.raises(ZeroDivisionError), evaluating(module):
        raise ZeroDivisionError
    assert [part.training for part in module.modules()] == [True, True, False, True]
