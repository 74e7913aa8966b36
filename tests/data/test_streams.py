"""Further data beside the main data: batches of their own sizes, one state for all."""

from dataclasses import dataclass

import numpy as np
import pytest

from jaxseg.data import Data, Stream, Synthetic, check_streams, train_batches
from jaxseg.errors import UserError

MAIN = Data(dataset=Synthetic(size=(16, 16), count=(6, 1, 1)), patch=(8, 8))
MORE = Data(dataset=Synthetic(size=(20, 20), count=(5, 1, 1), seed=1), patch=(12, 12))


@dataclass(frozen=True)
class Colour:
    """Images of three channels."""

    num_classes = 2
    channels = 3
    rank = 2
    class_names = ()
    bad: bool = False

    def open(self, root, split):
        image = np.full((8, 8, 3), np.nan if self.bad else 0, np.float32)
        return [{"name": "a", "image": image, "label": np.zeros((8, 8), np.int32)}] * 4


def batches(streams, rows_of=lambda size: slice(0, size), seed=3):
    return train_batches(MAIN, streams, batch_size=4, seed=seed, rows_of=rows_of)


def test_each_stream_has_batches_of_its_own_size():
    both = batches({"more": Stream(data=MORE, batch_size=2), "same": Stream(data=MORE)})
    batch = next(both)
    assert batch.image.shape == (4, 8, 8, 1)
    assert {k: b.image.shape for k, b in batch.streams.items()} == {
        "more": (2, 12, 12, 1),
        "same": (4, 12, 12, 1),
    }
    assert batch.streams["more"].streams is None
    both.close()


def test_without_streams_there_is_nothing_beside():
    only = batches({})
    assert next(only).streams is None and only.get_state() == {"next_index": 1}
    only.close()


def test_a_stream_is_what_it_is_whatever_stands_beside_it():
    alone = batches({"more": Stream(data=MORE, batch_size=2)})
    beside = batches({"a": Stream(data=MAIN), "more": Stream(data=MORE, batch_size=2)})
    for _ in range(3):
        one, other = next(alone), next(beside)
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.streams["more"].image, other.streams["more"].image)
    assert abs(next(beside).streams["a"].image - next(beside).image).max() > 0
    alone.close()
    beside.close()


def test_the_state_of_all_goes_back_to_the_same_batches():
    both = batches({"more": Stream(data=MORE, batch_size=2)})
    next(both)
    state = both.get_state()
    assert state == {"next_index": 1, "streams": {"more": {"next_index": 1}}}
    wanted = next(both)
    again = batches({"more": Stream(data=MORE, batch_size=2)})
    again.set_state(state)
    found = next(again)
    np.testing.assert_array_equal(found.image, wanted.image)
    np.testing.assert_array_equal(found.streams["more"].label, wanted.streams["more"].label)
    both.close()
    again.close()


@pytest.mark.parametrize("now", [{}, {"other": Stream(data=MORE)}])
def test_the_state_of_other_streams_is_refused(now):
    before = batches({"more": Stream(data=MORE)})
    with pytest.raises(UserError, match=r"the checkpoint has \['more'\]"):
        batches(now).set_state(before.get_state())


def test_processes_share_the_rows_of_each_stream():
    streams = {"more": Stream(data=MORE, batch_size=2)}
    halves = [
        next(batches(streams, lambda n, i=i: slice(i * n // 2, (i + 1) * n // 2))) for i in (0, 1)
    ]
    whole = next(batches(streams))
    joined = np.concatenate([half.streams["more"].image for half in halves])
    np.testing.assert_array_equal(joined, whole.streams["more"].image)


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        (Synthetic(size=(8, 8, 8)), "streams.more.data.dataset has rank 3, data.dataset has 2"),
        (Colour(), "streams.more.data.dataset has channels 3, data.dataset has 1"),
    ],
)
def test_data_that_one_network_cannot_see_is_refused(dataset, said):
    with pytest.raises(UserError, match=said):
        check_streams(MAIN, {"more": Stream(data=Data(dataset=dataset))})
    with pytest.raises(UserError, match="streams.batch_size=0: must be at least 1"):
        Stream(data=MORE, batch_size=0)


def test_an_error_of_a_stream_names_it():
    empty = Data(dataset=Synthetic(size=(8, 8), count=(0, 1, 1)))
    with pytest.raises(UserError, match="streams.more: .*train split is empty"):
        batches({"more": Stream(data=empty)})


def test_an_error_while_a_stream_is_read_names_it_and_ends_all_of_them():
    broken = Data(dataset=Colour(bad=True), patch=(8, 8))
    both = batches({"good": Stream(data=MORE), "bad": Stream(data=broken)})
    with pytest.raises(UserError, match="streams.bad: list case .*: 192 pixels are NaN"):
        next(both)
    assert both._main._running is None
    assert all(stream._running is None for stream in both._streams.values())


def test_the_order_in_which_streams_are_named_changes_nothing():
    one, other = Stream(data=MORE, batch_size=2), Stream(data=MAIN, batch_size=2)
    first, second = batches({"a": one, "b": other}), batches({"b": other, "a": one})
    for name in ("a", "b"):
        np.testing.assert_array_equal(
            next(first).streams[name].image, next(second).streams[name].image
        )
    assert first.get_state() == second.get_state()
    first.close()
    second.close()
