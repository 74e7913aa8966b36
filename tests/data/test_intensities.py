"""What is seen of the images to train on, and what `Auto` makes of it."""

import re

import numpy as np
import pytest

from jaxseg.data import Auto, Data, Stream, Synthetic, train_batches
from jaxseg.data.intensities import Intensities, scale_line, some_of, some_pixels
from jaxseg.errors import UserError

RANDOM = np.random.default_rng(0)
UNIT = RANDOM.uniform(0, 1, (4, 30, 20, 1))


def test_the_fit_is_that_of_the_formulas():
    images = [np.arange(0, 101, dtype="u2").reshape(1, -1, 1), np.full((1, 99, 1), 100, "u2")]
    way = Auto().fit(images)
    low, high = np.percentile(np.concatenate([x.ravel() for x in images]), [0.5, 99.5])
    clipped = np.clip(np.concatenate([x.ravel() for x in images]), low, high)
    assert way.low == (low,) and way.high == (high,)
    np.testing.assert_allclose([*way.mean, *way.deviation], [clipped.mean(), clipped.std()])
    image = np.asarray([0, 50, 65535], "u2").reshape(1, 3, 1)
    wanted = (np.clip([0, 50, 65535], low, high) - clipped.mean()) / clipped.std()
    np.testing.assert_allclose(way(image, None).ravel(), wanted, rtol=1e-6)


def test_a_constant_channel_becomes_0_and_channels_are_apart():
    image = np.stack([np.full((8, 8), 7.0), np.arange(64.0).reshape(8, 8)], -1)
    found = Auto().fit([image])(image, None)
    assert not found[..., 0].any()
    np.testing.assert_allclose([found[..., 1].mean(), found[..., 1].std()], [0, 1], atol=1e-6)


def test_what_was_not_fitted_or_cannot_be_is_refused():
    with pytest.raises(UserError, match="has not seen the training split"):
        Auto()(UNIT[0], None)
    with pytest.raises(UserError, match=r"data.normalize.low=\(0.0,\): .*2 numbers"):
        Auto(low=(0.0,), high=(1.0,), mean=(0.5,), deviation=(0.2,))(np.zeros((3, 3, 2)), None)
    with pytest.raises(UserError, match="data.normalize.deviation"):
        Auto(low=(0.0,), high=(1.0,), mean=(0.5,), deviation=(0.0,))
    with pytest.raises(UserError, match="data.normalize.high"):
        Auto(low=(1.0,), high=(1.0,), mean=(0.5,), deviation=(1.0,))


def test_the_training_split_alone_is_looked_at():
    data = Data(Synthetic(size=(32, 32), count=(3, 2, 0)), patch=(16, 16), normalize=Auto())
    images = [case["image"] for case in (data.dataset.open("", "train")[i] for i in range(3))]
    fitted = data.fitted()
    assert fitted.normalize == Auto().fit(images) and fitted.fitted() is fitted
    assert Data(data.dataset).fitted() == Data(data.dataset)


@pytest.mark.parametrize(
    ("raws", "said"),
    [
        ((UNIT * 255).astype("u1"), None),
        (UNIT.astype("f4"), None),
        (UNIT > 0.5, None),
        ((UNIT * 4095).astype("u2"), r"uint16 and use \d+ to 40\d\d(\.\d+)? of 65535.*Auto\(\)"),
        ((UNIT * 20).astype("u1"), "uint8 and use 0 to 19 of 255"),
        ((UNIT * 255).astype("f4"), r"float32 of .* to 254.*nothing scales"),
        ((UNIT * 255).astype("i4"), "int32 of 0 to 254"),
        ((UNIT * 2000 - 1000).astype("i2"), r"int16 .*Range\(low=-99"),
    ],
)
def test_images_of_another_scale_are_said(raws, said):
    line = scale_line(raws)
    if said is None:
        assert line is None
    else:
        assert line is not None and re.search(said, line), line


def test_images_far_from_those_of_training_are_said_and_others_are_not():
    blobs = [0.3 + 0.2 * image for image in UNIT]
    known = Intensities.of(blobs)
    assert all(known.far(image) is None for image in blobs)
    assert known.far(blobs[0][::-1, :10]) is None and known.far(0.2 + 0.2 * UNIT[0]) is None
    for image in (blobs[0] * 255, blobs[0] / 16, blobs[0] - 1, 0 * blobs[0]):
        assert known.far(image).startswith("channel 0 has mean")


def test_they_are_kept_and_read(tmp_path):
    known, path = Intensities.of(UNIT), tmp_path / "intensities.json"
    known.write(path)
    assert Intensities.read(path) == known
    assert Intensities.read(tmp_path / "none") is None
    path.write_text("{}")
    with pytest.raises(UserError, match="intensities.json: not what train writes"):
        Intensities.read(path)


def test_few_pixels_of_few_images_are_looked_at_and_all_columns_of_them():
    assert some_of(range(3)) == [0, 1, 2] and len(some_of(range(1000))) == 16
    ramp = np.broadcast_to(np.arange(1024.0)[None, :, None], (1024, 1024, 1))
    pixels = some_pixels(ramp)
    assert len(pixels) <= 1 << 16 and len(np.unique(pixels)) == 1024


def test_streams_are_looked_at_too():
    dim = Synthetic(size=(16, 16), radius=(3.0, 4.0), count=(4, 1, 1))

    class Dim(Synthetic):
        """The same, of a twentieth of the scale."""

        def open(self, root, split):
            cases = super().open(root, split)
            return [{**cases[n], "image": cases[n]["image"] // 20} for n in range(len(cases))]

    streams = {"more": Stream(data=Data(Dim(**vars(dim)), patch=(8, 8)))}
    batches = train_batches(
        Data(dim, patch=(8, 8)), streams, batch_size=2, seed=0, rows_of=lambda n: slice(0, n)
    )
    try:
        (line,) = batches.scale_lines()
    finally:
        batches.close()
    assert line.startswith("streams.more: the images to train on are uint8 and use")
