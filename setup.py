"""What pyproject.toml cannot say: the wheel carries `data/` inside the package, as `tlcourse/data/`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["tlcourse*"]), "tlcourse.data"],
    package_dir={"tlcourse.data": "data"},
    package_data={
        "tlcourse.data": [
            "assets.toml",
            "entities-gold.json",
            "spoken-words/*",
            "results/**/*.json",
            "benchmarks/*.json",
            "published/*.json",
            "checkpoints/**/*",
        ]
    },
)
