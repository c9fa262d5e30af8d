"""What a component says of itself is read off its class, whole."""

import pytest

from phalanx.aggregators import Flame, Krum, NormClipping
from phalanx.attacks import ALittleIsEnough
from phalanx.attacks.update import ModelReplacement
from phalanx.cli.describing import describe, toml, type_name
from phalanx.core.numbers import Float32, Momentum, NonNegativeFloat32, PositiveFloat32
from phalanx.training import SGD, WorkerMomentum


def test_a_docstring_comes_apart_into_summary_text_reference_and_conditions():
    krum = describe(Krum)
    assert krum.summary.startswith("The row with the smallest sum")
    assert "learns slowly" in krum.text
    assert ">>>" not in krum.text
    assert krum.reference.endswith("(arXiv 1703.02757), Section 4.")
    assert krum.raises == "PreconditionError unless n >= 2f + 3."
    assert describe(WorkerMomentum).differs.startswith("momentum of a round's whole update")
    assert describe(NormClipping).differs == "the quantile, which needs no knowledge of honest norms."


def test_fields_have_types_ranges_defaults_and_what_is_said_below_them():
    lr = {field.name: field for field in describe(SGD).fields}["lr"]
    assert (lr.type, lr.is_required) == ("0 < float <= 1e+06", True)
    space, noise = describe(Flame).fields
    assert (space.type, space.default) == ('"model" | "update"', "model")
    assert (noise.type, noise.default) == ("flame_noise", {"kind": "paper"})
    knowledge, z = describe(ALittleIsEnough).fields
    assert knowledge.text.startswith("Whose rows count as honest")  # written in a base class
    assert (z.type, z.default) == ("float, optional", None)
    assert describe(ModelReplacement).fields[0].text == "The server's step, as the attackers know or guess it."


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Float32, "float"),
        (PositiveFloat32, "float > 0"),
        (NonNegativeFloat32, "float >= 0"),
        (Momentum, "0 <= float < 1"),
        (str, "text"),
    ],
)
def test_the_borders_of_float32_are_no_range(annotation, expected):
    assert type_name(annotation) == expected


def test_defaults_are_written_as_in_toml():
    assert toml({"kind": "sgd", "lr": 0.5, "on": False, "hooks": []}) == '{ kind = "sgd", lr = 0.5, on = false, hooks = [] }'
