import os
import subprocess
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class BuildWithKernels(build_py):
    """Compiles the kernels too (pixcodec/ahead.py): what PIXCODEC_AHEAD names, "all" or levels of processors, or "no".

    Without them everything works, and the first run compiles what it needs.
    """

    def run(self) -> None:
        super().run()
        wanted = os.environ.get("PIXCODEC_AHEAD", "").split()
        if self.editable_mode or wanted == ["no"]:
            return
        place = Path(self.build_lib).resolve()
        path = os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "pixcodec.ahead", str(place / "pixcodec" / "kernels"), *wanted]
        if subprocess.run(command, cwd=place, env={**os.environ, "PYTHONPATH": path}, check=False).returncode:
            self.warn("no kernels were compiled ahead; the first run will compile what it needs")


# models/ is a folder of its own in the checkout and becomes the package pixcodec.shipped_models when installed:
# <site-packages>/pixcodec/shipped_models/photo/... Everything else is in pyproject.toml.
setup(
    packages=[*find_packages(include=["pixcodec", "pixcodec.*"]), "pixcodec.shipped_models"],
    package_dir={"pixcodec.shipped_models": "models"},
    cmdclass={"build_py": BuildWithKernels},
)
