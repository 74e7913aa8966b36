import pytest

from jaxseg.convert import LIBRARIES
from jaxseg.convert.constructor import constructor_of
from jaxseg.encoders import ResNet, Standardize
from jaxseg.models import DynUNet, MonaiDynUNet, UNet
from jaxseg.types import at_dtype

SMP = "segmentation_models_pytorch"
DYNAMIC = "dynamic_network_architectures"


def test_a_network_is_found_whatever_it_makes_of_the_image_first():
    standardize = Standardize(mean=(0.5,) * 4, std=(0.5,) * 4)
    model = at_dtype(UNet(5, encoder=ResNet(18, standardize=standardize)), "bfloat16")
    kwargs = {"encoder_name": "resnet18", "classes": 5, "in_channels": 4}
    assert constructor_of(model, SMP, 4, 2) == (SMP, "Unet", kwargs)
    assert constructor_of(model, "torchvision", 4, 2) is None


def test_another_computation_of_the_same_shapes_is_not_taken_for_it():
    model = UNet(5, encoder=ResNet(18), upsample="bilinear")
    assert constructor_of(model, SMP, 3, 2) is None
    assert constructor_of(UNet(5, encoder=ResNet(18)), SMP, 3, 3) is None


def test_a_network_of_any_rank_is_found():
    kwargs = {"out_channels": 3, "channels": (4, 6, 8), "strides": (2, 2), "kernel_size": 3}
    kwargs |= {"up_kernel_size": 3, "num_res_units": 1, "in_channels": 2, "spatial_dims": 3}
    library = "monai.networks.nets"
    model = LIBRARIES[library]["UNet"](**kwargs).model
    assert constructor_of(model, "monai", 2, 3) == (library, "UNet", kwargs)


@pytest.mark.parametrize(
    ("library", "arch", "model"),
    [
        ("monai.networks.nets", "DynUNet", MonaiDynUNet(2, (4, 6, 8), (1, 2, 2), (3, 3, 3))),
        (
            "monai.networks.nets",
            "DynUNet",
            MonaiDynUNet(2, (4, 6, 8), (1, 2, 2), (3, 3, 3), "residual", 1, up_bias=True),
        ),
        (DYNAMIC, "PlainConvUNet", DynUNet(2, (4, 6), (1, (2, 1, 2)), (3, 3), (1, 2), (1,))),
        (
            DYNAMIC,
            "ResidualEncoderUNet",
            DynUNet(2, (4, 6), (1, 2), (3, 3), (1, 2), (1,), "bottleneck", "plain", (2, 3), 5),
        ),
        (
            DYNAMIC,
            "ResidualUNet",
            DynUNet(2, (4, 6), (1, 2), (3, 3), (1, 1), (1,), "residual", "residual"),
        ),
    ],
)
def test_a_network_of_levels_is_found_with_all_its_arguments(library, arch, model):
    found = constructor_of(model, library, 3, 3)
    assert found is not None and found[:2] == (library, arch)
    again = LIBRARIES[library][arch](**found.kwargs)
    assert (again.model, again.channels, again.rank) == (model, 3, 3)


@pytest.mark.parametrize("auxiliary", [None, True])
def test_an_auxiliary_head_is_an_argument(auxiliary):
    library, arch = "torchvision.models.segmentation", "fcn_resnet50"
    model = LIBRARIES[library][arch](num_classes=4, aux_loss=auxiliary).model
    found = constructor_of(model, "torchvision", 3, 2)
    assert found is not None and found[:2] == (library, arch)
    assert found.kwargs == {"num_classes": 4} | ({"aux_loss": True} if auxiliary else {})
