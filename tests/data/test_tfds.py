import pickle
import subprocess
import sys

import numpy as np
import pytest

from jaxseg.data import TFDS, Data
from jaxseg.data.tfds import Records
from jaxseg.errors import UserError

BUILD = """
import io
import sys
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

F = tfds.features

class Blobs(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = None
    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=F.FeaturesDict({
            "image": F.Image(shape=(None, None, 3), encoding_format="png"),
            "mask": F.Tensor(shape=(12, 10, 1), dtype=np.uint8)}))
    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(10), "test": self._generate_examples(2)}
    def _generate_examples(self, count):
        for i in range(count):
            rng = np.random.default_rng(i)
            image = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
            png = io.BytesIO()
            Image.fromarray(image).save(png, "PNG")
            png.seek(0)  # else tfds stores an empty image without an error
            yield i, {"image": png, "mask": (image[..., :1] > 128).astype(np.uint8) + 1}

Blobs(data_dir=sys.argv[1], file_format="array_record").download_and_prepare()
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A data set that a program of its own builds, as a user's would."""
    root = tmp_path_factory.mktemp("tfds")
    subprocess.run([sys.executable, "-c", BUILD, str(root)], check=True, capture_output=True)
    return root


def dataset(**changes):
    fields = {"name": "blobs", "num_classes": 2, "label_key": "mask", "values": (1, 2)}
    fields |= {"splits": ("train[:8]", "train[8:]", "test")} | changes
    return TFDS(**fields)


def test_records_are_read_by_name_and_by_folder_with_no_tensorflow(prepared):
    for root in (prepared, prepared / "blobs" / "1.0.0"):
        source = dataset().open(str(root), "train")
        case = source[0]
        assert len(source) == 8 and case["image"].shape == (12, 10, 3)
        np.testing.assert_array_equal(case["label"], case["image"][..., 0] > 128)
        assert case["label"].dtype == np.int32
    assert "tensorflow" not in sys.modules


def test_splits_are_named_and_sliced_as_tfds_does(prepared):
    sizes = [len(dataset().open(str(prepared), s)) for s in ("train", "validation", "test")]
    assert sizes == [8, 2, 2]


@pytest.mark.parametrize("splits", [("train[:80%]", "train[70%:]", "test"), ("train", "train", "")])
def test_records_of_two_splits_are_refused(prepared, splits):
    for split in ("train", "validation"):
        with pytest.raises(UserError, match="share records of blobs-train"):
            dataset(splits=splits).open(str(prepared), split)


def test_without_a_name_for_validation_there_is_none(prepared):
    only = dataset(splits=("train", "", ""))
    sizes = [len(only.open(str(prepared), split)) for split in ("train", "validation")]
    assert sizes == [10, 0]


def test_a_source_survives_pickling(prepared):
    source = dataset().open(str(prepared), "train")
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy[3]["image"], source[3]["image"])
    assert copy.key(3) == source.key(3) != source.key(4)


def test_batches_come_from_records(prepared):
    batches = Data(dataset(), str(prepared), patch=(8, 8), foreground=0.5).train(
        batch_size=3, seed=0
    )
    batch = next(batches)
    batches.close()
    assert batch.image.shape == (3, 8, 8, 3) and set(np.unique(batch.label)) <= {0, 1}


@pytest.mark.parametrize(
    "changes, split, message",
    [
        ({"name": "no_such"}, "train", "no prepared TFDS 'no_such'"),
        ({"label_key": "segmentation"}, "train", "no feature 'segmentation'; it has image, mask"),
        ({"splits": ("train", "", "")}, "test", "no split 'test'; there are train"),
        ({"splits": ("trian", "", "")}, "train", "no split 'trian'; there are .*train"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(prepared, changes, split, message):
    with pytest.raises(UserError, match=message):
        dataset(**changes).open(str(prepared), split)


def test_what_values_list_is_no_more_ignored_than_in_a_folder():
    with pytest.raises(UserError, match=r"ignore=\(2,\): 2 is class 1 in values"):
        dataset(ignore=(2,))
    records = [{"image": np.zeros((1, 2, 3), np.uint8), "mask": np.array([[[0], [255]]])}]
    listed = Records(dataset(values=(0, 255)), "train", "", records)[0]
    np.testing.assert_array_equal(listed["label"], [[0, 1]])
    with pytest.raises(UserError, match=r"TFDS blobs train\[0\]: .*write values=\(0, 255\)"):
        Records(dataset(values=None), "train", "", records)[0]


def test_values_that_are_no_class_name_the_record(prepared):
    source = dataset(values=None).open(str(prepared), "train")
    with pytest.raises(UserError, match=r"TFDS blobs train\[:8\]\[0\]: label values 2"):
        source[0]
