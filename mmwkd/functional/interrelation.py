"""From class statistics to category interrelations to the cost of WKD-L.

An interrelation is a similarity of categories in [0, 1]: exactly symmetric,
exactly 1 on the diagonal, negative similarities clamped to 0. The estimators
compute in float64, differentiate nothing and return a detached (K, K) matrix.

Shapes: K categories, background included and last; D features; n samples.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwkd.functional.checks import check_floating_point, check_positive
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
    """
    if interrelation.dim() != 2 or (
        interrelation.shape[0] != interrelation.shape[1]
    ):
        raise ValueError(
            'interrelation must be a square matrix, got shape '
            f'{tuple(interrelation.shape)}'
        )
    check_positive(kappa=kappa)
    # expm1 keeps the digits of the small costs of near-identical categories
    return -(-kappa * (1 - interrelation)).expm1()


@full_precision
def classifier_interrelation(weight: Tensor) -> Tensor:
    """Cosine of classifier weight rows (K, D), of their type, (K, K).

    A row that is zero or not finite is a ValueError that names it, here and
    in the other estimators.
    """
    check_floating_point(weight=weight)
    weight = weight.detach()
    rows = weight.double()
    return _normalised(rows @ rows.T, 'classifier weight rows').to(
        weight.dtype
    )


def add_unrelated(interrelation: Tensor) -> Tensor:
    """Append a category that is like no other, such as a background.

    Of an interrelation (C, C), with a last row and column of 0.
    """
    larger = F.pad(interrelation, (0, 1, 0, 1))
    larger[-1, -1] = 1
    return larger


def centroid_interrelation(means: Tensor) -> Tensor:
    r"""Interrelation of categories as the cosine of centred class means.

    .. math:: IR_{ij} = \cos(\mu_i - \bar\mu, \mu_j - \bar\mu), \quad
        \bar\mu = \frac{1}{K} \sum_k \mu_k

    What all categories share, as features behind a ReLU do, would make every
    pair similar and is removed. It is the mean of the class means: the mean
    of the samples is close to that of the most frequent category,
    background, whose centred mean would then be noise. Ablated in Lv et al.,
    NeurIPS 2024.

    Args:
        means: Mean features of each category, of shape (K, D).
    """
    centred = _centred(means)
    return _normalised(centred @ centred.T, 'centred class means')


def confusion_interrelation(probabilities: Tensor) -> Tensor:
    r"""Interrelation of categories as the overlap of their predictions.

    .. math:: IR_{ij} = \sum_k \sqrt{P_{ik} P_{jk}}

    the Bhattacharyya coefficient of what the teacher predicts, on average,
    for samples of i and of j: 1 where it confuses them fully, 0 where it
    never gives both probability for the same category.

    Args:
        probabilities: P, the mean softmax of the samples of each category;
            rows need not sum to exactly 1; of shape (K, K).
    """
    roots = probabilities.detach().double().sqrt()
    return _normalised(roots @ roots.T, 'mean probabilities')


def paired_cka_interrelation(features: Sequence[Tensor]) -> Tensor:
    r"""Interrelation of categories as the paper's linear CKA of samples.

    .. math:: IR_{ij} = \frac{\|X_j^T X_i\|_F^2}
        {\|X_i^T X_i\|_F \, \|X_j^T X_j\|_F}

    with centred columns (Lv et al., NeurIPS 2024). Row k of one category is
    paired with row k of the other, although they are of different images: it
    is here for fidelity to the paper.

    Args:
        features: Samples of each category, each of shape (n, D); all are cut
            to the smallest n.
    """
    rows = min(len(samples) for samples in features)
    grams = []
    for samples in features:
        centred = _centred(samples[:rows])
        # |X_j' X_i|^2 = <X_i X_i', X_j X_j'>, and n is smaller than D
        grams.append((centred @ centred.T).flatten())
    flat = torch.stack(grams)  # (K, n * n)
    return _normalised(flat @ flat.T, 'samples')


def _centred(rows: Tensor) -> Tensor:
    rows = rows.detach().double()
    centred = rows - rows.mean(dim=0)
    # what is left of equal rows is rounding, which has no direction
    noise = centred.norm(dim=1) <= 1e-12 * rows.norm(dim=1)
    return centred.masked_fill(noise[:, None], 0)


def _normalised(gram: Tensor, rows: str) -> Tensor:
    """Cosines from inner products, negative ones taken for 0; (K, K)."""
    norms = gram.diagonal().clamp(min=0).sqrt()
    bad = (~(norms > 0) | ~norms.isfinite()).nonzero().flatten().tolist()
    if bad:
        raise ValueError(
            f'{rows} {bad} are zero or not finite, so their relation to '
            'other categories is undefined'
        )
    cosine = (gram / norms[:, None] / norms).clamp(-1, 1)
    cosine = (cosine + cosine.T) / 2  # exact symmetry, whatever the BLAS
    return cosine.fill_diagonal_(1).clamp_(min=0)
