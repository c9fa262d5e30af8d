"""The output layer of a model, for rules that look at what clients changed there."""

from torch import nn

from phalanx.core.errors import ConfigError
from phalanx.core.params import Layout, Slot


def output_layer(model: nn.Module, who: str) -> tuple[Slot, Slot | None]:
    """Where weight `[C, F]` and bias `[C]` of the model's last `nn.Linear` lie in a row; no bias: None.

    Raises: ConfigError without a linear layer whose weight is trained.
    """
    names = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    slots = {slot.name: slot for slot in Layout.of(model).parameters}
    prefix = f"{names[-1]}." if names and names[-1] else ""
    if not names or f"{prefix}weight" not in slots:
        raise ConfigError(
            f"{who} looks at the output layer, the last nn.Linear of the model with a trained weight; "
            f"{type(model).__name__} has none. Give it one, or choose another rule."
        )
    return slots[f"{prefix}weight"], slots.get(f"{prefix}bias")
