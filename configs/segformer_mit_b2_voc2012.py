"""SegFormer with MiT-B2 on Pascal VOC 2012 with SBD's masks.

Paper     Xie et al. 2021, https://arxiv.org/abs/2105.15203, by its authors' code, on ADE20K, which
          is not a data set here: AdamW at 6e-5, ten times that for the head (here the encoder has a
          tenth), weight decay 0.01 but for norms, 1500 steps of warm-up, poly 1.0, 160,000 steps of
          16 crops of 512, flips, scales 0.5 to 2, colours; cross entropy; the encoder from ImageNet
          weights; 46.5 IoU on ADE20K's validation images (recalled, not checked).
Data      VOC 2012 "trainaug", 10,582 images train, 1449 validate; 21 classes.
Reached   not run yet.
Command   python -m jaxseg.train --config configs/segformer_mit_b2_voc2012.py \
              --workdir runs/segformer_mit_b2_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

from jaxseg.augment import Augment
from jaxseg.data import VOC2012, Data
from jaxseg.encoders import create
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import SegFormer
from jaxseg.optimizers import AdamW, Poly
from jaxseg.recipes import Supervised


def experiment() -> Experiment:
    """The experiment."""
    return Experiment(
        recipe=Supervised(
            model=SegFormer(num_classes=21, encoder=create("mit_b2"), width=768),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=AdamW(
                learning_rate=Poly(peak=6e-4, power=1.0, warmup=1500), weight_decay=0.01
            ),
            rates=(("encoder", 0.1),),
            augment=Augment(
                flip=(0.0, 0.5), scale=(0.5, 2.0), brightness=0.125, contrast=(0.5, 1.5)
            ),
        ),
        data=Data(dataset=VOC2012(train="trainaug"), root="data/VOC2012", patch=(512, 512)),
        steps=160_000,
        batch_size=16,
        evaluation=Evaluation(every=1000, window=(512, 512), metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=1000, best="iou"),
    )
