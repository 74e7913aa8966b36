"""Ways to normalise: by hand, on host and device alike, whole image and patch alike."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.data import (
    CT,
    Auto,
    ByChannel,
    Channels,
    Data,
    Normalize,
    Percentile,
    Range,
    Synthetic,
    Unit,
    ZScore,
)
from jaxseg.errors import UserError

RANDOM = np.random.RandomState(0)
FLOAT = RANDOM.uniform(0, 1, (9, 11, 2)).astype("f4")
EVERY = [
    Unit(),
    ZScore(),
    Range(low=0.2, high=0.7),
    Range(low=-1000.0, high=400.0, clip=False),
    Percentile(),
    Percentile(low=10.0, high=80.0, clip=False),
    Channels(mean=(0.4, 0.5), deviation=(0.2, 0.3)),
    CT(low=0.2, high=0.7, mean=0.45, deviation=0.2),
    ByChannel((CT(low=0.1, high=0.6, mean=0.3, deviation=0.1), ZScore())),
    ByChannel((Unit(), Percentile(low=5.0))),
    Auto(low=(0.1, 0.2), high=(0.7, 0.9), mean=(0.4, 0.5), deviation=(0.2, 0.3)),
]


def normalized(way, image):
    return way(image, way.statistics(image))


@pytest.mark.parametrize("way", EVERY, ids=repr)
@pytest.mark.parametrize("dtype", ["f4", "?", "u1", "i1", "u2", "i2", "i4", "u4"])
def test_the_artifact_computes_what_the_host_computes(way, dtype):
    scale = {"f4": 1, "?": 1, "u1": 255, "i1": 127, "u2": 65535, "i2": 1000}.get(dtype, 1000)
    images = np.stack([FLOAT, FLOAT[::-1] ** 2]) * scale
    images = (images > 0.3 if dtype == "?" else images).astype(dtype)
    host = np.stack([normalized(way, image) for image in images])
    device = way.on_device(jnp.asarray(images))
    assert host.dtype == device.dtype == np.float32 and isinstance(way, Normalize)
    np.testing.assert_allclose(device, host, rtol=0, atol=1e-6 * max(1, abs(host).max()))


@pytest.mark.parametrize("offset", [2**24 + 1, -(2**31), 2**31 - 100])
@pytest.mark.parametrize("way", [ZScore(), Percentile()], ids=repr)
def test_wide_integers_keep_their_digits_in_the_artifact(way, offset):
    images = (np.rint(FLOAT * 90).astype(np.int64) + offset).astype("i4")[None]
    device = way.on_device(jnp.asarray(images))
    np.testing.assert_allclose(device[0], normalized(way, images[0]), rtol=0, atol=3e-6)
    ends = np.asarray([-(2**31), 0, 2**31 - 1], "i4").reshape(1, 3, 1)  # no difference of 32 bits
    device = way.on_device(jnp.asarray(ends[None]))
    np.testing.assert_allclose(device[0], normalized(way, ends), rtol=0, atol=3e-6)
    way = Range(low=float(offset), high=float(offset + 90))
    device = way.on_device(jnp.asarray(images))
    np.testing.assert_allclose(device[0], normalized(way, images[0]), rtol=0, atol=1e-6)


def test_percentiles_of_whole_numbers_do_not_wrap():
    ends = np.asarray([-128, 127], "i1").reshape(1, 2, 1)
    np.testing.assert_allclose(Percentile(low=20.0, high=80.0).statistics(ends), [[-77], [76]])
    wide = np.asarray([-(2**31), 2**31 - 1], "i4").reshape(1, 2, 1)
    assert Percentile(low=0.0, high=50.0).statistics(wide)[1, 0] == -0.5


@pytest.mark.parametrize("way", EVERY, ids=repr)
@pytest.mark.parametrize("dtype", ["f4", "u1", "i4"])
def test_every_way_can_be_exported_for_images_of_any_size(way, dtype):
    shape = jax.export.symbolic_shape("b, h, w, 2")
    exported = jax.export.export(jax.jit(way.on_device))(jax.ShapeDtypeStruct(shape, dtype))
    images = (FLOAT * 200).astype(dtype)[None]
    np.testing.assert_allclose(
        exported.call(images)[0], normalized(way, images[0]), rtol=1e-6, atol=3e-6
    )


@pytest.mark.parametrize("way", [Percentile(), Range(low=0.2, high=0.7)], ids=repr)
def test_what_is_clipped_lies_in_0_to_1(way):
    for found in (normalized(way, FLOAT), np.asarray(way.on_device(jnp.asarray(FLOAT[None])))):
        assert found.min() == 0 and found.max() == 1


@pytest.mark.parametrize("way", EVERY, ids=repr)
def test_a_patch_is_normalised_as_its_image_is(way):
    statistics = way.statistics(FLOAT)
    whole = way(FLOAT, statistics)
    np.testing.assert_array_equal(way(FLOAT[2:5, 3:8], statistics), whole[2:5, 3:8])


@pytest.mark.parametrize("way", EVERY, ids=repr)
def test_a_constant_image_stays_finite(way):
    flat = np.full((4, 5, 2), 0.3, np.float32)
    found = normalized(way, flat), way.on_device(jnp.asarray(flat[None]))[0]
    for image in found:
        assert np.isfinite(image).all()
        if isinstance(way, ZScore | Percentile):
            np.testing.assert_array_equal(image, 0)


def test_the_numbers_are_those_of_the_formulas():
    image = np.array([[[0], [51], [102], [255]]], np.uint8)
    np.testing.assert_allclose(normalized(Unit(), image).ravel(), [0, 0.2, 0.4, 1])
    np.testing.assert_allclose(normalized(Unit(), image.astype("f4")).ravel(), [0, 51, 102, 255])
    z = normalized(ZScore(), image).ravel()
    np.testing.assert_allclose(z, (image.ravel().astype(float) - 102) / image.std(), rtol=1e-6)
    ct = np.array([[[-2000.0], [-160.0], [40.0], [240.0], [900.0]]], np.float32)
    window = Range(low=-160.0, high=240.0)
    np.testing.assert_allclose(normalized(window, ct).ravel(), [0, 0, 0.5, 1, 1])
    twelve = np.array([[[0], [4095]]], np.uint16)  # 12 bits in a 16-bit file
    np.testing.assert_allclose(normalized(Range(low=0.0, high=4095.0), twelve).ravel(), [0, 1])
    ramp = np.arange(101, dtype=np.float32).reshape(1, 101, 1)
    way = Percentile(low=10.0, high=90.0)
    np.testing.assert_allclose(normalized(way, ramp)[0, [0, 10, 50, 90, 100], 0], [0, 0, 0.5, 1, 1])
    way = Channels(mean=(0.5,), deviation=(0.25,))
    np.testing.assert_allclose(normalized(way, image).ravel(), [-2, -1.2, -0.4, 2], atol=1e-6)


def test_ct_is_cut_and_scaled_and_channels_each_in_their_way():
    ct = np.asarray([-2000, -100, 50, 900], "i2").reshape(2, 2, 1)
    way = CT(low=-100.0, high=200.0, mean=50.0, deviation=25.0)
    np.testing.assert_allclose(normalized(way, ct).ravel(), [-6, -6, 0, 6])
    both = np.concatenate([ct, ct], -1)
    found = normalized(ByChannel((way, ZScore())), both)
    np.testing.assert_array_equal(found[..., :1], normalized(way, ct))
    np.testing.assert_allclose(found[..., 1:], normalized(ZScore(), ct), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Range(low=2.0, high=2.0), r"data.normalize.high=2.0: must be above low=2.0"),
        (lambda: Range(low=0.0, high=np.inf), r"data.normalize.high=inf: must be a finite number"),
        (lambda: Range(low=-np.inf, high=0.0), "data.normalize.low=-inf: must be a finite number"),
        (lambda: CT(low=1.0, high=0.0, mean=0.0, deviation=1.0), "data.normalize.high=0.0: must"),
        (lambda: CT(low=0.0, high=1.0, mean=0.0, deviation=0.0), "data.normalize.deviation=0.0"),
        (lambda: CT(low=0.0, high=1.0, mean=np.nan, deviation=1.0), "data.normalize.mean=nan"),
        (lambda: ByChannel(()), "data.normalize.ways=..: must be a way for each channel"),
        (lambda: normalized(ByChannel((Unit(),)), FLOAT), "data.normalize.ways=.*: must be 2 ways"),
        (lambda: Percentile(low=-1.0), "data.normalize.low=-1.0: must be in"),
        (lambda: Channels(mean=(np.nan,), deviation=(1.0,)), "data.normalize.mean=.nan,.: must"),
        (lambda: Channels(mean=(0.0,), deviation=(np.inf,)), "data.normalize.deviation=.inf,.: mu"),
        (lambda: Percentile(low=60.0, high=40.0), "data.normalize.low=60.0: must be in"),
        (lambda: Channels(mean=(0.5,), deviation=(0.0,)), "data.normalize.deviation"),
        (lambda: Channels(mean=(0.5, 0.1), deviation=(1.0,)), "data.normalize.deviation"),
        (lambda: normalized(Channels(mean=(0.5,), deviation=(1.0,)), FLOAT), "must be 2 numbers"),
    ],
)
def test_what_cannot_be_is_refused(make, said):
    with pytest.raises(UserError, match=said):
        make()


def test_training_and_evaluation_see_the_same_scale():
    for way in (ZScore(), Percentile(), Range(low=0.0, high=200.0)):
        data = Data(dataset=Synthetic(size=(16, 16), count=(2, 2, 0)), normalize=way)
        batch = next(data.train(batch_size=2, seed=0))
        raw = data.dataset.open("", "train")
        wanted = sorted(normalized(way, raw[i]["image"]).sum() for i in range(2))
        np.testing.assert_allclose(sorted(batch.image.sum((1, 2, 3))), wanted, rtol=1e-5)
        case = data.cases("validation")[0]
        image = data.dataset.open("", "validation")[0]["image"]
        np.testing.assert_array_equal(case["image"], normalized(way, image))
        np.testing.assert_array_equal(data.image(image, name="x"), case["image"])
