import ctypes
import errno
import os
import pickle
import sys
import types

import numpy as np
import pytest

from jaxseg.data import claims
from jaxseg.data.cache import Disk, Memory, Nothing, default_folder
from jaxseg.errors import UserError
from jaxseg.types import Objects


def maker(calls, size=100):
    def make():
        calls.append(1)
        return {"name": "a", "image": np.arange(size, dtype=np.uint8)}

    return make


def test_memory_decodes_once_until_it_is_full():
    calls, cache = [], Memory(limit=150)
    for _ in range(3):
        cache.fetch("a", maker(calls))
    assert len(calls) == 1 and cache.used == 100
    for _ in range(3):
        cache.fetch("b", maker(calls))  # does not fit: decoded each time
    assert len(calls) == 4 and cache.used == 100


def test_memory_arrives_empty_in_another_process():
    cache = Memory(limit=150)
    cache.fetch("a", maker([]))
    sent = pickle.loads(pickle.dumps(cache))
    assert (sent.limit, sent.used) == (150, 0)


def test_nothing_is_kept_by_nothing():
    calls = []
    for _ in range(2):
        Nothing().fetch("a", maker(calls))
    assert len(calls) == 2


def test_disk_keeps_across_runs_and_maps_what_is_large(tmp_path):
    calls = []
    for _ in range(2):
        case = Disk(tmp_path).fetch("a", maker(calls, size=2**20))
        assert case["name"] == "a" and isinstance(case["image"], np.memmap)
        np.testing.assert_array_equal(case["image"], np.arange(2**20, dtype=np.uint8))
    assert len(calls) == 1
    Disk(tmp_path).fetch("another key", maker(calls))
    assert len(calls) == 2


def test_a_damaged_entry_is_made_again(tmp_path):
    calls = []
    Disk(tmp_path).fetch("a", maker(calls))
    next(tmp_path.glob("*/image.npy")).write_bytes(b"half")
    case = Disk(tmp_path).fetch("a", maker(calls))
    assert len(calls) == 2 and case["image"].size == 100


def test_what_lies_on_disk_as_an_array_is_not_copied(tmp_path):
    np.save(tmp_path / "own.npy", np.zeros(10))
    cache = tmp_path / "cache"
    Disk(cache).fetch("a", lambda: {"name": "a", "image": np.load(tmp_path / "own.npy", "r")})
    assert not cache.exists()


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(UserError, match="cannot be written .No space left"):
        Disk(tmp_path).fetch("a", maker([]))
    assert list(tmp_path.iterdir()) == []


def test_objects_count_in_memory_as_other_arrays_do():
    cache = Memory(limit=10**6)
    boxes = Objects(np.zeros((3, 4), np.float32), np.zeros(3, np.int32), np.zeros((3, 8, 8), "f4"))
    cache.fetch("a", lambda: {"name": "a", "image": np.zeros(10, np.uint8), "objects": boxes})
    assert cache.used == 10 + 3 * (16 + 4 + 256)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep caches elsewhere")
def test_the_folder_is_among_the_systems_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "jaxseg" / "decoded"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "jaxseg" / "decoded"


def test_the_memory_is_that_of_the_machine_or_of_its_container(tmp_path, monkeypatch):
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(claims, "_CGROUP", tmp_path / "memory.max")
    assert claims.memory() == physical
    for said, expected in (("max", physical), ("1048576", 2**20)):
        (tmp_path / "memory.max").write_text(f"{said}\n")
        assert claims.memory() == expected


def test_the_memory_is_known_where_there_is_no_sysconf(tmp_path, monkeypatch):
    def fill(pointer):
        pointer._obj.total = 2**33

    kernel = types.SimpleNamespace(GlobalMemoryStatusEx=fill)
    monkeypatch.setattr(claims, "_CGROUP", tmp_path / "none")
    monkeypatch.setattr(ctypes, "windll", types.SimpleNamespace(kernel32=kernel), raising=False)
    monkeypatch.delattr(os, "sysconf")
    assert claims.memory() == 2**33
