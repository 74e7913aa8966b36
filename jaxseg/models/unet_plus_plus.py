"""UNet++: Redesigning Skip Connections to Exploit Multiscale Features in Image Segmentation.

Zhou, Siddiquee, Tajbakhsh, Liang 2020, https://arxiv.org/abs/1912.05074 (figure 1); first in
"UNet++: A Nested U-Net Architecture", 2018, https://arxiv.org/abs/1807.10165

Also its relatives: ``skips="short"`` is UNet+, ``skips="encoder"`` U-Net^e, an ensemble of U-Nets
of all depths that share one encoder.

Differs from the paper: on a backbone whose finest feature is not at full resolution, the nodes of
level 0 go without it (the paper's figure begins at full resolution). The authors' Keras code drops
half of what each convolution gives; here ``dropout`` acts in the nodes behind the encoder, and is
off. ``UNetPlusPlus(k, encoder=ResNet(34), nodes="smp", width=16, upsample="nearest",
head_kernel=3)`` is UnetPlusPlus of segmentation_models_pytorch, to the weight.
"""

import math
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import Plain, finest
from jaxseg.errors import UserError, require
from jaxseg.layers import ConvNorm, Head, Kind, TransposedConv, Upsample
from jaxseg.layers.recalibration import recalibrated
from jaxseg.models.unet import SCSE
from jaxseg.ops import crop, enlarge, pad_to_multiple
from jaxseg.types import Names, Paper, Prediction

SMP_ALONE = '"smp", which alone has a diagonal, a centre and a recalibration'

Node = tuple[int, int]
"""Level and column of a node: ``i`` and ``j`` of the paper's ``X^{i,j}``."""


def _of_smp(deepest: int) -> tuple[tuple[str, str], ...]:
    """They number the levels from the coarsest on, and the nodes of a level from the last."""
    rows = [
        (r"decoder\.center\.(\d)\.(?:0|1)", r"centre\1"),
        (r"segmentation_head\.0", f"node0_{deepest}_head!"),
    ]
    for n in range(deepest):
        for d in range(n + 1):
            block, node = rf"decoder\.blocks\.x_{d}_{n}", f"node{deepest - 1 - n}_{n - d + 1}"
            rows.append((rf"{block}\.conv(\d)\.(?:0|1)", rf"{node}_conv\1"))
            for theirs, ours in SCSE:
                for number, name in ((1, f"{node}_joined"), (2, node)):
                    where = rf"{block}\.attention{number}\.attention\.{theirs}"
                    rows.append((where, f"{name}_recalibration.{ours}"))
    return tuple(rows)


class UNetPlusPlus(nn.Module):
    """Nodes ``X^{i,j}``: level i of the encoder (column 0), upsampled and merged column by column.

    A node is two convolutions of the map below it, upsampled, and of its level's earlier nodes:
    all (``dense``), the last (``short``), or the encoder's (``encoder``). Its width is
    ``width * 2**i``. ``nodes="smp"`` has no node of level 0 but the last, nodes as wide as the
    encoder's feature but on the last diagonal, and concatenates earlier nodes latest first. That
    diagonal's widths are ``diagonal``, coarsest first, where it is not empty. A ``recalibration``
    weighs a node's concatenation and what it puts out, as ``UNet``'s ``joined`` does. ``centre``
    are the widths of convolutions that have parameters there after VGG, and are never run.

    ``mode``: ``single`` has one head, at the deepest level; ``supervised`` has one at each level,
    the other ones in ``auxiliary``, deepest first (weigh them ``(1, 1, ...)`` as the paper does);
    ``ensemble`` has the same ones and, but for training, logits of the mean of their
    probabilities: the paper's accurate mode. ``level`` is the depth of the network, L1, L2, ...
    (None: the encoder's); what lies deeper has no parameters. Images of any size are padded with
    zeros to a multiple of ``stride`` and cropped, at every level to the same, so that `prune`
    changes nothing. ``norm`` None is the encoder's. 2-D and 3-D by the rank of the image.
    """

    paper: ClassVar[Paper] = Paper(
        "UNet++: Redesigning Skip Connections to Exploit Multiscale Features in Image Segmentation",
        "Zhou",
        2020,
        "https://arxiv.org/abs/1912.05074",
    )

    num_classes: int
    encoder: nn.Module = Plain((32, 64, 128, 256, 512), norm="none")
    width: int = 32
    skips: Literal["dense", "short", "encoder"] = "dense"
    nodes: Literal["paper", "smp"] = "paper"
    mode: Literal["single", "supervised", "ensemble"] = "single"
    level: int | None = None
    upsample: Upsample = "transpose"
    norm: Kind | None = None
    head_kernel: int = 1
    dropout: float = 0.0
    diagonal: tuple[int, ...] = ()
    recalibration: nn.Module | None = None
    centre: tuple[int, ...] = ()
    dtype: str = "float32"

    @property
    def names(self) -> Names:
        """Places of segmentation_models_pytorch."""
        return {"segmentation_models_pytorch": _of_smp(self.deepest)}

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return self.encoder.strides[-1]

    @property
    def deepest(self) -> int:
        """The number of levels that the encoder has."""
        return len(self._strides) - 1

    @property
    def _strides(self) -> tuple[int, ...]:
        """Down-sampling of each level, full resolution first."""
        strides = self.encoder.strides
        return strides if strides[0] == 1 else (1, *strides)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        self._check()
        size, last = image.shape[1:-1], self.level or self.deepest
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        missing = int(self.encoder.strides[0] != 1)  # level 0 has no feature then
        features = finest(self.encoder, x, last + 1 - missing, train=train)
        maps: dict[Node, Array] = {(i, 0): f for i, f in enumerate(features, start=missing)}
        if self.nodes == "smp":
            maps.pop((0, 0), None)
            self._allocate_centre(maps[last, 0], train)
        heads = (last,) if self.mode == "single" else tuple(range(last, 0, -1))
        for i, j in sorted(self._needed(heads), key=lambda node: node[1]):
            maps[i, j] = self._node(i, j, last, maps, train)
        logits = []
        for j in heads:
            head = Head(self.num_classes, kernel_size=self.head_kernel, name=f"node0_{j}_head")
            logits.append(crop(head(maps[0, j]), size))
        if self.mode == "ensemble" and not train:
            shares = jnp.stack([jax.nn.log_softmax(one) for one in logits])
            logits[0] = jax.nn.logsumexp(shares, 0) - math.log(len(heads))
        return Prediction(logits[0], tuple(logits[1:]))

    def _check(self) -> None:
        fits = self.level is None or 1 <= self.level <= self.deepest
        require(fits, "recipe.model.level", self.level, f"1 to {self.deepest}, the encoder's")
        if self.nodes == "smp" and (self.skips, self.mode, self.level) != ("dense", "single", None):
            raise UserError(
                'recipe.model.nodes="smp": has one head and no levels; leave skips, mode and level '
                'as they are, or take nodes="paper"'
            )
        of_smp = bool(self.diagonal or self.centre or self.recalibration)
        require(self.nodes == "smp" or not of_smp, "nodes", self.nodes, SMP_ALONE)
        fits = len(self.diagonal) in (0, self.deepest)
        require(fits, "diagonal", self.diagonal, f"{self.deepest} widths, one a level, or none")

    def _allocate_centre(self, x: Array, train: bool) -> None:
        if self.is_initializing():
            for i, width in enumerate(self.centre):
                x = ConvNorm(width, norm=self.norm or self.encoder.norm, name=f"centre{i}")(
                    x, train=train
                )

    def _needed(self, heads: tuple[int, ...]) -> list[Node]:
        """The nodes behind the encoder that the heads at ``X^{0,j}`` are computed from."""
        every = [(i, j) for j in range(1, heads[0] + 1) for i in range(heads[0] - j + 1)]
        if self.skips == "encoder":  # the U-Nets do not see each other
            return [(i, j) for i, j in every if i + j in heads]
        return [(i, j) for i, j in every if self.nodes == "paper" or i or j == heads[0]]

    def _node(
        self, i: int, j: int, last: int, maps: dict[Node, Array], train: bool
    ) -> Float[Array, "b *s k"]:
        wide = self.nodes == "paper" or i + j == last
        of_diagonal = self.diagonal[last - 1 - i] if self.diagonal else self.width * 2**i
        width, name = of_diagonal if wide else maps[i, 0].shape[-1], f"node{i}_{j}"
        earlier = {"dense": range(j), "short": (j - 1,), "encoder": (0,)}[self.skips]
        skips = [maps[i, column] for column in earlier if (i, column) in maps]
        below, factor = maps[i + 1, j - 1], self._strides[i + 1] // self._strides[i]
        if self.upsample == "transpose":
            x = TransposedConv(width, stride=factor, name=f"{name}_up")(below)
        else:
            x = enlarge(below, factor, "nearest" if self.upsample == "nearest" else "linear")
        x = jnp.concatenate([x, *(skips if self.nodes == "paper" else reversed(skips))], axis=-1)
        joined = f"{name}_joined_recalibration"
        if skips:
            x = recalibrated(self.recalibration, x, joined, train=train)
        elif self.is_initializing():  # it has the parameters there all the same
            recalibrated(self.recalibration, x, joined, train=train)
        for n in (1, 2):
            conv = ConvNorm(width, norm=self.norm or self.encoder.norm, name=f"{name}_conv{n}")
            drop = nn.Dropout(self.dropout, deterministic=not train, name=f"{name}_dropout{n}")
            x = drop(conv(x, train=train))
        return recalibrated(self.recalibration, x, f"{name}_recalibration", train=train)


def prune(model: nn.Module, variables: Any, level: int) -> tuple[nn.Module, dict[str, Any]]:
    """The network of that level alone, L1, L2, ..., and of ``variables`` those that it has.

    It gives what the head of its level gives in the whole network. Raises UserError for a network
    without levels, a level that it has no head for, and variables that are not its own.
    """
    if not isinstance(model, UNetPlusPlus) or model.nodes == "smp":
        known = 'unet_plus_plus, unet_plus and unet_ensemble do, with nodes="paper"'
        raise UserError(f"{type(model).__name__} has no levels to prune; {known}")
    deepest = model.level or model.deepest
    levels = (deepest,) if model.mode == "single" else range(1, deepest + 1)
    if level not in levels:
        heads = f"a head at level {', '.join(map(str, levels))}"
        other = model.mode == "single" and 1 <= level <= deepest
        more = '; train it with mode="supervised"' if other else ""
        raise UserError(f"level {level}: {type(model).__name__} has {heads}{more}")
    small = model.clone(level=level, mode="single")
    kernels = [x for x in jax.tree.leaves(variables.get("params", {})) if x.ndim > 2]
    for channels in sorted({kernel.shape[-2] for kernel in kernels}):  # the image's among others
        size = (model.stride,) * (kernels[0].ndim - 2)
        try:
            kept = _kept(small, variables, (1, *size, channels))
        except UserError:  # an encoder that expects other channels
            continue
        if kept is not None:
            return small, kept
    raise UserError(f"{type(model).__name__}: the variables are not those of the model")


def _kept(small: nn.Module, variables: Any, shape: tuple[int, ...]) -> dict[str, Any] | None:
    """The part of ``variables`` that ``small`` has for such an image; None where it is no part."""
    image = jax.ShapeDtypeStruct(shape, jnp.float32)
    wanted = jax.eval_shape(lambda x: small.init(jax.random.key(0), x, train=False), image)
    flat = dict(jax.tree_util.tree_leaves_with_path(variables))
    paths = jax.tree_util.tree_leaves_with_path(wanted)
    if any(path not in flat or flat[path].shape != leaf.shape for path, leaf in paths):
        return None
    return jax.tree_util.tree_map_with_path(lambda path, _: flat[path], wanted)
