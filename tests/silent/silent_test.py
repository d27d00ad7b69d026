#!/usr/bin/env python3
"""Not one byte is written to disk while generating: /proc/PID/io after 1000 tokens of streamed models into a pipe.

A run that teaches a task's profile writes that one small file, after the last token.

Usage: silent_test.py SLUICE

Exit status 77 where the kernel does not count what a process writes.
"""
import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile


def counters(pid):
    lines = pathlib.Path(f"/proc/{pid}/io").read_text().splitlines()
    return {key: int(value) for key, value in (line.split(": ") for line in lines)}


def main():
    sluice = sys.argv[1]
    try:
        counters("self")
    except OSError as error:
        print(f"skipped: this kernel does not count what a process writes: {error}")
        return 77
    problems = []
    with tempfile.TemporaryDirectory(prefix="sluice-silent-") as folder:
        for shape in ("llama-tiny", "moe-tiny"):
            model = f"{folder}/{shape}.gguf"
            subprocess.run([sluice, "forge", "--shape", shape, "--encoding", "q4_0", "--family", "gguf", "--out", model],
                           check=True, stdout=subprocess.DEVNULL)
            for io in ("direct", "buffered"):
                run = subprocess.Popen([sluice, "run", model, "--raw", "a b c", "--weights", "min", "--io", io, "--ctx",
                                        "1100", "-n", "1000", "--ignore-eos", "--json"],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                output = run.stdout.read()
                os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOWAIT)  # it has ended and can still be asked
                written = counters(run.pid)["write_bytes"]
                errors = run.communicate()[1].decode()
                if run.returncode != 0:
                    problems.append(f"{shape}, {io}: exit status {run.returncode}: {errors}")
                    continue
                result = json.loads(output)
                print(f"{shape}, {io}: {result['completion_tokens']} tokens, {result['io']['bytes_read']} bytes read, "
                      f"{written} written")
                if result["completion_tokens"] != 1000 or result["io"]["bytes_read"] < 1000 * 10_000:
                    problems.append(f"{shape}, {io}: it did not stream 1000 tokens")
                if written != 0:
                    problems.append(f"{shape}, {io}: {written} bytes were written to disk")
        # The text is a pipe's worth and arrives as it is made: nothing is written before its end.
        model = f"{folder}/moe-tiny.gguf"
        run = subprocess.Popen([sluice, "run", model, "--raw", "a b c", "--weights", "min", "--ctx", "1100", "-n", "1000",
                                "--ignore-eos", "--task", "silent"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "XDG_STATE_HOME": f"{folder}/state"})
        profiles = pathlib.Path(f"{folder}/state/sluice/profiles")
        pipe, n_read = run.stdout.fileno(), 0
        os.set_blocking(pipe, False)
        while True:
            try:
                while piece := os.read(pipe, 65536):
                    n_read += len(piece)
                break
            except BlockingIOError:  # the text so far was read: what comes now was made after the look
                has_written = counters(run.pid)["write_bytes"] != 0 or profiles.exists()
            select.select([pipe], [], [])
            piece = os.read(pipe, 65536)
            n_read += len(piece)
            if has_written and piece.strip(b"\n"):
                problems.append(f"--task: something was written after {n_read} bytes of text")
        os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOWAIT)
        written = counters(run.pid)["write_bytes"]
        errors = run.communicate()[1].decode()
        sizes = [file.stat().st_size for file in profiles.iterdir()] if profiles.exists() else []
        print(f"--task: {n_read} bytes of text, profiles of {sizes} bytes, {written} written")
        if run.returncode != 0 or n_read < 1000 or len(sizes) != 1:
            problems.append(f"--task: exit status {run.returncode}, profiles of {sizes} bytes: {errors}")
        elif written > 64 << 10:  # whole pages of the file, and of its directories
            problems.append(f"--task: {written} bytes were written for a profile of {sizes[0]}")
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
