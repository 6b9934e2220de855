from setuptools import find_packages, setup

# models/ is a folder of its own in the checkout and becomes the package pixcodec.shipped_models when installed:
# <site-packages>/pixcodec/shipped_models/photo/... Everything else is in pyproject.toml.
setup(
    packages=[*find_packages(include=["pixcodec", "pixcodec.*"]), "pixcodec.shipped_models"],
    package_dir={"pixcodec.shipped_models": "models"},
)
