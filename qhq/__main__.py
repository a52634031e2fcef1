"""``python -m qhq`` is ``qhq``."""

from qhq.cli.app import main

if __name__ == "__main__":
    main()
