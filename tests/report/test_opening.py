import io
import time
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from jaxseg.data import ClassShares
from jaxseg.report import opening
from jaxseg.sharding import MeshShape


def test_the_lines_stand_in_two_columns():
    mesh = MeshShape(data=2, fsdp=4).build()
    shares = ClassShares(np.array([3, 1]), 0, 4, 4)
    cases = {"train": 4, "validation": 2}
    assert opening.opening_lines(mesh, cases, shares, ("sky", "road"), 31_038_933) == [
        "devices     8 x cpu, mesh data 2 x fsdp 4 x spatial 1",
        "cases       train 4, validation 2",
        "pixels      sky 75.0 %, road 25.0 %",
        "parameters  31,038,933",
    ]
    absent = ClassShares(np.array([4, 0]), 0, 4, 4)
    lines = opening.opening_lines(mesh, cases, absent, ("sky", "road"), 1)
    assert lines[3].startswith("class 1 (road): no pixel in the 4 cases to train on")
    assert len(opening.opening_lines(mesh, cases, None, (), 1)) == 3


def compiled(arguments=0, results=0, shared=0, between=0):
    found = SimpleNamespace(
        argument_size_in_bytes=arguments,
        output_size_in_bytes=results,
        alias_size_in_bytes=shared,
        temp_size_in_bytes=between,
    )
    return SimpleNamespace(memory_analysis=lambda: found)


def test_memory_is_arguments_results_that_are_no_arguments_and_what_is_between(monkeypatch):
    step = compiled(3 << 20, 2 << 20, 1 << 20, 12 << 20)
    monkeypatch.setattr(opening, "capacity", lambda: 79 << 30)
    assert opening.compiled_lines(step, 4.23) == [
        "compiled    in 4.2 s",
        "memory      16 MiB of 79.0 GiB a device for one step",
    ]
    monkeypatch.setattr(opening, "capacity", lambda: 0)
    line = opening.compiled_lines(compiled(700), 1.0)[1]
    assert line == "memory      700 bytes a device for one step"


@pytest.mark.parametrize("given", [None, NotImplementedError])
def test_a_platform_that_tells_nothing_of_memory_is_passed_over(given):
    def tells():
        if given is not None:
            raise given
        return None

    step = SimpleNamespace(memory_analysis=tells)
    assert opening.compiled_lines(step, 1.0) == ["compiled    in 1.0 s"]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_clock_moves_on_a_terminal_and_only_there(monkeypatch, terminal):
    out = Console(file=io.StringIO(), force_terminal=terminal, width=80)
    monkeypatch.setattr(opening, "Console", lambda: out)
    with opening.clock("compiling") as clock:
        time.sleep(0.02)
    assert 0.02 <= clock.seconds < 5
    assert ("compiling" in out.file.getvalue()) == terminal


def test_a_clock_of_another_process_shows_nothing(monkeypatch):
    out = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr(opening, "Console", lambda: out)
    with opening.clock("compiling", shown=False):
        pass
    assert not out.file.getvalue()
