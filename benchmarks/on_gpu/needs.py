"""Which packages the run imports, and which of them are missing here."""

from __future__ import annotations

from importlib.util import find_spec

from nni_count.errors import SettingError

#: what is imported → what pip calls it
NEEDED = {
    "torch": "torch",
    "torchvision": "torchvision",
    "pytorch_lightning": "pytorch-lightning",
    "torchmetrics": "torchmetrics",
    "numpy": "numpy",
    "scipy": "scipy",
    "h5py": "h5py",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "safetensors": "safetensors",
}
#: NNI, and what its searches import; packages of Python files alone, which ``pack_for_gpu.py`` copies
CARRIED = {
    "nni": "nni==3.0",
    "json_tricks": "json-tricks",
    "schema": "schema",
    "typeguard": "typeguard<4.1.3",
    "websockets": "websockets",
}
#: what NNI imports beside those
OF_NNI = {name: name for name in ("cloudpickle", "colorama", "filelock", "packaging", "psutil", "requests", "tqdm")}


def missing(names: dict[str, str]) -> list[str]:
    """What pip calls those that are not there; nothing is imported."""
    return [package for name, package in names.items() if find_spec(name) is None]


def check_imports() -> None:
    """Refuse to begin without a package; raises :class:`SettingError` that names all of them."""
    absent = missing({**NEEDED, **CARRIED, **OF_NNI})
    if absent:
        raise SettingError(
            f"not installed here: {', '.join(absent)}; pip install them, or carry them: "
            "python benchmarks/pack_for_gpu.py --help"
        )
