import json

import pytest

from studies.demo.results import (
    table_rows,
    to_json,
    verdict,
    write_results,
)
from tests.studies.test_demo.conftest import make_results


def test_verdict_of_a_gain():
    told = verdict(make_results(teacher=40.0, baseline=30.0, distilled=34.0))

    assert told.tone == 'good'
    assert told.headline == '+4.0 box AP from distillation'
    assert 'closes 40 % of the gap to its teacher (40.0 AP)' in told.text


def test_verdict_says_plainly_that_distillation_did_not_help():
    told = verdict(make_results(teacher=40.0, baseline=30.0, distilled=28.5))

    assert told.tone == 'bad'
    assert told.headline == '−1.5 box AP: distillation did not help'
    assert 'it does worse: 28.5' in told.text


def test_verdict_of_no_difference():
    told = verdict(make_results(teacher=40.0, baseline=30.0, distilled=30.0))

    assert told.tone == 'even'
    assert told.headline == 'No difference in box AP'


@pytest.mark.parametrize('distilled', [25.0, 30.0, 35.0])
def test_verdict_without_a_gap_claims_none(distilled):
    told = verdict(
        make_results(teacher=29.0, baseline=30.0, distilled=distilled)
    )

    assert 'there is no gap to close' in told.text
    assert '%' not in told.text


def test_table_has_a_row_for_each_model(results):
    header, *rows = table_rows(results)

    assert [row[0] for row in rows] == [m.title for m in results.models]
    assert dict(zip(header, rows[0], strict=True)) == {
        'model': 'teacher',
        'box AP': '38.4',
        'AP50': '58.7',
        'AP75': '34.3',
        'params (M)': '7.65',
        'GFLOPs': '0.713',
        'images/s': '41.7',
        'minutes': '3.2',
    }


def test_json_has_all_numbers_and_explains_them(results, tmp_path):
    write_results(results, tmp_path / 'results.json')

    document = json.loads((tmp_path / 'results.json').read_text())
    assert document == json.loads(json.dumps(to_json(results)))
    assert document['models']['distilled']['accuracy']['ap50'] == 49.0
    assert document['models']['teacher']['accuracy']['ap_large'] is None
    assert document['gain'] == 4.1
    assert document['gap_closed'] == pytest.approx(4.1 / 13.8)
    assert document['machine']['versions'] == {'torch': '9.8.7'}
    assert document['commit'] == '0123456789'
    assert 'percent' in document['units']['ap']


def test_json_of_a_missing_gap_is_null():
    results = make_results(teacher=20.0, baseline=30.0, distilled=31.0)

    assert to_json(results)['gap_closed'] is None
