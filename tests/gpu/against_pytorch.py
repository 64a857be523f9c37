#!/usr/bin/env python3
"""Times PyTorch on the GPU, in the shapes that Headshare's own benchmark takes, and writes a row of JSON for each.

    tests/gpu/against_pytorch.py [--json FILE] [--headshare FILE] [--only attention|decode|matmul|copy]

Without --json the rows are printed. --headshare names the rows that headshare_gpu_benchmarks --json wrote; those of the
same work are set beside PyTorch's. Attention is torch.nn.functional.scaled_dot_product_attention
as it chooses its implementation itself, which the rows name; products are cuBLAS's. Each time is the median of up to 20
calls after three to warm up, measured with CUDA events.
"""

import argparse
import json
import statistics
import sys

try:
    import torch
except ImportError as error:
    sys.exit(f"against_pytorch: {error}; install PyTorch")

DEVICE = "cuda"
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
BATCH, HEADS = 4, 16  # of attention over whole sentences


def median_ms(work):
    """Median time of one call. Slow ones are measured less often, so that all of them together take no minutes."""
    for _ in range(3):
        work()
    times = []
    while len(times) < 20 and (len(times) < 3 or sum(times) < 500):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def implementation(q, k, v, causal, shared):
    """The one that scaled_dot_product_attention takes; the function that knows is not part of PyTorch's interface."""
    try:
        names = {int(value): name.lower() for name, value in torch.nn.attention.SDPBackend.__members__.items()}
        return names[torch._fused_sdp_choice(q, k, v, is_causal=causal, enable_gqa=shared)]
    except (AttributeError, KeyError, RuntimeError, TypeError):
        return "unknown"


def random(*shape, dtype):
    # Not zeros: with them a GPU needs less power, keeps a higher clock, and looks faster than it is.
    return torch.randn(*shape, dtype=dtype, device=DEVICE)


def attend(q, k, v, causal):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal,
                                                            enable_gqa=k.shape[1] != q.shape[1])


def attention_rows():
    """Forward and backward of a causal self-attention."""
    for type_name, dtype in TYPES.items():
        for D in (64, 128):
            for T in (1024, 2048, 4096):
                for G in (HEADS, 4):
                    yield from one_attention(type_name, dtype, T, G, D)


def one_attention(type_name, dtype, T, G, D):
    size = f"B {BATCH} T {T} H {HEADS} G {G} D {D} causal"
    flops = 4 * BATCH * HEADS * T * T * D / 2  # two products; the mask leaves half of each

    def operand(heads, gradient=False):  # as projections write it, [B, T, H, D], seen as PyTorch wants it, [B, H, T, D]
        return random(BATCH, T, heads, D, dtype=dtype).transpose(1, 2).requires_grad_(gradient)

    def forward():
        q, k, v = operand(HEADS), operand(G), operand(G)
        with torch.no_grad():
            chosen = implementation(q, k, v, True, G != HEADS)
            return median_ms(lambda: attend(q, k, v, True)), chosen

    def backward():
        q, k, v = operand(HEADS, True), operand(G, True), operand(G, True)
        y, dy = attend(q, k, v, True), operand(HEADS)
        chosen = implementation(q, k, v, True, G != HEADS)
        return median_ms(lambda: torch.autograd.grad(y, (q, k, v), dy, retain_graph=True)), chosen

    # Headshare stores whole sentences in float32 alone.
    ours = ("attention_fused", "attention_backward") if dtype == torch.float32 else (None, None)
    yield measured("attention", size, type_name, forward, ours[0], flops=flops)
    # Five products: the scores once more, and one each for dv, for the gradient of the weights, for dq and for dk.
    yield measured("attention backward", size, type_name, backward, ours[1], flops=2.5 * flops)


def decode_rows():
    """One new token a sentence against a full cache: reading the keys and values is all the work there is."""
    B, H, S, D = 128, 8, 8192, 128
    for type_name, dtype in TYPES.items():
        for G in (1, 8):
            def decode(G=G, dtype=dtype):
                q = random(B, H, 1, D, dtype=dtype)
                k, v = random(B, G, S, D, dtype=dtype), random(B, G, S, D, dtype=dtype)
                with torch.no_grad():
                    chosen = implementation(q, k, v, False, G != H)
                    return median_ms(lambda: attend(q, k, v, False)), chosen

            yield measured("decoding", f"B {B} S {S} H {H} G {G} D {D} {type_name}", type_name, decode,
                           "decode_attention_per_group", flops=4 * B * H * S * D,
                           bytes=2 * B * G * S * D * dtype.itemsize)


def matmul_rows():
    n = 4096
    for type_name, dtype, tf32, ours in (("float32", torch.float32, False, "matmul_register_tiled 128"),
                                         ("tf32", torch.float32, True, "matmul_tensor_core tf32"),
                                         ("bfloat16", torch.bfloat16, False, "matmul_tensor_core bfloat16")):
        def multiply(dtype=dtype, tf32=tf32):
            torch.backends.cuda.matmul.allow_tf32 = tf32
            a, b, c = (random(n, n, dtype=dtype) for _ in range(3))
            time = median_ms(lambda: torch.matmul(a, b, out=c))
            torch.backends.cuda.matmul.allow_tf32 = False
            return time, "cublas"

        yield measured("matmul", f"{n} x {n} x {n}", type_name, multiply, ours, flops=2 * n**3,
                       bytes=3 * n * n * dtype.itemsize)


def copy_rows():
    """What the memory can do: reading and writing at once."""
    n = 2**29

    def copy():
        x, y = random(n, dtype=torch.float32), torch.empty(n, dtype=torch.float32, device=DEVICE)
        return median_ms(lambda: y.copy_(x)), "copy"

    yield measured("copy", "2 GiB", "float32", copy, "copy", bytes=2 * 4 * n)


def measured(kernel, size, type_name, work, ours, flops=None, bytes=None):
    """A row; `ours` is what Headshare calls the kernel that does the same."""
    row = {"kernel": kernel, "size": size, "type": type_name, "Headshare's": ours}
    try:
        row["ms"], row["implementation"] = work()
    except torch.OutOfMemoryError:
        return row | {"ms": None, "implementation": "out of memory"}
    finally:
        torch.cuda.empty_cache()  # so that one case does not take the next one's memory
    if flops is not None:
        row["TFLOP/s"] = flops / row["ms"] / 1e9
    if bytes is not None:
        row["GB/s"] = bytes / row["ms"] / 1e6
    return row


def number(value, decimals):
    return "-" if value is None else f"{value:.{decimals}f}"


def main():
    groups = {"attention": attention_rows, "decode": decode_rows, "matmul": matmul_rows, "copy": copy_rows}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    parser.add_argument("--headshare")
    parser.add_argument("--only", choices=groups)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("against_pytorch: this PyTorch finds no GPU")
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = False  # float32 means float32, unless the row says otherwise
    ours = {}
    if arguments.headshare:
        with open(arguments.headshare) as file:
            ours = {(row["kernel"], row["size"]): row["ms"] for row in json.load(file)}

    table = sys.stdout if arguments.json else sys.stderr
    print(f"PyTorch {torch.__version__} on {torch.cuda.get_device_name()}", file=table)
    print(f"{'':71}  {'PyTorch ms':>10}  {'TFLOP/s':>7}  {'GB/s':>6}  {'Headshare ms':>12}  {'ratio':>5}  "
          "PyTorch's choice", file=table)
    rows = []
    for name, group in groups.items():
        if arguments.only in (None, name):
            for row in group():
                our_ms = ours.get((row["Headshare's"], row["size"]))
                if our_ms is not None and row["ms"] is not None:
                    row |= {"Headshare ms": our_ms, "ratio": row["ms"] / our_ms}
                rows.append(row)
                print(f"{row['kernel']:18}  {row['size']:41}  {row['type']:8}  {number(row['ms'], 3):>10}  "
                      f"{number(row.get('TFLOP/s'), 1):>7}  {number(row.get('GB/s'), 0):>6}  {number(our_ms, 3):>12}  "
                      f"{number(row.get('ratio'), 2):>5}  {row['implementation']}", file=table, flush=True)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(rows, file, indent=1)
    else:
        json.dump(rows, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
