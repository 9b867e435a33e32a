"""L2-SP against its closed form; interpolation and shrink-and-perturb against arithmetic."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tlcourse.transfer.finetuning import L2SP, add_lora, freeze, interpolate, shrink_perturb


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).double()


def moved(model, seed=1):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return model


def test_penalty_and_gradient_equal_the_closed_form():
    model = network()
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    penalty = L2SP(model, 0.3, head="2", head_strength=0.07)
    moved(model)
    value = penalty(model)
    value.backward()
    expected = 0.0
    for name, p in model.named_parameters():
        strength, anchor = (0.07, 0.0) if name.startswith("2.") else (0.3, start[name])
        expected += 0.5 * strength * (p - anchor).square().sum()
        torch.testing.assert_close(p.grad, strength * (p - anchor), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(value, expected, rtol=1e-14, atol=0)


def test_penalty_and_gradient_are_zero_at_the_start_without_a_head():
    model = network()
    value = L2SP(model, 0.3)(model)
    value.backward()
    assert value.item() == 0
    assert all((p.grad == 0).all() for p in model.parameters())


def test_a_step_of_gradient_descent_goes_the_given_share_of_the_way_back():
    model = network()
    start = [p.detach().clone() for p in model.parameters()]
    penalty = L2SP(model, 0.5)
    moved(model)
    far = [p.detach().clone() for p in model.parameters()]
    penalty(model).backward()
    torch.optim.SGD(model.parameters(), lr=0.2).step()
    for p, w0, w in zip(model.parameters(), start, far, strict=True):
        torch.testing.assert_close(p.detach(), w - 0.1 * (w - w0))


def test_the_reference_is_a_copy_without_gradient():
    model = network()
    penalty = L2SP(model, 1.0, head=["2.weight", "2.bias"])
    kept = {name: tensor.clone() for name, tensor in penalty.reference.items()}
    moved(model)
    assert kept.keys() == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert all(torch.equal(kept[name], penalty.reference[name]) for name in kept)
    assert not any(tensor.requires_grad for tensor in penalty.reference.values())


def test_frozen_parameters_add_nothing_and_count_again_when_unfrozen():
    model = network()
    penalty = L2SP(model, 1.0)
    moved(model)
    whole = penalty(model)
    freeze(model, "0")
    part = penalty(model)
    assert part < whole
    model.requires_grad_(True)
    assert torch.equal(penalty(model), whole)


def test_the_penalty_follows_the_models_type():
    model = network()
    penalty = L2SP(model, 1.0)
    moved(model)
    expected = penalty(model)
    assert penalty(model.float()).dtype == torch.float32
    torch.testing.assert_close(penalty(model).double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["strength", "head_strength"])
def test_strengths_must_be_finite_and_not_negative(name, value):
    with pytest.raises(ValueError, match=f"^{name}={value} must be a finite number"):
        L2SP(network(), **{"strength": 1.0, name: value})


def test_a_head_that_is_not_there_names_the_nearest():
    with pytest.raises(ValueError, match="'head' matches none of the 6 names; nearest: "):
        L2SP(network(), 1.0, head="head")


def test_a_model_that_changed_its_modules_is_refused():
    model = network()
    penalty = L2SP(model, 1.0)
    add_lora(model, "0", rank=1)
    with pytest.raises(
        ValueError, match=r"6 parameters differ .* the first '0\.base\.bias'; make a new L2SP"
    ):
        penalty(model)
    other = network()
    other[2] = nn.Linear(3, 5).double()
    with pytest.raises(ValueError, match=r"2 parameters differ .* the first '2\.weight'"):
        penalty(other)


def test_a_model_without_parameters_has_no_start():
    with pytest.raises(ValueError, match="ReLU has no parameters to keep near their start"):
        L2SP(nn.ReLU(), 1.0)


def states():
    a = network()
    b = moved(copy.deepcopy(a))
    b(torch.randn(5, 4, dtype=torch.float64))
    return a.state_dict(), b.state_dict()


def test_the_ends_of_an_interpolation_are_the_same_bits():
    a, b = states()
    for t, end in ((0, a), (1, b)):
        result = interpolate(a, b, t)
        assert list(result) == list(a)
        assert all(torch.equal(result[name], end[name]) for name in end)


@settings(max_examples=25, deadline=None)
@given(t=st.floats(0, 1))
def test_interpolation_is_the_weighted_mean(t):
    a, b = states()
    result = interpolate(a, b, t)
    for name in a:
        if a[name].is_floating_point():
            torch.testing.assert_close(result[name], (1 - t) * a[name] + t * b[name], rtol=1e-12, atol=1e-12)


def test_integer_buffers_come_from_the_nearer_end_and_keep_their_type():
    a, b = states()
    key = "1.num_batches_tracked"
    assert (a[key], b[key]) == (0, 1)
    for t, expected in ((0.0, 0), (0.49, 0), (0.5, 1), (0.9, 1), (1.0, 1)):
        assert interpolate(a, b, t)[key] == expected
        assert interpolate(a, b, t)[key].dtype == torch.int64


@pytest.mark.parametrize("t", [0, 0.5, 1])
def test_an_interpolation_shares_no_memory_and_loads(t):
    a, b = states()
    kept = {name: tensor.clone() for name, tensor in a.items()}
    result = interpolate(a, b, t)
    network().load_state_dict(result)
    for tensor in result.values():
        tensor.zero_()
    assert all(torch.equal(a[name], kept[name]) for name in kept)
    assert b["1.num_batches_tracked"] == 1


def test_half_precision_states_interpolate():
    result = interpolate({"w": torch.zeros(2).half()}, {"w": torch.ones(2).half()}, 0.25)
    assert torch.equal(result["w"], torch.full((2,), 0.25).half())


@pytest.mark.parametrize("t", [-0.01, 1.01, float("nan")])
def test_a_share_outside_0_to_1_is_refused(t):
    with pytest.raises(ValueError, match=f"t={t} is outside 0 … 1; 0 gives the first state"):
        interpolate(*states(), t)


def test_states_of_two_architectures_are_refused_by_name():
    a, b = states()
    with pytest.raises(ValueError, match=r"1 tensors are in one state only, as '2\.bias' in the first"):
        interpolate(a, {name: t for name, t in b.items() if name != "2.bias"}, 0.5)
    with pytest.raises(ValueError, match="as 'extra' in the second"):
        interpolate(a, {**b, "extra": torch.zeros(1)}, 0.5)
    with pytest.raises(ValueError, match=r"'2\.bias' is \(2,\) torch\.float64 in the first state and \(3,\)"):
        interpolate(a, {**b, "2.bias": torch.zeros(3).double()}, 0.5)
    with pytest.raises(ValueError, match=r"and \(2,\) torch\.float32 in the second"):
        interpolate(a, {**b, "2.bias": torch.zeros(2)}, 0.5)


def test_shrinking_goes_towards_the_initial_parameters():
    model = network()
    initial = {name: p.detach().clone() for name, p in model.named_parameters()}
    state = moved(model).state_dict()
    result = shrink_perturb(state, initial, 0.4, 0.0)
    for name in initial:
        torch.testing.assert_close(result[name], initial[name] + 0.4 * (state[name] - initial[name]))
    assert list(result) == list(state)
    assert torch.equal(result["1.running_var"], state["1.running_var"])
    unchanged = shrink_perturb(state, initial, 1.0, 0.0)
    assert all(torch.equal(unchanged[name], state[name]) for name in state)


def test_noise_has_the_given_deviation_and_is_seeded():
    state = {"w": torch.zeros(20_000), "n": torch.tensor(3)}
    draw = [shrink_perturb(state, state, 0.5, 0.2, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert draw[0]["w"].std().item() == pytest.approx(0.2, rel=0.03)  # three standard errors are 1.5 %
    assert torch.equal(draw[0]["w"], draw[1]["w"])
    assert not torch.equal(draw[0]["w"], draw[2]["w"])
    assert draw[0]["n"] == 3


@pytest.mark.parametrize(
    ("shrink", "noise", "text"),
    [
        (1.1, 0, r"shrink=1\.1 is outside 0 … 1"),
        (-0.1, 0, "shrink=-0.1"),
        (0.5, -1, "noise=-1 is a standard"),
    ],
)
def test_shrink_and_noise_have_ranges(shrink, noise, text):
    a, _ = states()
    with pytest.raises(ValueError, match=text):
        shrink_perturb(a, a, shrink, noise)


def test_an_initial_state_of_another_model_is_refused():
    a, _ = states()
    with pytest.raises(ValueError, match="'other' in the second"):
        shrink_perturb(a, {"other": torch.zeros(1)}, 0.5, 0.1)
