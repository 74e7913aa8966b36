import dataclasses
import json
import math
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import checkpoint, record, report
from jaxseg.compiled import compile_step, init
from jaxseg.data import Data, Synthetic
from jaxseg.encoders import Plain
from jaxseg.errors import UserError
from jaxseg.evaluate import evaluate, main
from jaxseg.evaluator import Evaluator
from jaxseg.init_from import write_run
from jaxseg.losses import CrossEntropy
from jaxseg.metrics import Confusion, Evaluated
from jaxseg.models import UNet
from jaxseg.optimizers import SGD, Constant
from jaxseg.process import count_compilations, stop_requests
from jaxseg.sharding import MeshShape
from jaxseg.train import train


def restored(workdir, experiment, step):
    return checkpoint.restore(workdir, step, checkpoint.abstract_state(experiment))


def losses(workdir):
    lines = report.read_metrics(workdir / "metrics.jsonl")
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def test_a_workdir_holds_all_that_the_readme_says(tiny, tmp_path):
    summary = train(tiny(), tmp_path)
    names = {path.name.split(".")[0] for path in tmp_path.iterdir()}
    assert names >= {
        "experiment", "metrics", "summary", "progress", "samples", "batch", "events", "checkpoints",
    }  # fmt: skip
    written = json.loads((tmp_path / "summary.json").read_text())
    assert written["step"] == summary["step"] == 4
    assert set(written) >= {
        "step", "best_step", "validation", "seconds", "images_per_second", "compilations",
        "device", "versions",
    }  # fmt: skip
    assert set(written["validation"]) >= {"dice", "iou", "dice_per_class", "iou_per_class"}
    assert record.read_json(tmp_path / "experiment.json") == tiny()


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tiny, tmp_path):
    experiment = tiny(steps=6, every=3, ema=0.9)
    train(experiment, tmp_path / "whole")
    train(experiment, tmp_path / "parts", until=2)
    assert checkpoint.steps(tmp_path / "parts") == [2]
    train(experiment, tmp_path / "parts", resume=True)
    whole, progress = restored(tmp_path / "whole", experiment, 6)
    parts, again = restored(tmp_path / "parts", experiment, 6)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_array_equal(a, b)
    assert progress.data == again.data
    assert progress.best == again.best and progress.scores == again.scores


def test_resume_without_a_checkpoint_begins_at_the_beginning(tiny, tmp_path):
    experiment = tiny(steps=2)
    record.write_json(experiment, tmp_path / "experiment.json")
    assert train(experiment, tmp_path, resume=True)["step"] == 2


def test_resuming_a_finished_run_changes_nothing(tiny, tmp_path):
    experiment = tiny(steps=2)
    first = train(experiment, tmp_path)
    files = {p: p.read_bytes() for p in (tmp_path / "checkpoints").rglob("*") if p.is_file()}
    again = train(experiment, tmp_path, resume=True)
    assert again["step"] == 2 and again["validation"] == first["validation"]
    assert all(path.read_bytes() == content for path, content in files.items())


def test_a_workdir_that_holds_a_run_is_never_overwritten_in_silence(tiny, tmp_path):
    train(tiny(steps=2), tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"--resume .* --overwrite"):
        train(tiny(steps=2), tmp_path)
    with pytest.raises(UserError, match="exclude each other"):
        train(tiny(steps=2), tmp_path, resume=True, overwrite=True)
    with pytest.raises(UserError, match="recipe.dtype is 'float32'"):
        train(tiny(steps=2, dtype="bfloat16"), tmp_path, resume=True)
    train(tiny(steps=3, every=3), tmp_path, overwrite=True)
    assert checkpoint.steps(tmp_path) == [3]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_bad_experiment_leaves_the_old_run_as_it_was(tiny, tmp_path):
    train(tiny(steps=2), tmp_path)
    with pytest.raises(UserError, match="batch_size=3"):
        train(tiny(batch_size=3, mesh=MeshShape(data=2)), tmp_path, overwrite=True)
    assert checkpoint.steps(tmp_path) == [2]


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_last_good_checkpoint(tiny, tmp_path):
    blow_up = SGD(learning_rate=Constant(1e30))
    with pytest.raises(UserError, match=r"step \d: the loss is not finite \(.*last good") as caught:
        train(tiny(steps=8, every=1, optimizer=blow_up, augment=None), tmp_path)
    kept = checkpoint.steps(tmp_path)
    assert str(kept[-1]) in str(caught.value).rsplit("checkpoints/", 1)[-1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steep(CrossEntropy):
    """Adds 0, of which the gradient is NaN."""

    def __call__(self, logits, label, **fields):
        return super().__call__(logits, label, **fields) + jnp.sqrt(0 * logits).sum((1, 2, 3))


def test_a_gradient_that_is_not_finite_leaves_no_checkpoint(tiny, tmp_path):
    with pytest.raises(UserError, match=r"step 1: the gradient is not finite \(.*loss=0\."):
        train(tiny(steps=1, losses={"steep": Steep()}), tmp_path)
    assert not checkpoint.steps(tmp_path)


def test_variables_that_are_not_finite_are_refused(tiny, tmp_path):
    variables = tiny().recipe.served.init(jax.random.key(0), np.zeros((1, 16, 16, 1)), train=False)
    first = jax.tree.leaves(variables["params"])[0]
    bad = jax.tree.map(lambda x: x * np.nan if x is first else x, variables)
    with pytest.raises(UserError, match="variables: params/.* holds NaN or infinity"):
        write_run(tmp_path / "imported", tiny(), bad)
    assert not checkpoint.steps(tmp_path / "imported")
    experiment = tiny(steps=1, every=1)
    train(experiment, tmp_path / "run")
    state, progress = restored(tmp_path / "run", experiment, 1)
    bad = experiment.recipe.with_variables(state, bad)
    with checkpoint.Saver(tmp_path / "run", experiment.checkpoint) as saver:
        saver.save(2, bad, progress, {})
    with pytest.raises(UserError, match="checkpoints/2: params/.* holds NaN"):
        evaluate(tmp_path / "run", step=2)


def test_a_class_that_never_occurs_is_said_before_the_first_step(tiny, tmp_path, capsys):
    data = Data(dataset=Synthetic(size=(32, 32), count=(8, 3, 3), boundary=True), patch=(16, 16))
    three = UNet(num_classes=3, encoder=Plain(widths=(4, 8)))
    train(tiny(steps=1, model=three, data=data), tmp_path / "all")
    assert "no pixel" not in capsys.readouterr().out
    blank = dataclasses.replace(data, prepare=(Blank(),))
    train(tiny(steps=1, model=three, data=blank), tmp_path / "some")
    said = capsys.readouterr().out
    line = "classes 1 (nucleus), 2 (rim): no pixel in the 8 cases to train on"
    assert line in said and said.index(line) < said.index("step 1")


@dataclasses.dataclass(frozen=True)
class Blank:
    """No object in any case."""

    def __call__(self, case):
        return case | {"label": 0 * case["label"]}


def test_patience_stops_a_run_that_does_not_improve_and_says_why(tiny, tmp_path, capsys):
    frozen = SGD(learning_rate=Constant(1e-30), momentum=0.0)
    experiment = tiny(steps=20, every=1, optimizer=frozen, augment=None)
    patient = dataclasses.replace(experiment.evaluation, patience=2)
    experiment = dataclasses.replace(experiment, evaluation=patient)
    summary = train(experiment, tmp_path)
    step, best = summary["step"], summary["best_step"]
    assert step == best + 2 < 20 and summary["stopped"] == "patience"
    said = capsys.readouterr().out.splitlines()
    dice = summary["validation"]["dice"]
    assert (
        f"early stopping at step {step}: dice has not risen above {dice:.4f} (step {best}) for 2 "
        "evaluations (evaluation.patience)"
    ) in said
    assert said[-1].startswith(f"done: step {step}, ")
    again = train(experiment, tmp_path, resume=True)
    assert (again["step"], again["stopped"]) == (step, "patience"), "it made a further step"


def test_a_dry_run_says_what_is_known_and_writes_nothing(tiny, tmp_path, capsys):
    workdir = tmp_path / "run"
    train(tiny(), workdir, dry_run=True)
    said = capsys.readouterr().out.splitlines()
    names = ["devices", "cases", "pixels", "parameters", "compiled", "memory"]
    assert [line.split()[0] for line in said] == names
    assert said[0] == "devices     1 x cpu, mesh data 1 x fsdp 1 x spatial 1"
    assert said[1] == "cases       train 8, validation 3" and said[3] == "parameters  1,682"
    labels = np.stack(
        [case["label"] for case in map(tiny().data.cases("train").__getitem__, range(8))]
    )
    share = 100 * (labels == 1).mean()
    assert said[2] == f"pixels      background {100 - share:.1f} %, nucleus {share:.1f} %"
    assert not workdir.exists()
    with pytest.raises(UserError, match="batch_size=3"):
        train(tiny(batch_size=3, mesh=MeshShape(data=2)), workdir, dry_run=True)


def test_the_step_that_is_said_is_compiled_before_the_first_one(tiny, tmp_path):
    """And not again by the loop: what compiles later is no step."""
    experiment = tiny(steps=2, every=2)
    with count_compilations() as dry:
        train(experiment, tmp_path / "dry", dry_run=True)
    with count_compilations() as first:
        train(experiment, tmp_path / "one", evaluator=Blind())
    # the state of step 0 and the picture of the batch
    assert len(first) - len(dry) == 2


class Blind:
    """An evaluator that looks at nothing."""

    def __call__(self, variables, samples=0):
        matrix = np.array([[3, 1], [1, 3]])
        return Evaluated(Confusion(matrix=matrix)), []


@dataclasses.dataclass(frozen=True)
class Unjudged(Synthetic):
    """No case to validate on, as `Folder(validation=0.0)` has none."""

    count: tuple[int, int, int] = (8, 0, 3)
    size: tuple[int, int] = (32, 32)
    validation: float = 0.0


def test_a_run_without_validation_keeps_the_latest_checkpoint(tiny, tmp_path, capsys):
    experiment = tiny(data=Data(dataset=Unjudged(), patch=(16, 16)))
    summary = train(experiment, tmp_path)
    said = capsys.readouterr().out
    assert (
        "no validation, by data.dataset.validation=0.0" in said and "cases       train 8\n" in said
    )
    assert summary["validation"] is None and summary["best_step"] == summary["step"] == 4
    assert said.splitlines()[-1].startswith("done: step 4, ") and "dice" not in said
    assert not (tmp_path / "samples.png").exists() and (tmp_path / "batch.png").exists()
    assert checkpoint.opened(tmp_path, classes=[Unjudged]).step == 4
    with pytest.raises(UserError, match="the validation split is empty"):
        evaluate(tmp_path, classes=[Unjudged])


def test_what_waits_for_scores_is_refused_without_validation(tiny, tmp_path):
    data = Data(dataset=Unjudged(), patch=(16, 16))
    evaluation = dataclasses.replace(tiny().evaluation, patience=2)
    with pytest.raises(UserError, match="evaluation.patience waits .*validation=0.0 leaves"):
        train(dataclasses.replace(tiny(data=data), evaluation=evaluation), tmp_path)
    wanted = dataclasses.replace(data, dataset=Unjudged(validation=0.5))
    with pytest.raises(UserError, match="the validation split is empty"):
        train(tiny(data=wanted), tmp_path)


def test_a_picture_that_cannot_be_drawn_does_not_end_a_run(tiny, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("jaxseg.loop.write_batch", full)
    assert train(tiny(steps=1), tmp_path)["step"] == 1
    assert "batch.png could not be drawn (OSError: disk full)" in capsys.readouterr().out


def test_metrics_of_a_resumed_run_have_each_step_once(tiny, tmp_path):
    experiment = tiny(steps=4, every=2)
    train(experiment, tmp_path, until=3)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "loss": 99.0}\n{"step": 4, "lo')  # written, then killed
    train(experiment, tmp_path, resume=True)
    steps = [step for step, _ in losses(tmp_path)]
    assert steps == sorted(set(steps)) and 99.0 not in dict(losses(tmp_path)).values()


def test_signals_ask_to_stop_and_old_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    for number in (signal.SIGTERM, signal.SIGINT):
        with stop_requests() as asked:
            assert asked(1) is None
            signal.raise_signal(number)
            assert asked(2) == number.name
    assert signal.getsignal(signal.SIGTERM) == before


def test_training_works_outside_the_main_thread(tiny, tmp_path):
    thread = threading.Thread(target=train, args=(tiny(steps=1, every=1), tmp_path))
    thread.start()
    thread.join()
    assert checkpoint.steps(tmp_path) == [1]


def five_steps(experiment):
    """Losses and final state of five steps on the experiment's mesh."""
    mesh = experiment.mesh.build()
    batches = iter(experiment.data.train(batch_size=experiment.batch_size, seed=0))
    example = next(batches)
    found = []
    with jax.set_mesh(mesh):
        step, place, _ = compile_step(experiment, mesh, example)
        state = init(experiment, mesh, example)
        for _ in range(5):
            state, scalars = step(state, place(next(batches)))
            found.append(float(scalars["loss"]))
    batches.close()
    return found, state


@pytest.mark.parametrize("augmented", [False, True])
def test_eight_devices_give_the_losses_and_parameters_of_one(tiny, augmented):
    """With BatchNorm, over data=2 fsdp=2 spatial=2.

    Plain SGD at a small rate: a ReLU or a maximum that falls the other way by rounding grows by
    a factor of ten a step at 0.1, on one device as on eight.
    """
    from jaxseg.augment import Augment
    from jaxseg.data import Data, Synthetic
    from jaxseg.encoders import Plain
    from jaxseg.models import UNet

    fields = {
        "data": Data(dataset=Synthetic(size=(32, 32), count=(8, 2, 2), radius=(3.0, 5.0))),
        "model": UNet(num_classes=2, encoder=Plain(widths=(8, 16, 32))),
        "optimizer": SGD(learning_rate=Constant(0.01)),
        "augment": Augment(flip=0.5, rotate=20.0, elastic=2.0, noise=0.1) if augmented else None,
        "steps": 5,
        "ema": 0.5,
    }
    one_losses, one = five_steps(tiny(**fields))
    many_losses, many = five_steps(tiny(mesh=MeshShape(data=2, fsdp=2, spatial=2), **fields))
    np.testing.assert_allclose(many_losses, one_losses, atol=1e-4)
    assert any("fsdp" in str(x.sharding.spec) for x in jax.tree.leaves(many.params)), (
        "nothing was sliced over fsdp"
    )
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_the_step_compiles_once(tiny, tmp_path):
    experiment = tiny(steps=8, every=4)
    mesh = experiment.mesh.build()
    batches = iter(experiment.data.train(batch_size=4, seed=0))
    example = next(batches)
    with jax.set_mesh(mesh), count_compilations() as compilations:
        step, place, _ = compile_step(experiment, mesh, example)
        state = init(experiment, mesh, example)
        state, _ = step(state, place(example))
        first = len(compilations)
        for _ in range(3):
            state, _ = step(state, place(next(batches)))
        assert len(compilations) == first
    batches.close()


def test_evaluation_is_exact_over_a_ragged_last_batch_and_any_mesh(tiny, tmp_path):
    experiment = tiny(steps=2)
    train(experiment, tmp_path)
    variables = checkpoint.load(tmp_path)[1]
    one, _ = Evaluator(experiment, MeshShape(data=1).build())(variables)
    many, _ = Evaluator(experiment, MeshShape(data=2, fsdp=2, spatial=2).build())(variables)
    np.testing.assert_array_equal(one.confusion.matrix, many.confusion.matrix)
    assert one.confusion.matrix.sum() == 3 * 32 * 32


def test_evaluate_repeats_the_scores_of_the_summary(tiny, tmp_path):
    summary = train(tiny(), tmp_path)
    scores = evaluate(tmp_path)
    assert scores["step"] == summary["best_step"]
    assert scores["dice"] == pytest.approx(summary["validation"]["dice"], abs=1e-6)
    evaluate(tmp_path, "test", tta=True)
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert set(written) == {"validation", "test tta"}


def test_scores_of_cases_are_those_of_the_label_maps_on_any_mesh(tiny, tmp_path, capsys):
    named = ("dice", "hd95", "case_dice", "v_rand")
    experiment = tiny(steps=2)
    evaluation = dataclasses.replace(experiment.evaluation, metrics=named)
    experiment = dataclasses.replace(experiment, evaluation=evaluation)
    summary = train(experiment, tmp_path)
    variables = checkpoint.load(tmp_path)[1]
    one, samples = Evaluator(experiment, MeshShape(data=1).build())(variables, samples=2)
    many, _ = Evaluator(experiment, MeshShape(data=2, fsdp=2, spatial=2).build())(variables)
    for name in named[1:]:
        np.testing.assert_allclose(one.records[name], many.records[name])
    assert len(samples) == 3
    expected = []
    for sample in samples:  # class 1 of each; "background" has no score of cases
        a, b = sample.prediction == 1, sample.label == 1
        expected.append(2 * (a & b).sum() / (a.sum() + b.sum()))
        assert sample.dice == pytest.approx(expected[-1])
    assert [sample.worst for sample in samples] == [False, False, True]
    assert [sample.name for sample in samples] == [f"validation_000{n}" for n in range(3)]
    scores = {**many.scores(("background", "nucleus")), **many.intervals()}
    assert scores["case_dice"] == pytest.approx(np.mean(expected))
    assert math.isnan(scores["case_dice_per_class"]["background"])
    low, high = scores["case_dice_interval"]
    assert low <= scores["case_dice"] <= high
    assert summary["validation"]["case_dice"] == pytest.approx(scores["case_dice"])
    main(["--workdir", str(tmp_path)])
    assert "case_dice: 95 % interval over cases" in capsys.readouterr().out
    written = json.loads((tmp_path / "evaluation.json").read_text())["validation"]
    assert written["case_dice_interval"] == pytest.approx([low, high])


def test_accumulation_trains_in_the_loop(tiny, tmp_path):
    assert train(tiny(steps=2, accumulate=2), tmp_path)["step"] == 2


def test_a_volume_trains_in_the_loop(tiny, tmp_path):
    from jaxseg.augment import Augment
    from jaxseg.data import Data, Synthetic

    volumes = Synthetic(size=(16, 16, 16), count=(4, 1, 1), radius=(3.0, 5.0))
    experiment = tiny(
        steps=2, data=Data(dataset=volumes, patch=(8, 8, 8)), augment=Augment(flip=0.5)
    )
    window = dataclasses.replace(experiment.evaluation, window=(8, 8, 8))
    assert train(dataclasses.replace(experiment, evaluation=window), tmp_path)["step"] == 2
