import csv

import numpy as np
import pytest

from jaxseg.data import DSB2018
from jaxseg.errors import UserError


def ids(root, split, **fields):
    return {pair.name for pair in DSB2018(**fields).open(root, split).pairs}


def test_groups_of_size_and_background_lie_in_one_split_each(shared):
    root = str(shared / "data/dsb2018")
    parts = {s: ids(root, s) for s in ("train", "validation", "test")}
    assert {s: len(p) for s, p in parts.items()} == {"train": 451, "validation": 93, "test": 120}
    groups = {}
    with open(shared / "data/dsb2018/index.csv") as file:
        for row in csv.DictReader(file):
            (split,) = [s for s, p in parts.items() if row["id"] in p]
            groups.setdefault((row["h"], row["w"], row["background"]), set()).add(split)
    assert len(groups) == 10 and all(len(splits) == 1 for splits in groups.values())


def test_every_image_has_three_channels_and_its_nuclei_are_numbered(shared):
    root = shared / "data/dsb2018"
    with open(root / "index.csv") as file:
        index = {row["id"]: row for row in csv.DictReader(file)}
    source = DSB2018(instances=True).open(str(root), "train")
    modes = set()
    for i in range(0, len(source), 60):
        case, row = source[i], index[source[i]["name"]]
        modes.add(row["mode"])
        assert case["image"].shape == (int(row["h"]), int(row["w"]), 3)
        assert case["instance"].max() == int(row["instances"])
        np.testing.assert_array_equal(case["label"], case["instance"] > 0)
    assert modes == {"grey", "rgb"}


def test_the_rim_is_a_third_class_if_asked_for(shared):
    dataset = DSB2018(boundary=True)
    case = dataset.open(str(shared / "data/dsb2018"), "validation")[0]
    assert set(np.unique(case["label"])) == {0, 1, 2} and "instance" not in case
    assert dataset.num_classes == len(dataset.class_names) == 3


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"index\.csv: no such file"):
        DSB2018().open(str(tmp_path), "train")


def test_images_of_one_background_alone(shared):
    root = str(shared / "data/dsb2018")
    parts = {
        kind: {s: ids(root, s, background=kind) for s in ("train", "validation", "test")}
        for kind in (None, "dark", "bright")
    }
    counts = {kind: [len(part) for part in of.values()] for kind, of in parts.items()}
    assert counts == {None: [451, 93, 120], "dark": [344, 93, 104], "bright": [86, 21, 16]}
    assert parts["bright"]["test"] == parts[None]["test"] - parts["dark"]["test"]
    assert not parts["bright"]["train"] & parts["bright"]["validation"]
    held = parts["bright"]["train"] | parts["bright"]["validation"]
    assert held == parts[None]["train"] - parts["dark"]["train"]


def test_colours_become_luma_in_one_channel(shared):
    root = str(shared / "data/dsb2018")
    grey = DSB2018(background="bright", channels=1).open(root, "train")[0]["image"]
    colour = DSB2018(background="bright").open(root, "train")[0]["image"]
    assert grey.shape == (*colour.shape[:2], 1) and np.ptp(colour, axis=-1).max() > 50
    luma = colour.astype(float) @ (0.299, 0.587, 0.114)
    assert abs(grey[..., 0] - luma).max() <= 1
