"""The step written for speed against the network itself, and who gets which."""

import copy

import pytest
import torch
from torch import nn

from tests.reference.gpt2_pairs import ODD, error, model, padded
from tlcourse.models.gpt2 import GPT2, GPT2_MINI, decoding
from tlcourse.models.gpt2.cache import KeyValueCache
from tlcourse.models.gpt2.positions import check_positions, prompt_mask

TINY = ODD["three-heads"]
MKLDNN = torch.backends.mkldnn.is_available()


def states_of(ours, read, ids, padding, n_prompt):
    """States (B, D) after each column behind the prompt, read(cache) being the step that is tried."""
    cache = KeyValueCache(ours.config, *ids.shape, like=ours.token_embedding.weight)
    prompt = ids[:, :n_prompt]
    kept = None if padding is None else padding[:, None, None, :n_prompt]
    positions = check_positions(prompt, kept, ours.config.n_positions)
    ours.run(prompt, positions, prompt_mask(kept, n_prompt), cache)
    step, found = read(cache), []
    for column in range(n_prompt, ids.shape[1]):
        if padding is None:
            positions, mask = slice(column, column + 1), None
        else:
            positions, mask = positions[:, -1:] + 1, padding[:, None, None, : column + 1]
        found.append(step(ids[:, column], positions, mask))
    assert cache.length == ids.shape[1]
    return torch.stack(found)


# float64 leaves about 1e-15 of rounding, which the wide start of ODD multiplies.
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("side", [None, "left"])
@pytest.mark.parametrize("name", ODD)
@torch.inference_mode()
def test_the_loop_gives_the_states_of_the_network(name, side, bias):
    ours = model(ODD[name], torch.float64)
    if not bias:
        ours.blocks[-1].attention.output.bias = None
    ids, mask = padded(ODD[name], side or "left", length=14)
    padding = None if side is None else mask.bool()
    assert decoding.is_plain(ours)
    fast = states_of(ours, lambda cache: decoding.next_states(ours, cache), ids, padding, n_prompt=9)
    called = states_of(
        ours, lambda cache: lambda i, p, m: ours.run(i[:, None], p, m, cache)[:, 0], ids, padding, n_prompt=9
    )
    assert error(fast, called) <= 1e-12
    if padding is None:  # and without any cache
        assert error(fast, ours.features(ids)[:, 9:].transpose(0, 1)) <= 1e-12


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def subclass(ours):
    ours.blocks[0].feed_forward.down.__class__ = Doubled


def hook(ours):
    ours.blocks[1].attention.register_forward_hook(lambda module, args, y: 3 * y)


def pre_hook(ours):
    ours.norm.register_forward_pre_hook(lambda module, args: (args[0].flip(-1),))


def own_forward(ours):
    inner = ours.position_embedding.forward
    ours.position_embedding.forward = lambda ids: -inner(ids)
    ours.blocks[2].forward = lambda x, *rest: -x


def hooked_head(ours):
    ours.head.register_forward_hook(lambda module, args, y: -y)


@pytest.mark.parametrize("n_rows", [1, 3])
@pytest.mark.parametrize("change", [subclass, hook, pre_hook, own_forward, hooked_head])
def test_what_was_changed_in_a_model_is_heard_in_its_text(change, n_rows):
    ours = model(TINY)
    prompt = torch.randint(101, (n_rows, 5), generator=torch.Generator().manual_seed(1))
    plain = ours.generate(prompt, 12, temperature=0)
    change(ours)
    text = prompt
    with torch.no_grad():
        for _ in range(12):
            text = torch.cat([text, ours(text)[:, -1:].argmax(-1)], 1)
    assert torch.equal(ours.generate(prompt, 12, temperature=0), text) and not torch.equal(text, plain)


@pytest.mark.parametrize("n_rows", [1, 3])
def test_a_hook_of_all_modules_is_called_for_each_token(n_rows):
    ours, called = model(TINY), []
    prompt = torch.randint(101, (n_rows, 5), generator=torch.Generator().manual_seed(1))
    text = ours.generate(prompt, 6, temperature=0)
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, args, y: called.append(type(module))
    )
    try:
        assert torch.equal(ours.generate(prompt, 6, temperature=0), text)
    finally:
        handle.remove()
    assert called.count(type(ours.blocks[0])) == 6 * len(ours.blocks)
    assert called.count(nn.Linear) == 6 * (1 + 4 * len(ours.blocks))  # the output layer, and four in a block


def test_a_subclass_of_the_network_is_asked_itself():
    class Other(GPT2):
        def run(self, *args):
            return -super().run(*args)

    ours = model(TINY)
    ours.__class__ = Other
    assert not decoding.is_plain(ours)


@pytest.mark.parametrize("available", [True, False])
@pytest.mark.parametrize("n_rows", [1, 2, 8, 9])
@torch.inference_mode()
def test_the_output_layer_for_few_rows_gives_the_same_logits(monkeypatch, n_rows, available):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: available and MKLDNN)
    for vocab_size in (101, 2**21 // 24 + 1, 2**22 // 24 + 1):
        ours = model(TINY | {"vocab_size": vocab_size})
        states = torch.randn(n_rows, 24, generator=torch.Generator().manual_seed(0))
        logits, expected = decoding.output_layer(ours, n_rows)(states), ours.head(states)
        assert logits.shape == expected.shape and error(logits, expected) <= 1e-5


def test_a_small_table_is_laid_out_anew_for_one_row_and_packed_for_a_few():
    ours = model(TINY)
    assert decoding.output_layer(ours, 1) is not ours.head
    for n_rows in (2, 8):
        assert (decoding.output_layer(ours, n_rows) is not ours.head) == decoding._packs()
    assert decoding.output_layer(ours, 9) is ours.head


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_keep_the_output_layer(dtype):
    ours = copy.deepcopy(model(TINY)).to(dtype)
    assert all(decoding.output_layer(ours, n_rows) is ours.head for n_rows in (1, 8))


def test_the_books_own_size_continues_as_when_all_is_read_anew():
    ours = GPT2(GPT2_MINI, seed=3).eval()
    prompt = torch.randint(4096, (8, 6), generator=torch.Generator().manual_seed(0))
    text = ours.generate(prompt, 10, temperature=0)
    with torch.no_grad():
        logits = ours(text)[:, 5:-1]
    lost = logits.amax(-1) - logits.gather(-1, text[:, 6:, None])[..., 0]
    assert (lost <= 1e-5 * logits.abs().amax()).all()  # the best, or equal to it within rounding in float32
