"""Bayesian SegNet on CamVid's road scenes: SegNet's recipe with dropout, and samples of it.

Paper     Kendall, Badrinarayanan, Cipolla 2015, https://arxiv.org/abs/1511.02680: trained as
          SegNet (configs/segnet_vgg16_camvid.py), with dropout of one half after the three
          coarsest levels of either side; what is predicted is the mean of 50 samples (recalled,
          not checked).
Data      CamVid, 367 images of 360 x 480 train, 101 validate, 233 test; 11 classes, void ignored.
Reports   mean IoU 63.1, accuracy 86.9 on the test split, as FC-DenseNet's table 3 quotes it
Reached   not run yet
Command   python -m jaxseg.train --config configs/segnet_vgg16_camvid_bayesian.py \
              --workdir runs/segnet_vgg16_camvid_bayesian data.root=PATH/camvid
          python -m jaxseg.evaluate --workdir runs/segnet_vgg16_camvid_bayesian --split test \
              evaluation.dropout_samples=50
"""

import dataclasses
from pathlib import Path

from jaxseg import config
from jaxseg.experiment import Experiment
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment; on the way, the network is scored without samples."""
    base = config.read(Path(__file__).parent / "segnet_vgg16_camvid.py")
    assert isinstance(base.recipe, Supervised)
    model = base.recipe.model.clone(dropout=0.5)
    return dataclasses.replace(base, recipe=dataclasses.replace(base.recipe, model=model))
