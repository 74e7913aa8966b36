"""The contract of recipes: three toy ones train, stop, resume and serve as `Supervised` does.

A critic, two streams of unlike batch sizes, and a teacher; every batch also has fields of a row
alone, ``present [b 3]`` and ``objects.boxes [b 7 4]``.
"""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg import checkpoint, step
from jaxseg.data import Data, Stream
from jaxseg.encoders import Plain
from jaxseg.errors import UserError
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.models import UNet
from jaxseg.ops import max_pool
from jaxseg.optimizers import SGD
from jaxseg.recipes import Recipe, Supervised
from jaxseg.sharding import MeshShape
from jaxseg.step import Trained
from jaxseg.train import train
from jaxseg.types import IGNORE, Objects

ONE, EIGHT = MeshShape(data=1), MeshShape(data=2, fsdp=2, spatial=2)
NET = UNet(num_classes=3, encoder=Plain(widths=(4, 8)))


@dataclass(frozen=True)
class Squares:
    """Images with a bright square of class 1 or 2, image-level labels and boxes."""

    num_classes: ClassVar[int] = 3
    channels: ClassVar[int] = 1
    rank: ClassVar[int] = 2
    class_names: ClassVar[tuple[str, ...]] = ("background", "small", "large")
    offset: float = 0.0

    def open(self, root, split):
        return Case(self, split)


@dataclass(frozen=True)
class Case:
    dataset: Squares
    split: str

    def __len__(self):
        return 9 if self.split == "train" else 3

    def __getitem__(self, index):
        rng = np.random.default_rng((index, len(self.split)))
        k = 1 + index % 2
        y, x = rng.integers(0, 16 - 4 * k, 2)
        label = np.zeros((16, 16), np.int32)
        label[y : y + 4 * k, x : x + 4 * k] = k
        image = 0.2 * rng.random((16, 16, 1)) + 0.3 * label[..., None] + self.dataset.offset
        return {
            "name": f"{self.split}{index}",
            "image": image.astype(np.float32),
            "label": label,
            "present": np.isin(np.arange(3), label),
            "objects": Objects(
                np.asarray([[y, x, y + 4 * k, x + 4 * k]], np.float32), np.asarray([k], np.int32)
            ),
        }

    def files(self, index):
        return (f"Squares {self.split} {index}",)

    def key(self, index):
        return repr((self, index))


class Critic(nn.Module):
    """One number an image, of its picture and class map."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(4, name="look")(max_pool(x)))
        return nn.Dense(1, name="judge")(x.mean((1, 2)))[..., 0]


@dataclass(frozen=True)
class Adversarial(Supervised):
    critic: nn.Module = Critic()

    def init(self, rng, batch):
        state = super().init(rng, batch)
        maps = jnp.zeros((1, *batch.label.shape[1:], 4))
        params = self.critic.init(jax.random.fold_in(rng, 1), maps)["params"]
        net = Trained(params, {}, self.transformation().init(params))
        return state._replace(extra={"critic": net})

    def _judged(self, params, image, maps):
        maps = jnp.concatenate([image, maps], -1)
        return self.critic.apply({"params": params}, maps)

    def terms(self, state, params, prediction, batch, rng):
        terms = super().terms(state, params, prediction, batch, rng)
        maps = jax.nn.softmax(prediction.logits)
        score = self._judged(state.extra["critic"].params, batch.image, maps)
        # the fields of a row reach the loss: 3 classes a row, 7 objects of 4 numbers
        few = jnp.asarray(batch.present, jnp.float32).mean(-1)
        wide = (batch.objects.classes != IGNORE).sum(-1) * batch.objects.boxes.max((1, 2)) / 16
        return terms | {"adversarial": nn.softplus(-score) + 0.0 * few, "wide": 0.0 * wide}

    def weight(self, name, at):
        return 0.1 if name in ("adversarial", "wide") else super().weight(name, at)

    def step(self, state, batch):
        new, scalars = super().step(state, batch)
        fake = self.module.apply(self.variables(state), batch.image, train=False).logits
        real = jax.nn.one_hot(batch.label, 3)

        def loss(params):
            right = self._judged(params, batch.image, real)
            wrong = self._judged(params, batch.image, jax.nn.softmax(fake))
            return (nn.softplus(-right) + nn.softplus(wrong)).mean()

        net = state.extra["critic"]
        value, grads = jax.value_and_grad(loss)(net.params)
        net = step.updated(net, grads, self.transformation())
        measured = jnp.where(state.step % 2 == 0, value, jnp.nan)  # at every other step
        return new._replace(extra={"critic": net}), scalars | {"critic": measured}


@dataclass(frozen=True)
class TwoStreams(Supervised):
    """The data's loss, and entropy on the stream "unlabelled"."""

    def loss(self, state, params, batch_stats, batch, rng):
        total, (stats, scalars) = super().loss(state, params, batch_stats, batch, rng)
        return total, (stats, scalars)

    def step(self, state, batch):
        other = self.augmented(step.key(state), batch.streams["unlabelled"])
        assert other.image.shape[0] == 8 and batch.image.shape[0] == 4
        new, scalars = super().step(state, batch)

        def entropy(params):
            variables = self.variables(state) | {"params": params}
            logits = self.module.apply(variables, other.image, train=False).logits
            p = jax.nn.log_softmax(logits)
            return -(jnp.exp(p) * p).sum(-1).mean()

        value, grads = jax.value_and_grad(entropy)(new.params)
        params = jax.tree.map(lambda p, g: p - 0.01 * g, new.params, grads)
        return new._replace(params=params), scalars | {"entropy": value}


@dataclass(frozen=True)
class Distillation(Supervised):
    teacher: nn.Module = NET

    def init(self, rng, batch):
        state = super().init(rng, batch)
        image = jnp.zeros((1, *batch.image.shape[1:]))
        teacher = dict(self.teacher.init(jax.random.fold_in(rng, 2), image, train=False))
        return state._replace(extra={"teacher": teacher})

    def terms(self, state, params, prediction, batch, rng):
        taught = self.teacher.apply(state.extra["teacher"], batch.image, train=False).logits
        kl = optax.losses.kl_divergence_with_log_targets(
            jax.nn.log_softmax(prediction.logits), jax.nn.log_softmax(taught)
        )
        return super().terms(state, params, prediction, batch, rng) | {"teacher": kl.mean((1, 2))}

    def weight(self, name, at):
        return 0.5 if name == "teacher" else super().weight(name, at)


def experiment(kind, mesh=ONE, **fields) -> Experiment:
    recipe = kind(NET, optimizer=SGD(learning_rate=0.05))
    if kind is not Adversarial:  # boxes do not follow a flip yet
        recipe = dataclasses.replace(recipe, ema=0.9)
    streams = {
        "unlabelled": Stream(data=Data(dataset=Squares(offset=0.1), objects=7), batch_size=8)
    }
    data = Data(dataset=Squares(), objects=7)
    given = {
        "recipe": recipe,
        "data": data,
        "steps": 5,
        "batch_size": 4,
        "evaluation": Evaluation(every=5),
        "checkpoint": Checkpoints(every=5, keep=3),
        "mesh": mesh,
        "streams": streams if kind is TwoStreams else {},
    }
    return Experiment(**given | fields)


@pytest.mark.parametrize("mesh", [ONE, EIGHT], ids=["one device", "eight devices"])
@pytest.mark.parametrize("kind", [Adversarial, TwoStreams, Distillation])
def test_a_resumed_run_is_an_uninterrupted_one_bit_for_bit(kind, mesh, tmp_path):
    chosen = experiment(kind, mesh)
    train(chosen, tmp_path / "whole")
    train(chosen, tmp_path / "parts", until=2)
    train(chosen, tmp_path / "parts", resume=True)
    states = []
    for name in ("whole", "parts"):
        abstract = checkpoint.abstract_state(chosen)
        states.append(checkpoint.restore(tmp_path / name, 5, abstract))
    (whole, before), (parts, after) = states
    assert jax.tree.structure(whole) == jax.tree.structure(parts)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_array_equal(a, b)
    assert before.data == after.data
    if kind is TwoStreams:
        assert before.data["streams"]["unlabelled"]["next_index"] == 5


@pytest.mark.parametrize("kind", [Adversarial, TwoStreams, Distillation])
def test_eight_devices_train_as_one_does(kind, tmp_path):
    ends = []
    for name, mesh in (("one", ONE), ("eight", EIGHT)):
        train(experiment(kind, mesh, steps=2), tmp_path / name)
        abstract = checkpoint.abstract_state(experiment(kind, mesh, steps=2))
        ends.append(checkpoint.restore(tmp_path / name, 2, abstract)[0])
    for a, b in zip(jax.tree.leaves(ends[0]), jax.tree.leaves(ends[1]), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("kind", [Supervised, Adversarial, Distillation])
def test_variables_that_are_put_in_come_out_again(kind):
    recipe = experiment(kind).scheduled
    assert isinstance(recipe, Recipe)
    state = recipe.init(jax.random.key(0), checkpoint.abstract_batch(experiment(kind)))
    for name in ("model", *state.extra):
        other = jax.tree.map(lambda x: x + 1, recipe.variables(state, name))
        again = recipe.variables(recipe.with_variables(state, other, name), name)
        jax.tree.map(np.testing.assert_array_equal, other, again)
    with pytest.raises(UserError, match="no network 'critique'; it has model"):
        recipe.variables(state, "critique")


def test_another_network_of_a_run_is_loaded_by_its_name(tmp_path):
    train(experiment(Adversarial, steps=1), tmp_path)
    module, variables = checkpoint.load(
        tmp_path, classes=[Adversarial, Critic, Squares], of="critic"
    )
    assert module == Critic() and set(variables["params"]) == {"look", "judge"}
    with pytest.raises(UserError, match="no network 'teacher'"):
        checkpoint.load(tmp_path, classes=[Adversarial, Critic, Squares], of="teacher")


def test_a_scalar_that_a_step_did_not_measure_is_left_out_of_the_log(tmp_path):
    from jaxseg.report import read_metrics

    train(experiment(Adversarial, steps=3), tmp_path)
    lines = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "loss" in line]
    assert np.isfinite(lines[-1]["critic"])
