import io

import pytest
from rich.console import Console

from studies.grid.console import Steps


@pytest.fixture
def output():
    return io.StringIO()


def make_steps(output, **options):
    return Steps(Console(file=output, width=100, **options), num_steps=6)


def test_a_log_file_gets_a_few_lines(output):
    with make_steps(output).step('teacher') as step:
        for iteration in range(0, 801, 2):
            step.update(iteration, 800, 'loss 1.234')
        step.outcome = 'box AP 12.3'

    lines = output.getvalue().splitlines()
    assert 3 <= len(lines) <= 12
    assert '[1/6] teacher  800/800  loss 1.234' in lines[-2]
    assert lines[-1].startswith('done')
    assert lines[-1].endswith('box AP 12.3')


def test_a_terminal_gets_a_line_that_moves(output):
    steps = make_steps(output, force_terminal=True)
    with steps.step('the [red] teacher') as step:
        step.update(400, 800, 'loss 1.234  box AP 5.6')

    assert '400/800' in output.getvalue()
    assert 'box AP 5.6' in output.getvalue()
    # not taken for markup, neither while it runs nor at the end
    assert output.getvalue().count('[1/6] the [red] teacher') >= 2


def test_a_failed_step_is_not_done(output):
    with pytest.raises(ValueError, match='broken'):
        with make_steps(output).step('teacher'):
            raise ValueError('broken')

    assert 'done' not in output.getvalue()


def test_tracks_items(output):
    with make_steps(output).step('minicoco') as step:
        assert list(step.track(['a', 'b'])) == ['a', 'b']

    assert '2/2' in output.getvalue()
