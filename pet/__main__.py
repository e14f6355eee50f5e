"""``python -m pet``: the command, also for what starts modules, as ``torchrun -m pet run ...`` does."""

import sys

from pet.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
