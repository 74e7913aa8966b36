"""The command that scores: new labelled files, keys, and what is refused."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxseg import command, record, workdir
from jaxseg.data import Folder, Synthetic, ZScore
from jaxseg.data.images import read_mask
from jaxseg.errors import UserError
from jaxseg.evaluate import evaluate, main
from jaxseg.metrics import Confusion
from jaxseg.predict import predict
from tests.made_run import draw, made_run


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """Folders of two images and masks: ``numbers`` of classes, ``values`` of 0 and 255."""
    folder = tmp_path_factory.mktemp("new")
    for number, size in enumerate([(20, 24), (18, 30)]):
        label = (draw(*size, seed=9 + number) > 200).astype(np.uint8)
        pictures = {"images": draw(*size, seed=number), "numbers": label, "values": 255 * label}
        for name, picture in pictures.items():
            (folder / name).mkdir(exist_ok=True)
            Image.fromarray(picture).save(folder / name / f"case{number}.png")
    return folder


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A run on a data set that reads no files."""
    data = Synthetic(size=(16, 16), count=(1, 2, 1), radius=(2.0, 4.0))
    where = tmp_path_factory.mktemp("generated") / "run"
    return made_run(where, data, normalize=ZScore(), metrics=("dice", "hd95"))


def by_hand(run, labels, out):
    """The confusion matrix of each case, of the label maps that predict writes."""
    matrices = []
    for path in predict(run, labels / "images", out):
        true, found = read_mask(labels / "numbers" / path.name), read_mask(path)
        pairs = 2 * true.astype(int) + found
        matrices.append(np.bincount(pairs.ravel(), minlength=4).reshape(2, 2))
    return np.stack(matrices)


def words(run, *more):
    return ["--workdir", str(run), *(str(word) for word in more)]


def test_new_labelled_files_are_scored_as_the_run_predicts_them(
    generated, labels, tmp_path, capsys
):
    files = ("--images", labels / "images", "--masks", labels / "numbers")
    main(words(generated, *files))
    said = capsys.readouterr().out
    key = f"images {labels / 'images'} masks {labels / 'numbers'}"
    scores = json.loads((generated / "evaluation.json").read_text())[key]
    matrices = by_hand(generated, labels, tmp_path)
    whole = Confusion(matrix=matrices.sum(0))
    assert scores["dice_per_class"]["nucleus"] == whole.dice()[1]
    assert scores["cases"] == 2 and "2 cases" in said and scores["files"] in said
    with (generated / scores["files"] / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["case0", "case1"]
    for row, matrix in zip(rows, matrices, strict=True):
        assert float(row["dice/nucleus"]) == Confusion(matrix=matrix).dice()[1]
        assert float(row["hd95"]) > 0
    assert (generated / scores["files"] / "confusion.png").is_file()


def test_values_say_what_masks_hold_or_the_run_does(generated, labels, tmp_path):
    new = {"images": labels / "images"}
    plain = evaluate(generated, **new, masks=labels / "numbers")
    valued = evaluate(generated, **new, masks=labels / "values", values=(0, 255))
    assert valued["dice"] == plain["dice"]
    with pytest.raises(UserError, match=r"values/case0\.png: holds no number but 0 and 255"):
        evaluate(generated, **new, masks=labels / "values")
    run = made_run(tmp_path / "run", Folder(2, channels=1, values=(0, 255)), normalize=ZScore())
    assert evaluate(run, **new, masks=labels / "values")["dice"] == pytest.approx(plain["dice"])
    other = evaluate(run, **new, masks=labels / "numbers", values=(0, 1))
    assert other["dice"] == pytest.approx(plain["dice"])
    with pytest.raises(UserError, match=r"numbers/case0\.png: values 1 are not in `values`"):
        evaluate(run, **new, masks=labels / "numbers")


def test_what_is_other_than_in_the_run_stands_in_the_key(generated):
    evaluate(generated)
    plain = json.loads((generated / "evaluation.json").read_text())["validation"]
    evaluate(generated, tta=True)
    evaluate(generated, tta=False)
    given = ["evaluation.overlap=0.0", "evaluation.window_batch=2"]
    evaluate(generated, "test", overrides=given, tta=True)
    kept = json.loads((generated / "evaluation.json").read_text())
    names = {"validation", "validation tta", "test tta evaluation.overlap=0.0"}
    assert {name for name in kept if not name.startswith("images")} == names
    assert kept["validation"] == plain
    assert len({scores["files"] for scores in kept.values()}) == len(kept)
    assert all((generated / scores["files"] / "cases.json").is_file() for scores in kept.values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--images {new}/images", "--images and --masks belong together"),
        ("--images {new}/images --masks {new}/absent", "absent: no such folder"),
        ("--images {new}/images --masks {new}/numbers --split test", "--split test: new images"),
        ("--images {new}/images --masks {new}/numbers --values 0", "1 numbers for 2 classes"),
        ("--images {new}/images --masks {new}/numbers --values 0;1", "--values 0;1: give a"),
        ("--values 0,255", "--values says what --masks holds"),
        ("--images {new}/images --masks {new}/few", "case1.png: no mask"),
    ],
)
def test_new_files_that_cannot_be_scored_are_named(generated, labels, capsys, arguments, said):
    few = labels / "few"
    few.mkdir(exist_ok=True)
    (few / "case0.png").write_bytes((labels / "numbers" / "case0.png").read_bytes())
    with pytest.raises(SystemExit) as ended:
        command.run(main, words(generated, *arguments.format(new=labels).split()))
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and len(lines) == 1 and said in lines[0]


def test_a_run_that_is_begun_again_keeps_no_scores_of_cases(generated, tmp_path):
    run = shutil.copytree(generated, tmp_path / "run")
    (run / "evaluation" / "validation").mkdir(parents=True, exist_ok=True)
    stored = record.read_json(run / "experiment.json")
    workdir.admit(stored, run, resume=False, overwrite=True)
    workdir.clear(run, overwrite=True)
    assert not [path for path in run.iterdir() if not path.name.startswith(".")]
    (run / "evaluation").write_text("mine")
    with pytest.raises(UserError, match="evaluation: not what a run of jaxseg leaves there"):
        workdir.admit(stored, run, resume=False, overwrite=True)


def test_overrides_may_follow_the_folder_of_the_run(generated, capsys):
    main(words(generated, "evaluation.overlap=0.25", "--split", "test"))
    assert "test evaluation.overlap=0.25, 1 case" in capsys.readouterr().out
