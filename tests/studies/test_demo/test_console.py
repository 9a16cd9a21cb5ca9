import io
from pathlib import Path

import pytest
from rich.console import Console

from studies.demo.console import Display
from studies.demo.results import table_rows


@pytest.fixture
def output():
    return io.StringIO()


def make_display(output, **options):
    return Display(Console(file=output, width=100, **options), num_steps=6)


def test_a_log_file_gets_a_few_lines(output):
    display = make_display(output)
    with display.step('teacher', 'iterations') as step:
        for iteration in range(0, 801, 2):
            step.update(iteration, 800, 'loss 1.234')
        step.outcome = 'box AP 12.3'

    lines = output.getvalue().splitlines()
    assert 3 <= len(lines) <= 12
    assert '[1/6] teacher  800/800 iterations' in lines[-2]
    assert 'loss 1.234' in lines[-2]
    assert lines[-1].startswith('done')
    assert lines[-1].endswith('box AP 12.3')


def test_a_terminal_gets_a_line_that_moves(output):
    display = make_display(output, force_terminal=True)
    with display.step('the [red] teacher', 'iterations') as step:
        step.update(400, 800, 'loss 1.234  box AP 5.6')

    shown = output.getvalue()
    assert '400/800' in shown
    assert 'box AP 5.6' in shown
    # not taken for markup, neither while it runs nor at the end
    assert shown.count('[1/6] the [red] teacher') >= 2


def test_a_failed_step_is_not_done(output):
    display = make_display(output)
    with (
        pytest.raises(ValueError, match='broken'),
        display.step('teacher', 'iterations'),
    ):
        raise ValueError('broken')

    assert 'done' not in output.getvalue()


def test_tracks_items(output):
    display = make_display(output)
    with display.step('minicoco', 'images') as step:
        assert list(step.track(['a', 'b'])) == ['a', 'b']

    assert '2/2 images' in output.getvalue()


def test_the_end_has_the_table_and_the_files(output, results):
    make_display(output).results(results, {'report': Path('made/report.html')})

    shown = output.getvalue()
    for row in table_rows(results):
        assert all(cell in shown for cell in row)
    assert '+4.1 box AP from distillation' in shown
    assert 'made/report.html' in shown
