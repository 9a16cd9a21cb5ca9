import ot
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwkd.functional import gaussian_wasserstein


def random_maps(n=2, d=3, h=6, w=8, *, dtype=torch.float64):
    return (
        torch.randn(n, d, h, w, dtype=dtype),
        2 * torch.randn(n, d, h, w, dtype=dtype) + 1,
    )


def cell_slices(size, grid):
    return [
        slice(i * size // grid, -(-(i + 1) * size // grid))
        for i in range(grid)
    ]


def per_cell_terms(student, teacher, grid, eps=1e-5):
    """Diagonal terms with a plain loop over cells."""
    means, covs = [], []
    for rows in cell_slices(student.shape[2], grid):
        for cols in cell_slices(student.shape[3], grid):
            s = student[:, :, rows, cols].flatten(2)
            t = teacher[:, :, rows, cols].flatten(2)
            means.append((s.mean(2) - t.mean(2)).square().sum(1))
            covs.append(
                ((s.var(2) + eps).sqrt() - (t.var(2) + eps).sqrt())
                .square()
                .sum(1)
            )
    return torch.stack(means).mean(0), torch.stack(covs).mean(0)


@pytest.mark.parametrize('case', range(4))
def test_diagonal_reproduces_reference(reference, case):
    data = {
        key.removeprefix(f'feat{case}_'): torch.as_tensor(value)
        for key, value in reference.items()
        if key.startswith(f'feat{case}_')
    }
    student = data['student'].requires_grad_()
    mean_term, cov_term = gaussian_wasserstein(
        student, data['teacher'], grid=int(data['grid'])
    )
    mean_term, cov_term = mean_term.mean(), cov_term.mean()
    (mean_grad,) = torch.autograd.grad(mean_term, student, retain_graph=True)
    (cov_grad,) = torch.autograd.grad(cov_term, student)
    for actual, name in (
        (mean_term, 'mean_term'),
        (cov_term, 'std_term'),
        (mean_grad, 'mean_grad'),
        (cov_grad, 'std_grad'),
    ):
        expected = data[name]
        error = (actual.detach() - expected).abs().max()
        assert error <= 1e-5 * expected.abs().max(), name


@pytest.mark.parametrize('grid', [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    'shape',
    [(2, 3, 7, 10), (2, 3, 20, 17), (3, 150, 20, 17)],
    ids=['small maps', 'large maps', 'many blocks'],
)
def test_diagonal_equals_a_loop_over_cells(shape, grid):
    student, teacher = random_maps(*shape)
    student.requires_grad_()
    actual = gaussian_wasserstein(student, teacher, grid=grid)
    expected = per_cell_terms(student, teacher, grid)
    assert_close(actual, expected)
    weights = torch.rand(2, shape[0], dtype=torch.float64)
    assert_close(
        *(
            torch.autograd.grad((weights * torch.stack(terms)).sum(), student)
            for terms in (actual, expected)
        )
    )


def test_gradients_of_channels_last_maps():
    """One map of many positions is then a view with odd strides."""
    student, teacher = random_maps(n=1, h=20, w=20)
    gradients = []
    for layout in (torch.contiguous_format, torch.channels_last):
        feats = student.to(memory_format=layout).requires_grad_()
        terms = gaussian_wasserstein(feats, teacher, grid=2)
        gradients += torch.autograd.grad(sum(t.sum() for t in terms), feats)
    assert_close(*gradients)


@pytest.mark.parametrize('covariance', ['diag', 'full'])
def test_second_derivatives_are_refused(covariance):
    student, teacher = random_maps()
    student.requires_grad_()
    terms = gaussian_wasserstein(student, teacher, covariance=covariance)
    with pytest.raises(RuntimeError, match='second derivatives .* not avail'):
        torch.autograd.grad(terms[1].sum(), student, create_graph=True)


@pytest.mark.parametrize('covariance', ['diag', 'full'])
def test_a_grid_as_fine_as_the_map_compares_positions(covariance):
    student, teacher = random_maps(h=4, w=4)
    student.requires_grad_()
    mean_term, cov_term = gaussian_wasserstein(
        student, teacher, grid=4, covariance=covariance
    )
    expected = (student - teacher).square().sum(1).mean((1, 2))
    assert_close(mean_term, expected)
    assert_close(cov_term, torch.zeros_like(cov_term))
    assert_close(
        torch.autograd.grad(mean_term.sum() + cov_term.sum(), student),
        torch.autograd.grad(expected.sum(), student),
    )


@pytest.mark.parametrize('grid', [1, 2, 3])
def test_cells_are_those_of_adaptive_average_pooling(grid):
    student, teacher = random_maps(h=5, w=7)
    mean_term, _ = gaussian_wasserstein(student, teacher, grid=grid)
    pooled = [F.adaptive_avg_pool2d(x, grid) for x in (student, teacher)]
    expected = (pooled[0] - pooled[1]).square().sum(1).mean((1, 2))
    assert_close(mean_term, expected)


@pytest.mark.parametrize(
    ('h', 'w'),
    [(2, 2), (9, 9)],
    ids=['singular', 'more positions than channels'],
)
def test_full_agrees_with_pot(h, w):
    student, teacher = random_maps(d=6, h=h, w=w)
    mean_term, cov_term = gaussian_wasserstein(
        student, teacher, covariance='full'
    )
    for i in range(2):
        s, t = student[i].flatten(1), teacher[i].flatten(1)
        jitter = 1e-12 * torch.eye(6, dtype=torch.float64)
        expected = (
            ot.gaussian.bures_wasserstein_distance(
                s.mean(1),
                t.mean(1),
                torch.cov(s) + jitter,
                torch.cov(t) + jitter,
            ).squeeze()
            ** 2
        )
        assert_close(mean_term[i] + cov_term[i], expected, rtol=1e-5, atol=0)


def test_full_equals_diagonal_for_uncorrelated_channels():
    # each channel varies at its own positions, symmetrically around 0
    student = torch.zeros(1, 3, 1, 6, dtype=torch.float64)
    teacher = torch.zeros(1, 3, 1, 6, dtype=torch.float64)
    for channel in range(3):
        pair = torch.tensor([1.0, -1.0], dtype=torch.float64)
        student[0, channel, 0, 2 * channel : 2 * channel + 2] = pair
        teacher[0, channel, 0, 2 * channel : 2 * channel + 2] = pair * (
            channel + 2
        )
    full = gaussian_wasserstein(student, teacher, covariance='full')
    diag = gaussian_wasserstein(student, teacher, eps=1e-14)
    assert_close(full, diag)


@pytest.mark.parametrize('covariance', ['diag', 'full'])
@pytest.mark.parametrize('grid', [1, 3])
def test_gradients_pass_gradcheck(covariance, grid):
    student, teacher = random_maps(n=1, d=2, h=4, w=5)
    assert torch.autograd.gradcheck(
        lambda x: gaussian_wasserstein(
            x, teacher, covariance=covariance, grid=grid
        ),
        student.requires_grad_(),
    )


@pytest.mark.parametrize('shape', [(5, 3, 3), (3, 5, 6)])
def test_full_gradcheck_for_few_and_many_positions(shape):
    student, teacher = random_maps(n=1, d=shape[0], h=shape[1], w=shape[2])
    assert torch.autograd.gradcheck(
        lambda x: gaussian_wasserstein(x, teacher, covariance='full')[1],
        student.requires_grad_(),
    )


@pytest.mark.parametrize('covariance', ['diag', 'full'])
@pytest.mark.parametrize('shape', [(2, 3, 4, 4), (1, 20, 3, 3), (2, 4, 1, 1)])
def test_equal_sides_are_at_distance_0_with_finite_gradient(covariance, shape):
    student = torch.randn(shape, requires_grad=True)
    terms = gaussian_wasserstein(
        student, student.detach().clone(), covariance=covariance
    )
    for term in terms:
        assert_close(term, torch.zeros(shape[0]), rtol=0, atol=2e-4)
    (gradient,) = torch.autograd.grad(sum(t.sum() for t in terms), student)
    assert gradient.isfinite().all()


@pytest.mark.parametrize('covariance', ['diag', 'full'])
@pytest.mark.parametrize('grid', [1, 4])
@pytest.mark.parametrize('size', [(1, 1), (4, 4), (2, 3)])
def test_cells_of_one_position_stay_finite(covariance, grid, size):
    student = torch.randn(2, 3, *size, requires_grad=True)
    mean_term, cov_term = gaussian_wasserstein(
        student, torch.randn(2, 3, *size), grid=grid, covariance=covariance
    )
    (gradient,) = torch.autograd.grad((mean_term + cov_term).sum(), student)
    assert mean_term.isfinite().all()
    assert cov_term.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize('covariance', ['diag', 'full'])
def test_constant_maps_have_no_covariance(covariance):
    student = torch.full((1, 4, 3, 3), 2.0, requires_grad=True)
    mean_term, cov_term = gaussian_wasserstein(
        student, torch.full((1, 4, 3, 3), 5.0), covariance=covariance
    )
    assert_close(mean_term, torch.tensor([36.0]))
    assert_close(cov_term, torch.tensor([0.0]))
    (gradient,) = torch.autograd.grad(cov_term.sum(), student)
    assert gradient.isfinite().all()


@pytest.mark.parametrize(('h', 'w', 'grid'), [(32, 32, 1), (30, 33, 4)])
def test_small_deviations_from_large_means_are_not_cancelled(h, w, grid):
    student = 1000 + 0.1 * torch.randn(2, 4, h, w)
    teacher = 1000 + 0.2 * torch.randn(2, 4, h, w)
    _, actual = gaussian_wasserstein(student, teacher, grid=grid)
    _, expected = gaussian_wasserstein(
        student.double(), teacher.double(), grid=grid
    )
    assert_close(actual.double(), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize('covariance', ['diag', 'full'])
def test_laws_of_translation_and_scale(covariance):
    student, teacher = random_maps(d=3)
    shift = torch.randn(1, 3, 1, 1, dtype=torch.float64)
    options = dict(covariance=covariance, eps=1e-14)
    mean_term, cov_term = gaussian_wasserstein(student, teacher, **options)
    moved = gaussian_wasserstein(student + shift, teacher + shift, **options)
    assert_close(moved, (mean_term, cov_term))
    scaled = gaussian_wasserstein(3 * student, 3 * teacher, **options)
    assert_close(scaled, (9 * mean_term, 9 * cov_term))


def test_full_is_invariant_to_rotations_of_the_channels():
    student, teacher = random_maps(d=4)
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))
    rotated = [
        torch.einsum('ij,njhw->nihw', rotation, x) for x in (student, teacher)
    ]
    assert_close(
        gaussian_wasserstein(*rotated, covariance='full'),
        gaussian_wasserstein(student, teacher, covariance='full'),
    )


def test_teacher_receives_no_gradient():
    student, teacher = random_maps()
    student.requires_grad_()
    teacher.requires_grad_()
    sum(t.sum() for t in gaussian_wasserstein(student, teacher)).backward()
    assert teacher.grad is None
    assert student.grad is not None


def test_non_contiguous_and_half_input():
    student, teacher = random_maps(dtype=torch.float32)
    strided = [
        x.to(memory_format=torch.channels_last) for x in (student, teacher)
    ]
    assert_close(
        gaussian_wasserstein(*strided, grid=2),
        gaussian_wasserstein(student, teacher, grid=2),
    )
    halves = student.half(), teacher.half()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        actual = gaussian_wasserstein(*halves)
    expected = gaussian_wasserstein(*(x.float() for x in halves))
    assert actual[0].dtype == torch.float32
    assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize('covariance', ['diag', 'full'])
@pytest.mark.parametrize('grid', [2, 6])
def test_teacher_may_be_of_another_dtype(covariance, grid):
    student, teacher = torch.randn(2, 3, 4, 6, 6)
    options = dict(covariance=covariance, grid=grid)
    assert_close(
        gaussian_wasserstein(student, teacher.double(), **options),
        gaussian_wasserstein(student, teacher, **options),
    )


@pytest.mark.parametrize('covariance', ['diag', 'full'])
def test_no_maps_give_empty_terms(covariance):
    student = torch.zeros(0, 4, 7, 7, requires_grad=True)
    terms = gaussian_wasserstein(
        student, torch.zeros(0, 4, 7, 7), grid=4, covariance=covariance
    )
    assert all(term.shape == (0,) for term in terms)
    sum(t.sum() for t in terms).backward()


@pytest.mark.parametrize(
    ('args', 'options', 'message'),
    [
        (((1, 3, 4, 4), (1, 4, 4, 4)), {}, r'got \(1, 3, 4, 4\) and'),
        (((1, 3, 0, 4), (1, 3, 0, 4)), {}, 'must not be empty'),
        (((1, 3, 4, 4),) * 2, dict(grid=0), 'grid must be at least 1, got 0'),
        (((1, 3, 4, 4),) * 2, dict(covariance='block'), "got 'block'"),
    ],
)
def test_bad_input_is_refused(args, options, message):
    with pytest.raises(ValueError, match=message):
        gaussian_wasserstein(*map(torch.zeros, args), **options)
