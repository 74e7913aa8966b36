"""A run's network as ONNX, through ``jax2onnx``: probabilities of images of one size.

What is exported is the program of `jaxseg.export`, with its branches by platform settled first:
ONNX has one form for all, and the exporter has none for the choice.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export
from jax.extend import core as jax_core

from jaxseg import checkpoint, disk
from jaxseg.errors import UserError, first_line
from jaxseg.types import output_size

INSTALL = "pip install 'jaxseg[onnx]' && pip install --no-deps jax2onnx"
"""Without its dependencies, one of which asks for an older orbax than ours."""

TOLERANCE = 1e-4
"""How far the probabilities of onnxruntime may lie from ours."""

WHOLE = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "checkpoint")
"""Operations that are only a program of their own, which is gone through."""


@dataclass(frozen=True)
class Onnx:
    """What was written: ``size`` bytes for images such as ``b, 128, 128, 3``, called ``name``."""

    path: Path
    size: int
    name: str
    image: str
    notes: str

    def __str__(self) -> str:
        """The command's last line: what it is and how to run it."""
        return (
            f"{self.path}: {self.size / 1e6:.2f} MB, float32 image [{self.image}] {self.notes}, of "
            "this size only -> probabilities; run it with "
            f'onnxruntime.InferenceSession("{self.path}").run(None, {{"{self.name}": image}})'
        )


def export_onnx(
    workdir: str | Path,
    output: str | Path,
    *,
    step: int | None = None,
    classes: Iterable[type] = (),
    verify: bool = True,
) -> Onnx:
    """Write ``images [b *spatial c] -> probabilities [b *spatial k]``, parameters inside.

    The size is ``evaluation.window``, else ``data.patch``; the batch is free where the exporter
    can, else one image. Images are raw, as of `jaxseg.export.export`. onnxruntime runs it once
    beside ours. UserError where the exporter is not installed, lacks an operation of the network
    or gives other numbers; nothing is written then.
    """
    workdir, output = Path(workdir), Path(output)
    if output.is_dir():
        raise UserError(f"--output {output}: a folder; name a file, such as model.onnx")
    try:
        import jax2onnx  # pyright: ignore[reportMissingImports]
        import onnxruntime  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(f"--format onnx: needs {error.name}: {INSTALL}") from error
    run = checkpoint.opened(workdir, step, classes=classes, verify=verify)
    data, evaluation = run.experiment.data, run.experiment.evaluation
    size = evaluation.window or data.patch
    if size is None:
        raise UserError(f"{workdir}: set evaluation.window in its experiment.json: the one size")
    output_size(run.model, size)  # UserError where the network does not take it
    predictor = run.experiment.recipe.predictor(evaluation)
    program = predictor.exported(run.model, run.variables, data)
    rest = (*map(str, size), str(data.dataset.channels))
    failure: Exception = ValueError()
    for batch in ("b", "1"):  # some networks can only be exported for one image at a time
        shape = ", ".join((batch, *rest))
        image = jax.ShapeDtypeStruct(jax_export.symbolic_shape(shape), jnp.float32)
        try:
            blob = jax2onnx.to_onnx(settled(program, image), [image]).SerializeToString()
            session = onnxruntime.InferenceSession(blob, providers=["CPUExecutionProvider"])
            name = _checked(session, program, (3 if batch == "b" else 1, *image.shape[1:]))
            break
        except Exception as error:  # each of its converters words it its own way
            failure = error
    else:
        raise UserError(
            f"{workdir}: jax2onnx cannot export {type(run.model).__name__} ({first_line(failure)})"
        ) from failure
    if output.parent != Path():
        disk.folder(output.parent)
    with disk.replacing(output) as beside:
        beside.write_bytes(blob)
    return Onnx(output, len(blob), name, shape, data.expects)


def _checked(session: Any, ours: Callable, shape: tuple[int, ...]) -> str:
    """What the image is called; ValueError where the session gives other numbers than ours."""
    name = session.get_inputs()[0].name
    image = np.random.default_rng(0).random(shape, np.float32)
    found, wanted = session.run(None, {name: image}), jax.tree.leaves(jax.jit(ours)(image))
    for one, other in zip(found, wanted, strict=True):
        if one.shape != other.shape or not np.allclose(one, other, 0, TOLERANCE):
            raise ValueError("onnxruntime gives other numbers than ours")
    return name


def settled(run: Callable, image: jax.ShapeDtypeStruct) -> Callable:
    """``run`` of one array, as it is on CPU: nothing in it asks for the platform."""
    traced, tree = jax.make_jaxpr(run, return_shape=True)(image)

    def on_cpu(image: Any) -> Any:
        found = _evaluated(traced.jaxpr, traced.consts, [image])
        return jax.tree.unflatten(jax.tree.structure(tree), found)

    return on_cpu


def _evaluated(program: Any, constants: Sequence[Any], given: Sequence[Any]) -> list[Any]:
    """The outputs of a jaxpr, operation by operation."""
    known = dict(zip([*program.constvars, *program.invars], [*constants, *given], strict=True))

    def value(of: Any) -> Any:
        return of.val if isinstance(of, jax_core.Literal) else known[of]

    for operation in program.eqns:
        found = _result(operation, [value(of) for of in operation.invars])
        known.update(zip(operation.outvars, found, strict=True))
    return [value(of) for of in program.outvars]


def _result(operation: Any, given: list[Any]) -> list[Any]:
    name, params = operation.primitive.name, operation.params
    if name == "platform_index":
        of_cpu = (i for i, names in enumerate(params["platforms"]) if not names or "cpu" in names)
        return [np.int32(next(of_cpu))]
    if all(isinstance(one, int | np.integer) for one in given):  # the number of the branch
        if name == "clamp":
            return [np.int32(np.clip(given[1], given[0], given[2]))]
        if name == "convert_element_type":
            return [np.int32(given[0])]
    inside = None
    if name == "cond" and isinstance(given[0], int | np.integer):
        inside, given = params["branches"][int(given[0])], given[1:]
    elif name in WHOLE:
        inside = params.get("jaxpr") or params.get("call_jaxpr") or params.get("fun_jaxpr")
    if inside is not None:
        return _evaluated(getattr(inside, "jaxpr", inside), getattr(inside, "consts", ()), given)
    found = operation.primitive.bind(*given, **params)
    return list(found) if operation.primitive.multiple_results else [found]
