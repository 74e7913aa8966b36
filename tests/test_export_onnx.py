"""ONNX: the program without its choice of platforms; what onnxruntime makes of it, where it is."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.data import Synthetic
from jaxseg.encoders import Plain
from jaxseg.errors import UserError
from jaxseg.export import main
from jaxseg.export_onnx import settled
from jaxseg.models import UNet
from tests.made_run import made_run


def test_the_settled_program_is_the_same_and_asks_for_no_platform():
    model = UNet(2, encoder=Plain((4, 6)))
    image = np.random.default_rng(0).random((2, 16, 24, 1), np.float32)
    variables = jax.jit(lambda: model.init(jax.random.key(0), image, train=False))()

    @jax.jit
    def run(x):
        asked = jax.lax.platform_dependent(x, cpu=jnp.negative, default=jnp.exp)
        return model.apply(variables, -asked, train=False).logits

    one = settled(run, jax.ShapeDtypeStruct(image.shape, jnp.float32))
    assert "platform_index" in str(jax.make_jaxpr(run)(image))
    assert "platform_index" not in str(jax.make_jaxpr(one)(image))
    np.testing.assert_allclose(jax.jit(one)(image), run(image), atol=1e-6)


def test_without_the_exporter_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    words = ["--workdir", str(tmp_path / "run"), "--format", "onnx"]
    with pytest.raises(UserError, match="--no-deps jax2onnx"):
        main([*words, "--output", str(tmp_path / "m.onnx")])
    assert not list(tmp_path.iterdir())


@pytest.fixture
def exporter():
    pytest.importorskip("jax2onnx")
    pytest.importorskip("onnxruntime")


@pytest.mark.usefixtures("exporter")
@pytest.mark.filterwarnings("ignore")
def test_onnxruntime_gives_the_same_numbers(tmp_path, capsys):
    workdir = made_run(tmp_path / "run", Synthetic(size=(32, 32)))
    path = tmp_path / "m.onnx"
    main(["--workdir", str(workdir), "--format", "onnx", "--output", str(path)])
    (line,) = capsys.readouterr().out.splitlines()
    assert "[b, 16, 16, 1] in [0, 1], of this size only" in line and path.stat().st_size > 1000
