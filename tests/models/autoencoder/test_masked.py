"""Which parts are hidden, how many, and that only they are scored."""

import pytest
import torch

from tlcourse.layers import patches
from tlcourse.models.autoencoder import (
    ImageConfig,
    MaskedAutoencoder,
    hidden_frames,
    hidden_parts,
    hidden_patches,
    hidden_tokens,
    mean_where,
    squared_errors,
)

IMAGES = torch.randn(4, 2, 8, 12, generator=torch.Generator().manual_seed(0))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("n_parts", "ratio", "n"), [(8, 0.5, 4), (10, 0.75, 8), (9, 0.01, 1), (9, 0.99, 8), (2, 0.9, 1)]
)
def test_every_row_has_the_same_number_hidden_and_all_parts_are_as_likely(n_parts, ratio, n):
    hidden = hidden_parts(3000, n_parts, ratio, generator())
    assert hidden.dtype == torch.bool and bool((hidden.sum(1) == n).all())
    # six standard errors of a share
    share = n / n_parts
    assert float((hidden.float().mean(0) - share).abs().max()) < 6 * (share * (1 - share) / 3000) ** 0.5
    assert torch.equal(hidden, hidden_parts(3000, n_parts, ratio, generator()))
    assert not torch.equal(hidden, hidden_parts(3000, n_parts, ratio, generator(1)))


@pytest.mark.parametrize("ratio", [0, 1, 0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_ratio_of_zero_or_one_is_refused_everywhere(ratio):
    for draw in (
        lambda: hidden_parts(2, 4, ratio),
        lambda: hidden_patches(IMAGES, 4, ratio),
        lambda: hidden_frames(torch.zeros(2, 3, 1, 4, 4), ratio),
        lambda: hidden_tokens(torch.ones(2, 3).long(), ratio),
    ):
        with pytest.raises(
            ValueError, match=rf"ratio={ratio} must lie between 0 and 1; 0 leaves nothing to score"
        ):
            draw()


def test_one_part_is_refused():
    with pytest.raises(
        ValueError, match="1 parts cannot be hidden and kept; cut the inputs into two at least"
    ):
        hidden_parts(2, 1, 0.5)


def test_patches_of_images_are_hidden_whole_in_all_channels():
    hidden = hidden_patches(IMAGES, 4, 0.5, generator())
    assert hidden.shape == (4, 1, 8, 12)
    squares = patches(hidden.float(), 4)  # (B, 6, 16)
    assert bool(((squares == 0).all(-1) | (squares == 1).all(-1)).all())
    assert (squares[..., 0].sum(1) == 3).all()
    assert torch.equal(squares[..., 0].bool(), hidden_parts(4, 6, 0.5, generator()))


def test_patches_of_spectrograms_may_be_oblong():
    hidden = hidden_patches(torch.zeros(3, 8, 12), (8, 2), 1 / 3, generator())
    assert hidden.shape == (3, 8, 12)
    assert bool((hidden.sum(1) % 8 == 0).all()) and bool((hidden.sum((1, 2)) == 2 * 16).all())
    assert torch.equal(hidden[:, 0, 0::2], hidden[:, 0, 1::2])


@pytest.mark.parametrize(
    ("x", "size", "message"),
    [
        (IMAGES, 5, "patches of 5 × 5 do not tile inputs of 8 × 12"),
        (IMAGES, (8, 5), "patches of 8 × 5 do not tile inputs of 8 × 12"),
        (IMAGES, 0, "patches of 0 × 0 do not"),
        (IMAGES, (2, 0), "patches of 2 × 0 do not"),
        (IMAGES[0, 0], 4, r"inputs have shape \(8, 12\); give images \(B, C, H, W\) or \(B, M, T\)"),
    ],
)
def test_patches_that_do_not_tile_are_refused(x, size, message):
    with pytest.raises(ValueError, match=message):
        hidden_patches(x, size, 0.5)


def test_an_input_that_is_hidden_whole_is_refused():
    model = MaskedAutoencoder.from_config(ImageConfig(8, 12, 2, 3, widths=(4,)))
    hidden = hidden_patches(IMAGES, 4, 0.5, generator())
    hidden[1] = True
    with pytest.raises(ValueError, match="hidden covers all of an input; leave a part"):
        model(IMAGES, hidden=hidden)


def test_frames_are_hidden_whole():
    hidden = hidden_frames(torch.zeros(5, 4, 1, 2, 2), 0.5, generator())
    assert hidden.shape == (5, 4, 1, 1, 1) and bool((hidden.sum(1) == 2).all())
    with pytest.raises(ValueError, match=r"video has shape \(2, 3\); give"):
        hidden_frames(torch.zeros(2, 3), 0.5)


def test_only_ordinary_tokens_are_hidden_in_each_row_the_number_nearest_to_the_ratio():
    ids = torch.tensor([[1, 5, 6, 7, 8, 2], [1, 5, 6, 2, 0, 0], [1, 5, 2, 0, 0, 0], [1, 2, 0, 0, 0, 0]])
    ids = ids.repeat(500, 1)
    hidden = hidden_tokens(ids, 0.3, generator(), special_ids=(0, 1, 2))
    assert not bool(hidden[torch.isin(ids, torch.tensor([0, 1, 2]))].any())
    # 0.3 of four is nearest to one; of two, one at least; of one, which would be all, none.
    assert hidden.sum(1).view(500, 4).unique(dim=0).tolist() == [[1, 1, 0, 0]]
    share = hidden.view(500, 4, 6)[:, 0, 1:5].float().mean(0)
    assert float((share - 0.25).abs().max()) < 6 * (0.25 * 0.75 / 500) ** 0.5
    assert bool((hidden_tokens(ids[:, 1:5], 0.75, generator()).sum(1) == 3).all())


def test_what_is_hidden_reaches_neither_the_code_nor_is_the_rest_scored():
    model = MaskedAutoencoder.from_config(ImageConfig(8, 12, 2, 3, widths=(4,)))
    model.fill = 0.5
    hidden = hidden_patches(IMAGES, 4, 0.5, generator())
    other = torch.where(hidden, torch.randn(IMAGES.shape, generator=generator(2)), IMAGES)
    out = model(IMAGES, hidden=hidden)
    assert torch.equal(out, model(other, hidden=hidden))
    assert torch.equal(out, model.decode(model.encode(torch.where(hidden, 0.5, IMAGES))))
    assert torch.equal(model(IMAGES), model.decode(model.encode(IMAGES)))

    out = out.detach().requires_grad_()
    score = mean_where(squared_errors(out, IMAGES), hidden)
    score.backward()
    assert not bool(out.grad[~hidden.expand_as(out)].any()) and bool(out.grad[hidden.expand_as(out)].all())
    seen = torch.where(hidden, IMAGES, IMAGES + 100)
    assert torch.equal(score, mean_where(squared_errors(out, seen), hidden))


@pytest.mark.parametrize(
    "hidden", [torch.zeros(4, 1, 8, 12), torch.zeros(4, 8, 12).bool(), torch.zeros(4, 1, 8, 6).bool()]
)
def test_masks_that_do_not_fit_are_refused(hidden):
    model = MaskedAutoencoder.from_config(ImageConfig(8, 12, 2, 3, widths=(4,)))
    with pytest.raises(ValueError, match=r"hidden is torch\..* give booleans for inputs \(4, 2, 8, 12\)"):
        model(IMAGES, hidden=hidden)
