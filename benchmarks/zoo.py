"""Trains and publishes the entries of `registry.yaml`, one at a time.

    python benchmarks/zoo.py                    # all that are not listed yet: several CPU hours
    python benchmarks/zoo.py cvae-mnist         # one spec of examples/zoo or plugins/*/examples

Runs are stored in `runs/zoo`. If the command is interrupted, run it again: it resumes the last
run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import vaezoo
from vaezoo.pretrained.entry import parse_registry
from vaezoo.runs.publishing import PublicationInfo, publish
from vaezoo.utils.allocator import tune_allocator

ROOT = Path(__file__).parents[1]
MNIST, MUSIC = "CC BY-SA 3.0 (MNIST)", "no licence stated (research sets)"
SYNTHETIC = "none needed: drawn by a program"
TOWNS, VOWELS = "CC BY 4.0 (GeoNames)", "CC BY 4.0 (UCI, Kudo et al. 1999)"
ZOO: dict[str, tuple[str, str, str, str]] = {
    "vae-mnist": (
        "vae/mnist@1",
        "A strong small VAE of MNIST",
        MNIST,
        "Kingma & Welling 2014; Tomczak & Welling 2018",
    ),
    "vae-mnist-mlp": (
        "vae/mnist-mlp@1",
        "A plain VAE of MNIST, gated MLP",
        MNIST,
        "Kingma & Welling 2014",
    ),
    "vae-mnist-conv": (
        "vae/mnist-conv@1",
        "A plain VAE of MNIST, convolutions",
        MNIST,
        "Kingma & Welling 2014",
    ),
    "iwae-mnist": (
        "iwae/mnist@1",
        "IWAE of MNIST with five importance samples",
        MNIST,
        "Burda et al. 2016",
    ),
    "cvae-mnist": ("cvae/mnist@1", "Digits on demand", MNIST, "Sohn et al. 2015"),
    "colored-mnist": (
        "cvae/colored-mnist@1",
        "Black and white to colour",
        MNIST,
        "Sohn et al. 2015",
    ),
    "quadrants-mnist": (
        "cvae/quadrants-mnist@1",
        "A digit from a quarter of it",
        MNIST,
        "Sohn et al. 2015",
    ),
    "beta-vae-sprites": (
        "beta-vae/sprites@1",
        "beta-VAE of sprites",
        SYNTHETIC,
        "Higgins et al. 2017",
    ),
    "beta-tcvae-sprites": (
        "beta-tcvae/sprites@1",
        "beta-TCVAE of sprites",
        SYNTHETIC,
        "Chen et al. 2018",
    ),
    "controlvae-sprites": (
        "controlvae/sprites@1",
        "ControlVAE of sprites",
        SYNTHETIC,
        "Shao et al. 2020",
    ),
    "aae-ring": (
        "aae/mnist-ring@1",
        "AAE of MNIST with ten normals in a ring",
        MNIST,
        "Makhzani et al. 2016",
    ),
    "aae-semi-100": (
        "aae/mnist-100-labels@1",
        "Semi-supervised AAE, 100 labels",
        MNIST,
        "Makhzani et al. 2016",
    ),
    "vrae-jsb": ("vrae/jsb@1", "VRAE of Bach's chorales", MUSIC, "Fabius & van Amersfoort 2014"),
    "vrnn-jsb": ("vrnn/jsb@1", "VRNN of Bach's chorales", MUSIC, "Chung et al. 2015"),
    "hvrnn-jsb": (
        "hvrnn/jsb@1",
        "Hierarchical VRNN of Bach's chorales",
        MUSIC,
        "Castrejon et al. 2019",
    ),
    "vrae-jsb-dependent": (
        "vrae/jsb-dependent@1",
        "VRAE of Bach's chorales with dependent keys",
        MUSIC,
        "Fabius & van Amersfoort 2014; Germain et al. 2015",
    ),
    "vrnn-jsb-dependent": (
        "vrnn/jsb-dependent@1",
        "VRNN of Bach's chorales with dependent keys",
        MUSIC,
        "Chung et al. 2015; Germain et al. 2015",
    ),
    "hvrnn-jsb-dependent": (
        "hvrnn/jsb-dependent@1",
        "Hierarchical VRNN of Bach's chorales with dependent keys",
        MUSIC,
        "Castrejon et al. 2019; Germain et al. 2015",
    ),
    "vrae-cities": (
        "vrae/cities@1",
        "Names of towns by country, letter by letter",
        TOWNS,
        "Bowman et al. 2016",
    ),
    "hvrnn-vowels": (
        "hvrnn/vowels@1",
        "Spoken vowels by speaker",
        VOWELS,
        "Castrejon et al. 2019; Zhan et al. 2019",
    ),
}
"""For each spec: id, title, licence of the data, citation."""


def train(name: str, runs: Path) -> vaezoo.Run:
    """Returns the finished run of a spec: resumes its last run, or starts one if there is none."""
    for path in sorted((runs / name).glob("*"), reverse=True):
        return (
            vaezoo.open_run(path)
            if (path / "report.html").is_file()
            else vaezoo.resume(path, print_line=print)
        )
    folders = [ROOT / "examples" / "zoo", *sorted(ROOT.glob("plugins/*/examples"))]
    spec = next(path for folder in folders if (path := folder / f"{name}.yaml").is_file())
    return vaezoo.run(spec, out=runs, print_line=print)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="SPEC", help=", ".join(ZOO))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "zoo")
    options = parser.parse_args()
    tune_allocator()
    registry = ROOT / "registry.yaml"
    for name in options.names or ZOO:
        identity, title, data_licence, citation = ZOO[name]
        entries = parse_registry(registry.read_bytes(), str(registry)).entries
        if identity in [entry.id for entry in entries]:
            print(f"{identity}: listed already")
            continue
        run = train(name, options.runs)
        info = PublicationInfo(
            title=title,
            weights_licence="Apache-2.0",
            data_licence=data_licence,
            citation=citation,
        )
        publish(run, identity, ROOT, info, half=True)
        print(f"{identity}: published")


if __name__ == "__main__":
    main()
