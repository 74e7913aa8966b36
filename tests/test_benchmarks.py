"""Each benchmark runs with tiny shapes, and what it counts is right; no time is judged."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks are not installed

from benchmarks import (  # noqa: E402
    against_torch,
    crf,
    data,
    layers,
    loss_cost,
    lowered,
    models,
    operations,
    pruning,
    reversible,
    scaling,
    timing,
)
from benchmarks.networks import Case, Row  # noqa: E402
from jaxseg.encoders import Plain  # noqa: E402
from jaxseg.experiment import check  # noqa: E402
from jaxseg.layers import Conv, ConvNorm, TransposedConv  # noqa: E402
from jaxseg.models import MODELS, UNet  # noqa: E402

PROVENANCE = {"device", "versions", "cores", "load", "commit", "command"}


@pytest.fixture
def printed(capsys):
    """The lines of JSON on stdout, each with where it was found."""

    def lines():
        found = [json.loads(text) for text in capsys.readouterr().out.splitlines() if "{" in text]
        assert found and all(PROVENANCE | {"question"} <= set(line) for line in found)
        return found

    return lines


class Twin:
    """Stands for PyTorch's process: gives back what our own network computes, or ``off`` it."""

    def __init__(self, model, off=0.0):
        self.model, self.off, self.versions = model, off, {"torch": "none"}
        self.asked = []

    def ask(self, *, do, **request):
        self.asked.append((do, request.get("task")))
        if do != "make":
            return {"seconds": 0.001}
        if request["task"] == "training":
            return {"first_call_seconds": 1.0, "loss": self.off or 0.7}
        flat = np.load(request["weights"])
        variables = {}
        for path in flat:
            node = variables
            *folders, last = path.split("/")
            for folder in folders:
                node = node.setdefault(folder, {})
            node[last] = flat[path]
        image = np.load(request["data"])["image"]
        y = self.model.apply(variables, image, **({"train": False} if request["network"] else {}))
        np.save(request["output"], np.asarray(getattr(y, "logits", y)) + self.off)
        return {"first_call_seconds": 1.0}

    def turn(self, key):
        return lambda calls: 0.001

    def close(self):
        self.asked.append(("close", None))


# --- timing ---------------------------------------------------------------------------------------


def test_rounds_alternate_and_every_other_goes_the_other_way_round():
    order = []

    def turn(name):
        return lambda calls: order.append((name, calls)) or 0.1

    times = timing.alternate({"a": turn("a"), "b": turn("b")}, rounds=2, seconds=0.5)
    assert times == {"a": [0.1, 0.1], "b": [0.1, 0.1]}
    assert order[4:] == [("a", 5), ("b", 5), ("b", 5), ("a", 5)]


def test_a_ratio_is_the_median_of_the_ratios_of_rounds():
    # The ratio of medians would be 1: the machine was slow in the second round, for both.
    found = timing.ratios([1.0, 8.0, 3.0], [2.0, 16.0, 3.0])
    assert found == {"ratio": 0.5, "ratio_quartiles": [0.5, 0.75]}


def test_a_table_shows_an_error_where_a_row_has_no_numbers():
    rows = [{"a": "x", "b": 0.12345}, {"a": "y", "error": "out of memory | here"}]
    text = timing.table(rows, {"a": "A", "b": "B"})
    assert text.splitlines()[2:] == ["| x | 0.123 |", "| y | out of memory / here |"]


def test_the_command_of_a_line_names_no_folder_of_this_machine(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/benchmarks/layers.py", "--torch", "/opt/venv/bin/python"])
    assert timing.command() == "python -m benchmarks.layers --torch python"


# --- layers ---------------------------------------------------------------------------------------

TINY = ["--preset", "smoke", "--rounds", "2", "--seconds", "0.0001"]


def test_layers_times_every_form_of_an_operation_that_agrees(printed):
    names = ["conv_3d_16", "max_pool_2d", "batch_norm_relu", "transposed_2d"]
    layers.main([*TINY, "--only", *names, "--forms", "naive", "chosen", "default"])
    found = printed()
    assert [(row["operation"], row["task"]) for row in found] == [
        (name, task) for name in names for task in ("forward", "gradient")
    ]
    for row in found:
        assert "error" not in row and row["difference"] < 1e-3
        for form in ("naive", "chosen", "default"):
            assert row[f"{form}_seconds"] > 0 and len(row[f"{form}_seconds_quartiles"]) == 2
        assert row["chosen_over_naive"] > 0


def test_a_form_that_computes_something_else_is_a_row_without_times(printed, monkeypatch):
    wrong = operations.conv((8, 8), 2, 2)
    shifted = operations.Operation(**vars(wrong) | {"chosen": lambda v, x: wrong.naive(v, x) + 1})
    monkeypatch.setitem(layers.OPERATIONS, "conv_3x3_16", shifted)
    layers.main([*TINY, "--only", "conv_3x3_16", "--tasks", "forward"])
    (row,) = printed()
    assert "chosen differs from the naive form" in row["error"] and "naive_seconds" not in row


@pytest.mark.parametrize("form", ["cpu", "default"])
def test_a_forced_form_takes_that_branch_of_a_platform_choice(form):
    def choice(x):
        branches = {"cpu": lambda x: 2 * x, "default": lambda x: 3 * x}
        return jax.lax.platform_dependent(x, **branches)

    with layers.lowered_as(form):
        assert float(jax.jit(choice)(1.0)) == {"cpu": 2.0, "default": 3.0}[form]
    assert float(jax.jit(choice)(1.0)) == 2.0  # this is a CPU


# --- loss_cost ------------------------------------------------------------------------------------


def test_the_cost_of_a_loss_is_a_share_of_the_step(printed):
    few = ["--rounds", "2", "--seconds", "0.001", "--classes", "3"]
    loss_cost.main(["--preset", "smoke", "--only", "dice", "top_k", *few])
    dice, _ = printed()
    assert dice["classes"] == 3 and dice["seconds"] > 0 and dice["step_seconds"] > 0
    assert dice["parameters"] == 1_759 and dice["percent"] > 0


# --- lowered --------------------------------------------------------------------------------------

ON_A_GPU = """HloModule jit_step, is_scheduled=true

%fused_computation (param_0: f32[4,8]) -> bf16[4,8] {
  %param_0 = f32[4,8]{1,0} parameter(0)
  ROOT %convert.1 = bf16[4,8]{1,0} convert(%param_0)
}

%command_buffer (p: f32[4,8]) -> bf16[4,8] {
  %p = f32[4,8]{1,0} parameter(0)
  ROOT %loop_convert_fusion = bf16[4,8]{1,0} fusion(%p), kind=kLoop, calls=%fused_computation
}

ENTRY %main (x: f32[4,8], k: f32[3,3]) -> (bf16[4,8]) {
  %x = f32[4,8]{1,0} parameter(0), metadata={op_name="x"}
  %k = f32[3,3]{1,0} parameter(1)
  %call = bf16[4,8]{1,0} call(%x), to_apply=%command_buffer
  %conv = (f32[2,2]{1,0}, u8[16]{0}) custom-call(%x, %k), window={size=3x256 pad=1_1x1_1}, \
custom_call_target="__cudnn$convForward", metadata={op_name="jit(step)/conv"}
  %wrapped_slice = f32[1,8]{1,0} fusion(%x), kind=kLoop, calls=%fused_computation
  ROOT %tuple = (bf16[4,8]{1,0}) tuple(%call)
}
"""


def test_programs_of_a_gpu_are_read_from_its_text():
    fusion, conv, cut = lowered.programs(ON_A_GPU)
    assert (fusion.name, fusion.bytes) == ("loop_convert_fusion", 4 * 8 * (4 + 2))
    assert (conv.kind, conv.window, conv.source) == ("__cudnn$convForward", 256, "jit(step)/conv")
    assert conv.bytes == 4 * (4 + 4 * 8 + 9) + 16
    assert cut.bytes == 8 * 4  # of what it cuts it reads no more
    row = lowered.row_of([fusion, conv, cut])
    assert row["programs"] == 3 and row["unrecognised_gradients"] == 1


def test_what_is_lowered_is_of_the_kind_that_is_named(capsys):
    with pytest.raises(SystemExit):
        lowered.main(["operations", "--only", "unet_2015"])
    assert "unet_2015: none of operations" in capsys.readouterr().err
    case = lowered.case_of("unet_2015")
    assert case.sizes["gpu"] == (8, 572, 572) and case.channels == 1 and case.model.num_classes == 2


# --- models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "classes", "parameters", "macs"),
    [
        ("unet_resnet34", (1, 512, 512, 3), 21, 24_439_269, 32_010_928_128),
        ("unet_resnet50", (1, 512, 512, 3), 21, 32_524_005, 43_285_217_280),
        ("unet_2015", (1, 572, 572, 1), 2, 31_030_658, 150_428_424_448),
    ],
)
def test_rows_of_models_count_what_the_peers_count(name, shape, classes, parameters, macs):
    row = models.ROWS[name]
    assert (row.channels, row.classes) == (shape[-1], classes)
    model = models.create(row.model, num_classes=row.classes, **row.fields)
    assert models.counted(model, shape) == {"parameters": parameters, "macs": macs}


def test_every_network_has_a_row():
    assert {row.model for row in models.ROWS.values()} == set(MODELS)


def in_process(name, arguments, seconds):
    """What `spawned` gives, without the process."""
    del seconds
    (row,) = models.main([*arguments, "--one", name])
    return row


def test_models_gives_a_row_a_network_and_one_that_fails_is_no_end(printed, monkeypatch, tmp_path):
    tiny = {"encoder": Plain(widths=(2, 4))}
    monkeypatch.setitem(models.ROWS, "unet", Row("unet", tiny, smoke=(2, 8, 8)))
    # 33 rows do not fit valid convolutions: stands for any network that cannot be run here
    monkeypatch.setitem(models.ROWS, "unet_2015", Row("unet_2015", smoke=(1, 33, 33), channels=1))
    monkeypatch.setattr(models, "spawned", in_process)
    png = tmp_path / "models.png"
    arguments = ["--preset", "smoke", "--repeats", "2", "--seconds", "0.001", "--plot", str(png)]
    models.main([*arguments, "--only", "unet_2015", "unet"], run=in_process)
    found = printed()
    by_name = {row["network"]: row for row in found}  # the last of a name is the collector's
    assert "fit its valid convolutions" in by_name["unet_2015"]["error"]
    row, ceiling = by_name["unet"], by_name["ceiling"]
    assert row["parameters"] == 543 and ceiling["flops"] > 0
    for task, passes in (("inference", 1), ("training", 3)):
        assert row[f"{task}_peak_gib"] > 0 and row[f"{task}_xla_gflops"] > 0
        assert row[f"{task}_compile_seconds"] > 0 and row[f"{task}_repeats"] == 2
        achieved = 2 * passes * row["macs"] * row[f"{task}_images_per_second"]
        assert row[f"{task}_tflops"] == pytest.approx(achieved / 1e12, rel=1e-3)
        assert row[f"{task}_mfu"] == pytest.approx(achieved / ceiling["flops"], rel=1e-2)
    assert row["training_peak_gib"] > row["inference_peak_gib"] / 10
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_network_whose_process_dies_is_a_row(monkeypatch):
    def killed(*_, **__):
        return SimpleNamespace(returncode=-9, stdout="", stderr="")

    monkeypatch.setattr(models.subprocess, "run", killed)
    row = models.spawned("unet", [], 1.0)
    assert row == {"network": "unet", "error": "killed: out of memory?: nothing on stderr"}


def test_what_the_budget_leaves_no_time_for_says_so(printed):
    def ceiling_only(name, arguments, seconds):
        assert name == models.CEILING
        return {"network": name, "flops": 1e9, **timing.provenance()}

    models.main(["--budget", "0", "--only", "unet", "unet_16"], run=ceiling_only)
    assert [row.get("error", "")[:7] for row in printed()] == ["", "not run", "not run"]


# --- against PyTorch ------------------------------------------------------------------------------


@pytest.fixture
def tiny_case(monkeypatch):
    """A small U-Net as the only case."""
    model = UNet(2, encoder=Plain(widths=(2, 4)))
    case = Case(model, "unet", {"classes": 2}, {"smoke": (2, 8, 8)}, tasks=("inference",))
    monkeypatch.setitem(against_torch.CASES, "unet16", case)
    return ["--preset", "smoke", "--only", "unet16", "--rounds", "2", "--seconds", "0.0001"], model


def test_equal_networks_are_timed_together(tiny_case, printed):
    arguments, model = tiny_case
    against_torch.main([*arguments, "--modes", "eager", "compile"], worker=Twin(model))
    found = printed()
    assert [row["mode"] for row in found] == ["eager", "compile"]
    for row in found:
        assert row["float32_difference"] < 1e-3 and row["difference"] < 1e-3
        assert row["torch_seconds"] == 0.001 and row["ratio"] > 0 and row["macs"] > 0
        assert row["images_per_second"] == pytest.approx(2 / row["seconds"], rel=1e-3)


def test_networks_whose_outputs_differ_are_not_timed(tiny_case, printed):
    arguments, model = tiny_case
    against_torch.main(arguments, worker=Twin(model, off=0.5))
    (row,) = printed()
    assert "in float32: not timed" in row["error"] and "ratio" not in row


def test_a_training_step_whose_loss_differs_is_not_timed(tiny_case, printed):
    arguments, model = tiny_case
    worker = Twin(model)  # says that its loss is 0.7; with these weights ours is another
    against_torch.main([*arguments, "--tasks", "training"], worker=worker)
    (row,) = printed()
    assert "not timed" in row["error"] and worker.asked[-2:] == [("forget", None), ("close", None)]


def test_a_peers_weights_go_over_under_its_own_keys_and_layouts():
    class Net(nn.Module):
        names: ClassVar = {"library": ((r"(?:conv|bn)1", "stem"), (r"up", "up~"))}

        @nn.compact
        def __call__(self, x, *, train):
            x = ConvNorm(3, kernel_size=(3, 5), name="stem")(x, train=train)
            return TransposedConv(4, stride=2, name="up")(x)

    variables = Net().init(jax.random.key(0), jnp.zeros((1, 8, 8, 2)), train=False)
    keys = [["conv1.weight", [3, 2, 3, 5]], ["up.weight", [3, 4, 2, 2]], ["bn1.running_var", [3]]]
    worker = SimpleNamespace(ask=lambda **_: {"keys": keys})
    case = Case(Net(), "peer", {"library": "library", "arch": "Net"}, {})
    found = against_torch.theirs(case, variables, worker)  # pyright: ignore
    assert {key: list(value.shape) for key, value in found.items()} == dict(keys)
    kernel = variables["params"]["stem"]["conv"]["kernel"]
    np.testing.assert_array_equal(found["conv1.weight"], kernel.transpose(3, 2, 0, 1))


def test_weights_go_over_by_name(tmp_path):
    layer = Conv(3, kernel_size=1)
    variables = layer.init(jax.random.key(0), jnp.zeros((1, 4, 4, 2)))
    timing.store(tmp_path, variables, {"image": np.zeros(1)})
    found = np.load(tmp_path / "weights.npz")
    assert {k: found[k].shape for k in found} == {
        "params/kernel": (1, 1, 2, 3),
        "params/bias": (3,),
    }


# --- data and scaling -----------------------------------------------------------------------------


def test_data_answers_for_each_source_and_the_augmentation(printed):
    data.main(["--smoke", "--only", "pipeline", "augmentation"])
    *sources, augmentation = printed()
    assert [row["source"] for row in sources] == ["png", "memory map", "memory"]
    assert all(row["patches_per_second"] > 0 for row in sources)
    assert augmentation["ratio"] > 0 and augmentation["augment"]["elastic"] == 10.0


def test_augmentation_on_the_host_keeps_what_the_devices_keeps():
    image = np.random.default_rng(0).random((24, 24, 1), dtype=np.float32)
    label = (image[..., 0] > 0.5).astype(np.int32)
    still = data.Augment()
    same, mask = data.on_host(np.random.default_rng(0), image, label, still)
    np.testing.assert_allclose(same, image, atol=1e-5)
    np.testing.assert_array_equal(mask, label)
    moved, mask = data.on_host(np.random.default_rng(1), image, label, data.AUGMENT)
    assert moved.shape == image.shape and set(np.unique(mask)) <= {-1, 0, 1}


HLO = """
  %ar = f32[4,2]{1,0} all-reduce(%x), channel_id=1, replica_groups=[2,4]<=[8], to_apply=%add
  %ar.1 = (f32[3]{0}, bf16[5]{0}) all-reduce(%y, %z), replica_groups={{0,1},{2,3}}, to_apply=%add
  %ag = f32[8]{0} all-gather(%w), replica_groups=[1,8]<=[8], dimensions={0}
  %cp = (f32[6]{0}, f32[6]{0}) collective-permute-start(%v), source_target_pairs={{0,1}}
  %cp.1 = f32[6]{0} collective-permute-done(%cp)
  %add.2 = f32[6]{0} add(%a, %b)
"""


def test_collectives_are_read_from_the_text_of_a_program():
    found = [tuple(c) for c in scaling.collectives(HLO, 8)]
    assert found == [
        ("all-reduce", 32, 4),
        ("all-reduce", 22, 2),
        ("all-gather", 32, 8),
        ("collective-permute", 24, 8),
    ]
    # ring: 2 * 3/4 * 32, 2 * 1/2 * 22, 7/8 * 32, 24
    assert [c.sent for c in scaling.collectives(HLO, 8)] == [48, 22, 28, 24]


def test_scaling_finds_the_gradients_all_reduce_and_the_halos(printed):
    tiny = ["--widths", "2", "4", "--size", "8", "8", "--per-device", "1"]
    scaling.main([*tiny, "--only", "1x1x1", "2x2x2"])
    alone, shared = printed()
    assert not any(kind["count"] for kind in alone["collectives"].values())
    assert shared["collectives"]["all-reduce"]["count"] > 0
    assert shared["collectives"]["collective-permute"]["count"] > 0
    assert (shared["batch_size"], shared["size"]) == (4, [16, 8])
    assert shared["sent_mib"] > 0 == alone["sent_mib"]
    prediction = shared["prediction"]
    assert prediction["assumes"] == {"bytes_per_second": 4.5e11, "flops": 4e14}
    assert 0 < prediction["efficiency_without_overlap"] < 1


def test_a_mesh_that_is_refused_is_a_row(printed):
    scaling.main(["--widths", "2", "4", "--size", "6", "6", "--only", "1x1x8"])
    (row,) = printed()
    assert "data.patch has 48 rows" in row["error"] and "a multiple of 32" in row["error"]


# --- the dense CRF, and pruning -------------------------------------------------------------------


def test_both_kernels_of_the_crf_are_timed_and_compared(printed):
    crf.main(["--preset", "smoke", "--rounds", "1"])
    lattice, exact = printed()
    assert (lattice["kernel"], exact["kernel"]) == ("lattice", "exact")
    assert lattice["seconds"] > 0 and exact["agreement"] > 0.9


@pytest.mark.parametrize("preset", pruning.SIZES)
def test_the_levels_of_pruning_are_trained_together_and_alone(preset):
    whole, alone = (pruning.experiment(preset, level, ["data.root=x"]) for level in (None, 2))
    check(whole), check(alone)
    heads = pruning.SIZES[preset].levels
    assert whole.recipe.supervision.weights == (1.0,) * heads
    assert (alone.recipe.model.level, alone.recipe.model.mode) == (2, "single")
    assert alone.recipe.model.clone(level=None, mode="supervised") == whole.recipe.model


# --- reversible blocks ----------------------------------------------------------------------------


def test_a_step_that_computes_activations_again_keeps_less(printed):
    reversible.main(["--preset", "smoke", "--blocks", "1"])
    again, kept = printed()
    assert (again["backward"], kept["backward"]) == ("recompute", "keep")
    assert again["temporaries_mib"] < kept["temporaries_mib"] and again["gmacs"] == kept["gmacs"]
