"""Generation against transformers, against reading everything anew, and row by row."""

import copy

import pytest
import torch
import torch.nn.functional as F

from tests.reference.gpt2_pairs import ODD, model, padded, twin
from tlcourse.models.gpt2 import distribution, draw
from tlcourse.models.gpt2.sampling import row_uniforms

TINY = ODD["three-heads"]
NEW = 24  # the longest prompt has 9 tokens, the smallest n_positions is 33


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def greedy_by_transformers(theirs, ids, mask, **options):
    return theirs.generate(
        ids, attention_mask=mask, max_new_tokens=NEW, do_sample=False, pad_token_id=0, **options
    )


def slowly(ours, prompt, n_new, choose):
    """Oracle: the whole text is read anew for each token; choose(logits (V,), step) gives the next one."""
    text = prompt.tolist()
    with torch.no_grad():
        for step in range(n_new):
            text.append(choose(ours(torch.tensor([text]))[0, -1], step))
    return text[len(prompt) :]


# Token for token needs float64: in float32 two nearly equal logits may change places with the order of a sum.
@pytest.mark.parametrize("name", ODD)
def test_greedy_continuations_are_those_of_transformers(tmp_path, name):
    ours = model(ODD[name], torch.float64)
    theirs = twin(tmp_path, ours)
    ids, mask = padded(ODD[name], "left")
    for kept in (mask, torch.ones_like(mask)):
        text = ours.generate(ids, NEW, attention_mask=kept, temperature=0)
        assert torch.equal(text, greedy_by_transformers(theirs, ids, kept))
    assert torch.equal(ours.generate(ids, NEW, temperature=0), text)
    assert len(text[:, 9:].unique()) > 4  # no row that only repeats one token would pass by luck


@pytest.mark.parametrize("side", ["left", "right", "anywhere"])
@pytest.mark.parametrize("name", ODD)
def test_each_row_gets_what_it_gets_alone_and_without_a_cache(name, side):
    ours = model(ODD[name], torch.float64)
    ids, mask = padded(ODD[name], side)
    text = ours.generate(ids, NEW, attention_mask=mask, temperature=0)
    assert torch.equal(text[:, :9], ids)
    for row, new in enumerate(text[:, 9:].tolist()):
        prompt = ids[row, mask[row].bool()]
        assert ours.generate(prompt[None], NEW, temperature=0)[0, len(prompt) :].tolist() == new
        assert slowly(ours, prompt, NEW, lambda logits, _: logits.argmax().item()) == new


@pytest.mark.parametrize("side", ["left", "right"])
def test_each_row_samples_what_it_samples_alone_and_without_a_cache(side):
    ours = model(TINY, torch.float64)
    ids, mask = padded(TINY, side)
    settings = {"temperature": 0.8, "top_k": 20, "top_p": 0.9}
    text = ours.generate(ids, NEW, attention_mask=mask, generator=[seeded(s) for s in range(4)], **settings)
    greedy = ours.generate(ids, NEW, attention_mask=mask, temperature=0)
    assert not torch.equal(text, greedy)
    for row, new in enumerate(text[:, 9:].tolist()):
        prompt = ids[row, mask[row].bool()]
        alone = ours.generate(prompt[None], NEW, generator=[seeded(row)], **settings)
        assert alone[0, len(prompt) :].tolist() == new
        (uniforms,) = row_uniforms(1, NEW, [seeded(row)])

        def choose(logits, step, uniforms=uniforms):
            return draw(distribution(logits[None], 0.8, 20, 0.9), uniforms[step : step + 1]).item()

        assert slowly(ours, prompt, NEW, choose) == new


def test_a_seed_gives_the_same_text_again_whatever_rows_and_length_follow():
    ours = model(TINY, torch.float64)
    ids, mask = padded(TINY, "left")

    def sample(n_rows=4, new=NEW, seed=0):
        return ours.generate(ids[:n_rows], new, attention_mask=mask[:n_rows], generator=seeded(seed))

    text = sample()
    assert torch.equal(sample(), text)
    assert torch.equal(sample(n_rows=2), text[:2])
    assert torch.equal(sample(new=5), text[:, : 9 + 5])
    assert not torch.equal(sample(seed=1), text)


def test_without_a_generator_torchs_own_seed_decides():
    ours = model(TINY)
    ids, _ = padded(TINY, "left")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        text = ours.generate(ids, 9)
        torch.manual_seed(3)
        assert torch.equal(ours.generate(ids, 9), text)
        assert not torch.equal(ours.generate(ids, 9), text)


def test_greedy_draws_nothing():
    ours, generator = model(TINY), seeded()
    ids, _ = padded(TINY, "left")
    before, own = generator.get_state(), torch.get_rng_state()
    ours.generate(ids, 3, temperature=0, generator=generator)
    assert torch.equal(generator.get_state(), before) and torch.equal(torch.get_rng_state(), own)


def test_sampled_first_tokens_have_the_models_probabilities():
    ours = model(TINY, torch.float64)
    prompt, n = torch.tensor([[3, 1, 4]]), 4000
    text = ours.generate(prompt.expand(n, -1), 1, temperature=2.0, top_k=10, generator=seeded())
    share = torch.bincount(text[:, 3], minlength=101) / n
    with torch.no_grad():
        expected = distribution(ours(prompt)[0, -1], 2.0, 10)
    assert ((share - expected).abs() <= 4.5 * (expected / n).sqrt()).all()  # 4.5 standard deviations


def test_a_row_ends_at_the_stop_token_as_in_transformers(tmp_path):
    ours = model(TINY, torch.float64)
    theirs = twin(tmp_path, ours)
    ids, mask = padded(TINY, "left")
    free = ours.generate(ids, NEW, attention_mask=mask, temperature=0)[:, 9:]
    stops = [[row.tolist().index(t) if t in row else NEW for row in free] for t in range(101)]
    # A token at which one row ends early and another late or never, and one after which all rows have ended.
    uneven = max(range(101), key=lambda t: max(stops[t]) - min(stops[t]))
    assert min(stops[uneven]) < NEW - 1 and max(stops[uneven]) > min(stops[uneven])
    text = ours.generate(ids, NEW, attention_mask=mask, temperature=0, eos_token_id=uneven)
    assert torch.equal(
        text, theirs.generate(ids, attention_mask=mask, max_new_tokens=NEW, do_sample=False,
                              eos_token_id=uneven, pad_token_id=uneven)
    )  # fmt: skip
    for row, stop in enumerate(stops[uneven]):
        new = text[row, 9:]
        assert torch.equal(new[:stop], free[row, :stop]) and (new[stop:] == uneven).all()


def test_generation_ends_when_all_rows_have_ended():
    ours = model(TINY, torch.float64)
    prompt = torch.tensor([[3, 1, 4], [3, 1, 4]])
    free = ours.generate(prompt, NEW, temperature=0)[0, 3:].tolist()
    stop = free[5]
    text = ours.generate(prompt, NEW, temperature=0, eos_token_id=stop)
    assert (
        text.shape == (2, 3 + free.index(stop) + 1) and text[0, 3:].tolist() == free[: free.index(stop) + 1]
    )


class Counting(torch.nn.Module):
    """Counts the positions that pass through a module."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.positions = inner, []

    def forward(self, x, *args):
        self.positions.append(x.shape[1] if x.dim() == 3 else 1)
        return self.inner(x, *args)


def test_each_token_is_read_once_and_logits_are_computed_for_the_last_alone():
    ours = model(TINY)
    ours.blocks[0], ours.head = Counting(ours.blocks[0]), Counting(ours.head)
    ours.generate(torch.tensor([[1, 2, 3, 4, 5]]), 6, temperature=0)
    assert ours.blocks[0].positions == [5, 1, 1, 1, 1, 1]  # the last new token is not read at all
    assert ours.head.positions == [1] * 6


@pytest.mark.parametrize("n_rows", [1, 3, 8, 9])
@pytest.mark.parametrize(
    "vocab_size", [101, 2**21 // 24 + 1]
)  # below and above the size where the product is turned
def test_a_table_of_any_size_gives_each_row_its_best_token(vocab_size, n_rows):
    ours = model(TINY | {"vocab_size": vocab_size})
    prompt = torch.randint(vocab_size, (n_rows, 5), generator=seeded())
    with torch.no_grad():
        best = ours(prompt)[:, -1].argmax(-1)
    assert torch.equal(ours.generate(prompt, 1, temperature=0)[:, -1], best)


@pytest.mark.parametrize("n_rows", [1, 8, 9])
def test_a_replaced_output_layer_is_the_one_that_is_asked(n_rows):
    prompt = torch.tensor([[1, 2, 3]]).expand(n_rows, -1)
    ours = model(TINY)
    with torch.no_grad():
        best = ours(prompt)[:, -1].argmax(-1)
        assert torch.equal(ours.generate(prompt, 1, temperature=0)[:, -1], best)
        old, ours.head = ours.head, torch.nn.Linear(24, 101)
        ours.head.weight.copy_(old.weight)
        ours.head.bias.zero_()[7] = 1e6
    assert (ours.generate(prompt, 4, temperature=0)[:, 3:] == 7).all()


def test_generation_leaves_model_modes_and_input_as_they_were():
    ours = model(TINY | {"residual_dropout": 0.5, "embedding_dropout": 0.5, "attention_dropout": 0.5}).train()
    ours.blocks[1].eval()
    modes = {name: module.training for name, module in ours.named_modules()}
    state = copy.deepcopy(ours.state_dict())
    ids, mask = padded(TINY, "left")
    before = ids.clone(), mask.clone()
    text = ours.generate(ids, 8, attention_mask=mask, temperature=0)
    assert {name: module.training for name, module in ours.named_modules()} == modes
    assert all(torch.equal(t, state[n]) for n, t in ours.state_dict().items())
    assert torch.equal(ids, before[0]) and torch.equal(mask, before[1])
    assert torch.equal(ours.eval().generate(ids, 8, attention_mask=mask, temperature=0), text)  # no dropout


def test_modes_are_restored_after_an_error_too():
    ours = model(TINY).train()
    with torch.no_grad():
        ours.norm.bias[0] = float("nan")
    with pytest.raises(
        FloatingPointError, match=r"the logits are not finite in torch.float32; look for nan or inf"
    ):
        ours.generate(torch.tensor([[1, 2]]), 2)
    assert ours.training and ours.blocks[0].training


def test_generated_tokens_can_be_trained_on():
    ours = model(TINY)
    text = ours.generate(torch.tensor([[1, 2, 3]]), 5, generator=seeded())
    logits = ours(text)
    F.cross_entropy(logits[0, :-1], text[0, 1:]).backward()
    assert ours.token_embedding.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_follows_the_single_precision_logits(dtype):
    ours = model(TINY | {"init_sd": 0.1})
    half = copy.deepcopy(ours).to(dtype)
    ids, mask = padded(TINY, "left")
    text = half.generate(ids, NEW, attention_mask=mask, temperature=0)
    sampled = half.generate(ids, NEW, attention_mask=mask, top_k=20, top_p=0.9, generator=seeded())
    assert text.shape == sampled.shape == (4, 9 + NEW) and sampled.max() < 101
    # Whatever it chose, in single precision it is the best token or within rounding of it: bfloat16 has 8 bits.
    kept = torch.cat([mask, torch.ones(4, NEW, dtype=mask.dtype)], 1)
    with torch.no_grad():
        logits = ours(text, kept)[:, 8:-1]
    lost = logits.amax(-1) - logits.gather(-1, text[:, 9:, None])[..., 0]
    assert (lost <= 0.05 * logits.abs().amax()).all()


def test_the_longest_text_is_the_number_of_positions_and_padding_does_not_count():
    ours = model(TINY, torch.float64)
    ids = torch.randint(101, (2, 30), generator=seeded())
    whole = ours.generate(ids, 10, temperature=0)
    assert whole.shape == (2, 40)
    mask = torch.cat([torch.zeros(2, 15), torch.ones(2, 30)], 1).long()
    longer = F.pad(ids, (15, 0))
    assert torch.equal(ours.generate(longer, 10, attention_mask=mask, temperature=0)[:, 15:], whole)


PROMPT = [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_ids": torch.tensor([[1, 101]])}, r"input_ids holds 101, outside 0…100 \(vocab_size=101\)"),
        (
            {"input_ids": torch.empty(1, 0, dtype=torch.long)},
            r"input_ids has shape \(1, 0\); give \(B, T\), at least",
        ),
        (
            {"max_new_tokens": 38},
            r"3 tokens of prompt and 38 new ones are more than n_positions=40; cut the text",
        ),
        ({"max_new_tokens": 0}, r"max_new_tokens=0 must be a whole number of at least 1"),
        ({"max_new_tokens": 2.5}, r"max_new_tokens=2.5 must be a whole number of at least 1"),
        (
            {"attention_mask": torch.tensor([[1, 1, 1], [0, 0, 0]])},
            r"row 1 of attention_mask is padding alone",
        ),
        ({"attention_mask": torch.ones(2, 4)}, r"attention_mask \(2, 4\) for input_ids \(2, 3\)"),
        ({"temperature": -1.0}, r"temperature=-1.0 must be finite and at least 0"),
        ({"top_k": 0}, r"top_k=0 must be a whole number of at least 1"),
        ({"top_p": 0.0}, r"top_p=0.0 must be above 0 and at most 1"),
        ({"top_p": 1.01, "temperature": 0}, r"top_p=1.01 must be above 0 and at most 1"),
        ({"top_k": True}, r"top_k=True must be a whole number of at least 1"),
        ({"eos_token_id": 101}, r"eos_token_id=101 is no whole number in 0…100; None never stops"),
        ({"eos_token_id": 1.5}, r"eos_token_id=1.5 is no whole number in 0…100"),
        ({"generator": [torch.Generator()]}, r"1 generators for 2 rows; give one, or one a row"),
    ],
)
def test_arguments_that_do_not_fit_are_named_before_anything_is_read(arguments, message):
    ours = model(TINY)
    ours.blocks[0] = Counting(ours.blocks[0])
    with pytest.raises(ValueError, match=message):
        ours.generate(**({"input_ids": torch.tensor(PROMPT), "max_new_tokens": 5} | arguments))
    assert ours.blocks[0].positions == []
