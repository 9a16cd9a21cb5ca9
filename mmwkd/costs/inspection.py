"""Say how good a cost matrix is: a table, pictures and an HTML report."""

from __future__ import annotations

from pathlib import Path

from mmwkd.costs.annotations import (
    CategoryAnnotations,
    cut_thumbnails,
    read_annotations,
)
from mmwkd.costs.cost_matrix import CostMatrix
from mmwkd.costs.quality import measure_quality
from mmwkd.costs.report import (
    check_report,
    quality_figures,
    write_report,
)
from mmwkd.functional.checks import check_positive

_NEIGHBOURS_SHOWN = 100  # categories in the terminal; the report has all


def cost_inspect(
    file: Path,
    /,
    *,
    ann_file: Path | None = None,
    img_prefix: Path | None = None,
    kappa: float = 2.0,
    out_dir: Path | None = None,
    force: bool = False,
) -> Path:
    """Show how good a cost matrix is: a table, pictures and an HTML report.

    Args:
        file: Cost matrix file.
        ann_file: Annotations in COCO format: supercategories, and what to
            show.
        img_prefix: Folder of the images of the annotations, to show the
            categories.
        kappa: Sharpness of the drawn cost.
        out_dir: Folder for the report; by default one named as the file, in
            work_dirs/cost_matrix.
        force: Whether an earlier report may be replaced.

    Returns:
        Path of the report.

    Raises:
        FileExistsError: If there is a report and ``force`` is not set.
        FileNotFoundError: If a file does not exist.
        ValueError: If a file is not what it should be.
    """
    if img_prefix is not None and ann_file is None:
        raise ValueError(
            '--img-prefix needs --ann-file, which says what is in the images'
        )
    check_positive(kappa=kappa)
    out_dir = out_dir or Path('work_dirs/cost_matrix') / file.stem
    check_report(out_dir, force=force)
    if img_prefix is not None and not img_prefix.is_dir():
        raise FileNotFoundError(f'--img-prefix {img_prefix} is no folder')
    matrix = CostMatrix.load(file)
    known = (
        CategoryAnnotations(None, {})
        if ann_file is None
        else read_annotations(ann_file, matrix.categories[:-1])
    )
    quality = measure_quality(matrix, known.supercategories)
    print(f'{file}, estimator {matrix.estimator}')
    for figure in quality_figures(matrix, quality):
        print(f'{figure.name}: {figure.value}\n    {figure.reading}')
    print('nearest categories, with their distance 1 - IR')
    for name, near in list(quality.neighbours.items())[:_NEIGHBOURS_SHOWN]:
        found = (f'{n.category} {n.distance:.3f}' for n in near)
        print(f'    {name}: {", ".join(found) or "none"}')
    report = write_report(
        out_dir,
        matrix,
        quality,
        supercategories=known.supercategories,
        thumbnails=(
            {}
            if img_prefix is None
            else cut_thumbnails(known.crops, img_prefix)
        ),
        kappa=kappa,
        force=force,
    )
    print(f'report: {report}')
    return report
