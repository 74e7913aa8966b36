"""Focal Loss for Dense Object Detection (Lin et al. 2017), equation 5, for pixels."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from jaxseg.errors import require
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import Classes, chosen, class_factors, per_example, power, ratio, targets


@dataclass(frozen=True, kw_only=True)
class Focal:
    """``sum_i u_i a_{y_i} (1 - p_{i,y_i})^gamma (-log p_{i,y_i}) / sum_i u_i``.

    ``a`` are the ``class_weights`` (the paper's alpha 0.25: ``(0.75, 0.25)``); as in all libraries
    they are factors and do not stand in the divisor. The paper's sum over anchors by the number of
    objects is a mean over pixels here.

    ``activation="sigmoid"`` is one against the rest: every class is a binary problem of its own
    logit, and the term the sum of all ``k`` (MONAI's default, segmentation-models-pytorch,
    torchvision). ``average="classes"`` divides by the number of classes as well: of the softmax
    that is MONAI's and kornia's, one ``k``-th of the mean over pixels; of the sigmoid MONAI's and
    segmentation-models-pytorch's. ``average="focus"`` divides by the sum of ``(1 - p)^gamma``, a
    number without a gradient, instead of that of the pixels: the normalised focal loss (Sofiiuk et
    al. 2019, RITM), whose size does not fall as pixels are learnt. ``classes`` are those whose
    terms count, while all pixels do in the divisor; MONAI takes the softmax of these alone, too.
    """

    weight: float | Ramp = 1.0
    gamma: float = 2.0
    class_weights: tuple[float, ...] | None = None
    activation: Literal["softmax", "sigmoid"] = "softmax"
    average: Literal["pixels", "classes", "focus"] = "pixels"
    classes: Classes = "all"

    def __post_init__(self) -> None:
        """Refuse a factor that grows without bound."""
        require(self.gamma >= 0, "Focal.gamma", self.gamma, "at least 0")

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, at least 0; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        if self.activation == "softmax":
            surprise = -jax.nn.log_softmax(t.logits)
            share = t.one_hot
        else:
            surprise = -jax.nn.log_sigmoid(jnp.where(t.one_hot > 0, t.logits, -t.logits))
            share = jnp.ones_like(t.one_hot)
        wrong = -jnp.expm1(-surprise)  # 1 - p without its rounding
        focus = share * power(wrong, self.gamma) if self.gamma else share
        factors = class_factors(self, self.class_weights, t.logits)
        term = chosen(self, focus * surprise * factors)
        total = term.mean(-1) if self.average == "classes" else term.sum(-1)
        divisor = per_example(t.pixels)
        if self.average == "focus":
            divisor = jax.lax.stop_gradient(per_example(t.pixels * focus.sum(-1)))
        return ratio(per_example(t.pixels * total), divisor, empty=0.0)
