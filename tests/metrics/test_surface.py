import time

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist
from skimage.metrics import hausdorff_distance

from jaxseg.metrics import average_distance, hausdorff, surface_dice, surfaces
from jaxseg.metrics.surface import directed_distances, surface


def pair_2d() -> tuple[np.ndarray, np.ndarray]:
    """systems.md, appendix 3: an ellipse with a false blob of four pixels, and a disc."""
    y, x = np.mgrid[:32, :32]
    prediction = (y - 16) ** 2 / 81 + (x - 16) ** 2 / 49 <= 1
    prediction[2:4, 27:29] = True
    return prediction, (y - 15) ** 2 + (x - 14) ** 2 <= 64


def pair_3d() -> tuple[np.ndarray, np.ndarray]:
    """systems.md, appendix 3: two ellipsoids."""
    z, y, x = np.mgrid[:16, :24, :24]
    prediction = 3 * (z - 8) ** 2 + (y - 13) ** 2 + (x - 12) ** 2 <= 70
    return prediction, 4 * (z - 8) ** 2 + (y - 12) ** 2 + (x - 11) ** 2 <= 64


def some(shape=(12, 10), seed=0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random(shape) < 0.3, rng.random(shape) < 0.3


# metrics.json, by the names there: without spacing, and with (2, 0.5).
HD = {None: 11.313708498984761, (2.0, 0.5): 12.2065556157337}  # medpy.hd, deepmind.HD 100
HD_32 = {None: 11.313708305358887, (2.0, 0.5): 12.206555366516113}  # monai.HD, float32
ASD_32 = {None: 2.2260663509368896, (2.0, 0.5): 2.02807354927063}  # monai.ASD(pred->gt)
ASSD_32 = {None: 1.888659954071045, (2.0, 0.5): 1.5146468877792358}  # monai.ASSD(symmetric)
HD95 = {None: 10.37441635131836, (2.0, 0.5): 10.517312049865723}  # monai.HD95, float32
POOLED = {None: 3.1622776601683795, (2.0, 0.5): 3.616256696821983}  # medpy.hd95
POOLED_2 = {None: 3.0, (2.0, 0.5): 2.77916305603426}  # medpy.hd95 connectivity=2
ASD = {None: 2.2260660512386705, (2.0, 0.5): 2.028073467272646}  # medpy.asd(pred->gt)
ASSD = {None: 1.8886598902483376, (2.0, 0.5): 1.5146470264031195}  # medpy.assd
COUNTED = {  # monai.NSD boundary-count, float32
    (1.0, None): 0.45652174949645996,
    (2.0, None): 0.70652174949646,
    (1.0, (2.0, 0.5)): 0.6304348111152649,
    (2.0, (2.0, 0.5)): 0.8695651888847351,
}
SUBVOXEL_32 = {  # monai.NSD use_subvoxels, float32
    (1.0, None): 0.5120817422866821,
    (2.0, None): 0.7595795392990112,
    (1.0, (2.0, 0.5)): 0.666156530380249,
    (2.0, (2.0, 0.5)): 0.8892289996147156,
}
OVERLAP = {  # deepmind.overlap gt, pred
    (1.0, None): (0.5309748357748239, 0.4952714256245173),
    (2.0, None): (0.8066352299152466, 0.7177112744730744),
    (1.0, (2.0, 0.5)): (0.7371377563044764, 0.6070396874842966),
    (2.0, (2.0, 0.5)): (1.0, 0.7969731250410699),
}
AREAS = {  # deepmind.robustHD 95, HD 100, avg_surf gt->pred, pred->gt
    None: (10.0, 11.313708498984761, 1.3413669972080575, 2.2313680239813696),
    (2.0, 0.5): (10.63014581273465, 12.206555615733702, 0.8403938500901107, 1.9545290456041002),
}
SUBVOXEL = {  # deepmind.surface_dice
    (1.0, None): 0.5120817374061511,
    (2.0, None): 0.7595795277608219,
    (1.0, (2.0, 0.5)): 0.666156532671562,
    (2.0, (2.0, 0.5)): 0.8892289782189586,
}


@pytest.mark.parametrize("spacing", [None, (2.0, 0.5)])
def test_distances_of_a_disc_and_an_ellipse_are_the_references(spacing):
    pair = pair_2d()
    close = lambda value, golden: np.testing.assert_allclose(value, golden, rtol=1e-6)  # noqa: E731
    close(hausdorff(*pair, spacing=spacing), HD[spacing])
    close(hausdorff(*pair, spacing=spacing), HD_32[spacing])
    close(average_distance(*pair, spacing=spacing), ASSD_32[spacing])
    for golden in (ASD, ASD_32):
        close(average_distance(*pair, of="prediction", spacing=spacing), golden[spacing])
    close(hausdorff(*pair, spacing=spacing, percentile=95.0), HD95[spacing])
    close(hausdorff(*pair, spacing=spacing, percentile=95.0, pooled=True), POOLED[spacing])
    wide = hausdorff(*pair, spacing=spacing, percentile=95.0, pooled=True, connectivity=2)
    close(wide, POOLED_2[spacing])
    close(average_distance(*pair, spacing=spacing), ASSD[spacing])
    close(directed_distances(*pair, spacing=spacing)[0].mean(), ASD[spacing])


@pytest.mark.parametrize("tolerance, spacing", COUNTED)
def test_surface_dice_of_a_disc_and_an_ellipse_is_the_references(tolerance, spacing):
    fields = {"tolerance": tolerance, "spacing": spacing}
    counted = surface_dice(*pair_2d(), **fields)
    np.testing.assert_allclose(counted, COUNTED[tolerance, spacing], rtol=1e-6)
    areas = surface_dice(*pair_2d(), **fields, subvoxel=True)
    np.testing.assert_allclose(areas, SUBVOXEL[tolerance, spacing], rtol=1e-6)
    np.testing.assert_allclose(areas, SUBVOXEL_32[tolerance, spacing], rtol=1e-6)
    both = [surface_dice(*pair_2d(), **fields, subvoxel=True, of=of) for of in SIDES]
    np.testing.assert_allclose(both, OVERLAP[tolerance, spacing], rtol=1e-6)


SIDES = ("label", "prediction")


@pytest.mark.parametrize("spacing", AREAS)
def test_distances_by_area_are_deepminds(spacing):
    pair = surfaces(*pair_2d(), subvoxel=True, spacing=spacing)
    found = pair.hausdorff(95.0), pair.hausdorff(), *map(pair.average, SIDES)
    np.testing.assert_allclose(found, AREAS[spacing], rtol=1e-6)
    fields = {"subvoxel": True, "spacing": spacing}
    assert hausdorff(*pair_2d(), percentile=95.0, **fields) == found[0]
    assert average_distance(*pair_2d(), of="label", **fields) == found[2]


def test_scores_of_ellipsoids_are_the_references():
    # metrics.json 3d.*: spacing (2.5, 1, 1), tolerance 1
    fields = {"spacing": (2.5, 1.0, 1.0)}
    close = lambda value, golden: np.testing.assert_allclose(value, golden, rtol=1e-6)  # noqa: E731
    assert hausdorff(*pair_3d(), percentile=95.0, **fields) == 2.5
    assert hausdorff(*pair_3d(), percentile=95.0, pooled=True, **fields) == 2.5
    close(average_distance(*pair_3d(), **fields), 1.2452524437823773)  # medpy
    close(surface_dice(*pair_3d(), **fields), 0.5414847135543823)  # monai, counted
    close(surface_dice(*pair_3d(), subvoxel=True, **fields), 0.7394736244370467)  # deepmind
    close(surface_dice(*pair_3d(), subvoxel=True, **fields), 0.7394735813140869)  # monai
    close(average_distance(*pair_3d(), **fields), 1.2452523708343506)  # monai
    by_area = surfaces(*pair_3d(), subvoxel=True, **fields)
    assert by_area.hausdorff(95.0) == 2.5  # deepmind
    golden = (0.6576724469661303, 0.8626542831256729)  # deepmind.avg gt->pred, pred->gt
    close([by_area.average(of) for of in SIDES], golden)


@pytest.mark.parametrize("shape, spacing", [((12, 10), (2.0, 0.5)), ((6, 7, 5), (1.0, 3.0, 0.5))])
def test_distances_are_those_of_every_pair_of_points(shape, spacing):
    a, b = some(shape)
    points = [np.argwhere(surface(mask)) * spacing for mask in (a, b)]
    table = cdist(*points)
    pair = directed_distances(a, b, spacing=spacing)
    np.testing.assert_allclose(pair[0], table.min(1))
    np.testing.assert_allclose(pair[1], table.min(0))


def test_the_hausdorff_distance_is_that_of_scikit_image():
    a, b = (surface(mask) for mask in some((20, 20)))
    np.testing.assert_allclose(hausdorff(a, b), hausdorff_distance(a, b))
    a, b = pair_2d()  # of all pixels: the farthest lies on the surface here
    np.testing.assert_allclose(hausdorff_distance(a, b), 11.313708498984761, rtol=1e-6)
    np.testing.assert_allclose(hausdorff(a, b), hausdorff_distance(a, b))


@pytest.mark.parametrize("shape", [(9, 11), (6, 7, 5), (4, 3, 5, 4)])
@pytest.mark.parametrize("connectivity", [1, 2])
def test_the_surface_is_what_scipys_erosion_takes(shape, connectivity):
    mask = np.random.default_rng(0).random(shape) < 0.8
    structure = ndimage.generate_binary_structure(mask.ndim, connectivity)
    expected = mask & ~ndimage.binary_erosion(mask, structure)
    np.testing.assert_array_equal(surface(mask, connectivity), expected)


@pytest.mark.parametrize("spacing", [None, (1.0, 0.3), (5.0, 0.5)])
def test_near_and_far_distances_are_scipys(spacing):
    # Some pixels find their nearest among the neighbours, some in the transform.
    a, b = np.zeros((2, 40, 40), bool)
    a[2:9, 3:9] = a[12, 12] = b[3:12, 3:9] = b[30, 35] = True
    found = directed_distances(a, b, spacing=spacing)
    for distances, source, target in zip(found, (a, b), (b, a), strict=True):
        expected = ndimage.distance_transform_edt(~surface(target), sampling=spacing)
        np.testing.assert_allclose(distances, np.asarray(expected)[surface(source)], rtol=1e-12)


def test_pixels_on_the_border_of_the_image_are_surface():
    assert surface(np.ones((4, 5), bool)).sum() == 14


def test_equal_masks_have_no_distance():
    mask = pair_2d()[0]
    assert hausdorff(mask, mask) == average_distance(mask, mask) == 0
    assert surface_dice(mask, mask, tolerance=0.0) == 1
    assert surface_dice(mask, mask, tolerance=0.0, subvoxel=True) == 1


def test_the_order_of_the_masks_does_not_matter():
    a, b = pair_2d()
    for score in (hausdorff, average_distance, surface_dice):
        np.testing.assert_allclose(score(a, b), score(b, a))


def test_moving_both_masks_changes_nothing():
    a, b = pair_2d()
    moved = [np.pad(mask, ((9, 3), (1, 7))) for mask in (a, b)]
    assert hausdorff(a, b, percentile=95.0) == hausdorff(*moved, percentile=95.0)
    assert surface_dice(a, b, subvoxel=True) == surface_dice(*moved, subvoxel=True)


@pytest.mark.parametrize("score", [hausdorff, average_distance, surface_dice])
def test_of_an_empty_mask_there_is_no_distance(score):
    mask, empty = pair_2d()[0], np.zeros((32, 32), bool)
    assert all(np.isnan(score(*pair)) for pair in ((mask, empty), (empty, mask), (empty, empty)))


def test_areas_between_pixels_are_for_two_and_three_axes():
    with pytest.raises(ValueError, match="2 and 3"):
        surface_dice(np.ones(4, bool), np.ones(4, bool), subvoxel=True)


@pytest.mark.slow
def test_a_pair_of_large_volumes_takes_under_ten_seconds():
    grid = np.mgrid[:256, :256, :256].astype(np.float32)
    centres = [np.float32(c).reshape(3, 1, 1, 1) for c in ([128, 128, 128], [131, 127, 125])]
    a, b = (((grid - c) ** 2).sum(0) < r**2 for c, r in zip(centres, (100, 97), strict=True))
    start = time.perf_counter()
    assert 3 < hausdorff(a, b, percentile=95.0, spacing=(1.0, 1.0, 1.0)) < 10
    assert time.perf_counter() - start < 10  # 2.6 s on two busy cores
