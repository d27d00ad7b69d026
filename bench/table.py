#!/usr/bin/env python3
"""Measures the kernels and stores the tables of docs/performance.md.

Builds the micro-benchmarks and sluice (preset `bench`), runs them for one instruction set, and renders what was
measured between the markers of the document. Peaks come from `sluice bench` right before and after; the better
of the two counts.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = ROOT / "build/bench/bin"
MARKERS = ("<!-- kernels: written by bench/table.py -->", "<!-- end of kernels -->")
MATMUL = re.compile(r"matmul/(?P<isa>[^/]+)/(?P<encoding>[^/+]+)(?P<f32>\+f32)?/rows:(?P<rows>\d+)x(?P<cols>\d+)"
                    r"(?P<woven>/woven)?/batch:(?P<batch>\d+)/threads:(?P<threads>\d+)")
ATTENTION = re.compile(r"attention/(?P<isa>[^/]+)/(?P<kv>[^/]+)/dim:(?P<dim>\d+)/group:(?P<group>\d+)"
                       r"/context:(?P<context>\d+)/batch:(?P<batch>\d+)/threads:(?P<threads>\d+)")


def output_of(*command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def build(jobs):
    environment = dict(os.environ, CCACHE_BASEDIR=str(ROOT), CCACHE_NOHASHDIR="1")
    for command in (["cmake", "--preset", "bench"],
                    ["cmake", "--build", "--preset", "bench", "-j", str(jobs), "--target", "kernels_bench", "sluice"]):
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=environment)


def measure_peaks(isa):
    return json.loads(output_of(BIN / "sluice", "bench", "demo", "--ram", "4G", "--isa", isa, "-p", "1", "-n", "1",
                                "-r", "1", "--json"))["peaks"]


def better(a, b):
    peaks = {key: max(a[key] or 0, b[key] or 0) for key in
             ("memory_bytes_s", "int8_operations_s", "f32_operations_s", "bf16_operations_s")}
    peaks["reads"] = [x if x["bytes_s"] > y["bytes_s"] else y for x, y in zip(a["reads"], b["reads"])]
    return peaks


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|---" + "|--:" * (len(header) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def gb(result):
    return f"{result['bytes_per_second'] / 1e9:.1f}" if result else ""


def gop(result):
    return f"{result['items_per_second'] / 1e9:.0f}" if result else ""


def share(result, key, peak):
    return f"{result[key] / peak:.2f}" if result and peak else ""


def matmul_table(results, peaks):
    cells = {}
    for result in results:
        found = MATMUL.match(result["name"])
        if found and int(found["rows"]) == 2048:
            name = found["encoding"] + (" f32" if found["f32"] else "")
            cell = cells.setdefault(name, {})
            key = int(found["batch"]), int(found["threads"])
            if found["woven"] or key not in cell:  # woven, as what stays in memory is, where that was measured
                cell[key] = result
    rows = []
    for name, cell in cells.items():
        decode, prefill = cell.get((1, 2)), cell.get((512, 2))
        is_float = name in ("f32", "f16", "bf16") or name.endswith(" f32")
        peak = max(peaks["f32_operations_s"], peaks["bf16_operations_s"]) if is_float else peaks["int8_operations_s"]
        rows.append([name, gb(cell.get((1, 1))), gb(decode),
                     share(decode, "bytes_per_second", peaks["memory_bytes_s"]),
                     *(gb(cell.get((n, 2))) for n in (2, 4, 8)), gop(cell.get((512, 1))), gop(prefill),
                     share(prefill, "items_per_second", peak)])
    return table(["weights", "1 row, 1 thread, GB/s", "2 threads", "of reads", "2 rows", "4 rows", "8 rows",
                  "512 rows, 1 thread, GOP/s", "2 threads", "of peak"], rows)


def attention_table(results, peaks):
    cells = {}
    for result in results:
        found = ATTENTION.match(result["name"])
        if found:
            key = f'{found["kv"]}, head {found["dim"]} x {found["group"]}', int(found["context"])
            cells.setdefault(key, {})[int(found["batch"]), int(found["threads"])] = result
    peak = max(peaks["f32_operations_s"], peaks["bf16_operations_s"])
    rows = []
    for (kv, context), cell in cells.items():
        decode, prefill = cell.get((1, 2)), cell.get((512, 2))
        rows.append([f"{kv}, {context} keys", gb(cell.get((1, 1))), gb(decode),
                     share(decode, "bytes_per_second", peaks["memory_bytes_s"]), gop(cell.get((512, 1))),
                     gop(prefill), share(prefill, "items_per_second", peak)])
    return table(["KV cache", "1 query, 1 thread, GB/s", "2 threads", "of reads", "512 queries, 1 thread, GOP/s",
                  "2 threads", "of peak"], rows)


def render(run, peaks, isa, load):
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    bf16 = f"{peaks['bf16_operations_s'] / 1e9:.0f}" if peaks["bf16_operations_s"] else "n/a"
    context = run["context"]
    head = (f"{cpu[1] if cpu else 'unknown CPU'}, {context['num_cpus']} CPUs, instruction set {isa}, "
            f"{context['date'][:10]}, load average {load:.1f} before. Peaks: reads "
            f"{peaks['memory_bytes_s'] / 1e9:.1f} GB/s; int8 {peaks['int8_operations_s'] / 1e9:.0f}, f32 {peaks['f32_operations_s'] / 1e9:.0f}, bf16 {bf16} GOP/s.")
    parts = [head, matmul_table(run["benchmarks"], peaks), attention_table(run["benchmarks"], peaks)]
    return "\n\n".join(part for part in parts if part.count("\n") != 1)  # a header alone says nothing


def store(path, text):
    document = path.read_text()
    begin, end = (document.find(marker) for marker in MARKERS)
    if begin < 0 or end < begin:
        sys.exit(f"{path}: no markers {MARKERS[0]} and {MARKERS[1]}")
    path.write_text(document[:begin] + MARKERS[0] + "\n" + text + "\n" + document[end:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", help="instruction set; by default the best of this CPU")
    parser.add_argument("--filter", default=".", help="regular expression that picks benchmarks by name")
    parser.add_argument("--min-time", type=float, default=0.3, help="seconds for each (default %(default)s)")
    parser.add_argument("--document", type=pathlib.Path, default=ROOT / "docs/performance.md")
    parser.add_argument("--print", action="store_true", help="print the tables and leave the document alone")
    parser.add_argument("-j", type=int, default=os.cpu_count(), help="jobs of the build")
    flags = parser.parse_args()
    build(flags.j)
    bench = BIN / "kernels_bench"
    names = output_of(bench, "--benchmark_list_tests=true").split()
    isa = flags.isa or next(n for n in names if n.startswith("matmul/")).split("/")[1]  # listed best first
    wanted = [name for name in names if name.split("/")[1] == isa and re.search(flags.filter, name)]
    if not wanted:
        sys.exit(f"no benchmark of {isa} matches {flags.filter}")
    load = os.getloadavg()[0]  # of others: a busy machine spoils every number
    before = measure_peaks(isa)
    pattern = "^(" + "|".join(name.replace("+", "[+]") for name in wanted) + ")$"
    run = json.loads(output_of(bench, "--benchmark_filter=" + pattern,
                               f"--benchmark_min_time={flags.min_time}", "--benchmark_format=json"))
    text = render(run, better(before, measure_peaks(isa)), isa, load)
    if flags.print:
        print(text)
    else:
        store(flags.document, text)


if __name__ == "__main__":
    main()
