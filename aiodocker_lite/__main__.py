"""``python -m aiodocker_lite``."""

from aiodocker_lite.cli.app import main

main()
