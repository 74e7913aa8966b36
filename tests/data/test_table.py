import numpy as np
import pytest
from PIL import Image

from jaxseg.data import Data, Table
from jaxseg.errors import UserError

SPLITS = ("train", "validation", "test")


def save(path, seed, top):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, top, (4, 5), dtype=np.uint8)
    Image.fromarray(array).save(path)


@pytest.fixture
def root(tmp_path):
    """Six images whose masks have other names, and tables of them."""
    for i in range(6):
        save(tmp_path / f"scans/{i % 2}/s{i // 2}.png", i, 256)
        save(tmp_path / f"drawn/{i}.png", i, 2)
    return tmp_path


def rows(*more, split=False):
    head = "image,mask,by" + (",split" if split else "")
    lines = [f"scans/{i % 2}/s{i // 2}.png, drawn/{i}.png,me" for i in range(6)]
    words = ("train", "Train", "train", "val", "validation", "test")
    lines = [f"{line},{word}" for line, word in zip(lines, words, strict=True)] if split else lines
    return "\n".join([head, *lines, *more]) + "\n"


def names(source):
    return [source[i]["name"] for i in range(len(source))]


def test_a_column_says_the_split_and_paths_are_relative_to_the_table(root):
    (root / "lists").mkdir()
    text = rows(split=True).replace("scans", "../scans").replace("drawn", "../drawn")
    (root / "lists/a.csv").write_text("\ufeff" + text, encoding="utf-8")
    found = {s: Table(2, 1, file="lists/a.csv").open(str(root), s) for s in SPLITS}
    assert [len(found[s]) for s in SPLITS] == [3, 2, 1]
    assert names(found["train"]) == [f"../scans/{i % 2}/s{i // 2}" for i in range(3)]
    case = found["train"][1]
    for key, path in (("image", "scans/1/s0.png"), ("label", "drawn/1.png")):
        np.testing.assert_array_equal(case[key].reshape(4, 5), np.asarray(Image.open(root / path)))


def test_without_that_column_shares_of_the_rows_are_drawn(root):
    (root / "pairs.csv").write_text(rows())
    found = {s: names(Table(2, 1, test=0.2).open(str(root), s)) for s in SPLITS}
    assert [len(found[s]) for s in SPLITS] == [4, 1, 1] and len(set(sum(found.values(), []))) == 6
    held = [names(Table(2, 1, fold=i, folds=3).open(str(root), "validation")) for i in range(3)]
    assert sorted(sum(held, [])) == sorted(sum(found.values(), []))
    together = Table(2, 1, group=r"scans/\d", validation=0.5).open(str(root), "train")
    assert len({name[:7] for name in names(together)}) == 1 and len(together) == 3
    assert len(Table(2, 1, validation=0.0).open(str(root), "validation")) == 0


def test_a_row_without_a_mask_is_a_case_without_a_label(root):
    (root / "pairs.csv").write_text("image,mask\nscans/0/s0.png,\nscans/0/s1.png,drawn/2.png\n")
    data = Data(Table(2, 1, validation=0.0), root=str(root), labels="optional")
    batches = data.train(batch_size=2, seed=0)
    labels = next(batches).label
    batches.close()
    assert sorted(int(label.min()) for label in labels) == [-1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (rows("scans/0/s9.png,drawn/1.png,me"), r"line 8: image .*s9\.png: no such file"),
        (rows("a.png,b.png"), "line 8: has not as many cells as the first line has columns"),
        (rows("a.png,b.png,me,too"), "line 8: has not as many cells"),
        (rows(",drawn/1.png,me"), "line 8: names no image"),
        (rows("scans/0/s0.png,drawn/1.png,me"), r"line 8: .*s0\.png stands in line 2"),
        (rows("pairs.csv,drawn/1.png,me"), r"line 8: image .*pairs\.csv: no image"),
        ("images,masks\na,b\n", "no column 'image'; the nearest is 'images'"),
        ("image,mask\n", "holds no row below its first line"),
        ("", "no column 'image'"),
        (rows(split=True).replace("test", "tset"), "line 7: split 'tset'; there are train"),
        (rows(split=True).replace("test", "train"), "no row of the split 'test'"),
        ("image,mask\n\xff", "no CSV in UTF-8"),
    ],
)
def test_a_table_that_cannot_be_read_is_named_with_its_line(root, text, message):
    (root / "pairs.csv").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=message) as caught:
        Table(2, 1).open(str(root), "test")
    assert "pairs.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_table_an_unused_fold_and_twins_are_refused(root):
    with pytest.raises(UserError, match=r"pairs\.csv: no such file; data.dataset.file"):
        Table(2).open(str(root), "train")
    (root / "pairs.csv").write_text(rows(split=True))
    with pytest.raises(UserError, match=r"no table 'pair\.csv'; the nearest is 'pairs\.csv'"):
        Table(2, file="pair.csv").open(str(root), "train")
    with pytest.raises(UserError, match="its column split fixes the splits"):
        Table(2, fold=0).open(str(root), "train")
    (root / "scans/1/s2.png").write_bytes((root / "scans/0/s0.png").read_bytes())
    with pytest.raises(UserError, match="hold the same bytes"):
        Table(2).open(str(root), "train")
