"""On an engine's PYTHONPATH: the replicas that it starts replay timings instead of running a model."""

import sys

if "engine.replica" in sys.orig_argv:
    from tests.load.replica import main

    main(sys.orig_argv[sys.orig_argv.index("engine.replica") + 1 :])
