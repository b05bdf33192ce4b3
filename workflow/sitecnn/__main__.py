"""`python -m sitecnn`."""

import sys

from sitecnn.cli import main

sys.exit(main())
