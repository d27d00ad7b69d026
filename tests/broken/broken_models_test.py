#!/usr/bin/env python3
"""Broken models through the program: exit status 1 and one clear line, never a crash, a hang or a page of text.

Usage: broken_models_test.py SLUICE MAKE_BROKEN_FILES

Every file of make_broken_files goes to `sluice inspect`, and to `sluice run` if that takes it. Then small forged
models whose headers are in order are broken where only the model can see it: absurd hyperparameters, and weights
that are not numbers.
"""
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

TIMEOUT_S = 20
NAN = {"F16": 0x7E00, "BF16": 0x7FC0}

# Field of config.json, value; where the model at hand is llama-tiny or, for the last ones, moe-tiny.
ABSURD_DENSE = [
    ("num_hidden_layers", 10**18), ("num_hidden_layers", 10**30), ("num_hidden_layers", 4096),
    ("num_hidden_layers", 0), ("num_hidden_layers", -1), ("num_hidden_layers", "3"), ("num_hidden_layers", 3.5),
    ("num_hidden_layers", None), ("vocab_size", 0), ("vocab_size", 10**12), ("vocab_size", 1023),
    ("hidden_size", 0), ("hidden_size", 2**31), ("hidden_size", 255), ("num_attention_heads", 0),
    ("num_attention_heads", 2**20), ("num_key_value_heads", 3), ("num_key_value_heads", 0), ("head_dim", 0),
    ("head_dim", 63), ("head_dim", 2**40), ("intermediate_size", 2**62), ("intermediate_size", 512),
    ("rms_norm_eps", -1.0), ("rms_norm_eps", 10), ("rms_norm_eps", "small"), ("rope_theta", 0),
    ("rope_theta", -10000.0), ("rope_theta", []), ("max_position_embeddings", 0),
    ("rope_scaling", {"rope_type": "linear", "factor": 0}), ("rope_scaling", {"rope_type": "spiral"}),
    ("rope_scaling", {"rope_type": "yarn", "factor": -4.0}),
    ("rope_scaling", {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0}),
    ("hidden_act", "gelu"), ("architectures", ["GPT2LMHeadModel"]),
    ("architectures", ["\u001b[2J\n" * 50]),
]
ABSURD_MOE = [
    ("num_experts", 0), ("num_experts", 2**40), ("num_experts", 17), ("num_experts_per_tok", 17),
    ("num_experts_per_tok", 0), ("moe_intermediate_size", 0), ("moe_intermediate_size", 2**31),
    ("decoder_sparse_step", -1), ("mlp_only_layers", [0]), ("mlp_only_layers", "none"),
]


class Checker:
    def __init__(self, sluice):
        self.sluice = sluice
        self.problems = []
        self.n_checked = 0

    def call(self, verb, model):
        arguments = {"inspect": [], "run": ["--raw", "a", "-n", "1", "--temp", "0"]}[verb]
        try:
            return subprocess.run([self.sluice, verb, model, *arguments], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return None

    def refused(self, model, mentions=(), verbs=("inspect", "run")):
        """One of the verbs, in their order, refuses the model as it should."""
        self.n_checked += 1
        for verb in verbs:
            done = self.call(verb, model)
            if done is not None and done.returncode == 0:
                continue
            problem = self.judge(done, str(model), mentions)
            if problem:
                self.problems.append(f"{verb} {model}: {problem}")
            return
        self.problems.append(f"{model}: taken by {' and '.join(verbs)}")

    @staticmethod
    def judge(done, model, mentions):
        if done is None:
            return f"still running after {TIMEOUT_S} s"
        error = done.stderr.decode("utf-8", "replace")
        if done.returncode != 1:
            return f"exit status {done.returncode}: {error[-2000:]}"
        if not error.startswith("sluice: ") or error.count("\n") != 1 or not error.endswith("\n"):
            return f"not one line that begins with 'sluice: ': {error!r}"
        if any(ord(c) < 32 for c in error[:-1]) or len(error) > 700:
            return f"control characters or too long: {error!r}"
        of_split = re.sub(r"-\d{5}-of-\d{5}\.gguf$", "", os.path.basename(model))  # any of its files may be the one
        for mention in (*mentions, of_split):
            if mention not in error:
                return f"does not mention '{mention}': {error!r}"
        return None


def read_header(path):
    """Of a safetensors file: its tensors and where their bytes begin."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length)), 8 + length


def overwrite(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
        file.write(data)


class Forged:
    """Small right models, and copies of them with one fault."""

    def __init__(self, sluice, folder):
        self.sluice, self.folder, self.n_copies = sluice, folder, 0

    def make(self, shape, encoding, family):
        path = self.folder / f"{shape}-{encoding}{'.gguf' if family == 'gguf' else ''}"
        subprocess.run([self.sluice, "forge", "--shape", shape, "--encoding", encoding, "--family", family, "--out", path],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return path

    def copy(self, model):
        self.n_copies += 1
        path = self.folder / f"copy-{self.n_copies}{model.suffix}"
        if model.is_file():
            shutil.copy(model, path)
            return path
        path.mkdir()
        for file in model.iterdir():
            if file.name == "model.safetensors":
                (path / file.name).symlink_to(file)
            else:
                shutil.copy(file, path)
        return path

    def with_field(self, model, field, value):
        path = self.copy(model)
        config = json.loads((path / "config.json").read_text())
        config[field] = value
        (path / "config.json").write_text(json.dumps(config))
        return path

    def with_nan(self, model, tensor):
        """The first value of a 16-bit tensor is not a number."""
        path = self.copy(model)
        weights = path / "model.safetensors"
        weights.unlink()
        shutil.copy(model / "model.safetensors", weights)
        header, begin = read_header(weights)
        entry = header[tensor]
        overwrite(weights, begin + entry["data_offsets"][0], struct.pack("<H", NAN[entry["dtype"]]))
        return path


def main():
    sluice, make_broken_files = sys.argv[1:3]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-broken-"))
    checker = Checker(sluice)
    try:
        made = subprocess.run([make_broken_files, folder / "files"], check=True, stdout=subprocess.PIPE, text=True)
        for line in made.stdout.splitlines():
            path, _, *mentions = line.split("\t")
            checker.refused(path, mentions)

        forged = Forged(sluice, folder)
        dense = forged.make("llama-tiny", "affine4", "hf")
        moe = forged.make("moe-tiny", "bf16", "hf")
        gguf = forged.make("llama-tiny", "q4_0", "gguf")
        for model in (dense, moe, gguf):  # what is broken below is right
            done = checker.call("run", model)
            if done is None or done.returncode != 0:
                checker.problems.append(f"{model} does not run: {done and done.stderr}")
        for model, absurd in ((dense, ABSURD_DENSE), (moe, ABSURD_MOE)):
            for field, value in absurd:
                checker.refused(forged.with_field(model, field, value))

        layer = "model.layers.1."
        for model, tensor, verbs in (
                (dense, "model.norm.weight", ["inspect"]),
                (dense, layer + "input_layernorm.weight", ["inspect"]),
                (dense, layer + "self_attn.q_proj.scales", ["run"]),
                (dense, layer + "mlp.down_proj.biases", ["run"]),
                (dense, "lm_head.scales", ["run"]),
                (moe, layer + "mlp.gate.weight", ["run"])):
            checker.refused(forged.with_nan(model, tensor), verbs=verbs)
        for scale in (0x7E00, 0xFC00):  # NaN and -infinity in the last block of the file, which is the head's
            path = forged.copy(gguf)
            overwrite(path, -18, struct.pack("<H", scale))
            checker.refused(path, verbs=["run"])
    finally:
        shutil.rmtree(folder)
    print(f"{checker.n_checked} broken models")
    print("\n".join(f"FAILED: {problem}" for problem in checker.problems))
    return 1 if checker.problems else 0


if __name__ == "__main__":
    sys.exit(main())
