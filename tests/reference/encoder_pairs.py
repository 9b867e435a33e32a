"""The same random encoder twice: transformers' class, and the folder it saves for ours to load."""

import inspect

import torch
import transformers

HEADS = (
    "", "ForPreTraining", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering",
)  # fmt: skip
T = 17


def error(ours, theirs):
    """max|a − b| / max|b|."""
    assert ours.shape == theirs.shape
    return float(((ours - theirs).abs().max() / theirs.abs().max()).detach())


def pair(family, head, folder, *, attention="sdpa", dtype=None, **sizes):
    """transformers' model in evaluation mode with every tensor random, biases and norms too, and saved to folder."""
    sizes = {"num_labels": 5, **sizes} if "Classification" in head else sizes
    settings = getattr(transformers, f"{family}Config")(**sizes)
    settings._attn_implementation = attention
    model = getattr(transformers, f"{family}{head or 'Model'}")(settings).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    model.save_pretrained(folder)
    return model


def batch(vocab_size, n_types=2, lengths=(T, 5, 1, 12)):
    """input_ids, attention_mask, token_type_ids (B, T); rows end in padding."""
    generator = torch.Generator().manual_seed(1)
    shape = (len(lengths), max(lengths))
    ids = torch.randint(0, vocab_size, shape, generator=generator)
    types = torch.randint(0, n_types, shape, generator=generator)
    mask = (torch.arange(shape[1]) < torch.tensor(lengths)[:, None]).long()
    return ids, mask, types


def logits(model, ids, mask, types):
    """What transformers' model answers, as a list of tensors shaped as ours are."""
    out = model(ids, attention_mask=mask, token_type_ids=types)
    if hasattr(out, "start_logits"):
        return [torch.stack([out.start_logits, out.end_logits], -1)]
    return [out[0], out[1]] if "PreTraining" in type(model).__name__ else [out[0]]


def listed(answer):
    return list(answer) if isinstance(answer, tuple) else [answer]


def arguments(cls):
    return list(inspect.signature(cls.forward).parameters)[1:4]
