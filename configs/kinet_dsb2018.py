"""Ki-Net, the overcomplete network of the KiU-Net paper by itself, on the nuclei of DSB2018.

Paper     Valanarasu et al. 2020, https://arxiv.org/abs/2006.04878: as configs/kiunet_dsb2018.py.
Data      664 images, split by groups of size and background. Classes background, nucleus.
Reports   of Ki-Net alone no number is at hand
Reached   not run yet.
Command   python -m jaxseg.train --config configs/kinet_dsb2018.py \
              --workdir runs/kinet_dsb2018 data.root=PATH/dsb2018
"""

import dataclasses
from pathlib import Path

from jaxseg import config
from jaxseg.experiment import Experiment
from jaxseg.models import KiNet
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    base = config.read(Path(__file__).parent / "kiunet_dsb2018.py")
    assert isinstance(base.recipe, Supervised)
    return dataclasses.replace(
        base, recipe=dataclasses.replace(base.recipe, model=KiNet(num_classes=2))
    )
