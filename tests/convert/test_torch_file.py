"""PyTorch's own files, number for number, and what damage does to them."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxseg.convert import read
from jaxseg.errors import UserError

HERE = Path(__file__).parent.parent / "golden" / "weights_files"
NUMBERS = np.load(HERE / "numbers.npz")
FILES = sorted({name.partition("/")[0] for name in NUMBERS.files} - {"stray.pth"})


def expected(file):
    return {n.partition("/")[2]: NUMBERS[n] for n in NUMBERS.files if n.startswith(f"{file}/")}


def zipped(path, change):
    """Write the golden file again, each record through ``change(name, bytes)``."""
    with zipfile.ZipFile(HERE / path.name) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            if (content := change(info.filename, old.read(info))) is not None:
                new.writestr(info.filename, content)


@pytest.mark.parametrize("file", FILES)
def test_every_number_is_pytorchs(file):
    got = read(HERE / file, key="ema" if file == "two.pth" else "")
    wanted = expected(file)
    assert sorted(got) == sorted(wanted)
    for name, array in wanted.items():
        kind = name if name.startswith("float8") else array.dtype  # numpy.savez has none of 8 bits
        assert (got[name].dtype, got[name].shape) == (kind, array.shape), name
        np.testing.assert_array_equal(got[name].astype(array.dtype), array, err_msg=name)
        assert got[name].flags.c_contiguous and got[name].flags.writeable


def test_the_golden_files_cover_both_forms_and_all_views():
    assert {"views.pth", "views_legacy.pth", "kinds.pt", "kinds_legacy.pt"} <= set(FILES)
    assert {"bfloat16", "float8_e5m2", "bool", "complex128"} <= set(expected("kinds.pt"))
    assert {"transposed", "expanded", "conjugate", "none"} <= set(expected("views.pth"))


def test_bytes_in_the_other_order_are_turned(tmp_path):
    kinds = expected("kinds.pt")
    sizes = {"float16": 2, "bfloat16": 2, "complex64": 4, "complex128": 8}
    sizes |= {"float8_e4m3fn": 1, "float8_e5m2": 1}
    size_of = [sizes.get(name) or array.dtype.itemsize for name, array in kinds.items()]

    def turned(name, content):
        if name.endswith("byteorder"):
            return b"big"
        if "/data/" not in name:
            return content
        size = size_of[int(name.rpartition("/")[2])]
        return np.frombuffer(content, f"u{size}").byteswap().tobytes()

    zipped(tmp_path / "kinds.pt", turned)
    got = read(tmp_path / "kinds.pt")
    for name, array in kinds.items():
        np.testing.assert_array_equal(got[name].astype(array.dtype), array, err_msg=name)


@pytest.mark.parametrize("file", FILES)
def test_a_file_cut_off_anywhere_is_one_line(tmp_path, file):
    content = (HERE / file).read_bytes()
    for share in (0.01, 0.3, 0.6, 0.9, 0.999):
        path = tmp_path / file
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(UserError, match=str(path)) as refused:
            read(path, key="ema" if file == "two.pth" else "")
        assert "\n" not in str(refused.value)


def test_one_flipped_bit_in_a_zip_is_refused(tmp_path):
    content = bytearray((HERE / "views.pth").read_bytes())
    at = content.find(np.arange(24, dtype=np.float32).tobytes())
    content[at + 7] ^= 1
    (tmp_path / "views.pth").write_bytes(content)
    with pytest.raises(UserError, match="damaged PyTorch file .record views/data/0"):
        read(tmp_path / "views.pth")


def test_a_record_that_is_short_or_absent_is_refused(tmp_path):
    path = tmp_path / "views.pth"
    for change in (lambda content: content[:-4], lambda content: None):
        zipped(path, lambda name, old, f=change: f(old) if name.endswith("data/0") else old)
        with pytest.raises(UserError, match="damaged PyTorch file .record views/data/0"):
            read(path)


def test_a_stray_tensor_does_not_hide_the_weights_beside_it():
    name = HERE / "stray.pth"
    assert set(read(name)) == {"a", "b"}
    assert set(read(name, key="state_dict")) == {"a", "b"}


def test_a_whole_network_is_refused_by_name():
    with pytest.raises(UserError, match=r"asks for torch\.nn\.modules.*Sequential, .*state_dict"):
        read(HERE / "whole_network.pth")
