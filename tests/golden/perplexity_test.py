#!/usr/bin/env python3
"""`sluice perplexity` against numbers that other programs computed.

Usage: perplexity_test.py SLUICE

stories260K on 40 stories, against the float64 reference's mean. The trained demo model on its four domains,
against its NumPy reference; then with the default formats (int8 activations, f16 KV cache), which must not move
the perplexity by more than 0.3 %; and the same for the quantised demo in models/demo, against the table in its
README. Without the shared data (SLUICE_SHARED, or ../shared beside the project) the test is skipped (exit
status 77).
"""
import json
import os
import pathlib
import subprocess
import sys

PROJECT = pathlib.Path(__file__).resolve().parents[2]
FLOAT = ["--kv", "f32", "--activations", "f32"]
DOMAINS = {  # nats per token, 31 windows of 256: the trained model, models/demo
    "stories": (2.638, 2.667),
    "math": (2.256, 2.279),
    "code": (2.589, 2.617),
    "novels": (3.862, 3.878),
}


def score(sluice, model, text, *arguments):
    done = subprocess.run([sluice, "perplexity", model, "--file", text, "--json", *arguments], check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(done.stdout)


def main():
    sluice = sys.argv[1]
    shared = pathlib.Path(os.environ.get("SLUICE_SHARED") or PROJECT.parent / "shared")
    if not (shared / "data" / "INDEX.md").exists():
        print("skipped: no shared data")
        return 77
    problems = []

    def expect(name, value, wanted, tolerance):
        print(f"{name}: {value:.5f}, {wanted:.5f} ± {tolerance:.5f} expected")
        if not abs(value - wanted) <= tolerance:
            problems.append(name)

    stories = shared / "data/derived/stories260K"
    golden = json.loads((stories / "golden.json").read_text())["ppl"]
    result = score(sluice, stories / "stories260K-F32.gguf", shared / "data" / golden["file"], "--ctx", "512",
                   "--split", "<|endoftext|>", "--skip", "1", "--max-docs", "40", *FLOAT)
    expect("stories260K, nats per token", result["nll_per_token"], golden["mean_nll"], 0.0005)
    expect("stories260K, tokens", result["tokens"], golden["tokens"], 0)

    for domain, expected in DOMAINS.items():
        text = shared / "demo-model" / "eval" / f"{domain}.valid.txt"
        for name, model, nats in zip(("trained", "models/demo"), (shared / "demo-model", PROJECT / "models" / "demo"), expected):
            protocol = ["--ctx", "256", "--max-tokens", str(32 * 256)]
            exact = score(sluice, model, text, *protocol, *FLOAT)
            standard = score(sluice, model, text, *protocol)
            expect(f"{name} {domain}, nats per token", exact["nll_per_token"], nats, 0.002)
            expect(f"{name} {domain}, tokens", exact["tokens"], 31 * 256, 0)
            print(f"{name} {domain}: perplexity {exact['perplexity']:.4f}")
            change = standard["perplexity"] / exact["perplexity"] - 1
            expect(f"{name} {domain}, change of perplexity by the default formats, %", 100 * change, 0, 0.3)

    print("\n".join(f"FAILED: {problem}" for problem in problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
