"""Features in units of their channels' own spread.

Shapes: N maps, D channels, (H, W) positions.
"""

from torch import Tensor

from mmwkd.functional.checks import check_floating_point
from mmwkd.functional.extents import blank, padding_mask
from mmwkd.functional.precision import computing_dtype


def standardize(
    feats: Tensor, *, eps: float = 1e-5, extents: Tensor | None = None
) -> Tensor:
    r"""Bring every channel to mean 0 and variance 1.

    .. math:: \hat f_{ndi} = (f_{ndi} - m_d) / \sqrt{v_d + \epsilon}

    with the mean and the variance of a channel over all maps and positions, as
    PKD does (Cao et al., NeurIPS 2022): the scale and the offset of a channel
    no longer matter, so a student need not repeat those of its teacher, and no
    channel outweighs the others. The gradient goes through both.

    Args:
        feats: Maps, of shape (N, D, H, W).
        eps: Added to the variances, for channels that do not vary.
        extents: Height and width of the content of each map, (N, 2), see
            :func:`mmwkd.functional.gaussian_wasserstein`; the rest takes no
            part and becomes 0.

    Returns:
        Standardised maps of the same shape, in float32 or better.
    """
    check_floating_point(feats=feats)
    feats = feats.to(computing_dtype(feats))
    return standardize_content(feats, eps, padding_mask(extents, feats))


def standardize_content(
    feats: Tensor, eps: float, padding: Tensor | None
) -> Tensor:
    """Standardise maps (N, D, H, W), but for their padding (N, 1, H, W)."""
    axes = (0, 2, 3)
    if padding is None:
        centred = feats - feats.mean(dim=axes, keepdim=True)
        variance = centred.square().mean(dim=axes, keepdim=True)
        return centred * (variance + eps).rsqrt()
    area = (~padding).sum()
    mean = blank(padding, feats).sum(dim=axes, keepdim=True) / area
    centred = blank(padding, feats - mean)
    variance = centred.square().sum(dim=axes, keepdim=True) / area
    return centred * (variance + eps).rsqrt()
