"""What a case may hold: every field by its role, and none lost in silence."""

from dataclasses import dataclass

import numpy as np
import pytest

from jaxseg.data import Data, check_data_set
from jaxseg.data.cases import padded
from jaxseg.errors import UserError
from jaxseg.types import BATCH_FIELDS, IGNORE, Batch, Objects


@dataclass(frozen=True)
class Made:
    """Four images of 8 x 8; ``more`` is added to each case."""

    more: tuple = ()
    labelled: bool = True

    num_classes = 3
    channels = 1
    rank = 2
    class_names = ()

    def open(self, root, split):
        return Cases(self)


@dataclass(frozen=True)
class Cases:
    dataset: Made

    def __len__(self):
        return 4

    def __getitem__(self, index):
        label = np.full((8, 8), index % 3, np.int32)
        case = {"name": f"c{index}", "image": np.full((8, 8, 1), index, np.uint8)}
        case |= {"label": label} if self.dataset.labelled else {}
        return case | {name: value for name, value in self.dataset.more}


@dataclass(frozen=True)
class Merged:
    """A transform of cases: two classes become one."""

    into: int = 1

    def __call__(self, case):
        return case | {"label": np.where(case["label"] == 2, self.into, case["label"])}


def batch_of(dataset, **fields):
    batches = Data(dataset=dataset, **fields).train(batch_size=4, seed=0)
    try:
        return next(batches)
    finally:
        batches.close()


def test_every_field_of_a_batch_has_a_role():
    assert set(BATCH_FIELDS) == set(Batch._fields)


def test_a_source_without_files_or_key_is_enough():
    batch = batch_of(Made(), cache="disk")
    assert batch.image.shape == (4, 8, 8, 1) and set(np.unique(batch.label)) == {0, 1, 2}


def test_a_case_may_say_its_domain_its_classes_and_its_objects():
    objects = Objects(np.zeros((2, 4)), np.asarray([1, 2]))
    more = (("domain", 5), ("present", np.asarray([True, False, True])), ("objects", objects))
    batch = batch_of(Made(more), objects=3)
    assert batch.domain.tolist() == [5] * 4 and batch.domain.dtype == np.int32
    assert batch.present.shape == (4, 3) and batch.present.dtype == bool
    assert batch.objects.boxes.shape == (4, 3, 4)
    assert batch.objects.classes.tolist() == [[1, 2, IGNORE]] * 4
    assert batch.objects.masks is None


def test_a_field_that_no_batch_has_is_refused_by_name():
    with pytest.raises(UserError, match="Cases case 0: the case has a field 'depth', which no"):
        batch_of(Made((("depth", np.zeros((8, 8))),)))
    with pytest.raises(UserError, match="field 'streams'"):
        batch_of(Made((("streams", {}),)))


def test_objects_are_neither_cut_nor_left_without_a_number():
    more = (("objects", Objects(np.zeros((1, 4)), np.asarray([1]))),)
    with pytest.raises(UserError, match="objects cannot be cut into patches"):
        batch_of(Made(more), patch=(4, 4), objects=3)
    with pytest.raises(UserError, match="data.objects says to how many"):
        batch_of(Made(more))


def test_of_more_objects_the_largest_stay_in_their_order():
    boxes = np.asarray([[0, 0, 1, 1], [0, 0, 5, 5], [0, 0, 2, 2], [0, 0, 4, 4]])
    found = padded(
        Objects(boxes, np.asarray([7, 8, 9, 10]), crowd=np.asarray([0, 0, 0, 1], bool)), 2
    )
    assert found.classes.tolist() == [8, 10] and found.crowd.tolist() == [False, True]
    empty = padded(Objects(np.zeros((0, 4)), np.zeros(0, int)), 2)
    assert empty.classes.tolist() == [IGNORE, IGNORE] and empty.boxes.shape == (2, 4)


def test_a_prepared_case_is_what_is_trained_and_evaluated():
    data = Data(dataset=Made(), prepare=(Merged(),))
    assert set(np.unique(batch_of(Made(), prepare=(Merged(),)).label)) == {0, 1}
    assert set(np.unique(data.cases("validation")[2]["label"])) == {1}


def test_what_prepares_is_part_of_the_caches_key(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    class Keyed(Cases):
        def key(self, index):
            return str(index)

    monkeypatch.setattr(Made, "open", lambda self, root, split: Keyed(self))
    one = Data(dataset=Made(), cache="disk", prepare=(Merged(into=1),)).cases("train")[2]
    zero = Data(dataset=Made(), cache="disk", prepare=(Merged(into=0),)).cases("train")[2]
    assert set(np.unique(one["label"])) == {1} and set(np.unique(zero["label"])) == {0}


def test_labels_are_needed_optional_or_hidden():
    with pytest.raises(UserError, match='no label to train on; data.labels="optional"'):
        batch_of(Made(labelled=False))
    assert (batch_of(Made(labelled=False), labels="optional").label == IGNORE).all()
    assert (batch_of(Made(), labels="optional").label >= 0).all()
    more = (("instance", np.ones((8, 8), np.int32)), ("present", np.ones(3, bool)), ("domain", 2))
    hidden = batch_of(Made(more), labels="hidden")
    assert (hidden.label == IGNORE).all() and hidden.instance is None and hidden.present is None
    assert hidden.domain.tolist() == [2] * 4


def test_parts_are_disjoint_and_cover_all():
    seen = []
    for i in range(3):
        batch = batch_of(Made(), part=(i, 3))
        seen.append(set((255 * batch.image[:, 0, 0, 0]).round().astype(int).tolist()))
    assert set.union(*seen) == {0, 1, 2, 3} and sum(map(len, seen)) == 4
    with pytest.raises(UserError, match=r"data.part=\(4, 5\) of the train split is empty"):
        batch_of(Made(), part=(4, 5))
    with pytest.raises(UserError, match=r"data.part=\(3, 3\): must be \(i, n\)"):
        Data(dataset=Made(), part=(3, 3))


def test_cases_with_and_without_a_field_are_no_batch():
    class Half(Cases):
        def __getitem__(self, index):
            case = super().__getitem__(index)
            return case | ({"domain": 1} if index % 2 else {})

    @dataclass(frozen=True)
    class Mixed(Made):
        def open(self, root, split):
            return Half(self)

    with pytest.raises(UserError, match="some cases have domain and others do not"):
        batch_of(Mixed())


def test_what_an_own_data_set_lacks_is_said():
    class Bare:
        rank = 2

    with pytest.raises(UserError, match="Bare has no num_classes, class_names, channels, open"):
        check_data_set(Bare())
    with pytest.raises(UserError, match=r"data.dataset=Made: expected an object"):
        check_data_set(Made)

    class Closed(Made):
        def open(self, root, split):
            return object()

    with pytest.raises(UserError, match="gives object, which has no __len__, __getitem__"):
        batch_of(Closed())
