"""Trains the demo model: a four-layer Qwen3.5 (three gated delta net layers and
one gated attention layer) on the stories that stories.py makes up.

    pip install torch transformers
    python train.py train  --work run              # tokenizer, then training; writes run/state.pt
    python train.py export --work run --out model  # the files in the layout of save_pretrained, BF16
    python train.py eval   --out model             # held-out loss of an exported folder
    python train.py sample --out model "Once upon a time"
    python train.py mtp      --model model --work run --out model  # trains the draft head of mtp.py beside the trunk, adds it to the files
    python train.py mtp-eval --out model                           # tokens that a pass brings with it

Training keeps a constant rate after the warm-up until --tokens is nearly
reached (or a file named `finish` appears in the work folder), then lets the
rate fall to zero over the last --decay-steps steps. It can be stopped at any
time and goes on from run/state.pt.
"""
import argparse
import functools
import json
import math
import os
import shutil
import time

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast
from transformers.models.qwen3_5 import modeling_qwen3_5
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5ForCausalLM
from transformers.models.qwen3_5.tokenization_qwen3_5 import PRETOKENIZE_REGEX

import mtp
import stories

VOCAB = 2048
EOS, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
HELD_OUT = 900_000_000  # held-out documents come from seeds at and above this one
TOKENIZER_SEEDS = 500_000_000  # and the tokenizer is fitted on yet other seeds
MTP_SEEDS = 100_000_000  # the draft head learns from stories that the trunk has not seen, whose states are those of new text
MTP_WEIGHTS = (1.0, 0.7, 0.5)  # of the first, second and third draft in the head's loss

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer_texts(documents=20_000):
    return (stories.document(TOKENIZER_SEEDS + i).replace(IM_START, "").replace(IM_END, "") for i in range(documents))


def make_tokenizer(path, texts, vocab_size):
    """A byte-level BPE in the layout of the Qwen tokenizers."""
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tok.decoder = decoders.ByteLevel()
    special = [EOS, IM_START, IM_END]
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tok.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tok, eos_token=EOS, pad_token=EOS, additional_special_tokens=[IM_START, IM_END],
                                   model_max_length=2048, clean_up_tokenization_spaces=False)
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(path)
    return fast


def make_config(tok):
    return Qwen3_5TextConfig(
        vocab_size=VOCAB, hidden_size=256, intermediate_size=768, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=64,
        linear_conv_kernel_dim=4, linear_key_head_dim=64, linear_value_head_dim=64,
        linear_num_key_heads=4, linear_num_value_heads=4,
        layer_types=["linear_attention"] * 3 + ["full_attention"],
        max_position_embeddings=2048, tie_word_embeddings=True, rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25,
                         "mrope_interleaved": True, "mrope_section": [3, 3, 2]},
        eos_token_id=tok.convert_tokens_to_ids(EOS), pad_token_id=tok.convert_tokens_to_ids(EOS), bos_token_id=None,
    )


def start(model):
    for n, p in model.named_parameters():  # gentler output layers at the start
        if n.endswith(("out_proj.weight", "o_proj.weight", "down_proj.weight")):
            p.data.mul_(1 / math.sqrt(2 * model.config.num_hidden_layers))
        if n.endswith("dt_bias"):  # step sizes from 0.001 to 0.1, so that the states remember from the start
            dt = torch.exp(torch.empty_like(p).uniform_(math.log(1e-3), math.log(1e-1)))
            p.data.copy_(dt + torch.log(-torch.expm1(-dt)))


class Rows:
    """Rows of `length` + 1 tokens. A row starts with the start of a document,
    as a prompt does, and documents follow one another in it."""

    def __init__(self, tok, length, seed, step=1):
        self.tok, self.length, self.seed, self.step = tok._tokenizer, length, seed, step
        self.eos = tok.convert_tokens_to_ids(EOS)

    def row(self):
        ids = []
        while len(ids) <= self.length:
            ids += self.tok.encode(stories.document(self.seed), add_special_tokens=False).ids + [self.eos]
            self.seed += self.step
        return ids[: self.length + 1]

    def batch(self, n):
        return torch.tensor([self.row() for _ in range(n)])


def who_and_what(tok, weight):
    """A weight for every token as a target: `weight` for the names, animals, objects and
    pronouns (to get these right the model has to look back in the story), 1 for the rest."""
    words = stories.GIRLS + stories.BOYS + stories.PETS_F + stories.PETS_M + list(stories.ANIMALS) + list(stories.PLAY)
    words += list(stories.TOYS) + "he she He She his her him His Her chick lamb cub caterpillar king queen prince princess mom dad grandma grandpa".split()
    weights = torch.ones(VOCAB)
    for word in words:
        for form in (word, " " + word):
            for i in tok(form, add_special_tokens=False)["input_ids"]:
                if len(tok.decode([i]).strip()) > 1:
                    weights[i] = weight
    return weights


def loss_of(model, rows, weights):
    """The weighted loss to train on, and the plain one to report."""
    logits = model(input_ids=rows[:, :-1], use_cache=False).logits
    target = rows[:, 1:].reshape(-1)
    each = F.cross_entropy(logits.float().reshape(-1, VOCAB), target, reduction="none")
    w = weights[target]
    return (each * w).sum() / w.sum(), each.detach().mean().item(), (each.detach() * (w > 1)).sum().item() / max(1, (w > 1).sum().item())


@torch.no_grad()
def held_out(model, tok, documents=400):
    """Loss over whole held-out documents, each on its own from an empty state:
    nats per token and per byte of text."""
    model.eval()
    eos = tok.convert_tokens_to_ids(EOS)
    docs = [stories.document(HELD_OUT + i) for i in range(documents)]
    enc = sorted((tok(d, add_special_tokens=False)["input_ids"] + [eos] for d in docs), key=len)
    nats = tokens = 0
    for i in range(0, len(enc), 16):
        group = enc[i:i + 16]
        width = max(map(len, group))
        ids = torch.tensor([g + [eos] * (width - len(g)) for g in group])
        target = torch.tensor([g[1:] + [-100] * (width - len(g)) for g in group])
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits.float()
        nats += F.cross_entropy(logits.reshape(-1, VOCAB), target.reshape(-1), ignore_index=-100, reduction="sum").item()
        tokens += sum(len(g) - 1 for g in group)
    model.train()
    size = sum(len(d.encode()) for d in docs)
    return {"documents": documents, "tokens": tokens, "bytes": size, "nats_per_token": nats / tokens, "nats_per_byte": nats / size}


def train(args):
    os.makedirs(args.work, exist_ok=True)
    torch.manual_seed(0)
    # The same result in about a tenth less time on a CPU: chunks of 32 tokens, not 64.
    modeling_qwen3_5.torch_chunk_gated_delta_rule = functools.partial(modeling_qwen3_5.torch_chunk_gated_delta_rule, chunk_size=32)
    tok_dir = os.path.join(args.work, "tokenizer")
    tok = AutoTokenizer.from_pretrained(tok_dir) if os.path.exists(tok_dir) else make_tokenizer(tok_dir, tokenizer_texts(), VOCAB)
    model = Qwen3_5ForCausalLM(make_config(tok))
    start(model)
    print("parameters", sum(p.numel() for p in model.parameters()), flush=True)
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2]
    others = [p for n, p in model.named_parameters() if p.ndim != 2]
    opt = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}], lr=args.lr, betas=(0.9, 0.98), fused=True)
    ema = {n: p.detach().clone() for n, p in model.named_parameters()}
    state = {"step": 0, "tokens": 0, "seed": 0, "decay_from": None, "log": []}
    path = os.path.join(args.work, "state.pt")
    if os.path.exists(path):
        saved = torch.load(path)
        model.load_state_dict(saved["model"]); opt.load_state_dict(saved["opt"])
        ema, state = saved["ema"], saved["state"]
        if args.from_average:
            model.load_state_dict(ema, strict=False)
    rows = Rows(tok, args.length, state["seed"])
    last_save = last_log = time.time()
    seen = acc = acc_special = n_acc = 0
    weights = who_and_what(tok, args.focus)

    def save():
        state["seed"] = rows.seed
        torch.save({"model": model.state_dict(), "opt": opt.state_dict(), "ema": ema, "state": state}, path + ".tmp")
        os.replace(path + ".tmp", path)

    while True:
        step = state["step"]
        if state["decay_from"] is None and (os.path.exists(os.path.join(args.work, "finish"))
                                            or state["tokens"] >= args.tokens - args.decay_steps * args.batch * args.length):
            state["decay_from"] = step
        scale = min(1.0, (step + 1) / args.warmup)
        if state["decay_from"] is not None:
            left = 1 - (step - state["decay_from"]) / args.decay_steps
            if left <= 0:
                break
            scale = min(scale, left)
        for g in opt.param_groups:
            g["lr"] = args.lr * scale
        batch = rows.batch(args.batch)
        loss, plain, special = loss_of(model, batch, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        d = min(0.995, step / (step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.values()), [p for _, p in model.named_parameters()], 1 - d)
        state["step"] += 1
        state["tokens"] += args.batch * args.length
        seen += args.batch * args.length; acc += plain; acc_special += special; n_acc += 1
        if state["step"] % 50 == 0 or state["step"] in (5, 20):
            now = time.time()
            print(f"step {state['step']} tokens {state['tokens']} loss {acc / n_acc:.4f} ({acc_special / n_acc:.4f} on who and what) rate {g['lr']:.2e} {seen / (now - last_log):.0f} tokens/s", flush=True)
            state["log"].append((state["step"], acc / n_acc))
            seen = acc = acc_special = n_acc = 0; last_log = now
        if time.time() - last_save > 120:
            save(); last_save = time.time()
    save()
    print("done", flush=True)


def export(args):
    saved = torch.load(os.path.join(args.work, "state.pt"))
    tok = AutoTokenizer.from_pretrained(os.path.join(args.work, "tokenizer"))
    model = Qwen3_5ForCausalLM(make_config(tok))
    model.load_state_dict(saved["model"])
    if not args.last:
        for n, p in model.named_parameters():
            p.data.copy_(saved["ema"][n])
    f32 = held_out(model, tok, args.documents)
    model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(do_sample=True, temperature=args.temperature, top_p=args.top_p, top_k=0, max_new_tokens=400,
        eos_token_id=[tok.convert_tokens_to_ids(EOS), tok.convert_tokens_to_ids(IM_END)], pad_token_id=tok.convert_tokens_to_ids(EOS))
    tmp = args.out + ".tmp"
    shutil.rmtree(tmp, ignore_errors=True)
    model.save_pretrained(tmp)
    tok.save_pretrained(tmp)
    bf16 = held_out(load(tmp)[0], tok, args.documents)
    with open(os.path.join(tmp, "tokenizer_config.json")) as f:
        about = {k: v for k, v in json.load(f).items() if k not in ("is_local", "local_files_only")}
    with open(os.path.join(tmp, "tokenizer_config.json"), "w") as f:
        json.dump(about, f, indent=2)
    os.makedirs(args.out, exist_ok=True)
    for name in os.listdir(tmp):
        os.chmod(os.path.join(tmp, name), 0o644)
        os.replace(os.path.join(tmp, name), os.path.join(args.out, name))
    os.rmdir(tmp)
    print(json.dumps({"step": saved["state"]["step"], "tokens": saved["state"]["tokens"], "f32": f32, "bf16": bf16,
                      "parameters": sum(p.numel() for p in model.parameters())}, indent=1))


def load(path):
    """Weights as stored (BF16), arithmetic in F32."""
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(path)


@torch.no_grad()
def sample(args):
    model, tok = load(args.out)
    torch.manual_seed(args.seed)
    for prompt in args.prompts or ["Once upon a time"]:
        text = f"{IM_START}user\n{prompt}{IM_END}\n{IM_START}assistant\n" if args.chat else prompt
        ids = tok(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        extra = {"do_sample": False, "temperature": None, "top_p": None} if args.greedy else {}
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=400, **extra)[0]
        print(f"--- {prompt!r} ({'greedy' if args.greedy else f'sampled, seed {args.seed}'}, {len(out) - ids.shape[1]} tokens)")
        print(tok.decode(out[ids.shape[1]:] if args.chat else out, skip_special_tokens=True) + ("" if out[-1] in (0, 2) else " [not ended]") + "\n")


def train_mtp(args):
    """Trains the draft head for --minutes; the trunk stays as it is."""
    os.makedirs(args.work, exist_ok=True)
    torch.manual_seed(0)
    modeling_qwen3_5.torch_chunk_gated_delta_rule = functools.partial(modeling_qwen3_5.torch_chunk_gated_delta_rule, chunk_size=32)
    trunk, tok = load(args.model)
    trunk.requires_grad_(False)
    head = mtp.Head(trunk.config)
    mtp.start_from(head, trunk)
    opt = torch.optim.AdamW(head.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    rows = Rows(tok, args.length, MTP_SEEDS)
    started, step, recent = time.time(), 0, []
    while (done := (time.time() - started) / (60 * args.minutes)) < 1:
        for g in opt.param_groups:
            g["lr"] = args.lr * min(1, (step + 1) / args.warmup, (1 - done) / 0.3)
        losses = mtp.losses(trunk, head, rows.batch(args.batch), len(MTP_WEIGHTS))
        sum(w * l for w, l in zip(MTP_WEIGHTS, losses)).backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        step += 1
        recent.append([l.item() for l in losses])
        if step % 50 == 0 or step in (5, 20):
            means = ", ".join(f"{sum(l) / len(l):.4f}" for l in zip(*recent))
            print(f"step {step} rows {step * args.batch} losses {means} rate {g['lr']:.2e} {time.time() - started:.0f} s", flush=True)
            recent.clear()
        if step % 500 == 0:
            save_file(head.state_dict(), os.path.join(args.work, "mtp.safetensors"))
    save_file(head.state_dict(), os.path.join(args.work, "mtp.safetensors"))
    add_head(args, head)


def add_head(args, head):
    """Writes --model with the head beside its tensors, whose bytes stay the same."""
    with safe_open(os.path.join(args.model, "model.safetensors"), "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys() if not name.startswith("mtp.")}
    tensors.update({f"mtp.{name}": p.detach().to(torch.bfloat16) for name, p in head.named_parameters()})
    os.makedirs(args.out, exist_ok=True)
    if os.path.abspath(args.out) != os.path.abspath(args.model):
        shutil.copytree(args.model, args.out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "*.md", "__pycache__"))
    path = os.path.join(args.out, "model.safetensors")
    save_file(tensors, path + ".tmp", {"format": "pt"})  # what is read may be the file that is written
    os.chmod(path + ".tmp", 0o644)
    os.replace(path + ".tmp", path)
    with open(os.path.join(args.out, "config.json")) as f:
        config = json.load(f)
    with open(os.path.join(args.out, "config.json"), "w") as f:
        json.dump(dict(sorted({**config, "mtp_num_hidden_layers": 1}.items())), f, indent=2)
        f.write("\n")


def load_head(path, trunk):
    head = mtp.Head(trunk.config)
    with safe_open(os.path.join(path, "model.safetensors"), "pt") as file:
        head.load_state_dict({name.removeprefix("mtp."): file.get_tensor(name).float() for name in file.keys() if name.startswith("mtp.")})
    return head


def eval_mtp(args):
    trunk, tok = load(args.out)
    openings = (tok(stories.document(HELD_OUT + i), add_special_tokens=False)["input_ids"][:24] for i in range(args.documents))
    prompts = torch.tensor([ids for ids in openings if len(ids) == 24])
    stop = [tok.convert_tokens_to_ids(EOS), tok.convert_tokens_to_ids(IM_END)]
    print(json.dumps({"stories": len(prompts), **mtp.tokens_a_pass(trunk, load_head(args.out, trunk), prompts, stop)}, indent=1))


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["train", "export", "eval", "sample", "mtp", "mtp-eval"])
    p.add_argument("prompts", nargs="*")
    p.add_argument("--model", default="model", help="the folder whose trunk the draft head is for")
    p.add_argument("--minutes", type=float, default=25.0, help="how long to train the draft head")
    p.add_argument("--work", default="run")
    p.add_argument("--out", default="model")
    p.add_argument("--tokens", type=int, default=12_000_000)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--length", type=int, default=320)
    p.add_argument("--lr", type=float, default=1.2e-3)
    p.add_argument("--focus", type=float, default=4.0, help="weight of names, animals, objects and pronouns in the loss")
    p.add_argument("--from-average", action="store_true", help="go on from the running average of the weights")
    p.add_argument("--warmup", type=int, default=150)
    p.add_argument("--decay-steps", type=int, default=800)
    p.add_argument("--documents", type=int, default=400)
    p.add_argument("--last", action="store_true", help="export the last weights, not their running average")
    p.add_argument("--temperature", type=float, default=0.5)
    p.add_argument("--top-p", type=float, default=0.9)
    p.add_argument("--greedy", action="store_true")
    p.add_argument("--chat", action="store_true")
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_intermixed_args()
    if a.what == "train":
        train(a)
    elif a.what == "export":
        export(a)
    elif a.what == "sample":
        sample(a)
    elif a.what == "mtp":
        train_mtp(a)
    elif a.what == "mtp-eval":
        eval_mtp(a)
    else:
        print(json.dumps(held_out(*load(a.out), a.documents), indent=1))
