"""One row a network: how it is made small enough to compile in a test.

A new network adds its row here; `test_shapes.py` and `test_numbers.py` hold it to the contract, at
each of the encoders that its row names.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn

from jaxseg.encoders import ESPNetC, Plain, ResNet
from jaxseg.layers import ADN, CBAM
from jaxseg.models import Genotype, UNet, Variational, create

CHANNELS, CLASSES = 2, 3

ENCODERS: dict[str, nn.Module] = {
    "plain": Plain((4, 6, 8)),
    "resnet": ResNet(10, width=4),
}
"""A tiny encoder of each family."""


class Case(NamedTuple):
    """Fields of the tiny network, and of it on each family of encoders; sizes that it takes."""

    fields: Mapping[str, Any] = {}
    encoders: Mapping[str, Mapping[str, Any]] = {}
    """By family of encoders, what the network needs beside; empty where it has no encoder.

    On the first it is compiled (`FIRST`), on the others it is traced.
    """
    size: tuple[int, int] = (33, 46)
    sizes: tuple[tuple[int, int], ...] = ((1, 1), (64, 32), (7, 90))
    volume: tuple[int, int, int] | None = (5, 18, 33)
    """None where the paper's network is of images alone."""
    exported: str = "b, h, w"
    """The freest sizes with which it can be exported."""
    kernels: frozenset[int] = frozenset({5})
    """Axes of the kernels of a volume's network: one of slices in a batch has 2-D ones too."""
    unpools: bool = False
    """Where so, rounding moves some values to other pixels: half precision is close by the mean."""


PLAIN = {"plain": {}}
WIDTHS = {"plain": {}, "resnet": {"widths": (12, 8, 8, 6, 4)}}
DILATED = {"resnet": {"encoder": ResNet(10, width=4, output_stride=16)}}

TIRAMISU = Case({"layers": (1, 2, 1), "growth": 4, "first": 6})
FCN_2015 = Case({"width": 4, "hidden": 6}, volume=None)

GROUPS = ADN("group", "relu", groups=2, affine=True)
SEGRESNET = {"width": 4, "depths": (1, 0), "decoder_depths": (1,), "before": GROUPS}

SMALL = Genotype(
    down=(("down_conv", 0), ("down_dep_conv", 1)), up=(("identity", 0), ("up_conv", 1))
)

CASES: dict[str, Case] = {
    "aspp_nonlocal": Case(
        {
            "pyramid_width": 4,
            "width": 4,
            "aspp_width": 3,
            "rates": (1, 2),
            "convs": 1,
            "encoder": Plain((4, 4, 4, 4, 4), convs=1),
        },
    ),
    "attention_unet": Case({"widths": (4, 6, 8), "form": "single"}),
    "autofocus": Case(
        {"widths": (3, 4), "rates": (1, 2), "adaptive": 2, "aspp_width": 4},
        size=(19, 24),
        sizes=((17, 30),),
        volume=(11, 13, 10),
        exported="b, h + 8, w + 8",
    ),
    "baseline_unet": Case({"widths": (4, 6)}),
    "basic_unet": Case({"widths": (4, 6), "last_width": 5, "use_bias": False}),
    "basic_unet_plus_plus": Case(
        {"widths": (4, 6), "last_width": 5, "deep_supervision": True, "use_bias": False}
    ),
    "cbam_unet": Case({"widths": (4, 6), "recalibration": CBAM(2)}),
    "ce_net": Case({"width": 4, "windows": (2, 3), "encoder": Plain((4, 6), convs=1)}),
    "deeplab_v1": Case(
        {"encoder": Plain((4, 6), convs=1), "dilation": 2, "hidden": 4},
        sizes=((1, 1), (7, 90)),
        volume=None,
    ),
    "deeplab_v2": Case(
        {"encoder": Plain((4, 6), convs=1), "rates": (1, 2)},
        sizes=((1, 1), (7, 90)),
        volume=None,
    ),
    "deeplab_v3": Case(
        {"width": 4, "rates": (2, 4), "auxiliary": "head"},
        encoders=DILATED,
        sizes=((1, 1), (7, 90)),
    ),
    "deeplab_v3_plus": Case(
        {"width": 4, "low_level_width": 3, "rates": (2, 4), "decoder_convs": 1},
        encoders=DILATED,
        sizes=((1, 1), (7, 90)),
    ),
    "danet": Case({"width": 8, "reduction": 4}, encoders=PLAIN),
    "deconvnet": FCN_2015._replace(unpools=True),
    "dense_unet": Case({"layers": (1, 2, 1, 1), "growth": 4, "first": 6, "widths": (6, 5)}),
    "dynunet": Case(
        {
            "widths": (4, 6, 8),
            "strides": (1, 2, 2),
            "kernels": (1, 3, 3),
            "depths": (1, 2, 1),
            "decoder_depths": (1, 1),
            "deep_supervision": True,
            "use_bias": False,
        },
    ),
    "dynunet_residual": Case(
        {
            "widths": (4, 6, 8),
            "strides": (1, 2, 2),
            "kernels": (3, 3, 3),
            "depths": (1, 2, 1),
            "decoder_depths": (1, 1),
            "deep_supervision": True,
            "use_bias": False,
        },
    ),
    "enet": Case(
        {"widths": (8, 8, 16), "blocks": 0, "middles": ("asymmetric",)},
        sizes=((1, 1), (7, 30)),
        volume=None,
        unpools=True,
    ),
    "espnet": Case({"encoder": ESPNetC((4, 5, 6), depths=(1, 0))}),
    "espnet_c": Case({"encoder": ESPNetC((4, 5), depths=(1,))}),
    "espnet_v2": Case(
        {"widths": (2, 4, 6), "depths": (0, 0), "branches": 1, "pools": 1}, sizes=((7, 30),)
    ),
    "fc_densenet56": TIRAMISU,
    "fc_densenet67": TIRAMISU,
    "fc_densenet103": TIRAMISU,
    "fc_resnet": Case(
        {
            "normalizer": UNet(1, encoder=Plain((3, 4), norm="none")),
            "width": 4,
            "simple": 1,
            "depths": (1,),
        }
    ),
    "fcn": Case(
        {"auxiliary": "head"},
        encoders={**PLAIN, **DILATED},
    ),
    "fcn32s": FCN_2015,
    "fcn16s": FCN_2015,
    "fcn8s": FCN_2015,
    "fcn8s_at_once": FCN_2015,
    "fcn_alexnet": FCN_2015,
    "h_denseunet": Case(
        {
            "layers": (1, 0, 0, 0),
            "growth": 4,
            "first": 8,
            "widths": (6, 5),
            "volume_layers": (0, 0, 1, 0),
            "volume_growth": 4,
            "volume_first": 8,
            "volume_widths": (5, 5),
            "gain": 1.0,
        },
        kernels=frozenset({4, 5}),
    ),
    "highres3dnet": Case(
        {"widths": (4, 7), "depths": (1, 1), "kernels": (3,), "head_width": 5},
    ),
    "hdc_duc": Case({"rates": (2, 4)}, encoders=DILATED, volume=(5, 18, 17)),
    "segnet": Case({"width": 4}, volume=None, unpools=True),
    "segnet_basic": Case({"widths": (4, 6, 8, 6)}, volume=None, unpools=True),
    "fpn": Case({"width": 8, "branch_width": 4}, encoders=PLAIN),
    "kinet": Case({"widths": (4, 6)}, size=(9, 14), sizes=((1, 1), (7, 30))),
    "kiunet": Case(  # one layer a branch; three are held to the authors' numbers
        {"widths": (4,), "last_width": 3}, size=(9, 14), sizes=((1, 1), (7, 30))
    ),
    "linknet": Case({"width": 4, "encoder": Plain((4, 4, 4, 4, 4), convs=1)}),
    "lraspp": Case({"width": 4}, encoders=PLAIN),
    "lw_hcn": Case({"widths": (4, 6, 8), "flat": 1, "convs": 1}),
    "manet": Case({"widths": (6, 4), "position_width": 2, "reduction": 1}, encoders=PLAIN),
    "inception_unet": Case({"widths": (4, 6), "dropouts": (0.1,)}),
    "meshnet": Case({"width": 4, "dilations": (1, 2, 1)}),
    "monai_dynunet": Case(
        {
            "widths": (4, 6, 8),
            "strides": (1, 2, 2),
            "kernels": (3, 3, 3),
            "block": "residual",
            "auxiliary": 1,
        }
    ),
    "monai_unet": Case({"widths": (4, 6, 8), "strides": (2, 2), "units": 1, "use_bias": False}),
    "monai_vnet": Case(
        {
            "width": 2,
            "depths": (1, 1),
            "decoder_depths": (1,),
            "down_dropouts": (0.0, 0.1),
            "up_dropouts": (0.1,),
            "skip_dropouts": (0.1,),
        }
    ),
    "msga": Case(
        {"width": 4, "scales": 1, "stacks": 1, "reduction": 2, "encoder": Plain((4,), convs=1)}
    ),
    "multiresunet": Case({"widths": (4, 6)}),
    "nas_unet": Case({"width": 4, "depth": 1, "genotype": SMALL}),
    "nonlocal_unet": Case({"widths": (4, 6), "attention": "whole"}),
    # smaller, and the attention's coarsest map is one pixel, of which norms leave no gradient
    "pan": Case({"width": 4}, encoders=PLAIN, size=(65, 67), sizes=((1, 1), (7, 90))),
    "pspnet": Case(
        {"width": 4, "auxiliary_width": 4, "branch_width": 2, "bins": (1, 3)}, encoders=PLAIN
    ),
    "r2unet": Case({"widths": (4, 6), "steps": 1}),
    "r2_attention_unet": Case({"widths": (4, 6), "steps": 1, "kernels": "shared"}),
    "refinenet": Case({"widths": (5, 4, 4), "links": 2, "units": (1, 1)}, encoders=PLAIN),
    "reversible_unet": Case({"widths": (4, 8)}),
    "scse_unet": Case({"widths": (4, 6)}),
    "segformer": Case({"width": 6}, encoders=PLAIN),
    "segresnet": Case(SEGRESNET),
    "segresnet_vae": Case(
        SEGRESNET
        | {"depths": (0, 0), "decoder_depths": (0,), "branch": Variational(codes=3, grid=2)}
    ),
    "swin_unetr": Case(
        {"width": 4, "depths": (2,), "heads": (2,), "window": 4, "expansion": 1.5},
        exported="b, 4*h + 8, 4*w + 8",  # at least as large as the window
    ),
    "unet": Case(encoders=WIDTHS),
    "unet_2015": Case(
        {"widths": (4, 6, 8)},
        size=(44, 52),
        sizes=((44, 60),),
        volume=(44, 44, 48),
        exported="b, 4*h + 40, 4*w + 40",
    ),
    "unet_3d": Case({"width": 3, "levels": 2, "use_bias": False}),
    "unet_3plus": Case({"widths": (4, 6), "branch_width": 3}),
    "unet_ensemble": Case({"encoder": Plain((4, 6)), "width": 4}),
    "unet_multi_output": Case(encoders=dict(reversed(WIDTHS.items()))),
    "unet_plus": Case({"encoder": Plain((4, 6)), "width": 4}),
    "unet_plus_plus": Case({"width": 4}, {"plain": {}}),
    "unetr": Case(
        {"size": 32, "width": 4, "hidden_width": 6, "mlp_width": 8, "heads": 2}
        | {"depth": 2, "taps": (1, 1, 2), "block": "plain", "enlarge": "plain"}
    ),
    "upernet": Case({"width": 4}, encoders=PLAIN),
    "vnet": Case({"flavor": "prototxt", "width": 4, "depths": (1, 2)}),
    "wide_unet": Case({"encoder": Plain((5, 10), norm="none")}),
}

TINY: dict[str, tuple[nn.Module, Case]] = {}
"""Every network on every family of encoders, by a name for the test's report."""

FIRST: dict[str, tuple[nn.Module, Case]] = {}
"""Every network once."""

for _name, _case in CASES.items():
    for _family, _more in (_case.encoders or {"": {}}).items():
        _encoder = {"encoder": ENCODERS[_family]} if _family else {}
        _model = create(_name, num_classes=CLASSES, **{**_case.fields, **_encoder, **_more})
        TINY[f"{_name}-{_family}".rstrip("-")] = (_model, _case)
        FIRST.setdefault(_name, (_model, _case))
