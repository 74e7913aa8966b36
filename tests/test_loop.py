"""The loop: what can be handed in, what it remembers, what it does not let pass."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import checkpoint
from jaxseg.errors import UserError
from jaxseg.evaluator import Sample
from jaxseg.loop import check_writer
from jaxseg.metrics import Confusion, Evaluated
from jaxseg.progress import Progress
from jaxseg.train import train


class Written:
    """A writer that keeps what it is told."""

    def __init__(self):
        self.said, self.kept, self.evaluated, self.told, self.drawn = [], [], [], [], []

    def progress(self, step, loss, images_per_second=None):
        self.said.append(step)

    def scalars(self, step, scalars):
        self.kept.append((step, dict(scalars)))

    def evaluation(self, step, scores, class_names=None, metrics=()):
        self.evaluated.append((step, scores["dice"]))

    def picture(self, step, path):
        self.drawn.append((step, path.name))

    def message(self, text):
        self.told.append(text)

    def finish(self, summary, metrics=()):
        self.said.append("finished")


class Kept:
    """A saver that keeps steps and progress, and writes nothing."""

    last_good = "none"

    def __init__(self):
        self.saved = []

    def save(self, step, state, progress, scores):
        self.saved.append((step, progress, dict(scores)))

    def wait(self):
        pass


def judged(dice):
    """An evaluation of that Dice in both classes, about."""
    wrong = int(1000 * (1 - dice) / dice)
    return Evaluated(Confusion(matrix=np.array([[1000, wrong], [wrong, 1000]])))


def test_evaluator_writer_and_saver_can_be_handed_in(tiny, tmp_path):
    answers = iter([judged(0.5), judged(0.9), judged(0.7)])
    asked = []

    def evaluator(variables, samples=0):
        asked.append(sorted(variables))
        image = np.zeros((4, 4, 1), np.float32)
        label = np.zeros((4, 4), np.int32)
        return next(answers), [Sample(image, label, label)]

    writer, saver = Written(), Kept()
    summary = train(
        tiny(steps=6, every=2), tmp_path, evaluator=evaluator, writer=writer, saver=saver
    )
    assert asked == [["batch_stats", "params"]] * 3
    assert [step for step, _ in writer.evaluated] == [2, 4, 6]
    assert [step for step, _, _ in saver.saved] == [2, 4, 6]
    assert writer.said == [1, 2, 3, 4, 5, 6, "finished"]
    assert writer.told[0].startswith("devices") and writer.told[1] == "cases       train 8"
    assert writer.drawn == [(1, "batch.png"), (6, "samples.png")]
    assert summary["best_step"] == 4 and summary["validation"]["dice"] == pytest.approx(0.9, 0.01)
    _, last, scores = saver.saved[-1]
    assert last.step == 6 and last.best_step == 4 and last.worse == 1
    assert scores["dice"] == pytest.approx(0.7, 0.01)
    assert last.data == {"next_index": 6}
    assert not checkpoint.steps(tmp_path) and not (tmp_path / "metrics.jsonl").exists()


def test_a_writer_that_lacks_a_method_is_refused_before_it_is_missed():
    class Mute:
        message = progress = scalars = evaluation = print

    with pytest.raises(UserError, match="^writer: Mute has no picture, finish$"):
        check_writer(Mute(), ())
    check_writer(Written(), ())


def test_an_array_that_moves_by_mistake_ends_the_run(tiny, tmp_path):
    def evaluator(variables, samples=0):
        return jnp.ones(3) + np.random.RandomState(0).uniform(size=3)

    with pytest.raises(Exception, match="[Dd]isallowed host-to-device transfer"):
        train(tiny(steps=1, every=1), tmp_path, evaluator=evaluator)


def test_progress_survives_json_and_a_later_version():
    progress = Progress(step=3, best=0.5, best_step=2, worse=1, seconds=4.0, data={"next_index": 3})
    assert Progress.from_json(progress.to_json()) == progress
    assert Progress.from_json({"step": 3, "data": {"next_index": 3}}).best is None
    later = progress.to_json() | {"of_a_later_version": 1}
    assert Progress.from_json(later) == progress
    for foreign in (None, [], {"step": 3}, {"data": {}}):
        with pytest.raises(ValueError, match="not that of jaxseg.train"):
            Progress.from_json(foreign)


def test_progress_keeps_the_best_scores():
    progress = Progress()
    for step, dice in ((1, 0.5), (2, float("nan")), (3, 0.7), (4, 0.6)):
        progress = progress.evaluated(step, {"dice": dice}, "dice")
    assert (progress.best, progress.best_step, progress.worse) == (0.7, 3, 1)
    assert progress.scores == {"dice": 0.7} and progress.out_of(1) and not progress.out_of(2)
    assert not progress.out_of(None)
    unjudged = Progress().evaluated(1, {"dice": 0.5}, None).evaluated(2, {"dice": 0.4}, None)
    assert unjudged.best_step is None and unjudged.scores == {"dice": 0.4}
    with pytest.raises(dataclasses.FrozenInstanceError):
        progress.step = 3
