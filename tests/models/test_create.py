"""Networks and encoders by name: values that a field cannot have are refused in one line.

In a process of its own: here, types are checked by the tests' own hook, before `create` is asked.
"""

import json
import subprocess
import sys

CASES = {
    "models.create('unet', num_classes=0)": "unet.num_classes=0: must be at least 1",
    "models.create('unet', num_classes='2')": "unet.num_classes='2': expected int",
    "models.create('unet', num_classes=True)": "unet.num_classes=True: expected int",
    "models.create('unet', num_classes=2, dtype='float17')": "dtype='float17': must be among float",
    "models.create('unet', num_classes=2, encoder=5)": "unet.encoder=5: expected Module",
    "models.create('pan', num_classes=2, encoder=encoders.ResNet(18, output_stride=7))": (
        "pan.encoder.output_stride=7: expected Literal[8, 16, 32]"
    ),
    "models.create('kinet', num_classes=2, widths=())": "kinet.widths=(): must be one number or",
    "models.create('unet_3plus', num_classes=2, branch_width=0)": "branch_width=0: must be",
    "models.create('attention_unet', num_classes=2, widths=(0, 4))": "widths=(0, 4): must be at l",
    "models.create('danet', num_classes=2, reduction=0)": "danet.reduction=0: must be at least 1",
    "models.create('r2unet', num_classes=2, steps=-1)": "r2unet.steps=-1: must be at least 0",
    "models.create('msga', num_classes=2, scales=0)": "msga.scales=0: must be at least 1",
    "models.create('cbam_unet', num_classes=2, recalibration=layers.CBAM(0))": "recalibration.redu",
    "models.create('pspnet', num_classes=2, feature=-3).feature": "-3",
    "encoders.create('resnet18', output_stride=12)": "resnet18.output_stride=12: expected Literal",
    "encoders.create('resnet18', output_strides=8)": "the nearest is 'output_stride'",
    "models.create('unet', num_classes=2, dtype=jax.numpy.float16)": "expected str",
    "models.Genotype(down=(('down_conv', 0), ('down_conv',)), up=())": "must be pairs such as",
    "traced('attention_unet', widths=(4,))": "UNet.widths=(4,): must be of two levels or more",
    "traced('attention_unet', form='monai', strides=((2,),))": "strides=((2,),): must be one for",
    "traced('inception_unet', dropouts=(0.1, 0.1, 1.0, 0.2))": "must be in [0, 1) each",
    "traced('enet', dropouts=(0.1, 1.5))": "ENet.dropouts=(0.1, 1.5): must be in [0, 1) each",
    "traced('fc_resnet', depths=(1, 0, 1))": "depths=(1, 0, 1): must be one number or more, at le",
    "traced('fc_resnet', normalizer=models.UNet(0))": "normalizer.num_classes=0: must be at",
    "traced('autofocus', padding='zeros', head='aspp_c', aspp_width=7)": "7: must be a multip",
    "traced('autofocus', padding='zeros', widths=(1, 4), adaptive=2)": "must be at least 2 each",
    "traced('cbam_unet', recalibration=layers.CBAM(2, kernel_size=4))": "kernel_size=4: must be o",
    "traced('espnet_v2', branches=0)": "branches=0: must be at least 1",
    "traced('multiresunet', alpha=0.0)": "MultiResUNet.alpha=0.0: must be above 0",
    "traced('enet', middles=(0,))": 'ENet.middles=(0,): must be "asymmetric" or dilations',
    "traced('enet', rank=3)": "ENet takes images alone, [b h w c]; this has the shape (1, 32, 32",
    "traced('espnet_c', encoder=encoders.ESPNetC((4, 5), depths=(1, 2)))": "(1, 2): must be 1: by",
    "traced('unet', encoder=encoders.Plain((4,)))": "encoder: gives one map of the image's size",
    "traced('autofocus', padding='zeros', widths=())": "autofocus.widths=(): must be one number or",
}

CODE = """
import jax, json
from jaxseg import encoders, layers, models
from jaxseg.errors import UserError

def traced(name, rank=2, **fields):
    model, x = models.create(name, num_classes=2, **fields), jax.numpy.zeros((1, *[32] * rank, 3))
    jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))

said = []
for call in {calls!r}:
    try:
        said.append(repr(eval(call)))
    except UserError as error:
        said.append(str(error))
print(json.dumps(said))
"""


def test_values_that_a_field_cannot_have_are_refused():
    code = CODE.format(calls=list(CASES))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for (call, wanted), said in zip(CASES.items(), json.loads(done.stdout), strict=True):
        assert wanted in said and "\n" not in said, (call, said)
