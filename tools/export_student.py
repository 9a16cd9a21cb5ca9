"""Write a run's student as a checkpoint and a config of plain mmdet."""

import argparse

from mmdet.utils import register_all_modules

from mmwkd.export import export_student


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the distillation run')
    parser.add_argument('checkpoint', help='checkpoint of the run')
    parser.add_argument('--out-dir', default='.', help='folder to write to')
    parser.add_argument(
        '--force', action='store_true', help='replace existing files'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    register_all_modules()
    for path in export_student(
        args.config, args.checkpoint, args.out_dir, force=args.force
    ):
        print(path)


if __name__ == '__main__':
    main()
