"""Each layer gives PyTorch's numbers, forward and gradient (tests/golden/make_layers.py)."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.layers import Conv, Norm, TransposedConv
from jaxseg.ops import enlarge, max_pool, resize

STORE = np.load(Path(__file__).parent.parent / "golden" / "layers.npz")
CONVS = {
    "conv": {},
    "conv_stride": {"stride": 2},
    "conv_dilated": {"dilation": 2},
    "conv_stem": {"kernel_size": 7, "stride": 2},
    "conv_1x1": {"kernel_size": 1},
    "conv_shortcut": {"kernel_size": 1, "stride": 2},
}
KERNELS = {
    **{f"{name}_{size}": Conv(3, **f) for name, f in CONVS.items() for size in ("8x8", "7x5")},
    "conv_grouped": Conv(6, groups=2),
    "conv_3d": Conv(3),
    "conv_3d_stride": Conv(3, stride=2),
    "transposed_2d": TransposedConv(3),
    "transposed_3d": TransposedConv(3),
    "transposed_by_4": TransposedConv(3, stride=4),
}
FUNCTIONS = {
    **{f"pool_{d}": lambda x: max_pool(x) for d in ("2d", "3d", "ties")},
    **{
        f"pool_stem_{d}": lambda x: max_pool(x, 3, stride=2, padding=1)
        for d in ("2d", "3d", "ties")
    },
    **{f"linear_by_{n}": lambda x, n=n: enlarge(x, n, "linear") for n in (2, 3, 4)},
    **{f"nearest_by_{n}": lambda x, n=n: enlarge(x, n, "nearest") for n in (2, 3, 4)},
    "linear_by_2_3d": lambda x: enlarge(x, 2, "linear"),
    **{
        f"{method}_to_{m}x{n}": lambda x, m=m, n=n, method=method: resize(x, (m, n), method)
        for method in ("linear", "nearest")
        for m, n in ((9, 4), (3, 11), (5, 7))
    },
}


def golden(case: str) -> dict[str, np.ndarray]:
    return {key.split("/")[1]: STORE[key] for key in STORE if key.split("/")[0] == case}


def close(ours, theirs, tolerance: float = 1e-5) -> None:
    scale = max(1.0, float(abs(theirs).max()))
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("case", KERNELS)
def test_a_convolution_agrees_with_torch(case: str, platform):
    g, layer = golden(case), KERNELS[case].clone(use_bias=False)

    @jax.jit
    def both(kernel, x):
        y, back = jax.vjp(lambda k, x: layer.apply({"params": {"kernel": k}}, x), kernel, x)
        return y, *back(jnp.asarray(g["w"]))

    y, dkernel, dx = both(g["kernel"], g["x"])
    close(y, g["y"]), close(dkernel, g["dkernel"]), close(dx, g["dx"])


@pytest.mark.parametrize("case", FUNCTIONS)
def test_a_function_agrees_with_torch(case: str, platform):
    g = golden(case)
    y, back = jax.vjp(jax.jit(FUNCTIONS[case]), jnp.asarray(g["x"]))
    close(y, g["y"]), close(back(jnp.asarray(g["w"]))[0], g["dx"])


@pytest.mark.parametrize("rank", ["2d", "3d"])
@pytest.mark.parametrize("kind", ["batch", "batch_eval", "group", "instance"])
def test_a_norm_agrees_with_torch(kind: str, rank: str, platform):
    g = golden(f"norm_{kind}_{rank}")
    norm = Norm(kind.removesuffix("_eval"), groups=2 if kind == "group" else None)
    variables = {"params": {"scale": g["scale"], "bias": g["bias"]}}
    if "batch" in kind:
        variables["batch_stats"] = {"mean": g["mean"], "var": g["var"]}

    def apply(x):
        return norm.apply(variables, x, train=kind == "batch", mutable=["batch_stats"])

    y, back, new = jax.vjp(apply, jnp.asarray(g["x"]), has_aux=True)
    close(y, g["y"]), close(back(jnp.asarray(g["w"]))[0], g["dx"])
    if kind == "batch":
        n = g["x"].size // g["x"].shape[-1]
        close(new["batch_stats"]["mean"], g["new_mean"])
        unbiased = 0.9 + (new["batch_stats"]["var"] - 0.9) * n / (n - 1)  # as torch stores it
        close(unbiased, g["new_var"])
