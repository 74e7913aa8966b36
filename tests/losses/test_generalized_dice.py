import jax
import numpy as np
import pytest

from jaxseg.losses import GeneralizedDice


@pytest.mark.parametrize(
    "golden, loss",
    [
        (0.7568766626553284, GeneralizedDice()),  # gdice.formula Sudre per-image
        (0.7570457669884451, GeneralizedDice(batch=True)),  # gdice.formula Sudre batch
        # gdice.monai softmax square default
        (0.7568627106296036, GeneralizedDice(smooth=1e-5)),
        # gdice.monai softmax square exclude_bg
        (0.7778821594523115, GeneralizedDice(smooth=1e-5, classes="foreground")),
        # gdice.monai softmax square batch
        (0.7570178504454673, GeneralizedDice(smooth=1e-5, batch=True)),
        # gdice.monai softmax simple
        (0.7140060977453137, GeneralizedDice(smooth=1e-5, volumes="simple")),
        # dice.kornia micro (a similarity's loss: 1 - the pooled Dice of each image)
        (0.6574066659025944, GeneralizedDice(volumes="uniform")),
    ],
)
def test_it_equals_the_paper_monai_and_kornia(tensor, golden: float, loss: GeneralizedDice):
    assert float(jax.jit(loss)(*tensor).mean()) == pytest.approx(golden, rel=1e-6)


def test_fractions_by_hand():
    # p = (3/4, 1/4) at three pixels, labels 0, 0, 1: I = 3/2, 1/4; P + G = 9/4 + 2, 3/4 + 1.
    logits = np.broadcast_to(np.log(np.float32([3, 1])), (1, 3, 2)).copy()
    label = np.int32([[0, 0, 1]])
    for volumes, w in {"square": (1 / 4, 1), "simple": (1 / 2, 1), "uniform": (1, 1)}.items():
        expected = 1 - 2 * (w[0] * 1.5 + w[1] * 0.25) / (w[0] * 4.25 + w[1] * 1.75)
        assert np.allclose(
            jax.jit(GeneralizedDice(volumes=volumes))(logits, label), expected, rtol=1e-6
        )


def test_an_absent_class_weighs_as_the_smallest_present():
    # p = 1/3 each; labels 0, 0, 1. Classes 1 and 2 weigh 1, class 0 1/4.
    logits, label = np.zeros((1, 3, 3), np.float32), np.int32([[0, 0, 1]])
    expected = 1 - 2 * (1 / 4 * 2 / 3 + 1 / 3) / (1 / 4 * 3 + 2 + 1)
    assert np.allclose(jax.jit(GeneralizedDice())(logits, label), expected, rtol=1e-6)


def test_a_large_volume_weighs_by_its_share_and_not_by_its_size():
    # The same image of 4 and of 262144 pixels: 1 / G^2 is 1e-11 in the latter.
    for n in (1, 1 << 16):
        label = np.broadcast_to(np.int32([[0, 0, 0, 1]]), (n, 4)).reshape(1, -1)
        value = jax.jit(GeneralizedDice())(np.zeros((*label.shape, 2), np.float32), label)
        expected = 1 - 2 * (1 / 9 * 3 / 2 + 1 / 2) / (1 / 9 * 5 + 3)
        assert np.allclose(value, expected, rtol=1e-5)
