"""From category interrelations to the ground cost of WKD-L.

Shapes: K categories, background included and last; D features.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmwkd.functional.precision import full_precision


def interrelation_to_cost(interrelation: Tensor, kappa: float) -> Tensor:
    r"""Turn category interrelations into a ground cost.

    .. math:: c_{ij} = 1 - \exp(-\kappa (1 - IR_{ij}))

    (Lv et al., NeurIPS 2024). Identical categories (``IR = 1``) cost 0 and
    unrelated ones (``IR = 0``) cost ``1 - exp(-kappa)``; a larger ``kappa``
    pushes all but the closest categories towards the common maximum of 1.

    Args:
        interrelation: Similarity of the categories in [0, 1], 1 on the
            diagonal, of shape (K, K).
        kappa: Sharpness of the cost, positive.

    Returns:
        Cost in [0, 1), of shape (K, K).

    Raises:
        ValueError: If the matrix is not square or ``kappa`` not positive.
    """
    if interrelation.dim() != 2 or (
        interrelation.shape[0] != interrelation.shape[1]
    ):
        raise ValueError(
            'interrelation must be a square matrix, got shape '
            f'{tuple(interrelation.shape)}'
        )
    if not kappa > 0:
        raise ValueError(f'kappa must be positive, got {kappa}')
    # expm1 keeps the digits of the small costs of near-identical categories
    return -(-kappa * (1 - interrelation)).expm1()


@full_precision
def classifier_interrelation(weight: Tensor) -> Tensor:
    """Interrelation of categories as the cosine of classifier weight rows.

    Negative cosines are clamped to 0: two categories cannot be less related
    than not at all. Nothing is differentiated; the result is detached.

    Args:
        weight: Rows of the last linear layer, of shape (K, D).

    Returns:
        Similarity in [0, 1] with an exact unit diagonal, of shape (K, K).

    Raises:
        ValueError: If a row is zero or not finite, naming the row.
    """
    weight = weight.detach()
    norms = weight.norm(dim=1)
    bad = ((norms == 0) | ~norms.isfinite()).nonzero().flatten().tolist()
    if bad:
        raise ValueError(
            f'classifier weight rows {bad} are zero or not finite, so their '
            'relation to other categories is undefined'
        )
    unit = F.normalize(weight, dim=1)
    cosine = (unit @ unit.T).clamp_(0, 1)  # (K, K)
    cosine = (cosine + cosine.T) / 2  # exact symmetry, whatever the BLAS
    return cosine.fill_diagonal_(1)
