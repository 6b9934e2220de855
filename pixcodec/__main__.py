"""``python -m pixcodec`` is the command ``pixcodec``."""

from pixcodec.cli import main

main(prog_name="pixcodec")
