"""`make bench`: every measurement that needs no recordings, one after the other; each writes its JSON into results/.

    python -m benchmarks.throughput      the whole pipeline beside a raw publisher and subscriber, batched beside single
    python -m benchmarks.edge_cpu        what a window costs a device
    python -m benchmarks.senses          encoders of all senses: size, time, bytes on the wire
    python -m benchmarks.fuzz            mutated frames
    python -m benchmarks.faults          processes killed at random

With recordings: `benchmarks.int8 --root DIR`, `benchmarks.event_stream --root DIR FOLDS...`,
`benchmarks.streamed FOLDS --data DIR`.
"""

import subprocess
import sys

for name in ("throughput", "edge_cpu", "senses", "fuzz", "faults"):
    print(f"== {name}", flush=True)
    if status := subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
        sys.exit(status)
