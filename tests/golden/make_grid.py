"""Writes grid.npz: what nnU-Net's own code does to images and to logits. Needs nnunetv2 (2.8.1).

    python tests/golden/make_grid.py

Volumes are ``x y z``, as a NIfTI holds them; nnU-Net's arrays are ``z y x``. A smooth body in a
frame of zeros, prepared by its `DefaultPreprocessor`; smooth logits on the grid that it gives,
brought back by its export.
"""

import json
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape as exported,
)
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from scipy import ndimage

HERE = Path(__file__).parent
CT = {"mean": 0.3, "std": 0.2, "percentile_00_5": 0.05, "percentile_99_5": 0.9}
USUAL = {"order_z": 0, "force_separate_z": None}
WAYS = {
    "data": {"is_seg": False, "order": 3} | USUAL,
    "seg": {"is_seg": True, "order": 1} | USUAL,
    "probabilities": {"is_seg": False, "order": 1} | USUAL,
}
SETTINGS = {
    "isotropic": ((0.8, 0.9, 1.1), (1.0, 1.0, 1.0), "ZScoreNormalization"),
    "slices": ((0.7, 0.75, 3.6), (0.8, 0.9, 3.0), "ZScoreNormalization"),
    "ct": ((0.7, 0.75, 3.6), (1.8, 0.9, 1.2), "CTNormalization"),
    "coarse": ((0.5, 0.5, 0.5), (0.9, 1.1, 1.3), "ZScoreNormalization"),
}
"""Spacing of the file and of the grid along x, y, z; normalisation."""


def smooth(random, shape, sigma):
    return ndimage.gaussian_filter(random.random(shape), sigma)


def main() -> None:
    plans = json.loads((HERE / "nnunet" / "plans.json").read_text())
    dataset = json.loads((HERE / "nnunet" / "dataset.json").read_text())
    full = plans["configurations"]["3d_fullres"]
    for name, options in WAYS.items():
        full[f"resampling_fn_{name}"] = "resample_data_or_seg_to_shape"
        full[f"resampling_fn_{name}_kwargs"] = options
    plans["foreground_intensity_properties_per_channel"] = {"0": CT}
    random, out = np.random.default_rng(0), {}
    volume = np.zeros((16, 18, 14), np.float32)
    body = smooth(random, (12, 15, 11), 1.5)
    volume[2:14, 1:16, 1:12] = (body - body.min()) / (body.max() - body.min()) + 0.01
    out["volume"] = volume
    for name, (spacing, grid, scheme) in SETTINGS.items():
        full |= {"spacing": list(grid[::-1]), "normalization_schemes": [scheme]}
        manager = PlansManager(plans)
        chosen, labels = manager.get_configuration("3d_fullres"), manager.get_label_manager(dataset)
        known = {"spacing": list(spacing[::-1])}
        prepared, _, known = DefaultPreprocessor(verbose=False).run_case_npy(
            volume.T[None].copy(), None, known, manager, chosen, dataset
        )
        shape = prepared.shape[1:]
        logits = np.stack([smooth(random, shape, 1.2) for _ in labels.all_labels]).astype("f4")
        found = exported(torch.from_numpy(logits.copy()), manager, chosen, labels, known)
        out |= {
            f"{name}_image": prepared[0].T,
            f"{name}_logits": logits.T,
            f"{name}_labels": found.T.astype("u1"),
        }
    np.savez_compressed(HERE / "grid.npz", **out)


if __name__ == "__main__":
    main()
