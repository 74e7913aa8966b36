"""A config of the lab: nothing in it but classes of its own, where jaxseg has some too."""

from lab.data import Squares
from lab.loss import Absolute
from lab.metric import Agreement
from lab.network import Dilated
from lab.recipe import Sparing

from jaxseg.data import Data
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.optimizers import AdamW
from jaxseg.sharding import MeshShape


def experiment() -> Experiment:
    """Eighty steps, in which it learns."""
    return Experiment(
        recipe=Sparing(
            Dilated(num_classes=2),
            losses={"absolute": Absolute(gamma=1.5)},
            optimizer=AdamW(learning_rate=3e-2),
        ),
        data=Data(dataset=Squares()),
        steps=80,
        batch_size=8,
        evaluation=Evaluation(every=40, metrics=("iou", Agreement())),
        checkpoint=Checkpoints(every=40, keep=2, best="agreement"),
        mesh=MeshShape(data=1),
    )
