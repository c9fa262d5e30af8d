"""What strangers send never changes what the honest ones make: bit for bit, under every rule."""

import pytest
import torch
from torch import nn

from phalanx.core.params import Layout
from phalanx.core.types import Root, RoundContext, Samples
from phalanx.server import Screening, receive
from phalanx.testing import AGGREGATORS
from phalanx.testing.replies import honest_replies, malformed_replies

MODEL = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
LAYOUT = Layout.of(MODEL)
ROOT = Root(Samples(torch.arange(48.0).view(8, 6) / 48, torch.arange(8) % 3, 3), lambda: torch.linspace(-0.1, 0.1, LAYOUT.d))
RULES = [example.rule for example in AGGREGATORS]


def outcome(replies, rule):
    """What the server makes of replies: the update's bytes, and the rejections."""
    rows, ids, malformed = receive(replies, LAYOUT)
    updates, rejected = Screening().screen(rows, ids, torch.ones(len(ids)))
    known = {"model": MODEL, "root": ROOT, "input_shape": (6,)}
    context = RoundContext(0, 0, LAYOUT, torch.zeros(LAYOUT.d), torch.zeros(LAYOUT.b), **known)
    aggregate, _ = rule.aggregate(updates, rule.init(LAYOUT), context)
    return aggregate.update.numpy().tobytes(), [*malformed, *rejected]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_a_malformed_reply_is_dropped_counted_and_leaves_the_rest_bit_equal(rule, count):
    honest = honest_replies(LAYOUT, 11)
    expected, none = outcome(honest, rule)
    assert none == []
    for reason, bad, place in malformed_replies(LAYOUT, honest, count):
        update, rejected = outcome([*honest[:place], bad, *honest[place:]], rule)
        assert update == expected, reason
        assert [rejection.reason for rejection in rejected] == [reason]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_what_a_client_claims_about_itself_changes_nothing(rule):
    honest = honest_replies(LAYOUT, 11)
    expected, _ = outcome(honest, rule)
    for claim in (-1.0, 0.0, float("nan"), float("inf"), 1e12):
        liar = type(honest[4])(
            honest[4].client, honest[4].parameters, honest[4].buffers, {"num_examples": claim, "loss": claim}
        )
        assert outcome([*honest[:4], liar, *honest[5:]], rule) == (expected, [])
