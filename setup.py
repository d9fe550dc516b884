"""Build the package from settings.ini, the one place where its metadata stands."""
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=["="])
parser.read(here / "settings.ini", encoding="utf-8")
cfg = parser["DEFAULT"]
extras = {name.replace("_", "-"): cfg[f"{name}_requirements"].split() for name in ("torch", "spark", "validation", "api", "s3", "peers_sdv", "peers_mostlyai")}
extras["s3"] += extras["api"]
extras["dev"] = cfg["dev_requirements"].split() + extras["torch"] + extras["spark"] + extras["validation"] + extras["s3"]

setup(
    name=cfg["pip_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=cfg["author"],
    url=cfg["git_url"],
    license="Apache-2.0",
    keywords=cfg["keywords"].split(),
    classifiers=[
        "Development Status :: 3 - Alpha",
        f"Intended Audience :: {cfg['audience']}",
        "Programming Language :: Python :: 3",
    ],
    python_requires=f">={cfg['min_python']}",
    packages=find_packages(include=["cascade_engine", "cascade_engine.*"]),
    package_data={"cascade_engine": ["data/*.csv"]},
    install_requires=cfg["requirements"].split(),
    extras_require=extras,
    entry_points={"console_scripts": cfg["console_scripts"].split(), "nbdev": f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"}, # the second: names in prose become links
    zip_safe=False,
)
