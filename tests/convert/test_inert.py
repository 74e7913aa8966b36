"""Pickles that would run something are refused by the name of what they ask for."""

import collections
import copyreg
import os
import pickle
import re
import zipfile
from pathlib import Path

import pytest

from jaxseg.convert import read
from jaxseg.convert.inert import _CALLS
from jaxseg.errors import UserError

GOLDEN = Path(__file__).parent.parent / "golden" / "weights_files"

MAGIC = 0x1950A86A20F9469CFC6C


class Evil:
    """Pickles as a call of anything."""

    def __init__(self, function, *given):
        self.reduced = function, given

    def __reduce__(self):
        return self.reduced


def named(module, name):
    """The opcodes that push a name, of protocol 2."""
    return b"c%s\n%s\n" % (module.encode(), name.encode())


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def stored(folder, form, pickled):
    """The pickle as the object of a file of ``torch.save``."""
    path = folder / "evil.pth"
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("evil/data.pkl", pickled)
            archive.writestr("evil/byteorder", "little")
    else:
        head = (pickle.dumps(x, 2) for x in (MAGIC, 1001, {"little_endian": True}))
        path.write_bytes(b"".join(head) + pickled + pickle.dumps([], 2))
    return path


FORMS = ("zip", "stream")
TENSOR = named("torch._utils", "_rebuild_tensor_v2")


@pytest.fixture
def witness(tmp_path):
    """A shell command that would leave a file, and the file."""
    path = tmp_path / "it_ran"
    yield f"touch {path}", path
    assert not path.exists()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("protocol", range(6))
def test_a_shell_command_is_refused_by_name(tmp_path, witness, form, protocol):
    command, _ = witness
    pickled = pickle.dumps({"weight": Evil(os.system, command)}, protocol)
    path = stored(tmp_path, form, pickled)
    with pytest.raises(UserError, match=rf"{path}: asks for (posix|nt)\.system"):
        read(path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"), ("posix", "system"), ("subprocess", "Popen"), ("builtins", "eval"),
        ("__builtin__", "eval"), ("builtins", "exec"), ("builtins", "getattr"),
        ("torch.hub", "load"), ("torch", "load"), ("torch.serialization", "load"),
        ("numpy", "load"), ("runpy", "run_path"), ("operator", "attrgetter"),
        ("functools", "partial"), ("pickle", "loads"), ("importlib", "import_module"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"), ("torch._utils", "__builtins__"),
        ("jaxseg.convert.inert", "Call"), ("collections", "OrderedDict.__init__.__globals__"),
    ],
)  # fmt: skip
def test_names_that_run_or_reach_things_are_refused(tmp_path, witness, form, module, name):
    command, _ = witness
    code = f"__import__('os').system({command!r})"
    pickled = b"\x80\x02" + named(module, name) + text(code) + b"\x85R."
    asked = re.escape(f"{module.replace('__builtin__', 'builtins')}.{name}")
    with pytest.raises(UserError, match=f"asks for {asked},"):
        read(stored(tmp_path, form, pickled))


def test_opcodes_that_make_objects_find_the_same_names_only(tmp_path, witness):
    command, _ = witness
    line = command.encode()
    for pickled in (
        b"(S'%s'\nios\nsystem\n." % line,  # INST
        b"(cos\nsystem\nS'%s'\no." % line,  # OBJ
        b"\x80\x04" + text("os") + text("system") + b"\x93" + text(command) + b"\x85R.",
        b"\x80\x02" + named("os", "system") + text(command) + b"\x85\x81.",  # NEWOBJ
        b"\x80\x04" + named("os", "system") + text(command) + b"\x85}\x92.",  # NEWOBJ_EX
    ):
        with pytest.raises(UserError, match=r"asks for os\.system"):
            read(stored(tmp_path, "zip", pickled))


def test_a_call_within_the_arguments_of_a_tensor_is_refused(tmp_path, witness):
    command, _ = witness
    call = named("posix", "system") + text(command) + b"\x85R"
    of_type = named("torch._tensor", "_rebuild_from_type_v2")
    hostile = named("posix", "system") + b"N" + text(command) + b"\x85N"
    for pickled in (
        b"\x80\x02" + TENSOR + b"(" + call + b"K\x00))tR.",
        b"\x80\x02" + of_type + b"(" + hostile + b"tR.",
        b"\x80\x02ccollections\nOrderedDict\n(" + call + b"tR.",
        b"\x80\x02" + call + b"Q.",  # as a persistent id
    ):
        with pytest.raises(UserError, match=r"asks for posix\.system"):
            read(stored(tmp_path, "zip", pickled))


def test_a_tensor_of_a_type_is_made_by_functions_of_tensors_only(tmp_path):
    of_type = named("torch._tensor", "_rebuild_from_type_v2")
    for other in (b"ccollections\nOrderedDict\n", named("argparse", "Namespace"), text("eval")):
        pickled = b"\x80\x02" + of_type + b"(" + other + b"N)NtR."
        with pytest.raises(UserError, match="no function of PyTorch"):
            read(stored(tmp_path, "zip", pickled))


def test_extensions_of_copyreg_are_refused_though_they_are_cached(tmp_path, witness):
    command, _ = witness
    copyreg.add_extension("posix", "system", 240)
    try:
        pickle.loads(pickle.dumps(os.system, 2))  # now it is in the cache of extensions
        pickled = b"\x80\x02\x82\xf0" + text(command) + b"\x85R."
        with pytest.raises(UserError, match="asks for extension 240"):
            read(stored(tmp_path, "zip", pickled))
    finally:
        copyreg.remove_extension("posix", "system", 240)


@pytest.mark.parametrize(
    "target",
    [
        TENSOR,
        b"ccollections\nOrderedDict\n",
        named("argparse", "Namespace"),
        named("torch", "FloatStorage"),
        b"]",
    ],
)
@pytest.mark.parametrize("slots", [False, True])
def test_no_state_is_set_on_what_a_name_gives(tmp_path, target, slots):
    state = b"}(" + text("function") + b"K\x01" + text("__setstate__") + b"K\x01u"
    pickled = b"\x80\x02" + target + (b"N" + state + b"\x86" if slots else state) + b"b."
    before = dict(vars(_CALLS["torch._utils._rebuild_tensor_v2"]))
    with pytest.raises(UserError, match="a truncated or damaged PyTorch file"):
        read(stored(tmp_path, "zip", pickled))
    assert dict(vars(_CALLS["torch._utils._rebuild_tensor_v2"])) == before
    assert not hasattr(collections.OrderedDict, "function")


def test_a_persistent_id_that_is_no_storage_is_refused(tmp_path):
    for pid in (b"K\x01", text("module"), b"(" + text("module") + b"NNNt"):
        with pytest.raises(UserError, match="no storage"):
            read(stored(tmp_path, "zip", b"\x80\x02" + pid + b"Q."))


def test_a_pickle_that_would_fill_the_memory_is_refused(tmp_path):
    for pickled in (
        b"\x80\x02Nr\xff\xff\xff\xff.",
        b"Np999999999\n.",
        b"\x80\x04\x8e" + b"\x7f" * 8,
    ):
        with pytest.raises(UserError, match="a truncated or damaged"):
            read(stored(tmp_path, "zip", pickled))


def test_dictionaries_within_themselves_end(tmp_path):
    pickled = b"\x80\x02}q\x00" + text("self") + b"h\x00s."
    with pytest.raises(UserError, match="holds no arrays by name"):
        read(stored(tmp_path, "zip", pickled))


def test_a_refused_file_leaves_no_trace_on_those_read_after_it(tmp_path):
    """A default of one of our functions would turn the floats of every later file to integers."""
    state = b"}" + text("__kwdefaults__") + b"}" + text("dtype") + text("int32") + b"ss"
    with pytest.raises(UserError, match="no state is set on it"):
        read(stored(tmp_path, "zip", b"\x80\x02" + TENSOR + b"N" + state + b"\x86b."))
    assert read(GOLDEN / "two.pth", key="model")["a"].tolist() == [1, 1]
