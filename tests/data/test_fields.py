"""What a case may hold: every field by its role, and none lost in silence."""

import logging
from dataclasses import dataclass

import numpy as np
import pytest

from jaxseg.data import Data, DataSet, Source, Unread, WeightMap, check_data_set
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
    for name in ("streams", "valid", "statistics", "points"):
        with pytest.raises(UserError, match=f"field '{name}'"):
            batch_of(Made(((name, np.ones((8, 8))),)))


def whole(**fields):
    return Objects(**{"boxes": np.zeros((2, 4)), "classes": np.asarray([1, 2]), **fields})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("image", np.zeros((8, 8), np.uint8), "an image of 2 axes; .* rank=2 has 3"),
        ("image", np.zeros((2, 8, 8, 1), np.uint8), "an image of 4 axes"),
        ("image", np.zeros((8, 8, 1), complex), "image holds complex128"),
        ("image", [[1]], "image is list; give a numpy array"),
        ("label", np.full((8, 8), 0.5), "the mask holds fractions"),
        ("label", np.zeros((8, 9), int), "the mask is 8 x 9 and its image .* is 8 x 8"),
        ("instance", np.ones((9, 12), int), "instance is 9 x 12 and its image .* is 8 x 8"),
        ("instance", np.full((8, 8), 1.5), "instance: the mask holds fractions"),
        ("instance", np.full((8, 8), 2**31), r"instance holds numbers outside \[-1, 2\^31\)"),
        ("weight", np.ones((9, 12)), "weight is 9 x 12 and its image .* is 8 x 8"),
        ("weight", np.full((8, 8), np.nan), "weight: 64 pixels are NaN"),
        ("present", np.ones(5, bool), r"present is bool \[5\]; give bool \[3\]"),
        ("present", np.ones(3, int), r"present is int64 \[3\]; give bool"),
        ("domain", 1.5, "domain=1.5; give one whole number"),
        ("domain", np.ones(3, int), "give one whole number"),
        ("objects", {"boxes": []}, "objects are dict; give jaxseg.types.Objects"),
        ("objects", whole(classes=np.ones(3, int)), "objects.classes is of 3, of 2 boxes"),
        ("objects", whole(scores=np.ones(1)), "objects.scores is of 1, of 2 boxes"),
        ("objects", whole(boxes=np.zeros((2, 3))), "objects.boxes of 2 x 3; give n x 4"),
        ("objects", whole(boxes=np.asarray([[0, 0, 1, 1], [3, 0, 2, 1]])), "not y0 <= y1"),
        ("objects", whole(classes=np.asarray([1, 3])), "objects.classes holds 3 with num_classes"),
    ],
)
def test_what_a_field_cannot_hold_is_refused_with_the_case(name, value, said):
    with pytest.raises(UserError, match=f"Cases case .: .*{said}"):
        batch_of(Made(((name, value),)), objects=3, patch=None if name == "objects" else (4, 4))


def test_a_case_without_image_or_that_is_none_is_refused():
    @dataclass(frozen=True)
    class Bare(Made):
        def open(self, root, split):
            return [{"name": "a", "label": np.zeros((8, 8), int)}, None]

    with pytest.raises(UserError, match="list case 0: the case has no image; there is name, label"):
        Data(dataset=Bare()).cases("train")[0]
    with pytest.raises(UserError, match="list case 1: the case is NoneType; give a dict"):
        Data(dataset=Bare()).cases("train")[1]


def test_fields_come_in_the_dtypes_of_a_batch():
    more = (("weight", np.ones((8, 8))), ("instance", np.ones((8, 8), np.uint8)))
    boxes = Objects(np.zeros((1, 4)), np.ones(1, int), np.ones((1, 5, 5)), np.ones(1))
    batch = batch_of(Made((*more, ("objects", boxes))), objects=2)
    assert batch.weight.dtype == np.float32 and batch.instance.dtype == np.int32
    assert {x.dtype for x in batch.objects if x is not None} == {np.dtype("f4"), np.dtype("i4")}
    assert batch.objects.masks.shape == (4, 2, 5, 5)


def test_what_the_patch_has_beyond_its_image_is_filled_by_role():
    more = (("weight", np.ones((8, 8))), ("instance", np.full((8, 8), 3)), ("domain", 1))
    batch = batch_of(Made(more), patch=(12, 8))
    assert (batch.label[:, 8:] == IGNORE).all() and (batch.instance[:, 8:] == IGNORE).all()
    assert (batch.weight[:, 8:] == 0).all() and (batch.weight[:, :8] == 1).all()
    np.testing.assert_array_equal(batch.image[:, 8:], batch.image[:, 3:7][:, ::-1])


def test_weights_of_the_case_and_a_weight_map_exclude_each_other():
    with pytest.raises(UserError, match="weights of its own, which data.weight_map would replace"):
        batch_of(Made((("weight", np.ones((8, 8))),)), weight_map=WeightMap())


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


def test_objects_that_are_left_out_are_said_once(caplog):
    more = (("objects", Objects(np.zeros((3, 4)), np.ones(3, int))),)
    with caplog.at_level(logging.WARNING, "jaxseg"):
        batch_of(Made(more), objects=2)
    (line,) = [record.message for record in caplog.records if record.name == "jaxseg"]
    assert "3 objects, of which data.objects=2 keeps the largest" in line and "\n" not in line


def test_every_cache_keeps_objects_and_needs_no_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    boxes = Objects(np.zeros((2, 4)), np.ones(2, int), crowd=np.asarray([True, False]))
    read = []

    class Keyed(Cases):
        def key(self, index):
            return str(index)

        def __getitem__(self, index):
            read.append(index)
            case = super().__getitem__(index)
            del case["name"]
            return case | {"objects": boxes, "domain": 4}

    monkeypatch.setattr(Made, "open", lambda self, root, split: Keyed(self))
    for cache in ("memory", "disk"):
        cases = Data(dataset=Made(), cache=cache).cases("train")
        first, again = cases[1], cases[1]
        assert read == [1] and first["name"] == again["name"] == "Keyed case 1"
        assert isinstance(again["objects"], Objects) and again["domain"] == 4
        for one, other in zip(again["objects"], boxes, strict=True):
            assert (one is None) == (other is None)
            np.testing.assert_array_equal(one, other)
        read.clear()


def test_a_transform_that_gives_no_case_is_named():
    class Nothing:
        def __call__(self, case):
            return None

        def __repr__(self):
            return "Nothing()"

    with pytest.raises(UserError, match=r"the case of data.prepare=Nothing\(\) is NoneType"):
        batch_of(Made(), prepare=(Nothing(),))


@pytest.mark.parametrize("name", ["sampling", "cache", "labels"])
def test_a_word_that_is_none_of_the_choices_is_refused(name):
    data = Data(dataset=Made())
    object.__setattr__(data, name, "x")  # past the types that the tests hold everything to
    with pytest.raises(UserError, match=f"data.{name}='x': must be one of "):
        data.__post_init__()


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


def test_what_training_does_not_look_at_is_scored_all_the_same():
    for labels in ("hidden", "optional"):
        cases = Data(dataset=Made(), labels=labels).cases("validation")
        assert set(np.unique(cases[2]["label"])) == {2}
    assert "label" not in Data(dataset=Made(labelled=False), labels="optional").cases("train")[0]


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


def test_own_classes_are_data_sets_and_sources_by_what_they_have():
    assert isinstance(Made(), DataSet) and isinstance(Made().open("", "train"), Source)
    assert not isinstance(object(), DataSet) and not isinstance(object(), Source)
    check_data_set(Made())
    check_data_set(Unread(num_classes=2, channels=3))


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_data_of_an_imported_run_cannot_be_read(split):
    data = Data(dataset=Unread(num_classes=3, channels=1, class_names=("a", "b", "c")))
    with pytest.raises(UserError, match=f"imported and reads no data, so it has no {split} split"):
        data.cases(split)
