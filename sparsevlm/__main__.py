"""`python -m sparsevlm` is the command `sparsevlm`."""

import sys

from sparsevlm.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
