import ot
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwkd.costs.transport import plans_of_logs
from mmwkd.functional import (
    interrelation_to_cost,
    sinkhorn_cost,
    target_term,
    transport_term,
)


def random_cost(size, *, dtype=torch.float64):
    points = torch.rand(size, 3, dtype=dtype)
    return torch.cdist(points, points)


def random_logits(rows, size, *, scale=2.0, dtype=torch.float64):
    return (
        scale * torch.randn(rows, size, dtype=dtype),
        scale * torch.randn(rows, size, dtype=dtype),
        torch.randint(size, (rows,)),
    )


def per_sample_transport(
    student, teacher, cost, target, *, temperature=1.0, reg=0.05, num_iters=10
):
    """The textbook formulation: cut the target out of every row's problem."""
    values = []
    for s, t, index in zip(student, teacher, target, strict=True):
        keep = torch.arange(len(s)) != index
        p = (s[keep] / temperature).softmax(0)
        q = (t[keep] / temperature).softmax(0).detach()
        c = cost[keep][:, keep].relu() + 1e-8
        kernel = torch.exp(-c / reg)
        u = torch.full_like(p, 1 / len(p))
        for _ in range(num_iters):
            v = q / (kernel.T @ u + 1e-8)
            u = p / (kernel @ v + 1e-8)
        values.append((u[:, None] * kernel * v * c).sum())
    return torch.stack(values)


@pytest.mark.parametrize('case', range(4))
def test_terms_reproduce_reference(reference, case):
    data = {
        key.removeprefix(f'logit{case}_'): torch.as_tensor(value)
        for key, value in reference.items()
        if key.startswith(f'logit{case}_')
    }
    student = data['student_logits'].requires_grad_()
    cost = interrelation_to_cost(data['interrelation'], float(data['kappa']))
    options = dict(
        temperature=float(data['temperature']),
        reg=float(data['reg']),
        num_iters=int(data['num_iters']),
    )
    args = (student, data['teacher_logits'])

    target = target_term(*args, data['target']).mean()
    transport = transport_term(*args, cost, data['target'], **options).mean()
    (gradient,) = torch.autograd.grad(target + transport, student)
    unseparated = transport_term(*args, cost, **options).mean()
    (unseparated_gradient,) = torch.autograd.grad(unseparated, student)

    for actual, name in (
        (target, 'target_loss'),
        (transport, 'transport_loss'),
        (gradient, 'separated_grad'),
        (unseparated, 'unseparated_transport_loss'),
        (unseparated_gradient, 'unseparated_grad'),
    ):
        assert_relative(actual.detach(), data[name], 1e-5)


def assert_relative(actual, expected, tolerance):
    error = (actual - expected).abs().max() / expected.abs().max()
    assert error <= tolerance, f'relative error {error:.2e}'


def test_defaults_are_those_of_the_reference(reference):
    data = {
        key.removeprefix('logit2_'): torch.as_tensor(value)
        for key, value in reference.items()
        if key.startswith('logit2_')
    }
    # this case uses temperature 1, reg 0.05 and 10 iterations
    cost = interrelation_to_cost(data['interrelation'], float(data['kappa']))
    actual = transport_term(
        data['student_logits'], data['teacher_logits'], cost, data['target']
    ).mean()
    assert_relative(actual, data['transport_loss'], 1e-5)


def test_target_separation_equals_cutting_the_category_out():
    student, teacher, target = random_logits(6, 9)
    student.requires_grad_()
    cost = random_cost(9)
    options = dict(temperature=1.5, reg=0.1, num_iters=7)
    actual = transport_term(student, teacher, cost, target, **options)
    expected = per_sample_transport(student, teacher, cost, target, **options)
    assert_close(actual, expected)
    weights = torch.rand(6, dtype=torch.float64)
    assert_close(
        torch.autograd.grad((weights * actual).sum(), student)[0],
        torch.autograd.grad((weights * expected).sum(), student)[0],
    )


def test_transport_has_no_gradient_at_the_target_logit():
    student, teacher, target = random_logits(5, 8)
    student.requires_grad_()
    transport_term(student, teacher, random_cost(8), target).sum().backward()
    assert_close(
        student.grad.gather(1, target[:, None]),
        torch.zeros(5, 1, dtype=torch.float64),
    )
    assert (student.grad != 0).sum() == 5 * 7


def test_sinkhorn_converges_to_pot():
    p, q = (torch.randn(8, dtype=torch.float64).softmax(0) for _ in range(2))
    cost = random_cost(8)
    ours = sinkhorn_cost(p[None], q[None], cost, reg=0.1, num_iters=2000)
    plan = ot.sinkhorn(
        p, q, cost, 0.1, method='sinkhorn_log', numItermax=5000, stopThr=1e-14
    )
    assert_close(ours[0], (plan * cost).sum(), rtol=1e-5, atol=0)


def test_sinkhorn_approaches_exact_transport_as_reg_vanishes():
    p, q = (torch.randn(8, dtype=torch.float64).softmax(0) for _ in range(2))
    cost = random_cost(8)
    exact = ot.emd2(p, q, cost)
    biases = [
        float(
            sinkhorn_cost(p[None], q[None], cost, reg=reg, num_iters=3000)[0]
            - exact
        )
        for reg in (0.4, 0.2, 0.1, 0.05)
    ]
    assert all(bias > -1e-6 for bias in biases)
    assert all(a > b for a, b in zip(biases, biases[1:], strict=False))
    assert biases[-1] < 0.02 * exact


def log_domain_cost(student, teacher, cost, target, reg, num_iters):
    """The same iterations by log-sum-exp, which has no guards."""
    log_p, log_q = (
        x.double().scatter(1, target[:, None], -torch.inf).log_softmax(1)
        for x in (student, teacher)
    )
    plan = plans_of_logs(
        log_p,
        log_q,
        -cost.double() / reg,
        excluded=target,
        num_iters=num_iters,
    )
    return (plan * cost).sum(dim=(1, 2))


@pytest.mark.parametrize(
    ('ratio', 'error'),
    [(8.6, 1e-3), (20.0, 0.2)],  # that of the default reg; the largest allowed
)
def test_the_gradient_is_that_of_the_log_domain_up_to_the_limit(ratio, error):
    teacher = torch.randn(64, 81)
    student = (2 * teacher + torch.randn(64, 81)).requires_grad_()
    cost, target = interrelation_to_cost(torch.eye(81), 2.0), torch.arange(64)
    reg = float(cost.max()) / ratio
    plain = transport_term(
        student,
        2 * teacher,
        cost,
        target,
        temperature=2.0,
        reg=reg,
        num_iters=20,
    )
    log = log_domain_cost(student / 2, teacher, cost, target, reg, 20)
    plain, log = (
        torch.autograd.grad(value.sum(), student)[0] for value in (plain, log)
    )
    assert (plain - log).norm() < error * log.norm()


@pytest.mark.parametrize('num_rois', [1, 255, 256, 257, 600])
def test_blocks_of_rois_do_not_show(num_rois):
    student, teacher, target = random_logits(num_rois, 5)
    student.requires_grad_()
    cost = random_cost(5)
    value = transport_term(student, teacher, cost, target)
    (gradient,) = torch.autograd.grad(value.sum(), student)
    expected = per_sample_transport(student, teacher, cost, target)
    assert_close(value, expected)
    assert_close(gradient, torch.autograd.grad(expected.sum(), student)[0])
    with torch.no_grad():
        assert torch.equal(
            transport_term(student, teacher, cost, target), value
        )


def test_single_masses_cost_exactly_the_way_between_them():
    cost = random_cost(6)
    p = F.one_hot(torch.tensor([0, 2, 5]), 6).double()
    q = F.one_hot(torch.tensor([3, 2, 1]), 6).double()
    values = sinkhorn_cost(p, q, cost, reg=0.5)
    expected = cost[[0, 2, 5], [3, 2, 1]]
    assert_close(values, expected, rtol=1e-5, atol=1e-7)


def test_transport_is_invariant_to_shifts_and_permutations():
    student, teacher, target = random_logits(4, 7)
    cost = random_cost(7)
    value = transport_term(student, teacher, cost, target)
    assert_close(transport_term(student + 3, teacher - 5, cost, target), value)
    order = torch.randperm(7)
    permuted = transport_term(
        student[:, order],
        teacher[:, order],
        cost[order][:, order],
        order.argsort()[target],
    )
    assert_close(permuted, value)


def test_equal_logits_cost_nothing_where_categories_are_far_apart():
    logits, _, target = random_logits(4, 7)
    cost = 1 - torch.eye(7, dtype=torch.float64)
    assert transport_term(logits, logits, cost, target).abs().max() < 1e-6


def test_target_term_is_weighted_cross_entropy():
    student, teacher, target = random_logits(5, 6)
    expected = teacher.softmax(1)[torch.arange(5), target] * F.cross_entropy(
        student, target, reduction='none'
    )
    assert_close(target_term(student, teacher, target), expected)


def test_gradients_pass_gradcheck():
    student, teacher, target = random_logits(3, 5)
    student.requires_grad_()
    cost = random_cost(5)
    assert torch.autograd.gradcheck(
        lambda z: transport_term(z, teacher, cost, target, temperature=1.3),
        student,
    )
    assert torch.autograd.gradcheck(
        lambda z: transport_term(z, teacher, cost, None, temperature=1.3),
        student,
    )
    assert torch.autograd.gradcheck(
        lambda z: target_term(z, teacher, target), student
    )


def test_teacher_receives_no_gradient():
    student, teacher, target = random_logits(3, 5)
    student.requires_grad_()
    teacher.requires_grad_()
    total = target_term(student, teacher, target) + transport_term(
        student, teacher, random_cost(5), target
    )
    total.sum().backward()
    assert teacher.grad is None


@pytest.mark.parametrize('kappa', [1.0, 2.0])
def test_extreme_logits_stay_finite(kappa):
    cost = interrelation_to_cost(torch.eye(9), kappa)
    student = torch.full((4, 9), -100.0)
    student[range(4), [0, 1, 2, 3]] = 100.0
    teacher = student.roll(1, dims=1)
    student.requires_grad_()
    target = torch.tensor([0, 0, 8, 8])
    for index in (target, None):
        value = transport_term(student, teacher, cost, index)
        total = value + target_term(student, teacher, target)
        (gradient,) = torch.autograd.grad(total.sum(), student)
        assert total.isfinite().all()
        assert gradient.isfinite().all()


def test_no_rois_give_an_empty_term_in_the_graph():
    student = torch.zeros(0, 5, requires_grad=True)
    empty = torch.zeros(0, dtype=torch.long)
    value = transport_term(student, torch.zeros(0, 5), torch.ones(5, 5), empty)
    assert value.shape == (0,)
    value.sum().backward()
    assert student.grad.shape == (0, 5)


def test_second_derivatives_are_refused():
    student, teacher, target = random_logits(4, 6)
    student.requires_grad_()
    total = transport_term(student, teacher, random_cost(6), target).sum()
    with pytest.raises(RuntimeError, match='second derivatives .* not avail'):
        torch.autograd.grad(total, student, create_graph=True)


def test_memory_is_bounded_for_many_categories_and_iterations(monkeypatch):
    """A block keeps three tensors of each iteration: it gets narrower."""
    from mmwkd.functional import sinkhorn

    student, teacher, target = random_logits(20, 6)
    student.requires_grad_()
    cost = random_cost(6)
    (expected,) = torch.autograd.grad(
        transport_term(student, teacher, cost, target).sum(), student
    )
    widths = []
    iterate = sinkhorn._iterate
    monkeypatch.setattr(sinkhorn, '_BLOCK_ENTRIES', 3 * 10 * 6 * 7)
    monkeypatch.setattr(
        sinkhorn,
        '_iterate',
        lambda p, *args, **kw: (
            widths.append(p.shape[1]) or iterate(p, *args, **kw)
        ),
    )
    (actual,) = torch.autograd.grad(
        transport_term(student, teacher, cost, target).sum(), student
    )
    assert widths == [7, 7, 6]
    assert_close(actual, expected)


def test_costs_are_computed_in_full_precision_under_autocast():
    student, teacher, _ = random_logits(4, 6, dtype=torch.float32)
    p, q, cost = student.softmax(1), teacher.softmax(1), random_cost(6).float()
    p.requires_grad_()
    expected = sinkhorn_cost(p, q, cost)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        actual = sinkhorn_cost(p, q, cost)
        actual.sum().backward()
    assert_close(actual, expected, rtol=0, atol=0)


def test_backward_may_be_repeated():
    student, teacher, target = random_logits(4, 6)
    student.requires_grad_()
    total = transport_term(student, teacher, random_cost(6), target).sum()
    first, second = (
        torch.autograd.grad(total, student, retain_graph=True)[0]
        for _ in range(2)
    )
    assert torch.equal(first, second)


def test_teacher_may_be_of_another_dtype():
    student, teacher, target = random_logits(4, 6, dtype=torch.float32)
    cost = random_cost(6, dtype=torch.float32)
    assert_close(
        transport_term(student, teacher.double(), cost, target),
        transport_term(student, teacher, cost, target),
    )


def test_targets_must_be_indices():
    logits = torch.zeros(2, 4)
    mask = torch.zeros(2, dtype=torch.uint8)
    with pytest.raises(ValueError, match='int64 or int32, got torch.uint8'):
        transport_term(logits, logits, torch.ones(4, 4), mask)


def test_non_contiguous_input_gives_the_same():
    student, teacher, target = random_logits(4, 6)
    cost = random_cost(6)
    expected = transport_term(student, teacher, cost, target)
    strided = transport_term(
        student.T.contiguous().T,
        teacher.T.contiguous().T,
        cost.T.contiguous().T,
        target,
    )
    assert_close(strided, expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    student, teacher, target = random_logits(4, 6, dtype=torch.float32)
    student, teacher = student.to(dtype), teacher.to(dtype)
    cost = random_cost(6, dtype=torch.float32)
    expected = transport_term(student.float(), teacher.float(), cost, target)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        actual = transport_term(student, teacher, cost, target)
    assert actual.dtype == torch.float32
    assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(reg=0), 'reg must be positive, got 0'),
        (dict(temperature=-1), 'temperature must be positive, got -1'),
        (dict(num_iters=0), 'num_iters must be at least 1, got 0'),
    ],
)
def test_bad_options_are_refused(options, message):
    logits = torch.zeros(2, 4)
    with pytest.raises(ValueError, match=message):
        transport_term(logits, logits, torch.ones(4, 4), **options)


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (
            (torch.zeros(2, 4), torch.zeros(2, 5), torch.ones(4, 4)),
            r'share one shape .* got \(2, 4\) and \(2, 5\)',
        ),
        (
            (torch.zeros(2, 4), torch.zeros(2, 4), torch.ones(5, 5)),
            r'cost must have shape \(4, 4\).* got \(5, 5\)',
        ),
        (
            (
                torch.zeros(2, 4),
                torch.zeros(2, 4),
                torch.ones(4, 4),
                torch.zeros(3, dtype=torch.long),
            ),
            r'target must have shape \(2,\)',
        ),
        (
            (torch.zeros(2, 1), torch.zeros(2, 1), torch.ones(1, 1)),
            'at least 2 categories',
        ),
    ],
)
def test_bad_shapes_are_refused(args, message):
    with pytest.raises(ValueError, match=message):
        transport_term(*args)


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ((torch.ones(2, 3), torch.ones(2, 4), torch.ones(3, 3)), r'\(2, 4\)'),
        ((torch.ones(2, 3), torch.ones(2, 3), torch.ones(3, 4)), r'\(3, 4\)'),
        ((torch.ones(3), torch.ones(3), torch.ones(3, 3)), r'got \(3,\)'),
    ],
)
def test_histograms_must_fit_the_cost(args, message):
    with pytest.raises(ValueError, match=message):
        sinkhorn_cost(*args)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_iters=0), 'num_iters must be at least 1, got 0'),
        (dict(reg=float('nan')), 'reg must be positive, got nan'),
        (dict(excluded=torch.zeros(3).long()), r'excluded must .* \(2,\)'),
    ],
)
def test_bad_options_of_the_cost_are_refused(options, message):
    histograms = torch.full((2, 3), 1 / 3)
    with pytest.raises(ValueError, match=message):
        sinkhorn_cost(histograms, histograms, torch.ones(3, 3), **options)
