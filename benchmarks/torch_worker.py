"""A process that builds networks in PyTorch and times them when asked, over its pipes.

    echo '{"do": "stop"}' | python -m benchmarks.torch_worker

One request in JSON a line on stdin, one answer a line on stdout, ``{"error": ...}`` where it
failed. Between requests it waits and uses no core. Of the benchmarks only this file and
``torch_networks`` import torch, and they import nothing of jaxseg: any Python with torch runs it.
"""
# pyright: reportMissingImports=false

import contextlib
import json
import os
import sys
import time

import numpy as np
import torch

from benchmarks.torch_networks import NETWORKS, TRANSPOSED, Peer

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LAYOUT = {4: torch.channels_last, 5: torch.channels_last_3d}
RATE = 1e-3
BUILT = {}


def cores():
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def versions():
    """The versions of what computes here."""
    name = torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu"
    return {
        "torch": torch.__version__,
        "torch_device": name,
        "torch_threads": torch.get_num_threads(),
    }


def precise(precision):
    """Sets what float32 means, and gives the context to compute in."""
    short = "tf32" if precision == "tf32" else "ieee"
    if DEVICE == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = short == "tf32"
        torch.backends.cudnn.allow_tf32 = short == "tf32"
        torch.backends.cudnn.benchmark = True
    if precision == "bfloat16":
        return lambda: torch.autocast(DEVICE, torch.bfloat16)
    return contextlib.nullcontext


def placed(array, layout):
    """[b *s c] on the host to [b c *s] on the device, in memory as ``layout`` says."""
    x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 1))).to(DEVICE)
    return arranged(x, layout)


def arranged(x, layout):
    """A tensor in the layout of that name."""
    form = LAYOUT.get(x.ndim) if layout == "channels_last" else None
    return x.contiguous(memory_format=form) if form else x.contiguous()


def load(module, variables):
    """Put jaxseg's variables, ``{"params/encoder/stem_conv/conv/kernel": array}``, into a module.

    Names are the module's own with dots; ``[*k i o]`` becomes ``[o i *k]``, or ``[i o *k]`` where
    it is transposed. A ``Peer``'s come under its own keys and in its own layouts.
    Raises KeyError or ValueError for a name or a shape too many, too few or unlike.
    """
    if isinstance(module, Peer):
        state = {key: torch.from_numpy(array) for key, array in variables.items()}
        counters = [k for k in module.net.state_dict() if k.endswith("num_batches_tracked")]
        module.net.load_state_dict(state | {k: torch.tensor(0) for k in counters})
        return
    names = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    state = {}
    for path, array in variables.items():
        _, *places, last = path.split("/")
        owner = module.get_submodule(".".join(places))
        if last == "kernel":
            rank = array.ndim - 2
            turned = isinstance(owner, tuple(TRANSPOSED.values()))
            order = (rank, rank + 1) if turned else (rank + 1, rank)
            array = array.transpose(*order, *range(rank))
        key = ".".join([*places, names.get(last, last)])
        state[key] = torch.from_numpy(np.ascontiguousarray(array))
    own = {k: v.shape for k, v in module.state_dict().items() if "num_batches" not in k}
    given = {k: v.shape for k, v in state.items()}
    if own != given:
        unlike = {
            k: (own.get(k), given.get(k)) for k in {*own, *given} if own.get(k) != given.get(k)
        }
        raise ValueError(f"weights do not fit (theirs, ours): {dict(sorted(unlike.items()))}")
    module.load_state_dict(state, strict=False)


def build(*, network, fields, weights, data, precision, mode, layout):
    """The module, its input and what it is trained on, and the context to run it in.

    That is a label, a cotangent, or None.
    """
    module = NETWORKS[network](**fields)
    load(module, dict(np.load(weights)))
    module = module.to(DEVICE)
    for parameter in module.parameters():
        parameter.data = arranged(parameter.data, layout)
    arrays = np.load(data)
    x, target = placed(arrays["image"], layout), None
    if "label" in arrays:
        target = torch.from_numpy(arrays["label"]).to(DEVICE)
    elif "cotangent" in arrays:
        target = placed(arrays["cotangent"], layout)
    compiled = torch.compile(module) if mode == "compile" else module
    return module, compiled, x, target, precise(precision)


def inference(module, compiled, x, _target, context):
    """The forward pass in evaluation mode, as a call."""
    module.eval()

    def run():
        with torch.inference_mode(), context():
            return compiled(x)

    return run


def training(module, compiled, x, target, context):
    """A step of forward, loss, backward and plain SGD; the loss is cross entropy or mean square."""
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), RATE)

    def run():
        optimizer.zero_grad(set_to_none=True)
        with context():
            y = compiled(x)
        if target is None:
            loss = y.float().square().mean()
        else:
            loss = torch.nn.functional.cross_entropy(y.float(), target)
        loss.backward()
        optimizer.step()
        return loss

    return run


def forward(module, compiled, x, _target, context):
    """The forward pass of one operation, in training mode; in bfloat16 its input is, too."""
    module.train()
    with context():
        x = x.bfloat16() if torch.is_autocast_enabled(DEVICE) else x

    def run():
        with torch.inference_mode(), context():
            return compiled(x)

    return run


def gradient(module, compiled, x, cotangent, context):
    """Forward and backward of one operation to input and parameters; gives the input's gradient."""
    module.train()
    with context():
        x = x.bfloat16() if torch.is_autocast_enabled(DEVICE) else x
    wanted = [x.requires_grad_(), *module.parameters()]

    def run():
        with context():
            y = compiled(x)
        return torch.autograd.grad(y, wanted, cotangent.to(y.dtype))[0]

    return run


TASKS = {"inference": inference, "training": training, "forward": forward, "gradient": gradient}


def synchronize():
    """Waits for the device."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def make(*, key, task, output=None, **case):
    """Build under ``key`` and run once; the result goes to the file ``output``."""
    begun = time.perf_counter()
    BUILT[key] = TASKS[task](*build(**case))
    first = BUILT[key]()
    synchronize()
    answer = {"first_call_seconds": time.perf_counter() - begun}
    values = first.detach().float().cpu().numpy()
    if output:
        np.save(output, np.moveaxis(values, 1, -1))
    elif values.ndim == 0:
        answer["loss"] = float(values)
    return answer


def run(*, key, calls):
    """Seconds a call."""
    built = BUILT[key]
    synchronize()
    begun = time.perf_counter()
    for _ in range(calls):
        built()
    synchronize()
    return {"seconds": (time.perf_counter() - begun) / calls}


def keys(*, network, fields):
    """The keys and shapes of the weights of a peer's network."""
    state = NETWORKS[network](**fields).net.state_dict()
    return {"keys": [[k, list(v.shape)] for k, v in state.items() if "num_batches" not in k]}


def forget():
    """Drop all that was built."""
    BUILT.clear()
    torch._dynamo.reset()
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
    return {}


def first_line(error):
    """The first line of what an error says."""
    return next(iter(str(error).strip().splitlines()), "")[:300]


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a compiler prints must not be taken for an answer
    torch.set_num_threads(cores())
    print(json.dumps(versions()), file=answers, flush=True)
    verbs = {"make": make, "run": run, "forget": forget, "keys": keys}
    for line in sys.stdin:
        request = json.loads(line)
        do = request.pop("do")
        if do == "stop":
            break
        try:
            answer = verbs[do](**request)
        except Exception as error:  # the asker turns it into a row
            answer = {"error": f"{type(error).__name__}: {first_line(error)}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
