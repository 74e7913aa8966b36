"""A run's model as one file that needs no jaxseg: ``python -m jaxseg.export --workdir W ...``.

The artifact is what ``jax.export`` serialises (StableHLO in its own container): the parameters are
constants in it, and any program with jax alone runs it on the platforms it was lowered for.
``--format`` names other files: weights by PyTorch's names (`jaxseg.export_weights`), ONNX
(`jaxseg.export_onnx`).
"""

import argparse
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import export as jax_export

from jaxseg import checkpoint, command, disk
from jaxseg.crf import DenseCRF, check_rank
from jaxseg.crf_option import add_crf, crf_of
from jaxseg.data import Unit
from jaxseg.errors import UserError, unknown
from jaxseg.experiment import Experiment
from jaxseg.export_onnx import export_onnx
from jaxseg.export_weights import export_weights
from jaxseg.types import ValidConvolutions, output_size, strides_of
from jaxseg.workdir import classes_for

PLATFORMS = ("cpu", "cuda", "tpu")
KNOWN_PLATFORMS = (*PLATFORMS, "rocm")  # jax.export takes any word without an error
MOST_BYTES = 2**31 - 2**20
"""FlatBuffers, jax.export's container, holds less than 2 GiB."""

LETTERS = {1: ("w",), 2: ("h", "w"), 3: ("d", "h", "w")}


@dataclass(frozen=True)
class Artifact:
    """What was written: ``size`` bytes, shapes such as ``b, h, w, 3``.

    ``notes`` say what the caller owes: the scale of images, and their size where one only fits.
    """

    path: Path
    size: int
    image: str
    outputs: str
    platforms: tuple[str, ...]
    notes: str

    def __str__(self) -> str:
        """The command's last line: what it is and how to run it."""
        return (
            f"{self.path}: {self.size / 1e6:.2f} MB, float32 image [{self.image}] {self.notes} -> "
            f"{self.outputs}, for {' '.join(self.platforms)}; run it with "
            f'jax.export.deserialize(open("{self.path}", "rb").read()).call(image)'
        )


def export(
    workdir: str | Path,
    output: str | Path,
    *,
    step: int | None = None,
    platforms: Sequence[str] | None = None,
    crf: DenseCRF | None = None,
    classes: Iterable[type] = (),
    verify: bool = True,
) -> Artifact:
    """Write ``images [b *spatial c] -> probabilities [b *spatial k]``, parameters inside.

    Images are float32, raw: what ``data.normalize`` of the experiment does is in the artifact.
    Batch and spatial sizes are free; where the network's sizes must fit (valid convolutions) only
    the batch is, and the image has the size of ``evaluation.window``, else ``data.patch``. There
    is no sliding window in the artifact: the image passes whole. ``platforms=None`` is all of
    ``PLATFORMS`` for which the model can be lowered. ``crf=None`` is as the run's evaluation says;
    the artifact then is of images of one size, as below. ``step=None`` is the best checkpoint.
    ``classes`` are the run's own classes; ``verify=False`` does not hold the checkpoint against its
    digests. A network that finds objects gives what its recipe's
    predictor exports.
    """
    workdir, output = Path(workdir), Path(output)
    for name in platforms or ():
        if name not in KNOWN_PLATFORMS:
            raise UserError(f"--platforms {name}: must be among {', '.join(KNOWN_PLATFORMS)}")
    if output.is_dir():
        raise UserError(f"--output {output}: a folder; name a file, such as model.stablehlo")
    experiment, _, model, variables = checkpoint.opened(
        workdir, step, classes=classes, verify=verify
    )
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(variables))
    if size > MOST_BYTES:
        raise UserError(
            f"{workdir}: {size / 2**30:.1f} GiB of parameters; one artifact holds 2 GiB"
        )
    evaluation = experiment.evaluation
    if crf is not None:
        check_rank(experiment.data.dataset.rank)
        evaluation = dataclasses.replace(evaluation, crf=crf)
    predictor = experiment.recipe.predictor(evaluation)
    run = predictor.exported(model, variables, experiment.data)
    image = _signature(experiment, run)
    exported = _lowered(run, image, platforms, workdir)
    blob = exported.serialize()
    if output.parent != Path():
        disk.folder(output.parent)
    with disk.replacing(output) as beside:
        beside.write_bytes(blob)
    arrays = (*exported.in_avals, *exported.out_avals)
    image_shape, *given = (", ".join(map(str, array.shape)) for array in arrays)
    names = ["probabilities"] if len(given) == 1 else _names(exported)
    notes, scale = experiment.data.expects, experiment.data.normalize.scale
    if getattr(predictor, "crf", None) is not None and scale != Unit().scale:
        notes += "; its CRF takes the values as colours of 0 to 255, so others must be scaled"
    if all(isinstance(n, int) for n in exported.in_avals[0].shape[1:]):
        notes += ", of this size only (its convolutions take pixels away, or it knows one size)"
    outputs = ", ".join(f"{name} [{shape}]" for name, shape in zip(names, given, strict=True))
    return Artifact(output, len(blob), image_shape, outputs, tuple(exported.platforms), notes)


def _names(exported: jax_export.Exported) -> list[str]:
    """What each array that the artifact gives is called."""
    tree = jax.tree.unflatten(exported.out_tree, list(exported.out_avals))
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _signature(experiment: Experiment, run: Callable) -> jax.ShapeDtypeStruct:
    """The freest image that the model can be traced with."""
    failure: Exception | None = None
    for shape in _shapes(experiment):
        dimensions = jax_export.symbolic_shape(shape)
        image = jax.ShapeDtypeStruct(dimensions, jnp.float32)
        try:
            jax.eval_shape(run, image)
        except Exception as error:  # each layer words it its own way; the last shape must pass
            failure = error
        else:
            return image
    if isinstance(failure, UserError):
        raise failure
    raise UserError(
        f"{type(experiment.recipe.model).__name__} can only be exported for one size of image, and "
        "the run has none: set evaluation.window in its experiment.json"
    ) from failure


def _shapes(experiment: Experiment) -> Iterator[str]:
    """Free sizes, then multiples of the stride, then one size; the batch is free in each."""
    model, data = experiment.recipe.served, experiment.data
    letters, channels = LETTERS[data.dataset.rank], data.dataset.channels
    if not isinstance(model, ValidConvolutions):
        strides = strides_of(model, len(letters)) or (1,) * len(letters)
        multiples = [f"{s}*{n}" for s, n in zip(strides, letters, strict=True)]
        yield ", ".join(("b", *letters, str(channels)))
        yield ", ".join(("b", *multiples, str(channels)))
    fixed = experiment.evaluation.window or data.patch
    if fixed is not None:
        output_size(model, fixed)  # UserError where the window does not fit
        yield ", ".join(("b", *map(str, fixed), str(channels)))


def _lowered(
    run: Callable, image: jax.ShapeDtypeStruct, wanted: Sequence[str] | None, workdir: Path
) -> jax_export.Exported:
    """The function lowered for all platforms at once; unless named, failing ones are left out."""
    jitted = jax.jit(run)
    try:
        return jax_export.export(jitted, platforms=tuple(wanted or PLATFORMS))(image)
    except Exception:  # lowering rules raise what they like, and do not say for which platform
        works = [name for name in wanted or PLATFORMS if _works(jitted, image, name)]
        missing = [name for name in wanted or PLATFORMS if name not in works]
        if not missing:
            raise
        if wanted is not None or not works:
            raise UserError(
                f"--platforms {','.join(missing)}: the model of {workdir} cannot be lowered for it"
            ) from None
    return jax_export.export(jitted, platforms=tuple(works))(image)


def _works(jitted: Any, image: jax.ShapeDtypeStruct, platform: str) -> bool:
    try:
        jax_export.export(jitted, platforms=(platform,))(image)
    except Exception:
        return False
    return True


FORMATS = {
    "stablehlo": "a program for jax",
    "safetensors": "weights by the names of a PyTorch library",
    "torch": "the same as torch.save writes them",
    "onnx": "a program for images of one size, through jax2onnx",
}
"""What can be written."""

SUFFIXES = {
    ".safetensors": "safetensors",
    ".pt": "torch",
    ".pth": "torch",
    ".stablehlo": "stablehlo",
    ".onnx": "onnx",
}
"""Suffixes by which a reader knows one format."""


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = command.parser(
        prog="python -m jaxseg.export",
        description="Write a run's model as one file that any program with jax can call, or its "
        "weights as PyTorch's libraries name them.",
        epilog="example: python -m jaxseg.export --workdir runs/quickstart "
        "--output model.stablehlo",
    )
    command.of_a_run(parser, step="export")
    parser.add_argument("--output", type=Path, required=True, help="file to write (replaced)")
    formats = "; ".join(f"{name}: {what}" for name, what in FORMATS.items())
    parser.add_argument("--format", default="stablehlo", help=f"{formats} (default: stablehlo)")
    parser.add_argument(
        "--platforms",
        help=f"such as cpu,cuda (default: {','.join(PLATFORMS)}, as far as the model can)",
    )
    parser.add_argument(
        "--library",
        help="whose names the weights have, such as torchvision (default: the network's first)",
    )
    add_crf(parser)
    options = parser.parse_args(arguments)
    _check(options)
    fields = {
        "step": options.step,
        "classes": classes_for(options.workdir, options.classes),
        "verify": not options.unverified,
    }
    if options.format == "stablehlo":
        wanted = options.platforms.split(",") if options.platforms is not None else None
        crf = crf_of(options.crf)
        print(export(options.workdir, options.output, platforms=wanted, crf=crf, **fields))
    elif options.format == "onnx":
        print(export_onnx(options.workdir, options.output, **fields))
    else:
        fields |= {"format": options.format, "library": options.library}
        print(export_weights(options.workdir, options.output, **fields))


def _check(options: argparse.Namespace) -> None:
    """Refuse a format that is none, options of another one, and a file's name of another one."""
    if options.format not in FORMATS:
        raise unknown("--format: no format is called", options.format, FORMATS)
    of = {"platforms": ("stablehlo",), "crf": ("stablehlo",), "library": ("safetensors", "torch")}
    for name, formats in of.items():
        if getattr(options, name) is not None and options.format not in formats:
            raise UserError(
                f"--{name}: is of --format {' and '.join(formats)}; leave it out for "
                f"{options.format}"
            )
    meant = SUFFIXES.get(options.output.suffix, options.format)
    if meant != options.format:
        raise UserError(
            f"--output {options.output}: is called as --format {meant} would be; say that, or "
            f"name the file otherwise for {options.format}"
        )


if __name__ == "__main__":
    command.run(main)
