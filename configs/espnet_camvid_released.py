"""ESPNet as its authors released it for CamVid: void is a twelfth class.

Paper     Mehta et al. 2018, https://arxiv.org/abs/1803.06815; the released weights ("p 2, q 8",
          sacmehta/ESPNet) expect images as blue, green, red, standardised and divided by 255.
          This config says how they are evaluated; `espnet_camvid` says how they were trained.
Data      CamVid, 367 images of 360 x 480 train, 101 validate, 233 test.
Reports   mean IoU 55.64 on the test split, void pixels counted as false positives
Reached   55.67 with void pixels as false positives, 57.18 with void ignored, class accuracy 68.35
          (the three scores below), on a copy of the images as JPEG
Command   python -m jaxseg.import_torch --library sacmehta/ESPNet --arch ESPNet \
              --kwargs '{"classes": 12, "p": 2, "q": 8}' --input PATH/weights.safetensors \
              --config configs/espnet_camvid_released.py --workdir runs/espnet_camvid_released
          python -m jaxseg.evaluate --workdir runs/espnet_camvid_released --split test \
              data.root=PATH/camvid
"""

from jaxseg.data import CamVid, Data
from jaxseg.encoders import ESPNetC, Standardize
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import CrossEntropy
from jaxseg.metrics import VoidScore
from jaxseg.models import ESPNet
from jaxseg.optimizers import Adam
from jaxseg.recipes import Supervised

STANDARDIZE = Standardize(  # of images to 255, and then / 255
    mean=(110.33139 / 255, 108.40919 / 255, 105.03353 / 255), std=(72.125206, 72.68849, 69.902596),
    order="bgr",
)  # fmt: skip


def experiment() -> Experiment:
    """The experiment; windows are the whole image."""
    return Experiment(
        recipe=Supervised(
            model=ESPNet(num_classes=12, encoder=ESPNetC(standardize=STANDARDIZE)),
            losses={"cross_entropy": CrossEntropy()},
            optimizer=Adam(learning_rate=5e-4),
        ),
        data=Data(dataset=CamVid(void="class"), root="data/camvid", patch=(360, 480)),
        steps=1,
        batch_size=6,
        evaluation=Evaluation(
            metrics=(
                VoidScore("iou", "false_positive"),
                VoidScore("iou", "ignored"),
                VoidScore("recall", "ignored"),
            ),
        ),
        checkpoint=Checkpoints(best="iou_void_false_positive"),
    )
