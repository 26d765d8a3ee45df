"""The multi-token-prediction head: one more decoder layer that reads the trunk's last hidden state
and the token after it, and says which token comes after that one. Fed with its own output it goes on
drafting, and the trunk then checks all the drafts in one pass.

The head is put together from transformers' parts, which knows the trunk only."""
import copy

import torch
from torch import nn
from transformers import DynamicCache
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5DecoderLayer, Qwen3_5RMSNorm, Qwen3_5TextRotaryEmbedding


class Head(nn.Module):
    """Named as in the checkpoints, without their `mtp.`."""

    def __init__(self, trunk_config):
        super().__init__()
        config = copy.deepcopy(trunk_config)
        config.num_hidden_layers, config.layer_types = 1, ["full_attention"]
        config._attn_implementation = "sdpa"
        width, eps = config.hidden_size, config.rms_norm_eps
        self.fc = nn.Linear(2 * width, width, bias=False)
        self.pre_fc_norm_embedding = Qwen3_5RMSNorm(width, eps=eps)
        self.pre_fc_norm_hidden = Qwen3_5RMSNorm(width, eps=eps)
        self.layers = nn.ModuleList([Qwen3_5DecoderLayer(config, 0)])
        self.norm = Qwen3_5RMSNorm(width, eps=eps)
        self.rotary = Qwen3_5TextRotaryEmbedding(config)

    def forward(self, embeddings, hidden, positions, mask, cache):
        """What predicts the token after the embedded ones, [rows, tokens, hidden]. `mask` [tokens, keys] says
        which of the cached keys and its own each token sees."""
        u = self.fc(torch.cat([self.pre_fc_norm_embedding(embeddings), self.pre_fc_norm_hidden(hidden)], -1))
        out = self.layers[0](u, position_embeddings=self.rotary(u, positions), attention_mask=mask[None, None], cache=cache)
        return self.norm(out)


def start_from(head, trunk):
    """Starts with the trunk's own last layer, fed with the sum of both inputs."""
    head.layers[0].load_state_dict(trunk.model.layers[-1].state_dict())
    head.norm.load_state_dict(trunk.model.norm.state_dict())
    width = head.fc.out_features
    with torch.no_grad():
        head.fc.weight.normal_(std=0.02)
        head.fc.weight[:, :width] += 0.5 * torch.eye(width)
        head.fc.weight[:, width:] += 0.5 * torch.eye(width)


def drafts(trunk, head, tokens, hidden, steps, teacher=True):
    """Drafts from every place of rows [rows, n] of tokens with the trunk's hidden states [rows, n, hidden]:
    for each step the logits [rows, places, vocabulary], where place p of step s predicts token p + 2 + s
    from the trunk's state at p. With a `teacher` the tokens in between are those of the row, otherwise the
    head's own choices.

    All places are drafted at once. At step s place p stands at position p + s and sees what a
    draft from p alone would see: the first step's keys up to p, and of the later steps its own."""
    places = tokens.shape[1] - 1 - (steps if teacher else 0)
    embed, cache = trunk.get_input_embeddings(), DynamicCache()
    causal, itself = torch.ones(places, places, dtype=torch.bool).tril(), torch.eye(places, dtype=torch.bool)
    y, following, all_logits = hidden[:, :places], tokens[:, 1:places + 1], []
    for step in range(steps):
        positions = torch.arange(step, places + step)[None]
        y = head(embed(following), y, positions, torch.cat([causal] + [itself] * step, 1), cache)
        all_logits.append(trunk.lm_head(y))
        following = tokens[:, step + 2:places + step + 2] if teacher else all_logits[-1].argmax(-1)
    return all_logits


def trunk_states(trunk, tokens):
    """The hidden states that lm_head reads."""
    with torch.no_grad():
        return trunk.model(input_ids=tokens, use_cache=False).last_hidden_state


def losses(trunk, head, tokens, steps):
    """For each step the cross entropy with what the trunk itself says there: the trunk decides which drafts are kept."""
    hidden, each = trunk_states(trunk, tokens), []
    for step, logits in enumerate(drafts(trunk, head, tokens, hidden, steps)):
        with torch.no_grad():
            wanted = trunk.lm_head(hidden[:, step + 1:step + 1 + logits.shape[1]]).softmax(-1)
        each.append(nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(0, 1)))
    return each


@torch.no_grad()
def tokens_a_pass(trunk, head, prompts, stop, steps=3, longest=256):
    """Lets the trunk go on greedily from prompts [rows, tokens], then counts what passes over one token and `steps`
    drafts would have brought: the tokens a pass, and the share of first, second ... drafts that are right where
    those before are."""
    written = trunk.generate(prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=longest,
                             do_sample=False, temperature=None, top_p=None, eos_token_id=stop)
    tokens = passes = 0
    reached, right = [0] * steps, [0] * steps
    for row in written:
        ends = [i for i in range(prompts.shape[1], len(row)) if row[i] in stop]
        row = row[: ends[0] + 1 if ends else len(row)]
        drafted = [logits.argmax(-1)[0] for logits in drafts(trunk, head, row[None], trunk_states(trunk, row[None]), steps, teacher=False)]
        place = prompts.shape[1] - 1
        while place + 2 < len(row):
            kept = 0
            while kept < steps and place + 2 + kept < len(row):
                reached[kept] += 1
                if drafted[kept][place] != row[place + 2 + kept]:
                    break
                right[kept] += 1
                kept += 1
            brought = min(1 + kept, len(row) - place - 2)
            tokens, passes, place = tokens + brought, passes + 1, place + brought
    return {"tokens": tokens, "passes": passes, "tokens_a_pass": tokens / passes,
            "right_by_step": [round(r / max(1, n), 4) for r, n in zip(right, reached)]}
