#!/usr/bin/env python3
"""Keeps the results of tests/gpu/run.sh in one file, and says what they are worth.

    tests/gpu/report.py note RESULTS --gpu TEXT --commit TEXT --machine TEXT --part NAME --state STATE --seconds N
                                     [--rows FILE] [--against FILE] [--excerpt FILE]
    tests/gpu/report.py passed RESULTS --gpu TEXT --commit TEXT    the parts that have passed, a line each
    tests/gpu/report.py write RESULTS MARKDOWN     the table of targets first, then everything that was measured

`note` adds one part: its state, the rows of headshare_gpu_benchmarks --json, those of against_pytorch.py --json. What
earlier calls left stays, row by row, as long as it is of the same commit and the same GPU.
"""

import argparse
import json
import os
import statistics
import sys
from datetime import datetime, timezone

# ---- Keeping ---------------------------------------------------------------------------------------------------------


def load(path):
    try:
        with open(path) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def save(path, results):
    with open(path + ".tmp", "w") as file:
        json.dump(results, file, indent=1)
    os.replace(path + ".tmp", path)


def same(results, arguments):
    return results.get("gpu") == arguments.gpu and results.get("commit") == arguments.commit


def key(row):
    return f"{row['group']}: {row['kernel']}, {row['size']}"


def is_measured(row):
    return bool(row.get("ms") or row.get("PyTorch ms") or row.get("Headshare ms"))


def merge(old, new):
    """Rows by name, in the order of their first appearance; what was not measured this time does not replace what was
    before."""
    for row in new:
        if is_measured(row) or key(row) not in old:
            old[key(row)] = row


def note(arguments):
    results = load(arguments.results)
    if not same(results, arguments):
        if results:
            print(f"report.py: {arguments.results} was of commit {results.get('commit')} on {results.get('gpu')}; "
                  "beginning anew", file=sys.stderr)
        results = {"gpu": arguments.gpu, "commit": arguments.commit, "parts": {}, "rows": {}, "against": {}}
    excerpt = ""
    if arguments.excerpt and os.path.exists(arguments.excerpt):
        with open(arguments.excerpt, errors="replace") as file:
            excerpt = "".join(file.readlines()[-40:])
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    results["parts"][arguments.part] = {"state": arguments.state, "seconds": arguments.seconds, "date": now,
                                        "machine": arguments.machine, "excerpt": excerpt}
    for name, file in (("rows", arguments.rows), ("against", arguments.against)):
        if file and os.path.exists(file):
            with open(file) as rows:
                merge(results[name], json.load(rows))
    save(arguments.results, results)


def passed(arguments):
    results = load(arguments.results)
    if same(results, arguments):
        for name, part in results["parts"].items():
            if part["state"].startswith("passed"):
                print(name)


# ---- Judging ---------------------------------------------------------------------------------------------------------


class Results:
    def __init__(self, results):
        self.rows = list(results.get("rows", {}).values())
        self.against = list(results.get("against", {}).values())

    def of(self, group, kernel="", size=""):
        return [row for row in self.rows if row["group"] == group and row["kernel"].startswith(kernel)
                and row["size"].startswith(size)]

    def beside(self, group, kernel="", size=""):
        return [row for row in self.against if row["group"] == group and row["kernel"].startswith(kernel)
                and row["size"].startswith(size)]

    def bandwidth(self):
        rows = [row for row in self.of("ceilings", "copy") if row["ms"]]
        return rows[0]["GB/s"] if rows else None


VERDICTS = ("met", "NOT MET", "not measured")


def target(what, value, wanted, detail, at_most=False):
    """A line of the table. `value`: None where it was not measured."""
    if value is None:
        verdict = "NOT MET" if "WRONG" in detail else "not measured"
    else:
        verdict = "met" if (value <= wanted if at_most else value >= wanted) else "NOT MET"
    return {"what": what, "value": value, "target": wanted, "at most": at_most, "verdict": verdict, "detail": detail}


def missing(rows):
    """Why there is no figure."""
    notes = [row["note"] for row in rows if row.get("note")]
    return notes[0] if notes else "no row"


def product_targets(results):
    for kernel, wanted in (("matmul_hopper bf16", 0.80), ("matmul_pipelined bf16", 0.65)):
        for form in ("NN", "TN", "NT"):
            rows = results.of("matmul", kernel, f"4096 x 4096 x 4096 {form}")
            rows = [row for row in rows if row["kernel"] == kernel]
            measured = [row for row in rows if row["ms"]]
            value = measured[0]["of reference"] if measured else None
            detail = f"{measured[0]['TFLOP/s']:.0f} TFLOP/s" if measured else missing(rows)
            yield target(f"{kernel} 4096 x 4096 x 4096 {form}, of cuBLAS", value, wanted, detail)


def attention_targets(results):
    for kernel, what, wanted in (("attention_tensor_core bf16", "forward", 0.70),
                                 ("attention_backward_tensor_core bf16", "backward", 0.60)):
        for D in (64, 128):
            for mask in (" causal", ""):
                is_one = lambda row: row["size"].endswith(f" D {D}{mask}")
                rows = list(filter(is_one, results.beside("attention", kernel)))
                wrong = [row for row in filter(is_one, results.of("attention", kernel)) if "WRONG" in row["note"]]
                measured = [row for row in rows if row["ratio"]]
                title = f"fused attention {what}, D {D}{mask}, of PyTorch's best"
                if wrong:
                    yield target(title, None, wanted, f"{wrong[0]['size']}: {wrong[0]['note']}")
                    continue
                if not measured or len(measured) < len(rows):
                    yield target(title, None, wanted, f"{len(measured)} of {len(rows)} cases: {missing(rows)}")
                    continue
                worst = min(measured, key=lambda row: row["ratio"])
                median = statistics.median(row["ratio"] for row in measured)
                yield target(title, worst["ratio"], wanted, f"the worst of {len(rows)}: {worst['size']}, beside "
                             f"{worst['implementation']}; the median {median:.2f}")


def decode_targets(results):
    bandwidth = results.bandwidth()
    title = "decode attention, of a copy's bandwidth"
    rows = [row for row in results.of("decode_attention") if row["kernel"] == "decode_attention"]
    if not rows:
        yield target(title, None, 0.85, "no row")
    for row in rows:
        value = row["GB/s"] / bandwidth if row["ms"] and bandwidth else None
        detail = f"{row['GB/s']:.0f} of {bandwidth:.0f} GB/s" if value else missing([row])
        yield target(f"{title}: {row['size']}", value, 0.85, detail)


def training_targets(results):
    compiled = {(row["kernel"], row["size"]): row for row in results.beside("compile")}
    title = "times as fast as PyTorch eager"
    rows = results.beside("training")
    if not rows:
        yield target(f"training step, {title}", None, 1.0, "no row")
    for row in rows:
        detail = missing([row])
        if row["ratio"]:
            detail = f"{row['PyTorch ms']:.2f} ms eager, {row['Headshare ms']:.2f} ms here"
            other = compiled.get((row["kernel"], row["size"]), {}).get("PyTorch ms")
            detail += f"; torch.compile {other:.2f} ms" if other else ""
        yield target(f"{row['kernel']}, {row['size']}, {title}", row["ratio"], 1.0, detail)


def shazeer_targets(results):
    title = "times what bytes and FLOPs predict"
    rows = results.of("shazeer")
    if not rows:
        yield target(f"Shazeer's setting, {title}", None, 1.3, "no row", at_most=True)
    for row in rows:
        value = row["ms"] / row["predicted ms"] if row["ms"] and row["predicted ms"] else None
        detail = f"{row['us a token']:.2f} us a token" if value else missing([row])
        yield target(f"Shazeer: {row['kernel']}, {row['size']}, {title}", value, 1.3, detail, at_most=True)


def targets(results):
    return [line for lines in (product_targets, attention_targets, decode_targets, training_targets, shazeer_targets)
            for line in lines(results)]


# ---- Writing ---------------------------------------------------------------------------------------------------------


def number(value, decimals):
    return "" if not value else f"{value:,.{decimals}f}"


def table(out, columns, rows):
    """columns: (title, function of a row); figures stand right."""
    cells = [[function(row) for _, function in columns] for row in rows]
    is_figure = lambda cell: cell.replace(",", "").replace(".", "", 1).isdigit() or cell == ""
    figures = [all(map(is_figure, column)) for column in zip(*cells)]
    out.append("| " + " | ".join(title for title, _ in columns) + " |")
    out.append("|" + "|".join("---:" if figure else "---" for figure in figures) + "|")
    out.extend("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in cells)
    out.append("")


def field(name, decimals=None):
    return lambda row: number(row.get(name), decimals) if decimals is not None else str(row.get(name) or "")


def summary(lines):
    counts = [(sum(line["verdict"] == verdict for line in lines), verdict) for verdict in VERDICTS]
    return ", ".join(f"{count} {verdict}" for count, verdict in counts) + f" of {len(lines)} targets"


def write_targets(out, lines):
    out += ["## Targets", "", summary(lines) + ".", ""]
    table(out, [("what", field("what")), ("measured", field("value", 2)),
                ("target", lambda line: f"{line['target']:.2f} or {'less' if line['at most'] else 'more'}"),
                ("verdict", field("verdict")), ("", field("detail"))], lines)


def write_rows(out, results):
    bandwidth = results.bandwidth()
    of_copy = lambda row: number(row["GB/s"] / bandwidth, 2) if bandwidth and row["ms"] else ""
    titles = {"ceilings": "What this GPU can do at most", "matmul": "The matrix product", "attention": "Attention",
              "decode_attention": "Attention of one token against full caches", "training": "Training",
              "shazeer": "Shazeer's setting", "ainslie": "Ainslie's figure 6: time against the number of groups"}
    for group, title in titles.items():
        rows = results.of(group)
        if not rows:
            continue
        out += [f"## {title}", ""]
        columns = [("kernel", field("kernel")), ("size", field("size")), ("ms", field("ms", 4)),
                   ("TFLOP/s", field("TFLOP/s", 1)), ("GB/s", field("GB/s", 0)), ("of a copy", of_copy)]
        if any(row["reference"] for row in rows):
            columns += [("beside", field("reference")), ("its ms", field("reference ms", 4)),
                        ("of it", field("of reference", 2))]
        if any(row["us a token"] for row in rows):
            columns.append(("us a token", field("us a token", 2)))
        if any(row["predicted ms"] for row in rows):
            columns += [("predicted ms", field("predicted ms", 4)),
                        ("of it", lambda row: number(row["ms"] / row["predicted ms"] if row["predicted ms"] else 0, 2))]
        if group == "ainslie":  # 512 tokens of a sentence
            columns.append(("ms a sample", lambda row: number(row["us a token"] * 512 / 1e3, 2)))
        if any(row["note"] for row in rows):
            columns.append(("note", field("note")))
        table(out, columns, rows)


def write_against(out, results):
    for group, title in (("attention", "Attention beside PyTorch"), ("training", "Training beside PyTorch, eager"),
                         ("compile", "Training beside torch.compile"), ("matmul", "The product beside torch.matmul"),
                         ("decode", "One token against full caches, beside PyTorch")):
        rows = results.beside(group)
        if not rows:
            continue
        out += [f"## {title}", "", "In turns; above 1, Headshare is faster.", ""]
        every = lambda row: ", ".join(f"{name} {ms:.4f}" for name, ms in row["all"].items())
        table(out, [("kernel", field("kernel")), ("size", field("size")), ("PyTorch ms", field("PyTorch ms", 4)),
                    ("Headshare ms", field("Headshare ms", 4)), ("ratio", field("ratio", 2)), ("PyTorch's ways", every),
                    ("note", field("note"))], rows)


def write(arguments):
    state = load(arguments.results)
    if not state:
        sys.exit(f"report.py: there is no {arguments.results}")
    results = Results(state)
    state["targets"] = lines = targets(results)
    save(arguments.results, state)
    out = ["# Results on a GPU", "", f"{state['gpu']}, commit {state['commit']}.", ""]
    rate = lambda row: f"{row['TFLOP/s']:.0f} TFLOP/s" if row["TFLOP/s"] else f"{row['GB/s']:,.0f} GB/s"
    ceilings = [f"{row['kernel']} {rate(row)}" for row in results.of("ceilings") if row["ms"]]
    if ceilings:
        out += ["At most: " + ", ".join(ceilings) + ".", ""]
    write_targets(out, lines)
    write_rows(out, results)
    write_against(out, results)
    out += ["## How the parts ended", ""]
    table(out, [("part", lambda part: part[0]), ("state", lambda part: part[1]["state"]),
                ("seconds", lambda part: f"{part[1]['seconds']:.0f}"), ("date", lambda part: part[1]["date"]),
                ("machine", lambda part: part[1]["machine"])],
          list(state["parts"].items()))
    for name, part in state["parts"].items():
        if not part["state"].startswith(("passed", "skipped")) and part["excerpt"]:
            out += [f"### The end of what {name} printed", "", "```text", part["excerpt"].rstrip(), "```", ""]
    with open(arguments.markdown, "w") as file:
        file.write("\n".join(out))
    for line in lines:
        if line["verdict"] == "NOT MET":
            value = "no figure" if line["value"] is None else f"{line['value']:.2f}"
            print(f"not met: {line['what']}: {value}, wanted {line['target']:.2f}; {line['detail']}")
    print(summary(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in (("note", note), ("passed", passed), ("write", write)):
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        command.add_argument("results")
        if name == "write":
            command.add_argument("markdown")
            continue
        command.add_argument("--gpu", required=True)
        command.add_argument("--commit", required=True)
        if name == "note":
            command.add_argument("--machine", required=True)
            command.add_argument("--part", required=True)
            command.add_argument("--state", required=True)
            command.add_argument("--seconds", type=float, required=True)
            command.add_argument("--rows")
            command.add_argument("--against")
            command.add_argument("--excerpt")
    arguments = parser.parse_args()
    arguments.function(arguments)


if __name__ == "__main__":
    main()
