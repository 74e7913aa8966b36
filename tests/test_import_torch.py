"""A PyTorch network becomes a run, which every command takes; a backbone's weights an encoder's."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from jaxseg import checkpoint, command, convert, init_from, predict
from jaxseg.convert.built import IMAGENET, Built
from jaxseg.encoders import ResNet, Standardize
from jaxseg.errors import UserError
from jaxseg.evaluate import evaluate
from jaxseg.experiment import InitFrom
from jaxseg.export import export
from jaxseg.import_torch import import_torch, main
from jaxseg.models import UNet

SMP = "segmentation_models_pytorch"


def tiny(*, classes: int = 3, in_channels: int = 3) -> Built:
    """A builder as the others, of a network that compiles in a second."""
    model = UNet(classes, encoder=ResNet(10, width=4), widths=(8, 8, 6, 6, 4))
    return Built(model, in_channels, standardize=IMAGENET if in_channels == 3 else None)


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """The tiny network as one of the library's."""
    monkeypatch.setitem(convert.LIBRARIES[SMP], "Tiny", tiny)


@functools.cache
def weights(**kwargs):
    """A ``state_dict`` of the tiny network; norms' moments are off their special values."""
    built, random = tiny(**kwargs), np.random.RandomState(0)
    x = np.zeros((1, 32, 32, built.channels), "f4")
    shapes = jax.eval_shape(lambda: built.model.init(jax.random.key(0), x, train=False))
    draw = lambda leaf: abs(random.standard_normal(leaf.shape)).astype("f4") + 0.1  # noqa: E731
    return convert.to_torch(built.model, jax.tree.map(draw, shapes))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The command's run of a file of weights."""
    folder = tmp_path_factory.mktemp("imported")
    save_file(weights(), folder / "weights.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(convert.LIBRARIES[SMP], "Tiny", tiny)
        arguments = ["--library", SMP, "--arch", "Tiny", "--workdir", str(folder / "run")]
        arguments += ["--input", str(folder / "weights.safetensors")]
        main([*arguments, "--kwargs", '{"classes": 3}'])
    return folder / "run"


def test_what_is_loaded_computes_what_the_peer_does_on_images_as_its_weights_expect(run):
    model, variables = checkpoint.load(run)
    assert model.encoder.standardize == IMAGENET
    theirs, same = convert.from_torch(SMP, "Tiny", {"classes": 3}, weights())
    jax.tree.map(np.testing.assert_array_equal, variables, same)
    x = np.random.RandomState(1).uniform(size=(1, 32, 32, 3)).astype("f4")
    expected = theirs.apply(same, IMAGENET(jnp.asarray(x)), train=False).logits
    np.testing.assert_allclose(model.apply(variables, x, train=False).logits, expected, rtol=1e-5)
    back = convert.to_torch(model, variables)
    assert back.keys() == weights().keys()
    for key, value in weights().items():
        np.testing.assert_array_equal(back[key], value)


def test_every_command_takes_the_run(run, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    random = np.random.RandomState(0)
    for folder, shape, most in (("images", (40, 48, 3), 256), ("masks", (40, 48), 3)):
        drawn = random.randint(0, most, shape).astype("u1")
        Image.fromarray(drawn).save(tmp_path / folder / "a.png")
    predict.predict(run, tmp_path / "images", tmp_path / "out")
    assert (tmp_path / "out" / "a.png").is_file()
    scores = evaluate(run, images=tmp_path / "images", masks=tmp_path / "masks")
    assert 0 <= scores["dice"] <= 1
    assert export(run, tmp_path / "model.stablehlo", platforms=["cpu"]).size > 1000


def test_one_logit_becomes_two_of_the_same_probability(tmp_path):
    done = import_torch(SMP, "Tiny", {"classes": 1}, weights(classes=1), tmp_path / "run")
    assert "one logit there, two classes here: the background's logit is 0" in str(done)
    model, variables = checkpoint.load(tmp_path / "run")
    theirs, same = convert.from_torch(SMP, "Tiny", {"classes": 1}, weights(classes=1))
    x = np.random.RandomState(1).uniform(size=(1, 32, 32, 3)).astype("f4")
    z = theirs.apply(same, IMAGENET(jnp.asarray(x)), train=False).logits[..., 0]
    found = jax.nn.softmax(model.apply(variables, x, train=False).logits)[..., 1]
    np.testing.assert_allclose(found, jax.nn.sigmoid(z), atol=1e-6)


def test_all_that_does_not_fit_is_listed_and_nothing_is_written(tmp_path):
    wrong = dict(weights())
    wrong["extra.weight"] = np.zeros((2, 2), "f4")
    del wrong["encoder.conv1.weight"]
    wrong["segmentation_head.0.bias"] = np.zeros(5, "f4")
    wrong["decoder.blocks.0.conv1.1.bias"] = np.full(8, np.nan, "f4")
    with pytest.raises(UserError) as refused:
        import_torch(SMP, "Tiny", {}, wrong, tmp_path / "run")
    said = str(refused.value)
    assert (
        "unexpected extra.weight (2, 2)" in said and "missing encoder.conv1.weight (4, 3, 7" in said
    )
    assert "segmentation_head.0.bias is (5,), where (3,) belongs" in said
    assert "decoder.blocks.0.conv1.1.bias holds numbers that are not finite" in said
    assert not (tmp_path / "run").exists()


def test_keys_with_something_before_them_are_imported_when_that_is_said(tmp_path, capsys):
    """As a Lightning module saves a network that it calls ``model``, with moments beside it."""
    file = tmp_path / "w.safetensors"
    save_file({**{f"model.{k}": v for k, v in weights().items()}, "std": np.ones(3, "f4")}, file)
    arguments = ["--library", SMP, "--arch", "Tiny", "--input", str(file)]
    arguments += ["--workdir", str(tmp_path / "run")]
    with pytest.raises(UserError, match=r"w.safetensors: .*keys begin with 'model.': say --pre"):
        main(arguments)
    main([*arguments, "--prefix", "model."])
    assert "not below 'model.', so left out: std (1)" in capsys.readouterr().out
    assert (tmp_path / "run" / "experiment.json").is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"--library": "segmentation_model_pytorch"}, f"the nearest is '{SMP}'"),
        ({"--arch": "Uned"}, "no network is here that is called 'Uned'; the nearest is 'Unet'"),
        ({"--kwargs": '{"klasses": 3}'}, "takes no argument 'klasses'; the nearest is 'classes'"),
        ({"--kwargs": "[1]"}, "must be a JSON object"),
        ({"--kwargs": "{"}, "--kwargs {: must be a JSON object such as '{\"classes\": 5}'"),
        ({"--kwargs": ""}, "--kwargs '': must be a JSON object such as"),
        ({"--prefix": "net."}, "no key begins with 'net.'"),
        ({"--key": "ema"}, "no weights lie at 'ema'"),
        ({"--input": "nothing.pth"}, "nothing.pth: No such file"),
        (
            {"--library": "torchvision.models", "--arch": "resnet18"},
            "gives no classes of pixels, a run's network does; give its file to init_from",
        ),
        (
            {"--library": "timm", "--arch": "resnet18", "--kwargs": '{"num_classes": 0}'},
            "gives no classes of pixels",
        ),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, options, said):
    save_file(weights(), tmp_path / "w.safetensors")
    given = {"--library": SMP, "--arch": "Tiny", "--input": str(tmp_path / "w.safetensors")}
    given |= {"--workdir": str(tmp_path / "run"), **options}
    with pytest.raises(SystemExit) as stop:
        command.run(main, [part for pair in given.items() for part in pair])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and said in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_and_a_config_of_other_classes_are_refused(
    run, tmp_path, tiny_factory
):
    with pytest.raises(UserError, match="holds a run; name another"):
        import_torch(SMP, "Tiny", {}, weights(), run)
    with pytest.raises(UserError, match="data.dataset has 1 channels, the network 3"):
        import_torch(SMP, "Tiny", {}, weights(), tmp_path / "a", base=tiny_factory())
    one = weights(in_channels=1)
    with pytest.raises(UserError, match="num_classes=3, but data.dataset has 2 classes"):
        import_torch(SMP, "Tiny", {"in_channels": 1}, one, tmp_path / "a", base=tiny_factory())
    assert not (tmp_path / "a").exists()


def test_what_a_config_says_of_its_encoder_stays(tmp_path, tiny_factory):
    """Weights that were trained on this data may expect other moments than ImageNet's."""
    own = Standardize(mean=(0.2,), std=(0.3,))
    model = UNet(2, encoder=ResNet(10, width=4, standardize=own))
    given = {"classes": 2, "in_channels": 1}
    import_torch(
        SMP, "Tiny", given, weights(**given), tmp_path / "a", base=tiny_factory(model=model)
    )
    assert checkpoint.load(tmp_path / "a")[0].encoder.standardize == own


# --- weights of a backbone alone ------------------------------------------------------------------


def backbone():
    """A file as torchvision's: the encoder's keys, and those of a classifier."""
    keys = {k.removeprefix("encoder."): v for k, v in weights().items() if k.startswith("encoder.")}
    return {**keys, "fc.weight": np.ones((10, 32), "f4"), "fc.bias": np.ones(10, "f4")}


def starting(tiny_factory, file, **fields):
    source = InitFrom(run=str(file), into="encoder", **fields)
    model = UNet(2, encoder=ResNet(10, width=4), widths=(8, 8, 6, 6, 4))
    made = tiny_factory(model=model, steps=1, augment=None)
    return dataclasses.replace(made, init_from={"model": source})


def taken(experiment):
    batch = checkpoint.abstract_batch(experiment)
    state = jax.eval_shape(lambda: experiment.scheduled.init(jax.random.key(0), batch))
    return init_from.taken(experiment, state)["model"]


def test_a_file_of_a_backbone_starts_an_encoder(tmp_path, tiny_factory):
    """Its first kernel is of three channels, the data of one: the sum over them stays."""
    save_file(backbone(), tmp_path / "resnet.safetensors")
    found = taken(starting(tiny_factory, tmp_path / "resnet.safetensors", channels="mean"))
    assert found.adapted == ("params/encoder/stem_conv/conv/kernel",)
    assert set(found.over) == {"fc.bias", "fc.weight"}
    assert all(not path.startswith("params/encoder") for path in found.fresh)
    kernel = found.arrays["params/encoder/stem_conv/conv/kernel"]
    theirs = weights()["encoder.conv1.weight"].sum(1)
    np.testing.assert_allclose(kernel[:, :, 0].transpose(2, 0, 1), theirs, rtol=1e-6)
    assert "not taken: fc" in str(found)
    assert "standardize=None, so images go to these weights as they come" in str(found)


def test_a_file_that_is_no_encoders_is_refused(tmp_path, tiny_factory):
    file = tmp_path / "w.safetensors"
    save_file(weights(), file)  # a whole network: its encoder's keys have a name before them
    with pytest.raises(UserError, match="keys begin with 'encoder.': say take=\"encoder\""):
        taken(starting(tiny_factory, file))
    found = taken(starting(tiny_factory, file, take="encoder", channels="mean"))
    assert found.adapted and not any(path.startswith("params/encoder") for path in found.fresh)
    with pytest.raises(UserError, match="no key begins with 'backbone.'"):
        taken(starting(tiny_factory, file, take="backbone"))
    save_file({f"net.{key}": value for key, value in weights().items()}, file)
    with pytest.raises(UserError, match='say take="net.encoder"'):
        taken(starting(tiny_factory, file, take="net"))
    assert taken(starting(tiny_factory, file, take="net.encoder", channels="mean")).arrays
    save_file({"conv1.weight": np.ones(3, "f4")}, file)
    with pytest.raises(UserError, match="do not fit ResNet by torchvision's.*missing layer1"):
        taken(starting(tiny_factory, file))
    file.write_bytes(b"no weights")
    with pytest.raises(UserError, match="no file of weights") as refused:
        taken(starting(tiny_factory, file))
    assert str(refused.value).count("w.safetensors") == 1
    save_file(weights(), file)
    experiment = starting(tiny_factory, file)
    source = dataclasses.replace(experiment.init_from["model"], into="")
    with pytest.raises(UserError, match="is a file of weights, which an encoder takes"):
        taken(dataclasses.replace(experiment, init_from={"model": source}))
    with pytest.raises(UserError, match="step is of runs"):
        taken(starting(tiny_factory, file, step=3))
    save_file(backbone(), file)
    with pytest.raises(UserError, match='channels="mean" adapts it'):
        taken(starting(tiny_factory, file))
