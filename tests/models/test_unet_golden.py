"""`unet` with ResNet encoders gives the numbers of segmentation_models_pytorch's Unet."""

import pytest

from jaxseg.models import create
from tests.models import peers


@pytest.mark.parametrize(
    ("record", "encoder", "classes"),
    [("smp_unet_resnet34", "resnet34", 5), ("smp_unet_resnet50_1ch", "resnet50", 2)],
)
def test_unet_agrees_with_segmentation_models_pytorch(shared, record, encoder, classes):
    model = create("unet", num_classes=classes, encoder=encoder)
    peers.check(shared / "golden", record, model)
