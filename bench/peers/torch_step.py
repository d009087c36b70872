#!/usr/bin/env python3
"""The work of `passnorm bench step|inference|kernels` written in plain PyTorch, the way the papers' code does it: for runs
side by side. Needs nothing but torch (1.13 or newer); any interpreter that has it.

    torch_step.py step       whole training steps: two forward passes (public, then passport), joint loss, one backward, SGD
    torch_step.py norm       batch norm + scale + shift + ReLU, forward and backward
    torch_step.py passport   what every site adds: its scale and shift from the keys, sign loss, and their backward
    torch_step.py inference  images a second without gradients
    torch_step.py check F... one step against tests/golden/F.json, in float64: exit 1 when the mathematics differ
    torch_step.py serve      reads one JSON list of such arguments per line, answers each with one line; a work asked for again is
                             not built (or compiled) again: for runs that alternate with another program

On a GPU (--device cuda) times are from event to event on the device; norm walks over more memory than its L2 cache holds.

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

GradScaler = getattr(torch.amp, "GradScaler", torch.cuda.amp.GradScaler)
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
        raw, scale, shift = self.read() if passport else (None, self.scale, self.bias)
        if self.scheme == "pan":
            y = (self.bn1 if passport else self.bn0)(y)
        else:
            y = self.bn(y)
        return y * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1), raw

    def read(self):
        """The passport's raw scale, and the scale and shift made of it."""
        raw = self.conv(self.skey).mean(dim=(0, 2, 3))
        scale, shift = raw, self.conv(self.key).mean(dim=(0, 2, 3))
        if self.scheme == "pan":
            scale, shift = self.fc(scale), self.fc(shift)
        return raw, scale, shift

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
            entropies.append(F.cross_entropy(logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits, labels))
            signs = signs + sign
        return entropies, signs


def sgd(parameters, lr, weight_decay, fused=True):
    make = partial(torch.optim.SGD, lr=lr, momentum=0.9, weight_decay=weight_decay)
    parameters = list(parameters)
    if not fused:
        return make(parameters)
    try:
        return make(parameters, fused=True)  # one pass over the parameters, where this version has it
    except (TypeError, RuntimeError):
        return make(parameters)


def repeat(work, o):
    """Seconds of each timed call."""
    for _ in range(o.warmup):
        work()
    run = on_device if o.device == "cuda" else on_host
    seconds, end = [], time.perf_counter() + o.seconds
    while len(seconds) < o.steps if o.steps else len(seconds) < 5 or time.perf_counter() < end:
        seconds += run(work, o)
    return seconds


def on_host(work, o):
    start = time.perf_counter()
    work()
    return [time.perf_counter() - start]


def on_device(work, o):
    """Of a row of calls, so that the host may run ahead; what the device waits for it counts."""
    marks = [torch.cuda.Event(enable_timing=True) for _ in range((o.steps or 10) + 1)]
    torch.cuda.synchronize()
    marks[0].record()
    for mark in marks[1:]:
        work()
        mark.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) / 1e3 for a, b in zip(marks, marks[1:])]


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


def allocated(o):
    return torch.cuda.memory_allocated() if o.device == "cuda" else 0


class Work:
    """A call that is built once and timed as often as asked; what else this process keeps on the GPU does not count as its."""

    def __init__(self, o, build):
        self.resident_before, before = resident_mib(), allocated(o)
        torch.manual_seed(1)
        self.call, self.facts = build()
        self.call()
        self.kept = allocated(o) - before

    def run(self, o):
        others = allocated(o) - self.kept
        if o.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds = repeat(self.call, o)
        peak = {"peak_mib": (torch.cuda.max_memory_allocated() - others) / 2**20} if o.device == "cuda" else {}
        return seconds, {**self.facts, **peak, "resident_before_mib": self.resident_before}


WORKS = {}


def work(o, name, build, *more):
    """The work of these arguments in a memory layout; a server keeps the last ones."""
    key = (name, *more, o.mode, o.model, o.scheme, o.sites, o.branch, o.batch, o.precision, o.compile, o.published, o.no_tf32)
    if key not in WORKS:
        while len(WORKS) >= 6:
            del WORKS[next(iter(WORKS))]
        WORKS[key] = Work(o, build)
    return WORKS[key]


def storage(precision):
    return {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[precision]


def autocast(o):
    low = o.precision != "f32"
    return torch.autocast(o.device, dtype=storage(o.precision) if low else torch.bfloat16, enabled=low)


def layout(tensor, name):
    return tensor.to(memory_format=torch.channels_last if name == "channels_last" else torch.contiguous_format)


def compiled(function, o):
    if not o.compile:
        return function
    # Not dynamic: a server that is asked for a second batch would else compile for any size, which is slower.
    return torch.compile(function, mode=None if o.compile == "default" else o.compile, dynamic=False)


def over_layouts(o, measure):
    """The result of the layout asked for; `best`: of the faster one."""
    names = ["nchw", "channels_last"] if o.memory_format == "best" else [o.memory_format]
    results = [{**measure(name), "memory_format": name} for name in names]
    return min(results, key=lambda r: r["milliseconds"]["median"])


def network_and_images(o, name):
    net = layout(Net(o.model, o.scheme, o.sites), name).to(o.device)
    x = layout(torch.rand(o.batch, 3, 32, 32) * 2 - 1, name).to(o.device)
    return net, x


def step(o):
    def build(name):
        net, x = network_and_images(o, name)
        labels = torch.randint(0, 10, (o.batch,)).to(o.device)
        optimizer = sgd(net.parameters(), 1e-3, 5e-4, fused=not o.published)
        scaler = GradScaler(enabled=o.precision == "f16")

        def forward():
            with autocast(o):
                entropies, signs = net.losses(x, labels)
                return sum(entropies) + signs, [*entropies, signs]

        losses = compiled(forward, o)  # both branches in one graph: the compiler sees all there is to share

        def call():
            optimizer.zero_grad(set_to_none=True)
            total, parts = losses()
            scaler.scale(total).backward()
            scaler.step(optimizer)
            scaler.update()
            if o.published:
                [part.item() for part in parts]

        return call, {"parameters": sum(p.numel() for p in net.parameters())}

    def measure(name):
        seconds, facts = work(o, name, partial(build, name)).run(o)
        return {**summary(seconds, o.batch), **facts}

    return over_layouts(o, measure)


def inference(o):
    def build(name):
        net, x = network_and_images(o, name)
        net.eval()
        passport = o.branch == "passport"
        run = compiled(lambda: net(x, passport)[0], o)

        def call():
            with torch.no_grad(), autocast(o):
                run()

        return call, {}

    def measure(name):
        seconds, facts = work(o, name, partial(build, name)).run(o)
        return {**summary(seconds, o.batch), **facts}

    return over_layouts(o, measure)


def passport(o):
    def build(name):
        net, _ = network_and_images(o, name)
        sites = [layer for layer in net.layers.values() if layer.scheme != "none"]

        def forward():
            total = 0
            for layer in sites:
                raw, scale, shift = layer.read()
                total = total + layer.sign_loss(raw) + scale.sum() + shift.sum()
            return total

        losses = compiled(forward, o)

        def call():
            net.zero_grad(set_to_none=True)
            losses().backward()

        return call, {"layers": len(sites)}

    def measure(name):
        seconds, facts = work(o, name, partial(build, name)).run(o)
        return {**summary(seconds), **facts}

    return over_layouts(o, measure)


def norm(o):
    def build(shape, name):
        dtype = storage(o.precision)
        scale, shift = torch.rand(shape[1]).to(o.device).requires_grad_(), torch.rand(shape[1]).to(o.device).requires_grad_()
        mean, var = torch.zeros(shape[1], device=o.device), torch.ones(shape[1], device=o.device)

        def tensor():
            return layout(torch.rand(shape, device=o.device) * 2 - 1, name).to(dtype)

        # On a GPU so many that every one has left the L2 cache when its turn comes again.
        cache = getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 64 << 20) if o.device == "cuda" else 0
        bytes_each = 2 * math.prod(shape) * dtype.itemsize if cache else 1
        pairs = [(tensor().requires_grad_(), tensor()) for _ in range(1 + 2 * cache // bytes_each)]

        def forward(x):
            y = F.batch_norm(x, mean, var, training=True)
            return F.relu(y * scale.view(1, -1, 1, 1).to(dtype) + shift.view(1, -1, 1, 1).to(dtype))

        apply = compiled(forward, o)
        turn = 0

        def call():
            nonlocal turn
            x, dy = pairs[turn % len(pairs)]
            turn += 1
            x.grad = scale.grad = shift.grad = None
            apply(x).backward(dy)

        return call, {"buffers": len(pairs)}

    def one(shape, name):
        seconds, facts = work(o, name, partial(build, shape, name), shape).run(o)
        return {**summary(seconds), **facts}

    shapes = [tuple(map(int, o.shape.split(",")))] if o.shape else [(o.batch, *s[1:]) for s in NORM_SHAPES]
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


def serve(o):
    for line in sys.stdin:
        try:
            answer = run(parse(json.loads(line)))
        except (Exception, SystemExit) as e:  # noqa: BLE001: the next question may be answered
            answer = {"error": f"{type(e).__name__}: {' '.join(str(e).split())}"[:500]}
        print(json.dumps(answer), flush=True)


MODES = {"step": step, "norm": norm, "passport": passport, "inference": inference}


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=[*MODES, "check", "serve"])
    parser.add_argument("golden", nargs="*", help="files of tests/golden, for check")
    parser.add_argument("--model", choices=sorted(LAST), default="resnet18")
    parser.add_argument("--scheme", choices=SCHEMES, default="none")
    parser.add_argument("--sites", default="last", help="last, all, or patterns of layer names")
    parser.add_argument("--branch", choices=["public", "passport"], default="public", help="inference")
    parser.add_argument("--shape", help="norm: N,C,H,W; default: the four of a ResNet-18")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=0, help="timed; 0: as many as fit into --seconds, at least 5")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--memory-format", choices=["nchw", "channels_last", "best"], default="best")
    parser.add_argument("--precision", choices=["f32", "bf16", "f16"], default="f32",
                        help="of torch.autocast (norm: of the tensors); f16 scales the loss")
    parser.add_argument("--no-tf32", action="store_true", help="f32 is IEEE's in convolutions, too, where PyTorch takes TF32 on a GPU")
    parser.add_argument("--compile", nargs="?", const="default", metavar="MODE", help="torch.compile, PyTorch 2")
    parser.add_argument("--published", action="store_true",
                        help="step: as the published trainers do, which read every loss after each step; the optimiser is not fused")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser.parse_args(arguments)


def run(o):
    if o.device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("this PyTorch finds no GPU")
    torch.set_num_threads(o.threads)
    torch.backends.cudnn.benchmark = True
    # PyTorch's own choice, if not asked for less: TF32 in convolutions, not in matrix products.
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = not o.no_tf32, False
    result = MODES[o.mode](o)
    result.update(mode=o.mode, torch=torch.__version__, device=o.device, threads=torch.get_num_threads(), precision=o.precision,
                  compile=o.compile, published=o.published, batch=o.batch, peak_resident_mib=peak_resident_mib())
    if o.device == "cuda":
        result.update(cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version(), gpu=torch.cuda.get_device_name(),
                      tf32={"convolution": torch.backends.cudnn.allow_tf32, "matmul": torch.backends.cuda.matmul.allow_tf32})
    if o.mode != "norm":
        result.update(model=o.model, scheme=o.scheme, sites=o.sites)
    return result


def main():
    o = parse(sys.argv[1:])
    if o.mode in ("check", "serve"):
        {"check": check, "serve": serve}[o.mode](o)
        return
    try:
        result = run(o)
    except RuntimeError as e:
        sys.exit(f"torch_step.py: {e}")
    if o.json:
        print(json.dumps(result))
        return
    for row in result.get("shapes", [result]):
        t = row["milliseconds"]
        what = "x".join(map(str, row["shape"])) if "shape" in row else f"{o.model} {o.scheme} {o.sites} batch {o.batch}"
        speed = f"{row['images_per_second']:.1f} images/s, " if "images_per_second" in row else ""
        memory = row.get("peak_mib", result["peak_resident_mib"])
        print(f"PyTorch {torch.__version__} {row['memory_format']} {what}: {speed}{t['median']:.3f} ms "
              f"(median of {row['steps']}, {t['least']:.3f} to {t['most']:.3f}), {memory:.0f} MiB")


if __name__ == "__main__":
    main()
