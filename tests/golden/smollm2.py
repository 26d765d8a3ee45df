#!/usr/bin/env python3
"""Writes smollm2.json: what transformers makes of SmolLM2-135M-Instruct out of a GGUF file in Q4_1.

    pip install torch transformers accelerate gguf
    tests/golden/smollm2.py "$(tests/golden/smollm2.sh)"

It takes the blocks for the numbers that they stand for, and computes in f32 on the CPU. Each prompt is a user's message;
`ids` are those of the conversation as the template in the file writes it, `tokens` the 48 likeliest ones after it, end
tokens or not, and `lead` is by how much the least clear of them led the runner-up.

`perplexity` is about smollm2.txt, read in windows as in https://huggingface.co/docs/transformers/perplexity: `ids` are the
text's, `tokens` how many of them are scored, and `nll` is the mean of their negative log-likelihoods, which are taken in f64.

Neither prompts nor the text have digits: transformers splits those otherwise than the makers' own tokenizer does where it
has nothing but a GGUF file.
"""
import hashlib
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

NEW_TOKENS = 48
WINDOW, STRIDE = 512, 256
HERE = Path(__file__).parent
PROMPTS = [
    "Why is the sky blue?",
    "Name three colours of the rainbow.",
    "Write a haiku about the sea.",
    "What is the capital of France?",
    "Translate 'good morning' into German, please.",
    "def fibonacci(n):\n    # continue",
    "Explain to a child, in one sentence, what a computer is.",
    "Ünïcödé — 你好, Привет! What languages are these?",
]


def perplexity(model, ids):
    """Every token counts once, in the first window that reaches it; the first of all, which nothing predicts, not at all."""
    nll, seen = [], 1
    for begin in range(0, len(ids), STRIDE):
        end = min(begin + WINDOW, len(ids))
        with torch.no_grad():
            logits = model(torch.tensor([ids[begin:end]])).logits[0].double()
        rows = torch.log_softmax(logits[seen - begin - 1:end - begin - 1], dim=-1)
        nll.append(-rows.gather(1, torch.tensor(ids[seen:end])[:, None])[:, 0])
        seen = end
        if end == len(ids):
            break
    nll = torch.cat(nll)
    print(f"perplexity {nll.mean().exp().item():.6f} of {len(nll)} tokens", file=sys.stderr)
    return dict(window=WINDOW, stride=STRIDE, tokens=len(nll), nll=nll.mean().item(), ids=ids)


def main():
    path = Path(sys.argv[1])
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    rows = []
    for prompt in PROMPTS:
        text = tokenizer.apply_chat_template(
            [dict(role="user", content=prompt)], add_generation_prompt=True, tokenize=False)
        ids = tokenizer(text, add_special_tokens=False).input_ids
        tokens, lead, cache, given = [], float("inf"), None, torch.tensor([ids])
        with torch.no_grad():
            for _ in range(NEW_TOKENS):
                out = model(input_ids=given, past_key_values=cache, use_cache=True)
                best = out.logits[0, -1].topk(2)
                lead = min(lead, (best.values[0] - best.values[1]).item())
                tokens.append(best.indices[0].item())
                cache, given = out.past_key_values, best.indices[:1].view(1, 1)
        rows.append(dict(prompt=prompt, text=text, ids=ids, tokens=tokens, lead=round(lead, 4)))
        print(f"{lead:.3f} {tokenizer.decode(tokens)!r}", file=sys.stderr)
    ids = tokenizer((HERE / "smollm2.txt").read_text(), add_special_tokens=False).input_ids
    found = json.dumps(perplexity(model, ids))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    lines = ",\n".join(f"    {json.dumps(row)}" for row in rows)
    document = f'{{\n  "file": {json.dumps(path.name)},\n  "sha256": "{sha256}",\n  "chats": [\n{lines}\n  ],\n  "perplexity": {found}\n}}\n'
    (HERE / "smollm2.json").write_text(document)


main()
