"""Files of weights give the numbers that their writers put there, and run nothing."""

import functools
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxseg.convert import read
from jaxseg.convert.read import _picked, read_part
from jaxseg.convert.torch_file import LEGACY, MAGIC
from jaxseg.errors import UserError

FILES = Path(__file__).parent.parent / "golden" / "weights_files"


def test_of_several_weights_one_is_named():
    with pytest.raises(
        UserError,
        match=r"two.pth: holds weights at 'model', 'ema'; say which: --key model \(key=",
    ):
        read(FILES / "two.pth")
    with pytest.raises(UserError, match="no weights lie at 'emma'; the nearest is 'ema'"):
        read(FILES / "two.pth", key="emma")
    assert "a" in read(FILES / "two.pth", key="ema")


def test_a_prefix_is_taken_off_or_refused(tmp_path):
    """What has it not, such as the moments in a Lightning module, is left out."""
    file = tmp_path / "x.safetensors"
    save_file({"module.net.a": np.ones(1, "f4"), "module.std": np.ones(1, "f4")}, file)
    assert set(read(file)) == {"net.a", "std"}  # without DataParallel's
    assert set(read(file, prefix="net.")) == {"a"}
    with pytest.raises(UserError, match="no key begins with 'encoder.'; the first is net.a"):
        read(file, prefix="encoder.")


@pytest.mark.parametrize("tensors", [1, 2])
def test_loose_arrays_beside_one_dictionary_do_not_hide_it(tensors):
    one = np.ones(1)
    loose = {f"rng{i}": one for i in range(tensors)}
    weights = {"a.weight": one, "a.bias": one}
    content = {"model": weights, "optimizer": {"state": {"x": one}}, "epoch": 3, **loose}
    content["callbacks"] = {"best": {"score": one}}
    picked = functools.partial(_picked, path=Path("x.pth"))
    assert picked(content, key="") is weights
    assert picked(content, key="callbacks.best") == {"score": one}
    with pytest.raises(UserError, match="x.pth: holds weights at 'model', 'ema'; say which"):
        picked({**content, "ema": weights}, key="")


def test_a_part_is_a_dictionary_or_the_first_of_the_keys_or_both(tmp_path):
    assert set(read_part(FILES / "two.pth", "ema")) == set(read(FILES / "two.pth", key="ema"))
    file = tmp_path / "x.npz"
    np.savez(file, **{"net.encoder.a": np.ones(1), "net.head": np.ones(1)})
    assert set(read_part(file, "net.encoder")) == {"a"}
    with pytest.raises(UserError, match="x.npz: no key begins with 'ema.'; the first is net.enc"):
        read_part(file, "ema")


def test_safetensors_and_npz(tmp_path):
    arrays = {"a.weight": np.arange(6, dtype="f4").reshape(2, 3), "b": np.ones(2, "f2")}
    save_file(arrays, tmp_path / "x.bin")  # the content counts, not the name
    np.savez(tmp_path / "y.npz", **arrays)
    for name in ("x.bin", "y.npz"):
        found = read(tmp_path / name)
        np.testing.assert_array_equal(found["a.weight"], arrays["a.weight"])
        assert found["b"].dtype == np.float32


# --- files that would run something ---------------------------------------------------------------


class Hostile:
    """Pickles to a call of any function with any arguments."""

    def __init__(self, function, *given):
        self.call = (function, given)

    def __reduce__(self):
        return self.call


def named(module, name, payload):
    """A pickle that calls ``module.name(payload)``, whether there is such a function or not."""
    return f"c{module}\n{name}\n(V{payload}\ntR.".encode()


def zipped(path, pickled):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")


def legacy(path, pickled):
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    head = [pickle.dumps(part, 2) for part in (MAGIC, 1001, system)]
    assert head[0] == LEGACY
    path.write_bytes(b"".join(head) + pickled + pickle.dumps([], 2))


def hostile(mark):
    """Pickles that would make the file ``mark``, and what they ask for."""
    import os
    import subprocess

    inner = pickle.dumps({"w": Hostile(os.system, f"touch {mark}")}, 2)
    return {
        "os.system": named("os", "system", f"touch {mark}"),
        "posix.system": inner,
        "builtins.eval": named("builtins", "eval", f"open({str(mark)!r}, 'w')"),
        "builtins.exec": named("builtins", "exec", f"open({str(mark)!r}, 'w')"),
        "subprocess.run": pickle.dumps(Hostile(subprocess.run, ["touch", str(mark)]), 4),
        "torch.hub.load": named("torch.hub", "load", "x"),
        "torch._utils._rebuild_from_type_v2": named("torch._utils", "_rebuild_from_type_v2", "x"),
        "numpy.load": named("numpy", "load", "x"),
        "builtins.getattr": named("builtins", "getattr", "x"),
        "pathlib.Path": named("pathlib", "Path", "x"),
        # the old opcode of instances, and a call of an attribute's name
        "os.popen": f"(V{mark}\nios\npopen\n.".encode(),
        "torch.storage.FloatStorage.__init__": b"\x80\x04\x8c\rtorch.storage\x8c\x15"
        b"FloatStorage.__init__\x93.",
    }


@pytest.mark.parametrize("write", [zipped, legacy])
@pytest.mark.parametrize("name", hostile("mark"))
def test_a_pickle_that_would_run_something_is_refused_by_its_name(tmp_path, write, name):
    mark = tmp_path / "ran"
    write(tmp_path / "weights.pth", hostile(mark)[name])
    with pytest.raises(UserError, match="nothing of it was run") as refused:
        read(tmp_path / "weights.pth")
    assert f"asks for {name}," in str(refused.value)
    assert not mark.exists()


def test_what_a_pickle_calls_of_the_known_names_does_nothing(tmp_path):
    """A dtype is not called, and a state is put into nothing."""
    for pickled in (
        b"ctorch\nFloatStorage\n(V1\ntR.",
        b"ccollections\nOrderedDict\n)R}(V__class__\nV1\nub.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(V1\ntR.",
    ):
        zipped(tmp_path / "weights.pth", pickled)
        with pytest.raises(UserError, match=r"weights.pth: (a truncated or|holds no arrays)"):
            read(tmp_path / "weights.pth")


def test_a_tensor_cannot_see_beyond_its_storage(tmp_path):
    """Bytes of this process would be read as weights."""
    pickled = (
        b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQK\x00(K\x09t(K\x01t\x89NtRs."
    )
    with zipfile.ZipFile(tmp_path / "weights.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", np.ones(2, "f4").tobytes())
    with pytest.raises(UserError, match="a tensor reaches beyond its storage"):
        read(tmp_path / "weights.pth")


# --- files that are no weights --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"epoch,loss\n1,2\n", "no file of weights that is known"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (pickle.dumps({"a": 1}, 2), "a pickle that PyTorch did not write"),
        (pickle.dumps({"a": 1}), "a pickle that PyTorch did not write"),
        (b"\x10\0\0\0\0\0\0\0{}", "damaged safetensors"),
    ],
)
def test_a_file_without_weights_is_refused(tmp_path, content, said):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"weights.pth: {said}"):
        read(path)


def test_a_folder_an_absent_file_and_a_program_are_refused(tmp_path):
    with pytest.raises(UserError, match="a folder; name the file"):
        read(tmp_path)
    with pytest.raises(UserError, match="path='': must be a file of weights"):
        read("")
    with pytest.raises(UserError, match="x.pth: No such file"):
        read(tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", "")
        archive.writestr("x/constants.pkl", "")
    with pytest.raises(UserError, match="a program of TorchScript"):
        read(tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("x.txt", "")
    with pytest.raises(UserError, match="an archive without weights"):
        read(tmp_path / "x.zip")
    np.savez(tmp_path / "x.npz", a=np.array([{}], object))
    with pytest.raises(UserError, match="x.npz: Object arrays cannot be loaded"):
        read(tmp_path / "x.npz")


def test_names_of_the_hub_are_checked_before_anything_is_fetched():
    with pytest.raises(UserError, match=r"hf://x: (needs huggingface_hub|must be hf://owner/name)"):
        read("hf://x")
