"""Data sets, patch sampling and the grain pipeline; a data set a file."""

from collections.abc import Callable
from typing import Any

from jaxseg.data.auto import Auto
from jaxseg.data.by_channel import ByChannel
from jaxseg.data.camvid import CamVid
from jaxseg.data.class_shares import ClassShares
from jaxseg.data.coco import COCO
from jaxseg.data.dsb2018 import DSB2018
from jaxseg.data.folder import Folder
from jaxseg.data.grid import Grid, Place
from jaxseg.data.hippocampus import Hippocampus
from jaxseg.data.isbi2012 import ISBI2012
from jaxseg.data.names import class_names
from jaxseg.data.nnunet import NNUNet
from jaxseg.data.normalize import CT, Channels, Normalize, Percentile, Range, Unit, ZScore
from jaxseg.data.pipeline import Batches, Data
from jaxseg.data.protocols import DataSet, Source, check_data_set
from jaxseg.data.region import Region
from jaxseg.data.streams import Stream, check_streams, train_batches
from jaxseg.data.synthetic import Synthetic
from jaxseg.data.table import Table
from jaxseg.data.tfds import TFDS
from jaxseg.data.unread import Unread
from jaxseg.data.voc2012 import VOC2012
from jaxseg.data.weight_map import WeightMap

DATASETS: dict[str, Callable[..., Any]] = {
    "camvid": CamVid,
    "coco": COCO,
    "dsb2018": DSB2018,
    "folder": Folder,
    "hippocampus": Hippocampus,
    "isbi2012": ISBI2012,
    "nnunet": NNUNet,
    "region": Region,
    "synthetic": Synthetic,
    "table": Table,
    "tfds": TFDS,
    "voc2012": VOC2012,
}

__all__ = [
    "COCO",
    "CT",
    "DATASETS",
    "DSB2018",
    "ISBI2012",
    "TFDS",
    "VOC2012",
    "Auto",
    "Batches",
    "ByChannel",
    "CamVid",
    "Channels",
    "Data",
    "DataSet",
    "Folder",
    "Grid",
    "Hippocampus",
    "NNUNet",
    "Normalize",
    "Percentile",
    "Place",
    "Range",
    "Region",
    "ClassShares",
    "Source",
    "Stream",
    "Synthetic",
    "Table",
    "Unit",
    "Unread",
    "WeightMap",
    "ZScore",
    "check_data_set",
    "check_streams",
    "class_names",
    "train_batches",
]
