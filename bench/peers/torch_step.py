#!/usr/bin/env python3
"""The work of `passnorm bench step|inference|kernels` written in plain PyTorch, the way the papers' code does it: for runs
side by side. Needs nothing but torch (1.13 or newer); any interpreter that has it.

    torch_step.py step       whole training steps: two forward passes (public, then passport), joint loss, one backward, SGD
    torch_step.py norm       batch norm + scale + shift + ReLU, forward and backward
    torch_step.py inference  images a second without gradients
    torch_step.py check F... one step against tests/golden/F.json, in float64: exit 1 when the mathematics differ

A passport layer computes its scale as the mean over space of conv(key, W) with batch 1, in every passport forward; PAN's passes
it through Linear(C, C/4), LeakyReLU, Linear(C/4, C). The sign loss is alpha sum max(0, margin - b g) + decay sum g^2.
"""

import argparse
import json
import math
import resource
import statistics
import sys
import time
import warnings
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

SCHEMES = ["none", "deepipr-v1", "deepipr-v2", "pan"]
LAST = {"alexnet": ["features.4", "features.5", "features.6"], "resnet9": ["layer4.*"], "resnet18": ["layer4.*"],
        "tiny": ["conv3", "conv4"]}
NORM_SHAPES = [(64, 64, 32, 32), (64, 128, 16, 16), (64, 256, 8, 8), (64, 512, 4, 4)]


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, affine of the branch."""

    def __init__(self, plan, name, c, h, o, kernel, stride=1):
        super().__init__()
        self.scheme = plan.scheme if any(fnmatchcase(name, s) for s in plan.sites) else "none"
        self.conv = nn.Conv2d(c, o, kernel, stride, kernel // 2, bias=False)
        self.name, self.out = name, h // stride
        if self.scheme == "none":
            self.bn = nn.BatchNorm2d(o)
            return
        if self.scheme == "pan":
            self.bn0, self.bn1 = nn.BatchNorm2d(o, affine=False), nn.BatchNorm2d(o, affine=False)
            self.fc = nn.Sequential(nn.Linear(o, o // 4, bias=False), nn.LeakyReLU(), nn.Linear(o // 4, o, bias=False))
        else:
            self.bn = nn.BatchNorm2d(o, affine=False)
        if self.scheme != "deepipr-v1":
            self.scale, self.bias = nn.Parameter(torch.ones(o)), nn.Parameter(torch.zeros(o))
        for key in ("skey", "key"):
            self.register_buffer(key, torch.rand(1, c, h, h) * 2 - 1)
        self.register_buffer("b", torch.randint(0, 2, (o,)) * 2.0 - 1)

    def forward(self, x, passport):
        """The result before the activation, and the raw scale (None without a passport)."""
        y = self.conv(x)
        if self.scheme == "none":
            return self.bn(y), None
        if not passport:
            raw, scale, shift = None, self.scale, self.bias
        else:
            raw = self.conv(self.skey).mean(dim=(0, 2, 3))
            scale, shift = raw, self.conv(self.key).mean(dim=(0, 2, 3))
        if self.scheme == "pan":
            if passport:
                scale, shift = self.fc(scale), self.fc(shift)
            y = (self.bn1 if passport else self.bn0)(y)
        else:
            y = self.bn(y)
        return y * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1), raw

    def sign_loss(self, raw, alpha=0.1, margin=0.1, decay=1e-5):
        return alpha * F.relu(margin - self.b * raw).sum() + decay * raw.square().sum()


class Net(nn.Module):
    """Children are reached by their dotted names, the ones of our model files."""

    def __init__(self, model, scheme, sites, classes=10, residual_relu=False):
        super().__init__()
        self.scheme, self.residual_relu, self.kind = scheme, residual_relu, model
        self.sites = LAST[model] if sites == "last" else ["*"] if sites == "all" else sites.split(",")
        if scheme == "none":
            self.sites = []
        self.layers = {}
        if model == "alexnet":
            h, c = 32, 3
            for i, o, k, pool in [(0, 64, 5, 2), (2, 192, 5, 2), (4, 384, 3, 1), (5, 256, 3, 1), (6, 256, 3, 2)]:
                self.add(f"features.{i}", c, h, o, k)
                h, c = h // pool, o
            self.classifier = nn.Linear(4096, classes)
        elif model == "tiny":
            for i, (c, h, o) in enumerate([(3, 32, 32), (32, 16, 64), (64, 8, 128), (128, 4, 128)], 1):
                self.add(f"conv{i}", c, h, o, 3)
            self.linear = nn.Linear(128, classes)
        else:
            self.blocks = []
            self.add("convbnrelu_1", 3, 32, 64, 3)
            h, c = 32, 64
            for stage in range(1, 5):
                for i in range(2 if model == "resnet18" else 1):
                    o, stride = 32 << stage, 2 if stage > 1 and i == 0 else 1
                    block = f"layer{stage}.{i}."
                    self.blocks.append(block)
                    self.add(block + "convbnrelu_1", c, h, o, 3, stride)
                    self.add(block + "convbn_2", o, h // stride, o, 3)
                    if c != o:
                        self.add(block + "shortcut", c, h, o, 1, stride)
                    h, c = h // stride, o
            self.linear = nn.Linear(512, classes)

    def add(self, name, *sizes):
        layer = ConvNorm(self, name, *sizes)
        parent, *rest = name.split(".")
        at = self
        for part in name.split(".")[:-1]:
            if not hasattr(at, part):
                at.add_module(part, nn.Module())
            at = getattr(at, part)
        at.add_module(name.split(".")[-1], layer)
        self.layers[name] = layer

    def forward(self, x, passport=False):
        """Logits and the sum of the sign losses (0 in the public branch)."""
        signs = x.new_zeros(())

        def run(name, x):
            nonlocal signs
            layer = self.layers[name]
            y, raw = layer(x, passport)
            if raw is not None:
                signs = signs + layer.sign_loss(raw)
            return y

        if self.kind == "alexnet":
            for i in (0, 2, 4, 5, 6):
                x = F.relu(run(f"features.{i}", x))
                if i in (0, 2, 6):
                    x = F.max_pool2d(x, 2)
            return self.classifier(x.flatten(1)), signs
        if self.kind == "tiny":
            for i in (1, 2, 3):
                x = F.max_pool2d(F.relu(run(f"conv{i}", x)), 2)
            return self.linear(F.relu(run("conv4", x) + x).mean((2, 3))), signs
        inner = F.relu if self.residual_relu else nn.Identity()
        x = F.relu(run("convbnrelu_1", x))
        for block in self.blocks:
            y = inner(run(block + "convbn_2", F.relu(run(block + "convbnrelu_1", x))))
            x = F.relu(y + (inner(run(block + "shortcut", x)) if block + "shortcut" in self.layers else x))
        return self.linear(x.mean((2, 3))), signs

    def branches(self):
        return {"none": [False], "deepipr-v1": [True]}.get(self.scheme, [False, True])

    def losses(self, x, labels):
        """Cross-entropy per branch, and the sign losses."""
        entropies, signs = [], 0
        for passport in self.branches():
            logits, sign = self(x, passport)
            entropies.append(F.cross_entropy(logits.float() if logits.dtype == torch.bfloat16 else logits, labels))
            signs = signs + sign
        return entropies, signs


def sgd(parameters, lr, weight_decay):
    make = partial(torch.optim.SGD, lr=lr, momentum=0.9, weight_decay=weight_decay)
    parameters = list(parameters)
    try:
        return make(parameters, fused=True)  # one pass over the parameters, where this version has it
    except (TypeError, RuntimeError):
        return make(parameters)


def repeat(work, o):
    """Seconds of each timed call."""
    for _ in range(o.warmup):
        work()
    seconds, end = [], time.perf_counter() + o.seconds
    while len(seconds) < o.steps if o.steps else len(seconds) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds


def summary(seconds, images=None):
    out = {"milliseconds": {"median": 1e3 * statistics.median(seconds), "least": 1e3 * min(seconds), "most": 1e3 * max(seconds)},
           "steps": len(seconds)}
    if images:
        out["images_per_second"] = images / statistics.median(seconds)
    return out


def resident_mib():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize() / 2**20


def peak_resident_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def autocast(o):
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=o.bf16)


def layout(tensor, name):
    return tensor.to(memory_format=torch.channels_last if name == "channels_last" else torch.contiguous_format)


def compiled(function, o):
    return torch.compile(function) if o.compile else function


def over_layouts(o, measure):
    """The result of the layout asked for; `best`: of the faster one."""
    names = ["nchw", "channels_last"] if o.memory_format == "best" else [o.memory_format]
    results = [{**measure(name), "memory_format": name} for name in names]
    return min(results, key=lambda r: r["milliseconds"]["median"])


def step(o):
    def measure(name):
        before = resident_mib()
        torch.manual_seed(1)
        net = layout(Net(o.model, o.scheme, o.sites), name)
        x, labels = layout(torch.rand(o.batch, 3, 32, 32) * 2 - 1, name), torch.randint(0, 10, (o.batch,))
        optimizer = sgd(net.parameters(), 1e-3, 5e-4)

        def forward():
            with autocast(o):
                entropies, signs = net.losses(x, labels)
                return sum(entropies) + signs

        loss = compiled(forward, o)  # both branches in one graph: the compiler sees all there is to share

        def work():
            optimizer.zero_grad(set_to_none=True)
            loss().backward()
            optimizer.step()

        result = summary(repeat(work, o), o.batch)
        return {**result, "parameters": sum(p.numel() for p in net.parameters()), "resident_before_mib": before}

    return over_layouts(o, measure)


def inference(o):
    def measure(name):
        torch.manual_seed(1)
        net = layout(Net(o.model, o.scheme, o.sites), name).eval()
        x = layout(torch.rand(o.batch, 3, 32, 32) * 2 - 1, name)
        passport = o.branch == "passport"
        run = compiled(lambda: net(x, passport)[0], o)

        def work():
            with torch.no_grad(), autocast(o):
                run()

        return summary(repeat(work, o), o.batch)

    return over_layouts(o, measure)


def norm(o):
    def one(shape, name):
        torch.manual_seed(1)
        dtype = torch.bfloat16 if o.bf16 else torch.float32
        x = layout(torch.rand(shape) * 2 - 1, name).to(dtype).requires_grad_()
        dy = layout(torch.rand(shape) * 2 - 1, name).to(dtype)
        scale, shift = torch.rand(shape[1]).requires_grad_(), torch.rand(shape[1]).requires_grad_()
        mean, var = torch.zeros(shape[1]), torch.ones(shape[1])

        def forward():
            y = F.batch_norm(x, mean, var, training=True)
            return F.relu(y * scale.view(1, -1, 1, 1).to(dtype) + shift.view(1, -1, 1, 1).to(dtype))

        apply = compiled(forward, o)

        def work():
            x.grad = scale.grad = shift.grad = None
            apply().backward(dy)

        return summary(repeat(work, o))

    shapes = [tuple(map(int, o.shape.split(",")))] if o.shape else NORM_SHAPES
    return {"shapes": [{"shape": list(s), **over_layouts(o, partial(one, s))} for s in shapes]}


def fill(name, shape):
    """The deterministic numbers of tests/golden/README.md, before any amplitude."""
    x = 2166136261
    for c in name.encode():
        x = (x ^ c) * 16777619 & 0xFFFFFFFF
    values = []
    for _ in range(math.prod(shape)):
        x = (1664525 * x + 1013904223) & 0xFFFFFFFF
        values.append(x / 2**31 - 1)
    return torch.tensor(values, dtype=torch.float64).view(*shape)


def parameter_values(name, shape):
    v = fill(name, shape)
    if len(shape) > 1:
        fan_in = math.prod(shape[1:])
        return v * math.sqrt((1 if ".fc." in name else 6) / fan_in)
    return 1 + 0.1 * v if name.endswith((".scale", ".weight")) else 0.1 * v


def check(o):
    """Losses and gradient norm of a golden file's steps, from its own weights, keys and images."""
    failed = []
    for file in o.golden:
        golden = json.loads(Path(file).read_text())
        if golden["norm"] != "batch":
            sys.exit(f"{file}: batch norm only")
        torch.set_default_dtype(torch.float64)
        net = Net(golden["arch"], golden["scheme"].replace("_", "-"), ",".join(golden["passport_sites"]), golden["classes"],
                  golden.get("residual_relu", False))
        with torch.no_grad():
            for name, p in net.named_parameters():
                p.copy_(parameter_values(name, p.shape))
            for name, b in net.named_buffers():
                if name.endswith((".skey", ".key")):
                    b.copy_(fill(name, b.shape))
                elif name.endswith(".b"):
                    b.copy_(fill(name, b.shape).sign())
        x = fill(golden["input"]["name"], golden["input"]["shape"])
        labels = torch.tensor([(7 * i + 3) % golden["classes"] for i in range(golden["batch"])])
        rule = golden["optimizer"]
        optimizer = sgd(net.parameters(), rule["lr"], rule["weight_decay"])
        count = sum(p.numel() for p in net.parameters())
        worst = 0 if count == golden["parameters"] else math.inf
        for i, expected in enumerate(golden["steps"][: o.steps or None]):
            optimizer.zero_grad()
            entropies, signs = net.losses(x, labels)
            (sum(entropies) + signs).backward()
            norm = math.sqrt(sum(float(p.grad.square().sum()) for p in net.parameters() if p.grad is not None))
            optimizer.step()
            pairs = [*zip((e.item() for e in entropies), expected["ce"]), (float(signs), expected["sign_loss"] or 0),
                     (norm, expected.get("grad_norm"))]
            for ours, reference in pairs:
                if reference is not None:
                    worst = max(worst, abs(ours - reference) / max(1, abs(reference)))
        ok = worst < 1e-4
        print(f"{'ok  ' if ok else 'FAIL'} {golden['name']}: {count} parameters, worst difference {worst:.1e}")
        if not ok:
            failed.append(file)
    sys.exit(1 if failed else 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["step", "norm", "inference", "check"])
    parser.add_argument("golden", nargs="*", help="files of tests/golden, for check")
    parser.add_argument("--model", choices=sorted(LAST), default="resnet18")
    parser.add_argument("--scheme", choices=SCHEMES, default="none")
    parser.add_argument("--sites", default="last", help="last, all, or patterns of layer names")
    parser.add_argument("--branch", choices=["public", "passport"], default="public", help="inference")
    parser.add_argument("--shape", help="norm: N,C,H,W; default: the four of a ResNet-18")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=0, help="timed; 0: as many as fit into --seconds, at least 5")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--memory-format", choices=["nchw", "channels_last", "best"], default="best")
    parser.add_argument("--bf16", action="store_true", help="torch.autocast to bfloat16 (norm: bfloat16 tensors)")
    parser.add_argument("--compile", action="store_true", help="torch.compile, PyTorch 2")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    if o.mode == "check":
        check(o)
    result = {"step": step, "norm": norm, "inference": inference}[o.mode](o)
    result.update(mode=o.mode, torch=torch.__version__, threads=torch.get_num_threads(), bf16=o.bf16, compile=o.compile,
                  batch=o.batch, peak_resident_mib=peak_resident_mib())
    if o.mode != "norm":
        result.update(model=o.model, scheme=o.scheme, sites=o.sites)
    if o.json:
        print(json.dumps(result))
        return
    for row in result.get("shapes", [result]):
        t = row["milliseconds"]
        what = "x".join(map(str, row["shape"])) if "shape" in row else f"{o.model} {o.scheme} {o.sites} batch {o.batch}"
        speed = f"{row['images_per_second']:.1f} images/s, " if "images_per_second" in row else ""
        print(f"PyTorch {torch.__version__} {row['memory_format']} {what}: {speed}{t['median']:.3f} ms "
              f"(median of {row['steps']}, {t['least']:.3f} to {t['most']:.3f}), {result['peak_resident_mib']:.0f} MiB")


if __name__ == "__main__":
    main()
