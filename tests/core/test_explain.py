"""A near miss is named, and what is allowed always."""

import pytest
from pydantic import TypeAdapter, ValidationError

from phalanx.core.explain import explain, nearest
from phalanx.core.numbers import Float32, PositiveFloat32


@pytest.mark.parametrize(
    ("name", "allowed", "sentence"),
    [
        ("krun", ["krum", "mean"], "; did you mean 'krum'? Allowed: krum, mean."),
        ("zzz", ["krum", "mean"], ". Allowed: krum, mean."),
        ("", {"krum": 1}, ". Allowed: krum."),
        ("anything", [], ". Allowed: nothing."),
    ],
)
def test_the_nearest_name_is_offered_if_there_is_one(name, allowed, sentence):
    assert nearest(name, allowed) == sentence


@pytest.mark.parametrize(
    ("range_", "value", "sentence"),
    [
        (PositiveFloat32, -1, "lr: input should be positive (float32: at least 1.2e-38); got -1."),
        (PositiveFloat32, 1e39, "lr: input should be at most 3.4e38, the largest number of float32; got 1e+39."),
        (Float32, -1e39, "lr: input should be at least -3.4e38, the lowest number of float32; got -1e+39."),
        (PositiveFloat32, "a", "lr: input should be a valid number, unable to parse string as a number; got 'a'."),
    ],
)
def test_a_bound_of_float32_is_told_in_few_digits(range_, value, sentence):
    with pytest.raises(ValidationError) as error:
        TypeAdapter(range_).validate_python(value)
    assert explain(error.value, prefix="lr") == sentence
