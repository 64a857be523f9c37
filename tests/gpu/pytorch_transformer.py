"""The encoder-decoder Transformer that Headshare trains, written in PyTorch the way that is fast in PyTorch: joint
projections, scaled_dot_product_attention, one fused Adam. Post-norm, ReLU, biases, tied embeddings, sinusoidal
positions, no dropout. For against_pytorch.py."""

import math

import torch
from torch import nn
from torch.nn import functional as F


def split(x, heads):  # [B, T, heads * D] as scaled_dot_product_attention wants it, [B, heads, T, D]
    return x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


def attend(q, k, v, heads, kv_heads, causal):
    y = F.scaled_dot_product_attention(split(q, heads), split(k, kv_heads), split(v, kv_heads), is_causal=causal,
                                       enable_gqa=heads != kv_heads)
    return y.transpose(1, 2).reshape(q.shape)


class SelfAttention(nn.Module):
    def __init__(self, width, heads, kv_heads, causal):
        super().__init__()
        self.heads, self.kv_heads, self.causal = heads, kv_heads, causal
        kv_width = width // heads * kv_heads
        self.widths = [width, kv_width, kv_width]
        self.joint = nn.Linear(width, sum(self.widths))
        self.output = nn.Linear(width, width)

    def forward(self, x):
        q, k, v = self.joint(x).split(self.widths, -1)
        return self.output(attend(q, k, v, self.heads, self.kv_heads, self.causal))


class CrossAttention(nn.Module):
    def __init__(self, width, heads, kv_heads):
        super().__init__()
        self.heads, self.kv_heads = heads, kv_heads
        self.query = nn.Linear(width, width)
        self.joint = nn.Linear(width, 2 * (width // heads) * kv_heads)
        self.output = nn.Linear(width, width)

    def forward(self, x, memory):
        k, v = self.joint(memory).chunk(2, -1)
        return self.output(attend(self.query(x), k, v, self.heads, self.kv_heads, False))


class Layer(nn.Module):
    """Of the encoder; with cross-attention, of the decoder."""

    def __init__(self, width, hidden, heads, kv_heads, decoder):
        super().__init__()
        self.self_attention = SelfAttention(width, heads, kv_heads, causal=decoder)
        self.cross_attention = CrossAttention(width, heads, kv_heads) if decoder else None
        self.feed_forward = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if decoder else 2))

    def forward(self, x, memory=None):
        x = self.norms[0](x + self.self_attention(x))
        if self.cross_attention is not None:
            x = self.norms[1](x + self.cross_attention(x, memory))
        return self.norms[-1](x + self.feed_forward(x))


class Transformer(nn.Module):
    def __init__(self, vocabulary, width, layers, heads, kv_heads=None, hidden=None, length=1024):
        super().__init__()
        shape = (width, hidden or 4 * width, heads, kv_heads or heads)
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.encoder = nn.ModuleList(Layer(*shape, decoder=False) for _ in range(layers))
        self.decoder = nn.ModuleList(Layer(*shape, decoder=True) for _ in range(layers))
        angles = torch.arange(length)[:, None] * 10000 ** (-torch.arange(0, width, 2) / width)
        positions = torch.stack([angles.sin(), angles.cos()], -1).view(length, width)
        self.register_buffer("positions", positions, persistent=False)

    def embed(self, tokens):
        scale = math.sqrt(self.embedding.embedding_dim)
        return self.embedding(tokens) * scale + self.positions[:tokens.shape[1]]

    def forward(self, source, target):
        memory, x = self.embed(source), self.embed(target)
        for layer in self.encoder:
            memory = layer(memory)
        for layer in self.decoder:
            x = layer(x, memory)
        return F.linear(x, self.embedding.weight)

    def loss(self, source, target, wanted):
        logits = self(source, target)
        return F.cross_entropy(logits.flatten(0, 1).float(), wanted.flatten(), label_smoothing=0.1)


class Training:
    """Updates of one batch: forward, backward, clipping, Adam, as Headshare's recipe has them."""

    PRECISIONS = {"fp32": ("highest", None), "tf32": ("high", None), "bf16": ("high", torch.bfloat16)}

    def __init__(self, model, sentences, length, precision, device, compiled=False):
        torch.manual_seed(1)
        self.matmul_precision, self.autocast = self.PRECISIONS[precision]
        self.device = device
        self.model = Transformer(**model).to(device)
        vocabulary = model["vocabulary"]
        self.source = torch.randint(3, vocabulary, (sentences, length), device=device)
        target = torch.randint(3, vocabulary, (sentences, length + 1), device=device)
        self.target, self.wanted = target[:, :-1].contiguous(), target[:, 1:].contiguous()
        self.adam = torch.optim.Adam(self.model.parameters(), lr=3e-4, betas=(0.9, 0.98), eps=1e-9, fused=True)
        self.loss = torch.compile(self.model.loss) if compiled else self.model.loss

    def update(self):
        torch.set_float32_matmul_precision(self.matmul_precision)
        self.adam.zero_grad(set_to_none=True)
        with torch.autocast(self.device, dtype=self.autocast, enabled=self.autocast is not None):
            loss = self.loss(self.source, self.target, self.wanted)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.adam.step()
