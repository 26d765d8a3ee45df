"""Trains a model to measure conversions on: four times the demo, on real text, the Python sources of torch. What it
writes is not worth reading, but its perplexity tells one encoding from another.

    pip install torch transformers
    python benches/quality/train.py train --work run --minutes 60   # goes on where it stopped: run/state.pt
    python benches/quality/train.py export --work run               # run/model, in BF16, and run/held-out.txt

Matrices are trained with Muon (https://kellerjordan.github.io/posts/muon), the rest with AdamW. The rate falls to zero
over the last fifth of the time.
"""
import argparse
import functools
import hashlib
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import AutoTokenizer
from transformers.models.qwen3_5 import modeling_qwen3_5
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5ForCausalLM

sys.path.insert(0, str(Path(__file__).parents[2] / "assets/demo"))
import train as demo

VOCAB, HIDDEN, INTERMEDIATE, HEADS = 4096, 512, 1536, 8
HELD_OUT_BYTES = 250_000
LENGTH, BATCH = 512, 8


def sources():
    """The texts to train on and those held out, told apart by a hash of their contents."""
    paths = sorted(Path(torch.__file__).parent.rglob("*.py"))
    texts = [text for path in paths if 500 < len(text := path.read_text(errors="replace")) < 200_000]
    texts.sort(key=lambda text: hashlib.sha256(text.encode()).digest())
    held_out = []
    while sum(map(len, held_out)) < HELD_OUT_BYTES:
        held_out.append(texts.pop())
    return texts, held_out


def make_model(tokenizer):
    config = demo.make_config(tokenizer)
    config.vocab_size, config.hidden_size, config.intermediate_size = VOCAB, HIDDEN, INTERMEDIATE
    config.num_attention_heads = config.linear_num_key_heads = config.linear_num_value_heads = HEADS
    return Qwen3_5ForCausalLM(config)


def optimizers(model):
    hidden = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [torch.optim.Muon(hidden, lr=2e-3, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.0, fused=True)]


def token_rows(tokenizer, texts):
    """Every file once, each ended, in rows of one token more than are predicted; shuffled."""
    ids, end = [], tokenizer.convert_tokens_to_ids(demo.EOS)
    for text in texts:
        ids += tokenizer._tokenizer.encode(text, add_special_tokens=False).ids + [end]
    rows = torch.tensor(ids[: len(ids) // (LENGTH + 1) * (LENGTH + 1)]).view(-1, LENGTH + 1)
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]


def train(work, minutes):
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    modeling_qwen3_5.torch_chunk_gated_delta_rule = functools.partial(modeling_qwen3_5.torch_chunk_gated_delta_rule, chunk_size=32)
    texts, _ = sources()
    if not (work / "tokenizer").exists():
        demo.make_tokenizer(work / "tokenizer", texts[::10], VOCAB)
    tokenizer = AutoTokenizer.from_pretrained(work / "tokenizer")
    rows = token_rows(tokenizer, texts)
    model = make_model(tokenizer)
    demo.start(model)
    opts = optimizers(model)
    step, spent = 0, 0.0
    if (work / "state.pt").exists():
        saved = torch.load(work / "state.pt")
        model.load_state_dict(saved["model"])
        for opt, state in zip(opts, saved["opts"]):
            opt.load_state_dict(state)
        step, spent = saved["step"], saved["spent"]
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {rows.numel()} tokens", flush=True)
    budget, losses, last = 60 * minutes, [], time.process_time()
    while spent < budget:
        scale = min(1.0, (step + 1) / 100, (budget - spent) / (0.2 * budget))
        for opt in opts:
            opt.param_groups[0]["lr"] = 2e-3 * scale
        first = step * BATCH % (len(rows) - BATCH)
        batch = rows[first:first + BATCH]
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(input_ids=batch[:, :-1], use_cache=False).logits
        loss = F.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad(set_to_none=True)
        losses.append(loss.item())
        # Time of the processor, on all threads: a machine with other work to do trains no less.
        now = time.process_time()
        spent, last, step = spent + (now - last) / torch.get_num_threads(), now, step + 1
        if step % 20 == 0:
            print(f"step {step}, {step * BATCH * LENGTH} tokens, loss {sum(losses) / len(losses):.4f}, {spent:.0f} s", flush=True)
            losses = []
        if step % 100 == 0 or spent >= budget:
            torch.save({"model": model.state_dict(), "opts": [o.state_dict() for o in opts], "step": step, "spent": spent}, work / "state.tmp")
            (work / "state.tmp").replace(work / "state.pt")


def export(work):
    tokenizer = AutoTokenizer.from_pretrained(work / "tokenizer")
    model = make_model(tokenizer)
    model.load_state_dict(torch.load(work / "state.pt")["model"])
    model.to(torch.bfloat16).save_pretrained(work / "model")
    tokenizer.save_pretrained(work / "model")
    _, held_out = sources()
    (work / "held-out.txt").write_text("".join(text + demo.EOS for text in held_out))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "export"])
    parser.add_argument("--work", type=Path, default=Path("run"))
    parser.add_argument("--minutes", type=float, default=60, help="of the processor, on all threads")
    args = parser.parse_args()
    train(args.work, args.minutes) if args.what == "train" else export(args.work)
