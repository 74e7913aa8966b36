"""MONAI's basic UNet++: numbers and counts of MONAI's own, heads of all nodes."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.models.basic_unet_plus_plus import BasicUNetPlusPlus
from tests.models import peers
from tests.models.medical_counts import check_cost


def test_its_numbers_are_those_of_monai(shared):
    model, name = BasicUNetPlusPlus(2, deep_supervision=True), "monai/BasicUNetPlusPlus2d_ds"
    names = model.names["monai"]
    peers.check_fingerprint(shared / "facts", name, model, names)


@pytest.mark.parametrize("name", ["2d_ds", "3d"])
def test_it_costs_what_monai_does(shared, name):
    check_cost(
        shared / "facts",
        f"monai/BasicUNetPlusPlus{name}",
        BasicUNetPlusPlus(2, deep_supervision=True),
    )


def test_without_supervision_it_has_the_same_parameters_and_one_output():
    x = jnp.zeros((1, 9, 8, 1))

    def made(**fields):
        model = BasicUNetPlusPlus(2, widths=(2, 2, 2), last_width=3, **fields)
        run = lambda: model.init_with_output(jax.random.key(0), x, train=False)  # noqa: E731
        return jax.eval_shape(run)

    (plain, few), (supervised, all_of_them) = made(), made(deep_supervision=True)
    assert few == all_of_them and plain.auxiliary == ()
    assert [a.shape for a in supervised.auxiliary] == [(1, 9, 8, 2)]
