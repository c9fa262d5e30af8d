"""The round that laws put around bare rows for rules that need a model or root data."""

import pytest
import torch

from phalanx.aggregators import Krum, MoNNA
from phalanx.core.params import Layout
from phalanx.testing.scenes import context_for


@pytest.mark.parametrize("d", [1, 2, 3, 5, 8])
def test_the_model_has_as_many_parameters_as_the_rows_and_the_root_update_fits(d: int) -> None:
    context = context_for(MoNNA(num_byzantine=1), torch.zeros(4, d))
    assert context.model is not None
    assert context.root is not None
    assert Layout.of(context.model) == context.layout
    assert context.layout.d == d
    assert context.root.update().shape == (d,)
    assert context.model(context.root.samples.images).shape == (8, context.root.samples.num_classes)


def test_the_servers_update_descends_on_its_data() -> None:
    context = context_for(MoNNA(num_byzantine=1), torch.zeros(4, 8))
    assert context.root is not None
    images, labels = context.root.samples.images, context.root.samples.labels
    # By hand: at zero both classes have probability 1/2.
    residual = 0.5 - torch.nn.functional.one_hot(labels, 2)
    expected = torch.cat([(residual.T @ images).flatten(), residual.sum(dim=0)]) / len(labels) * -0.5
    torch.testing.assert_close(context.root.update(), expected)


def test_a_rule_that_needs_only_rows_gets_only_rows() -> None:
    context = context_for(Krum(num_byzantine=1), torch.zeros(4, 8))
    assert context.model is None
    assert context.root is None
