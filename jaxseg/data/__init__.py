"""Data sets, patch sampling and the grain pipeline; a data set a file."""

from collections.abc import Callable
from typing import Any

from jaxseg.data.camvid import CamVid
from jaxseg.data.dsb2018 import DSB2018
from jaxseg.data.folder import Folder
from jaxseg.data.hippocampus import Hippocampus
from jaxseg.data.isbi2012 import ISBI2012
from jaxseg.data.normalize import Channels, Normalize, Percentile, Range, Unit, ZScore
from jaxseg.data.pipeline import Batches, Data
from jaxseg.data.protocols import DataSet, Source, check_data_set
from jaxseg.data.shares import Shares
from jaxseg.data.streams import Stream, check_streams, train_batches
from jaxseg.data.synthetic import Synthetic
from jaxseg.data.tfds import TFDS
from jaxseg.data.unread import Unread
from jaxseg.data.weight_map import WeightMap

DATASETS: dict[str, Callable[..., Any]] = {
    "camvid": CamVid,
    "dsb2018": DSB2018,
    "folder": Folder,
    "hippocampus": Hippocampus,
    "isbi2012": ISBI2012,
    "synthetic": Synthetic,
    "tfds": TFDS,
}

__all__ = [
    "DATASETS",
    "DSB2018",
    "ISBI2012",
    "TFDS",
    "Batches",
    "CamVid",
    "Channels",
    "Data",
    "DataSet",
    "Folder",
    "Hippocampus",
    "Normalize",
    "Percentile",
    "Range",
    "Shares",
    "Source",
    "Stream",
    "Synthetic",
    "Unit",
    "Unread",
    "WeightMap",
    "ZScore",
    "check_data_set",
    "check_streams",
    "train_batches",
]
