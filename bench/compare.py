#!/usr/bin/env python3
"""Compares the kernels of a revision with those of the working tree, on this machine, in turns.

Builds both below build/compare, runs the micro-benchmarks that match the filter alternately (who begins
alternates too) and prints the speed of the working tree over that of the revision: the median of the paired
ratios with their spread. Above 1 the working tree is faster.
"""
import argparse
import json
import math
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "build/compare"


def revision_sources(revision):
    """The files of the revision in a directory of its own: old files have old times, which would confuse ninja."""
    found = subprocess.run(["git", "rev-parse", "--verify", "--quiet", revision + "^{commit}"], cwd=ROOT,
                           stdout=subprocess.PIPE, text=True)
    if found.returncode:
        sys.exit(f"{revision}: no such revision")
    commit = found.stdout.strip()
    sources = WORK / commit[:12] / "sources"
    if not sources.exists():
        partial = sources.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with subprocess.Popen(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE) as archive:
            subprocess.run(["tar", "-x", "-C", partial], stdin=archive.stdout, check=True)
        if archive.returncode:
            sys.exit(f"git archive {commit} failed")
        partial.rename(sources)
    return sources


def build(sources, directory, jobs):
    environment = dict(os.environ, CCACHE_BASEDIR=str(sources), CCACHE_NOHASHDIR="1")
    configure = ["cmake", "-G", "Ninja", "-S", sources, "-B", directory, "-DCMAKE_BUILD_TYPE=Release",
                 "-DSLUICE_BENCH=ON", "-DSLUICE_KERNELS_ONLY=ON", "-DSLUICE_TESTS=OFF"]
    for command in (configure, ["cmake", "--build", directory, "-j", str(jobs), "--target", "kernels_bench"]):
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit(f"{sources} does not build:\n{done.stdout[-4000:]}")
    return directory / "bin/kernels_bench"


def names_of(program):
    listed = subprocess.run([program, "--benchmark_list_tests=true"], check=True, stdout=subprocess.PIPE, text=True)
    return listed.stdout.split()


def times_of(program, pattern, min_time):
    done = subprocess.run([program, "--benchmark_filter=" + pattern, f"--benchmark_min_time={min_time}",
                           "--benchmark_format=json"], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True)
    return {one["name"]: one["real_time"] for one in json.loads(done.stdout)["benchmarks"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="what to compare with: HEAD, a branch, a commit")
    parser.add_argument("--filter", required=True,
                        help="regular expression on names, for instance 'matmul/avx512/q4_0/.*batch:1/'")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each (default %(default)s)")
    parser.add_argument("--min-time", type=float, default=0.2, help="seconds a benchmark (default %(default)s)")
    parser.add_argument("-j", type=int, default=os.cpu_count(), help="jobs of the build")
    flags = parser.parse_args()

    sources = revision_sources(flags.revision)
    old = build(sources, sources.parent / "build", flags.j)
    new = build(ROOT, WORK / "tree", flags.j)
    known = set(names_of(old))
    names = [name for name in names_of(new) if name in known and re.search(flags.filter, name)]
    if not names:
        sys.exit(f"no benchmark that both have matches {flags.filter}")
    pattern = "^(" + "|".join(name.replace("+", "[+]") for name in names) + ")$"

    ratios = {name: [] for name in names}
    for number in range(flags.rounds):
        order = [old, new] if number % 2 == 0 else [new, old]
        times = {program: times_of(program, pattern, flags.min_time) for program in order}
        for name in names:
            ratios[name].append(times[old][name] / times[new][name])
        print(f"round {number + 1} of {flags.rounds}", file=sys.stderr)

    width = max(map(len, names))
    print(f"{'tree/' + flags.revision:{width}}   median   min to max")
    for name, values in ratios.items():
        print(f"{name:{width}}   {statistics.median(values):6.3f}   {min(values):.3f} to {max(values):.3f}")
    mean = math.exp(statistics.mean(math.log(statistics.median(values)) for values in ratios.values()))
    print(f"{'geometric mean':{width}}   {mean:6.3f}")


if __name__ == "__main__":
    main()
