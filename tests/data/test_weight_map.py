import json

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from jaxseg import record
from jaxseg.data import Data, Synthetic, WeightMap
from jaxseg.data.weight_map import balanced, border
from jaxseg.errors import UserError
from jaxseg.types import IGNORE

NUCLEI = Synthetic(size=(24, 20), count=(4, 1, 1), radius=(2.0, 4.0), instances=True)


def discs() -> np.ndarray:
    y, x = np.mgrid[:16, :16]
    instance = np.zeros((16, 16), np.int32)
    for number, (cy, cx, square) in enumerate([(5, 4, 9), (6, 11, 9), (12, 7, 4)], start=1):
        instance[(y - cy) ** 2 + (x - cx) ** 2 <= square] = number
    return instance


def test_it_is_the_paper_s():
    instance = discs()
    term = border(instance, 10.0, 5.0)
    background = instance == 0
    # unetwmap.border term sum over bg only; at (5,8); at (0,15)
    assert term[background].sum() == pytest.approx(684.5418568234048, rel=1e-6)
    assert term[5, 8] == pytest.approx(9.231163463866357, rel=1e-6)
    assert term[0, 15] == pytest.approx(0.20908450976899134, rel=1e-6)
    assert np.all(term[~background] == 0)
    share = balanced((instance > 0).astype(np.int32))
    assert (instance > 0).mean() == 0.27734375  # unetwmap.fg fraction
    # unetwmap.w_c bg value (fg normalised 1)
    assert share[0, 0] == pytest.approx(0.3837837837837838, rel=1e-6) and share[5, 4] == 1
    weight = WeightMap()((instance > 0).astype(np.int32), instance)
    assert weight.dtype == np.float32
    np.testing.assert_allclose(weight, term + share, rtol=1e-6)


def test_boxes_change_nothing_in_a_large_volume():
    rng = np.random.default_rng(0)
    instance = np.zeros((12, 60, 40), np.int32)
    for number in (3, 5, 1 << 30, 7):
        z, y, x = (int(rng.integers(0, n - 4)) for n in instance.shape)
        instance[z : z + 3, y : y + 4, x : x + 2] = number
    present = np.unique(instance)[1:]
    distances = np.sort([distance_transform_edt(instance != n) for n in present], axis=0)
    expected = 4 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * 1.5**2))
    expected[instance > 0] = 0
    np.testing.assert_allclose(border(instance, 4.0, 1.5), expected, atol=2e-7)


@pytest.mark.parametrize("instance", [np.zeros((5, 5), np.int32), np.eye(5, dtype=np.int32)])
def test_there_is_no_border_with_less_than_two_objects(instance):
    assert np.all(border(instance, 10.0, 5.0) == 0)


def test_without_numbers_objects_are_the_connected_parts():
    instance = discs()
    label = (instance > 0).astype(np.int32)
    np.testing.assert_array_equal(WeightMap()(label), WeightMap()(label, instance))


def test_ignored_pixels_weigh_nothing_and_are_of_no_class():
    label = np.array([[0, 0, 0, 0, 2, 2, IGNORE]], np.int32)
    weight = WeightMap(w0=0.0)(label)
    np.testing.assert_allclose(weight, [[0.5, 0.5, 0.5, 0.5, 1, 1, 0]])
    assert np.all(WeightMap()(np.full((3, 3), IGNORE, np.int32)) == 0)
    np.testing.assert_allclose(WeightMap(w0=0.0, balance=False)(label), label != IGNORE)


def test_a_patch_carries_the_weights_of_the_whole_image():
    data = Data(NUCLEI, patch=(16, 12), weight_map=WeightMap())
    batches = data.train(batch_size=4, seed=0)
    batch = next(batches)
    batches.close()
    source = NUCLEI.open("", "train")
    whole = [WeightMap()(c["label"], c["instance"]) for c in (source[i] for i in range(4))]
    windows = np.concatenate(
        [np.lib.stride_tricks.sliding_window_view(w, (16, 12)).reshape(-1, 16, 12) for w in whole]
    )
    assert batch.weight.dtype == np.float32 and batch.weight.shape == (4, 16, 12)
    for patch in batch.weight:
        assert (windows == patch).all((1, 2)).any()


def test_what_fills_up_an_image_weighs_nothing():
    batches = Data(NUCLEI, patch=(30, 20), weight_map=WeightMap()).train(batch_size=2, seed=0)
    batch = next(batches)
    batches.close()
    assert np.all(batch.weight[:, 24:] == 0) and np.all(batch.weight[:, :24] > 0)


def test_evaluation_has_no_weights():
    assert "weight" not in Data(NUCLEI, weight_map=WeightMap()).cases("validation")[0]


def test_a_disk_cache_does_not_mix_up_two_maps(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    taken = []
    for chosen in (WeightMap(), WeightMap(w0=3.0), None):
        batches = Data(NUCLEI, cache="disk", weight_map=chosen).train(batch_size=2, seed=0)
        taken.append(next(batches).weight)
        batches.close()
    assert taken[2] is None and (taken[0] != taken[1]).any()


def test_json_gives_it_back():
    data = Data(NUCLEI, weight_map=WeightMap(sigma=3.0))
    assert record.from_json(json.loads(json.dumps(record.to_json(data)))) == data


def test_what_has_no_border_is_refused():
    with pytest.raises(UserError, match="data.weight_map.sigma=0.0: must be above 0"):
        WeightMap(sigma=0.0)
