"""``python -m clarion.demo``: the same as ``clarion demo``."""

from clarion.demo import main

raise SystemExit(main())
