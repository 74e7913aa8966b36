"""Every mistake ends the real command in one line, with exit code 2 and nothing lost."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxseg import checkpoint, command, config, evaluate, export, predict, train
from jaxseg import workdir as workdirs

ROOT = Path(__file__).parent.parent
SYNTHETIC = "Synthetic(size=(32, 32), count=(4, 2, 0), radius=(3.0, 5.0))"
FOLDER = "Folder(num_classes=2, channels=1)"


def config_text(dataset=SYNTHETIC, root="", losses='{"ce": CrossEntropy(), "dice": Dice()}'):
    return textwrap.dedent(f"""
        from jaxseg.augment import Augment
        from jaxseg.experiment import Checkpoints, Evaluation, Experiment
        from jaxseg.data import Data, Folder, Synthetic
        from jaxseg.encoders import Plain
        from jaxseg.losses import CrossEntropy, Dice
        from jaxseg.models import UNet
        from jaxseg.optimizers import AdamW, Cosine
        from jaxseg.recipes import Supervised
        from jaxseg.sharding import MeshShape


        def experiment():
            return Experiment(
                recipe=Supervised(
                    model=UNet(num_classes=2, encoder=Plain(widths=(4, 8))),
                    losses={losses},
                    optimizer=AdamW(learning_rate=Cosine(peak=1e-2)),
                ),
                data=Data(dataset={dataset}, root={str(root)!r}, patch=(16, 16)),
                steps=2,
                batch_size=2,
                evaluation=Evaluation(every=1, window=(16, 16)),
                checkpoint=Checkpoints(every=1, keep=2),
                mesh=MeshShape(data=1),
            )
    """)


@pytest.fixture
def written(tmp_path):
    """Writes a config file: ``written(dataset=..., root=...)``, or of any ``text``."""

    def write(text=None, **parts):
        path = tmp_path / "mine.py"
        path.write_text(config_text(**parts) if text is None else text)
        return path

    return write


@pytest.fixture
def refused(capfd):
    """Runs a command that must fail by the rules; gives its one line."""

    def run(verb, *arguments):
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            command.run(verb.main, [str(argument) for argument in arguments])
        lines = capfd.readouterr().err.splitlines()
        assert end.value.code == 2, lines
        assert len(lines) == 1 and lines[0].startswith("jaxseg: error: "), lines
        return lines[0]

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two steps; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "mine.py").write_text(config_text())
    train.main(["--config", str(folder / "mine.py"), "--workdir", str(folder / "run")])
    return folder / "run"


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


@pytest.fixture
def images(tmp_path):
    """Six grey images, each of one intensity, and their masks of two classes."""
    for number in range(6):
        save(tmp_path / f"mine/images/{number}.png", np.full((32, 32), 40 * number, np.uint8))
        save(tmp_path / f"mine/masks/{number}.png", np.eye(32, dtype=np.uint8))
    (tmp_path / "mine/train.txt").write_text("0\n1\n2\n3\n")
    (tmp_path / "mine/validation.txt").write_text("4\n5\n")
    return tmp_path / "mine"


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_no_run_in(workdir):
    left = {path.name for path in workdir.iterdir()} if workdir.is_dir() else set()
    assert left <= {".lock"}


# --- data -----------------------------------------------------------------------------------------


def without_mask(root):
    (root / "masks/3.png").unlink()
    return r"images/3\.png: no mask .*masks/3\.\*"


def masks_of_another_size(root):
    for path in (root / "masks").iterdir():
        save(path, np.zeros((32, 30), np.uint8))
    return r"masks/\d\.png: the mask is 32 x 30 and its image .*images/\d\.png is 32 x 32"


def unknown_classes(root, name="1"):
    save(root / f"masks/{name}.png", np.diag([7] * 16 + [9] * 16).astype(np.uint8))
    return rf"masks/{name}\.png: label values 7, 9 with num_classes=2"


def unknown_classes_in_validation(root):
    return unknown_classes(root, "5")


def truncated(root):
    path = root / "images/5.png"
    save(path, np.random.default_rng(0).integers(0, 255, (32, 32)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:300])
    return r"images/5\.png: truncated"


def no_image(root):
    (root / "images/4.png").write_text("hello")
    return r"images/4\.png: .*not an image"


def no_images(root):
    for path in (root / "images").iterdir():
        path.unlink()
    return r"images: holds no image"


def nan(root):
    for path in (root / "images").iterdir():
        path.unlink()
        image = np.full((32, 32), np.nan, np.float32)
        image[0] = int(path.stem)  # no picture twice
        np.save(path.with_suffix(".npy"), image)
    return r"images/\d\.npy: \d+ pixels are NaN"


def absent(root):
    shutil.rmtree(root)
    return r"data\.root=.*mine: no such folder"


def empty_split(root):
    (root / "validation.txt").write_text("")
    return r"validation\.txt: is empty"


@pytest.mark.parametrize(
    "harm",
    [
        without_mask, masks_of_another_size, unknown_classes, unknown_classes_in_validation,
        truncated, no_image, no_images, nan, absent, empty_split,
    ],
)  # fmt: skip
def test_bad_data_is_named_before_anything_is_written(images, written, refused, tmp_path, harm):
    message = harm(images)
    path = written(dataset=FOLDER, root=images)
    line = refused(train, "--config", path, "--workdir", tmp_path / "run")
    assert_no_run_in(tmp_path / "run")
    assert Path(line.split(": ")[2].removeprefix("data.root=")).is_relative_to(images)
    assert re.search(message, line), line


def test_a_file_that_turns_bad_while_training_loses_no_step(
    images, written, refused, tmp_path, monkeypatch
):
    # as of more cases than are looked at before the first step
    monkeypatch.setattr("jaxseg.data.class_shares.SAMPLE", 1)
    monkeypatch.setattr("jaxseg.data.batches.some_of", lambda numbers: numbers[:1])
    path = written(dataset=FOLDER, root=images)
    rarely = "batch_size=1 evaluation.every=99 checkpoint.every=99 data.cache=none steps=5".split()
    batches = config.read(path, rarely).data.train(batch_size=1, seed=0)
    third = round(float([next(batches) for _ in range(3)][2].image.max()) * 255) // 40
    batches.close()
    good = (images / f"masks/{third}.png").read_bytes()
    message = unknown_classes(images, str(third))
    line = refused(train, "--config", path, "--workdir", tmp_path / "run", *rarely)
    assert f"masks/{third}.png: label values 7, 9" in line and message
    assert checkpoint.steps(tmp_path / "run") == [2]
    (images / f"masks/{third}.png").write_bytes(good)
    train.main(["--config", str(path), "--workdir", str(tmp_path / "run"), "--resume", *rarely])
    assert checkpoint.steps(tmp_path / "run")[-1] == 5


# --- the config, and what is typed ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("stepz=3", "'stepz'; the nearest is 'steps'"),
        ("recipe.model=unt", "nearest is 'unet'"),
        ("recipe.model.encoder=resnet3", "nearest is 'resnet"),
        ("steps=0", "steps=0: must be at least 1"),
        ("steps=many", "steps='many': expected int"),
        ("steps=3 steps=4", "steps is given 2 times"),
        ("batch_size=True", "batch_size=True: expected int"),
        ("seed=-1", "seed=-1"),
        ("data.patch=16", "data.patch=16: expected tuple[int, ...] | None"),
        ("data.patch=(16.5,16)", "data.patch=(16.5, 16): expected"),
        ("data.patch=(16,'16')", "data.patch=(16, '16'): expected"),
        ("data.patch=(0,16)", "data.patch=(0, 16)"),
        ("data.dataset=foo", "data.dataset: no class is called 'foo'; there are "),
        ("data.dataset.count=(0,2,2)", "the train split is empty"),
        ("data.dataset.count=(2,0,2)", "the validation split is empty"),
        ("recipe.losses=3", "recipe.losses=3: expected Mapping"),
        ("recipe.losses={}", "recipe.losses={}"),
        ("recipe.losses.dice=3", "recipe.losses.dice=3: expected Loss"),
        ("recipe.losses.dice.weight=1e999", "recipe.losses.dice.weight=inf: expected a finite"),
        ("recipe.augment.flip=0.5", "recipe.augment.flip"),
        ("recipe.optimizer.b1=1.5", "recipe.optimizer.b1=1.5"),
        ("recipe.optimizer.learning_rate.peak=-1.0", "peak=-1.0"),
        ("recipe.model.encoder.widths=()", "widths=(): must be one number or more"),
        ("recipe.model.encoder.widths=(-4,8)", "encoder.widths=(-4, 8): must be at least 1"),
        ("recipe.model.centre=(0,)", "recipe: the network"),
        ("recipe.model.dropout=2.0", "recipe.model.dropout=2.0"),
        ("recipe.model.dtype=bfloat16", "set recipe.dtype"),
        ("recipe.model.num_classes=3", "data.dataset has 2 classes"),
        ("evaluation.metrics=('dicee',)", "no metric 'dicee'; the nearest is 'dice'"),
        ("evaluation.metrics=('dice','iuo')", "no metric 'iuo'; the nearest is 'iou'"),
        ("evaluation.patience=0", "evaluation.patience=0"),
        ("checkpoint.best=foo", "checkpoint.best='foo'"),
        ("mesh.data=4 batch_size=6", "batch_size=6 does not divide"),
        ("mesh.data=16", "needs 16 devices"),
        ("mesh.spatial=3", "data.patch has 16 rows"),
        ("mesh.spatial=4 data.patch=(20,16)", "data.patch has 20 rows"),
        ("recipe.model=unet_2015", "nearest sizes of an axis that do: 188"),
        (
            "recipe.model=unet_2015 recipe.model.widths=(4,4) data.patch=(44,44) "
            "evaluation.window=(17,17)",
            "nearest sizes of an axis that do: 18",
        ),
    ],
)
def test_an_override_that_cannot_be_is_named(written, refused, tmp_path, overrides, message):
    line = refused(train, "--config", written(), "--workdir", tmp_path / "run", *overrides.split())
    assert message in line
    assert_no_run_in(tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such config file"),
        ("raise ValueError('two\\nlines')", "ValueError while it is read: two"),
        ("def experiment():\n    return {}['key']", "KeyError in experiment(): 'key'"),
        ("def experiment():\n    open('/absent')", "FileNotFoundError in experiment()"),
        ("def experiment():\n    pass", "returns NoneType"),
        ("experiment = 3", "define `def experiment"),
        ("import sys\nsys.exit(3)", "SystemExit"),
        (config_text(losses='{"loss": Dice()}'), "cannot be called 'loss'"),
        (config_text(losses='{"class": Dice()}'), "recipe.losses: 'class' cannot be a name"),
        (config_text(dataset="Folder"), "data.dataset=Folder: expected an object"),
        (config_text(dataset="Folder()"), "num_classes"),
        (config_text(dataset="Folder(num_classes=2, validation=2.0)"), "validation=2.0"),
        (config_text(dataset=FOLDER), "data.root is not set"),
    ],
)
def test_a_config_that_cannot_be_used_is_named(written, refused, tmp_path, text, message):
    path = tmp_path / "absent.py" if text is None else written(text)
    assert message in refused(train, "--config", path, "--workdir", tmp_path / "run")
    assert_no_run_in(tmp_path / "run")


def test_a_loss_that_is_not_finite_ends_the_run_in_a_line(written, refused, tmp_path):
    huge = ("recipe.optimizer.learning_rate.peak=1e38", "steps=20")
    line = refused(train, "--config", written(), "--workdir", tmp_path / "run", *huge)
    assert "the loss is not finite" in line and "last good checkpoint: " in line
    assert checkpoint.steps(tmp_path / "run")


@pytest.mark.parametrize(
    ("verb", "arguments", "message"),
    [
        (train, "", "--workdir"),
        (train, "--workdir {run}/new", "--config is missing"),
        (train, "--config {config} --workdir {run}/new --bogus", "--bogus"),
        (train, "--config {config} --workdir {run}/new --processes 2", "--distributed"),
        (train, "--config {config} --workdir {run}/new --profile 5", "--profile 5: expected START"),
        (train, "--config {config} --workdir {config}.d --profile 1:9", "name steps from 1 to 2"),
        (train, "--config {config} --workdir {run}/new --log wandbb", "the nearest is 'wandb'"),
        (evaluate, "--workdir {run} --step abc", "--step"),
        (evaluate, "--workdir {run} --step 9", "no step 9"),
        (evaluate, "--workdir {run} --split tset", "no split 'tset'"),
        (evaluate, "--workdir {run} --split test", "the test split is empty"),
        (evaluate, "--workdir {run} evaluation.windw=3", "the nearest is 'window'"),
        (evaluate, "--workdir {run} evaluation.overlap=7.0", "evaluation.overlap=7.0"),
        (evaluate, "--workdir {run} recipe.model.encoder.widths=(4,16)", "recipe.*"),
        (evaluate, "--workdir {run} data.dataset.boundary=True", "num_classes=2"),
        (evaluate, "--workdir {run}/absent", "no such file"),
        (predict, "", "--workdir, --input, --output"),
        (predict, "--workdir {run}/absent --input {run} --output {run}/o", "no such file"),
        (predict, "--workdir {run} --input {run}/absent --output {run}/o", "no such file"),
        (predict, "--workdir {run} --input {config} --output {run}/o", "not an image"),
        (predict, "--workdir {run} --input {run}/checkpoints --output {run}/o", "holds no image"),
        (export, "--workdir {run} --output {run}", "a folder"),
        (export, "--workdir {run} --output {run}/m --platforms gpux", "gpux"),
        (export, "--workdir {run} --output {config}/m", "could not be made"),
    ],
)
def test_arguments_that_cannot_be_are_named(copy, written, refused, verb, arguments, message):
    before = content(copy)
    given = arguments.format(run=copy, config=written()).split()
    assert message in refused(verb, *given)
    assert content(copy) == before


def test_predict_names_an_image_of_other_channels_or_kind(finished, refused, tmp_path):
    for name, array, message in (
        ("five", np.zeros((32, 32, 5), np.float32), "5 channels"),
        ("nan", np.full((32, 32), np.nan, np.float32), "NaN"),
        ("complex", np.zeros((32, 32), np.complex64), "complex64"),
        ("empty", np.zeros((0, 32), np.uint8), "empty"),
    ):
        np.save(tmp_path / f"{name}.npy", array)
        where = ("--input", tmp_path / f"{name}.npy", "--output", tmp_path / "out")
        line = refused(predict, "--workdir", finished, *where)
        assert message in line and f"{name}.npy" in line
    assert not [path for path in (tmp_path / "out").glob("*")]


# --- the workdir ----------------------------------------------------------------------------------


def test_a_workdir_that_cannot_be_used_is_named(finished, written, refused, tmp_path):
    path = written()
    for workdir, message in (
        (path, "is no folder"),
        (path / "below", "is no folder"),
        (finished, "holds a run: --resume goes on with it, --overwrite"),
    ):
        before = content(finished)
        line = refused(train, "--config", path, "--workdir", workdir)
        assert str(workdir) in line and message in line
        assert content(finished) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_workdir_that_one_may_not_write_is_named(written, refused, tmp_path):
    path = written()
    (tmp_path / "locked").mkdir(mode=0o755)
    for folder in [tmp_path, *tmp_path.parents][:4]:
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    path.chmod(0o644)
    try:
        os.seteuid(65534)
        line = refused(train, "--config", path, "--workdir", tmp_path / "locked" / "run")
    finally:
        os.seteuid(0)
    assert "Permission denied" in line and "locked/run" in line


def test_a_workdir_in_use_is_refused(copy, written, refused):
    with workdirs.locked(copy):
        before = content(copy)
        line = refused(train, "--config", written(), "--workdir", copy, "--resume", "steps=4")
        assert "is in use" in line
        assert content(copy) == before


def test_another_model_does_not_go_on_with_a_run(copy, written, refused):
    before = content(copy)
    other = ("--resume", "recipe.model.encoder.widths=(4,16)")
    line = refused(train, "--config", written(), "--workdir", copy, *other)
    assert "recipe.model.encoder.widths is [4, 8]" in line
    assert content(copy) == before


def test_logs_of_a_run_without_its_experiment_are_not_written_over(copy, written, refused):
    (copy / "experiment.json").unlink()
    shutil.rmtree(copy / "checkpoints")
    before = content(copy)
    assert "holds a run" in refused(train, "--config", written(), "--workdir", copy)
    assert content(copy) == before


@pytest.mark.parametrize("name", ["checkpoints", "metrics.jsonl", "summary.json"])
def test_what_is_in_the_place_of_an_output_is_named(copy, written, refused, name):
    if (copy / name).is_dir():
        shutil.rmtree(copy / name)
        (copy / name).write_text("mine")
    else:
        (copy / name).unlink()
        (copy / name).mkdir()
    before = content(copy)
    line = refused(train, "--config", written(), "--workdir", copy, "--resume", "steps=4")
    assert name in line
    assert content(copy) == before


# --- damaged runs ---------------------------------------------------------------------------------


def edited(*path, to):
    def edit(text):
        tree = json.loads(text)
        node = tree
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = to
        return json.dumps(tree)

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        lambda _: "",
        lambda _: "{",
        lambda _: "[]",
        lambda _: "null",
        lambda _: "\x00",
        lambda _: "[" * 100_000,
        lambda _: '{"class": ["a"]}',
        lambda _: '{"class": "Experiment"}',
        edited("class", to="os.system"),
        edited("recipe", "model", to={"class": "Popen", "args": ["touch", "pwned"]}),
        edited("recipe", "model", to={"class": "Dice"}),
        edited("recipe", "model", "parent", to=3),
        edited("recipe", "model", "name", to={"a": 1}),
        edited("recipe", "modle", to=3),
        edited("data", to=None),
        edited("data", "dataset", to="x"),
        edited("batch_size", to="a"),
        edited("recipe", "model", "num_classes", to=5),
        edited("recipe", "model", "encoder", "widths", to=[4, 16]),
    ],
)
def test_a_damaged_experiment_is_named_by_every_command(copy, written, refused, tmp_path, edit):
    path = copy / "experiment.json"
    path.write_text(edit(path.read_text()))
    before = content(copy)
    save(tmp_path / "in/a.png", np.zeros((32, 32), np.uint8))
    out = tmp_path / "out"
    for verb, *arguments in (
        (train, "--config", written(), "--resume", "steps=4"),
        (evaluate,),
        (predict, "--input", tmp_path / "in", "--output", out),
        (export, "--output", out / "m"),
    ):
        assert str(copy) in refused(verb, "--workdir", copy, *arguments)
        assert content(copy) == before
    assert not out.exists()
    assert not Path("pwned").exists()


@pytest.mark.parametrize("text", ["{", "[1]", "\x00"])
def test_a_damaged_evaluation_is_not_written_over(copy, refused, text):
    (copy / "evaluation.json").write_text(text)
    assert "evaluation.json" in refused(evaluate, "--workdir", copy)
    assert (copy / "evaluation.json").read_text() == text


def test_damaged_lines_and_summaries_do_not_stop_a_resumed_run(copy, written):
    with (copy / "metrics.jsonl").open("a") as file:
        file.write('[1]\n{"step": "x"}\n\x00{')
    (copy / "summary.json").write_text("{")
    arguments = ["--config", str(written()), "--workdir", str(copy), "--resume", "steps=3"]
    command.run(train.main, arguments)
    assert json.loads((copy / "summary.json").read_text())["step"] == 3


@pytest.mark.parametrize(
    ("victim", "how"),
    [
        ("state/_METADATA", "remove"),
        ("state/_METADATA", "cut"),
        ("state/manifest.ocdbt", "remove"),
        ("state/manifest.ocdbt", "empty"),
        ("state/manifest.ocdbt", "cut"),
        ("_CHECKPOINT_METADATA", "cut"),
        ("state/array_metadatas/process_0", "empty"),
        ("metrics/metrics", "cut"),
        ("state/d", "remove"),
        ("state/d", "cut"),
        ("state/ocdbt.process_0/d", "cut"),
    ],
)
def test_a_truncated_checkpoint_is_named(copy, written, refused, victim, how):
    for step in checkpoint.steps(copy):
        place = copy / "checkpoints" / str(step) / victim
        for path in place.rglob("*") if place.is_dir() else [place]:
            if how == "remove":
                path.unlink()
            else:
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 * (how == "cut")])
    before = content(copy)
    resume = (train, "--config", written(), "--resume", "steps=4")
    for verb, *arguments in ((evaluate,), resume):
        assert f"{copy}/checkpoints/" in refused(verb, "--workdir", copy, *arguments)
        assert content(copy) == before


def test_a_checkpoint_of_somebody_else_is_named(copy, refused):
    for step in checkpoint.steps(copy):
        folder = copy / "checkpoints" / str(step)
        shutil.rmtree(folder)
        (folder / "state").mkdir(parents=True)
        (folder / "state" / "model.pt").write_bytes(b"PK")
    assert "damaged, truncated or foreign checkpoint" in refused(evaluate, "--workdir", copy)


# --- real processes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "devices", "message"),
    [
        ("--config {folder}/mine.py --workdir {folder}/run batch_size=6", 4, "batch_size=6"),
        ("--config {folder}/class.py --workdir {folder}/run", 1, "an object, Dice(...)"),
        ("--config {folder}/workers.py --workdir {folder}/run", 1, "masks/1.png: label values 7"),
    ],
)
def test_a_process_ends_in_one_line(images, tmp_path, arguments, devices, message):
    unknown_classes(images)
    everywhere = config_text().replace("MeshShape(data=1)", "MeshShape()")
    (tmp_path / "mine.py").write_text(everywhere)
    (tmp_path / "class.py").write_text(config_text(losses='{"dice": Dice}'))
    workers = config_text(dataset=FOLDER, root=images).replace("patch=", "workers=1, patch=")
    (tmp_path / "workers.py").write_text(workers)
    given = arguments.format(folder=tmp_path).split()
    ended = subprocess.run(
        [sys.executable, "-m", "jaxseg.train", *given],
        env={**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = ended.stderr.splitlines()
    assert ended.returncode == 2, lines
    assert len(lines) == 1 and lines[0].startswith("jaxseg: error: ") and message in lines[0]
    assert_no_run_in(tmp_path / "run")
