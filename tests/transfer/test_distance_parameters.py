"""Parameter distance against arithmetic; networks that cannot be compared."""

import copy

import pytest
import torch
from torch import nn

from tlcourse.transfer.distance import OtherArchitecture, parameter_distance


def network(seed=0, width=3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


def test_it_is_the_euclidean_distance_of_all_parameters_in_one_vector():
    a, b = network(0), network(1)
    expected = torch.dist(*(nn.utils.parameters_to_vector(n.parameters()).detach().double() for n in (a, b)))
    assert parameter_distance(a, b) == pytest.approx(expected.item(), rel=1e-12)
    assert parameter_distance(b, a) == parameter_distance(a, b)
    assert parameter_distance(a, copy.deepcopy(a)) == 0


def test_modules_and_mappings_of_their_parameters_agree_and_buffers_count_in_mappings_only():
    a, b = network(0), network(1)
    assert parameter_distance(dict(a.named_parameters()), b) == parameter_distance(a, b)
    b[1].running_mean += 2.0  # three entries
    b[1].num_batches_tracked += 5  # no real number: never counts
    with_buffers = parameter_distance(a.state_dict(), b.state_dict())
    assert with_buffers == pytest.approx((parameter_distance(a, b) ** 2 + 3 * 2.0**2) ** 0.5, rel=1e-12)


def test_half_precision_is_subtracted_in_float64():
    a = {"w": torch.tensor([1.0], dtype=torch.bfloat16)}
    b = {"w": torch.tensor([1e-3], dtype=torch.float64)}
    assert parameter_distance(a, b) == pytest.approx(0.999, rel=1e-15)


def test_a_tied_weight_counts_once():
    def tied(value):
        model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
        model[1].weight = model[0].weight
        nn.init.constant_(model[0].weight, value)
        return model

    assert parameter_distance(tied(0.0), tied(1.0)) == 3


def test_permuted_hidden_units_compute_the_same_and_are_far_away():
    a, b = network(), network()
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        b[0].weight.copy_(a[0].weight[order])
        b[0].bias.copy_(a[0].bias[order])
        b[2].weight.copy_(a[2].weight[:, order])
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(a.eval()(x), b.eval()(x))
    assert parameter_distance(a, b) > 0.5


def test_other_names_and_shapes_are_another_architecture():
    a = network()
    with pytest.raises(
        OtherArchitecture, match=r"^2 parameters are in one network only, as '2\.bias' in the first"
    ):
        parameter_distance(a, a[:2])
    with pytest.raises(OtherArchitecture, match=r"as '2\.bias' in the second; compare networks of one arch"):
        parameter_distance(a[:2], a)
    with pytest.raises(
        OtherArchitecture, match=r"^'0\.weight' is \(3, 4\) in the first network and \(5, 4\) in"
    ):
        parameter_distance(a, network(width=5))
    assert issubclass(OtherArchitecture, ValueError)


def test_nothing_to_compare_and_nan_are_named():
    with pytest.raises(ValueError, match=r"^no parameters to compare; give networks or mappings"):
        parameter_distance(nn.ReLU(), {"steps": torch.tensor(3)})
    broken = network()
    with torch.no_grad():
        broken[2].bias[1] = torch.nan
    with pytest.raises(ValueError, match=r"^'2\.bias' of the second: 1 of 2 values are NaN or infinite"):
        parameter_distance(network(), broken)
