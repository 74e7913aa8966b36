"""The recipe of every config makes two steps, with its network as small as in `tests.models.cases`.

Losses, schedule, augmentation and the fields of the network that concern training are the config's;
widths, encoder and size of the images are not.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxseg import checkpoint, config
from jaxseg.encoders import Plain
from jaxseg.models import MODELS, class_of
from jaxseg.recipes import Supervised
from tests.models.cases import CASES, ENCODERS

pytestmark = pytest.mark.usefixtures("unchecked")

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.py"))
ROWS = 2


def small(model, dataset):
    """The network at the tiny widths of its row, and the size of image that the row names."""
    names = [name for name in MODELS if class_of(name) is type(model)]
    name = next((name for name in names if MODELS[name] is type(model)), names[0])
    case = CASES[name]
    family = next(iter(case.encoders), None)
    encoder = {"encoder": ENCODERS[family], **case.encoders[family]} if family else {}
    if isinstance(model.encoder if encoder else None, Plain):  # heads and levels are the config's
        encoder["encoder"] = Plain((4,) * len(model.encoder.widths))
    side = case.volume[1] if case.volume and dataset.rank == 3 else case.size[0]
    return model.clone(**case.fields, **encoder), (side,) * dataset.rank  # turns want squares


def with_heads_of(model, recipe, size):
    """The recipe with ``model``, and no more weights of heads than that has heads."""
    weights = recipe.supervision.weights if isinstance(recipe, Supervised) else None
    if weights is not None:
        x = jax.ShapeDtypeStruct((1, *size, 1), "float32")
        out = jax.eval_shape(
            lambda x: model.init_with_output(jax.random.key(0), x, train=False)[0], x
        )
        fewer = dataclasses.replace(recipe.supervision, weights=weights[: 1 + len(out.auxiliary)])
        recipe = dataclasses.replace(recipe, supervision=fewer)
    return dataclasses.replace(recipe, model=model)


def filled(shapes, num_classes):
    """A batch of noise; some pixels are ignored where labels allow it."""
    random = np.random.default_rng(0)
    image, *_ = shapes
    size = (ROWS, *image.shape[1:-1])
    return jax.tree.map(lambda s: np.zeros((ROWS, *s.shape[1:]), s.dtype), shapes)._replace(
        image=random.random((*size, image.shape[-1]), np.float32),
        label=random.integers(-1, num_classes, size).astype(np.int32),
        valid=np.ones(ROWS, bool),
    )


def begun(recipe, batch):
    """A state as of step 0, drawn on the host: `init` would compile some hundred small programs."""
    shapes = jax.eval_shape(recipe.init, jax.random.key(0), batch)
    random = np.random.default_rng(0)

    def draw(path, leaf):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(1)
        if jax.tree_util.keystr(path).endswith("['var']"):
            return np.ones(leaf.shape, leaf.dtype)
        if leaf.dtype != np.float32 or ".optimizer" in jax.tree_util.keystr(path):
            return np.zeros(leaf.shape, leaf.dtype)
        inputs = max(leaf.size // leaf.shape[-1], 1) if leaf.shape else 1
        return (random.standard_normal(leaf.shape) / np.sqrt(inputs)).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_makes_two_steps(path):
    experiment = config.read(path)
    model, size = small(experiment.recipe.model, experiment.data.dataset)
    recipe = with_heads_of(model, experiment.recipe, size).scheduled(experiment.steps)
    data = dataclasses.replace(experiment.data, patch=size)
    shapes = checkpoint.abstract_batch(
        dataclasses.replace(experiment, recipe=recipe, data=data, streams={})
    )
    batch = filled(shapes, experiment.data.dataset.num_classes)
    step = jax.jit(recipe.step)
    state = first = begun(recipe, batch)
    for _ in range(2):
        state, scalars = step(state, batch)
        assert all(np.isfinite(value) for value in jax.tree.leaves(scalars)), scalars
    assert int(state.step) == 2
    before, after = jax.device_get((first.params, state.params))  # nothing compiles to compare
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
    assert any(jax.tree.leaves(moved)), "nothing was learnt"
