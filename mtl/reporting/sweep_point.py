"""``python -m mtl.reporting.sweep_point FOLDER``: train the point whose request lies in the folder.

``point.json`` is written last: where it stands, the point is finished.
"""

from __future__ import annotations

import sys
import time
import traceback
from pathlib import Path

from mtl.errors import MtlError
from mtl.files import read_json, write_json
from mtl.reporting.sweep_jobs import FAILURE, REQUEST, RESULT
from mtl.studies import parameters_class, point_function


def main(folder: Path) -> int:
    """Exit code: 0, or 1 with the reason in ``point.failure.json``."""
    began = time.monotonic()
    try:
        request = read_json(folder / REQUEST)
        study = request["study"]
        parameters = parameters_class(study).from_values(request["parameters"], str(folder / REQUEST))
        record = point_function(study)(parameters)
    except Exception as error:
        traceback.print_exc()
        trace = "" if isinstance(error, MtlError) else traceback.format_exc()[-6000:]
        write_json(
            folder / FAILURE, {"ename": type(error).__name__, "evalue": str(error)[:2000], "traceback": trace}
        )
        return 1
    write_json(folder / RESULT, {**record, "seconds": round(time.monotonic() - began, 1)})
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
