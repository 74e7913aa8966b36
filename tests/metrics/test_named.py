from jaxseg.metrics import CASE_SCORES, MORE, SCORES, NamedScore, needs_of


def test_no_name_is_given_twice():
    names = [*SCORES, *MORE, *CASE_SCORES]
    assert len(names) == len(set(names))
    assert all(isinstance(score, NamedScore) for score in CASE_SCORES.values())


def test_of_distances_and_errors_the_least_is_best():
    lower = {name for name, score in CASE_SCORES.items() if not score.higher_is_better}
    in_mm = {name for name, score in CASE_SCORES.items() if score.in_mm}
    assert in_mm == {"hd", "hd95", "hd95_pooled", "hd95_subvoxel", "assd", "asd"}
    assert lower == in_mm | {"pixel_error", "adapted_rand_error", "voi", "ece", "mce"}


def test_only_what_is_needed_is_asked_for():
    assert needs_of(["hd95", "case_dice", "cldice"]) == frozenset()
    assert needs_of(["ap", "pq", "v_rand_thinned"]) == {"objects"}
    assert needs_of(["hd95", "ece"]) == {"calibration"}
    assert needs_of(["coco_ap"]) == {"objects", "probabilities"}
