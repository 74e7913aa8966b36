import pytest

from jaxseg.errors import UserError
from jaxseg.profiler import Profiler, steps_of
from jaxseg.train import train


def test_two_steps_are_read_and_anything_else_is_named():
    assert steps_of("11:20") == (11, 20) and steps_of(None) is None
    for text in ("", "5", "a:b", "1:2:3", "-1:4", "1.5:2"):
        with pytest.raises(UserError, match=f"--profile {text}: expected START:STOP"):
            steps_of(text)


@pytest.mark.parametrize("steps", [(0, 2), (3, 2), (9, 11), (4, 8)])
def test_steps_that_the_run_does_not_make_are_refused(tmp_path, steps):
    done = 4 if steps == (4, 8) else 0
    with pytest.raises(UserError, match=f"name steps from {done + 1} to 10"):
        Profiler(steps, tmp_path).check(done, 10)
    Profiler((done + 1, 10), tmp_path).check(done, 10)
    with pytest.raises(UserError, match="has made all of its steps"):
        Profiler(steps, tmp_path).check(10, 10)


def test_only_the_steps_named_are_traced(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("jax.profiler.start_trace", lambda folder: calls.append(folder))
    monkeypatch.setattr("jax.profiler.stop_trace", lambda: calls.append("stop"))
    profiler = Profiler((2, 3), tmp_path)
    for number in range(1, 5):
        profiler.start(number)
        calls.append(number)
        profiler.stop(number, ())
    profiler.close()
    assert calls == [1, tmp_path, 2, 3, "stop", 4]
    calls.clear()
    stopped = Profiler((2, 3), tmp_path)
    stopped.start(2)
    stopped.close()
    Profiler(None, tmp_path).start(1)
    assert calls == [tmp_path, "stop"]


def test_a_run_leaves_a_trace_of_its_steps(tiny, tmp_path):
    train(tiny(steps=3, every=3), tmp_path, profile=(2, 3))
    (trace,) = tmp_path.glob("profile/plugins/profile/*/*.xplane.pb")
    assert b"train" in trace.read_bytes()
