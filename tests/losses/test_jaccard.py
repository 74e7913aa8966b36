import jax
import numpy as np
import pytest

from jaxseg.losses import Jaccard


@pytest.mark.parametrize(
    "golden, loss",
    [
        (0.8077289601038303, Jaccard(smooth=0.5e-5)),  # dice.monai softmax jaccard
        (0.80796901453436, Jaccard(smooth=0.0, batch=True)),  # jaccard.smp multiclass
    ],
)
def test_it_equals_monai_and_smp(tensor, golden: float, loss: Jaccard):
    assert float(jax.jit(loss)(*tensor).mean()) == pytest.approx(golden, rel=1e-6)


@pytest.mark.parametrize(
    "golden, loss",
    [
        # jaccard.smp binary
        (0.7561301292098943, Jaccard(smooth=0.0, classes="foreground", batch=True)),
        (0.755361689235399, Jaccard(smooth=0.0, classes="foreground")),  # ritm.SoftIoU mean
    ],
)
def test_of_two_classes_it_is_the_one_of_a_sigmoid(binary, golden: float, loss: Jaccard):
    assert float(jax.jit(loss)(*binary).mean()) == pytest.approx(golden, rel=1e-6)


def test_fractions_by_hand():
    # p = (3/4, 1/4) at both pixels, labels 0 and 1: I = 3/4, 1/4; P + G - I = 7/4, 5/4.
    logits = np.broadcast_to(np.log(np.float32([3, 1])), (1, 2, 2)).copy()
    expected = 1 - (3 / 7 + 1 / 5) / 2
    assert np.allclose(
        jax.jit(Jaccard(smooth=0.0))(logits, np.int32([[0, 1]])), expected, rtol=1e-6
    )
