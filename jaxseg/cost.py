"""What a network costs, counted without compiling or running it.

A multiply-accumulate (MAC) is one of a convolution, transposed convolution or matmul; biases,
norms, activations, pooling and interpolation count nothing. This is the convention of torch's
``FlopCounterMode`` (halved), of fvcore's convolution and matmul part, and of torchvision.
"""

import gc
import math
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import flax.linen as nn
import jax
from jax.extend import core
from jax.interpreters import partial_eval

# Jitted functions that resize by a matmul: ours in ops.resample, and jax.image's.
_INTERPOLATION = ("interpolate", "_resize")


A_PROCESS_IS_WORTH = 8
"""As many networks as one process counts while another starts."""


def parameters(variables: Mapping[str, Any]) -> int:
    """Number of trainable numbers: collection ``params`` only, so no running statistics."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))


def macs(function: Callable, *args: Any) -> int:
    """MACs of one call of ``function``; arrays in ``args`` may be ``jax.ShapeDtypeStruct``.

    Counts what is traced: the backward pass of a gradient, each turn of a scan, the dearest
    branch of a conditional (of a choice by platform the default), the body of a while loop once.
    What no result depends on counts nothing: a compiler drops it.
    """
    return macs_of_jaxpr(jax.make_jaxpr(function)(*args).jaxpr)


def macs_of_jaxpr(jaxpr: core.Jaxpr, used: Sequence[bool] | None = None) -> int:
    """MACs of what is traced already, for the outputs that are ``used`` (None: all of them)."""
    needed, _ = partial_eval.dce_jaxpr(jaxpr, list(used or [True] * len(jaxpr.outvars)))
    return _of_jaxpr(needed)


def counted(module: nn.Module, image: jax.ShapeDtypeStruct) -> dict[str, int]:
    """``parameters`` of a network or an encoder, and ``macs`` of one call; it is traced once."""
    found = {}

    def run(image: jax.Array) -> Any:
        out, variables = module.init_with_output(jax.random.key(0), image, train=False)
        found["parameters"] = parameters(variables)
        return out

    found["macs"] = macs(run, image)
    return found


def counted_all(
    modules: Sequence[nn.Module], images: Sequence[jax.ShapeDtypeStruct]
) -> list[dict[str, int]]:
    """What ``counted`` gives of each; of many by a process a core, as tracing keeps one busy."""
    processes = min(os.cpu_count() or 1, len(modules) // A_PROCESS_IS_WORTH)
    if processes < 2:
        return [counted(*each) for each in zip(modules, images, strict=True)]
    spawn = multiprocessing.get_context("spawn")  # a fork beside JAX's threads may hang
    with ProcessPoolExecutor(processes, spawn, initializer=_begin) as pool:
        return list(pool.map(counted, modules, images))


def _begin() -> None:
    gc.disable()  # which would take a third of the time, for one that ends at once
    jax.config.update("jax_platforms", "cpu")  # each would hold a part of an accelerator's memory


def _of_jaxpr(jaxpr: core.Jaxpr) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: core.JaxprEqn) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "conv_general_dilated":
        return _of_convolution(equation)
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        (left, _), out = _shapes(equation)
        return math.prod(out) * math.prod(left[i] for i in contracted)
    if params.get("name") in _INTERPOLATION:
        return 0
    inner = [_of_jaxpr(jaxpr) for value in params.values() for jaxpr in _jaxprs(value)]
    if name == "cond":
        platforms = params.get("branches_platforms") or ()
        # of a choice by platform the plain form: another may multiply with zeros, or not at all
        return inner[platforms.index(None)] if None in platforms else max(inner)
    return sum(inner) * params.get("length", 1) if name == "scan" else sum(inner)


def _of_convolution(equation: core.JaxprEqn) -> int:
    params, ((left, right), out) = equation.params, _shapes(equation)
    _, kernel, _ = params["dimension_numbers"]
    features, per_group, *space = kernel
    taps = math.prod(right[i] for i in space)
    if math.prod(params["lhs_dilation"]) > 1:
        # Transposed: each input number meets the whole kernel; the zeros between do not count.
        return math.prod(left) * taps * right[features] // params["feature_group_count"]
    return math.prod(out) * taps * right[per_group]


def _shapes(equation: core.JaxprEqn) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
    *inputs, out = (v.aval.shape for v in [*equation.invars, *equation.outvars])  # pyright: ignore
    return inputs, out


def _jaxprs(value: Any) -> Iterator[core.Jaxpr]:
    if isinstance(value, core.ClosedJaxpr):
        yield value.jaxpr
    elif isinstance(value, core.Jaxpr):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _jaxprs(item)
