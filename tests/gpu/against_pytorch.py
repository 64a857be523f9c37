#!/usr/bin/env python3
"""Times PyTorch and Headshare on the same GPU in turns, case by case, and writes a row of JSON for each.

    tests/gpu/against_pytorch.py [--headshare PROGRAM] [--json FILE] [--only GROUP,...] [--seconds N] [--small]

PROGRAM is headshare_gpu_benchmarks: it stays open, with --serve, and is asked for one measurement at a time, so that
both see the same clocks. Without it PyTorch is timed alone. The groups:

  attention  torch.nn.functional.scaled_dot_product_attention, forward and backward, by each implementation it has;
             heads that are shared stay shared (enable_gqa)
  training   one update of the same model, eager, in the same precision
  matmul     torch.matmul, to see that it takes what cuBLAS takes
  decode     scaled_dot_product_attention of one query against a long cache
  compile    training again, through torch.compile: for information, and last, since compiling takes minutes

--small takes tiny sizes, to try this program; then, without a GPU, on the processor. Cases for which no time is left
say so.
"""

import argparse
import json
import os
import select
import statistics
import subprocess
import sys
import time
import warnings

try:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
except ImportError as error:
    sys.exit(f"against_pytorch: {error}; install PyTorch 2.5 or newer")

from pytorch_transformer import Training

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SAMPLE_MS, BRIEF_MS, RECORDED_CALLS, TURNS = 20, 0.5, 20, 3
COMPILE_SECONDS = 100  # that must be left for one more


# ---- PyTorch's time --------------------------------------------------------------------------------------------------


class Clock:
    """Milliseconds of a call that is repeated for about 20 ms, measured with events on a GPU."""

    def __init__(self, device):
        self.device = device
        # Not the default stream: nothing can be recorded there, and a backward runs where its forward ran.
        self.stream = torch.cuda.Stream() if device == "cuda" else None

    def wait(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def milliseconds(self, work, calls):
        self.wait()
        if self.device != "cuda":
            start = time.perf_counter()
            for _ in range(calls):
                work()
            return 1e3 * (time.perf_counter() - start) / calls
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(calls):
            work()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / calls

    def recorded(self, work):
        """The same work as a graph, so that Python's time for each launch does not count; itself where that fails."""
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.stream):
                for _ in range(RECORDED_CALLS):
                    work()
            return graph.replay, RECORDED_CALLS
        except RuntimeError:
            self.wait()
            return work, 1

    def stopwatch(self, work, record=True):
        """A function that takes one sample."""
        self.milliseconds(work, 2)
        once, in_one = self.milliseconds(work, 2), 1
        if record and self.device == "cuda" and once < BRIEF_MS:
            work, in_one = self.recorded(work)
            once = self.milliseconds(work, 1)
        calls = max(1, min(1000, int(SAMPLE_MS / max(once, 1e-4))))
        return lambda: self.milliseconds(work, calls) / in_one


# ---- Headshare's time ------------------------------------------------------------------------------------------------


class Headshare:
    """headshare_gpu_benchmarks --serve. Where it ends, as after a kernel that reached too far, a new one is started."""

    LONGEST_ANSWER = 90  # seconds

    def __init__(self, program, small):
        self.command = [program, "--serve"] + (["--small"] if small else [])
        self.process = None

    def line(self):
        if not select.select([self.process.stdout], [], [], self.LONGEST_ANSWER)[0]:
            self.stop()
            raise RuntimeError(f"no answer in {self.LONGEST_ANSWER} s")
        line = self.process.stdout.readline()
        if not line:
            raise EOFError
        return json.loads(line)

    def milliseconds(self, case):
        answer = None
        if self.process is not None:  # it may have ended after its last answer
            try:
                answer = self.ask(case)
            except (EOFError, BrokenPipeError):
                self.stop()
        if answer is None:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            try:
                self.line()  # which device it has
                answer = self.ask(case)
            except (EOFError, BrokenPipeError):
                self.process.wait()
                code, self.process = self.process.returncode, None
                raise RuntimeError(f"headshare_gpu_benchmarks ended with {code}") from None
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["ms"]

    def ask(self, case):
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()
        return self.line()

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


# ---- Both, in turns --------------------------------------------------------------------------------------------------


class Comparison:
    def __init__(self, arguments, device):
        self.headshare = Headshare(arguments.headshare, arguments.small) if arguments.headshare else None
        self.clock, self.device, self.small = Clock(device), device, arguments.small
        self.end = time.monotonic() + arguments.seconds
        self.file, self.rows = arguments.json, []

    def seconds_left(self):
        return self.end - time.monotonic()

    def add(self, row):
        self.rows.append(row)
        if self.file:  # after every row: what was measured before something hangs is kept
            with open(self.file + ".tmp", "w") as file:
                json.dump(self.rows, file, indent=1)
            os.replace(self.file + ".tmp", self.file)
        number = lambda key, decimals: "-" if row.get(key) is None else f"{row[key]:.{decimals}f}"
        print(f"{row['kernel']:37} {row['size']:43} {number('PyTorch ms', 4):>10} {number('Headshare ms', 4):>12} "
              f"{number('ratio', 2):>5}  {row['implementation']}{'; ' if row['note'] else ''}{row['note']}", flush=True)

    def compare(self, group, kernel, size, candidates, seconds_needed=5):
        """`candidates`: by name, functions that prepare one of PyTorch's ways and return its stopwatch. The best one
        counts."""
        row = {"group": group, "kernel": kernel, "size": size, "implementation": "", "PyTorch ms": None,
               "Headshare ms": None, "ratio": None, "all": {}, "note": ""}
        notes = []
        if self.seconds_left() < seconds_needed:
            self.add(row | {"note": "no time was left"})
            return
        stopwatches = {}
        for name, prepare in candidates.items():
            try:
                stopwatches[name] = prepare()
            except Exception as error:  # an implementation that does not know this case, or no memory for it
                notes.append(f"{name}: {(str(error).strip() or type(error).__name__).splitlines()[0][:100]}")
        theirs, ours, asking = {name: [] for name in stopwatches}, [], self.headshare is not None
        for _ in range(TURNS):
            if asking:
                try:
                    self.clock.wait()
                    ours.append(self.headshare.milliseconds(f"{kernel}, {size}"))
                except (RuntimeError, OSError, ValueError) as error:
                    notes.append(f"Headshare: {error}")
                    asking = False
            for name, stopwatch in stopwatches.items():
                theirs[name].append(stopwatch())
        row["all"] = {name: statistics.median(times) for name, times in theirs.items() if times}
        if row["all"]:
            row["implementation"] = min(row["all"], key=row["all"].get)
            row["PyTorch ms"] = row["all"][row["implementation"]]
        if ours:
            row["Headshare ms"] = statistics.median(ours)
        if ours and row["all"]:
            row["ratio"] = row["PyTorch ms"] / row["Headshare ms"]
        self.add(row | {"note": "; ".join(notes)})
        del stopwatches
        if self.device == "cuda":
            torch.cuda.empty_cache()  # so that one case does not take the next one's memory


def random(comparison, *shape, dtype):
    # Not zeros: with them a GPU needs less power, keeps a higher clock, and looks faster than it is.
    return torch.randn(*shape, dtype=dtype, device=comparison.device)


BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION,
            "efficient": SDPBackend.EFFICIENT_ATTENTION}


def attend(q, k, v, causal, backend):
    with sdpa_kernel(backend):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal,
                                                                enable_gqa=k.shape[1] != q.shape[1])


def attention(comparison):
    small = comparison.small
    H, tokens = (8, 64) if small else (16, 16384)
    cases = [("attention_tensor_core bf16", "attention_backward_tensor_core bf16", tokens // T, T, G, D, causal)
             for T in ((32,) if small else (1024, 2048, 4096, 8192)) for D in (64, 128) for causal in (True, False)
             for G in (H, H // 4, 1)]
    T = 32 if small else 2048
    cases += [("attention_fused fp32", "attention_backward fp32", 2, T, G, D, True)
              for D in (64, 128) for G in (H, H // 4)]
    for forward, backward, B, T, G, D, causal in cases:
        size = f"B {B} T {T} H {H} G {G} D {D}{' causal' if causal else ''}"
        dtype = TYPES[forward.split()[-1]]
        backends = BACKENDS if comparison.device == "cuda" else {"math": SDPBackend.MATH}

        def operand(heads, gradient):  # as projections write it, [B, T, H, D], seen as PyTorch wants it
            return random(comparison, B, T, heads, D, dtype=dtype).transpose(1, 2).requires_grad_(gradient)

        def prepare_forward(backend):
            q, k, v = operand(H, False), operand(G, False), operand(G, False)
            return comparison.clock.stopwatch(lambda: attend(q, k, v, causal, backend))

        def prepare_backward(backend):
            q, k, v = operand(H, True), operand(G, True), operand(G, True)
            y, dy = attend(q, k, v, causal, backend), operand(H, False)
            return comparison.clock.stopwatch(lambda: torch.autograd.grad(y, (q, k, v), dy, retain_graph=True))

        comparison.compare("attention", forward, size,
                           {name: lambda b=backend: prepare_forward(b) for name, backend in backends.items()})
        comparison.compare("attention", backward, size,
                           {name: lambda b=backend: prepare_backward(b) for name, backend in backends.items()})


MODELS = {"7.58M": (dict(vocabulary=8000, width=256, layers=3, heads=8), ((64, 32), (64, 128))),
          "60.5M": (dict(vocabulary=32000, width=512, layers=6, heads=8), ((64, 128), (16, 512)))}
SMALL_MODELS = {"small": (dict(vocabulary=64, width=16, layers=1, heads=2), ((2, 8),))}


def prepare_training(comparison, model, sentences, length, precision, compiled):
    training = Training(model, sentences, length, precision, comparison.device, compiled)
    for _ in range(3):
        training.update()
    return comparison.clock.stopwatch(training.update, record=False)


def training(comparison):
    for name, (model, batches) in (SMALL_MODELS if comparison.small else MODELS).items():
        for sentences, length in batches:
            for precision in Training.PRECISIONS:
                comparison.compare(
                    "training", f"training step {name} {precision}", f"{sentences} x {length} + {length}",
                    {"eager": lambda: prepare_training(comparison, model, sentences, length, precision, False)}, 15)


def compiled_training(comparison):
    for precision in ("bf16", "tf32", "fp32"):
        for name, (model, batches) in (SMALL_MODELS if comparison.small else MODELS).items():
            sentences, length = batches[0]
            torch.compiler.reset()
            comparison.compare(
                "compile", f"training step {name} {precision}", f"{sentences} x {length} + {length}",
                {"compiled": lambda: prepare_training(comparison, model, sentences, length, precision, True)},
                COMPILE_SECONDS)


def matmul(comparison):
    n = 64 if comparison.small else 4096
    for size, dtype in ((n, torch.bfloat16), (2 * n, torch.bfloat16)):
        def prepare(size=size, dtype=dtype):
            a, b, c = (random(comparison, size, size, dtype=dtype) for _ in range(3))
            return comparison.clock.stopwatch(lambda: torch.matmul(a, b, out=c))

        comparison.compare("matmul", "matmul_hopper bf16", f"{size} x {size} x {size} NN", {"torch.matmul": prepare})


def decode(comparison):
    """One new token a sentence against a full cache: reading the keys and values is all the work there is."""
    B, H, S, D = (2, 8, 70, 128) if comparison.small else (128, 8, 8192, 128)
    backends = BACKENDS if comparison.device == "cuda" else {"math": SDPBackend.MATH}
    for dtype in (torch.bfloat16, torch.float32):
        for G in (8, 1):
            def prepare(backend, G=G, dtype=dtype):
                q = random(comparison, B, H, 1, D, dtype=dtype)
                k, v = random(comparison, B, G, S, D, dtype=dtype), random(comparison, B, G, S, D, dtype=dtype)
                return comparison.clock.stopwatch(lambda: attend(q, k, v, False, backend))

            type_name = str(dtype).removeprefix("torch.")
            comparison.compare("decode", "decode_attention",
                               f"B {B} S {S} H {H} G {G} D {D}, query {type_name}, cache {type_name}",
                               {name: lambda b=backend: prepare(b) for name, backend in backends.items()})


def parsed_arguments(groups):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--headshare", metavar="PROGRAM")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--only", metavar="GROUP,...", default="")
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--small", action="store_true")
    # One line, not the whole usage.
    parser.error = lambda message: (print(f"against_pytorch: {message}", file=sys.stderr), sys.exit(2))
    arguments = parser.parse_args()
    arguments.only = [word for word in arguments.only.split(",") if word]
    for word in arguments.only:
        if word not in groups:
            parser.error(f"--only knows no group {word}; choose from {', '.join(groups)}")
    if arguments.headshare and not os.access(arguments.headshare, os.X_OK):
        parser.error(f"--headshare {arguments.headshare} is no program")
    return arguments


def main():
    groups = {"attention": attention, "training": training, "matmul": matmul, "decode": decode,
              "compile": compiled_training}
    arguments = parsed_arguments(groups)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not arguments.small:
        sys.exit("against_pytorch: this PyTorch finds no GPU")
    torch.manual_seed(1)
    warnings.simplefilter("ignore")  # an implementation that cannot do a case says so at length
    name = torch.cuda.get_device_name() if device == "cuda" else "the processor"
    print(f"PyTorch {torch.__version__} on {name}; a ratio above 1: Headshare is faster")
    print(f"{'':81} {'PyTorch ms':>10} {'Headshare ms':>12} {'ratio':>5}  PyTorch's way")
    comparison = Comparison(arguments, device)
    try:
        with torch.cuda.stream(comparison.clock.stream):  # None: no other stream
            for name, group in groups.items():
                if not arguments.only or name in arguments.only:
                    group(comparison)
    finally:
        if comparison.headshare:
            comparison.headshare.stop()
    # What torch.compile takes is for information.
    wanted = ["PyTorch ms"] + (["Headshare ms"] if comparison.headshare else [])
    missing = [row for row in comparison.rows if row["group"] != "compile" and any(row[key] is None for key in wanted)]
    print(f"{len(comparison.rows)} cases, {len(missing)} of them not measured")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
