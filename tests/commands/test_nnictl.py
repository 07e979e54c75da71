"""A real experiment: nnictl starts it, its trials are one-shot searches, the portal shows them. About a minute."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests
from nnictl import EPOCHS, MOST_SECONDS, SEEDS, STRATEGIES, Portal, experiment_config, final

from nni_count.commands.compare import compare
from nni_count.errors import RunError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def portal(tmp_path_factory):
    portal = Portal(tmp_path_factory.mktemp("nnictl"), experiment_config())
    try:
        portal.wait_for(lambda: portal.get("check-status")["status"] == "DONE", MOST_SECONDS)
        yield portal
    finally:
        portal.stop()


def order(parameters):
    return parameters["strategy"], parameters["seed"]


def test_four_searches_arrive_under_their_own_trials(portal):
    jobs = portal.get("trial-jobs")
    assert [job["status"] for job in jobs] == ["SUCCEEDED"] * 4
    asked = [json.loads(job["hyperParameters"][0])["parameters"] for job in jobs]
    grid = [{"strategy": strategy, "seed": seed} for strategy in STRATEGIES for seed in SEEDS]
    assert sorted(asked, key=order) == grid
    metrics = portal.get("metric-data")
    for job, parameters in zip(jobs, asked, strict=True):
        result = json.loads((Path(job["logPath"]) / "run" / "result.json").read_text())
        assert {name: result[name] for name in parameters} == parameters
        assert final(job)["default"] == pytest.approx(result["mae"])
        assert {"rmse", "parameters", "flops", "search_seconds", "memory_mb"} < set(final(job))
        rows = [json.loads(json.loads(row["data"])) for row in metrics if row["trialJobId"] == job["trialJobId"]]
        epochs = [row for row in rows if "epoch" in row]
        assert [row["epoch"] for row in epochs] == list(range(1, EPOCHS + 1))
        assert all({"default", "alpha_entropy", "loss"} <= set(row) for row in epochs)
        assert (Path(job["logPath"]) / "run" / "search" / "cells.png").is_file()
        print(f"{parameters}: first step after {result['overhead_seconds']} s")


def test_an_experiment_is_compared_while_its_manager_runs(portal, tmp_path):
    text = compare([portal.folder], out=tmp_path / "out")
    assert all(f"| {strategy} | 2 |" in text for strategy in STRATEGIES)


def drawn(picture: bytes) -> int:
    """Coloured pixels: a curve and its points; axes and text are grey."""
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).astype(int)
    return int((image.max(2) - image.min(2) > 60).sum())


def test_the_portal_lists_the_trials_and_draws_a_search(portal, tmp_path):
    """Chromium from the system, driven by Playwright."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium; install Debian's package chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{portal.url}/detail")
        for job in portal.get("trial-jobs"):
            page.get_by_text(job["trialJobId"], exact=True).first.wait_for(timeout=30_000)
        assert page.get_by_text("SUCCEEDED", exact=True).count() == 4
        page.get_by_text("Intermediate result").first.click()
        graph = page.locator("canvas").first
        graph.wait_for(timeout=30_000)
        page.wait_for_timeout(2000)  # it grows
        assert drawn(graph.screenshot()) > 300
        page.screenshot(path=str(tmp_path / "portal.png"))
        browser.close()


def test_a_trial_that_cannot_work_has_failed_with_its_reason_in_the_portals_log(tmp_path):
    choices = {"strategy": {"_type": "choice", "_value": ["DATRS"]}}
    portal = Portal(tmp_path, experiment_config(searchSpace=choices, maxTrialNumber=1))
    try:
        portal.wait_for(lambda: portal.get("trial-jobs") and portal.get("trial-jobs")[0]["status"] == "FAILED", 90)
        (job,) = portal.get("trial-jobs")
        log = requests.get(f"{portal.url}/api/v1/nni/trial-file/{job['trialJobId']}/stderr", timeout=20).text
        assert "nni-count: error: strategy: 'DATRS' is unknown; known: " in log
    finally:
        portal.stop()
    with pytest.raises(RunError, match=r"none of its 1 trials has finished \(1 FAILED .*'DATRS' is unknown"):
        compare([portal.folder], out=tmp_path / "out")


def test_nothing_is_left_after_a_stop(tmp_path):
    """A trial is running when the experiment is stopped; its folder can be resumed."""
    portal = Portal(tmp_path, experiment_config(trialConcurrency=1))
    try:
        trials = portal.folder / "environments" / "local-env" / "trials"
        portal.wait_for(lambda: list(trials.glob("*/run/search/checkpoints/last.ckpt")), 60)
    finally:
        portal.stop_whole()
    (run,) = trials.glob("*/run")
    command = [
        str(Path(sys.executable).with_name("nni-count")),
        "trial",
        "--config",
        str(run / "config.yaml"),
        "--resume",
    ]
    subprocess.run(command, check=True, capture_output=True, env=portal.environment, timeout=120)
    assert json.loads((run / "result.json").read_text())["strategy"] == STRATEGIES[0]
