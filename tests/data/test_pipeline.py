import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from jaxseg.data import Data, Folder, Synthetic, ZScore
from jaxseg.errors import UserError
from jaxseg.types import IGNORE, Batch

NUCLEI = Synthetic(size=(24, 20), count=(7, 2, 1), radius=(2.0, 4.0))
DATA = Data(NUCLEI, patch=(16, 12), foreground=0.5)


def take(data, count, *, batch_size=4, seed=0, rows=slice(None), state=None):
    batches = data.train(batch_size=batch_size, seed=seed, rows=rows)
    if state is not None:
        batches.set_state(state)
    taken = [next(batches) for _ in range(count)]
    batches.close()
    return taken


def same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_a_batch_is_float32_images_int32_labels_and_all_valid():
    (batch,) = take(DATA, 1)
    assert isinstance(batch, Batch)
    assert batch.image.shape == (4, 16, 12, 1) and batch.image.dtype == np.float32
    assert batch.label.shape == (4, 16, 12) and batch.label.dtype == np.int32
    assert batch.valid.dtype == bool and batch.valid.all()
    assert batch.weight is None and batch.instance is None
    assert 0 <= batch.image.min() and batch.image.max() <= 1


def test_instances_are_carried_where_the_data_set_keeps_them():
    nuclei = Synthetic(size=(24, 20), count=(3, 1, 1), radius=(2.0, 4.0), instances=True)
    (batch,) = take(Data(nuclei, patch=(16, 12)), 1)
    np.testing.assert_array_equal(batch.instance > 0, batch.label == 1)


def test_the_same_seed_gives_the_same_batches_and_another_does_not():
    same(take(DATA, 5), take(DATA, 5))
    assert any(
        (a.image != b.image).any()
        for a, b in zip(take(DATA, 5), take(DATA, 5, seed=1), strict=True)
    )


def test_an_epoch_holds_every_case_once_in_an_order_of_its_own():
    data = Data(NUCLEI)
    cases = data.cases("train")
    known = {cases[i]["image"].tobytes(): i for i in range(7)}
    order = [known[b.image[0].tobytes()] for b in take(data, 21, batch_size=1)]
    epochs = [order[i : i + 7] for i in (0, 7, 14)]
    assert all(sorted(e) == list(range(7)) for e in epochs)
    assert len({tuple(e) for e in epochs}) > 1


def test_after_set_state_the_same_batches_follow_in_the_middle_of_an_epoch():
    batches = DATA.train(batch_size=4, seed=0)
    for _ in range(3):
        next(batches)
    state = json.loads(json.dumps(batches.get_state()))
    rest = [next(batches) for _ in range(4)]
    same(take(DATA, 4, state=state), rest)
    batches.set_state(state)  # and back in the same iterator
    same([next(batches) for _ in range(4)], rest)
    batches.close()


@pytest.mark.slow
def test_workers_change_no_batch_and_neither_does_resuming_with_another_number():
    workers = Data(NUCLEI, patch=(16, 12), foreground=0.5, workers=2)
    whole = take(DATA, 5)
    same(take(workers, 5), whole)
    same(take(workers, 2, state={"next_index": 3}), whole[3:])


def test_the_rows_of_two_processes_are_the_batch_of_one():
    one = take(DATA, 4)
    left, right = take(DATA, 4, rows=slice(0, 2)), take(DATA, 4, rows=slice(2, 4))
    joined = [
        Batch(*(None if x is None else np.concatenate([x, y]) for x, y in zip(a, b, strict=True)))
        for a, b in zip(left, right, strict=True)
    ]
    same(joined, one)


def test_a_data_set_smaller_than_a_batch_is_repeated():
    (batch,) = take(Data(Synthetic(size=(16, 16), count=(2, 1, 1))), 1, batch_size=5)
    assert batch.image.shape == (5, 16, 16, 1)


def rare(root, channels=1):
    """Five images of 64 x 64 with one pixel of class 2 each, and class 1 on a third."""
    for kind in ("images", "masks"):
        (root / kind).mkdir()
    for i in range(5):
        mask = np.zeros((64, 64), np.uint8)
        mask[:21], mask[60 - i, 32 + i] = 1, 2
        Image.fromarray(mask * 50).save(root / f"images/{i}.png")
        Image.fromarray(mask).save(root / f"masks/{i}.png")
    return Folder(3, channels=channels)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_the_stated_share_of_patches_is_centred_on_a_uniformly_chosen_class(tmp_path, share):
    data = Data(rare(tmp_path), str(tmp_path), patch=(9, 9), foreground=share)
    labels = np.concatenate([b.label for b in take(data, 50)])
    holds_rare = (labels == 2).any((1, 2)).sum()
    # half of the share by choice, and by chance a random patch holds the pixel in 2 of 100
    assert abs(holds_rare - 200 * (share / 2 + 0.02 * (1 - share))) < 25  # deviation 7
    if share == 1:
        assert (labels > 0).any((1, 2)).all()


def test_images_smaller_than_the_patch_are_filled_up_and_the_filling_is_ignored():
    (batch,) = take(Data(NUCLEI, patch=(30, 20), foreground=0.5), 1)
    assert batch.image.shape == (4, 30, 20, 1)
    assert (batch.label[:, 24:] == IGNORE).all() and (batch.label[:, :24] >= 0).all()
    np.testing.assert_array_equal(batch.image[:, 24:], batch.image[:, 17:23][:, ::-1])


def test_an_epoch_of_the_grid_covers_every_pixel():
    data = Data(NUCLEI, patch=(16, 12), sampling="grid")
    taken = take(data, 7, batch_size=4)  # 7 cases x 4 patches
    cases = data.cases("train")
    patches = {p.tobytes() for b in taken for p in b.image}
    assert len(patches) == 28
    for i in range(7):
        image = cases[i]["image"]
        for corner in ((0, 0), (0, 8), (8, 0), (8, 8)):
            box = tuple(slice(c, c + p) for c, p in zip(corner, (16, 12), strict=True))
            assert np.ascontiguousarray(image[box]).tobytes() in patches


def test_zscore_is_of_the_whole_image_and_not_of_the_patch():
    data = Data(NUCLEI, patch=(16, 12), normalize=ZScore())
    whole = [data.cases("train")[i]["image"] for i in range(7)]
    (batch,) = take(data, 1)
    for patch in batch.image:
        assert any(np.isin(patch, image).all() for image in whole)


def test_patches_of_16k_arrays_on_disk_are_read_in_place(tmp_path):
    for kind, dtype in (("images", np.uint8), ("masks", np.int8)):
        (tmp_path / "train" / kind).mkdir(parents=True)
        path = tmp_path / "train" / kind / "big.npy"
        array = np.lib.format.open_memmap(path, "w+", dtype, (16384, 16384))
        array[9000:9300, 9000:9300] = 1
        array.flush()
    data = Data(Folder(2, channels=1), str(tmp_path), patch=(128, 128))
    batches = data.train(batch_size=2, seed=0)
    tracemalloc.start()
    for _ in range(3):
        next(batches)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    batches.close()
    assert peak < 32 * 2**20  # the image alone is 256 MiB


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_bad_file_is_a_user_error_of_the_iterator(tmp_path, workers):
    dataset = rare(tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.write_bytes(path.read_bytes()[:60] + path.stem.encode())
    data = Data(dataset, str(tmp_path), patch=(9, 9), workers=workers)
    batches = data.train(batch_size=2, seed=0)
    with pytest.raises(UserError, match=r"images/\d\.png: truncated, or not an image") as caught:
        next(batches)
    assert "\n" not in str(caught.value)
    batches.close()


def test_labels_beyond_the_classes_are_refused_while_training_also_from_mapped_arrays(tmp_path):
    for kind, dtype in (("images", np.float32), ("masks", np.int8)):
        (tmp_path / "train" / kind).mkdir(parents=True)
        value = np.full((32, 32), 5, dtype)
        np.save(tmp_path / "train" / kind / "a.npy", value)
    data = Data(Folder(2, channels=1), str(tmp_path), patch=(8, 8))
    with pytest.raises(UserError, match=r"masks/a\.npy: label values 5 with num_classes=2"):
        take(data, 1)
    # Not over the old file: reading threads may still have it mapped, and its end would move.
    (tmp_path / "train/images/a.npy").unlink()
    np.save(tmp_path / "train/images/a.npy", np.full((32, 32), np.nan, np.float32))
    with pytest.raises(UserError, match=r"images/a\.npy: 64 pixels are NaN"):
        take(data, 1)


def test_whole_images_must_share_one_size(tmp_path):
    dataset = rare(tmp_path)
    Image.new("L", (60, 64)).save(tmp_path / "images/3.png")
    Image.new("L", (60, 64)).save(tmp_path / "masks/3.png")
    (tmp_path / "train.txt").write_text("0\n1\n2\n3\n4\n")
    with pytest.raises(
        UserError, match=r"3\.png: 64 x 60 where the first image is 64 x 64; set data"
    ):
        take(Data(dataset, str(tmp_path)), 5)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"patch": (8,)}, r"data.patch=\(8,\): needs 2 positive sizes"),
        ({"patch": (8, 0)}, "needs 2 positive sizes"),
        ({"patch": (8, 8), "foreground": 1.5}, "data.foreground=1.5"),
        ({"foreground": 0.5}, "data.foreground needs data.patch"),
        ({"sampling": "grid"}, "data.sampling=grid needs data.patch"),
        ({"workers": -1}, "data.workers=-1"),
    ],
)
def test_impossible_settings_are_refused_by_name(changes, message):
    with pytest.raises(UserError, match=message):
        Data(NUCLEI, **changes).train(batch_size=2, seed=0)


def test_impossible_rows_and_seeds_are_refused():
    with pytest.raises(UserError, match="batch_size=4"):
        DATA.train(batch_size=4, seed=0, rows=slice(4, 6))
    with pytest.raises(UserError, match="seed=-1"):
        DATA.train(batch_size=4, seed=-1)


def test_importing_the_data_sets_loads_none_of_their_readers():
    heavy = {"grain", "tensorflow_datasets", "nibabel", "tifffile", "scipy", "skimage", "PIL"}
    code = f"import sys, jaxseg.data; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
