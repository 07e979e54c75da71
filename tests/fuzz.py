"""Strange files: small whole ones of every kind are changed at random, and a command is asked to read them.

Nothing may end in a traceback, take 2 GB or 30 s, or run anything; every line that is said is short.

python tests/fuzz.py --number 2000
pytest tests/fuzz.py -m slow
"""

import argparse
import contextlib
import io
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchvision.models
from data.layouts import WRITERS, write
from mutations import generator, mutated
from safetensors.torch import save_file

from nni_count.cli import main

pytestmark = pytest.mark.slow

SECONDS, BYTES, LETTERS = 30, 2 << 30, 500
WAITS = 10 * SECONDS  # after which it is taken for one that waits for ever
SMALL = "--data synthetic --data.train 8 --data.test 2 --data.size 48 --crop_size 32 --batch_size 2 --accelerator cpu"
SPACE = "--space AMSNetSpace --space.width 16 --space.map_stride 4 --limit_train_batches 1 --validation_images 1"
RETRAIN = f"retrain {SMALL} --network mcnn --max_steps 3 --out {{folder}}/run"
TRIAL = f"trial {SMALL} {SPACE} --max_epochs 1 --retrain.max_steps 1 --retrain.crop_size 32 --retrain.batch_size 2"
RUNS = {"search", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "socket.connect"}
FOREIGN = {"this", "antigravity", "unittest.__main__"}
#: how often each kind is drawn beside the readers, which have 5 each
SHARES = {
    "images": 30,
    "architecture": 12,
    "config": 8,
    "model": 20,
    "resume": 3,
    "decode": 8,
    "compare": 8,
    "lists": 6,
    "weights": 8,
}
#: of the smallest of torchvision's networks with batch norms
TRUNK = "shufflenet_v2_x0_5"


def seeds(folder):
    """Write what is changed later: a folder a kind."""
    points = [
        np.array([[5.5, 6.5], [20, 30], [40.25, 20]]),
        np.zeros((0, 2)),
        *(np.array([[n + 9.0, 7]]) for n in range(3)),
    ]
    for layout in WRITERS:
        write(layout, folder / layout, points)
    write("csv", folder / "lists", points)
    for name in ("train_list", "leave_out"):
        (folder / "lists" / f"{name}.txt").write_text("photo 0.jpg\nimages/photo 2.jpg\n")
    run(folder, f"{TRIAL} --strategy DARTS --out {folder}/trial")
    run(folder, f"{RETRAIN.format(folder=folder / 'resume')} --max_steps 2")
    run(
        folder,
        f"evaluate --model {model(folder)} --data synthetic --data.test 2 --out {folder}/evaluation",
    )
    for kind in ("architecture", "config", "model", "decode", "compare"):
        (folder / kind).mkdir()
    shutil.copy(folder / "trial" / "search" / "architecture.yaml", folder / "architecture")
    shutil.copy(folder / "resume" / "run" / "config.yaml", folder / "config")
    for name, source in (("mcnn", model(folder)), ("amsnet", folder / "trial" / "retrain" / "model.safetensors")):
        shutil.copy(source, folder / "model" / f"{name}.safetensors")
    shutil.copytree(
        folder / "trial" / "search", folder / "decode" / "run", ignore=shutil.ignore_patterns("tensorboard")
    )
    (folder / "compare" / "evaluation").mkdir()
    (folder / "compare" / "trial").mkdir()
    shutil.copy(folder / "evaluation" / "evaluation.json", folder / "compare" / "evaluation")
    shutil.copy(folder / "trial" / "result.json", folder / "compare" / "trial")
    figures = json.dumps({"default": 3.5, "rmse": 4.0})
    export = [{"trialJobId": "a", "parameter": {"strategy": "DARTS", "seed": 1}, "value": figures}]
    (folder / "compare" / "export.json").write_text(json.dumps(export))
    images(folder / "images")
    weights = torchvision.models.get_model(TRUNK, weights=None).state_dict()
    weights = {name: values for name, values in weights.items() if name.startswith(("conv1", "stage2"))}
    (folder / "weights").mkdir()
    torch.save(weights, folder / "weights" / "a.pth")
    save_file(weights, folder / "weights" / "a.safetensors")


def images(folder):
    noise = np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)
    folder.mkdir()
    for suffix in ("jpg", "png", "bmp", "tif", "webp"):
        cv2.imwrite(str(folder / f"a.{suffix}"), noise)
    cv2.imwrite(str(folder / "deep.png"), noise.astype(np.uint16) * 257)
    cv2.imwrite(str(folder / "grey.png"), noise[:, :, 0])
    cv2.imwrite(str(folder / "alpha.png"), np.dstack([noise, noise[:, :, 0]]))
    cv2.imwritemulti(str(folder / "pages.tif"), [noise, noise])


def run(folder, line):
    assert main(line.split()) == 0, line


def model(folder):
    return folder / "resume" / "run" / "model.safetensors"


def command(kind, folder, file, base, draw):
    """What reads a kind of files; where it would train long, the folder that it may not write in ends it first."""
    if kind == "images":
        extra = draw.choice(([], ["--white", "4095"], ["--page", "2"]))
        return ["predict", str(file), "--model", str(model(base)), *extra, "--out", f"{folder}/out"]
    if kind == "architecture":
        out = f"{folder}/out" if draw.random() < 0.1 else str(base)
        return [
            *f"retrain {SMALL} --max_steps 1 --network.width 16 --network.map_stride 4 --out {out}".split(),
            "--architecture",
            str(file),
        ]
    if kind == "weights":
        cells = base / "architecture" / "architecture.yaml"
        on_trunk = f"--network.width 16 --network.trunk {TRUNK} --network.trunk_weights {file} --architecture {cells}"
        return f"retrain {SMALL} --max_steps 1 {on_trunk} --out {base}".split()
    if kind == "config":
        return ["retrain", "--config", str(file), "--out", str(base)]
    if kind == "model":
        return ["predict", str(base / "images" / "a.png"), "--model", str(file)]
    if kind == "resume":
        return [*RETRAIN.format(folder=folder).split(), "--resume"]
    if kind == "decode":
        return ["decode", "--run", f"{folder}/run", "--out", f"{folder}/out"]
    if kind == "compare":
        return [
            "compare",
            *(f"{folder}/{name}" for name in ("trial", "evaluation", "export.json")),
            "--out",
            f"{folder}/out",
        ]
    if kind == "lists":
        lists = [f"--data.{name}={folder}/{name}.txt" for name in ("leave_out", "train_list")]
        return ["doctor", "--data", str(folder), "--data.format", "csv", *lists]
    told = ["--data.format", kind] if draw.random() < 0.6 else []
    if draw.random() < 0.2:
        return ["evaluate", "--model", str(model(base)), "--data", str(folder), *told]
    return ["doctor", "--data", str(folder), *told, *draw.choice(([], [], ["--out", f"{base}/doctor"]))]


def one(number, seed, base, seen):
    """Change a file and have it read; returns its kind, and what is wrong with what came of it."""
    draw = generator(seed, number)
    shares = {**dict.fromkeys(WRITERS, 5), **SHARES}
    kind = draw.choices(list(shares), list(shares.values()))[0]
    folder = base / "now"
    for used in (folder, base / "doctor"):
        shutil.rmtree(used, ignore_errors=True)
    shutil.copytree(base / kind, folder)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name[0] != "."]
    if kind in ("resume", "decode"):  # of a run, its pictures and what tensorboard shows are not read
        files = [path for path in files if path.suffix not in (".png", ".jpg") and "tensorboard" not in path.parts]
    notes = [path for path in files if path.suffix != ".jpg"]
    file = draw.choice(notes if notes and draw.random() < 0.8 else files)
    file.write_bytes(mutated(file.read_bytes(), file.name, draw))
    line = command(kind, folder, file, base, draw)
    out, err = io.StringIO(), io.StringIO()
    seen.clear()
    Path("/proc/self/clear_refs").write_text("5")
    begun, wrong, code = time.process_time(), [], None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(line)
        except BaseException as error:  # nothing may come through
            wrong.append(f"raised {type(error).__name__}: {error}")
    lines = (out.getvalue() + err.getvalue()).splitlines()
    status = Path("/proc/self/status").read_text()
    used = int(status.partition("VmHWM:")[2].split()[0]) << 10
    seconds = time.process_time() - begun  # what it costs, whatever else the machine does
    if code not in (0, 2):
        wrong.append(f"exit code {code}")
    wrong += [
        f"traceback: {line[-300:]}" for line in lines if "Traceback" in line or "is a fault of NNI-Count's" in line
    ]
    lines = lines if line[0] == "doctor" else err.getvalue().splitlines()
    if any(len(line) > LETTERS for line in lines):
        wrong.append(f"a line of {max(map(len, lines))} letters: {max(lines, key=len)[:150]}")
    odd = [line for line in err.getvalue().splitlines() if not line.startswith("nni-count: ")]
    wrong += [f"said beside: {odd[0][:200]}"] if odd else []
    if code == 2 and line[0] != "doctor" and not err.getvalue().splitlines()[-1:][0].startswith("nni-count: error: "):
        wrong.append("no line for the exit code")
    wrong += [f"takes {used >> 20} MB"] if used > BYTES else []
    wrong += [f"takes {seconds:.0f} s"] if seconds > SECONDS else []
    wrong += [f"executed: {event}" for event in dict.fromkeys(seen)]
    wrong += ["executed: wrote PWNED"] if Path("PWNED").exists() else []
    told = f"{file.relative_to(folder)}: {' '.join(line)}"
    return {"kind": kind, "wrong": [f"{number} {kind} {what} [{told[:200]}]" for what in wrong], "code": code} | {
        "seconds": seconds,
        "mb": used >> 20,
        "letters": max(map(len, lines), default=0),
    }


def watch(base, seen):
    """Note what runs, connects, or writes outside the folder."""

    def hook(event, arguments):
        if event in RUNS or (event == "import" and arguments[0] in FOREIGN):
            seen.append(f"{event} {arguments[0]!s:.80}")
        elif event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            path = os.path.realpath(arguments[0])
            if not path.startswith((str(base), "/dev/", "/proc/")):
                seen.append(f"writes {path:.80}")

    sys.addaudithook(hook)


def work(numbers, seed, base, pipe):
    """In a process of its own: what each input gave, as it comes."""
    code = 1
    try:
        seen = []
        watch(base, seen)
        with os.fdopen(pipe, "w") as told:
            for number in numbers:
                print(json.dumps({"begun": number}), file=told, flush=True)
                print(json.dumps(one(number, seed, base, seen)), file=told, flush=True)
        code = 0
    finally:
        os._exit(code)


def fuzz(number, seed=0, seconds=None, first=0):
    """Returns figures, and what went wrong."""
    torch.set_num_threads(1)
    base = Path(os.path.realpath(tempfile.mkdtemp(prefix="fuzz-")))
    before, started, results, wrong = os.getcwd(), time.monotonic(), [], []
    tempfile.tempdir = str(base)
    os.chdir(base)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            seeds(base)
            for line in (
                f"predict {base}/images/a.png --model {model(base)}",
                f"decode --run {base}/decode/run --out {base}/decoded",
            ):
                run(base, line)  # what is imported once
        at = first
        while at < first + number and (seconds is None or time.monotonic() - started < seconds):
            reading, writing = os.pipe()
            sys.stdout.flush()
            child = os.fork()
            if not child:
                work(range(at, first + number), seed, base, writing)
            os.close(writing)
            begun, unread = at, b""
            while select.select([reading], [], [], WAITS)[0] and (piece := os.read(reading, 1 << 16)):
                *lines, unread = (unread + piece).split(b"\n")
                for found in map(json.loads, lines):
                    begun = found.get("begun", begun)
                    at = begun + ("kind" in found)
                    if "kind" in found:
                        results.append(found)
                        wrong += found["wrong"]
                        print(*found["wrong"], sep="\n", end="\n" * bool(found["wrong"]), flush=True)
                if seconds is not None and time.monotonic() - started > seconds:
                    break
            os.close(reading)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
            if at == begun and (seconds is None or time.monotonic() - started < seconds):
                wrong.append(f"{begun}: ended the process or took more than {WAITS} s (status {status})")
                print(wrong[-1], flush=True)
                at += 1
    finally:
        os.chdir(before)
        tempfile.tempdir = None
        shutil.rmtree(base, ignore_errors=True)
    figures = {"inputs": len(results), "wrong": len(wrong), "refused": sum(row["code"] == 2 for row in results)}
    figures |= {what: max((row[what] for row in results), default=0) for what in ("seconds", "mb", "letters")}
    return figures | {"kinds": dict(Counter(row["kind"] for row in results))}, wrong


def test_strange_files_are_read_or_refused():
    figures, wrong = fuzz(300)
    assert not wrong, (figures, wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="of the inputs, to try one again")
    parser.add_argument("--seconds", type=float, help="no more than this")
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    done, faults = fuzz(settings.number, settings.seed, settings.seconds, settings.first)
    print(done)
    sys.exit(bool(faults))
