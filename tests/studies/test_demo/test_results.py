import json

import pytest

from studies.demo.results import (
    table_rows,
    to_json,
    verdict,
    write_results,
)
from tests.studies.test_demo.conftest import make_results


@pytest.mark.parametrize(
    ('distilled', 'tone', 'headline', 'text'),
    [
        (34.0, 'good', '+4.0 box AP', 'closes 40 % of the gap'),
        (28.5, 'bad', '−1.5 box AP: distillation did not', '28.5'),
        (30.0, 'even', 'No difference', '30.0'),
    ],
)
def test_verdict_is_plain(distilled, tone, headline, text):
    outcome = verdict(make_results(40.0, 30.0, distilled))

    assert outcome.tone == tone
    assert headline in outcome.headline
    assert text in outcome.text


@pytest.mark.parametrize('distilled', [25.0, 30.0, 35.0])
def test_verdict_without_a_gap_claims_none(distilled):
    outcome = verdict(make_results(29.0, 30.0, distilled))

    assert 'there is no gap to close' in outcome.text
    assert '%' not in outcome.text


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
