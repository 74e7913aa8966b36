"""The grid that a network sees, and the way back to a case's own."""

import dataclasses
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import nibabel
import numpy as np
import pytest
from scipy import ndimage
from skimage.transform import resize

from jaxseg import evaluate, predict
from jaxseg.data import CT, Data, Folder, Grid, Place, Unit, ZScore
from jaxseg.errors import UserError
from jaxseg.experiment import Evaluation, Experiment, check
from jaxseg.export import export
from jaxseg.init_from import write_run
from jaxseg.ops import Regrid, regridded_labels, regridded_logits
from jaxseg.recipes import Supervised
from jaxseg.types import Paper, Prediction

VOLUMES = Folder(2, channels=1, rank=3, validation=0.5)
MILLIMETRE = Grid(spacing=(1.0, 1.0, 1.0))


class Bright(nn.Module):
    """Class 1 where the image is above a level: one parameter."""

    paper = Paper("None", "Nobody", 2026, "https://example.org")

    num_classes: int = 2
    dtype: str = "float32"
    stride: int = 1

    @nn.compact
    def __call__(self, image, *, train):
        level = self.param("level", nn.initializers.constant(0.5), ())
        x = jnp.asarray(image[..., :1], self.dtype).astype(jnp.float32)
        return Prediction(jnp.concatenate([0 * x, 20 * (x - level)], -1))


def run_of(folder, grid, root="", normalize=None, level=0.5, window=(16, 16, 16)):
    data = Data(VOLUMES, str(root), grid=grid, normalize=normalize or Unit())
    evaluation = Evaluation(window=window, metrics=("dice",))
    made = Experiment(
        recipe=Supervised(Bright()), data=data, evaluation=evaluation, steps=1, batch_size=1
    )
    write_run(folder, made, {"params": {"level": np.float32(level)}})
    return folder


def ball(shape, affine, radius, centre):
    """A smooth ball in the world's millimetres: 0.5 on its surface."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    distance = np.linalg.norm(world - centre, axis=-1)
    return (1 / (1 + np.exp((distance - radius) / 1.5))).astype(np.float32)


def turned(spacing, flips):
    """An affine of such a spacing: axes exchanged, flipped, and turned by a few degrees."""
    a, b = np.deg2rad(12), np.deg2rad(-7)
    rotation = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ (
        np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation[:, [1, 2, 0]] * np.array(spacing) * np.array(flips)
    affine[:3, 3] = [31.5, -12.25, 7.75]
    return affine


SCANS = {
    "fine": ((40, 44, 36), (0.7, 0.8, 0.75), (1, -1, 1)),
    "slices": ((52, 48, 9), (0.6, 0.65, 4.0), (-1, -1, 1)),
}


def scan(folder, name, dtype=np.float32):
    """A ball's image and mask as NIfTI, and its affine."""
    shape, spacing, flips = SCANS[name]
    affine = turned(spacing, flips)
    middle = affine[:3, :3] @ (np.array(shape) / 2 - 0.5) + affine[:3, 3] + 0.6
    image = ball(shape, affine, 0.3 * min(np.array(shape) * spacing), middle)
    for kind, array in (("images", image), ("masks", (image > 0.5).astype(np.uint8))):
        (folder / kind).mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(array, affine), folder / kind / f"{name}.nii.gz")
    return image, affine


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("grid", [MILLIMETRE, Grid(spacing=(1.5, 1.0, 2.0), crop=True)])
def test_masks_land_on_the_voxels_of_turned_anisotropic_files(grid, tmp_path):
    run = run_of(tmp_path / "run", grid)
    truth = {name: scan(tmp_path, name) for name in SCANS}
    paths = predict.predict(
        run, tmp_path / "images", tmp_path / "out", probabilities=True, classes=[Bright]
    )
    for path in paths:
        image, affine = truth[path.name.removesuffix(".nii.gz")]
        written = nibabel.load(path)
        np.testing.assert_array_equal(
            written.affine, nibabel.load(tmp_path / "images" / path.name).affine
        )
        np.testing.assert_allclose(written.affine, affine, atol=1e-5)
        found = np.asanyarray(written.dataobj) == 1
        overlap = dice(found, image > 0.5)
        assert overlap >= 0.97, (path.name, overlap)
        shares = np.load(tmp_path / "out" / path.name.replace(".nii.gz", "_probabilities.npy"))
        assert shares.shape == (*found.shape, 2)
        np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)
        sure = abs(shares[..., 1] - 0.5) > 1e-4
        np.testing.assert_array_equal((shares[..., 1] > 0.5)[sure], found[sure])


def test_scores_are_of_the_files_own_grid(tmp_path):
    """What evaluate says is what the written masks score, of one run and of two."""
    truth = {name: scan(tmp_path, name)[0] > 0.5 for name in SCANS}
    run = run_of(tmp_path / "run", MILLIMETRE, tmp_path)
    scores = evaluate.evaluate(run, classes=[Bright])
    held = {case["name"] for case in cases_of(MILLIMETRE, tmp_path, "validation")}
    predict.predict(run, tmp_path / "images", tmp_path / "out", classes=[Bright])
    found = {
        n: np.asanyarray(nibabel.load(tmp_path / "out" / f"{n}.nii.gz").dataobj) == 1 for n in held
    }
    both = [np.concatenate([one[n].ravel() for n in sorted(held)]) for one in (found, truth)]
    assert scores["dice_per_class"][1] == pytest.approx(dice(*both), abs=1e-6)
    other = run_of(tmp_path / "other", Grid(spacing=(0.9, 1.2, 1.0), crop=True), tmp_path)
    together = evaluate.evaluate([run, other], classes=[Bright])
    assert together["dice_per_class"][1] >= 0.97
    assert together["dice_per_class"] != scores["dice_per_class"]


def cases_of(grid, root, split, **fields):
    data = Data(VOLUMES, str(root), grid=grid, **fields)
    cases = data.cases(split)
    return [cases[i] for i in range(len(cases))]


def test_training_sees_the_grid_and_scores_the_case(tmp_path):
    for name in SCANS:
        scan(tmp_path, name)
    grid = Grid(spacing=(1.5, 1.5, 1.5), crop=True)
    for cache in ("memory", "disk", "none"):
        data = Data(
            VOLUMES, str(tmp_path), (12, 12, 12), grid=grid, foreground=1.0, cache=cache, workers=0
        )
        batches = data.train(batch_size=2, seed=0)
        batch = next(batches)
        batches.close()
        assert batch.image.shape == (2, 12, 12, 12, 1) and batch.image.dtype == np.float32
        # labels moved with the image: the ball is where it is bright
        both = (batch.image[..., 0] > 0.5, batch.label == 1)
        assert batch.label.any() and dice(*both) > 0.95
    for split in ("train", "validation"):
        for case in cases_of(grid, tmp_path, split):
            shape, spacing, _ = SCANS[case["name"]]
            assert case["label"].shape == case["place"].shape == shape
            assert case["spacing"] == pytest.approx(spacing)
            inside = np.subtract(case["place"].stop, case["place"].start)
            assert case["image"].shape[:-1] == case["place"].size
            np.testing.assert_allclose(
                case["place"].size, inside * np.array(spacing) / 1.5, atol=0.51
            )


# --- nnU-Net's own code -------------------------------------------------------------------------

KNOWN = np.load(Path(__file__).parent.parent / "golden" / "grid.npz")  # golden/make_grid.py
NNUNET = {
    "isotropic": ((0.8, 0.9, 1.1), (1.0, 1.0, 1.0)),
    "slices": ((0.7, 0.75, 3.6), (0.8, 0.9, 3.0)),
    "ct": ((0.7, 0.75, 3.6), (1.8, 0.9, 1.2)),
    "coarse": ((0.5, 0.5, 0.5), (0.9, 1.1, 1.3)),
}


@pytest.mark.parametrize("name", NNUNET)
def test_images_and_labels_are_those_of_nnunet(name):
    """Cropped, normalised, resampled, and logits brought back, voxel for voxel."""
    spacing, target = NNUNET[name]
    way = CT(low=0.05, high=0.9, mean=0.3, deviation=0.2) if name == "ct" else ZScore()
    data = Data(VOLUMES, normalize=way, grid=Grid(spacing=target, crop=True))
    case = data.case(KNOWN["volume"][..., None], name=name, spacing=spacing)
    np.testing.assert_allclose(case["image"][..., 0], KNOWN[f"{name}_image"], atol=5e-6)
    place, labels = case["place"], KNOWN[f"{name}_labels"]
    fields = (place.size, place.start, place.stop, place.apart)
    rows = [np.asarray([field], np.int32) for field in fields]
    onto = Regrid(*rows, np.ones((1, *place.shape), bool))
    found = jax.jit(regridded_labels)(KNOWN[f"{name}_logits"][None], onto)
    assert len(np.unique(labels)) > 1
    np.testing.assert_array_equal(found[0], labels)


# --- resampling, against scikit-image and scipy ---------------------------------------------------


def test_an_image_is_resampled_in_the_plane_and_the_nearest_slice_taken_across():
    random = np.random.default_rng(0)
    raw = random.random((20, 18, 6, 2), np.float32)
    grid = Grid(spacing=(1.0, 1.0, 2.0))
    place = grid.place(raw, (0.8, 0.9, 4.0), "x")
    assert place.size == (16, 16, 12) and place.apart == (0, 0, 1)
    made = grid.image(raw, place)
    for channel in range(2):
        for z in range(12):
            wanted = resize(
                raw[:, :, z // 2, channel].astype(float),
                (16, 16),
                order=3,
                mode="edge",
                anti_aliasing=False,
            )
            np.testing.assert_allclose(made[:, :, z, channel], wanted, atol=1e-5)
    isotropic = grid.place(raw, (0.8, 0.9, 2.2), "x")
    assert isotropic.apart == (0, 0, 0)
    wanted = resize(raw[..., 0].astype(float), isotropic.size, order=3, mode="edge")
    np.testing.assert_allclose(grid.image(raw, isotropic)[..., 0], wanted, atol=1e-5)
    # the grid's own slices may be those that lie apart; of two such axes neither is
    assert Grid(spacing=(5.0, 1.0, 1.0)).place(raw, (1.0, 1.0, 1.0), "x").apart == (1, 0, 0)
    assert grid.place(raw, (4.0, 1.0, 4.0), "x").apart == (0, 0, 0)


def test_labels_are_of_the_largest_linear_share():
    random = np.random.default_rng(1)
    label = ndimage.zoom(random.integers(-1, 4, (5, 6, 4)), 3, order=0).astype(np.int8)
    place = Place(label.shape, (0, 0, 0), label.shape, (22, 13, 17), (0, 0, 0))
    shares = np.stack(
        [resize((label == k).astype(float), place.size, order=1) for k in range(-1, 4)]
    )
    top = np.sort(shares, 0)
    clear = top[-1] - top[-2] > 1e-5
    assert clear.mean() > 0.9
    made = MILLIMETRE.label(label, place)
    np.testing.assert_array_equal(made[clear], (shares.argmax(0) - 1)[clear])
    assert made.dtype == label.dtype


@pytest.mark.parametrize("apart", [(0, 0, 0), (0, 1, 0)])
def test_logits_come_back_linearly_whatever_lies_beyond_their_size(apart):
    random = np.random.default_rng(2)
    size, own = [(9, 7, 11), (5, 12, 6)], [(14, 12, 13), (9, 10, 16)]
    start, stop = [(0, 0, 0), (2, 1, 3)], [(14, 12, 13), (8, 10, 15)]
    logits = random.normal(size=(2, 12, 12, 12, 3)).astype(np.float32)
    bucket = (16, 16, 16)
    rows = [np.asarray(x, np.int32) for x in (size, start, stop, [apart] * 2)]
    onto = Regrid(*rows, np.zeros((2, *bucket), bool))
    maps = jax.jit(regridded_logits)(logits, onto)
    labels = jax.jit(regridded_labels)(logits, onto)
    for row in range(2):
        x = logits[(row, *map(slice, size[row]))].astype(float)
        box = tuple(slice(a, b) for a, b in zip(start[row], stop[row], strict=True))
        inside = tuple(np.subtract(stop[row], start[row]).tolist())
        wanted = np.stack([back(x[..., k], inside, apart) for k in range(3)], -1)
        here = np.asarray(maps[row])[tuple(map(slice, own[row]))]
        np.testing.assert_allclose(here[box], wanted, atol=2e-6)
        top = np.sort(wanted, -1)
        clear = top[..., -1] - top[..., -2] > 1e-5
        found = np.asarray(labels[row])[tuple(map(slice, own[row]))]
        np.testing.assert_array_equal(found[box][clear], wanted.argmax(-1)[clear])
        around = np.ones(own[row], bool)
        around[box] = False
        assert not found[around].any() and (here[around].argmax(-1) == 0).all()


def back(x, size, apart):
    """By scikit-image, order 1, slices across an axis apart by order 0."""
    for axis, far in enumerate(apart):
        if far:
            x = np.moveaxis(
                resize(np.moveaxis(x, axis, 0), (size[axis], *np.delete(x.shape, axis)), order=0),
                0,
                axis,
            )
    return resize(x, size, order=1, mode="edge", anti_aliasing=False)


def test_what_is_cut_away_says_nothing_of_intensities_and_is_background(tmp_path):
    """A body in a frame of zeros is z-scored by itself."""
    raw = np.zeros((20, 24, 18, 1), np.float32)
    raw[4:14, 6:20, 5:16] = 100 + np.random.default_rng(3).random((10, 14, 11, 1)) * 8
    data = Data(VOLUMES, normalize=ZScore(), grid=Grid(crop=True))
    case = data.case(raw, name="x")
    assert case["place"].box == (slice(4, 14), slice(6, 20), slice(5, 16))
    np.testing.assert_allclose((case["image"].mean(), case["image"].std()), (0, 1), atol=1e-5)
    run = run_of(tmp_path / "run", Grid(crop=True), normalize=ZScore(), level=-9.0)
    nibabel.save(nibabel.Nifti1Image(raw[..., 0], np.eye(4)), tmp_path / "a.nii.gz")
    (path,) = predict.predict(run, tmp_path / "a.nii.gz", tmp_path / "out", classes=[Bright])
    found = np.asanyarray(nibabel.load(path).dataobj)
    np.testing.assert_array_equal(found, raw[..., 0] > 0)  # all of the body, nothing around it
    nothing = data.case(0 * raw, name="x")
    assert nothing["image"].shape == raw.shape


def test_a_grid_is_two_dimensional_where_the_data_are():
    grid = Grid(spacing=(2.0, 0.5))
    place = grid.place(np.zeros((10, 8, 3)), (1.0, 1.0), "x")
    assert place.size == (5, 16) and Place.of(place.array()) == place


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "data.grid.spacing=None: must be millimetres"),
        ({"spacing": (1.0, 0.0, 1.0)}, "data.grid.spacing=.*above 0"),
        ({"spacing": (1.0, float("nan"), 1.0)}, "above 0"),
        ({"crop": True, "anisotropy": 0.5}, "data.grid.anisotropy=0.5: must be at least 1"),
    ],
)
def test_grids_that_are_none_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Grid(**fields)


def test_what_does_not_go_with_a_grid_is_one_line(tmp_path, tiny):
    with pytest.raises(UserError, match=r"x: nothing says how far its voxels lie apart"):
        MILLIMETRE.place(np.zeros((4, 4, 4, 1)), None, "x")
    data = Data(VOLUMES, grid=Grid(spacing=(1.0, 1.0)))
    with pytest.raises(UserError, match=r"data.grid.spacing=\(1.0, 1.0\): needs 3 numbers"):
        data.cases("train")
    flat = dataclasses.replace(tiny().data, grid=Grid(crop=True))
    chosen = tiny(data=flat)
    check(chosen)
    from jaxseg.crf import DenseCRF

    with_crf = dataclasses.replace(chosen.evaluation, crf=DenseCRF())
    with pytest.raises(UserError, match=r"evaluation.crf: does not go with data.grid"):
        check(dataclasses.replace(chosen, evaluation=with_crf))


def test_an_artifact_says_that_it_brings_nothing_to_the_grid(tmp_path):
    run = run_of(tmp_path / "run", MILLIMETRE)
    made = export(run, tmp_path / "a.stablehlo", classes=[Bright])
    assert "on the grid of data.grid=Grid(spacing=(1.0, 1.0, 1.0)" in str(made)
