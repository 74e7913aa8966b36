import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import augment
from jaxseg.augment import Augment
from jaxseg.errors import UserError
from jaxseg.sharding import MeshShape, of_batch, replicated
from jaxseg.types import IGNORE, Batch, Objects

KEY = jax.random.key(0)
GEOMETRY = Augment(flip=0.5, rotate=30.0, scale=(0.8, 1.25), elastic=2.0)
INTENSITY = Augment(contrast=(0.5, 2.0), brightness=0.2, gamma=(0.5, 2.0), blur=1.0, noise=0.1)
BOTH = dataclasses.replace(
    INTENSITY, flip=0.5, transpose=0.5, rotate=30.0, scale=(0.8, 1.25), elastic=2.0
)
every = pytest.mark.parametrize(
    "aug", [GEOMETRY, INTENSITY, BOTH], ids=["geometry", "intensity", "both"]
)
sizes = pytest.mark.parametrize("size", [(24, 24), (8, 12, 12)], ids=["2d", "3d"])


def some(size: tuple[int, ...] = (24, 24), b: int = 4, c: int = 2, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    label = rng.integers(IGNORE, 3, (b, *size)).astype(np.int32)
    return Batch(
        image=rng.random((b, *size, c)).astype(np.float32),
        label=label,
        valid=np.arange(b) < b - 1,
        weight=rng.random((b, *size)).astype(np.float32),
        instance=rng.integers(0, 9, (b, *size)).astype(np.int32),
    )


def painted(size: tuple[int, ...], b: int = 4) -> Batch:
    """A ball; its mask is label, instance and both channels of the image."""
    at = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1)
    centre = np.asarray(size) * 0.4
    mask = (((at - centre) / (np.asarray(size) * 0.3)) ** 2).sum(-1) < 1
    mask = np.broadcast_to(mask, (b, *size))
    image = np.stack([mask, mask], -1).astype(np.float32)
    ones = np.ones((b, *size), np.float32)
    return Batch(image, mask.astype(np.int32), np.ones(b, bool), ones, 7 * mask.astype(np.int32))


@functools.partial(jax.jit, static_argnums=0)
def apply(aug: Augment, key: jax.Array, batch: Batch) -> Batch:
    return aug(key, batch)


def same(a: Batch, b: Batch) -> bool:
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool(np.array_equal(x, y)), a, b)))


# --- The whole -----------------------------------------------------------------------------------


@sizes
def test_at_the_defaults_nothing_changes(size):
    batch = some(size)
    assert same(apply(Augment(), KEY, batch), batch)


@every
def test_shapes_types_and_padding_rows_stay(aug):
    batch = some()
    out = apply(aug, KEY, batch)
    kinds = lambda b: jax.tree.map(lambda x: (x.shape, x.dtype), b)  # noqa: E731
    assert kinds(out) == kinds(batch)
    np.testing.assert_array_equal(out.valid, batch.valid)


@every
def test_the_seed_fixes_the_result(aug):
    batch = some()
    assert same(apply(aug, KEY, batch), apply(aug, KEY, batch))
    assert not same(apply(aug, KEY, batch), apply(aug, jax.random.key(1), batch))


@every
def test_two_equal_examples_come_out_different(aug):
    batch = jax.tree.map(lambda x: np.stack([x[0]] * 4), some())
    out = apply(aug, KEY, batch).image
    assert len({np.asarray(row).tobytes() for row in out}) == 4


def test_jit_equals_no_jit():
    batch = some(b=2)
    out, jitted = BOTH(KEY, batch), apply(BOTH, KEY, batch)
    np.testing.assert_allclose(jitted.image, out.image, atol=1e-4)
    # Fused arithmetic may round a coordinate to the other side of a pixel's edge.
    assert np.mean(jitted.label != out.label) < 1e-3


@every
def test_weight_and_instance_may_be_absent(aug):
    batch = some()
    out = apply(aug, KEY, batch._replace(weight=None, instance=None))
    assert out.weight is None and out.instance is None
    np.testing.assert_array_equal(out.image, apply(aug, KEY, batch).image)


@every
def test_everything_stays_finite_on_a_flat_image(aug):
    flat = some()._replace(image=np.zeros((4, 24, 24, 2), np.float32))
    assert np.all(np.isfinite(apply(aug, KEY, flat).image))


@pytest.mark.parametrize("shape", [(8, 1, 1), (2, 2, 2)])
def test_sharded_over_eight_devices_equals_unsharded(shape):
    batch = some(b=8)
    mesh = MeshShape(*shape).build()
    where = of_batch(mesh, batch)
    jitted = jax.jit(BOTH, in_shardings=(replicated(mesh), where), out_shardings=where)
    sharded, whole = jitted(KEY, batch), apply(BOTH, KEY, batch)
    np.testing.assert_allclose(sharded.image, whole.image, atol=1e-4)
    assert np.mean(sharded.label != whole.label) < 1e-3
    if shape == (8, 1, 1):  # no row leaves its device
        text = jitted.lower(KEY, batch).compile().as_text()
        assert not any(op in text for op in ("all-gather", "all-reduce", "all-to-all"))


# --- Geometry ------------------------------------------------------------------------------------


@sizes
@pytest.mark.parametrize("outside", ["reflect", "zero"])
def test_the_mask_follows_the_image(size, outside):
    batch = painted(size)
    aug = dataclasses.replace(GEOMETRY, outside=outside, elastic=1.0)
    out = apply(aug, KEY, batch)
    inside = np.asarray(out.label) != IGNORE
    assert 0.5 < inside.mean() < 1
    # Linear and nearest agree wherever no edge of the mask is near: the image is 0 or 1 there.
    image = np.asarray(out.image[..., 0])
    sure = inside & (np.abs(image - 0.5) > 0.49)
    assert sure.mean() > 0.4 and np.any(image[sure] > 0.5)
    np.testing.assert_array_equal((image > 0.5)[sure], (out.label == 1)[sure])
    np.testing.assert_array_equal(out.instance[inside], 7 * out.label[inside])
    np.testing.assert_array_equal(out.image[..., 0], out.image[..., 1])
    assert not same(out, batch)


def test_outside_the_image_labels_are_ignored_and_weights_vanish():
    batch = painted((24, 24))
    out = apply(Augment(scale=(0.5, 0.5), outside="zero"), KEY, batch)
    border = np.ones((24, 24), bool)
    border[6:18, 6:18] = False
    for row in range(4):
        assert np.all(out.label[row][border] == IGNORE) and np.all(out.weight[row][border] == 0)
        assert np.all(out.instance[row][border] == IGNORE)
        assert np.all(out.label[row][~border] != IGNORE) and np.all(out.weight[row][~border] == 1)
    reflected = apply(Augment(scale=(0.5, 0.5), outside="reflect"), KEY, batch)
    np.testing.assert_array_equal(reflected.label, out.label)
    assert reflected.image.sum() > out.image.sum()


@sizes
def test_ignore_survives_and_no_label_is_invented(size):
    batch = painted(size)
    label = np.array(batch.label)
    label[label == 1] = 5
    label[:, 1:4, 2:9] = IGNORE
    out = apply(GEOMETRY, KEY, batch._replace(label=label))
    assert set(np.unique(out.label)) <= {IGNORE, 0, 5}
    # Where the weight of the unignored pixels has gone to 0, the label is ignored.
    out = apply(
        GEOMETRY, KEY, batch._replace(label=label, weight=(label != IGNORE).astype(np.float32))
    )
    assert np.all(out.label[out.weight == 0] == IGNORE)
    assert np.all(out.label[out.weight > 0.999] != IGNORE)


@sizes
def test_flips_are_exact_involutions(size):
    batch, flip = some(size), Augment(flip=1.0)
    out = apply(flip, KEY, batch)
    axes = tuple(range(1, len(size) + 1))
    np.testing.assert_array_equal(out.image, np.flip(batch.image, axes))
    np.testing.assert_array_equal(out.label, np.flip(batch.label, axes))
    assert same(apply(flip, KEY, out), batch)


def test_each_axis_flips_by_its_own_chance():
    batch = some((6, 8))
    out = apply(Augment(flip=(0.0, 1.0)), KEY, batch)
    np.testing.assert_array_equal(out.image, batch.image[:, :, ::-1])
    many = some((2, 2), b=512)
    flipped = np.asarray(apply(Augment(flip=(0.25, 0.0)), KEY, many).image)
    changed = np.array([not np.array_equal(a, b) for a, b in zip(flipped, many.image, strict=True)])
    assert 0.15 < changed.mean() < 0.35


@sizes
def test_transposition_swaps_the_last_two_spatial_axes(size):
    batch, swap = some(size), Augment(transpose=1.0)
    out = apply(swap, KEY, batch)
    np.testing.assert_array_equal(out.image, np.swapaxes(batch.image, -3, -2))
    np.testing.assert_array_equal(out.instance, np.swapaxes(batch.instance, -2, -1))
    assert same(apply(swap, KEY, out), batch)


@sizes
def test_flips_inside_a_resampling_are_the_exact_ones(size):
    batch = some(size)
    exact = Augment(flip=0.5, transpose=0.5)
    resampled = dataclasses.replace(exact, rotate=1e-5)  # the seed draws the same flips
    a, b = apply(exact, KEY, batch), apply(resampled, KEY, batch)
    np.testing.assert_array_equal(a.label, b.label)
    np.testing.assert_array_equal(a.instance, b.instance)
    np.testing.assert_allclose(a.image, b.image, atol=1e-4)
    assert not np.array_equal(a.label, batch.label)


def test_a_quarter_turn_is_rot90():
    x = jnp.asarray(some((9, 9)).image[0])
    turn = augment.affine(augment.rotation(jnp.asarray([np.pi / 2]), 2), (9, 9))
    turned = augment.linear(x, turn, "zero")
    assert any(
        np.allclose(turned[1:-1, 1:-1], jnp.rot90(x, k)[1:-1, 1:-1], atol=1e-5) for k in (1, -1)
    )
    label = jnp.asarray(some((9, 9)).label[0])
    k = 1 if np.allclose(turned[1:-1, 1:-1], jnp.rot90(x, 1)[1:-1, 1:-1], atol=1e-5) else -1
    np.testing.assert_array_equal(augment.nearest(label, turn, IGNORE), jnp.rot90(label, k))


@pytest.mark.parametrize("axis, plane", [(0, (1, 2)), (1, (0, 2)), (2, (0, 1))])
def test_a_volume_turns_about_each_axis(axis, plane):
    x = jnp.asarray(some((7, 7, 7)).image[0])
    angles = np.zeros(3)
    angles[axis] = np.pi / 2
    where = augment.affine(augment.rotation(angles, 3), (7, 7, 7))
    turned = augment.linear(x, where, "reflect")
    inner = (slice(1, -1),) * 3
    assert any(
        np.allclose(turned[inner], jnp.rot90(x, k, plane)[inner], atol=1e-5) for k in (1, -1)
    )


def test_a_rotation_keeps_lengths():
    matrix = augment.rotation(jnp.asarray([0.3, -1.0, 2.0]), 3)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)
    assert np.isclose(jnp.linalg.det(matrix), 1, atol=1e-6)


def test_a_zoom_of_two_doubles_an_object():
    batch = painted((32, 32), b=1)
    area = lambda b: float((b.label == 1).sum())  # noqa: E731
    small = painted((32, 32), b=1)._replace(label=np.zeros((1, 32, 32), np.int32))
    small.label[0, 12:20, 12:20] = 1
    assert area(apply(Augment(scale=(2.0, 2.0)), KEY, small)) == 4 * area(small)
    assert area(apply(Augment(scale=(0.5, 0.5)), KEY, small)) == area(small) / 4
    assert area(apply(Augment(scale=(2.0, 2.0)), KEY, batch)) > area(batch)


def test_reflection_goes_on_beyond_the_edge_as_numpy_does():
    x = np.arange(5, dtype=np.float32)[:, None]
    at = jnp.arange(-7.0, 12.0)
    expected = np.pad(x[:, 0], 7, mode="reflect")
    np.testing.assert_allclose(augment.linear(jnp.asarray(x), [at], "reflect")[:, 0], expected)
    inside = (at >= 0) & (at <= 4)
    expected = np.where(inside, np.clip(at, 0, 4), 0)
    np.testing.assert_allclose(augment.linear(jnp.asarray(x), [at], "zero")[:, 0], expected)


def test_linear_interpolation_is_exact_on_a_plane():
    y, x = np.mgrid[:6, :7].astype(np.float32)
    plane = jnp.asarray((2 * y - 3 * x + 1)[..., None])
    rng = np.random.default_rng(0)
    at = [jnp.asarray(rng.uniform(0, n - 1, 50), jnp.float32) for n in (6, 7)]
    got = augment.linear(plane, at, "reflect")[:, 0]
    np.testing.assert_allclose(got, 2 * at[0] - 3 * at[1] + 1, atol=1e-4)


def test_displacements_pass_through_the_points_of_the_grid():
    points = jnp.asarray(np.random.default_rng(0).normal(size=(3, 3)), jnp.float32)
    field = augment.smooth(points, (9, 13))
    np.testing.assert_allclose(field[::4, ::6], points, atol=1e-6)
    ones = augment.smooth(jnp.ones((3, 4, 5)), (7, 8, 9))
    np.testing.assert_allclose(ones, 1, atol=1e-6)


def test_elastic_displacements_have_the_stated_size():
    # A ramp along each axis shows where each pixel came from.
    n, b = 101, 64
    ramp = np.arange(n, dtype=np.float32)
    image = np.broadcast_to(ramp[None, :, None, None], (b, n, 3, 1))
    label = np.zeros((b, n, 3), np.int32)
    out = apply(Augment(elastic=4.0), KEY, Batch(image, label, np.ones(b, bool)))
    middle = np.asarray(out.image)[:, 50, 1, 0]  # the middle point of the 3 x 3 grid
    moved = middle - 50
    assert 3 < moved.std() < 5 and abs(moved.mean()) < 1.5


# --- Intensity -----------------------------------------------------------------------------------


def test_intensity_leaves_labels_and_weights_alone():
    batch = some()
    out = apply(INTENSITY, KEY, batch)
    assert same(out._replace(image=batch.image), batch)
    assert not np.array_equal(out.image, batch.image)


def test_brightness_adds_one_offset_an_example():
    batch = some()
    moved = np.asarray(apply(Augment(brightness=0.2), KEY, batch).image) - batch.image
    assert np.all(np.ptp(moved, axis=(1, 2, 3)) < 1e-6) and np.all(np.abs(moved) <= 0.2)


def test_contrast_stretches_about_the_mean():
    batch = some()
    out = np.asarray(apply(Augment(contrast=(2.0, 2.0)), KEY, batch).image)
    mean = batch.image.mean((1, 2), keepdims=True)
    np.testing.assert_allclose(out, mean + 2 * (batch.image - mean), atol=1e-5)


def test_gamma_keeps_the_extremes_and_the_order():
    batch = some()
    image = 10 * batch.image - 5  # as if z-scored
    out = np.asarray(apply(Augment(gamma=(2.0, 2.0)), KEY, batch._replace(image=image)).image)
    low, high = image.min((1, 2), keepdims=True), image.max((1, 2), keepdims=True)
    expected = low + (high - low) * ((image - low) / (high - low)) ** 2
    np.testing.assert_allclose(out, expected, atol=1e-4)


def test_noise_has_the_drawn_deviation():
    batch = some((64, 64), b=16, c=1)
    added = np.asarray(apply(Augment(noise=0.5), KEY, batch).image) - batch.image
    levels = added.std((1, 2, 3))
    assert np.all(levels < 0.55) and levels.max() - levels.min() > 0.1
    assert np.all(np.abs(added.mean((1, 2, 3))) < 0.05)


@sizes
def test_blur_keeps_the_sum_and_spreads_a_point_by_sigma(size):
    size = tuple(2 * n + 1 for n in size)
    middle = tuple(n // 2 for n in size)
    image = np.zeros((*size, 1), np.float32)
    image[middle] = 1
    blurred = np.asarray(augment.gaussian(jnp.asarray(image), jnp.float32(1.0), 1.0))[..., 0]
    assert np.isclose(blurred.sum(), 1, atol=1e-5)
    for axis, n in enumerate(size):
        profile = blurred.sum(tuple(a for a in range(len(size)) if a != axis))
        variance = (profile * (np.arange(n) - n // 2) ** 2).sum()
        assert np.isclose(variance, 1, rtol=0.05)


def test_blur_leaves_a_flat_image_flat_up_to_its_borders():
    image = jnp.full((9, 7, 2), 0.5)
    np.testing.assert_allclose(augment.gaussian(image, jnp.float32(2), 2.0), image, rtol=1e-6)


def test_blur_of_nothing_is_the_image():
    image = jnp.asarray(some().image[0])
    np.testing.assert_allclose(augment.gaussian(image, jnp.float32(0), 1.0), image, atol=1e-6)


# --- Mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": 1.5},
        {"flip": (0.5, -0.1)},
        {"rotate": -3.0},
        {"scale": (0.0, 1.0)},
        {"scale": (1.2, 0.8)},
        {"gamma": (-1.0, 1.0)},
        {"noise": -0.1},
        {"grid": 1},
    ],
)
def test_an_impossible_range_is_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(UserError, match=rf"recipe\.augment\.{name}="):
        Augment(**wrong)


def test_what_the_image_cannot_do_is_refused():
    with pytest.raises(UserError, match="transpose.*square"):
        apply(Augment(transpose=0.5), KEY, some((8, 12)))
    with pytest.raises(UserError, match="flip.*one number, or 2"):
        apply(Augment(flip=(0.5, 0.5, 0.5)), KEY, some((8, 8)))


def test_streams_stay_as_they_are_with_rows_of_their_own():
    beside = {"more": some((16, 16), b=3, seed=1)}
    out = BOTH(KEY, some()._replace(streams=beside))
    assert same(out._replace(streams=None), BOTH(KEY, some()))
    assert same(out.streams["more"], beside["more"])


def test_what_is_about_the_image_as_a_whole_stays():
    batch = some()._replace(domain=np.arange(4), present=np.eye(4, dtype=bool))
    out = apply(BOTH, KEY, batch)
    np.testing.assert_array_equal(out.domain, batch.domain)
    np.testing.assert_array_equal(out.present, batch.present)


def test_objects_are_left_alone_by_intensity_and_refused_by_geometry():
    objects = Objects(np.zeros((4, 2, 4), np.float32), np.zeros((4, 2), np.int32))
    batch = some()._replace(objects=objects)
    assert same(INTENSITY(KEY, batch).objects, objects)
    for moving in (Augment(flip=0.5), Augment(transpose=0.5), GEOMETRY):
        with pytest.raises(UserError, match="recipe.augment: .* do not move objects yet"):
            moving(KEY, batch)
