"""Tensors for property-based tests: any dtype, strides and magnitude."""

import os

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# for a hunt with random seeds: MMWKD_EXAMPLES=2000 python -m pytest ...
_EXAMPLES = int(os.environ.get('MMWKD_EXAMPLES', '0'))
quick = settings(
    max_examples=_EXAMPLES or 25,
    derandomize=not _EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
PATTERNS = ('normal', 'zeros', 'constant', 'tiny', 'hundreds', 'sparse')


def fill(shape, pattern, seed):
    """Values in float64; 'huge' is for what is not squared."""
    draw = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=draw, dtype=torch.float64)
    if pattern == 'zeros':
        return torch.zeros_like(values)
    if pattern == 'constant':
        return torch.full_like(values, 3.7)
    if pattern == 'sparse':
        return 50 * values * (values > 1)
    if pattern == 'hundreds':
        return 100 * values.sign()
    return (
        values * dict(normal=1, tiny=1e-30, millions=1e6, huge=1e30)[pattern]
    )


def strided(values, layout):
    """The same values in another memory layout."""
    if layout == 'transposed':
        return values.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == 'sliced':
        holder = values.new_full((*values.shape[:-1], 2 * values.shape[-1]), 7)
        holder[..., ::2] = values
        return holder[..., ::2]
    if layout == 'expanded':  # equal elements, one after the other in memory
        return values[:1].expand_as(values)
    return values


@st.composite
def tensors(draw, shape, patterns=PATTERNS, dtypes=DTYPES):
    """A tensor of a shape."""
    values = fill(
        shape, draw(st.sampled_from(patterns)), draw(st.integers(0, 99))
    )
    dtype = draw(st.sampled_from(dtypes))
    values = values.clamp(-6e4, 6e4) if dtype is torch.float16 else values
    layout = draw(
        st.sampled_from(['contiguous', 'transposed', 'sliced', 'expanded'])
    )
    return strided(values.to(dtype), layout)


@st.composite
def logits(draw):
    """Logits of a student and a teacher, (R, K), and targets."""
    shape = draw(st.integers(0, 5)), draw(st.integers(2, 6))
    patterns = (*PATTERNS, 'huge')
    seed = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    target = torch.randint(shape[1], shape[:1], generator=seed)
    return (
        draw(tensors(shape, patterns)),
        draw(tensors(shape, patterns)),
        target.to(draw(st.sampled_from([torch.int64, torch.int32]))),
    )


@st.composite
def deltas(draw):
    """Box deltas of a student and a teacher, (R, 4)."""
    shape = draw(st.integers(0, 5)), 4
    return draw(tensors(shape)), draw(tensors(shape))


@st.composite
def maps(draw):
    """Maps of a student and a teacher, (N, D, H, W)."""
    shape = (
        draw(st.integers(0, 3)),
        *(draw(st.integers(1, 4)) for _ in 'dhw'),
    )
    patterns = (*PATTERNS, 'millions')
    return draw(tensors(shape, patterns)), draw(tensors(shape, patterns))
