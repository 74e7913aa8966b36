"""MONAI's networks: for each of its classes, what computes the same here.

``act``, ``norm`` and ``dropout`` are names, or pairs of a name and its arguments, as there.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from jaxseg.convert.adn import Layer, adn
from jaxseg.convert.built import Builder, Built, same
from jaxseg.errors import require
from jaxseg.layers import ADN
from jaxseg.models import (
    UNETR,
    AttentionUNet,
    BasicUNet,
    BasicUNetPlusPlus,
    HighRes3DNet,
    MonaiDynUNet,
    MonaiUNet,
    MonaiVNet,
    SegResNet,
    SwinUNETR,
    Variational,
)
from jaxseg.models.swin_unetr import Merging
from jaxseg.ops import Size

LEAKY = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})
LEAKY_OF_DYNUNET = ("leakyrelu", {"inplace": True, "negative_slope": 0.01})
AFFINE = ("instance", {"affine": True})


def unet(
    *,
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    channels: Sequence[int],
    strides: Sequence[Any],
    kernel_size: Any = 3,
    up_kernel_size: Any = 3,
    num_res_units: int = 0,
    act: Layer = "PRELU",
    norm: Layer = "INSTANCE",
    dropout: Any = 0.0,
    bias: bool = True,
    adn_ordering: str = "NDA",
) -> Built:
    """``UNet``."""
    model = MonaiUNet(
        out_channels,
        widths=tuple(channels),
        strides=_strides(strides, channels),
        units=num_res_units,
        kernel_size=_size(kernel_size),
        up_kernel_size=_size(up_kernel_size),
        after=adn(act, norm, dropout, adn_ordering),
        use_bias=bias,
    )
    return _built(model, in_channels, spatial_dims)


def basic_unet(
    *,
    spatial_dims: int = 3,
    in_channels: int = 1,
    out_channels: int = 2,
    features: Any = (32, 32, 64, 128, 256, 32),
    act: Layer = LEAKY,
    norm: Layer = AFFINE,
    bias: bool = True,
    dropout: Any = 0.0,
    upsample: str = "deconv",
) -> Built:
    """``BasicUNet``."""
    *widths, last = _features(features)
    model = BasicUNet(
        out_channels,
        widths=tuple(widths),
        last_width=last,
        upsample=_upsample(upsample),
        after=adn(act, norm, dropout),
        use_bias=bias,
    )
    return _built(model, in_channels, spatial_dims)


def basic_unet_plus_plus(
    *,
    spatial_dims: int = 3,
    in_channels: int = 1,
    out_channels: int = 2,
    features: Any = (32, 32, 64, 128, 256, 32),
    deep_supervision: bool = False,
    act: Layer = LEAKY,
    norm: Layer = AFFINE,
    bias: bool = True,
    dropout: Any = 0.0,
    upsample: str = "deconv",
) -> Built:
    """``BasicUNetPlusPlus``."""
    *widths, last = _features(features)
    model = BasicUNetPlusPlus(
        out_channels,
        widths=tuple(widths),
        last_width=last,
        deep_supervision=deep_supervision,
        upsample=_upsample(upsample),
        after=adn(act, norm, dropout),
        use_bias=bias,
    )
    return _built(model, in_channels, spatial_dims)


def attention_unet(
    *,
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    channels: Sequence[int],
    strides: Sequence[Any],
    kernel_size: Any = 3,
    up_kernel_size: Any = 3,
    dropout: float | int = 0.0,
) -> Built:
    """``AttentionUnet``."""
    model = AttentionUNet(
        out_channels,
        widths=tuple(channels),
        form="monai",
        strides=_strides(strides, channels),
        kernel_size=_size(kernel_size),
        up_kernel_size=_size(up_kernel_size),
        dropout=dropout,
    )
    return _built(model, in_channels, spatial_dims)


def dynunet(
    *,
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel_size: Sequence[Any],
    strides: Sequence[Any],
    upsample_kernel_size: Sequence[Any],
    filters: Sequence[int] | None = None,
    dropout: Any = None,
    norm_name: Layer = AFFINE,
    act_name: Layer = LEAKY_OF_DYNUNET,
    deep_supervision: bool = False,
    deep_supr_num: int = 1,
    res_block: bool = False,
    trans_bias: bool = False,
) -> Built:
    """``DynUNet``."""
    levels, steps = len(strides), tuple(map(_size, strides))
    require(len(kernel_size) == levels >= 3, "kernel_size", kernel_size, "one a stride, 3 or more")
    ups = tuple(map(_size, upsample_kernel_size))
    fits = _spread(ups, spatial_dims) == _spread(steps[1:], spatial_dims)
    require(fits, "upsample_kernel_size", ups, f"strides[1:]={steps[1:]}; maps fit no other")
    if filters is None:
        filters = [min(2 ** (5 + i), 320 if spatial_dims == 3 else 512) for i in range(levels)]
    require(len(filters) >= levels, "filters", filters, f"one for each of {levels} strides")
    if deep_supervision:
        what = f"from 1 to {levels - 2}, the levels with a head but the finest"
        require(1 <= deep_supr_num <= levels - 2, "deep_supr_num", deep_supr_num, what)
    model = MonaiDynUNet(
        out_channels,
        widths=tuple(filters[:levels]),
        strides=steps,
        kernels=tuple(map(_size, kernel_size)),
        block="residual" if res_block else "plain",
        auxiliary=deep_supr_num if deep_supervision else 0,
        after=adn(act_name, norm_name, dropout, "DNA"),
        up_bias=trans_bias,
    )
    return _built(model, in_channels, spatial_dims)


def unetr(
    *,
    in_channels: int,
    out_channels: int,
    img_size: Any,
    feature_size: int = 16,
    hidden_size: int = 768,
    mlp_dim: int = 3072,
    num_heads: int = 12,
    proj_type: str = "conv",
    norm_name: Layer = "instance",
    conv_block: bool = True,
    res_block: bool = True,
    dropout_rate: float = 0.0,
    spatial_dims: int = 3,
    qkv_bias: bool = False,
    save_attn: bool = False,
) -> Built:
    """``UNETR``; what ``save_attn`` keeps is read out by `jaxseg.attention`."""
    del save_attn
    same("proj_type", proj_type, "conv", "perceptron")
    model = UNETR(
        out_channels,
        size=_size(img_size),
        width=feature_size,
        hidden_width=hidden_size,
        mlp_width=mlp_dim or hidden_size,
        heads=num_heads,
        block="residual" if res_block else "plain",
        enlarge="convolved" if conv_block else "plain",
        after=adn(LEAKY_OF_DYNUNET, norm_name, None, "DNA"),
        qkv_bias=qkv_bias,
        dropout=dropout_rate,
        embedding="perceptron" if proj_type == "perceptron" else "conv",
    )
    return _built(model, in_channels, spatial_dims)


def swin_unetr(
    *,
    in_channels: int,
    out_channels: int,
    img_size: Any = None,
    patch_size: int = 2,
    depths: Sequence[int] = (2, 2, 2, 2),
    num_heads: Sequence[int] = (3, 6, 12, 24),
    window_size: Any = 7,
    qkv_bias: bool = True,
    mlp_ratio: float = 4.0,
    feature_size: int = 24,
    norm_name: Layer = "instance",
    drop_rate: float = 0.0,
    attn_drop_rate: float = 0.0,
    dropout_path_rate: float = 0.0,
    normalize: bool = True,
    patch_norm: bool = False,
    use_checkpoint: bool = False,
    spatial_dims: int = 3,
    downsample: str = "merging",
    use_v2: bool = False,
    use_hyena: bool = False,
    hyena_stages: Any = None,
    use_flash_attention: bool = False,
) -> Built:
    """``SwinUNETR``; "merging_v0.9" is the ``downsample`` that "merging" was before MONAI 1.5.

    ``img_size``, which MONAI had before 1.5 too, is no part of the network.
    """
    del img_size, use_flash_attention  # another program for the same numbers
    same("patch_size", patch_size, 2)
    same("use_hyena", use_hyena, False)
    same("hyena_stages", None if hyena_stages is None else any(hyena_stages), None, False)
    same("downsample", downsample, *get_args(Merging))
    require(len(depths) == 4, "depths", depths, "four numbers, as MONAI's network has stages")
    model = SwinUNETR(
        out_channels,
        width=feature_size,
        depths=tuple(depths),
        heads=tuple(num_heads[:4]),
        window=_size(window_size),
        expansion=mlp_ratio,
        form="v2" if use_v2 else "v1",
        merging=downsample,  # pyright: ignore[reportArgumentType]
        normalize=normalize,
        embed_norm=patch_norm,
        qkv_bias=qkv_bias,
        after=adn(LEAKY_OF_DYNUNET, norm_name, None, "DNA"),
        dropout=drop_rate,
        attention_dropout=attn_drop_rate,
        drop_path=dropout_path_rate,
        remat=use_checkpoint,
    )
    return _built(model, in_channels, spatial_dims)


GROUP = ("GROUP", {"num_groups": 8})


def segresnet(
    *,
    spatial_dims: int = 3,
    init_filters: int = 8,
    in_channels: int = 1,
    out_channels: int = 2,
    dropout_prob: float | int | None = None,
    act: Layer = ("RELU", {"inplace": True}),
    norm: Layer = GROUP,
    norm_name: str = "",
    num_groups: int = 8,
    use_conv_final: bool = True,
    blocks_down: Sequence[int] = (1, 2, 2, 4),
    blocks_up: Sequence[int] = (1, 1, 1),
    upsample_mode: str = "nontrainable",
) -> Built:
    """``SegResNet``."""
    same("norm_name", norm_name.lower(), "", "group")
    same("use_conv_final", use_conv_final, True, hint="; without it there are no logits")
    require(spatial_dims in (2, 3), "spatial_dims", spatial_dims, "2 or 3")
    model = SegResNet(
        out_channels,
        width=init_filters,
        depths=tuple(blocks_down),
        decoder_depths=tuple(reversed(blocks_up)),
        upsample=_upsample(upsample_mode),
        before=adn(act, ("group", {"num_groups": num_groups}) if norm_name else norm, None),
        dropout=dropout_prob or 0.0,
    )
    return _built(model, in_channels, spatial_dims)


def segresnet_vae(
    *,
    input_image_size: Sequence[int],
    vae_estimate_std: bool = False,
    vae_default_std: float | int = 0.3,
    vae_nz: int = 256,
    spatial_dims: int = 3,
    in_channels: int = 1,
    blocks_down: Sequence[int] = (1, 2, 2, 4),
    init_filters: int = 8,
    out_channels: int = 2,
    dropout_prob: float | int | None = None,
    act: Layer = ("RELU", {"inplace": True}),
    norm: Layer = GROUP,
    use_conv_final: bool = True,
    blocks_up: Sequence[int] = (1, 1, 1),
    upsample_mode: str = "nontrainable",
) -> Built:
    """``SegResNetVAE``, whose loss of the branch is the sum of both numbers of ``extra``."""
    built = segresnet(
        spatial_dims=spatial_dims,
        init_filters=init_filters,
        in_channels=in_channels,
        out_channels=out_channels,
        dropout_prob=dropout_prob,
        act=act,
        norm=norm,
        use_conv_final=use_conv_final,
        blocks_down=blocks_down,
        blocks_up=blocks_up,
        upsample_mode=upsample_mode,
    )
    what, sizes = f"{spatial_dims} numbers", tuple(input_image_size)
    require(len(sizes) == spatial_dims, "input_image_size", sizes, what)
    least = 2 ** len(blocks_down)
    what = f"of at least {least}, a pixel of the map that codes are made of"
    require(min(sizes) >= least, "input_image_size", sizes, what)
    branch = Variational(
        codes=vae_nz,
        grid=tuple(n // least for n in sizes),
        deviation=None if vae_estimate_std else vae_default_std,
        decoder="shared",
    )
    return built._replace(model=built.model.clone(branch=branch))


_RESIDUAL = {"n_features": 16, "kernels": (3, 3), "repeat": 3}
LAYERS: Sequence[Mapping[str, Any]] = (
    {"name": "conv_0", "n_features": 16, "kernel_size": 3},
    {"name": "res_1", **_RESIDUAL},
    {"name": "res_2", **_RESIDUAL, "n_features": 32},
    {"name": "res_3", **_RESIDUAL, "n_features": 64},
    {"name": "conv_1", "n_features": 80, "kernel_size": 1},
    {"name": "conv_2", "kernel_size": 1},
)
"""The layers of MONAI's ``HighResNet``."""


def highresnet(
    *,
    spatial_dims: int = 3,
    in_channels: int = 1,
    out_channels: int = 1,
    norm_type: Layer = ("batch", {"affine": True}),
    acti_type: Layer = ("relu", {"inplace": True}),
    dropout_prob: Any = 0.0,
    bias: bool = False,
    layer_params: Sequence[Mapping[str, Any]] = LAYERS,
    channel_matching: str = "pad",
) -> Built:
    """``HighResNet``."""
    require(len(layer_params) > 3, "layer_params", layer_params, "of four layers or more")
    stem, *stages, last, logits = layer_params
    for layers, needed in (
        ((stem, last), {"n_features", "kernel_size"}),
        (stages, {"n_features", "kernels", "repeat"}),
        ((logits,), {"kernel_size"}),
    ):
        for layer in layers:
            require(needed <= layer.keys(), "layer_params", layer, f"of {sorted(needed)}")
    same("channel_matching", channel_matching, "pad", "project")
    for layer, size in ((stem, 3), (last, 1), (logits, 1)):
        same(f"layer_params {layer.get('name')}: kernel_size", layer["kernel_size"], size)
    same("layer_params conv_0: n_features", stem["n_features"], stages[0]["n_features"])
    kernels = [tuple(stage["kernels"]) for stage in stages]
    for stage in kernels:
        same("layer_params kernels", stage, kernels[0])
    model = HighRes3DNet(
        out_channels,
        widths=tuple(stage["n_features"] for stage in stages),
        depths=tuple(stage["repeat"] for stage in stages),
        kernels=kernels[0],
        head_width=last["n_features"],
        shortcut="project" if channel_matching == "project" else "pad",
        head="monai",
        after=adn(acti_type, norm_type, dropout_prob, "NAD"),
        use_bias=bias,
    )
    return _built(model, in_channels, spatial_dims)


def vnet(
    *,
    spatial_dims: int = 3,
    in_channels: int = 1,
    out_channels: int = 1,
    act: Layer = ("elu", {"inplace": True}),
    dropout_prob_down: float | None = 0.5,
    dropout_prob_up: Sequence[float | None] = (0.5, 0.5),
    dropout_dim: int = 3,
    bias: bool = False,
) -> Built:
    """``VNet``; its dropout before the skips of the two finest levels is 0.5 always."""
    require(spatial_dims in (2, 3), "spatial_dims", spatial_dims, "2 or 3")
    same("dropout_dim", dropout_dim, 1, 2, 3)
    require(len(dropout_prob_up) == 2, "dropout_prob_up", dropout_prob_up, "two numbers")
    divides = in_channels >= 1 and 16 % in_channels == 0
    require(divides, "in_channels", in_channels, "a divisor of 16, the features it is repeated to")
    require(act is not None and act != "", "act", act, "an activation")
    if act == "prelu":  # by this name alone it has a slope a channel
        act = ("prelu", {"num_parameters": 16})
    of_norm = adn(act, "batch", None)
    after: ADN = of_norm.clone(dropped="numbers" if dropout_dim == 1 else "channels")
    down, up, skip = (rate or 0.0 for rate in (dropout_prob_down, *dropout_prob_up))
    model = MonaiVNet(
        out_channels,
        down_dropouts=(0.0, 0.0, 0.0, down, down),
        up_dropouts=(0.0, 0.0, up, up),
        skip_dropouts=(0.5, 0.5, skip, skip),
        after=after,
        use_bias=bias,
    )
    return _built(model, in_channels, spatial_dims)


_BASIC = ("BasicUNet", "BasicUnet", "Basicunet", "basicunet")
_NESTED = ("BasicUNetPlusPlus", "BasicUnetPlusPlus", "BasicunetPlusPlus", "basicunetplusplus")

NETWORKS: Mapping[str, Builder] = {
    "UNet": unet,
    "Unet": unet,
    "AttentionUnet": attention_unet,
    "HighResNet": highresnet,
    "SegResNet": segresnet,
    "SegResNetVAE": segresnet_vae,
    **dict.fromkeys(("DynUNet", "DynUnet", "Dynunet"), dynunet),
    "UNETR": unetr,
    "SwinUNETR": swin_unetr,
    "VNet": vnet,
    **dict.fromkeys(_BASIC, basic_unet),
    **dict.fromkeys(_NESTED, basic_unet_plus_plus),
}
"""Of ``monai.networks.nets``, by all names of a class."""


def _built(model: Any, channels: int, rank: int) -> Built:
    require(rank in (1, 2, 3), "spatial_dims", rank, "1, 2 or 3")
    return Built(model, channels, rank)


def _size(value: Any) -> Size:
    return value if isinstance(value, int) else tuple(value)


def _spread(sizes: Sequence[Size], rank: int) -> list[tuple[int, ...]]:
    """Each as a number for each axis, so that 2 is (2, 2, 2)."""
    return [(one,) * rank if isinstance(one, int) else one for one in sizes]


def _strides(strides: Sequence[Any], channels: Sequence[int]) -> tuple[Size, ...]:
    """A stride for each level but the last; MONAI passes over those beyond."""
    wanted = len(channels) - 1
    fits = len(channels) > 1 and len(strides) >= wanted
    require(fits, "strides", strides, f"one for each of channels={tuple(channels)} but the last")
    return tuple(map(_size, strides[:wanted]))


def _features(features: Any) -> tuple[int, ...]:
    six = (features,) * 6 if isinstance(features, int) else tuple(features)
    require(len(six) == 6, "features", features, "six numbers: five levels, and the last map's")
    return six


_UPSAMPLE = {"deconv": "transpose", "nontrainable": "linear", "pixelshuffle": "shuffle"}


def _upsample(mode: str) -> Literal["transpose", "linear", "shuffle"]:
    same("upsample", mode, *_UPSAMPLE)
    return _UPSAMPLE[mode]  # pyright: ignore[reportReturnType]
