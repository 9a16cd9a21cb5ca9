"""Let mmengine write configs without formatting them.

yapf takes seconds for a config, and mmengine formats one for every run and
every checkpoint. A process with this folder on its path does so from its
start on.
"""

import sys

from yapf.yapflib import yapf_api


def _as_it_is(text, **options):
    return text, False


yapf_api.FormatCode = _as_it_is
# older versions have imported it by now, where a test imports this
if hasattr(sys.modules.get('mmengine.config.config'), 'FormatCode'):
    sys.modules['mmengine.config.config'].FormatCode = _as_it_is
