"""Makes the files that tests/test_reference.cpp compares with: a whole encoder-decoder Transformer and two of its
layers, written a second time in plain PyTorch (float64, no torch.nn modules), differentiated by PyTorch's autograd and
updated by its Adam.

    pip install numpy torch safetensors==0.8.0
    python3 tests/reference/make_reference.py

transformer.safetensors            post-norm, ReLU, sinusoidal positions, two layers; two layers alone
transformer_pre_norm.safetensors   pre-norm, GELU, learned positions, one layer, multi-query

    NAME                 every parameter, under the name it has in a checkpoint: float32 numbers, exact in float64
    source, lengths      int32 [B, S], [B]
    target_input         int32 [B, T]
    target_output        int32 [B T], -1 for padding
    logits, loss, nll    of the whole batch; the losses are sums over the target tokens
    gradient.NAME        of the summed, label-smoothed loss
    norm                 of the gradient of the mean loss per target token, all parameters together
    update.NAME          what one step of Adam adds to the parameter, after clipping the gradient of the mean to norm 1
"""

import math
from pathlib import Path

import torch
from safetensors.torch import save_file

torch.set_default_dtype(torch.float64)
LABEL_SMOOTHING = 0.1


# ---- The model: every function reads its weights from the dictionary p under a prefix --------------------------------


def linear(p, prefix, x):
    return x @ p[prefix + ".weight"] + p[prefix + ".bias"]


def layer_norm(p, prefix, x):
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred**2).mean(-1, keepdim=True)
    return centred / torch.sqrt(variance + 1e-5) * p[prefix + ".gain"] + p[prefix + ".bias"]


def attention(p, prefix, heads, kv_heads, x, source, visible):
    """visible: bool, broadcastable to [B, T, S]. One query head after the other; head h reads h // (H / G)."""
    query = linear(p, prefix + ".query", x)
    key, value = linear(p, prefix + ".key", source), linear(p, prefix + ".value", source)
    d = query.shape[-1] // heads
    outputs = []
    for h in range(heads):
        g = h // (heads // kv_heads)
        q, k, v = query[..., h * d : (h + 1) * d], key[..., g * d : (g + 1) * d], value[..., g * d : (g + 1) * d]
        scores = (q @ k.transpose(1, 2) / math.sqrt(d)).masked_fill(~visible, -math.inf)
        outputs.append(torch.softmax(scores, -1) @ v)
    return linear(p, prefix + ".output", torch.cat(outputs, -1))


def feed_forward(config, p, prefix, x):
    activation = {"relu": torch.relu, "gelu": torch.nn.functional.gelu}[config["activation"]]
    return linear(p, prefix + ".outer", activation(linear(p, prefix + ".inner", x)))


def sublayer(config, p, norm, x, function):
    if config["norm"] == "pre":
        return x + function(layer_norm(p, norm, x))
    return layer_norm(p, norm, x + function(x))


def positions(config, p, length):
    if config["positions"] == "learned":
        return p["positions"][:length]
    c = torch.arange(config["d_model"])
    angle = torch.arange(length)[:, None] / 10000.0 ** ((c // 2 * 2) / config["d_model"])
    return torch.where(c % 2 == 0, torch.sin(angle), torch.cos(angle))


def embed(config, p, tokens):
    return p["embedding"][tokens] * math.sqrt(config["d_model"]) + positions(config, p, tokens.shape[1])


def transformer(config, p, source, lengths, target):
    heads, kv_heads = config["heads"], config["kv_heads"]
    attend = lambda prefix, x, y, visible: attention(p, prefix, heads, kv_heads, x, y, visible)
    feed = lambda prefix, x: feed_forward(config, p, prefix, x)
    unpadded = (torch.arange(source.shape[1]) < lengths[:, None])[:, None, :]  # [B, 1, S]
    causal = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).tril()[None]  # [1, T, T]

    x = embed(config, p, source)
    for i in range(config["layers"]):
        name = f"encoder.{i}"
        x = sublayer(config, p, name + ".self_norm", x, lambda y: attend(name + ".self", y, y, unpadded))
        x = sublayer(config, p, name + ".feed_forward_norm", x, lambda y: feed(name + ".feed_forward", y))
    memory = layer_norm(p, "encoder.norm", x) if config["norm"] == "pre" else x

    x = embed(config, p, target)
    for i in range(config["layers"]):
        name = f"decoder.{i}"
        x = sublayer(config, p, name + ".self_norm", x, lambda y: attend(name + ".self", y, y, causal))
        x = sublayer(config, p, name + ".cross_norm", x, lambda y: attend(name + ".cross", y, memory, unpadded))
        x = sublayer(config, p, name + ".feed_forward_norm", x, lambda y: feed(name + ".feed_forward", y))
    if config["norm"] == "pre":
        x = layer_norm(p, "decoder.norm", x)
    return x @ p["embedding"].T


# ---- Parameters ------------------------------------------------------------------------------------------------------


def attention_widths(config):
    c, d = config["d_model"], config["d_model"] // config["heads"]
    return {"query": c, "key": config["kv_heads"] * d, "value": config["kv_heads"] * d, "output": c}.items()


def parameter_shapes(config):
    c, f = config["d_model"], config["d_ff"]
    shapes = {"embedding": (config["vocabulary"], c)}
    if config["positions"] == "learned":
        shapes["positions"] = (config["max_length"], c)

    def add_linear(name, inputs, outputs):
        shapes[name + ".weight"], shapes[name + ".bias"] = (inputs, outputs), (outputs,)

    def add_norm(name):
        shapes[name + ".gain"] = shapes[name + ".bias"] = (c,)

    for side, sites in (("encoder", ("self",)), ("decoder", ("self", "cross"))):
        for i in range(config["layers"]):
            for site in sites:
                for name, width in attention_widths(config):
                    add_linear(f"{side}.{i}.{site}.{name}", c, width)
                add_norm(f"{side}.{i}.{site}_norm")
            add_linear(f"{side}.{i}.feed_forward.inner", c, f)
            add_linear(f"{side}.{i}.feed_forward.outer", f, c)
            add_norm(f"{side}.{i}.feed_forward_norm")
        if config["norm"] == "pre":
            add_norm(f"{side}.norm")
    return shapes


def rounded(x):
    """float32 numbers in float64: stored in half the bytes without a loss."""
    return x.float().double()


def random_parameters(shapes):
    """No bias is 0 and no gain is 1: a model that forgot one of them must give other numbers."""
    p = {}
    for name, shape in shapes.items():
        deviation = {"weight": shape[0] ** -0.5, "bias": 0.3, "gain": 0.3}.get(name.split(".")[-1], 0.5)
        mean = 1 if name.endswith(".gain") else 0
        p[name] = rounded(mean + deviation * torch.randn(shape)).requires_grad_()
    return p


# ---- One training step -----------------------------------------------------------------------------------------------


def training_step(config, lengths, target_lengths):
    p = random_parameters(parameter_shapes(config))
    v, s, t = config["vocabulary"], max(lengths), max(target_lengths)
    lengths, target_lengths = torch.tensor(lengths), torch.tensor(target_lengths)
    real = torch.arange(t) < target_lengths[:, None]
    source = torch.randint(1, v, (len(lengths), s)) * (torch.arange(s) < lengths[:, None])
    target_input = torch.randint(1, v, (len(lengths), t)) * real
    # What is to be said at a position is what is read at the next one; the last token of each sentence is new.
    target_output = torch.cat([target_input[:, 1:], torch.zeros(len(lengths), 1, dtype=torch.long)], 1)
    target_output[torch.arange(len(lengths)), target_lengths - 1] = torch.randint(1, v, (len(lengths),))
    target_output = torch.where(real, target_output, -1).flatten()

    logits = transformer(config, p, source, lengths, target_input)
    log_p = torch.log_softmax(logits.flatten(0, 1), -1)[target_output >= 0]
    nll = -log_p.gather(1, target_output[target_output >= 0, None]).sum()
    loss = (1 - LABEL_SMOOTHING) * nll - LABEL_SMOOTHING * log_p.mean(-1).sum()
    loss.backward()

    result = {name: values.detach().clone().float() for name, values in p.items()}
    result |= {"source": source.int(), "lengths": lengths.int(), "target_input": target_input.int()}
    result |= {"target_output": target_output.int(), "logits": logits.detach()}
    result |= {"loss": loss.detach(), "nll": nll.detach()}
    result |= {"gradient." + name: values.grad.clone() for name, values in p.items()}

    tokens = int(target_lengths.sum())
    norm = torch.sqrt(sum(((values.grad / tokens) ** 2).sum() for values in p.values()))
    assert norm > 1.2, norm  # or clipping would not be seen
    result["norm"] = norm
    for values in p.values():
        values.grad *= 1 / tokens / norm
    before = {name: values.detach().clone() for name, values in p.items()}
    torch.optim.Adam(p.values(), lr=1e-3, betas=(0.9, 0.98), eps=1e-9).step()
    # float32: an update of at most 1e-3 is then exact to 1e-10.
    return result | {"update." + name: (values.detach() - before[name]).float() for name, values in p.items()}


# ---- Two layers alone ------------------------------------------------------------------------------------------------


def layer_alone(prefix, p, inputs, function):
    """Inputs, output, a random gradient of the output, and the gradients that follow from it."""
    for values in inputs.values():
        values.requires_grad_()
    output = function(p, **inputs)
    upstream = torch.randn(output.shape)
    output.backward(upstream)
    result = {f"{prefix}.out": output.detach(), f"{prefix}.d_out": upstream}
    for name, values in inputs.items():
        result |= {f"{prefix}.in.{name}": values.detach(), f"{prefix}.d_in.{name}": values.grad}
    for name, values in p.items():
        result |= {name: values.detach().float(), "gradient." + name: values.grad}
    return result


def attention_alone():
    """Two of four query heads share a key/value head; 3 positions ask 5, of which the second sentence has 2."""
    shapes = {}
    for name, width in attention_widths({"d_model": 16, "heads": 4, "kv_heads": 2}):
        shapes |= {f"attention.{name}.weight": (16, width), f"attention.{name}.bias": (width,)}
    visible = (torch.arange(5) < torch.tensor([5, 2])[:, None])[:, None, :]
    inputs = {"x": torch.randn(2, 3, 16), "source": torch.randn(2, 5, 16)}
    function = lambda p, x, source: attention(p, "attention", 4, 2, x, source, visible)
    return layer_alone("attention", random_parameters(shapes), inputs, function)


def norm_alone():
    inputs = {"x": torch.randn(2, 3, 7), "residual": torch.randn(2, 3, 7)}
    function = lambda p, x, residual: layer_norm(p, "norm", x + residual)
    return layer_alone("norm", random_parameters({"norm.gain": (7,), "norm.bias": (7,)}), inputs, function)


# ---- Files -----------------------------------------------------------------------------------------------------------


def write(name, tensors, config):
    sites = " ".join([f"{config['heads']}/{config['kv_heads']}"] * 3)  # encoder self, decoder self, cross
    metadata = {f"model.{key}": str(value) for key, value in config.items() if "heads" not in key}
    path = Path(__file__).parent / name
    save_file({key: x.contiguous() for key, x in tensors.items()}, path, metadata | {"model.attention": sites})
    print(path.name, path.stat().st_size, "bytes")


torch.manual_seed(20171206)
post_norm = {"vocabulary": 23, "d_model": 16, "d_ff": 24, "layers": 2, "heads": 4, "kv_heads": 2, "norm": "post"}
post_norm |= {"activation": "relu", "positions": "sinusoidal", "max_length": 9, "dropout": 0}
step = training_step(post_norm, lengths=[7, 3, 5], target_lengths=[4, 6, 1])
write("transformer.safetensors", step | attention_alone() | norm_alone(), post_norm)

pre_norm = {"vocabulary": 11, "d_model": 12, "d_ff": 10, "layers": 1, "heads": 4, "kv_heads": 1, "norm": "pre"}
pre_norm |= {"activation": "gelu", "positions": "learned", "max_length": 9, "dropout": 0}
step = training_step(pre_norm, lengths=[2, 9], target_lengths=[8, 5])
write("transformer_pre_norm.safetensors", step, pre_norm)
