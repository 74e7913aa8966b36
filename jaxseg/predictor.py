"""From a case to what is said of it: evaluate, predict and export go through one object.

A predictor pads a case on the host, runs the network on the device, and brings the result back to
the case's own grid. Whoever scores or writes it knows neither windows nor kinds of networks.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxseg import inference
from jaxseg.crf import DenseCRF
from jaxseg.data import Unit
from jaxseg.errors import UserError
from jaxseg.losses.criterion import Criterion
from jaxseg.metrics import Calibration, Confusion, Found
from jaxseg.ops import Regrid, crop_centre, regridded_labels, regridded_logits
from jaxseg.tiles import Spatial, Tiles, affordable, bucket, pad_case, rounded
from jaxseg.types import BATCH_FIELDS, IGNORE

Gives = tuple[Literal["labels", "probabilities", "confusion", "calibration", "loss"], ...]
"""What is wanted of a prediction: what is not leaves no device."""

MAPS = frozenset(("probabilities", "calibration", "loss"))
"""What needs the logits of all classes at every pixel; without them memory does not grow so."""

Case = Mapping[str, Any]
"""A case as `jaxseg.data.Cases` gives it: normalised and raw image, label if any, place, ..."""


class CaseResult(NamedTuple):
    """What was predicted of one case, in the case's own grid."""

    labels: Int[np.ndarray, "*spatial"] | None
    """None where only counts were wanted."""
    probabilities: Float[np.ndarray, "*spatial k"] | None = None
    objects: tuple[Found, ...] | None = None
    """Objects that may overlap, with scores, of a network that finds objects."""
    counts: Mapping[str, np.ndarray] = {}
    """What the device has counted: ``confusion [k k]``, ``calibration [3 bins]``, ``loss``."""


@runtime_checkable
class Predictor(Protocol):
    """How cases are predicted: a frozen, hashable object, static under ``jax.jit``."""

    def size(self, model: Any, case: Case) -> Spatial:
        """The size to which the case is padded; cases of one size share a compilation."""
        ...

    def prepare(self, model: Any, case: Case) -> dict[str, np.ndarray]:
        """One row for the device: ``image``, ``label`` where there is one, what else is needed."""
        ...

    def apply(
        self, model: Any, variables: Any, rows: Mapping[str, jax.Array], gives: Gives
    ) -> dict[str, Any]:
        """Arrays ``[b ...]`` of rows ``[b ...]`` as `prepare` makes them: pure and jittable.

        ``rows`` may hold ``valid [b]``; rows that are not count in nothing.
        """
        ...

    def result(self, given: Mapping[str, Any], case: Case) -> CaseResult:
        """One row of what `apply` gave, back in the case's own grid; on the host."""
        ...

    def exported(self, model: Any, variables: Any, data: Any) -> Callable[[jax.Array], Any]:
        """A function of raw images ``[b *spatial c]``, traceable: what an artifact computes."""
        ...


@dataclass(frozen=True)
class Segment:
    """Semantic segmentation by sliding window: the merged logits, and their argmax as labels.

    ``criterion`` is the loss of the merged logits, where one is to be known. ``crf`` goes over what
    they are merged to, with colours of the raw image: 8 and 16 bits by their full scale, all else
    is taken to lie in [0, 1].
    """

    tiles: Tiles = Tiles()
    criterion: Criterion | None = None
    crf: DenseCRF | None = None

    def size(self, model: Any, case: Case) -> Spatial:
        """The bucket of the case's image, see `tiles.bucket`; and of its own grid, if another."""
        size = bucket(model, case["image"].shape[:-1], self.tiles)
        return size if "place" not in case else (*size, *rounded(case["place"].shape))

    def prepare(self, model: Any, case: Case) -> dict[str, np.ndarray]:
        """Image and label padded to the bucket, the true ``size``, and what the model asks for.

        Where the case's own grid is another, the label is of that, and the fields of `Regrid` say
        where it lies.
        """
        placed = "place" in case
        label = None if placed else case.get("label")
        image, label, size = pad_case(model, case["image"], label, tiles=self.tiles)
        rows = {"image": image, "size": size} | ({} if label is None else {"label": label})
        if placed:
            rows |= _placed(case)
        if self.crf is not None:
            if placed:
                raise UserError("evaluation.crf: does not go with data.grid; leave one of them out")
            rows["colours"] = self._colours(model, case)
        return rows | {name: np.asarray(case[name]) for name in _side(model) if name in case}

    def apply(
        self, model: Any, variables: Any, rows: Mapping[str, jax.Array], gives: Gives
    ) -> dict[str, Any]:
        """What is wanted among labels, probabilities and counts."""
        labels, logits = self._predicted(model, variables, rows, MAPS.isdisjoint(gives))
        given: dict[str, Any] = {}
        if "labels" in gives:
            given["labels"] = labels
        if "confusion" in gives:
            k, valid = model.num_classes, rows.get("valid")
            given["confusion"] = Confusion.each(labels, rows["label"], k, valid=valid)
        if logits is None:
            return given
        if "probabilities" in gives:
            given["probabilities"] = jax.nn.softmax(logits)
        if "calibration" in gives:
            given["calibration"] = jax.vmap(_calibration)(jax.nn.softmax(logits), rows["label"])
        if "loss" in gives and self.criterion is not None:
            given["loss"] = self.criterion(logits, rows["label"])
        return given

    def _predicted(
        self, model: Any, variables: Any, rows: Mapping[str, jax.Array], alone: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        """Labels and, unless labels ``alone`` are wanted, logits, in the cases' own grids."""
        side = {name: rows[name] for name in _side(model) if name in rows}
        what = model, variables, rows["image"], rows["size"], self.tiles, side
        onto = _onto(rows)
        if alone and onto is None and self.crf is None:
            return inference.label_map(*what), None
        logits = inference.windowed(*what)
        if alone and onto is not None:
            return regridded_labels(logits, onto), None
        if onto is not None:
            logits = regridded_logits(logits, onto)
        elif self.crf is not None:
            inside = _inside(rows["size"], logits.shape[1:-1])
            logits = self.crf(logits, rows["colours"], inside)
        return jnp.argmax(logits, axis=-1).astype(jnp.int32), logits

    def result(self, given: Mapping[str, Any], case: Case) -> CaseResult:
        """The result, cropped to the size of the case."""
        place = case.get("place")
        shape = case["image"].shape[:-1] if place is None else place.shape
        inside = tuple(slice(n) for n in shape)
        maps = {name: given[name][inside] for name in ("labels", "probabilities") if name in given}
        counts = {name: given[name] for name in ("confusion", "loss") if name in given}
        if "calibration" in given:
            counts["calibration"] = np.stack([np.asarray(x, float) for x in given["calibration"]])
        return CaseResult(maps.get("labels"), maps.get("probabilities"), counts=counts)

    def exported(self, model: Any, variables: Any, data: Any) -> Callable[[jax.Array], Any]:
        """A function of raw images that gives float32 probabilities, without windows.

        It normalises the images as the data say. The CRF's colours are the images, 255 times where
        these are to lie in [0, 1].
        """

        def probabilities(image: jax.Array) -> jax.Array:
            normalised = data.normalize.on_device(image)
            logits = inference.whole_logits(model, variables, normalised)
            if self.crf is not None:
                scale = 255.0 if data.normalize.scale == Unit().scale else 1.0
                logits = self.crf(
                    logits, scale * jnp.asarray(crop_centre(image, logits.shape[1:-1]))
                )
            return jax.nn.softmax(logits)

        return probabilities

    def _colours(self, model: Any, case: Case) -> np.ndarray:
        """The raw image in 0 to 255, padded to the size of the logits."""
        raw = np.asarray(case["raw"])
        edges = [(0, to - n) for to, n in zip(self.size(model, case), raw.shape, strict=False)]
        return np.pad(255 * Unit()(raw, None), [*edges, (0, 0)])


def _placed(case: Case) -> dict[str, np.ndarray]:
    """The rows of `Regrid` but for ``size``, and the label padded as ``own`` is."""
    place = case["place"]
    edges = [(0, to - n) for to, n in zip(rounded(place.shape), place.shape, strict=True)]
    rows = {name: np.asarray(getattr(place, name), np.int32) for name in ("start", "stop", "apart")}
    rows["own"] = np.pad(np.ones(place.shape, bool), edges)
    if case.get("label") is not None:
        label = np.asarray(case["label"], np.int32)
        rows["label"] = np.pad(label, edges, constant_values=IGNORE)
    return rows


def _onto(rows: Mapping[str, jax.Array]) -> Regrid | None:
    """How predictions come back to the cases' own grids, where these are others."""
    return Regrid(*(rows[name] for name in Regrid._fields)) if "own" in rows else None


def _inside(size: jax.Array, shape: Spatial) -> jax.Array:
    """Which pixels ``[b h w]`` of the padded images are of the true ones."""
    rows, columns = (jnp.arange(n)[None] < size[:, axis, None] for axis, n in enumerate(shape))
    return rows[:, :, None] & columns[:, None]


@functools.partial(jax.jit, static_argnums=(0, 1, 4))
def run(
    predictor: Predictor, model: Any, variables: Any, rows: Mapping[str, Any], gives: Gives
) -> dict[str, Any]:
    """``predictor.apply``, compiled; on the devices of the variables."""
    return predictor.apply(model, variables, rows, gives)


def bounded(predictor: Predictor, model: Any, shape: Spatial, least: Spatial | None) -> Predictor:
    """``predictor``, cutting images that are too large to pass at once where it cuts any."""
    if not isinstance(predictor, Segment):
        return predictor
    return replace(predictor, tiles=affordable(model, shape, predictor.tiles, least=least))


def _side(model: Any) -> tuple[str, ...]:
    """The fields that the network takes by keyword: rows alone, since maps would need cutting."""
    names = getattr(model, "inputs", ())
    for name in names:
        if BATCH_FIELDS.get(name) != "row":
            raise UserError(
                f"{type(model).__name__}.inputs names {name!r}, which cannot be cut into windows; "
                "give the recipe a predictor of its own"
            )
    return names


def _calibration(probabilities: jax.Array, label: jax.Array) -> tuple[Any, Any, Any]:
    counted = Calibration.of(probabilities[None], label[None])
    return counted.pixels, counted.right, counted.confidence
