"""torchvision's classifiers with every tensor random, statistics of the norms too, to load into ours."""

import torch
import torchvision


def error(ours, theirs):
    """max|a − b| / max|b|."""
    assert ours.shape == theirs.shape
    return float(((ours - theirs).abs().max() / theirs.abs().max()).detach())


def randomised(name, *, change=lambda model: None, **settings):
    """torchvision's model by its name, in evaluation mode; weights keep the size of what goes through them.

    change: is given the model before it has any memory.
    """
    with torch.device("meta"):
        model = getattr(torchvision.models, name)(**settings)
        change(model)
    model = model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor_name, tensor in model.state_dict().items():
            if tensor.dim() > 1:
                bound = (6 / tensor[0].numel()) ** 0.5
                tensor.uniform_(-bound, bound, generator=generator)
            elif tensor.is_floating_point():
                low = -0.1 if tensor_name.endswith(("bias", "running_mean")) else 0.5
                tensor.uniform_(low, low + 0.5, generator=generator)
            else:
                tensor.fill_(7)
    return model.eval()


def shapes(name, **settings):
    """Names and shapes of torchvision's model, without any memory."""
    with torch.device("meta"):
        model = getattr(torchvision.models, name)(**settings)
    return {tensor_name: tuple(tensor.shape) for tensor_name, tensor in model.state_dict().items()}


def images(*shape, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(1))
