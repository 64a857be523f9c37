#!/usr/bin/env python3
"""Times the same model in PyTorch and in Headshare, in turns, and prints the ratio of the medians.

    tests/benchmarks/against_pytorch.py --headshare build/release/headshare --peers ../shared/peers [--rounds 5]
                                        [--only train|decode] [--extension] [--json FILE]

Needs PyTorch and a folder with model.py, the same Transformer in PyTorch (post-norm, ReLU, tied embeddings, key/value
heads as an argument, preallocated caches that are never expanded). --extension takes the batched product of ext.so in
that folder instead of torch.bmm, for a PyTorch without MKL. Machines drift: only runs side by side are compared.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

THREADS = 2
ALL_CORES = os.sched_getaffinity(0)  # before PyTorch, which may bind this thread, and so its children, to one core


def headshare(command, *options):
    """The one row that `headshare benchmark` writes."""
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "row.json")
        words = [command, "benchmark", "--threads", str(THREADS), "--json", file, *map(str, options)]
        # The environment that makes PyTorch fast is PyTorch's alone.
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("LD_", "OMP_", "GOMP_", "MALLOC_"))}
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=clean,
                       preexec_fn=lambda: os.sched_setaffinity(0, ALL_CORES))
        with open(file) as rows:
            return json.load(rows)[0]


class Training:
    def __init__(self, torch, M, sentences, length):
        self.name = f"training step, {sentences} x {length} + {length}"
        self.options = ["--what", "train", "--batch", sentences, "--source", length, "--kv-heads", 8, "--repetitions", 5]
        self.torch, self.V = torch, 8000
        torch.manual_seed(0)
        self.model = M.Model(Hkv=8).train()
        self.adam = torch.optim.Adam(self.model.parameters(), lr=3e-4, betas=(0.9, 0.98), eps=1e-9, foreach=False)
        self.source = torch.randint(3, self.V, (sentences, length))
        target = torch.randint(3, self.V, (sentences, length + 1))
        self.input, self.output = target[:, :-1].contiguous(), target[:, 1:].contiguous()

    def step(self):
        self.adam.zero_grad(set_to_none=True)
        logits = self.model(self.source, self.input).view(-1, self.V)
        self.torch.nn.functional.cross_entropy(logits, self.output.view(-1), label_smoothing=0.1).backward()
        self.adam.step()

    def pytorch_ms(self):
        times = []
        for _ in range(6):
            start = time.perf_counter()
            self.step()
            times.append(time.perf_counter() - start)
        return 1e3 * statistics.median(times[1:])


class Decoding:
    TARGET = 64

    def __init__(self, torch, M, batch, source, kv_heads):
        self.name = f"greedy decoding step, B {batch} S {source} G {kv_heads}"
        self.repetitions = 9 if batch == 1 else 3
        self.options = ["--batch", batch, "--source", source, "--target", self.TARGET, "--kv-heads", kv_heads,
                        "--repetitions", self.repetitions]
        torch.manual_seed(0)
        model = M.Model(Hkv=kv_heads).eval()
        with torch.inference_mode():
            self.decoder = M.Decoder(model, batch, self.TARGET)
            memory = torch.randn(batch, source, 256)
            self.decoder.ck, self.decoder.cv = [], []
            for layer in model.dec:
                k, v = layer.ca.project_kv(memory)
                self.decoder.ck.append(k.transpose(2, 3).reshape(batch * kv_heads, 32, -1))
                self.decoder.cv.append(v.reshape(batch * kv_heads, -1, 32))
        self.torch = torch

    def pytorch_ms(self):
        times = []
        with self.torch.inference_mode():
            self.decoder.run(3)
            for _ in range(self.repetitions):
                start = time.perf_counter()
                self.decoder.run(self.TARGET)
                times.append(time.perf_counter() - start)
        return 1e3 * statistics.median(times) / self.TARGET


def train_peak(torch_bmm_extension, peers, sentences, length):
    """Peak resident memory of a fresh process that only trains, in MiB."""
    program = (
        "import sys, resource, torch; sys.path.insert(0, sys.argv[1]); import model as M\n"
        "from against_pytorch import Training, prepare\n"
        "prepare(torch, M, sys.argv[2] == '1', train=True)\n"
        "t = Training(torch, M, int(sys.argv[3]), int(sys.argv[4]))\n"
        "for _ in range(4): t.step()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n")
    environment = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.abspath(__file__)))
    words = [sys.executable, "-c", program, peers, str(int(torch_bmm_extension)), str(sentences), str(length)]
    return int(subprocess.run(words, check=True, capture_output=True, text=True, env=environment).stdout)


def headshare_peak(command, options):
    """The same for Headshare, which runs as a child."""
    pid = os.spawnv(os.P_NOWAIT, "/bin/sh", ["sh", "-c", f"exec '{command}' benchmark --threads {THREADS} " +
                                            " ".join(map(str, options)) + " > /dev/null"])
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        sys.exit("headshare failed")
    return usage.ru_maxrss // 1024


def prepare(torch, M, extension, train):
    torch.set_num_threads(THREADS)
    if extension:
        M.use_ext(train)
    else:
        M.BMM = torch.bmm


def compare_peaks(arguments, rows):
    # Before this process loads PyTorch: a child's peak begins with what its parent holds.
    print(f"{'':42}  {'PyTorch MiB':>11}  {'Headshare MiB':>13}  {'ratio':>5}")
    for sentences, length in ((64, 32), (16, 128)):
        options = ["--what", "train", "--batch", sentences, "--source", length, "--kv-heads", 8, "--repetitions", 3]
        theirs = train_peak(arguments.extension, arguments.peers, sentences, length)
        ours = headshare_peak(arguments.headshare, options)
        rows.append({"case": f"peak memory, {sentences} x {length} + {length}", "PyTorch MiB": theirs,
                     "Headshare MiB": ours, "ratio": theirs / ours})
        print(f"{rows[-1]['case']:42}  {theirs:11}  {ours:13}  {theirs / ours:5.2f}", flush=True)
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--headshare", default="build/release/headshare")
    parser.add_argument("--peers", default="../shared/peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["train", "decode"])
    parser.add_argument("--extension", action="store_true")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    rows = []
    if arguments.only != "decode":
        compare_peaks(arguments, rows)
    sys.path.insert(0, arguments.peers)
    try:
        import torch
        import model as M
    except ImportError as error:
        sys.exit(f"against_pytorch: {error}; install PyTorch and give the folder of model.py as --peers")

    print(f"PyTorch {torch.__version__}, {THREADS} threads, float32, dropout 0, medians of {arguments.rounds} turns each\n")
    print(f"{'':42}  {'PyTorch ms':>10}  {'Headshare ms':>12}  {'ratio':>5}  {'lowest':>6}  {'highest':>7}")

    def compare(case, train):
        prepare(torch, M, arguments.extension, train)
        theirs, ours = [], []
        for _ in range(arguments.rounds):
            theirs.append(case.pytorch_ms())
            ours.append(headshare(arguments.headshare, *case.options)["ms a step"])
        ratios = [a / b for a, b in zip(theirs, ours)]
        row = {"case": case.name, "PyTorch ms": statistics.median(theirs), "Headshare ms": statistics.median(ours),
               "ratio": statistics.median(theirs) / statistics.median(ours), "lowest": min(ratios),
               "highest": max(ratios)}
        rows.append(row)
        print(f"{case.name:42}  {row['PyTorch ms']:10.3f}  {row['Headshare ms']:12.3f}  {row['ratio']:5.2f}  "
              f"{row['lowest']:6.2f}  {row['highest']:7.2f}", flush=True)

    if arguments.only != "decode":
        for sentences, length in ((64, 32), (16, 128)):
            compare(Training(torch, M, sentences, length), train=True)
    if arguments.only != "train":
        for batch, source in ((1, 128), (32, 128), (128, 512)):
            for kv_heads in (8, 1):
                compare(Decoding(torch, M, batch, source, kv_heads), train=False)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
