"""Count tenths of a second up to a number: `counter.py STATE NUMBER`; told to stop, save the count and exit with 85."""

import signal
import sys
import time
from pathlib import Path

told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(True))
state, end = Path(sys.argv[1]), int(sys.argv[2])
lines = state.read_text().split() if state.exists() else []
count = int(lines[-1]) if lines else 0
while count < end and not told:
    time.sleep(0.1)
    count += 1
state.write_text(" ".join([*lines, str(count)]))  # where each attempt stopped
sys.exit(0 if count == end else 85)
