import pytest

from studies.grid.scalars import (
    accuracy_of,
    loss_terms,
    parse_scalars,
    read_history,
)
from tests.studies.test_grid.conftest import scalars_text


def test_parses_losses_and_accuracy():
    history = parse_scalars(scalars_text([10, 20]))

    assert [point.iteration for point in history.train] == [10, 20]
    assert history.train[1].loss == pytest.approx(0.15)
    assert history.train[1].terms == {'loss_cls': 0.1, 'loss_bbox': 0.05}
    assert [v.iteration for v in history.validations] == [10, 20]
    assert history.validations[1].accuracy == (2.0, 4.0, 1.0, 0.5, 2.0, None)
    assert history.iteration == 20


def test_finds_the_accuracy_of_an_iteration():
    history = parse_scalars(scalars_text([10, 20]))

    assert history.ap_at(10) == 1.0
    assert history.ap_at(20) == 2.0
    assert history.ap_at(15) is None


def test_an_empty_log_is_an_empty_history():
    history = parse_scalars('')

    assert history == ((), ())
    assert history.iteration == 0


def test_leaves_out_a_last_line_that_is_being_written():
    text = scalars_text([10, 20])

    assert parse_scalars(text[: text.rindex('step')]) == parse_scalars(
        text[: text.rindex('{')]
    )


def test_refuses_a_broken_line_in_the_middle():
    text = scalars_text([10, 20]).replace('}', '', 1)

    with pytest.raises(ValueError, match='line 1 of scalars.json'):
        parse_scalars(text)


@pytest.mark.parametrize('line', ['3', '[]', '{"loss": 1}', '[' * 100_000])
def test_refuses_a_line_that_is_no_record(line):
    text = f'{line}\n' + scalars_text([10, 20])

    with pytest.raises(ValueError, match='line 1 of scalars.json is broken'):
        parse_scalars(text)


def test_no_detection_at_all_is_an_ap_of_zero():
    # CocoMetric then reports nothing
    history = parse_scalars('{"time": 0.1, "step": 2}\n')

    assert history.validations[0].accuracy.ap == 0.0


def test_annotations_without_objects_are_refused():
    with pytest.raises(ValueError, match='annotations are empty'):
        accuracy_of({'coco/bbox_mAP': -1.0})


def test_accuracy_is_in_percent_without_float_noise():
    assert accuracy_of({'coco/bbox_mAP': 0.29}).ap == 29.0


def test_a_resumed_training_replaces_what_it_repeats(tmp_path):
    for folder, iterations in ('1', [10, 20, 30]), ('2', [30, 40]):
        file = tmp_path / folder / 'vis_data' / 'scalars.json'
        file.parent.mkdir(parents=True)
        extra = {'loss_again': 1.0} if folder == '2' else {}
        file.write_text(scalars_text(iterations, **extra))
    # an attempt that was stopped before it logged anything
    empty = tmp_path / '3' / 'vis_data' / 'scalars.json'
    empty.parent.mkdir(parents=True)
    empty.touch()

    history = read_history(tmp_path)

    assert [p.iteration for p in history.train] == [10, 20, 30, 40]
    assert [v.iteration for v in history.validations] == [10, 20, 30, 40]
    assert 'loss_again' in history.train[2].terms


def test_names_all_loss_terms_and_no_diagnostics():
    history = parse_scalars(scalars_text([10], loss_wkd_roi_mean=0.5))

    assert loss_terms(history.train) == (
        'loss_bbox',
        'loss_cls',
        'loss_wkd_roi_mean',
    )
