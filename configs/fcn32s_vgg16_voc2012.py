"""FCN-32s on VGG16, the first stage of "heavy learning", on Pascal VOC 2012.

Paper     Shelhamer, Long, Darrell 2017, https://arxiv.org/abs/1605.06211: SGD of single whole
          images with momentum 0.99, weight decay 5e-4 and a rate of 1e-10 of the loss **summed**
          over the pixels (here its mean times 500 x 375), biases at twice the rate and without
          decay, 100,000 steps, no augmentation, from VGG16's
          ImageNet weights (here from random ones, until another run gives those), 8,498 images of
          SBD (here trainaug).
          Images are blue, green, red to 255, less their mean: ``standardize``.
Reports   mean IoU 63.6 on the 736 images of seg11valid (released network)
Reached   not run yet
Command   python -m jaxseg.train --config configs/fcn32s_vgg16_voc2012.py \
              --workdir runs/fcn32s_vgg16_voc2012 data.root=PATH/VOCdevkit/VOC2012
"""

from jaxseg.data import VOC2012, Data
from jaxseg.encoders import Standardize
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.models import FCN2015
from jaxseg.optimizers import SGD
from jaxseg.recipes import Supervised

CAFFE = Standardize(
    mean=(104.00699, 116.66877, 122.67892), std=(1.0, 1.0, 1.0), scale=255.0, order="bgr"
)


def experiment() -> Experiment:
    """The experiment; a patch of 500 x 500 is a whole image, and no pixel beyond it counts."""
    return Experiment(
        recipe=Supervised(
            model=FCN2015(num_classes=21, form="32s", standardize=CAFFE),
            losses={"cross_entropy": CrossEntropy(weight=500.0 * 375.0)},
            optimizer=SGD(learning_rate=1e-10, momentum=0.99, weight_decay=5e-4),
            rates=(("*/bias", 2.0),),
        ),
        data=Data(
            dataset=VOC2012(train="trainaug"), root="data/VOCdevkit/VOC2012", patch=(500, 500)
        ),
        steps=100_000,
        batch_size=1,
        evaluation=Evaluation(every=4000, metrics=("iou", "accuracy"), window_batch=1),
        checkpoint=Checkpoints(every=4000, best="iou"),
    )
