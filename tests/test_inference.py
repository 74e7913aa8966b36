"""Sliding windows, valid tiles, flips, buckets: merged equals whole, compiled once."""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxseg import inference
from jaxseg.errors import UserError
from jaxseg.models import UNet2015
from jaxseg.tiles import Tiles, pad_case
from jaxseg.types import IGNORE, Prediction

TRACES = []


class Pointwise(nn.Module):
    """Each pixel's logits depend on that pixel alone."""

    num_classes: int = 3

    @nn.compact
    def __call__(self, image, *, train):
        TRACES.append(image.shape)
        return Prediction(nn.Dense(self.num_classes, name="head")(image))


class Same(nn.Module):
    """A padded convolution: what a window predicts at its edge differs from the whole image."""

    num_classes: int = 2

    @nn.compact
    def __call__(self, image, *, train):
        kernel = (3,) * (image.ndim - 2)
        return Prediction(nn.Conv(self.num_classes, kernel, name="head")(image))


class Valid(nn.Module):
    """Two unpadded convolutions: logits are four pixels smaller than the image."""

    num_classes: int = 2

    def output_size(self, spatial):
        return tuple(n - 4 for n in spatial)

    @nn.compact
    def __call__(self, image, *, train):
        kernel = (3,) * (image.ndim - 2)
        x = nn.relu(nn.Conv(4, kernel, padding="VALID", name="conv1")(image))
        return Prediction(nn.Conv(self.num_classes, kernel, padding="VALID", name="conv2")(x))


class Symmetric(nn.Module):
    """Logits from the pixel and the mean around it: equivariant to flips."""

    num_classes: int = 2

    @nn.compact
    def __call__(self, image, *, train):
        rank = image.ndim - 2
        mean = nn.avg_pool(image, (3,) * rank, (1,) * rank, "SAME")
        return Prediction(
            nn.Dense(self.num_classes, name="head")(jnp.concatenate([image, mean], -1))
        )


def picture(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def made(model, rank=2, channels=1):
    return made_of(model, (8,) * rank, channels)


def made_of(model, spatial, channels=1):
    return model, model.init(jax.random.key(0), jnp.zeros((1, *spatial, channels)), train=False)


def direct(model, variables, image):
    return np.asarray(model.apply(variables, jnp.asarray(image), train=False).logits)


@pytest.mark.parametrize("weighting", ["gaussian", "uniform"])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.75])
@pytest.mark.parametrize("size", [(8, 8), (13, 7), (3, 29), (1, 1)])
def test_windows_of_a_pointwise_network_merge_to_the_direct_result(size, overlap, weighting):
    model, variables = made(Pointwise(), channels=2)
    image = picture(2, *size, 2)
    tiles = Tiles(window=(8, 6), overlap=overlap, weighting=weighting, window_batch=3)
    merged = inference.logits(model, variables, image, tiles=tiles)
    np.testing.assert_allclose(merged, direct(model, variables, image), atol=1e-5)


def test_windows_of_a_volume_merge_to_the_direct_result():
    model, variables = made(Pointwise(), rank=3)
    image = picture(1, 5, 11, 9, 1)
    merged = inference.logits(model, variables, image, tiles=Tiles(window=(4, 4, 8)))
    np.testing.assert_allclose(merged, direct(model, variables, image), atol=1e-5)


def test_windows_of_a_sequence_merge_to_the_direct_result():
    model, variables = made(Pointwise(), rank=1)
    image = picture(1, 37, 1)
    merged = inference.logits(model, variables, image, tiles=Tiles(window=(8,)))
    np.testing.assert_allclose(merged, direct(model, variables, image), atol=1e-5)


def written_out(model, variables, image, window, overlap, weighting):
    """The sliding window with a sum of weights a pixel, in plain loops."""
    spatial = image.shape[:-1]
    sigma = [w / 8 for w in window]
    grid = np.meshgrid(*[np.arange(w) - (w - 1) / 2 for w in window], indexing="ij")
    weight = np.exp(-sum(g**2 / (2 * s**2) for g, s in zip(grid, sigma, strict=True)))
    weight = weight[..., None] if weighting == "gaussian" else np.ones((*window, 1))
    total, cover = np.zeros((*spatial, model.num_classes)), np.zeros((*spatial, 1))
    starts = [
        sorted({min(j, n - w) for j in range(0, n, int(w * (1 - overlap)))})
        for n, w in zip(spatial, window, strict=True)
    ]
    for start in itertools.product(*starts):
        at = tuple(slice(s, s + w) for s, w in zip(start, window, strict=True))
        total[at] += weight * direct(model, variables, image[at][None])[0]
        cover[at] += weight
    return total / cover


@pytest.mark.parametrize("weighting", ["gaussian", "uniform"])
def test_the_loop_on_the_device_equals_plain_loops(weighting):
    model, variables = made(Same())
    image = picture(19, 22, 1)
    tiles = Tiles(window=(8, 8), weighting=weighting)
    merged = inference.logits(model, variables, image[None], tiles=tiles)[0]
    wanted = written_out(model, variables, image, (8, 8), 0.5, weighting)
    np.testing.assert_allclose(merged, wanted, atol=1e-5)


def test_the_number_of_windows_run_together_changes_nothing():
    model, variables = made(Same())
    image = picture(2, 17, 12, 1)
    one, many = (
        inference.logits(model, variables, image, tiles=Tiles(window=(8, 8), window_batch=n))
        for n in (1, 100)
    )
    np.testing.assert_allclose(one, many, atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 3), (20, 33)])
def test_the_whole_image_passes_at_once_without_a_window(shape):
    model, variables = made(Same())
    image = picture(2, *shape, 1)
    merged = inference.logits(model, variables, image)
    np.testing.assert_allclose(merged, direct(model, variables, image), atol=1e-6)


@pytest.mark.parametrize("window", [None, (12, 12), (10, 14)])
@pytest.mark.parametrize("shape", [(1, 5), (23, 17), (16, 16)])
def test_valid_tiles_equal_one_pass_over_the_mirrored_image(shape, window):
    model, variables = made(Valid())
    image = picture(1, *shape, 1)
    mirrored = np.pad(image, [(0, 0), (2, 2), (2, 2), (0, 0)], mode="reflect")
    tiles = Tiles(window=window, overlap=0.25)
    merged = inference.logits(model, variables, image, tiles=tiles)
    np.testing.assert_allclose(merged, direct(model, variables, mirrored), atol=1e-5)


@pytest.mark.parametrize("window", [None, (28, 28)])
def test_the_original_unet_predicts_an_image_of_any_size(window):
    model, variables = made_of(UNet2015(2, widths=(2, 3)), (28, 28))
    margin = 28 - model.output_size((28, 28))[0]
    image = picture(1, 24, 36, 1)  # multiples of its stride, as are the tiles: they agree
    pad = (margin // 2, margin // 2)
    mirrored = np.pad(image, [(0, 0), pad, pad, (0, 0)], mode="reflect")
    merged = inference.logits(model, variables, image, tiles=Tiles(window=window, overlap=0.0))
    np.testing.assert_allclose(merged, direct(model, variables, mirrored), atol=1e-5)
    odd = inference.segment(model, variables, picture(23, 5, 1), window=window, tta=True)
    assert odd.shape == (23, 5)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("window", [None, 8])
def test_flips_change_nothing_for_an_equivariant_network(rank, window):
    model, variables = made(Symmetric(), rank=rank)
    image = picture(1, *(9, 13, 8)[:rank], 1)
    window = window and (window,) * rank
    plain, flipped = (
        inference.probabilities(model, variables, image, tiles=Tiles(window=window, tta=tta))
        for tta in (False, True)
    )
    np.testing.assert_allclose(plain, flipped, atol=1e-5)


@pytest.mark.parametrize("model", [Same(), Valid()])
def test_flips_average_the_probabilities_of_every_flip(model):
    model, variables = made(model)
    image = picture(1, 8, 6, 1)
    flips = [axes for n in range(3) for axes in itertools.combinations((1, 2), n)]
    wanted = np.mean(
        [
            np.flip(inference.probabilities(model, variables, np.flip(image, axes)), axes)
            for axes in flips
        ],
        axis=0,
    )
    found = inference.probabilities(model, variables, image, tiles=Tiles(tta=True))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_probabilities_are_the_softmax_of_the_logits():
    model, variables = made(Same())
    image, tiles = picture(1, 12, 9, 1), Tiles(window=(8, 8))
    found = inference.probabilities(model, variables, image, tiles=tiles)
    wanted = jax.nn.softmax(inference.logits(model, variables, image, tiles=tiles))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("give", ["logits", "segment"])
def test_sizes_inside_one_bucket_share_one_compilation(give):
    model, variables = made(Pointwise(num_classes=5 if give == "logits" else 6))

    def run(height, width):
        image = picture(height, width, 1)
        if give == "segment":
            return inference.segment(model, variables, image, window=(8, 8))
        return inference.logits(model, variables, image[None], tiles=Tiles(window=(8, 8)))

    assert run(17, 9).shape is not None
    before = len(TRACES)
    for size in [(17, 9), (18, 16), (23, 13), (24, 10), (17, 9)]:
        run(*size)
    assert len(TRACES) == before
    run(25, 9)  # the next bucket
    assert len(TRACES) > before


def test_cases_of_several_sizes_share_a_batch_and_padding_rows_do_no_harm():
    model, variables = made(Same())
    tiles = Tiles(window=(8, 8))
    images = [picture(9, 16, 1), picture(16, 11, 1, seed=1)]
    padded, _, sizes = zip(*[pad_case(model, x, tiles=tiles) for x in images], strict=True)
    batch = np.stack([*padded, np.zeros_like(padded[0])])
    rows = inference.windowed(
        model, variables, jnp.asarray(batch), jnp.asarray([*sizes, (1, 1)]), tiles
    )
    assert np.isfinite(np.asarray(rows)).all()
    for row, image in zip(rows, images, strict=False):
        alone = inference.logits(model, variables, image[None], tiles=tiles)[0]
        np.testing.assert_allclose(row[: image.shape[0], : image.shape[1]], alone, atol=1e-5)


@pytest.mark.parametrize("model", [Pointwise(), Valid()])
@pytest.mark.parametrize("window", [None, (12, 12)])
def test_a_label_is_padded_with_ignore_to_the_size_of_the_logits(model, window):
    model, variables = made(model)
    tiles = Tiles(window=window)
    label = np.random.default_rng(0).integers(0, 2, (10, 7))
    image, padded, size = pad_case(model, picture(10, 7, 1), label, tiles=tiles)
    assert padded is not None and padded.dtype == np.int32
    assert (padded[:10, :7] == label).all()
    assert (padded == IGNORE).sum() == padded.size - label.size
    maps = inference.label_map(
        model, variables, jnp.asarray(image)[None], jnp.asarray(size)[None], tiles
    )
    assert maps.shape == (1, *padded.shape) and maps.dtype == jnp.int32


@pytest.mark.parametrize("model", [Same(), Valid()])
def test_rows_sharded_over_eight_devices_equal_rows_on_one(model):
    model, variables = made(model)
    tiles = Tiles(window=(12, 12), window_batch=2, tta=True)
    images = picture(8, 21, 14, 1)
    image = np.stack([pad_case(model, x, tiles=tiles)[0] for x in images])
    size = np.tile(np.asarray([[21, 14]], np.int32), (8, 1))
    size[3] = 13, 4  # fewer windows than the rest
    run = jax.jit(inference.windowed, static_argnames=("model", "tiles"))
    alone = run(model, variables, image, size, tiles=tiles)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    spread = jax.device_put((image, size), NamedSharding(mesh, PartitionSpec("data")))
    kept = jax.device_put(variables, NamedSharding(mesh, PartitionSpec()))
    sharded = run(model, kept, *spread, tiles=tiles)
    assert len(sharded.sharding.device_set) == 8
    assert sharded.sharding.is_equivalent_to(spread[0].sharding, sharded.ndim)
    np.testing.assert_allclose(sharded, alone, atol=1e-5)


def test_the_images_are_not_gathered_from_the_devices():
    model, variables = made(Same())
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    image = jax.ShapeDtypeStruct((8, 64, 64, 1), jnp.float32, sharding=rows)
    size = jax.ShapeDtypeStruct((8, 2), jnp.int32, sharding=rows)
    run = jax.jit(inference.windowed, static_argnames=("model", "tiles"))
    tiles = Tiles(window=(16, 16))
    compiled = run.lower(model, variables, image, size, tiles=tiles).compile()
    text = compiled.as_text()
    assert text is not None
    assert "all-gather" not in text and "all-to-all" not in text


def test_memory_does_not_grow_with_the_number_of_windows():
    model, variables = made(Same())
    run = jax.jit(inference.label_map, static_argnames=("model", "tiles"))
    image = jax.ShapeDtypeStruct((1, 512, 512, 1), jnp.float32)
    size = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    for overlap in (0.0, 0.75):  # 256 and 3721 windows
        tiles = Tiles(window=(32, 32), overlap=overlap)
        memory = run.lower(model, variables, image, size, tiles=tiles).compile().memory_analysis()
        assert memory is not None
        accumulator = 512 * 512 * 2 * 4
        assert memory.temp_size_in_bytes < 3 * accumulator


def test_an_image_of_4096_pixels_a_side_needs_less_than_a_gibibyte():
    model, variables = made(Same())
    run = jax.jit(inference.label_map, static_argnames=("model", "tiles"))
    image = jax.ShapeDtypeStruct((1, 4096, 4096, 1), jnp.float32)
    size = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    tiles = Tiles(window=(256, 256))
    memory = run.lower(model, variables, image, size, tiles=tiles).compile().memory_analysis()
    assert memory is not None
    needed = memory.argument_size_in_bytes + memory.output_size_in_bytes
    assert needed + memory.temp_size_in_bytes < 2**30


def test_segment_takes_one_image_or_a_batch_and_gives_int32_labels():
    model, variables = made(Pointwise())
    images = picture(2, 9, 11, 1)
    one = inference.segment(model, variables, images[0], window=(8, 8))
    both = inference.segment(model, variables, images, window=(8, 8), batched=True)
    assert type(one) is np.ndarray and one.dtype == np.int32
    np.testing.assert_array_equal(one, direct(model, variables, images)[0].argmax(-1))
    np.testing.assert_array_equal(both[0], one)
    on_device = inference.segment(model, variables, jnp.asarray(images[0]))
    np.testing.assert_array_equal(on_device, one)
    volume = inference.segment(*made(Pointwise(), rank=3), picture(3, 9, 11, 1))
    assert volume.shape == (3, 9, 11)


def test_segment_runs_where_the_variables_are():
    model, variables = made(Pointwise(num_classes=4))
    device = jax.devices()[5]
    there = jax.device_put(variables, device)
    out = inference._run(
        model, there, picture(1, 8, 8, 1), np.full((1, 2), 8, np.int32),
        tiles=Tiles(), give="labels",
    )  # fmt: skip
    assert out.devices() == {device}


def test_a_window_of_another_rank_and_an_image_of_integers_are_refused():
    model, variables = made(Pointwise())
    with pytest.raises(UserError, match="window=.*2 spatial axes"):
        inference.segment(model, variables, picture(8, 8, 1), window=(4, 4, 4))
    with pytest.raises(UserError, match="uint8"):
        inference.segment(model, variables, np.zeros((8, 8, 1), np.uint8))


@pytest.mark.parametrize(
    ("model", "shapes", "tiles"),
    [
        (Same(), [(40, 21), (17, 30), (9, 5)], Tiles((8, 8), 0.5, window_batch=4)),
        (Same(), [(31, 12), (32, 12)], Tiles((8, 6), 0.3, window_batch=3)),
        (Valid(), [(29, 20)], Tiles((12, 12), 0.7)),
        (Same(), [(21, 9, 14), (12, 16, 8)], Tiles((8, 8, 8), 0.4, window_batch=3)),
        (Same(), [(30, 16)], Tiles((8, 8), 0.0, tta=True)),
    ],
)
def test_labels_found_slab_by_slab_are_those_of_the_merged_logits(
    model, shapes, tiles, monkeypatch
):
    """Images of several sizes in one batch, overlaps that do not divide the window."""
    _, variables = made(model, len(shapes[0]))
    padded, _, sizes = zip(
        *[pad_case(model, picture(*shape, 1), tiles=tiles) for shape in shapes], strict=True
    )
    room = np.max([image.shape for image in padded], 0)
    rows = jnp.stack([np.pad(x, [(0, n) for n in room - x.shape]) for x in padded])
    run = functools.partial(inference.label_map, model, tiles=tiles)
    want = run(variables, rows, jnp.stack(sizes))
    monkeypatch.setattr(inference, "SWEPT_FROM", 0)
    found = jax.jit(lambda v, x, n: run(v, x, n))(variables, rows, jnp.stack(sizes))
    assert found.shape == want.shape and found.dtype == want.dtype
    for number, size in enumerate(sizes):
        inside = (number, *(slice(n) for n in size))
        np.testing.assert_array_equal(found[inside], want[inside])
    assert want.min() == 0 < want.max()


def test_memory_of_a_label_map_does_not_grow_with_the_classes():
    """A volume of 512 voxels a side: labels and slab, not 16 logits a voxel (8 GiB)."""
    tiles = Tiles((32, 64, 64), window_batch=1)
    image = jax.ShapeDtypeStruct((1, 512, 512, 512, 1), jnp.float32)
    size = jax.ShapeDtypeStruct((1, 3), jnp.int32)
    _, variables = made(Pointwise(16), 3)
    run = jax.jit(lambda v, x, n: inference.label_map(Pointwise(16), v, x, n, tiles))
    memory = run.lower(variables, image, size).compile().memory_analysis()
    slab, labels = 32 * 512**2 * 16 * 4, 512**3 * 4
    assert memory.temp_size_in_bytes < 2 * slab + labels + 2**28
