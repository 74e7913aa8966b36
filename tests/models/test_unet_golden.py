"""`unet` with ResNet encoders gives the numbers of segmentation_models_pytorch's Unet."""

import pytest

from jaxseg.models import create
from tests.models import peers

NAMES = [
    (r"encoder\.(conv|bn)1", r"encoder.stem_conv"),
    (r"encoder\.layer(\d)\.(\d+)\.(?:conv|bn)(\d)", r"encoder.layer\1_block\2.conv\3"),
    (r"encoder\.layer(\d)\.(\d+)\.downsample\.\d", r"encoder.layer\1_block\2.shortcut"),
    *((rf"decoder\.blocks\.{i}\.conv(\d)\.\d", rf"decoder.level{4 - i}_conv\1") for i in range(5)),
    (r"segmentation_head\.0", "head!"),
]


@pytest.mark.parametrize(
    ("record", "encoder", "classes"),
    [("smp_unet_resnet34", "resnet34", 5), ("smp_unet_resnet50_1ch", "resnet50", 2)],
)
def test_unet_agrees_with_segmentation_models_pytorch(shared, record, encoder, classes):
    model = create("unet", num_classes=classes, encoder=encoder)
    peers.check(shared / "golden", record, model, NAMES)
