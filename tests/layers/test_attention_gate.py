"""The attention gate; numbers of PyTorch: test_attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.layers.attention_gate import AttentionGate

KEY = jax.random.key(0)


def shapes(gate: AttentionGate, x, g) -> dict:
    return jax.eval_shape(lambda: gate.init(KEY, jnp.zeros(x), jnp.zeros(g), train=False))["params"]


def test_the_community_has_the_parameters_of_leejunhyun_and_monai():
    made = shapes(AttentionGate(form="community"), (1, 8, 8, 512), (1, 8, 8, 512))
    assert {name: part.get("kernel", part.get("scale")).shape for name, part in made.items()} == {
        "theta": (1, 1, 512, 256), "phi": (1, 1, 512, 256), "psi": (1, 1, 256, 1),
        "theta_norm": (256,), "phi_norm": (256,), "psi_norm": (1,),
    }  # fmt: skip
    assert all("bias" in part for part in made.values())


def test_the_paper_has_the_parameters_of_the_authors_gate():
    made = shapes(AttentionGate(), (1, 8, 8, 8, 16), (1, 4, 4, 4, 32))
    assert made["theta"]["kernel"].shape == (2, 2, 2, 16, 16)
    assert "bias" not in made["theta"]
    assert made["phi"]["kernel"].shape == (1, 1, 1, 32, 16)
    assert made["psi"]["kernel"].shape == (1, 1, 1, 16, 1)
    assert made["out"]["kernel"].shape == (1, 1, 1, 16, 16)
    assert sum(a.size for a in jax.tree.leaves(made)) == 2048 + 512 + 16 + 17 + 272 + 32


def test_the_community_weighs_each_pixel_of_the_skip_between_0_and_1():
    x = jax.random.normal(KEY, (2, 6, 5, 4))
    y, _ = AttentionGate(form="community").init_with_output(KEY, x, x + 1, train=False)
    weight = y / x
    assert float(weight.min()) > 0 and float(weight.max()) < 1
    np.testing.assert_allclose(weight.std(-1), 0, atol=1e-5)


def test_a_gate_of_the_wrong_size_is_refused():
    with pytest.raises(UserError, match=r"a gate of size \(8, 8\), that of x; it is \(4, 4\)"):
        shapes(AttentionGate(form="community"), (1, 8, 8, 4), (1, 4, 4, 4))
    with pytest.raises(UserError, match=r"stride=4 leaves nothing of size \(3, 8\); at most 3"):
        shapes(AttentionGate(stride=4), (1, 3, 8, 4), (1, 2, 2, 4))
