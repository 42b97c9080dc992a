"""``python -m shopfloor`` is the ``shopfloor`` command."""

import sys

from shopfloor.main import main

sys.exit(main())
