import pytest

from studies.grid.accuracy import gap_closed


@pytest.mark.parametrize(
    ('teacher', 'baseline', 'distilled', 'expected'),
    [
        (40.0, 30.0, 30.0, 0.0),
        (40.0, 30.0, 35.0, 0.5),
        (40.0, 30.0, 40.0, 1.0),
        (40.0, 30.0, 42.0, 1.2),
        (40.0, 30.0, 28.0, -0.2),
        (30.0, 30.0, 35.0, None),
        (20.0, 30.0, 35.0, None),
    ],
)
def test_gap_closed(teacher, baseline, distilled, expected):
    closed = gap_closed(
        teacher=teacher, baseline=baseline, distilled=distilled
    )

    assert closed == (None if expected is None else pytest.approx(expected))
