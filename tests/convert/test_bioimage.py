"""BioImage.IO's nuclei: the released network's own weights give the output stored beside them."""

import jax
import numpy as np
import pytest

from jaxseg import checkpoint, import_torch
from jaxseg.convert import from_torch, read, to_torch

LIBRARY, ARCH = "bioimage.io", "UNet2d"


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "data" / "weights" / "unet2d_nuclei"


@pytest.fixture(scope="module")
def known(folder):
    """An image of zero mean and unit deviation, and the probabilities stored for it."""
    with np.load(folder / "reference.npz") as arrays:
        image, output = arrays["input"], arrays["output"]
    return np.moveaxis((image - image.mean()) / image.std(), 1, -1), np.moveaxis(output, 1, -1)


def test_the_released_network_gives_its_output_and_goes_back(folder, known):
    theirs = read(folder / "unet2d_nuclei.safetensors")
    model, variables = from_torch(LIBRARY, ARCH, {}, theirs)
    x, output = known
    run = jax.jit(lambda v, x: jax.nn.sigmoid(model.apply(v, x, train=False).logits))
    assert abs(run(variables, x) - output).max() <= 1e-5
    back = to_torch(model, variables)
    assert back.keys() == theirs.keys()
    for key, value in theirs.items():
        np.testing.assert_array_equal(back[key], value)


def test_it_becomes_a_run_of_background_and_nucleus(folder, known, tmp_path):
    file = folder / "unet2d_nuclei.safetensors"
    done = import_torch.import_torch(LIBRARY, ARCH, {}, file, tmp_path / "run")
    model, variables = checkpoint.load(tmp_path / "run")
    assert done.parameters == 449_489 + 17 and model.num_classes == 2
    x = known[0][:, 200:296, 200:296]
    one, same = from_torch(LIBRARY, ARCH, {}, read(file))
    z = one.apply(same, x, train=False).logits[..., 0]
    probability = jax.nn.softmax(model.apply(variables, x, train=False).logits)[..., 1]
    np.testing.assert_allclose(probability, jax.nn.sigmoid(z), atol=1e-6)
