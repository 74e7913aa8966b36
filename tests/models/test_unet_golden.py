"""`unet` with classification encoders gives the numbers of segmentation_models_pytorch's Unet."""

import pytest

from jaxseg.models import create
from tests.models import peers
from tests.models.counts import after_vgg


@pytest.mark.parametrize(
    ("record", "fields", "classes"),
    [
        ("smp_unet_resnet34", {"encoder": "resnet34"}, 5),
        ("smp_unet_resnet50_1ch", {"encoder": "resnet50"}, 2),
        ("smp_unet_mobilenet_v2", {"encoder": "mobilenet_v2"}, 5),
        ("smp_unet_densenet121", {"encoder": "densenet121"}, 5),
        ("smp_unet_vgg16_bn", after_vgg(16, "batch"), 5),
    ],
)
def test_unet_agrees_with_segmentation_models_pytorch(shared, record, fields, classes):
    model = create("unet", num_classes=classes, **fields)
    peers.check(shared / "golden", record, model)
