"""On a worker's PYTHONPATH: its wall clock is `CLOCK_AHEAD` seconds ahead from the first moment."""

import os
import time

if "CLOCK_AHEAD" in os.environ:
    _real, _ahead = time.time, float(os.environ["CLOCK_AHEAD"])
    time.time = lambda: _real() + _ahead
