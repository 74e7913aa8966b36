import jax
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses import Dice, FocalTversky, Tversky


@pytest.mark.parametrize(
    "golden, loss",
    [
        # tversky.monai softmax a=.5 b=.5
        (0.6842507800120718, Tversky(alpha=0.5, beta=0.5)),
        (0.6833230492113606, Tversky()),  # tversky.monai softmax alpha(FP)=.3 beta(FN)=.7
        # tversky.smp multiclass alpha=.3 beta=.7 gamma=1
        (0.6833915060507616, Tversky(smooth=0.0, batch=True)),
        (0.6833234216843365, Tversky(smooth=0.0)),  # tversky.kornia alpha=.3 beta=.7
        # tversky.smp multiclass alpha=.3 beta=.7 gamma=.75 (focal)
        (0.7516266711430767, FocalTversky(smooth=0.0, batch=True, power_of="mean")),
    ],
)
def test_it_equals_monai_smp_and_kornia(tensor, golden: float, loss):
    assert float(jax.jit(loss)(*tensor).mean()) == pytest.approx(golden, rel=1e-6)


def test_of_two_classes_it_is_monais_of_a_sigmoid(binary):
    golden = 0.5694356819123206  # tversky.monai sigmoid binary alpha(FP)=.3 beta(FN)=.7
    value = jax.jit(Tversky(classes="foreground"))(*binary).mean()
    assert float(value) == pytest.approx(golden, rel=1e-6)


def test_it_equals_abrahams_code(binary, as_one):
    index = 1 - jax.jit(Tversky(smooth=1.0, classes="foreground"))(*as_one(binary))[0]
    # tversky.formula abraham binary flatten-all alpha(FN)=.7 smooth=1 index
    assert float(index) == pytest.approx(0.44164554589836374, rel=1e-6)
    loss = jax.jit(FocalTversky(classes="foreground"))(*as_one(binary))[0]
    # focaltversky.formula abraham (1-TI)^0.75
    assert float(loss) == pytest.approx(0.6459255872185334, rel=1e-6)


def test_excess_and_miss_have_their_factors():
    # p = (3/4, 1/4) at three pixels, labels 0, 0, 1; class 0: TP 3/2, FP 3/4, FN 1/2.
    logits = np.broadcast_to(np.log(np.float32([3, 1])), (1, 3, 2)).copy()
    label = np.int32([[0, 0, 1]])
    first = 1.5 / (1.5 + 0.2 * 0.75 + 0.6 * 0.5)
    second = 0.25 / (0.25 + 0.2 * 0.5 + 0.6 * 0.75)
    loss = Tversky(alpha=0.2, beta=0.6, smooth=0.0)
    assert np.allclose(jax.jit(loss)(logits, label), 1 - (first + second) / 2, rtol=1e-6)
    focal = FocalTversky(gamma=2.0, alpha=0.2, beta=0.6, smooth=0.0)
    expected = ((1 - first) ** 0.5 + (1 - second) ** 0.5) / 2
    assert np.allclose(jax.jit(focal)(logits, label), expected, rtol=1e-6)


def test_halves_are_dice(tensor):
    dice = jax.jit(Dice(smooth=2e-5))(*tensor)
    np.testing.assert_allclose(jax.jit(Tversky(alpha=0.5, beta=0.5))(*tensor), dice, rtol=1e-6)


def test_negative_factors_are_refused():
    with pytest.raises(UserError, match="Tversky.alpha=-0.1: must be at least 0"):
        Tversky(alpha=-0.1)
    with pytest.raises(UserError, match="FocalTversky.gamma=0.0: must be above 0"):
        FocalTversky(gamma=0.0)
