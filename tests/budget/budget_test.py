#!/usr/bin/env python3
"""`--ram` is a ceiling: forged models larger than their budget run inside a real memory cgroup.

Usage: budget_test.py SLUICE [--keep DIR]

A 4 GB mixture of experts and a 2 GB dense model each generate 32 tokens under --ram of a quarter of their size, in
a cgroup of that size plus 10 %. They must not be killed, and the peak of the resident set must stay under the
budget. Needs the right to make a memory cgroup: without it the test fails where CI=true and is skipped elsewhere
(exit status 77).
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

MOE = {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 2048,
       "num_hidden_layers": 12, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
       "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8,
       "norm_topk_prob": True, "vocab_size": 32000, "tie_word_embeddings": False, "rope_theta": 1000000.0,
       "rms_norm_eps": 1e-6, "max_position_embeddings": 32768}
DENSE = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 3072,
         "num_hidden_layers": 34, "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 128,
         "intermediate_size": 8192, "vocab_size": 32000, "tie_word_embeddings": False, "rope_theta": 10000.0,
         "rms_norm_eps": 1e-5, "max_position_embeddings": 32768}


class Cgroup:
    """A memory cgroup of our own, version 1 or 2."""

    def __init__(self, limit):
        v1, v2 = pathlib.Path("/sys/fs/cgroup/memory"), pathlib.Path("/sys/fs/cgroup")
        if v1.is_dir():
            self.path, knob = v1 / f"sluice_budget_{os.getpid()}", "memory.limit_in_bytes"
        else:
            self.path, knob = v2 / f"sluice_budget_{os.getpid()}", "memory.max"
        self.path.mkdir()
        try:
            (self.path / knob).write_text(str(limit))
        except OSError:
            self.close()
            raise

    def enter(self):
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def kills(self):
        """How often the kernel killed somebody in here for memory."""
        for name in ("memory.events", "memory.oom_control"):
            if (self.path / name).exists():
                for line in (self.path / name).read_text().splitlines():
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        return 0

    def close(self):
        for _ in range(50):
            try:
                self.path.rmdir()
                return
            except OSError:
                subprocess.run(["sleep", "0.1"])


def run_one(sluice, name, shape, folder):
    model, config = folder / f"{name}.gguf", folder / f"{name}.json"
    config.write_text(json.dumps(shape))
    if not model.exists():
        subprocess.run([sluice, "forge", "--shape", config, "--encoding", "q4_0", "--family", "gguf", "--seed", "1",
                        "--out", model], check=True, stdout=subprocess.DEVNULL)
    size = model.stat().st_size
    budget = size // 4
    group = Cgroup(budget + budget // 10)
    try:
        done = subprocess.run(
            [sluice, "run", model, "--raw", "a b c", "--ram", str(budget), "--ctx", "256", "-n", "32", "--temp", "0",
             "--ignore-eos", "--json"], preexec_fn=group.enter, stdout=subprocess.PIPE, timeout=600)
        kills = group.kills()
    finally:
        group.close()
    if done.returncode != 0:
        return f"{name}: exit status {done.returncode}, {kills} killed for memory"
    result = json.loads(done.stdout)
    memory = result["memory"]
    mib = 1 << 20
    print(f"{name}: {size // mib} MiB of weights, budget {budget // mib} MiB, peak {memory['peak_rss_bytes'] // mib} MiB, "
          f"{result['completion_tokens']} tokens at {result['timings']['decode_tok_s']:.2f} tokens/s")
    if kills:
        return f"{name}: {kills} killed for memory"
    if memory["peak_rss_bytes"] > budget:
        return f"{name}: peak resident {memory['peak_rss_bytes']} is above the budget {budget}"
    if result["completion_tokens"] != 32:
        return f"{name}: {result['completion_tokens']} tokens instead of 32"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sluice")
    parser.add_argument("--keep", help="where forged models are and stay")
    args = parser.parse_args()
    try:
        Cgroup(1 << 30).close()
    except OSError as error:
        if os.environ.get("CI") == "true":
            print(f"no memory cgroup can be made: {error}")
            return 1
        print(f"skipped: no memory cgroup can be made: {error}")
        return 77
    folder = pathlib.Path(args.keep or tempfile.mkdtemp(prefix="sluice-budget-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        problems = [p for name, shape in (("moe-4g", MOE), ("dense-2g", DENSE))
                    if (p := run_one(args.sluice, name, shape, folder))]
    finally:
        if not args.keep:
            shutil.rmtree(folder)
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
