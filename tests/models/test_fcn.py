"""FCN on a dilated encoder: torchvision's numbers, those of its auxiliary head among them."""

from jaxseg.models import create
from tests.models import peers


def test_fcn_agrees_with_torchvision(shared):
    model = create("fcn", num_classes=21, auxiliary="head")
    peers.check(shared / "golden", "tv_fcn_resnet50", model)
