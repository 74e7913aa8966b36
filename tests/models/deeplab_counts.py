"""The counts of DeepLab and its relatives, for `counts.py`."""

from typing import Any

from jaxseg.encoders import ResNet

Row = tuple[str, dict[str, Any]]

DEPTHS, STRIDES = (18, 34, 50, 101), (16, 8)

V3_PLUS = {"form": "community", "context_convs": 1, "decoder_convs": 1, "order": "torch"}
"""DeepLab v3+ of segmentation_models_pytorch, but for its dropout, and for rates at stride 16."""


def _v3_plus() -> dict[str, Row]:
    def row(depth: int, stride: int, **fields: Any) -> Row:
        fields = {"form": "standard", **fields}
        return "deeplab_v3_plus", {"encoder": ResNet(depth, output_stride=stride), **fields}

    rows = {f"smp/DeepLabV3Plus/resnet{depth}": row(depth, 16, **V3_PLUS) for depth in DEPTHS}
    for depth in (50, 101):
        rows[f"smp/DeepLabV3Plus/resnet{depth} os8"] = row(depth, 8, **V3_PLUS)
        encoder = ResNet(depth, output_stride=16, strided="1x1")
        rows[f"deeplabv3plus/kazuto/resnet{depth}/os16"] = row(depth, 16, encoder=encoder)
    for stride in STRIDES:
        rows[f"deeplabv3plus/jfzhang95/resnet/os{stride}"] = row(101, stride)
        for depth in (50, 101):
            key = f"deeplab/VainF/deeplabv3plus_resnet{depth}/os{stride}"
            rows[key] = row(depth, stride, decoder_convs=1)
    return rows


DEEPLAB: dict[str, Row] = {**_v3_plus()}
