"""Linear autoencoders against PCA, deeper ones against torch's own layers."""

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from tlcourse.models.autoencoder import Autoencoder, VectorConfig, VectorEncoder


def test_a_linear_autoencoder_reaches_pcas_error_and_subspace():
    """Its minima are all of them the principal subspace, and it has no others (Baldi & Hornik 1989)."""
    data = load_digits().data / 16
    spectrum = PCA(12).fit(data).explained_variance_
    # At a gap: where the spectrum falls little, the subspace of so many components is hardly determined.
    k = 2 + int(np.argmax(spectrum[1:10] / spectrum[2:11]))
    pca = PCA(k).fit(data)
    best = float(np.square(data - pca.inverse_transform(pca.transform(data))).mean())
    inputs = torch.from_numpy(data)
    model = Autoencoder.from_config(VectorConfig(64, k), seed=1).double()
    optimiser = torch.optim.LBFGS(
        model.parameters(), max_iter=400, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss():
        optimiser.zero_grad()
        value = (model(inputs) - inputs).square().mean()
        value.backward()
        return value

    optimiser.step(loss)
    error = float((model(inputs) - inputs).square().mean().detach())
    assert best * (1 - 1e-9) <= error <= 1.01 * best
    columns = model.decoder.layers[0].weight.detach().numpy()  # (64, k) spans what can be reconstructed
    assert np.degrees(subspace_angles(columns, pca.components_.T).max()) < 1


def test_hidden_layers_are_mirrored_with_relus_between():
    model = Autoencoder.from_config(VectorConfig(5, 2, (4, 3))).double()
    x = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = x
    for part, widths in ((model.encoder, (4, 3, 2)), (model.decoder, (3, 4, 5))):
        linears = [layer for layer in part.layers if isinstance(layer, torch.nn.Linear)]
        assert tuple(layer.out_features for layer in linears) == widths
        for i, layer in enumerate(linears):
            expected = expected @ layer.weight.T + layer.bias
            expected = expected.clamp(min=0) if i < 2 else expected
    assert torch.allclose(model(x), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3, 3), (2, 8)])
def test_inputs_of_another_shape_are_refused(shape):
    with pytest.raises(
        ValueError, match=rf"inputs \({str(shape)[1:-1]}\) for vectors of 9; give \(B, n_inputs\)"
    ):
        VectorEncoder(VectorConfig(9, 2))(torch.zeros(shape))
