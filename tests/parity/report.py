#!/usr/bin/env python3
"""Continues the same prompts with transformers and with loquent, greedily, and prints a report in Markdown.

    pip install torch transformers && cargo build --release
    python tests/parity/report.py                 the demo
    python tests/parity/report.py --model DIR     any checkpoint that transformers opens
    python tests/parity/report.py --regenerate    freeze what transformers says for tests/parity/main.rs

A prompt matches if the first tokens of both continuations are the same, as many as its window has. transformers computes in
f32 from the weights as they are stored, as loquent does of weights that are not quantised. Exits with 0 if all match, 1 if
not, 2 if something is missing.
"""
import argparse
import collections
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
DEMO = ROOT / "assets/demo"
REFERENCE = HERE / "reference.json"

# What it is called here, there, and what it is: nothing is left to either side's defaults.
SETTINGS = (
    ("--temperature", "do_sample", 0.0, False),
    ("--repeat-penalty", "repetition_penalty", 1.0, 1.0),
    ("--presence-penalty", None, 0.0, None),
    ("--frequency-penalty", None, 0.0, None),
    ("--top-k", "top_k", 0, None),
    ("--top-p", "top_p", 1.0, None),
    ("--min-p", "min_p", 0.0, None),
    ("--ignore-eos", "eos_token_id", None, None),
)


def set_up_failed(message):
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


try:
    import torch
    import transformers
except ImportError as error:
    set_up_failed(f"{error}: expected `pip install torch transformers`")


def long_text():
    """Some 800 tokens of the demo's, of which the last is in the middle of a story."""
    spec = importlib.util.spec_from_file_location("perplexity", ROOT / "tests/fixtures/perplexity.py")
    perplexity = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(perplexity)
    return perplexity.held_out(6)[:3200]


def prompts():
    """Name, text, and how many new tokens must be the same."""
    chat = "<|im_start|>user\nTell me a story about a dragon.<|im_end|>\n<|im_start|>assistant\n"
    code = "def fibonacci(n):\n    if n < 2:\n        return n\n    return "
    return (
        ("story", "Once upon a time", 64),
        ("princess", "The princess", 64),
        ("one token", "a", 48),
        ("chat", chat, 64),
        ("code", code, 32),
        ("beyond ASCII", "„Guten Tag!“, sagte der Bär. 🐻", 32),
        ("800 tokens", long_text(), 64),
    )


class Transformers:
    def __init__(self, folder):
        try:
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        except (OSError, ValueError, KeyError) as error:
            set_up_failed(f"transformers cannot open {folder}: {error}")
        self.model.generation_config = transformers.GenerationConfig()

    def run(self, text, count):
        ids = self.tokenizer(text, add_special_tokens=True).input_ids
        settings = {there: value for _, there, _, value in SETTINGS if there}
        started = time.perf_counter()
        with torch.no_grad():
            out = self.model.generate(
                torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_new_tokens=count,
                pad_token_id=0, output_logits=True, return_dict_in_generate=True, **settings)
        seconds = time.perf_counter() - started
        tokens = out.sequences[0, len(ids):].tolist()
        leads = [float(best - second) for best, second in (row[0].topk(2).values for row in out.logits)]
        return dict(ids=ids, tokens=tokens, leads=leads, speed=count / seconds, text=self.tokenizer.decode(tokens))


class Loquent:
    def __init__(self, binary, folder, backend, exact):
        if not binary.is_file():
            set_up_failed(f"there is no {binary}: expected `cargo build --release`, or --binary")
        self.command = [str(binary), "generate", "-m", str(folder), "--backend", backend, "--json", "--profile"]
        self.command += ["--exact"] * exact
        for here, _, value, _ in SETTINGS:
            self.command += [here] if value is None else [here, str(value)]
        config = json.loads((folder / "config.json").read_text())
        self.layers = config.get("text_config", config)["layer_types"]

    def run(self, text, count):
        found = subprocess.run([*self.command, "-n", str(count), text], capture_output=True, text=True)
        if found.returncode != 0:
            set_up_failed(f"loquent exits with {found.returncode}: {found.stderr.strip()}")
        *tokens, done = map(json.loads, found.stdout.splitlines())
        return dict(
            tokens=[token["id"] for token in tokens], text="".join(token["text"] for token in tokens) + done["text"],
            prompt_tokens=done["prompt_tokens"], speed=count / (done["prefill_seconds"] + done["decode_seconds"]),
            path="{backend}, {numerics}, {isa}".format(**done), systems=self.systems(found.stderr))

    def systems(self, profile):
        """How often each system ran, by the profile; every layer must have been through its mixer in every pass."""
        rows = (line.split() for line in profile.splitlines())
        calls = collections.Counter()
        for row in rows:
            if len(row) == 12 and row[2].isdigit():
                calls[row[0]] += int(row[2])
        passes = calls.get("embed_tokens", 0)
        expected = dict(
            mix_with_delta_net=passes * self.layers.count("linear_attention"),
            mix_with_attention=passes * self.layers.count("full_attention"),
            run_mlp=passes * len(self.layers))
        for system, count in expected.items():
            if passes == 0 or calls.get(system, 0) != count:
                set_up_failed(f"{system} ran {calls.get(system, 0)} times in {passes} passes: expected {count}")
        return calls


def agreement(left, right):
    return next((at for at, (a, b) in enumerate(zip(left, right)) if a != b), min(len(left), len(right)))


def report(args):
    theirs, ours = Transformers(args.model), Loquent(args.binary, args.model, args.backend, args.exact)
    rows, texts, paths, systems, matching = [], [], set(), {}, 0
    for name, text, window in prompts():
        expected, found = theirs.run(text, window), ours.run(text, window)
        same = agreement(expected["tokens"], found["tokens"])
        matches = same == window and found["prompt_tokens"] == len(expected["ids"])
        matching += matches
        first = "none"
        if same < window:
            lead = expected["leads"][same]
            first = f"token {same}: {expected['tokens'][same]}, ahead by {lead:.4f}; here {found['tokens'][same]}"
        if found["prompt_tokens"] != len(expected["ids"]):
            first = f"prompt of {found['prompt_tokens']} tokens"
        rows.append(
            f"| {name} | {len(expected['ids'])} | {window} | {same}/{window} | {first} | {min(expected['leads']):.4f} "
            f"| {expected['speed']:.1f} | {found['speed']:.1f} | {'match' if matches else 'DIFFERS'} |")
        fence = "````"
        texts.append(
            f"### {name}\n\ntransformers:\n\n{fence}text\n{expected['text']}\n{fence}\n\n"
            f"loquent:\n\n{fence}text\n{found['text']}\n{fence}\n")
        paths.add(found["path"])
        for system, calls in found["systems"].items():
            systems[system] = systems.get(system, 0) + calls
    print(f"# Greedy continuations of {args.model}\n")
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, f32; loquent: {'; '.join(sorted(paths))}.")
    print(f"Systems that ran, and how often: {', '.join(f'`{name}` {calls}' for name, calls in systems.items())}.\n")
    print("Speeds are new tokens a second, the prompt's time included. The smallest lead is that of the likeliest token")
    print("over its runner-up in transformers' logits: where it is tiny, rounding may change a token.\n")
    print("| prompt | tokens | window | the same | first difference | smallest lead | transformers | loquent | verdict |")
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(rows) + "\n")
    print("\n".join(texts))
    total = len(rows)
    if matching == total:
        print(f"PASS: all {total} prompts match within their windows")
        return 0
    print(f"FAIL: {matching}/{total} prompts match within their windows")
    return 1


def regenerate():
    theirs = Transformers(DEMO)
    lines = []
    for name, text, window in prompts():
        found = theirs.run(text, window)
        lines.append(json.dumps(dict(
            name=name, text=text, ids=found["ids"], tokens=found["tokens"], smallest_lead=min(found["leads"]))))
    made_with = json.dumps(dict(torch=torch.__version__, transformers=transformers.__version__))
    REFERENCE.write_text(f'{{"made_with": {made_with}, "prompts": [\n' + ",\n".join(lines) + "\n]}\n")
    print(f"wrote {REFERENCE}", file=sys.stderr)


def main():
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=DEMO, help="a checkpoint's directory [default: the demo]")
    parser.add_argument("--binary", type=Path, default=target / "release/loquent", help="loquent [default: the release build]")
    parser.add_argument("--backend", choices=("cpu",), default="cpu", help="what computes")
    parser.add_argument("--exact", action="store_true", help="keep activations in f32")
    parser.add_argument("--regenerate", action="store_true", help=f"write {REFERENCE.name} instead")
    args = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    if not (args.model / "config.json").is_file():
        set_up_failed(f"there is no {args.model / 'config.json'}: expected a checkpoint's directory")
    if args.regenerate:
        return regenerate()
    return report(args)


if __name__ == "__main__":
    sys.exit(main())
