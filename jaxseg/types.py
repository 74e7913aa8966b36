"""What passes between the parts of jaxseg, and the letters for dimensions.

``b`` batch, ``h w`` size, ``d`` depth (first spatial axis of a volume), ``c`` channels,
``k`` classes, ``n`` items, ``*spatial`` any spatial rank. Channels are last everywhere.
"""

import dataclasses
import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import flax.linen as nn
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxseg.errors import UserError, first_line

IGNORE = -1
"""Label of pixels that neither count in a score nor have a gradient."""

Dtype = Literal["float32", "bfloat16"]
DTYPES: tuple[str, ...] = get_args(Dtype)
"""What a network computes in; its parameters are float32 always."""

Role = Literal["image", "classes", "factor", "row", "objects", "batches"]
"""What a field of a batch is, so that nobody has to know the fields by name.

``image``: float ``[b *spatial c]``, interpolated. ``classes``: whole numbers ``[b *spatial]``,
taken from the nearest pixel; IGNORE outside. ``factor``: float ``[b *spatial]``, interpolated; 0
outside. ``row``: ``[b ...]``, about the example as a whole. ``objects``: `Objects`.
``batches``: further batches by name.
"""

BATCH_FIELDS: Mapping[str, Role] = MappingProxyType(
    {
        "image": "image",
        "label": "classes",
        "instance": "classes",
        "weight": "factor",
        "valid": "row",
        "domain": "row",
        "present": "row",
        "objects": "objects",
        "streams": "batches",
    }
)
"""The role of every field of `Batch`: cropping, augmentation, sharding read this table alone."""

SPATIAL: tuple[Role, ...] = ("image", "classes", "factor")
"""The roles of arrays whose second axis is the first spatial one."""


class Objects(NamedTuple):
    """Objects of each image, true or predicted ones, padded to ``n`` an image."""

    boxes: Float[Array | np.ndarray, "b n 4"]
    """``y0 x0 y1 x1`` in pixels, half open."""
    classes: Int[Array | np.ndarray, "b n"]
    """IGNORE where there is no object."""
    masks: Float[Array | np.ndarray, "b n m m"] | None = None
    """In [0, 1], on a grid over the object's box."""
    scores: Float[Array | np.ndarray, "b n"] | None = None
    crowd: Bool[Array | np.ndarray, "b n"] | None = None
    """Regions of many objects, which count neither as found nor as missed."""


class Batch(NamedTuple):
    """One batch of examples, on the host (numpy) or on devices. `BATCH_FIELDS` has the roles.

    ``image`` is float32, normalised as the data says. ``valid`` is False on rows that only fill up
    a ragged batch. ``weight`` is a factor a pixel for the losses, and ``instance`` numbers the
    objects from 1 (0 is background). ``domain`` numbers modality, centre or scanner. ``present``
    are image-level labels, the classes that occur. ``streams`` are the batches of
    ``Experiment.streams``, each with rows of its own; a stream's batch has none itself.
    """

    image: Float[Array | np.ndarray, "b *spatial c"]
    label: Int[Array | np.ndarray, " b *spatial"]
    valid: Bool[Array | np.ndarray, " b"]
    weight: Float[Array | np.ndarray, " b *spatial"] | None = None
    instance: Int[Array | np.ndarray, " b *spatial"] | None = None
    domain: Int[Array | np.ndarray, " b"] | None = None
    present: Bool[Array | np.ndarray, "b k"] | None = None
    objects: Objects | None = None
    streams: "Mapping[str, Batch] | None" = None


class Prediction(NamedTuple):
    """What a network for semantic segmentation returns.

    ``logits`` are float32 whatever the compute dtype and have the size of the image (networks of
    valid convolutions: ``output_size``). ``auxiliary`` are further logits, finest first, at any
    resolution (deep supervision). ``image_logits`` speak of the image as a whole. ``extra`` are
    further maps that a loss can name, such as ``{"edge": [b *spatial 1]}``.
    """

    logits: Float[Array, "b *spatial k"]
    auxiliary: tuple[Float[Array, "b ... k"], ...] = ()
    image_logits: Float[Array, "b k"] | None = None
    extra: Mapping[str, Array] | None = None


class Paper(NamedTuple):
    """Where a network was proposed."""

    title: str
    author: str
    """The first author's family name."""
    year: int
    url: str


Names = Mapping[str, tuple[tuple[str, str], ...]]
"""By library (``torchvision``, ``timm``, ...): where its weights stand in ours.

A pair is a pattern (`re.fullmatch`) of a place in the library's ``state_dict``, without the leaf,
and what ours is called, dots between names; the first that fits counts. A convolution or a norm
lies in ``conv`` or ``norm`` below it, unless the name ends in ``!``; or in ``~``, a transposed
convolution, whose weight is ``[in, out, ...]`` there; or in ``-``, a linear layer there that is a
convolution here, of one tap or of the window whose pixels it joins; or in ``+``, a tensor that is
a batch of one row there; or in ``^``, a layer of Keras, whose ``kernel`` is laid out as ours. What
comes after an ``@`` is the parameter itself, such as the slope of a PReLU. A name that begins with
``=`` is one that another row has too: the library lists the same tensor under two keys. Where the
name is empty the pattern is one of whole keys, which are passed over: ``constants(library,
variables)`` of the network then gives those that go back, by key. A network's table need not speak
of its encoder, which has its own.

Tables are gone both ways, so a pattern has text, groups whose text ours repeats, and ``(?:a|b)``:
what the convolution is called, and its norm.
"""


@runtime_checkable
class ValidConvolutions(Protocol):
    """A network whose logits are smaller than its image."""

    def output_size(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        """Size of the logits, centred in an image of size ``spatial``."""
        ...


def output_size(model: object, spatial: tuple[int, ...]) -> tuple[int, ...]:
    """Size of ``model``'s logits for an image of size ``spatial``."""
    return model.output_size(spatial) if isinstance(model, ValidConvolutions) else tuple(spatial)


def covering_size(model: object, target: tuple[int, ...]) -> tuple[int, ...]:
    """The smallest image that the model takes and whose logits cover ``target``.

    ``target`` itself but for networks of valid convolutions. UserError where there is none.
    """
    if not isinstance(model, ValidConvolutions):
        return tuple(target)
    return tuple(_smallest(model, n, covered=n) for n in target)


def accepted_size(model: object, least: tuple[int, ...]) -> tuple[int, ...]:
    """The smallest image from ``least`` on that the model takes."""
    if not isinstance(model, ValidConvolutions):
        return tuple(least)
    return tuple(_smallest(model, n, covered=1) for n in least)


MOST_CONTEXT = 4096
"""More pixels than any published network takes away from an axis."""


@functools.cache
def _smallest(model: ValidConvolutions, least: int, *, covered: int) -> int:
    for n in range(least, least + MOST_CONTEXT):
        try:
            if model.output_size((n,))[0] >= covered:
                return n
        except (UserError, ValueError):  # a size that such a network refuses
            continue
    raise UserError(
        f"{type(model).__name__} takes no image of {least} pixels or more; choose a window"
    )


def strides_of(model: object, rank: int) -> tuple[int, ...] | None:
    """The total stride of a network along each of ``rank`` axes.

    Sizes that are multiples of it need no padding. None: rows of its maps cannot be split across
    devices. Raises UserError for a network that does not say its ``stride``; a guess would give
    wrong gradients in silence where rows are split.
    """
    try:
        stride: Any = model.stride  # pyright: ignore[reportAttributeAccessIssue]
    except AttributeError as error:
        raise UserError(
            f"{type(model).__name__} has no `stride`: give the class its total down-sampling "
            "(1 for none, None where its maps cannot be split by rows)"
        ) from error
    except (IndexError, ValueError, TypeError) as error:
        raise UserError(
            f"{type(model).__name__}: no stride follows from its fields ({first_line(error)})"
        ) from error
    if stride is None:
        return None
    strides = (stride,) * rank if isinstance(stride, int) else tuple(stride)
    if len(strides) != rank or not all(isinstance(s, int) and s >= 1 for s in strides):
        raise UserError(
            f"{type(model).__name__}.stride={stride!r}: must be a whole number, one for each of "
            f"{rank} axes, or None"
        )
    return strides


def at_dtype(model: nn.Module, dtype: Dtype) -> nn.Module:
    """``model`` with the field ``dtype`` set in it and in every network among its fields."""
    changes = {}
    for field in dataclasses.fields(model):
        if field.init and field.name not in ("parent", "name"):
            value = getattr(model, field.name)
            changes[field.name] = dtype if field.name == "dtype" else _at_dtype(value, dtype)
    return model.clone(**changes)


def _at_dtype(value: Any, dtype: Dtype) -> Any:
    if isinstance(value, nn.Module):
        return at_dtype(value, dtype)
    if isinstance(value, tuple):
        return tuple(_at_dtype(item, dtype) for item in value)
    return value
