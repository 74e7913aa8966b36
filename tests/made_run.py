"""A run with random weights, for tests of the commands that read one; and images at random."""

import jax
import numpy as np

from jaxseg import record
from jaxseg.checkpoint import Saver
from jaxseg.data import Data, Unit
from jaxseg.encoders import Plain
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.models import UNet
from jaxseg.progress import Progress
from jaxseg.recipes import Supervised
from jaxseg.types import Batch
from jaxseg.workdir import EXPERIMENT

UNIT = Unit()


def made_run(workdir, dataset, *, normalize=UNIT, window=(16, 16), root="", seed=1, **more):
    """A run with one checkpoint, of step 3, of a network with random weights."""
    experiment = Experiment(
        recipe=Supervised(UNet(dataset.num_classes, encoder=Plain((4, 6)))),
        data=Data(dataset, root, normalize=normalize, patch=(16,) * dataset.rank),
        evaluation=Evaluation(window=window, **more),
        checkpoint=Checkpoints(best=None),
        steps=3,
        batch_size=2,
    )
    spatial = (16,) * dataset.rank
    example = Batch(
        np.zeros((1, *spatial, dataset.channels), np.float32),
        np.zeros((1, *spatial), np.int32),
        np.ones(1, bool),
    )
    state = jax.jit(lambda: experiment.scheduled.init(jax.random.key(seed), example))()
    workdir.mkdir()
    record.write_json(experiment, workdir / EXPERIMENT)
    with Saver(workdir, experiment.checkpoint) as saver:
        saver.save(3, state, Progress(step=3), {})
    return workdir


def draw(*shape, dtype=np.uint8, seed=0):
    high = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    return (np.random.default_rng(seed).random(shape) * high).astype(dtype)
