#!/usr/bin/env python3
"""Measures a model larger than its memory: sluice against what the SSD allows, and against peers, in turns.

Each round, for each budget (percent of the file): `sluice bench` in a memory cgroup of that size with the page cache
dropped; then fio replays the very reads that it made, all of them, on the same file; then each peer in a cgroup of the
same size, page cache dropped again. Who begins alternates. Printed are medians with their spread.

  limit     bytes that must come / what fio reached (at the best of several queue depths, found by short trials
            before). Dense: dense weights - (budget - KV - 150 MB); experts: the bytes of those that were missing,
            prefetched or not, and were used.
  of limit  limit time / measured time of a token
  of both   the longer of the limit and of the run's own arithmetic (its operators without waits and predictions, beside
            reads) / measured time: 1 is all of the one behind the other
  ratio     tokens/s of sluice / those of the peer, by pairs

A peer is NAME=COMMAND for /bin/sh, with {model}, {bytes} and {mib} (of the budget) filled in; its tokens/s are taken
from llama-bench's JSON or from the last "N tok/s" or "N tokens per second" that it prints. Needs root (cgroup v1 or
v2, drop_caches) and fio.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
MB = 1_000_000
DEPTHS = (4, 8, 16, 32)
TRIED = 1 << 30  # bytes of a trial: a drive may be faster for a second than for ten, so trials only choose the depth


class Cgroup:
    """A memory cgroup that ends with its only command."""

    def __init__(self, limit):
        v1, v2 = pathlib.Path("/sys/fs/cgroup/memory"), pathlib.Path("/sys/fs/cgroup")
        base, knob = (v1, "memory.limit_in_bytes") if v1.is_dir() else (v2, "memory.max")
        self.path = base / f"sluice_streaming_{os.getpid()}"
        self.path.mkdir()
        (self.path / knob).write_text(str(limit))

    def run(self, command):
        def enter():
            (self.path / "cgroup.procs").write_text(str(os.getpid()))
        return subprocess.run(command, preexec_fn=enter, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def close(self):
        self.path.rmdir()


def in_cgroup(limit, command):
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
    cgroup = Cgroup(limit)
    try:
        return cgroup.run(command)
    finally:
        cgroup.close()


def must(done, what):
    if done.returncode:
        sys.exit(f"{what} failed ({done.returncode}):\n{done.stderr[-2000:]}")
    return done.stdout


def reads_while_computing(events):
    """(offset, bytes) of the reads since the first product, in the order in which they were asked for."""
    start = min(e["ts"] for e in events if e["ph"] == "X" and e["tid"] == 0)
    reads = sorted((e["ts"], e["args"]["offset"], e["args"]["bytes"]) for e in events
                   if e["ph"] == "b" and e["ts"] >= start)
    return [(offset, n) for _, offset, n in reads]


def arithmetic(events, tokens):
    """Seconds a token, over the last ones. Operators and waits are one thread's: none overlaps its like."""
    spans = [[(e["ts"], e["ts"] + e["dur"], e["name"]) for e in events if e["ph"] == "X" and e["tid"] == track]
             for track in (0, 1)]
    operators, waits = map(sorted, spans)
    start = [end for _, end, name in operators if name == "head"][-1 - tokens]
    total, at = 0, 0
    for begin, end, name in operators:
        if begin < start or name == "prediction":
            continue
        total += end - begin
        while at < len(waits) and waits[at][1] <= begin:
            at += 1
        inside = at
        while inside < len(waits) and waits[inside][0] < end:
            total -= min(waits[inside][1], end) - max(waits[inside][0], begin)
            inside += 1
    return total * 1e-6 / tokens


def last_of(reads, most):
    total = 0
    for i in range(len(reads) - 1, -1, -1):
        total += reads[i][1]
        if total >= most:
            return reads[i:]
    return reads


def replay(model, reads, depth, directory):
    """Bytes per second of fio over these reads."""
    log = pathlib.Path(directory) / "reads.iolog"
    with log.open("w") as out:
        out.write(f"fio version 2 iolog\n{model} add\n{model} open\n")
        for offset, n in reads:
            out.write(f"{model} read {offset} {n}\n")
        out.write(f"{model} close\n")
    report = must(subprocess.run(
        ["fio", "--name=replay", f"--read_iolog={log}", "--replay_no_stall=1", "--ioengine=io_uring", "--direct=1",
         f"--iodepth={depth}", "--readonly", "--output-format=json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True), "fio")
    read = json.loads(report[report.index("{"):])["jobs"][0]["read"]
    return read["io_bytes"] / (read["runtime"] / 1000)


def ours(arguments, model, size, directory):
    timeline = pathlib.Path(directory) / "timeline.json"
    command = [arguments.sluice, "bench", model, "--ram", str(int(size * 0.97)), "-p", "8", "-n", str(arguments.tokens),
               "-r", "1", "-t", str(arguments.threads), "--json", "--timeline", timeline, *arguments.flags]
    report = json.loads(must(in_cgroup(size, command), "sluice"))
    decode = [t for t in report["tests"] if t["kind"] == "decode"][-1]
    events = json.loads(timeline.read_text())["traceEvents"]
    reads = reads_while_computing(events)
    best = max(DEPTHS, key=lambda depth: replay(model, last_of(reads, TRIED), depth, directory))
    disk = replay(model, reads, best, directory)
    memory, cache = report["memory"], decode["cache"]
    if memory["expert_bytes"]:
        needed = (cache["misses"] * memory["expert_bytes"] + cache["useful_prefetched_bytes"]) / decode["tokens"]
    else:
        room = size - memory["kv_bytes"] - 150 * MB
        needed = max(0, decode["bytes"]["weights"] - room)
    speed = decode["tok_s"]["median"]
    longer = max(needed / disk, arithmetic(events, arguments.tokens))
    return {"tok_s": speed, "needed": needed, "read": decode["bytes"]["ssd_counted"], "disk": disk,
            "of_limit": needed / disk * speed, "of_both": longer * speed,
            "belady": decode["bytes"]["ssd_forced_by_budget"], "hits": cache["hits"],
            "misses": cache["misses"], "wasted": cache["wasted_bytes"] / decode["tokens"],
            "cache": memory["cache_bytes"], "pinned": memory["pinned_bytes"], "peak": memory["peak_rss_bytes"]}


def peers_speed(name, done):
    text = done.stdout + done.stderr
    if "samples_ns" in done.stdout:
        tests = json.loads(done.stdout[done.stdout.index("["):done.stdout.rindex("]") + 1])
        return statistics.median(t["n_gen"] / (ns * 1e-9) for t in tests for ns in t["samples_ns"])
    found = re.findall(r"([0-9.]+)\s*(?:tok/s|tokens per second|t/s)", text)
    if done.returncode or not found:
        print(f"{name} failed ({done.returncode}): {text[-300:]}", file=sys.stderr)
        return None
    return float(found[-1])


def spread(values, scale=1.0, digits=2):
    values = sorted(v * scale for v in values)
    return f"{statistics.median(values):.{digits}f} [{values[0]:.{digits}f}-{values[-1]:.{digits}f}]"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="one GGUF file")
    parser.add_argument("--sluice", default=ROOT / "build/bench/bin/sluice")
    parser.add_argument("--budgets", default="25,50,75", help="percent of the file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--json", action="store_true", help="every round, as JSON lines")
    parser.add_argument("flags", nargs="*", help="for sluice bench, after --")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("streaming.py makes memory cgroups and drops the page cache: run it as root")
    if shutil.which("fio") is None:
        sys.exit("fio is not here: install the package fio")
    for needed in (arguments.model, arguments.sluice):
        if not pathlib.Path(needed).is_file():
            sys.exit(f"{needed}: no such file")
    model = str(pathlib.Path(arguments.model).resolve())
    file_bytes = os.path.getsize(model)
    peers = dict(peer.split("=", 1) for peer in arguments.peer)
    for percent in map(int, arguments.budgets.split(",")):
        size = file_bytes * percent // 100
        rounds, speeds = [], {name: [] for name in peers}
        for index in range(arguments.rounds):
            with tempfile.TemporaryDirectory(prefix="sluice-streaming-") as directory:
                turns = [None, *peers] if index % 2 == 0 else [*peers, None]
                for name in turns:
                    if name is None:
                        rounds.append(ours(arguments, model, size, directory))
                    else:
                        command = peers[name].format(model=model, bytes=size, mib=size >> 20)
                        speeds[name].append(peers_speed(name, in_cgroup(size, ["/bin/sh", "-c", command])))
            if arguments.json:
                print(json.dumps({"percent": percent, "round": index, **rounds[-1],
                                  "peers": {n: s[-1] for n, s in speeds.items()}}), flush=True)
        of = lambda key: [r[key] for r in rounds]
        print(f"{pathlib.Path(model).stem} {percent} %: {spread(of('tok_s'))} tok/s, {spread(of('of_limit'))} of the "
              f"limit, {spread(of('of_both'))} of both; must come {spread(of('needed'), 1 / MB, 0)} MB/token "
              f"(Belady {spread(of('belady'), 1 / MB, 0)}), read {spread(of('read'), 1 / MB, 0)}; "
              f"fio {spread(of('disk'), 1e-9)} GB/s; peak "
              f"{max(of('peak')) / MB:.0f} of {size / MB:.0f} MB", flush=True)
        for name, values in speeds.items():
            pairs = [(r["tok_s"], v) for r, v in zip(rounds, values) if v]
            if pairs:
                print(f"  {name}: {spread([v for _, v in pairs])} tok/s; ratio {spread([a / b for a, b in pairs])}",
                      flush=True)


if __name__ == "__main__":
    main()
