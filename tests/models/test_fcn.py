"""FCN on a dilated encoder: torchvision's, whose numbers stand in tests/convert/test_records.py."""

from jaxseg.convert.torchvision import SEGMENTATION
from jaxseg.models import create


def test_its_default_is_torchvisions():
    theirs = SEGMENTATION["fcn_resnet50"](aux_loss=True).model
    assert theirs == create("fcn", num_classes=21, auxiliary="head")
