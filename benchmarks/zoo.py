"""Trains what `registry.yaml` lists, one entry at a time, and publishes it; the same command again goes on.

    python benchmarks/zoo.py                    # everything that is not listed yet: several CPU hours
    python benchmarks/zoo.py cvae-mnist         # one of examples/zoo, whatever else is missing

A run is kept in `runs/zoo`; one that was stopped is taken up again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import vaezoo
from vaezoo.pretrained.entry import entries
from vaezoo.runs.publishing import About, publish
from vaezoo.utils.allocator import tune_allocator

ROOT = Path(__file__).parents[1]
MNIST, MADE, MUSIC = "CC BY-SA 3.0 (MNIST)", "none needed: drawn by a program", "no licence stated (research sets)"
TOWNS, VOWELS = "CC BY 4.0 (GeoNames)", "CC BY 4.0 (UCI, Kudo et al. 1999)"
ZOO: dict[str, tuple[str, str, str, str]] = {
    "vae-mnist": ("vae/mnist@1", "A strong small VAE of MNIST", MNIST, "Kingma & Welling 2014; Tomczak & Welling 2018"),
    "vae-mnist-mlp": ("vae/mnist-mlp@1", "A plain VAE of MNIST, gated MLP", MNIST, "Kingma & Welling 2014"),
    "vae-mnist-conv": ("vae/mnist-conv@1", "A plain VAE of MNIST, convolutions", MNIST, "Kingma & Welling 2014"),
    "iwae-mnist": ("iwae/mnist@1", "IWAE of MNIST with five importance samples", MNIST, "Burda et al. 2016"),
    "cvae-mnist": ("cvae/mnist@1", "Digits on demand", MNIST, "Sohn et al. 2015"),
    "colored-mnist": ("cvae/colored-mnist@1", "Black and white to colour", MNIST, "Sohn et al. 2015"),
    "quadrants-mnist": ("cvae/quadrants-mnist@1", "A digit from a quarter of it", MNIST, "Sohn et al. 2015"),
    "beta-vae-sprites": ("beta-vae/sprites@1", "beta-VAE of sprites", MADE, "Higgins et al. 2017"),
    "beta-tcvae-sprites": ("beta-tcvae/sprites@1", "beta-TCVAE of sprites", MADE, "Chen et al. 2018"),
    "controlvae-sprites": ("controlvae/sprites@1", "ControlVAE of sprites", MADE, "Shao et al. 2020"),
    "aae-ring": ("aae/mnist-ring@1", "AAE of MNIST with ten normals in a ring", MNIST, "Makhzani et al. 2016"),
    "aae-semi-100": ("aae/mnist-100-labels@1", "Semi-supervised AAE, 100 labels", MNIST, "Makhzani et al. 2016"),
    "vrae-jsb": ("vrae/jsb@1", "VRAE of Bach's chorales", MUSIC, "Fabius & van Amersfoort 2014"),
    "vrnn-jsb": ("vrnn/jsb@1", "VRNN of Bach's chorales", MUSIC, "Chung et al. 2015"),
    "hvrnn-jsb": ("hvrnn/jsb@1", "Hierarchical VRNN of Bach's chorales", MUSIC, "Castrejon et al. 2019"),
    "vrae-cities": ("vrae/cities@1", "Names of towns by country, letter by letter", TOWNS, "Bowman et al. 2016"),
    "hvrnn-vowels": ("hvrnn/vowels@1", "Spoken vowels by speaker", VOWELS, "Castrejon et al. 2019; Zhan et al. 2019"),
}
"""By spec: id, title, licence of the data, and whom to cite."""


def train(name: str, runs: Path) -> vaezoo.Run:
    """The finished run of a spec: the last one there is, taken up again, or a new one."""
    for path in sorted((runs / name).glob("*"), reverse=True):
        return vaezoo.open_run(path) if (path / "report.html").is_file() else vaezoo.resume(path, print_line=print)
    return vaezoo.run(ROOT / "examples" / "zoo" / f"{name}.yaml", out=runs, print_line=print)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="SPEC", help=", ".join(ZOO))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "zoo")
    options = parser.parse_args()
    tune_allocator()
    place = ROOT / "registry.yaml"
    for name in options.names or ZOO:
        identity, title, data, citation = ZOO[name]
        if identity in [entry.id for entry in entries(place.read_bytes(), str(place))]:
            print(f"{identity}: listed already")
            continue
        run = train(name, options.runs)
        publish(run, identity, ROOT, About(title, "Apache-2.0", data, citation), half=True)
        print(f"{identity}: published")


if __name__ == "__main__":
    main()
