"""A process that runs pydensecrf's dense CRF when asked, over its pipes.

    echo '{"do": "stop"}' | python -m benchmarks.pydensecrf_worker

Spoken to as ``torch_worker`` is. It needs pydensecrf and NumPy, nothing of jaxseg.
"""
# pyright: reportMissingImports=false

import json
import sys
import time

import numpy as np
import pydensecrf.densecrf as dcrf

GIVEN = {}


def inferred():
    """Classes ``[h w]`` by the mean field of what was given."""
    logits, image, how = GIVEN["logits"], GIVEN["image"], GIVEN["how"]
    h, w, k = logits.shape
    field = dcrf.DenseCRF2D(w, h, k)
    shifted = logits - logits.max(-1, keepdims=True)
    unary = np.log(np.exp(shifted).sum(-1, keepdims=True)) - shifted
    field.setUnaryEnergy(np.ascontiguousarray(unary.reshape(-1, k).T, np.float32))
    field.addPairwiseGaussian(sxy=how["place"], compat=how["weight_place"])
    field.addPairwiseBilateral(
        sxy=how["far"], srgb=how["colour"], rgbim=image, compat=how["weight"]
    )
    return np.argmax(field.inference(how["iterations"]), 0).reshape(h, w)


def answered(request):
    """The answer to one request."""
    if request["do"] == "build":
        data = np.load(request["data"])
        image = np.ascontiguousarray(data["image"].round().astype(np.uint8))
        GIVEN.update(logits=data["logits"].astype(np.float32), image=image, how=request["how"])
        np.save(request["labels"], inferred())
        return {}
    begun = time.perf_counter()
    for _ in range(request["calls"]):
        inferred()
    return {"seconds": (time.perf_counter() - begun) / request["calls"]}


def main():
    """Answer until the pipe ends."""
    print(json.dumps({}), flush=True)
    for text in sys.stdin:
        try:
            request = json.loads(text)
            if request["do"] == "stop":
                return
            answer = answered(request)
        except Exception as error:  # the other side says it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
