"""Pooling, resizing, shuffles and transposed convolution give PyTorch's numbers.

Forward and gradient, of tests/golden/make_sampling.py; both of a platform choice's forms.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.layers import TransposedConv
from jaxseg.ops import (
    adaptive_average_pool,
    average_pool,
    max_pool,
    max_pool_with_indices,
    max_unpool,
    pixel_shuffle,
    pixel_unshuffle,
    resize,
)

STORE = np.load(Path(__file__).parent.parent / "golden" / "sampling.npz")
POOLS = {
    "3s2p1": {"window": 3, "stride": 2, "padding": 1},
    "2_ceil": {"ceil_mode": True},
    "3s2_ceil": {"window": 3, "stride": 2, "ceil_mode": True},
    "3s2p1_ceil": {"window": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    "2s3_ceil": {"window": 2, "stride": 3, "ceil_mode": True},
    "2s3p1_ceil": {"window": 2, "stride": 3, "padding": 1, "ceil_mode": True},
    "3s1p1": {"window": 3, "stride": 1, "padding": 1},
    "5s1p2": {"window": 5, "stride": 1, "padding": 2},
    "5s3p2": {"window": 5, "stride": 3, "padding": 2},
    "2s3": {"window": 2, "stride": 3},
    "axes": {"window": (3, 2), "stride": (1, 2), "padding": (1, 0)},
    "1d": {"window": 3, "stride": 2, "padding": 1},
    "3d_ceil": {"ceil_mode": True},
    "3d_3s2p1": {"window": 3, "stride": 2, "padding": 1},
    "3d_axes": {"window": (1, 2, 2), "padding": (0, 1, 0)},
}
UNPOOL = {
    "even": {},
    "odd": {},
    "ceil": {"ceil_mode": True},
    "three": {"window": 3, "padding": 1},
    "axes": {"window": (2, 3)},
    "3d": {"ceil_mode": True},
}
TRANSPOSED = {
    "2s2": {},
    "2s2o1": {"output_padding": 1},
    "2s2p1": {"padding": 1},
    "4s2p1": {"kernel_size": 4, "padding": 1},
    "4s2": {"kernel_size": 4},
    "3s2p1o1": {"kernel_size": 3, "padding": 1, "output_padding": 1},
    "3s2": {"kernel_size": 3},
    "3s1p1": {"kernel_size": 3, "stride": 1, "padding": 1},
    "5s3p1o2": {"kernel_size": 5, "stride": 3, "padding": 1, "output_padding": 2},
    "8s4p2": {"kernel_size": 8, "stride": 4, "padding": 2},
    "1s2": {"kernel_size": 1, "output_padding": 1},
    "axes": {"kernel_size": (3, 4), "stride": (1, 2), "padding": (1, 0), "output_padding": (0, 1)},
    "groups": {"kernel_size": 4, "padding": 1, "groups": 2},
    "depthwise": {"kernel_size": 3, "padding": 1, "output_padding": 1, "groups": 4},
    "1d": {"kernel_size": 4, "padding": 1},
    "3d_2s2": {},
    "3d_4s2p1": {"kernel_size": 4, "padding": 1},
    "3d_3s2p1o1": {"kernel_size": 3, "padding": 1, "output_padding": 1},
    "3d_axes": {"stride": (1, 2, 2)},
    "3d_groups": {"kernel_size": 3, "padding": 1, "output_padding": 1, "groups": 2},
}


def golden(case: str) -> dict[str, np.ndarray]:
    return {key[len(case) + 1 :]: STORE[key] for key in STORE if key.startswith(f"{case}/")}


def cases(start: str) -> list[str]:
    found = dict.fromkeys(key.split("/")[0] for key in STORE if key.startswith(start))
    assert found
    return list(found)


def close(ours, theirs, tolerance: float = 1e-5) -> None:
    scale = max(1.0, float(abs(theirs).max()))
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0, atol=tolerance * scale)


def sweep(y):
    """The weights of the sum whose gradient the golden holds."""
    return jnp.asarray(np.cos(np.arange(y.size)).astype("f4").reshape(y.shape))


def agree(function, case: str) -> None:
    g = golden(case)

    @jax.jit
    def both(x):
        y, back = jax.vjp(function, x)
        return y, back(sweep(y))[0]

    y, dx = both(g["x"])
    close(y, g["y"]), close(dx, g["dx"])


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("values", ["max", "max_ties"])
def test_max_pooling_agrees_with_torch(values: str, name: str):
    agree(functools.partial(max_pool, **POOLS[name]), f"{values}_{name}")


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("counts", ["with", "without"])
def test_average_pooling_agrees_with_torch(name: str, counts: str):
    pool = functools.partial(average_pool, **POOLS[name], count_include_pad=counts == "with")
    agree(pool, f"average_{name}_{counts}")


@pytest.mark.parametrize("name", UNPOOL)
def test_unpooling_agrees_with_torch(name: str):
    fields = UNPOOL[name]

    def through(x):
        y, index = max_pool_with_indices(x, **fields)
        where = {key: value for key, value in fields.items() if key != "ceil_mode"}
        return max_unpool(jnp.sin(y), index, x.shape[1:-1], **where)

    agree(through, f"unpool_{name}")


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize("case", cases("adaptive"))
def test_adaptive_pooling_agrees_with_torch(case: str):
    size = tuple(int(n) for n in case.split("_to_")[1].split("x"))
    agree(lambda x: adaptive_average_pool(x, size), case)


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize("case", [*cases("linear"), *cases("nearest")])
def test_resizing_agrees_with_torch(case: str):
    method, *corners, _ = case.split("_by_")[0].split("_to_")[0].split("_")
    if "_by_" in case:
        size, scale = None, float(case.split("_by_")[1])
    else:
        size, scale = tuple(int(n) for n in case.split("_to_")[1].split("x")), None
    agree(lambda x: resize(x, size, method, "corners" in corners, scale), case)


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize(("name", "layer"), [("", pixel_shuffle), ("un", pixel_unshuffle)])
def test_a_shuffle_agrees_with_torch(name: str, layer, factor: int):
    agree(lambda x: layer(x, factor), f"{name}shuffle_{factor}")


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize("name", TRANSPOSED)
def test_a_transposed_convolution_agrees_with_torch(name: str):
    g, layer = golden(f"transposed_{name}"), TransposedConv(4, **TRANSPOSED[name])
    params = {key.split("/")[1]: value for key, value in g.items() if "params/" in key}

    @jax.jit
    def both(params, x):
        y, back = jax.vjp(lambda p, x: layer.apply({"params": p}, x), params, x)
        return y, *back(sweep(y))

    y, dparams, dx = both(params, g["x"])
    close(y, g["y"]), close(dx, g["dx"])
    close(dparams["kernel"], g["grads/kernel"]), close(dparams["bias"], g["grads/bias"])
