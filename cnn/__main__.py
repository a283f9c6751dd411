"""`python -m cnn` is the command `cnn`."""

import sys

from cnn.commands.cli import main

sys.exit(main())
